//! Checks that the sequence log-probabilities of a dump are the sums of its token log-probabilities over the completions.

use super::check::{GradientCheck, check_finite, check_gradient};
use super::evaluation::Estimate;
use super::precision::DumpPrecision;
use crate::error::LossError;

/// Token log-probabilities of B sequences of T positions, and a mask of the positions in the completions.
#[derive(Clone, Debug)]
pub struct TokenLogProbs {
    /// The name of the sums in a dump, such as `policy_chosen_logps`.
    pub name: &'static str,
    /// [B, T] in row-major order, in nats. Positions that the mask drops count only in the search for a mistake.
    pub values: Vec<f64>,
    /// [B, T]: true where the position belongs to the completion.
    pub keep: Vec<bool>,
    /// T.
    pub length: usize,
}

/// A comparison of sums with ours.
#[derive(Clone, Debug, PartialEq)]
pub struct SumCheck {
    /// The sums, compared one by one.
    pub check: GradientCheck,
    /// The known mistake that explains all of them, if they are wrong.
    pub explanation: Option<String>,
}

impl TokenLogProbs {
    /// Computes the sum of each sequence over the positions that `keep` selects, with its tolerance; the mean if `mean`.
    fn sums(&self, precision: DumpPrecision, keep: impl Fn(usize) -> bool, mean: bool) -> Vec<Estimate> {
        let row = |start: usize| {
            let kept = (start..start + self.length).filter(|&i| keep(i)).map(|i| self.values[i]);
            let (sum, size, count) = kept.fold((0.0, 0.0, 0.0), |(sum, size, count), x| (sum + x, size + x.abs(), count + 1.0));
            let estimate = Estimate { value: sum, tolerance: precision.granted() * size + precision.underflow() };
            if mean { estimate.times(1.0 / f64::max(count, 1.0)) } else { estimate }
        };
        (0..self.values.len()).step_by(self.length).map(row).collect()
    }

    pub(super) fn check_shape(&self, sequences: usize) -> Result<(), LossError> {
        let expected = sequences * self.length;
        for (what, found) in [("token log-probs", self.values.len()), ("completion mask", self.keep.len())] {
            if found != expected || expected == 0 {
                return Err(LossError::Count { what, found, expected: expected.max(1) });
            }
        }
        let empty = self.keep.chunks(self.length).position(|row| !row.contains(&true));
        empty.map_or(Ok(()), |sequence| Err(LossError::EmptyCompletion { sequence }))
    }
}

/// Checks `[B]` sums that another program computed at `precision`.
///
/// # Errors
/// If a list has the wrong length, a completion has no tokens, or a number is not finite.
pub fn check_sums(sums: &[f64], tokens: &TokenLogProbs, precision: DumpPrecision) -> Result<SumCheck, LossError> {
    tokens.check_shape(sums.len())?;
    check_finite(tokens.name, sums)?;
    let kept: Vec<f64> = tokens.values.iter().zip(&tokens.keep).map(|(&x, &keep)| if keep { x } else { 0.0 }).collect();
    check_finite("token log-probs", &kept)?;
    let check = check_gradient(tokens.name, sums, &tokens.sums(precision, |i| tokens.keep[i], false));
    let explanation = if check.passed { None } else { explain(sums, tokens, precision) };
    Ok(SumCheck { check, explanation })
}

fn explain(sums: &[f64], tokens: &TokenLogProbs, precision: DumpPrecision) -> Option<String> {
    let (name, keep, length) = (tokens.name, &tokens.keep, tokens.length);
    let before = |i: usize| !i.is_multiple_of(length) && keep[i - 1];
    let after = |i: usize| i % length + 1 < length && keep[i + 1];
    let up_to_last = |i: usize| keep[i..(i / length + 1) * length].contains(&true);
    let mistakes: [(&str, Vec<Estimate>); 6] = [
        ("prompt tokens are not masked: the sums are over all positions", tokens.sums(precision, |_| true, false)),
        ("prompt tokens are not masked: the sums are over the prompt and the completion", tokens.sums(precision, up_to_last, false)),
        ("they are means over the completion's tokens instead of sums", tokens.sums(precision, |i| keep[i], true)),
        ("prompt tokens are not masked: they are means over all positions", tokens.sums(precision, |_| true, true)),
        ("the mask is shifted: it is applied one position too late", tokens.sums(precision, before, false)),
        ("the mask is shifted: it is applied one position too early", tokens.sums(precision, after, false)),
    ];
    let explains = |estimates: &[Estimate]| sums.iter().zip(estimates).all(|(&sum, estimate)| estimate.agrees(sum));
    mistakes.iter().find(|(_, estimates)| explains(estimates)).map(|(words, _)| format!("{words} (in {name})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns two sequences of four positions: one prompt token and a completion; the second is padded.
    fn tokens() -> TokenLogProbs {
        let values = vec![-9.0, -1.0, -2.0, -3.0, -8.0, -1.5, -2.5, -7.0];
        let keep = vec![false, true, true, true, false, true, true, false];
        TokenLogProbs { name: "policy_chosen_logps", values, keep, length: 4 }
    }

    #[test]
    fn right_sums_pass() {
        let found = check_sums(&[-6.0, -4.0], &tokens(), DumpPrecision::F64).unwrap();
        assert!(found.check.passed && found.explanation.is_none());
    }

    #[test]
    fn known_mistakes_are_named() {
        let cases = [
            ([-15.0, -19.0], "prompt tokens are not masked: the sums are over all positions"),
            ([-15.0, -12.0], "over the prompt and the completion"),
            ([-2.0, -2.0], "means over the completion's tokens"),
            ([-5.0, -9.5], "one position too late"),
            ([-12.0, -9.5], "one position too early"),
        ];
        for (sums, words) in cases {
            let found = check_sums(&sums, &tokens(), DumpPrecision::F64).unwrap();
            let explanation = found.explanation.unwrap_or_default();
            assert!(!found.check.passed && explanation.contains(words), "{sums:?}: {explanation}");
        }
    }

    #[test]
    fn what_no_mistake_explains_is_only_wrong() {
        let found = check_sums(&[-6.5, -4.0], &tokens(), DumpPrecision::F64).unwrap();
        assert_eq!((found.check.passed, found.check.worst_index, found.explanation), (false, 0, None));
    }

    #[test]
    fn bad_inputs_are_refused() {
        let empty = TokenLogProbs { keep: vec![false; 8], ..tokens() };
        assert_eq!(check_sums(&[-6.0, -4.0], &empty, DumpPrecision::F64).unwrap_err(), LossError::EmptyCompletion { sequence: 0 });
        assert!(matches!(check_sums(&[-6.0], &tokens(), DumpPrecision::F64), Err(LossError::Count { .. })));
        assert!(matches!(check_sums(&[f64::NAN, -4.0], &tokens(), DumpPrecision::F64), Err(LossError::NotFinite { .. })));
    }
}
