//! CHES, the centred hidden embedding similarity of a pair (Razin et al. 2024): how much preference training is likely to lower the chosen
//! completion's own probability, known before the first step.
//!
//! CHES = ⟨S_w, S_l⟩ − ‖S_w‖², S_w = Σ_t h(y_w, t), S_l = Σ_t h(y_l, t)
//!
//! h(y, t) is the hidden state that predicts token t of completion y, as the output layer gets it. Where the two completions look alike to
//! the model, the step that lowers the rejected one lowers the chosen one too (likelihood displacement). The normalised score divides each
//! sum by its number of tokens, so that pairs of different lengths can be compared.

use crate::data::PreferencePair;
use crate::decoder::Decoder;
use crate::preference::{PairBatch, Scored};
use engine::Backend;

/// The scores of a pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ches {
    /// ⟨S_w, S_l⟩ − ‖S_w‖².
    pub score: f64,
    /// ⟨S_w/n_w, S_l/n_l⟩ − ‖S_w/n_w‖².
    pub normalised: f64,
}

/// Computes the scores of pairs, in their order; `at_once` pairs go through the decoder together.
pub fn ches<B: Backend>(decoder: &Decoder<B>, pairs: &[&PreferencePair], at_once: usize) -> Vec<Ches> {
    pairs.chunks(at_once.max(1)).flat_map(|part| of_batch(decoder, &PairBatch::new(part.iter().copied()))).collect()
}

fn of_batch<B: Backend>(decoder: &Decoder<B>, batch: &PairBatch) -> Vec<Ches> {
    let hidden = Scored::reference(batch, decoder).hidden_states();
    let width = hidden.shape()[1];
    let mut sums = vec![vec![0.0; width]; 2 * batch.pairs()];
    for (row, &completion) in hidden.to_f64().chunks_exact(width).zip(batch.groups().iter()) {
        sums[completion as usize].iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
    }
    let (chosen, rejected) = sums.split_at(batch.pairs());
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let of_pair = |pair: usize| {
        let (n_w, n_l) = batch.lengths()[pair];
        let (across, own, n_w, n_l) = (dot(&chosen[pair], &rejected[pair]), dot(&chosen[pair], &chosen[pair]), n_w as f64, n_l as f64);
        Ches { score: across - own, normalised: across / (n_w * n_l) - own / (n_w * n_w) }
    };
    (0..batch.pairs()).map(of_pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boundary::Sequence;
    use crate::config::Config;
    use engine::Cpu;

    fn pair(chosen: &[u32], rejected: &[u32]) -> PreferencePair {
        let sequence = |answer: &[u32]| Sequence::new([&[1, 2], answer].concat(), 2);
        PreferencePair { line: 1, chosen: sequence(chosen), rejected: sequence(rejected) }
    }

    #[test]
    fn a_completion_beside_itself_scores_zero_and_batches_change_nothing() {
        let config = Config { vocab_size: 16, layers: 1, ..Config::preset("nano").unwrap() };
        let decoder = Decoder::random(&Cpu::<f64>::new(), &config, 3).unwrap();
        let pairs = [pair(&[5, 6, 7], &[5, 6, 9]), pair(&[5, 6], &[8, 3, 4, 2]), pair(&[5, 6], &[5, 6])];
        let pairs: Vec<&PreferencePair> = pairs.iter().collect();
        let all = ches(&decoder, &pairs, 8);
        // The last token is predicted, not read: the states of pairs that differ there alone are the same.
        for same in [all[0], all[2]] {
            assert!(same.score.abs() < 1e-9 && same.normalised.abs() < 1e-9, "{same:?}");
        }
        assert!(all[1].score.abs() > 1e-3, "{:?}", all[1]);
        for (one, many) in ches(&decoder, &pairs, 1).iter().zip(&all) {
            assert!((one.score - many.score).abs() < 1e-9 && (one.normalised - many.normalised).abs() < 1e-9);
        }
    }
}
