//! The exact target Q\* formed by ops on whole arrays, where the reference's logits are: on a device with a queue the host need not wait
//! for them. [`exact_target`](super::exact_target::exact_target) is its twin, pair by pair on the host, and says what the letters mean.
//!
//! A row of ln π becomes one of ln q by a number that is taken off all of it, and new entries at one token, at the fork at two:
//!
//! at the fork   logaddexp(ln π(w_f|u), a) at w_f, ln π(l_f|u) + log1mexp R_{f+1} at l_f, with a = ln μ/π(u) = ln π(l_f|u) + R_{f+1}
//! later on w    less softplus d_t; ln[(p + e^{d_t})/(1 + e^{d_t})] at w_t, with d_t = a − Σ_{f ≤ s < t} ln π(w_s|w_<s)
//! later on l    less log1mexp R_t; with log1mexp R_{t+1} added at l_t
//!
//! Each formula is computed for every row, as a column [N, 1], and each row takes the columns that it needs by their numbers: what does not
//! apply to a row may be infinite there. Sums along completions double their number of terms in each round, R's from the end and d's from
//! the fork.

use super::exact_target::{at_most_zero, towards};
use super::pair_rows::PairRows;
use crate::numeric::logaddexp;
use engine::backend::Indices;
use engine::functions::FiniteOrZero;
use engine::{Backend, Scalar, Tensor, formulas};

/// ln q for each row, [N, V], and the rows' weights, `[N]`, from the reference's logits [N, V] and where each pair forks.
pub(crate) fn target_on_device<B: Backend>(logits: &Tensor<B>, pairs: &[PairRows], forks: &[usize], moved: f64) -> (Tensor<B>, Tensor<B>) {
    let (n, vocabulary) = (logits.shape()[0], logits.shape()[1]);
    let mut plan = PairPlan::of_rows(n);
    pairs.iter().zip(forks).for_each(|(pair, &fork)| plan.place(pair, fork));
    let tokens: Indices = plan.tokens.concat().into();
    let log_probs = logits.detach().embedding(&plan.sources.as_slice().into()).log_softmax();
    let taken = columns(&plan, &log_probs.gather(&tokens), moved).gather(&plan.taken.concat().into());
    let entries = taken.slice(1, 0, 2).scatter_add(&tokens, vocabulary);
    let log_target = log_probs.sub(&taken.slice(1, 2, 3)).detached_zip(Replaced, &entries);
    (log_target, taken.slice(1, 3, 4).reshape(&[n]))
}

/// The formulas, in the order of their columns.
#[derive(Clone, Copy)]
enum Column {
    Zero,
    One,
    /// At w_f.
    Won,
    /// At l_f.
    Lost,
    /// At w_t, t > f.
    OnWinner,
    /// Taken off rows of w.
    Grown,
    /// At l_t, t > f.
    OnLoser,
    /// Taken off rows of l.
    Left,
    /// The share of its mass that a prefix of l keeps.
    Share,
}

/// What each of the N rows is made from. Row N is one of zeros, at which every sum ends.
struct PairPlan {
    /// The row of logits: its own, or the chosen completion's where both share the prefix.
    sources: Vec<u32>,
    /// The token of the first new entry and that of the second; a 0 is added where there is none.
    tokens: Vec<[u32; 2]>,
    /// N + 1 rows: the row after it in its completion's sum.
    chain: Vec<u32>,
    /// The row whose sum goes into d_t or R_{t+1}.
    beyond: Vec<u32>,
    /// The row of the fork.
    forks: Vec<u32>,
    /// The columns of the two new entries, of what is taken off, and of the weight.
    taken: Vec<[u32; 4]>,
}

impl PairPlan {
    /// N rows that stay as they are and weigh 0.
    fn of_rows(n: usize) -> Self {
        let (own, none) = ((0..n as u32).collect::<Vec<_>>(), n as u32);
        let taken = vec![[Column::Zero as u32; 4]; n];
        Self { sources: own.clone(), tokens: vec![[0; 2]; n], chain: vec![none; n + 1], beyond: vec![none; n], forks: own, taken }
    }

    /// Places a pair whose completions part at position `fork`.
    fn place(&mut self, pair: &PairRows, fork: usize) {
        let none = self.sources.len() as u32;
        let (w, l) = (pair.chosen_start, pair.rejected_start);
        let next = |t: usize| if t + 1 < pair.rejected.len() { (l + t + 1) as u32 } else { none };
        for (start, weight) in [(w, Column::One), (l, Column::Zero)] {
            for t in 0..=fork {
                self.sources[start + t] = (w + t) as u32;
                self.set(start + t, [pair.chosen[t]; 2], [Column::Zero, Column::Zero, Column::Zero, weight]);
            }
            self.beyond[start + fork] = next(fork);
            self.set(start + fork, [pair.chosen[fork], pair.rejected[fork]], [Column::Won, Column::Lost, Column::Zero, weight]);
        }
        for t in fork + 1..pair.chosen.len() {
            self.forks[w + t] = (w + fork) as u32;
            self.link(w + t, (w + t - 1) as u32);
            self.set(w + t, [pair.chosen[t]; 2], [Column::OnWinner, Column::Zero, Column::Grown, Column::One]);
        }
        for t in fork + 1..pair.rejected.len() {
            self.link(l + t, next(t));
            self.set(l + t, [pair.rejected[t]; 2], [Column::OnLoser, Column::Zero, Column::Left, Column::Share]);
        }
    }

