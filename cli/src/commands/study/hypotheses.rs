//! The answers to the study's hypotheses, each with the numbers that decide it.

use super::results::{LEVEL, Results, mean, summarise};
use model::study::arms::ARMS;
use model::study::path::Moment;
use model::study::statistics::{Summary, differences, holm, mean_and_error};

/// What the runs say of a hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The numbers are on its side.
    Holds,
    /// The numbers are against it.
    DoesNotHold,
    /// The intervals do not tell.
    CannotBeTold,
}

impl Verdict {
    /// Returns the verdict in words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Holds => "holds",
            Self::DoesNotHold => "does not hold",
            Self::CannotBeTold => "cannot be told",
        }
    }
}

/// A hypothesis with its answer.
pub struct Answer {
    /// H1 to H9.
    pub name: &'static str,
    /// What it is about.
    pub title: &'static str,
    /// The hypothesis.
    pub claim: &'static str,
    /// The answer.
    pub verdict: Verdict,
    /// The numbers, with their intervals.
    pub numbers: String,
}

/// The place of an arm of the study.
fn arm(name: &str) -> usize {
    ARMS.iter().position(|arm| arm.name == name).expect("an arm of the table")
}

/// Answers all hypotheses whose runs were made.
pub fn answers(results: &Results) -> Vec<Answer> {
    let all = [gradient_with_length, reverse_divergence, rest, fallen, flipped, listing, beside_dpo, exact, displacement];
    all.into_iter().filter_map(|answer| answer(results)).collect()
}

/// A number with its interval.
pub fn with_interval(summary: &Summary) -> String {
    let (low, high) = summary.interval;
    format!("{} [{}, {}]", short(summary.mean), short(low), short(high))
}

/// A number with three digits and a true minus sign.
pub fn short(value: f64) -> String {
    let digits = if value == 0.0 { 2 } else { (2 - value.abs().log10().floor() as i32).clamp(0, 4) };
    format!("{value:.*}", digits as usize).replace('-', "−")
}

/// Holds if the whole interval is below 0, does not if it is above.
fn below_zero(summary: &Summary) -> Verdict {
    match summary.interval {
        (_, high) if high < 0.0 => Verdict::Holds,
        (low, _) if low > 0.0 => Verdict::DoesNotHold,
        _ => Verdict::CannotBeTold,
    }
}

/// Holds if all parts do, does not if one does not.
fn all_of(parts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let parts: Vec<Verdict> = parts.into_iter().collect();
    if parts.contains(&Verdict::DoesNotHold) {
        Verdict::DoesNotHold
    } else if parts.contains(&Verdict::CannotBeTold) {
        Verdict::CannotBeTold
    } else {
        Verdict::Holds
    }
}

/// `None` if the runs of a study do not have this fact.
fn has_fact(results: &Results, name: &str) -> Option<()> {
    results.design.facts.contains(&name).then_some(())
}

fn gradient_with_length(results: &Results) -> Option<Answer> {
    let gain = |cell: &str, name: &str| results.in_cell(cell, arm(name), |record| record.end.values[0]);
    let kept = |name: &str| Some(differences(&gain("length 6", name)?, &gain("length 2", name)?));
    let names = ["slpo eq6", "slpo eq7", "slpo shift"];
    let others = ["slpo-gkl .9", "slpo-halves"];
    let other: Vec<Vec<f64>> = others.iter().map(|name| kept(name)).collect::<Option<_>>()?;
    let steadier: Vec<f64> = (0..other[0].len()).map(|seed| mean(&[other[0][seed], other[1][seed]])).collect();
    let mut verdicts = Vec::new();
    let mut numbers = Vec::new();
    for name in names {
        let change = summarise(&differences(&kept(name)?, &steadier));
        verdicts.push(below_zero(&change));
        numbers.push(format!("{name} {}", with_interval(&change)));
    }
    let gains = |name: &&str| -> Option<String> {
        let of = |cell: &str| gain(cell, name).map(|values| short(mean(&values)));
        Some(format!("{name} {}, {}, {}", of("length 2")?, of("length 4")?, of("length 6")?))
    };
    let table: Vec<String> = names.iter().chain(&others).map(gains).collect::<Option<_>>()?;
    Some(Answer {
        name: "H1",
        title: "Gain against length",
        claim: "Eq 6 and Eq 7 on whole completions lose their gradient with the pair's probability: their gain falls with the length of \
         the completions more than that of GKL and halves.",
        verdict: all_of(verdicts),
        numbers: format!(
            "Change of the gain from length 2 to length 6, less the mean of GKL's and halves': {}. Gains at lengths 2, 4, 6: {}.",
            numbers.join("; "),
            table.join("; ")
        ),
    })
}

