//! The exact target on whole trees: every completion of a small vocabulary is enumerated.

use engine::random::Generator;
use engine::{Cpu, Tensor};
use losses::exact::exact_target::{Branch, exact_target, fork};
use losses::exact::slpo_exact::slpo_exact;
use losses::{ExactTargets, LossError, PairRows};
use std::collections::HashMap;

const VOCABULARY: usize = 3;
const END: u32 = 2;
const LONGEST: usize = 4;

/// ln π(· | prefix) for every prefix without an end token; the last position is certain to end where `ends`.
fn tree(seed: u64, ends: bool) -> HashMap<Vec<u32>, Vec<f64>> {
    let mut generator = Generator::new(seed);
    let mut table = HashMap::new();
    let mut open = vec![vec![]];
    while let Some(prefix) = open.pop() {
        let forced = ends && prefix.len() + 1 == LONGEST;
        let logits: Vec<f64> = (0..VOCABULARY).map(|_| 2.0 * generator.normal()).collect();
        let total = logits.iter().map(|x| x.exp()).sum::<f64>().ln();
        let certain = |v: usize| if v == END as usize { 0.0 } else { f64::NEG_INFINITY };
        table.insert(prefix.clone(), (0..VOCABULARY).map(|v| if forced { certain(v) } else { logits[v] - total }).collect());
        if prefix.len() + 1 < LONGEST {
            open.extend((0..END).map(|v| [&prefix[..], &[v]].concat()));
        }
    }
    table
}

/// The probability of every completion up to the longest (those without an end token stand for all that begin with them).
fn completions(next: &dyn Fn(&[u32]) -> Vec<f64>) -> Vec<(Vec<u32>, f64)> {
    let (mut done, mut open) = (Vec::new(), vec![(vec![], 1.0)]);
    while let Some((prefix, mass)) = open.pop() {
        for (v, log_prob) in next(&prefix).into_iter().enumerate() {
            let (longer, mass) = ([&prefix[..], &[v as u32]].concat(), mass * log_prob.exp());
            if v as u32 == END || longer.len() == LONGEST { done.push((longer, mass)) } else { open.push((longer, mass)) }
        }
    }
    done.sort_by(|a, b| a.0.cmp(&b.0));
    done
}

fn rows_along(table: &HashMap<Vec<u32>, Vec<f64>>, tokens: &[u32]) -> Vec<f64> {
    (0..tokens.len()).flat_map(|t| table[&tokens[..t]].clone()).collect()
}

fn check_pair(table: &HashMap<Vec<u32>, Vec<f64>>, reference: &[(Vec<u32>, f64)], w: &[u32], l: &[u32], moved: f64) {
    let (along_w, along_l) = (rows_along(table, w), rows_along(table, l));
    let (w_branch, l_branch) = (Branch { tokens: w, log_probs: &along_w }, Branch { tokens: l, log_probs: &along_l });
    let target = exact_target(w_branch, l_branch, VOCABULARY, moved).expect("completions that part");
    let next = |prefix: &[u32]| {
        let row = |rows: &[f64]| rows[prefix.len() * VOCABULARY..][..VOCABULARY].to_vec();
        if prefix.len() < w.len() && w.starts_with(prefix) {
            row(&target.chosen)
        } else if prefix.len() < l.len() && l.starts_with(prefix) {
            row(&target.rejected)
        } else {
            table[prefix].clone()
        }
    };
    let changed = completions(&next);
    let mass_of = |y: &[u32]| reference.iter().find(|(completion, _)| completion == y).expect("a completion").1;
    let shift = moved * mass_of(l);
    for ((completion, before), (_, after)) in reference.iter().zip(&changed) {
        let expected = before + if completion == w { shift } else { 0.0 } - if completion == l { shift } else { 0.0 };
        assert!((after - expected).abs() < 1e-14, "{w:?} over {l:?}: {completion:?} has {after} for {expected}");
    }
    assert!((changed.iter().map(|(_, mass)| mass).sum::<f64>() - 1.0).abs() < 1e-13);
    let distance = 0.5 * reference.iter().zip(&changed).map(|((_, before), (_, after))| (before - after).abs()).sum::<f64>();
    assert!((distance - shift).abs() < 1e-13, "{distance} for {shift}");
}

#[test]
fn exactly_the_losers_mass_goes_to_the_winner_and_nothing_else_moves() {
    for (seed, ends) in [(1, false), (2, true), (3, false)] {
        let table = tree(seed, ends);
        let reference = completions(&|prefix: &[u32]| table[prefix].clone());
        assert!((reference.iter().map(|(_, mass)| mass).sum::<f64>() - 1.0).abs() < 1e-13);
        let whole: Vec<&Vec<u32>> = reference.iter().map(|(y, _)| y).filter(|y| y.last() == Some(&END)).collect();
        assert_eq!(whole.len(), 15);
        for w in &whole {
            for l in whole.iter().filter(|l| l != &w) {
                for moved in [1.0, 0.3, 0.0] {
                    check_pair(&table, &reference, w, l, moved);
                }
            }
        }
    }
}

