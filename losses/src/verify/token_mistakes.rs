//! The known mistakes of the token forms, each as a composition of ops; the likelier first.

use super::evaluation::{Evaluation, Mistake};
use super::precision::DumpPrecision;
use super::tokens::{Tensors, TokenProblem, World};
use crate::error::LossError;
use crate::loss::Loss;
use crate::numeric::LogComplement;
use engine::Tensor;
use engine::functions::FiniteOrZero;
use std::mem::swap;

/// The expression in place of ln p_o, the log-probability of all other tokens.
#[derive(Clone, Copy, PartialEq)]
enum LogOthers {
    /// ln Σ_{v ∉ {w, l}} p_v: right.
    Right,
    /// ln(1 − p_w).
    WinnerOnly,
    /// ln(1 − p_w − p_l), which subtracts the same token twice where w = l.
    TakenTwice,
    /// ln Σ_{v ∉ {w, l}} e^{p_v} (claim I2 of the audit).
    OfProbabilities,
    /// ln Σ_{v ∉ {w, l}} e^{z_v}.
    OfLogits,
    /// ln(Σ_{v ∉ {w, l}} p_v + e⁰ for each masked token).
    MaskedToZero,
}

/// A form of the loss of one position.
#[derive(Clone, Copy)]
struct Form {
    log_others: LogOthers,
    /// True if the loss has the term −w_l ln p_l.
    rejected_term: bool,
    /// True if w_l is subtracted from the others' mass.
    rejected_mass: bool,
    /// True if w_w is doubled where w = l.
    doubled: bool,
}

/// The right form.
const RIGHT: Form = Form { log_others: LogOthers::Right, rejected_term: true, rejected_mass: true, doubled: false };

/// A collector of mistakes for one problem.
struct Catalogue<'a> {
    right: &'a TokenProblem,
    precision: DumpPrecision,
    mistakes: Vec<Mistake<'a>>,
}

/// Lists all mistakes that apply to the problem.
pub(super) fn all(problem: &TokenProblem, precision: DumpPrecision) -> Vec<Mistake<'_>> {
    let mut catalogue = Catalogue { right: problem, precision, mistakes: Vec::new() };
    catalogue.masks();
    catalogue.scales();
    catalogue.logsumexps();
    catalogue.rejected_mass();
    catalogue.collisions();
    catalogue.gradients();
    catalogue.mistakes
}

impl<'a> Catalogue<'a> {
    fn push(&mut self, words: impl Into<String>, evaluate: impl Fn() -> Result<Evaluation, LossError> + 'a) {
        self.mistakes.push(Mistake { words: words.into(), evaluate: Box::new(evaluate) });
    }

    fn changed(
        &mut self,
        words: impl Into<String>,
        change: impl Fn(&mut TokenProblem) + 'a,
        evaluate: impl Fn(Evaluation) -> Evaluation + 'a,
    ) {
        let (right, precision) = (self.right, self.precision);
        self.push(words, move || {
            let mut problem = right.clone();
            change(&mut problem);
            Ok(evaluate(problem.evaluate(precision)?))
        });
    }

    fn form(&mut self, words: &str, form: Form) {
        let (right, precision) = (self.right, self.precision);
        self.push(words, move || {
            let tensors = right.tensors();
            Ok(right.estimates(&losses(right, &tensors, form), &tensors.logits, precision))
        });
    }

    fn scales(&mut self) {
        let (count, sequences) = (self.right.counted() as f64, self.right.shape[0] as f64);
        let mut scaled = |words: &str, factor: f64| self.changed(words, |_| {}, move |x| x.scaled(factor, factor));
        scaled("the loss is a sum over all positions instead of a mean", count);
        scaled("the loss is a sum over the tokens and a mean over B only, instead of a mean over B·T", count / sequences);
        scaled("the loss is divided by B twice", 1.0 / sequences);
        scaled("the sign is wrong: loss and gradient are negated (the loss is maximised)", -1.0);
        self.changed("the gradient has the wrong sign", |_| {}, |x| x.scaled(1.0, -1.0));
    }

    fn masks(&mut self) {
        if self.right.keep.is_none() {
            return;
        }
        self.changed("masked positions are counted: the mask is ignored", |x| x.keep = None, |x| x);
        let factor = self.right.counted() as f64 / self.right.positions() as f64;
        let words = "masked positions are counted in the mean: it is over B·T instead of the positions that the mask keeps";
        self.changed(words, |_| {}, move |x| x.scaled(factor, factor));
    }

    fn logsumexps(&mut self) {
        let forms = [
            ("the logsumexp of the others is of probabilities instead of log-probabilities (claim I2)", LogOthers::OfProbabilities),
            ("the logsumexp of the others is of logits that are not normalised (log_softmax is missing)", LogOthers::OfLogits),
            ("the masked tokens are set to 0 instead of −∞ in the logsumexp of the others", LogOthers::MaskedToZero),
            ("the last term is ln(1 − p_w): the rejected token is not masked out", LogOthers::WinnerOnly),
        ];
        for (words, log_others) in forms {
            self.form(words, Form { log_others, ..RIGHT });
        }
    }

    fn rejected_mass(&mut self) {
        if self.right.w_l.is_none() {
            return;
        }
        if self.right.loss == Loss::SlpoLiteral {
            return self.changed("this is slpo-token, not slpo-literal: w_l is used", |x| x.loss = Loss::SlpoToken, |x| x);
        }
        self.form(
            "w_l is missing: there is no term of the rejected token, as in the paper's listing (this is slpo-literal)",
            Form { rejected_term: false, rejected_mass: false, ..RIGHT },
        );
        self.form("w_l is missing: the term −w_l ln p_l is left out", Form { rejected_term: false, ..RIGHT });
        self.form("w_l is not taken from the mass of the others", Form { rejected_mass: false, ..RIGHT });
    }

