//! Preference pairs through a decoder: log-probabilities of chosen and rejected completions, and the logits that some losses need.

use crate::batch::Batch;
use crate::data::PreferencePair;
use crate::decoder::{Decoder, ForwardOptions, Packed};
use engine::backend::Indices;
use engine::{Backend, Tensor, no_grad};
use std::sync::OnceLock;

/// Pairs packed into one batch: the chosen sequences first, then the rejected ones in the same order. The tokens that a pair shares may be
/// computed once; then only the chosen sequence has rows for them.
#[derive(Clone, Debug)]
pub struct PairBatch {
    batch: Batch,
    /// Number of tokens of the chosen and of the rejected completion of each pair.
    lengths: Vec<(usize, usize)>,
}

impl PairBatch {
    /// Packs pairs.
    pub fn new<'a>(pairs: impl IntoIterator<Item = &'a PreferencePair> + Clone) -> Self {
        let lengths = pairs.clone().into_iter().map(|pair| (pair.chosen.completion().len(), pair.rejected.completion().len())).collect();
        Self { batch: Batch::of_pairs(pairs.into_iter().map(|pair| (&pair.chosen, &pair.rejected))), lengths }
    }

    /// Returns the number of pairs.
    pub fn pairs(&self) -> usize {
        self.lengths.len()
    }
    /// Returns the numbers of tokens of the chosen and of the rejected completion of each pair.
    pub fn lengths(&self) -> &[(usize, usize)] {
        &self.lengths
    }
    /// Returns the inputs of the decoder.
    pub fn inputs(&self) -> &Packed {
        &self.batch.inputs
    }
    /// Counts the tokens that go through the decoder. Tokens whose rows a pair shares count once.
    pub fn token_count(&self) -> usize {
        self.batch.inputs.tokens().len()
    }
    /// Returns the tokens of all completions, in the order of the rows of [`Scored`]: every chosen completion, then every rejected one.
    pub fn targets(&self) -> &Indices {
        &self.batch.targets
    }
    /// Returns the completion that each target belongs to; chosen ones are numbered first.
    pub fn groups(&self) -> &Indices {
        &self.batch.groups
    }
    /// Returns the first row of each completion, chosen ones first, and the number of rows at the end.
    pub fn bounds(&self) -> Vec<usize> {
        let ends = self.batch.target_lengths().into_iter().scan(0, |end, length| {
            *end += length;
            Some(*end)
        });
        std::iter::once(0).chain(ends).collect()
    }
}

/// A batch of pairs with the outputs of one decoder.
pub struct Scored<'a, B: Backend> {
    /// The pairs.
    pub batch: &'a PairBatch,
    decoder: &'a Decoder<B>,
    /// Computed when it is first needed.
    hidden: OnceLock<Tensor<B>>,
    head: Tensor<B>,
    token_log_probs: OnceLock<Tensor<B>>,
    /// Sequence log-probabilities that were computed before.
    known: Option<(Tensor<B>, Tensor<B>)>,
}

impl<'a, B: Backend> Scored<'a, B> {
    /// Runs the decoder over the pairs, recording for gradients.
    pub fn policy(batch: &'a PairBatch, decoder: &'a Decoder<B>, options: &ForwardOptions) -> Self {
        let hidden = OnceLock::from(batch.batch.hidden(decoder, options));
        Self { batch, decoder, hidden, head: decoder.head_weight().clone(), token_log_probs: OnceLock::new(), known: None }
    }

    /// Makes the scores of a frozen decoder: no gradient, no dropout. The decoder runs when its hidden states are first needed.
    pub fn reference(batch: &'a PairBatch, decoder: &'a Decoder<B>) -> Self {
        let head = decoder.head_weight().detach();
        Self { batch, decoder, hidden: OnceLock::new(), head, token_log_probs: OnceLock::new(), known: None }
    }

    /// Like [`Scored::reference`], with log-probabilities of each pair's chosen and rejected completion that are already known, in nats.
    ///
    /// # Panics
    /// If `log_probs` does not have one entry for each pair.
    #[track_caller]
    pub fn known_reference(batch: &'a PairBatch, decoder: &'a Decoder<B>, log_probs: &[(f64, f64)]) -> Self {
        assert_eq!(log_probs.len(), batch.pairs(), "known_reference: one entry for each pair");
        let (chosen, rejected): (Vec<f64>, Vec<f64>) = log_probs.iter().copied().unzip();
        let column = |values: &[f64]| Tensor::constant(decoder.backend(), values, &[values.len()]);
        Self { known: Some((column(&chosen), column(&rejected))), ..Self::reference(batch, decoder) }
    }

    fn hidden(&self) -> &Tensor<B> {
        self.hidden.get_or_init(|| no_grad(|| self.batch.batch.hidden(self.decoder, &ForwardOptions::default())))
    }

    /// Returns the hidden state that predicts each completion token, [M, D], in the order of [`PairBatch::targets`].
    pub(crate) fn hidden_states(&self) -> Tensor<B> {
        self.hidden().clone()
    }

    /// Returns the log-probability of every completion token, \[M\], in the order of [`PairBatch::targets`].
    pub fn token_log_probs(&self) -> &Tensor<B> {
        self.token_log_probs.get_or_init(|| self.hidden().linear_log_prob(&self.head, &self.batch.batch.targets))
    }

    /// Computes the log-probability of every completion token at half the temperature, p̃ ∝ p², \[M\]. No gradients are recorded. Twice the
    /// hidden states give twice the logits exactly.
    pub fn sharpened_log_probs(&self) -> Tensor<B> {
        let hidden = self.hidden();
        no_grad(|| hidden.scale(2.0).linear_log_prob(&self.head, &self.batch.batch.targets))
    }

    /// Returns ln π(y|x) of the chosen and of the rejected completions, each \[pairs\]: sums over completion tokens only.
    pub fn sequence_log_probs(&self) -> (Tensor<B>, Tensor<B>) {
        if let Some(known) = &self.known {
            return known.clone();
        }
        let pairs = self.batch.pairs();
        let all = self.token_log_probs().group_sum(&self.batch.batch.groups, 2 * pairs);
        (all.slice(0, 0, pairs), all.slice(0, pairs, 2 * pairs))
    }

    /// Computes the logits at the given rows (completion positions), [rows, V].
    pub fn logits(&self, rows: &Indices) -> Tensor<B> {
        self.hidden().embedding(rows).linear(&self.head, None)
    }

    /// Computes the logits at every completion position, [M, V].
    pub fn all_logits(&self) -> Tensor<B> {
        self.hidden().linear(&self.head, None)
    }
}
