//! How a device rounds.

use thiserror::Error;

/// How matrix products round their operands and how activations are stored. Sums are in f32, and so are weights, gradients of weights,
/// moments, the residual stream and everything of the losses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// f32 (24 bits) throughout. A processor with AMX forms large products from operands in three parts of bfloat16, which have the 24 bits
    /// between them, and is as exact; it takes products below 2⁻¹²⁶, and parts of operands there, as zero.
    #[default]
    F32,
    /// Products of operands rounded to TF32 (11 bits), on a GPU's tensor cores; everything is stored in f32.
    Tf32,
    /// Products of operands rounded to bfloat16 (8 bits), on a GPU's tensor cores or by a processor's instructions for them. On a GPU what
    /// products, norms, rotations, attention and the gated unit give is stored in bfloat16 too; a processor stores it in f32, and takes
    /// operands and sums below the smallest normal number, 2⁻¹²⁶, as zero.
    Bf16,
}

impl Precision {
    /// Its name, as `--precision` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// The unit round-off u of its coarsest rounding: 2⁻²⁴, 2⁻¹¹ or 2⁻⁸.
    pub fn unit_roundoff(self) -> f64 {
        let bits = match self {
            Self::F32 => 24,
            Self::Tf32 => 11,
            Self::Bf16 => 8,
        };
        2f64.powi(-bits)
    }
}

/// A precision that this processor does not have.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PrecisionError {
    /// TF32 is a format of GPUs.
    #[error("products in tf32 are done by GPUs only: the processor multiplies in f32 or bf16")]
    Tf32,
    /// No instructions for products of bfloat16.
    #[error("products in bf16 need AMX or AVX512-BF16, which this processor does not have")]
    Bf16,
}
