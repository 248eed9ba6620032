//! Sequence log-probabilities: what counts, what does not, and whose they are.

use engine::{Cpu, Tensor};
use losses::{Layout, LossError, PairInputs, PairLogProbs, sequence_log_probs};

#[test]
fn only_completion_tokens_count_and_what_is_masked_is_never_read() {
    let cpu = Cpu::<f64>::new();
    let tokens = Tensor::parameter(&cpu, &[-9.0, -1.0, -2.0, f64::NAN, -3.0, f64::NEG_INFINITY], &[6]);
    let keep = [false, true, true, false, true, false];
    let sums = sequence_log_probs(&tokens, &[0, 0, 0, 1, 1, 1].into(), &keep, 2).expect("two completions");
    assert_eq!(sums.log_probs.to_f64(), [-3.0, -3.0]);
    assert_eq!(sums.lengths, [2, 1]);
    let gradient = sums.log_probs.sum_all().backward().of(&tokens).to_f64();
    assert_eq!(gradient, [0.0, 1.0, 1.0, 0.0, 1.0, 0.0]);
}

#[test]
fn an_empty_completion_is_an_error_and_not_nan() {
    let tokens = Tensor::full(&Cpu::<f64>::new(), -1.0, &[3]);
    let keep = [true, false, true];
    let error = sequence_log_probs(&tokens, &[0, 1, 2].into(), &keep, 3).expect_err("refused");
    assert_eq!(error, LossError::EmptyCompletion { sequence: 1 });
    let error = sequence_log_probs(&tokens, &[0, 1, 3].into(), &keep, 3).expect_err("refused");
    assert_eq!(error, LossError::OutOfRange { what: "sequence indices", index: 2, value: 3, bound: 3 });
    let error = sequence_log_probs(&tokens, &[0, 1].into(), &keep, 2).expect_err("refused");
    assert_eq!(error, LossError::Count { what: "sequence indices", found: 2, expected: 3 });
}

#[test]
fn both_layouts_take_the_same_pairs_apart() {
    let cpu = Cpu::<f64>::new();
    let apart = |data: &[f64], lengths: &[u32], layout| {
        let sequences: Vec<u32> = lengths.iter().enumerate().flat_map(|(s, &n)| vec![s as u32; n as usize]).collect();
        let tokens: Vec<f64> = sequences.iter().map(|&s| data[s as usize] / f64::from(lengths[s as usize])).collect();
        let (n, tokens) = (tokens.len(), Tensor::constant(&cpu, &tokens, &[tokens.len()]));
        let sums = sequence_log_probs(&tokens, &sequences.into(), &vec![true; n], lengths.len()).expect("completions");
        PairLogProbs::new(&sums, layout).expect("pairs")
    };
    let halves = apart(&[-1.0, -2.0, -3.0, -4.0], &[1, 2, 3, 4], Layout::ChosenThenRejected);
    let mixed = apart(&[-1.0, -3.0, -2.0, -4.0], &[1, 3, 2, 4], Layout::Interleaved);
    for pairs in [&halves, &mixed] {
        assert_eq!((pairs.chosen.to_f64(), pairs.rejected.to_f64()), (vec![-1.0, -2.0], vec![-3.0, -4.0]));
        assert_eq!((&pairs.chosen_lengths[..], &pairs.rejected_lengths[..]), (&[1, 2][..], &[3, 4][..]));
    }
    let inputs = PairInputs::from_log_probs(&halves, &mixed).expect("one batch");
    assert_eq!(inputs.margins(0.1).to_f64(), [0.0, 0.0]);
    assert_eq!(inputs.lengths(), Some((&[1, 2][..], &[3, 4][..])));
    let odd = sequence_log_probs(&Tensor::full(&cpu, -1.0, &[3]), &[0, 1, 2].into(), &[true; 3], 3).expect("three completions");
    assert_eq!(PairLogProbs::new(&odd, Layout::Interleaved).expect_err("refused"), LossError::OddSequences { sequences: 3 });
}