fn reverse_divergence(results: &Results) -> Option<Answer> {
    let reverse = |name: &str, place: usize| results.values(arm(name), place, "reverse_kl");
    let of: Vec<Summary> = (0..results.design.divergences.len())
        .map(|place| summarise(&differences(&reverse("slpo-gkl .9", place), &reverse("dpo", place))))
        .collect();
    let corrected = holm(&of.iter().map(|difference| difference.p).collect::<Vec<f64>>());
    let verdict = |(difference, p): (&Summary, &f64)| match below_zero(difference) {
        verdict if *p < LEVEL => verdict,
        _ => Verdict::CannotBeTold,
    };
    let parts: Vec<String> = results
        .design
        .divergences
        .iter()
        .zip(&of)
        .map(|(divergence, difference)| format!("κ = {divergence}: {}", with_interval(difference)))
        .collect();
    Some(Answer {
        name: "H2",
        title: "Divergence the other way",
        claim: "At matched KL(π‖ref), GKL (α = .9) has a smaller KL(ref‖π) than dpo at its best β.",
        verdict: all_of(of.iter().zip(&corrected).map(verdict)),
        numbers: format!(
            "KL(ref‖π) of GKL less dpo's, in nats: {}. Both are the runs whose settings have the most reward at κ.",
            parts.join("; ")
        ),
    })
}

fn rest(results: &Results) -> Option<Answer> {
    let mut parts = Vec::new();
    let mut verdicts = Vec::new();
    for (name, comes_to_rest) in [("slpo-gkl .9", true), ("slpo-gkl .7", true), ("slpo-gkl 1", false), ("dpo", false)] {
        let mut is_at_rest = true;
        for (what, of) in [("KL", (|end| end.divergence) as fn(&Moment) -> f64), ("reward", |end| end.values[0])] {
            let usual = results.fresh(arm(name), results.design.middle(), |record| of(&record.end));
            let long = results.long(arm(name), |record| of(&record.end))?;
            let change = summarise(&differences(&long, &usual));
            let (_, error) = mean_and_error(&usual);
            is_at_rest &= change.mean.abs() < error;
            let (before, after) = (short(mean(&usual)), short(mean(&long)));
            parts.push(format!("{name}, {what}: {before} → {after}, change {}, standard error {}", with_interval(&change), short(error)));
        }
        verdicts.push(if is_at_rest == comes_to_rest { Verdict::Holds } else { Verdict::DoesNotHold });
    }
    Some(Answer {
        name: "H3",
        title: "Coming to rest",
        claim: "GKL with α < 1 comes to rest: ten times the steps change its KL(π‖ref) and its reward by less than their standard errors \
                over seeds. dpo and α = 1 go on.",
        verdict: all_of(verdicts),
        numbers: format!("{}.", parts.join("; ")),
    })
}

fn fallen(results: &Results) -> Option<Answer> {
    has_fact(results, "ches_auc")?;
    let share = |name: &str| summarise(&results.values(arm(name), results.design.middle(), "fallen"));
    let dpo = share("dpo");
    let above = |summary: &Summary, bound: f64| match summary.interval {
        (low, _) if low > bound => Verdict::Holds,
        (_, high) if high < bound => Verdict::DoesNotHold,
        _ => Verdict::CannotBeTold,
    };
    let others = ["slpo-gkl .9", "sft", "dpop"].map(|name| (name, share(name)));
    let below = |summary: &Summary, bound: f64| match above(summary, bound) {
        Verdict::Holds => Verdict::DoesNotHold,
        Verdict::DoesNotHold => Verdict::Holds,
        verdict => verdict,
    };
    let auc: Vec<f64> = results
        .fresh(0, results.design.middle(), |record| record.fact("ches_auc", &results.design).unwrap_or(f64::NAN))
        .into_iter()
        .filter(|auc| !auc.is_nan())
        .collect();
    let ches = (auc.len() > 1).then(|| summarise(&auc));
    let predicts = ches.as_ref().map_or(Verdict::CannotBeTold, |auc| above(auc, 0.5));
    let verdicts = [above(&dpo, 0.5), predicts].into_iter().chain(others.iter().map(|(_, summary)| below(summary, 0.2)));
    let verdict = all_of(verdicts);
    let parts: Vec<String> = others.iter().map(|(name, summary)| format!("{name} {}", with_interval(summary))).collect();
    let ches = ches.map_or_else(|| "no run has both".to_owned(), |auc| with_interval(&auc));
    Some(Answer {
        name: "H4",
        title: "Chosen completions that fall",
        claim: "Chosen completions fall under dpo in more than half of the pairs, under GKL, SFT and DPOP in fewer than a fifth. CHES \
         predicts which.",
        verdict,
        numbers: format!(
            "Share of pairs whose chosen completion has fallen at κ = {}: dpo {}, {}. Area under the curve of CHES at the end of dpo's \
             runs: {ches} (chance is 0.5).",
            results.design.divergences[results.design.middle()],
            with_interval(&dpo),
            parts.join(", ")
        ),
    })
}