    fn set(&mut self, row: usize, tokens: [u32; 2], taken: [Column; 4]) {
        self.tokens[row] = tokens;
        self.taken[row] = taken.map(|column| column as u32);
    }

    fn link(&mut self, row: usize, to: u32) {
        self.chain[row] = to;
        self.beyond[row] = to;
    }
}

/// Every [`Column`] of every row, from the log-probabilities of the rows' two tokens, [N, 2].
fn columns<B: Backend>(plan: &PairPlan, log_probs: &Tensor<B>, moved: f64) -> Tensor<B> {
    let (backend, n) = (log_probs.backend(), log_probs.shape()[0]);
    let (own, loser) = (log_probs.slice(1, 0, 1), log_probs.slice(1, 1, 2));
    let column = |value: f64| Tensor::full(backend, value, &[n, 1]);
    let (log_moved, nothing) = (Tensor::full(backend, moved.ln(), &[]), Tensor::full(backend, 0.0, &[1, 1]));
    let sums = running_sums(Tensor::concat(&[&own, &nothing], 0), &plan.chain);
    let (beyond, sums) = (sums.embedding(&plan.beyond.as_slice().into()), sums.slice(0, 0, n));
    let (remaining, next) = (sums.detached_zip(Remaining, &log_moved), beyond.detached_zip(Remaining, &log_moved));
    let a = loser.add(&next);
    let d = a.embedding(&plan.forks.as_slice().into()).sub(&beyond);
    let left = remaining.log1mexp().map(FiniteOrZero);
    let columns = [
        column(0.0),
        column(1.0),
        own.detached_zip(Won, &a),
        loser.detached_zip(Lost, &next),
        own.detached_zip(OnWinner, &d),
        d.softplus(),
        own.sub(&left).detached_zip(OnLoser, &remaining.detached_zip(Survival, &next)),
        left,
        sums.detached_zip(Share, &log_moved),
    ];
    Tensor::concat(&columns.each_ref(), 1)
}

/// The sums of x, [N + 1, 1], along chains: over a row, the one after it, and so on until row N, where x is 0.
fn running_sums<B: Backend>(x: Tensor<B>, chain: &[u32]) -> Tensor<B> {
    let (mut sums, mut after, end) = (x, chain.to_vec(), chain.len() as u32 - 1);
    while after.iter().any(|&row| row != end) {
        sums = sums.add(&sums.embedding(&after.as_slice().into()));
        after = after.iter().map(|&row| after[row as usize]).collect();
    }
    sums
}

/// A new entry, which must not be 0, because 0 says that an entry stays: a log-probability of 0 becomes the largest normal one below in
/// f32.
#[inline(always)]
fn written<T: Scalar>(log_prob: T) -> T {
    let largest = T::from_f64(-f64::from(f32::MIN_POSITIVE));
    if log_prob > largest { largest } else { log_prob }
}

