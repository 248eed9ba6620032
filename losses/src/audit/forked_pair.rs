//! A pair of completions on the enumerable tree, with the exact target Q\* of both. SLPO trained sequence by sequence is compared with this
//! target.

use super::instance::{constant, pair_loss};
use super::tree::{END, Tree, VOCABULARY};
use crate::exact::pair_rows::PairRows;
use crate::exact::slpo_exact::{ExactTargets, slpo_exact};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use engine::{Backend, Cpu, Generator, Tensor};

/// Number of tokens of each completion, the end token last. All are at positions where the model has a choice.
const LENGTH: usize = 3;

/// A drawn reference, a winner and a loser that part at the second position, and Q\*.
pub struct ForkedPair {
    pub tree: Tree,
    /// The reference's logits [prefixes · V].
    pub reference: Vec<f64>,
    pub winner: [u32; LENGTH],
    pub loser: [u32; LENGTH],
    targets: ExactTargets<Cpu<f64>>,
}

impl ForkedPair {
    pub fn draw(generator: &mut Generator) -> Self {
        let tree = Tree::new();
        let reference = tree.draw(generator);
        let (winner, loser) = ([0, 1, END], [0, 0, END]);
        let rows = rows(&tree, &constant(&reference), [winner, loser]);
        let pair = PairRows { chosen_start: 0, chosen: winner.to_vec(), rejected_start: LENGTH, rejected: loser.to_vec() };
        let targets = ExactTargets::from_reference(&rows, &[pair], 1.0).expect("two completions that part");
        Self { tree, reference, winner, loser, targets }
    }

    /// Computes the divergence from Q\*, from logits [prefixes · V].
    pub fn exact<B: Backend>(&self, logits: &Tensor<B>) -> Tensor<B> {
        let rows = rows(&self.tree, logits, [self.winner, self.loser]);
        slpo_exact(&rows, &self.targets.to(logits.backend())).expect("a row for each target")
    }

    /// Computes Eq 6 on the two sequences, from logits [prefixes · V].
    pub fn eq6<B: Backend>(&self, logits: &Tensor<B>) -> Tensor<B> {
        let sum = |logits: &Tensor<B>, tokens: &[u32]| self.tree.token_log_probs(logits, tokens).sum_all().reshape(&[1]);
        let reference = [self.winner, self.loser].map(|tokens| self.log_prob(&self.reference, &tokens));
        let policy = (&sum(logits, &self.winner), &sum(logits, &self.loser));
        pair_loss(Loss::Slpo, &Hyperparameters::default(), policy, (reference[0], reference[1]))
    }

    /// Computes ln π of a completion.
    pub fn log_prob(&self, logits: &[f64], completion: &[u32]) -> f64 {
        self.tree.token_log_probs(&constant(logits), completion).sum_all().item()
    }
}

/// Collects the logits before each token of the completions, [2·LENGTH, V].
fn rows<B: Backend>(tree: &Tree, logits: &Tensor<B>, completions: [[u32; LENGTH]; 2]) -> Tensor<B> {
    let row = |prefix: &[u32]| {
        let start = tree.row(prefix) * VOCABULARY;
        logits.slice(0, start, start + VOCABULARY)
    };
    let each: Vec<Tensor<B>> = completions.iter().flat_map(|completion| (0..LENGTH).map(|t| row(&completion[..t]))).collect();
    Tensor::concat(&each.iter().collect::<Vec<_>>(), 0).reshape(&[2 * LENGTH, VOCABULARY])
}