fn flipped(results: &Results) -> Option<Answer> {
    let cell = results.design.cells.iter().rev().find(|cell| cell.starts_with("flipped"))?;
    let reward = |arm: usize| results.fresh(arm, results.design.middle(), |record| record.reached[results.design.middle()].values[0]);
    let lost = |arm: usize| {
        Some(differences(&reward(arm), &results.in_cell(cell, arm, |record| record.reached[results.design.middle()].values[0])?))
    };
    let by_arm: Vec<(usize, f64)> = (0..ARMS.len()).map(|arm| Some((arm, mean(&lost(arm)?)))).collect::<Option<_>>()?;
    let rank = |name: &str| 1 + by_arm.iter().filter(|(_, loss)| *loss < by_arm[arm(name)].1).count();
    let mean_of = |names: [&str; 2]| -> Option<Vec<f64>> {
        let [a, b] = names.map(|name| lost(arm(name)));
        Some(a?.into_iter().zip(b?).map(|(a, b)| (a + b) / 2.0).collect())
    };
    let difference = summarise(&differences(&mean_of(["robust", "cdpo"])?, &mean_of(["slpo-gkl 1", "slpo-token"])?));
    let of_dpo = summarise(&differences(&mean_of(["robust", "cdpo"])?, &lost(0)?));
    let robust_ranks = [rank("robust"), rank("cdpo")];
    let verdict = match (below_zero(&difference), below_zero(&of_dpo)) {
        (Verdict::Holds, _) if robust_ranks.iter().all(|rank| *rank <= 3) => Verdict::Holds,
        (Verdict::DoesNotHold, _) | (_, Verdict::DoesNotHold) => Verdict::DoesNotHold,
        _ => Verdict::CannotBeTold,
    };
    Some(Answer {
        name: "H5",
        title: "Flipped labels",
        claim: "Under flipped labels robust and cdpo lose the least reward, the α = 1 forms the most.",
        verdict,
        numbers: format!(
            "Reward lost at κ = {} from clean labels to the cell {cell}: robust and cdpo less slpo-gkl 1 and slpo-token {}, less dpo \
             {}. Ranks of {} arms from the least loss: robust {}, cdpo {}, dpo {}, slpo-gkl 1 {}, slpo-token {}.",
            results.design.divergences[results.design.middle()],
            with_interval(&difference),
            with_interval(&of_dpo),
            ARMS.len(),
            robust_ranks[0],
            robust_ranks[1],
            rank("dpo"),
            rank("slpo-gkl 1"),
            rank("slpo-token")
        ),
    })
}

fn listing(results: &Results) -> Option<Answer> {
    let end = |name: &str| results.long(arm(name), |record| record.end.divergence);
    let difference = summarise(&differences(&end("slpo-literal")?, &end("slpo-token")?));
    let broken =
        |name: &str| results.long(arm(name), |record| f64::from(u8::from(record.broken_at.is_some()))).map(|all| all.iter().sum::<f64>());
    let reward = |name: &str| results.long(arm(name), |record| record.end.values[0]).map(|values| short(mean(&values)));
    let verdict = match difference.interval {
        (low, _) if low > 0.0 => Verdict::Holds,
        (_, high) if high < 0.0 => Verdict::DoesNotHold,
        _ => Verdict::CannotBeTold,
    };
    Some(Answer {
        name: "H6",
        title: "The listing as printed",
        claim: "The listing as printed diverges where pairs share tokens; mended, it does not.",
        verdict,
        numbers: format!(
            "KL(π‖ref) after ten times the steps, slpo-literal less slpo-token: {} nats ({} and {}); reward {} and {}; runs that \
             stopped at a step that is not finite: {} and {} of {}.",
            with_interval(&difference),
            short(mean(&end("slpo-literal")?)),
            short(mean(&end("slpo-token")?)),
            reward("slpo-literal")?,
            reward("slpo-token")?,
            broken("slpo-literal")?,
            broken("slpo-token")?,
            results.design.fresh_seeds.len()
        ),
    })
}

