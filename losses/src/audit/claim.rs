//! A claim with its verdict. The verdict is reached by comparing computed numbers with predicted ones.

/// A computed number beside its prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Check {
    /// What is compared.
    pub what: &'static str,
    /// The computed value.
    pub value: f64,
    /// The value that theory predicts for the same instance.
    pub expected: f64,
    /// The largest difference allowed; the computation gives the reason beside it.
    pub tolerance: f64,
}

impl Check {
    /// Makes a check of a value against its prediction.
    pub fn new(what: &'static str, value: f64, expected: f64, tolerance: f64) -> Self {
        Self { what, value, expected, tolerance }
    }

    /// True if |value − expected| is within the tolerance; false for NaN.
    pub fn agrees(&self) -> bool {
        (self.value - self.expected).abs() <= self.tolerance
    }
}

/// A claim of the paper, with its result on one instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    /// Its name in the audit, such as `K4b`.
    pub id: &'static str,
    /// The paper's claim in words.
    pub claim: &'static str,
    /// What was computed.
    pub formula: &'static str,
    /// The verdict in words.
    pub verdict: String,
    /// The numbers of this instance, in one or two sentences.
    pub evidence: String,
    /// The first check's value.
    pub value: f64,
    /// The first check's prediction.
    pub expected: f64,
    /// The first check's tolerance.
    pub tolerance: f64,
    /// True if the paper's claim holds on this instance.
    pub holds: bool,
    /// True if all computed numbers agree with their predictions.
    pub agrees: bool,
    /// Every comparison that was made, at least one.
    pub checks: Vec<Check>,
    /// The file and the function that computed it.
    pub source: &'static str,
}

impl Claim {
    /// Returns the source file that computes it, from the root of the workspace.
    pub fn file(&self) -> &'static str {
        self.source.split_once("::").map_or(self.source, |(file, _)| file)
    }

    /// Returns the function in that file.
    pub fn function(&self) -> &'static str {
        self.source.split_once("::").map_or("", |(_, function)| function)
    }
}

/// The parts of a claim that do not depend on the instance.
pub(super) struct Statement {
    pub id: &'static str,
    pub claim: &'static str,
    pub formula: &'static str,
    pub source: &'static str,
    /// The verdict where the claim holds, and where it does not.
    pub verdicts: [&'static str; 2],
}

impl Statement {
    /// Returns the claim with its verdict: one of the two if every check agrees, "unsettled" if one does not.
    ///
    /// # Panics
    /// If there are no checks, because a verdict must rest on numbers.
    pub fn judge(self, checks: Vec<Check>, holds: bool, evidence: String) -> Claim {
        let Check { value, expected, tolerance, .. } = checks[0];
        let wrong = checks.iter().find(|check| !check.agrees());
        let verdict = match wrong {
            None => self.verdicts[usize::from(!holds)].to_owned(),
            Some(check) => format!("unsettled: {} is {:e}, predicted {:e}", check.what, check.value, check.expected),
        };
        let (id, claim, formula, source) = (self.id, self.claim, self.formula, self.source);
        // An exact zero is written without an exponent.
        let evidence = evidence.replace("-0.0e0", "0").replace("0.0e0", "0");
        Claim { id, claim, formula, verdict, evidence, value, expected, tolerance, holds, agrees: wrong.is_none(), checks, source }
    }
}

/// Returns the allowed error of an identity, for numbers of this size: 256 roundings of f64, each of at most UNIT_ROUNDOFF relative to the
/// largest intermediate number. The computations make a few dozen roundings; enumeration over 15 completions makes the most, about 100. So
/// the bound is loose by a small factor. It is still 1e-14 of the size, so no wrong formula passes.
pub(super) fn round_off(size: f64) -> f64 {
    256.0 * <f64 as engine::Scalar>::UNIT_ROUNDOFF * size.abs().max(1.0)
}

/// Computes the largest |a − b| of two lists.
pub(super) fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// A function that computes one claim from a random stream of its own.
pub(super) type Computation = fn(&mut engine::Generator) -> Claim;