formulas! {
    /// R_t, from Σ_{s ≥ t} ln π(l_s|l_<s) and ln(moved).
    Remaining(sum, log_moved) = at_most_zero(log_moved + sum);
    /// 1 − e^{R_t}, likewise.
    Share(sum, log_moved) = -at_most_zero(log_moved + sum).exp_m1();
    /// ln q(w_f|u), from ln π(w_f|u) and a.
    Won(log_prob, a) = written(logaddexp(log_prob, a));
    /// ln q(l_f|u), from ln π(l_f|u) and R_{f+1}.
    Lost(log_prob, next) = written(log_prob + next.log1mexp());
    /// ln q(w_t|w_<t), from ln π(w_t|w_<t) and d_t.
    OnWinner(log_prob, d) = written(towards(log_prob, d));
    /// ln q(l_t|l_<t), from ln π(l_t|l_<t) − log1mexp R_t and log1mexp R_{t+1}.
    OnLoser(log_prob, survival) = written(log_prob + survival);
    /// log1mexp R_{t+1}; 0 where R_t is 0, nothing is left of the prefix and its row stays as it is.
    Survival(remaining, next) = if remaining.log1mexp().is_finite() { next.log1mexp() } else { T::zero() };
    /// The new entry where there is one, else the old.
    Replaced(old, new) = if new == T::zero() { old } else { new };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exact::exact_target::fork;
    use crate::exact::target_on_host::target_on_host;
    use engine::Cpu;
    use engine::gradcheck::Draw;

    type World = Cpu<f64>;

    const VOCABULARY: usize = 5;

    /// Completions of all kinds: equal prefixes of 0 to 3 tokens, up to 12 tokens after the fork or none; a row before each pair belongs to
    /// nothing.
    fn pairs(draw: &mut Draw) -> (Vec<PairRows>, usize) {
        let (mut pairs, mut n) = (Vec::new(), 0);
        for _ in 0..3 {
            let shared = draw.below(4);
            let shared = draw.indices(shared, VOCABULARY).to_vec();
            let mut tail = |first: u32| {
                let rest = if draw.coin() { 0 } else { draw.below(13) };
                [&shared[..], &[first], &draw.indices(rest, VOCABULARY)].concat()
            };
            let (chosen, rejected) = (tail(1), tail(3));
            let (chosen_start, rejected_start) = (n + 1, n + 1 + chosen.len());
            n = rejected_start + rejected.len();
            pairs.push(PairRows { chosen_start, chosen, rejected_start, rejected });
        }
        (pairs, n)
    }

    /// Logits of size 3, some of them ±1e4, with tokens that are certain: their completions have probability 1 up to the fork.
    fn logits(draw: &mut Draw, kind: usize, pairs: &[PairRows], n: usize) -> Tensor<World> {
        let mut z = draw.normal(&[n, VOCABULARY]).data;
        z.iter_mut().for_each(|z| *z *= if kind == 1 && draw.below(4) == 0 { 1e4 } else { 3.0 });
        for pair in pairs.iter().filter(|_| kind == 2) {
            let all = pair.chosen_rows().zip(&pair.chosen).chain(pair.rejected_rows().zip(&pair.rejected));
            all.filter(|_| draw.coin()).for_each(|(row, &token)| z[row * VOCABULARY + token as usize] = 1e4);
        }
        Tensor::constant(&World::new(), &z, &[n, VOCABULARY])
    }

    /// The largest number on the way, at most: the sizes of all terms of a pair's sums, and what is taken off a row.
    fn size(log_probs: &[f64], log_target: &[f64], pairs: &[PairRows], forks: &[usize], moved: f64) -> f64 {
        let at = |row: usize, token: u32| log_probs[row * VOCABULARY + token as usize].abs();
        let sum = |rows: std::ops::Range<usize>, tokens: &[u32]| rows.zip(tokens).map(|(row, &token)| at(row, token)).sum::<f64>();
        let terms = pairs.iter().zip(forks).map(|(pair, &fork)| {
            let both = sum(pair.chosen_rows(), &pair.chosen) + sum(pair.rejected_rows(), &pair.rejected);
            both + at(pair.chosen_start + fork, pair.rejected[fork])
        });
        let taken = log_probs.iter().zip(log_target).map(|(before, after)| (before - after).abs()).filter(|x| x.is_finite());
        let log_moved = if moved > 0.0 { -moved.ln() } else { 0.0 };
        terms.fold(0.0, f64::max) + taken.fold(0.0, f64::max) + log_moved
    }

    /// Both start from the same ln π. A sum of at most T + 2 terms errs by (T + 2)·u of the sum S of their sizes on either side; all of one
    /// sign, it errs by as much of itself, so that log1mexp, whose slope grows as 1/R near 0, errs by (T + 2)·u too. The other formulas'
    /// slopes are at most 1 (of ln q where d > 0, because q ≥ ½ there). What is left are 16 roundings of numbers of size 1 + S.
    #[test]
    fn the_target_on_a_device_is_that_of_the_host() {
        for seed in 0..300 {
            let draw = &mut Draw::new(seed, 6);
            let (pairs, n) = pairs(draw);
            let logits = logits(draw, seed as usize % 3, &pairs, n);
            let forks: Vec<usize> = pairs.iter().filter_map(|pair| fork(&pair.chosen, &pair.rejected)).collect();
            let longest = pairs.iter().map(|pair| pair.chosen.len().max(pair.rejected.len())).max().unwrap_or(0);
            for moved in [1.0, 0.3, 1e-9, 0.0] {
                let (log_target, weights) = target_on_host(&logits, &pairs, moved).expect("pairs that part");
                let device = target_on_device(&logits, &pairs, &forks, moved);
                let size = size(&logits.log_softmax().to_f64(), &log_target.to_f64(), &pairs, &forks, moved);
                let allowed = (2 * (longest + 2) + 16) as f64 * f64::UNIT_ROUNDOFF * (1.0 + size);
                for (got, expected) in [(&device.0, &log_target), (&device.1, &weights)] {
                    for (i, (got, expected)) in got.to_f64().into_iter().zip(expected.to_f64()).enumerate() {
                        let near = got == expected || (got - expected).abs() <= allowed;
                        assert!(near, "seed {seed}, moved {moved}: {got} for {expected} at {i}, allowed {allowed}; {pairs:?}");
                    }
                }
            }
        }
    }
}