fn beside_dpo(results: &Results) -> Option<Answer> {
    let mut better = Vec::new();
    let mut worse = 0;
    for (place, divergence) in results.design.divergences.iter().enumerate() {
        for beside in results.beside_first(place) {
            if beside.is_told() && beside.difference.mean > 0.0 {
                better.push(format!("{} at κ = {divergence}: {}", ARMS[beside.arm].name, with_interval(&beside.difference)));
            }
            worse += usize::from(beside.is_told() && beside.difference.mean < 0.0);
        }
    }
    let all = (ARMS.len() - 1) * results.design.divergences.len();
    let found = if better.is_empty() { "no arm is above dpo".to_owned() } else { format!("above dpo are {}", better.join("; ")) };
    Some(Answer {
        name: "H7",
        title: "Reward beside dpo's",
        claim: "No arm has more reward than tuned dpo at any matched divergence, after correction.",
        verdict: if better.is_empty() { Verdict::Holds } else { Verdict::DoesNotHold },
        numbers: format!("Of {all} comparisons (arms × κ) after Holm's correction within each κ, {found}; {worse} are below."),
    })
}

fn exact(results: &Results) -> Option<Answer> {
    has_fact(results, "exact_gain")?;
    let gain = results.fresh(arm("slpo-exact"), results.design.middle(), |record| record.end.values[0]);
    let predicted =
        results.fresh(arm("slpo-exact"), results.design.middle(), |record| record.fact("exact_gain", &results.design).unwrap_or(f64::NAN));
    let difference = summarise(&differences(&gain, &predicted));
    let (low, high) = difference.interval;
    let verdict = if low <= 0.0 && high >= 0.0 { Verdict::Holds } else { Verdict::DoesNotHold };
    Some(Answer {
        name: "H8",
        title: "What the exact target gains",
        claim: "slpo-exact gains Σ ref(y_l)(r_w − r_l) over the pairs to within the standard error: next to nothing.",
        verdict,
        numbers: format!(
            "Gain {}, computed {}, difference {}.",
            with_interval(&summarise(&gain)),
            with_interval(&summarise(&predicted)),
            with_interval(&difference)
        ),
    })
}

fn displacement(results: &Results) -> Option<Answer> {
    let [chosen, rejected] = ["chosen", "rejected"].map(|name| results.values(arm("slpo-halves"), results.design.middle(), name));
    let ratios: Vec<f64> = chosen.iter().zip(&rejected).map(|(chosen, rejected)| (rejected.abs() / chosen.abs()).log10()).collect();
    let ratio = summarise(&ratios);
    let (low, high) = ratio.interval;
    let verdict = match (low, high) {
        (low, high) if low >= 1.0 && high <= 2.0 => Verdict::Holds,
        (low, high) if high < 1.0 || low > 2.0 => Verdict::DoesNotHold,
        _ => Verdict::CannotBeTold,
    };
    Some(Answer {
        name: "H9",
        title: "Displacement under halves",
        claim: "Halves with temperature move the loser 10 to 100 times more than the winner.",
        verdict,
        numbers: format!(
            "At κ = {}: the rejected completions moved {} times as far as the chosen ones (interval {} to {}); ln π/ref of the chosen \
             {}, of the rejected {} nats.",
            results.design.divergences[results.design.middle()],
            short(10.0_f64.powf(ratio.mean)),
            short(10.0_f64.powf(low)),
            short(10.0_f64.powf(high)),
            with_interval(&summarise(&chosen)),
            with_interval(&summarise(&rejected))
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_a_true_minus() {
        assert_eq!([0.0, 1.0, -12.345, 123.4, 0.001_234].map(short), ["0.00", "1.00", "−12.3", "123", "0.0012"]);
    }

    #[test]
    fn an_answer_is_as_sure_as_its_least_sure_part() {
        let summary = |low: f64, high: f64| Summary { mean: 0.0, median: 0.0, interval: (low, high), p: 0.5 };
        assert_eq!(below_zero(&summary(-2.0, -1.0)), Verdict::Holds);
        assert_eq!(below_zero(&summary(1.0, 2.0)), Verdict::DoesNotHold);
        assert_eq!(below_zero(&summary(-1.0, 1.0)), Verdict::CannotBeTold);
        assert_eq!(all_of([Verdict::Holds, Verdict::CannotBeTold]), Verdict::CannotBeTold);
        assert_eq!(all_of([Verdict::DoesNotHold, Verdict::CannotBeTold]), Verdict::DoesNotHold);
        assert_eq!(all_of([Verdict::Holds; 2]), Verdict::Holds);
    }
}