#[test]
fn improbable_completions_give_distributions_too() {
    let row = |log_probs: [f64; 3]| log_probs.to_vec();
    let faint = -1e4;
    let along_w = [row([faint, 0.0, -1e4]), row([-1e4, 0.0, -1e4])].concat();
    let along_l = [row([faint, 0.0, -1e4]), row([0.5f64.ln(), 0.5f64.ln(), -1e4])].concat();
    let (w, l) = (Branch { tokens: &[0, 2], log_probs: &along_w }, Branch { tokens: &[1, 2], log_probs: &along_l });
    let target = exact_target(w, l, 3, 1.0).expect("completions that part");
    for row in target.chosen.chunks(3).chain(target.rejected.chunks(3)) {
        assert!((row.iter().map(|x| x.exp()).sum::<f64>() - 1.0).abs() < 1e-12, "{row:?}");
        assert!(row.iter().all(|x| !x.is_nan()), "{row:?}");
    }
    let d = -1e4 - faint;
    assert!((target.chosen[0] - (faint + std::f64::consts::LN_2)).abs() < 1e-9, "{}", target.chosen[0]);
    assert!((target.chosen[5] - (d.exp() / (1.0 + d.exp())).ln()).abs() < 1e-9, "{}", target.chosen[5]);
    assert_eq!(target.rejected[5], f64::NEG_INFINITY);
}

#[test]
fn the_loss_is_zero_with_zero_gradient_at_the_target_and_positive_elsewhere() {
    let cpu = Cpu::<f64>::new();
    let pairs = [PairRows { chosen_start: 1, chosen: vec![0, 1, END], rejected_start: 4, rejected: vec![0, 0, 1, END] }];
    let mut generator = Generator::new(4);
    let reference: Vec<f64> = (0..8 * VOCABULARY).map(|_| generator.normal()).collect();
    let reference = Tensor::constant(&cpu, &reference, &[8, VOCABULARY]);
    let targets = ExactTargets::from_reference(&reference, &pairs, 1.0).expect("a pair that parts");
    let log_probs = reference.log_softmax().to_f64();
    let log_prob = |row: usize, token: u32| log_probs[row * VOCABULARY + token as usize];
    let weights = targets.weights().to_f64();
    assert_eq!(weights[..6], [0.0, 1.0, 1.0, 1.0, 0.0, 0.0], "rows of no completion, the chosen ones, and those that both share");
    assert!((weights[6] - (1.0 - (log_prob(6, 1) + log_prob(7, END)).exp())).abs() < 1e-14, "what is left after 0 0");
    assert!((weights[7] - (1.0 - log_prob(7, END).exp())).abs() < 1e-14, "what is left after 0 0 1");
    let finite: Vec<f64> = targets.log_target().to_f64().into_iter().map(|x| x.max(-50.0)).collect();
    let policy = Tensor::parameter(&cpu, &finite, &[8, VOCABULARY]);
    let y = slpo_exact(&policy, &targets).expect("one shape");
    assert_eq!(y.shape(), [1]);
    assert!(y.item().abs() < 1e-14, "{}", y.item());
    assert!(y.mean_all().backward().of(&policy).to_f64().iter().all(|g| g.abs() < 1e-14));
    assert!(slpo_exact(&reference, &targets).expect("one shape").item() > 0.01);
}

#[test]
fn completions_that_do_not_part_are_refused() {
    assert_eq!(fork(&[0, 1, 2], &[0, 2]), Some(1));
    assert_eq!(fork(&[0, 1], &[0, 1, 2]), None);
    let reference = Tensor::full(&Cpu::<f64>::new(), 0.0, &[6, VOCABULARY]);
    let pair = |chosen: &[u32], rejected: &[u32]| {
        let rows = PairRows { chosen_start: 0, chosen: chosen.to_vec(), rejected_start: 3, rejected: rejected.to_vec() };
        ExactTargets::from_reference(&reference, &[rows], 1.0).expect_err("refused")
    };
    assert_eq!(pair(&[0, END], &[0, END]), LossError::NoFork { pair: 0 });
    assert_eq!(pair(&[0], &[0, END]), LossError::NoFork { pair: 0 });
    assert_eq!(pair(&[], &[0, END]), LossError::NoFork { pair: 0 });
    assert_eq!(pair(&[0, 1, 1, END], &[1, END]), LossError::SharedRow { pair: 0, row: 3 });
    assert!(pair(&[0, 1], &[1, 7]).to_string().contains("rejected tokens[1] is 7, but must be below 3"));
    assert!(pair(&[0, 1], &[1, 0, 1, END]).to_string().contains("rejected rows[0] is 6, but must be below 6"));
}