    fn collisions(&mut self) {
        let taken_twice = "the listing's collision: where y_w = y_l the token's probability is subtracted twice (the two are not merged)";
        self.form(taken_twice, Form { log_others: LogOthers::TakenTwice, ..RIGHT });
        let doubled = "the listing's collision: where y_w = y_l the token's mass is counted twice (the two are not merged)";
        self.form(doubled, Form { doubled: true, ..RIGHT });
        let right = self.right;
        let words = "the listing's collision: where y_w = y_l the gradient at the rejected token overwrites that at the chosen one";
        self.changed(words, |_| {}, move |x| overwritten(right, x));
        let exchanged = |x: &mut TokenProblem| swap(&mut x.chosen, &mut x.rejected);
        self.changed("chosen and rejected tokens are swapped", exchanged, |x| x);
    }

    fn gradients(&mut self) {
        let (right, precision) = (self.right, self.precision);
        self.push("the gradient is with respect to log-probabilities, not logits (it has not gone through log_softmax)", move || {
            let tensors = right.tensors();
            let log_probs = tensors.logits.log_softmax().detach().to_parameter();
            let at = Tensors { logits: log_probs.clone(), ..tensors };
            let by_position = losses_of_log_probs(right, &at, &log_probs, RIGHT);
            Ok(right.estimates(&by_position, &log_probs, precision))
        });
    }
}

/// Computes the gradient of −w_l ln p_l − … at a position where w = l, without the chosen token's mass.
fn overwritten(problem: &TokenProblem, mut x: Evaluation) -> Evaluation {
    let scale = 1.0 / problem.counted() as f64;
    for (n, row) in x.gradients[0].chunks_mut(problem.shape[2]).enumerate() {
        if problem.chosen[n] == problem.rejected[n] && problem.counts(n) {
            row[problem.chosen[n] as usize].value += problem.w_w[n] * scale;
        }
    }
    x
}

/// Computes the loss of each position, `[B·T]`, in a form.
fn losses(problem: &TokenProblem, tensors: &Tensors, form: Form) -> Tensor<World> {
    losses_of_log_probs(problem, tensors, &tensors.logits.log_softmax(), form)
}

fn losses_of_log_probs(problem: &TokenProblem, tensors: &Tensors, log_probs: &Tensor<World>, form: Form) -> Tensor<World> {
    let n = problem.positions();
    let column = |tokens| log_probs.gather(tokens).reshape(&[n]);
    let (log_w, log_l) = (column(&tensors.chosen), column(&tensors.rejected));
    let masses = (0..n).map(|n| masses(problem, form, n));
    let (mut w_w, mut w_l, mut u) = (Vec::new(), Vec::new(), Vec::new());
    for (chosen, rejected, others) in masses {
        w_w.push(chosen);
        w_l.push(rejected);
        u.push(others);
    }
    let constant = |x: &[f64]| Tensor::constant(log_probs.backend(), x, &[n]);
    let kept = constant(&w_w).mul(&log_w).add(&constant(&w_l).mul(&log_l));
    kept.add(&constant(&u).mul(&log_others(problem, tensors, log_probs, form.log_others))).neg()
}

/// Returns (w_w, w_l, u) at position n in a form; zeros if the position does not count.
fn masses(problem: &TokenProblem, form: Form, n: usize) -> (f64, f64, f64) {
    if !problem.counts(n) {
        return (0.0, 0.0, 0.0);
    }
    let same = problem.chosen[n] == problem.rejected[n];
    let chosen = if same && form.doubled { 2.0 * problem.w_w[n] } else { problem.w_w[n] };
    let rejected = problem.rejected_mass(n);
    let others = 1.0 - chosen - if form.rejected_mass { rejected } else { 0.0 };
    (chosen, if form.rejected_term { rejected } else { 0.0 }, others)
}

fn log_others(problem: &TokenProblem, tensors: &Tensors, log_probs: &Tensor<World>, form: LogOthers) -> Tensor<World> {
    let (n, v) = (problem.positions(), problem.shape[2]);
    let mut keep = vec![true; n * v];
    for position in 0..n {
        keep[position * v + problem.chosen[position] as usize] = false;
        if form != LogOthers::WinnerOnly {
            keep[position * v + problem.rejected[position] as usize] = false;
        }
    }
    match form {
        LogOthers::Right | LogOthers::WinnerOnly => log_probs.masked_logsumexp(&keep).map(FiniteOrZero),
        LogOthers::OfProbabilities => log_probs.exp().masked_logsumexp(&keep).map(FiniteOrZero),
        LogOthers::OfLogits => tensors.logits.masked_logsumexp(&keep).map(FiniteOrZero),
        LogOthers::MaskedToZero => {
            let kept: Vec<f64> = keep.iter().map(|&keep| f64::from(u8::from(keep))).collect();
            log_probs.mul(&Tensor::constant(log_probs.backend(), &kept, log_probs.shape())).logsumexp()
        }
        LogOthers::TakenTwice => {
            let column = |tokens| log_probs.gather(tokens).reshape(&[n, 1]);
            Tensor::concat(&[&column(&tensors.chosen), &column(&tensors.rejected)], 1).logsumexp().map(LogComplement)
        }
    }
}
