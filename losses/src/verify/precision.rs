//! The type that a program computed in, and the error of its rounding.

/// A floating-point type of a dump.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DumpPrecision {
    /// binary64.
    F64,
    /// binary32.
    F32,
    /// binary16.
    F16,
    /// bfloat16.
    BF16,
}

impl DumpPrecision {
    /// Returns u: half the distance from 1 to the next larger number.
    pub fn unit_roundoff(self) -> f64 {
        match self {
            Self::F64 => 2f64.powi(-53),
            Self::F32 => 2f64.powi(-24),
            Self::F16 => 2f64.powi(-11),
            Self::BF16 => 2f64.powi(-8),
        }
    }

    /// Returns the size below which a result may have become 0: the smallest normal number, or for binary16 the smallest number of all.
    pub(super) fn underflow(self) -> f64 {
        match self {
            Self::F64 => f64::MIN_POSITIVE,
            Self::F32 | Self::BF16 => f64::from(f32::MIN_POSITIVE),
            Self::F16 => 2f64.powi(-24),
        }
    }

    /// Returns the factor of the condition: u times the number of roundings that are granted. Programs with half-precision tensors compute
    /// losses in f32 and round only inputs and results: 2. The others round after each of some ten operations: 32, to be generous.
    pub(super) fn granted(self) -> f64 {
        let roundings = if matches!(self, Self::F64 | Self::F32) { 32.0 } else { 2.0 };
        roundings * self.unit_roundoff()
    }
}
