//! The sets of instructions that there is a kernel for, and which of them a product takes.

use super::kernel::Kernel;
use super::matrix::{Extents, FEW_ROWS, Matrix, SMALL, Strides};

/// A set of instructions for products.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// AVX-512, in f32.
    Avx512,
    /// AVX2 with fused multiply-adds, in f32.
    Avx2,
    /// AMX, with operands rounded to bfloat16.
    AmxBf16,
    /// AVX512-BF16, with operands rounded to bfloat16.
    Avx512Bf16,
    /// AMX, in f32: each operand is the sum of three parts of bfloat16.
    AmxF32,
}

/// Calls a function that is generic over the kernel with the one for these instructions.
macro_rules! with {
    ($instructions:ident, $function:ident($($argument:expr),*)) => {
        match $instructions {
            Instructions::Avx512 => $function::<$crate::gemm::kernels::avx512::Avx512>($($argument),*),
            Instructions::Avx2 => $function::<$crate::gemm::kernels::avx2::Avx2>($($argument),*),
            Instructions::AmxBf16 => $function::<$crate::gemm::kernels::amx_bf16::AmxBf16>($($argument),*),
            Instructions::Avx512Bf16 => $function::<$crate::gemm::kernels::avx512_bf16::Avx512Bf16>($($argument),*),
            Instructions::AmxF32 => $function::<$crate::gemm::kernels::amx_f32::AmxF32>($($argument),*),
        }
    };
}
pub(super) use with;

impl Instructions {
    /// The fastest of these that this processor has.
    #[inline]
    fn first_of<const N: usize>(candidates: [Self; N]) -> Option<Self> {
        candidates.into_iter().find(|&with| with!(with, is_available()))
    }

    /// The fastest for products in f32 of any size.
    #[inline]
    pub fn for_f32() -> Option<Self> {
        Self::first_of([Self::Avx512, Self::Avx2])
    }

    /// The fastest for products of operands rounded to bfloat16.
    #[inline]
    pub fn for_bf16() -> Option<Self> {
        Self::first_of([Self::AmxBf16, Self::Avx512Bf16])
    }

    /// Those for products in f32 from operands in three parts of bfloat16.
    #[inline]
    pub fn for_f32_in_parts() -> Option<Self> {
        Self::first_of([Self::AmxF32])
    }

    /// Those that are faster than [`Instructions::for_f32`] for a large product of these extents: one that is cut into tasks, or whose
    /// columns are packed once. `None` where there are none.
    ///
    /// Packing in three parts takes longer than packing in f32. A large B that is not too long and narrow makes up for it. Only whether A
    /// has more than [`FEW_ROWS`] counts, not how many: a row of the result is the same whatever other rows there are.
    #[inline]
    pub fn for_large_f32((m, k, n): Extents) -> Option<Self> {
        let is_cut = (FEW_ROWS + 1) * k * n > SMALL;
        let is_faster = m > FEW_ROWS && is_cut && k.min(n) >= 48 && (n >= 64 || 8 * n >= k);
        if is_faster { Self::for_f32_in_parts() } else { None }
    }

    /// True if products of these A with one B are faster together. They are not where an A is read in place.
    pub fn should_batch(self, a: &[(Matrix<f32>, usize)]) -> bool {
        let reads_in_place = |strides| with!(self, reads_rows_in_place(strides));
        a.len() == 1 || !a.iter().any(|(a, _)| reads_in_place(a.strides))
    }

    /// Their name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "AVX-512",
            Self::Avx2 => "AVX2",
            Self::AmxBf16 | Self::AmxF32 => "AMX",
            Self::Avx512Bf16 => "AVX512-BF16",
        }
    }
}

/// [`Kernel::is_available`].
#[inline]
fn is_available<K: Kernel>() -> bool {
    K::is_available()
}

/// [`Kernel::reads_rows_in_place`].
fn reads_rows_in_place<K: Kernel>(strides: Strides) -> bool {
    K::reads_rows_in_place(strides)
}
