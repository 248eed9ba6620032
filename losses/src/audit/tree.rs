//! An autoregressive model small enough to enumerate: two ordinary tokens and an end token. It has three free positions, and then the end
//! is certain.

use engine::{Backend, Generator, Tensor};

/// Number of tokens in the vocabulary, the end token included.
pub const VOCABULARY: usize = 3;
/// The end token.
pub const END: u32 = 2;
/// Number of positions where the model has a choice.
pub const FREE: usize = 3;

/// Every prefix at which the model chooses a next token, and every completion.
pub struct Tree {
    prefixes: Vec<Vec<u32>>,
    /// The completions; each ends with the end token.
    pub completions: Vec<Vec<u32>>,
}

/// Lists all strings of ordinary tokens of this length.
pub fn strings(length: usize) -> Vec<Vec<u32>> {
    (0..1usize << length).map(|bits| (0..length).map(|i| (bits >> i & 1) as u32).collect()).collect()
}

impl Tree {
    pub fn new() -> Self {
        let prefixes = (0..FREE).flat_map(strings).collect();
        let completions = (0..=FREE).flat_map(strings).map(|prefix| [&prefix[..], &[END]].concat()).collect();
        Self { prefixes, completions }
    }

    /// Draws random logits [prefixes · V].
    pub fn draw(&self, generator: &mut Generator) -> Vec<f64> {
        super::instance::normals(generator, self.prefixes.len() * VOCABULARY, 0.8)
    }

    /// Returns the number of prefixes at which the model chooses.
    pub fn rows(&self) -> usize {
        self.prefixes.len()
    }

    /// Returns the row of a prefix's next-token distribution.
    pub fn row(&self, prefix: &[u32]) -> usize {
        self.prefixes.iter().position(|other| other == prefix).expect("a prefix of ordinary tokens, shorter than the free positions")
    }

    /// Returns the index of a completion in the list.
    pub fn index(&self, completion: &[u32]) -> usize {
        self.completions.iter().position(|other| other == completion).expect("a completion with its end token")
    }

    /// Computes ln p(y_t | y_<t) at the free positions of a completion, one after the other, from logits [prefixes · V].
    pub fn token_log_probs<B: Backend>(&self, logits: &Tensor<B>, completion: &[u32]) -> Tensor<B> {
        let entries = self.entries(completion);
        let count = entries.len();
        self.log_softmax(logits).gather(&entries.into()).reshape(&[count])
    }

    /// Computes ln π(y) of every completion, from logits [prefixes · V].
    pub fn log_probs<B: Backend>(&self, logits: &Tensor<B>) -> Tensor<B> {
        let of_each: Vec<Vec<u32>> = self.completions.iter().map(|completion| self.entries(completion)).collect();
        let groups: Vec<u32> = of_each.iter().enumerate().flat_map(|(i, entries)| vec![i as u32; entries.len()]).collect();
        let picked = self.log_softmax(logits).gather(&of_each.concat().into()).reshape(&[groups.len()]);
        picked.group_sum(&groups.into(), self.completions.len())
    }

    /// Computes the probability of every completion under next-token log-probabilities [prefixes · V], which may be −∞.
    pub fn masses(&self, log_probs: &[f64]) -> Vec<f64> {
        let mass = |completion: &Vec<u32>| self.entries(completion).into_iter().map(|entry| log_probs[entry as usize].exp()).product();
        self.completions.iter().map(mass).collect()
    }

    /// Collects the next-token log-probabilities along a completion, [T · V]; the last position is certain to end.
    pub fn along(&self, log_probs: &[f64], completion: &[u32]) -> Vec<f64> {
        let certain = [f64::NEG_INFINITY, f64::NEG_INFINITY, 0.0];
        let row = |t: usize| match t {
            FREE.. => certain.to_vec(),
            _ => log_probs[self.row(&completion[..t]) * VOCABULARY..][..VOCABULARY].to_vec(),
        };
        (0..completion.len()).flat_map(row).collect()
    }

    fn entries(&self, completion: &[u32]) -> Vec<u32> {
        let free = completion.iter().enumerate().take(FREE);
        free.map(|(t, &token)| (self.row(&completion[..t]) * VOCABULARY) as u32 + token).collect()
    }

    fn log_softmax<B: Backend>(&self, logits: &Tensor<B>) -> Tensor<B> {
        let rows = self.prefixes.len();
        logits.reshape(&[rows, VOCABULARY]).log_softmax().reshape(&[1, rows * VOCABULARY])
    }
}
