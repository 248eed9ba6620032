//! The sets of instructions that products are made with, and which of them a product takes.

use super::kernel::Kernel;
use super::kernels::amx::Amx;
use super::kernels::amx_f32::Split;
use super::kernels::avx2::Avx2;
use super::kernels::avx512::Avx512;
use super::kernels::avx512_bf16::Dot;
use super::matrix::{Extents, Matrix, SMALL, Strides};

/// So many rows, as generating text has, are multiplied without packing B in parts.
pub const FEW_ROWS: usize = 8;

/// A set of instructions for products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// AVX-512, in f32.
    Avx512,
    /// AVX2 with fused multiply-adds, in f32.
    Avx2,
    /// AMX, of operands rounded to bfloat16.
    Amx,
    /// AVX512-BF16, of operands rounded to bfloat16.
    Dot,
    /// AMX, of operands in three parts of bfloat16: in f32.
    Split,
}

/// A function of the kernel of a set of instructions.
macro_rules! with {
    ($instructions:ident, $function:ident($($argument:expr),*)) => {
        match $instructions {
            Instructions::Avx512 => $function::<$crate::gemm::kernels::avx512::Avx512>($($argument),*),
            Instructions::Avx2 => $function::<$crate::gemm::kernels::avx2::Avx2>($($argument),*),
            Instructions::Amx => $function::<$crate::gemm::kernels::amx::Amx>($($argument),*),
            Instructions::Dot => $function::<$crate::gemm::kernels::avx512_bf16::Dot>($($argument),*),
            Instructions::Split => $function::<$crate::gemm::kernels::amx_f32::Split>($($argument),*),
        }
    };
}
pub(super) use with;

impl Instructions {
    /// The fastest that are there for products in f32 of any size.
    #[inline]
    pub fn for_f32() -> Option<Self> {
        match () {
            () if Avx512::available() => Some(Self::Avx512),
            () if Avx2::available() => Some(Self::Avx2),
            () => None,
        }
    }

    /// The fastest that are there for products of operands rounded to bfloat16.
    #[inline]
    pub fn for_bf16() -> Option<Self> {
        match () {
            () if Amx::available() => Some(Self::Amx),
            () if Dot::available() => Some(Self::Dot),
            () => None,
        }
    }

    /// Those for products in f32 from operands in three parts of bfloat16.
    pub fn for_f32_in_parts() -> Option<Self> {
        Split::available().then_some(Self::Split)
    }

    /// Those that are faster than [`Instructions::for_f32`] for a product of these extents that is cut into tasks, or whose columns are packed once;
    /// `None` where there are none. Packing operands in three parts takes longer than packing them as they are, which a large B that is not too long and
    /// narrow makes up for. How many rows A has makes no difference beyond [`FEW_ROWS`], so that a row of the result is the same whatever other rows
    /// there are.
    #[inline]
    pub fn for_large_f32((m, k, n): Extents) -> Option<Self> {
        let is_cut = (FEW_ROWS + 1) * k * n > SMALL;
        let is_faster = m > FEW_ROWS && is_cut && k.min(n) >= 48 && (n >= 64 || 8 * n >= k);
        if is_faster { Self::for_f32_in_parts() } else { None }
    }

    /// True if products of these A with one B are faster together. Not so where an A is read in place.
    pub fn should_batch(self, a: &[(Matrix<f32>, usize)]) -> bool {
        let in_place = |strides| with!(self, reads_in_place(strides));
        a.len() == 1 || !a.iter().any(|(a, _)| in_place(a.strides))
    }

    /// Their name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::Amx => "AMX",
            Self::Dot => "AVX512-BF16",
            Self::Split => "AMX",
        }
    }
}

/// [`Kernel::reads_in_place`].
fn reads_in_place<K: Kernel>(strides: Strides) -> bool {
    K::reads_in_place(strides)
}
