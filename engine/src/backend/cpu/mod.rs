//! The CPU: one implementation for every scalar type, vectorised at run time for the processor at hand.
//!
//! Each family of the backend is implemented beside its kernels: [`Core`] here and in `elementwise`, `reduce`, `indexing`; the others in
//! `gated_mlp` (products), `rows`, `attention`, `vocabulary` and `optimizer`. Parallel loops are cut into tasks by size, and threads take
//! the tasks one by one (`threads`). Any idle thread can take a task that has not begun.

pub mod array;
mod attention;
mod by_rows;
pub mod element;
mod elementwise;
mod gated_mlp;
mod indexing;
mod matmul;
mod optimizer;
pub mod peak;
mod reduce;
mod rope;
mod rows;
pub mod stored;
mod strided;
mod vocabulary;

use super::core::{Core, Indices};
use super::precision::{Precision, PrecisionError};
use crate::formula::{Formula, Mul};
#[cfg(target_arch = "x86_64")]
use crate::gemm::instructions::Instructions;
use crate::threads::crew;
use array::CpuArray;
use element::Element;
use elementwise::broadcast_and_combine;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Range;

/// The CPU with elements of type T.
pub struct Cpu<T> {
    precision: Precision,
    elements: PhantomData<T>,
}

impl<T> Cpu<T> {
    /// Makes the CPU backend that computes in T throughout.
    pub fn new() -> Self {
        Self { precision: Precision::F32, elements: PhantomData }
    }
}

impl Cpu<f32> {
    /// Makes the CPU backend whose products round their operands. Weights, activations and sums stay in f32.
    ///
    /// # Errors
    /// [`PrecisionError`] where this processor has no instructions for this precision.
    pub fn with_precision(precision: Precision) -> Result<Self, PrecisionError> {
        match precision {
            Precision::Tf32 => return Err(PrecisionError::Tf32),
            Precision::Bf16 if bf16_instructions().is_none() => return Err(PrecisionError::Bf16),
            Precision::Bf16 | Precision::F32 => {}
        }
        Ok(Self { precision, ..Self::new() })
    }
}

/// Returns the instructions for large f32 products of operands in three parts of bfloat16, `AMX`. `None` if this processor computes them by
/// (fused) multiply-adds.
pub fn f32_in_parts() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    return Instructions::for_f32_in_parts().map(Instructions::name);
    #[cfg(not(target_arch = "x86_64"))]
    None
}

/// Returns the instructions that multiply in bfloat16 here, `AMX` or `AVX512-BF16`; `None` if there are none.
pub fn bf16_instructions() -> Option<&'static str> {
    #[cfg(target_arch = "x86_64")]
    return Instructions::for_bf16().map(Instructions::name);
    #[cfg(not(target_arch = "x86_64"))]
    None
}

impl<T> Default for Cpu<T> {
    fn default() -> Self {
        Self::new()
    }
}
impl<T> Clone for Cpu<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Cpu<T> {}
impl<T: Element> fmt::Debug for Cpu<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cpu<{}>", T::NAME)?;
        if self.precision == Precision::F32 { Ok(()) } else { write!(f, " in {:?}", self.precision) }
    }
}

/// The storage and views that both CPU backends share.
macro_rules! storage_on_cpu {
    () => {
        type Scalar = T;
        type Array = CpuArray<T>;

        fn from_vec(&self, data: Vec<T>, shape: &[usize]) -> CpuArray<T> {
            CpuArray::from_vec(data, shape)
        }
        fn to_vec(&self, x: &CpuArray<T>) -> Vec<T> {
            x.elements().into_owned()
        }
        fn shape<'a>(&self, x: &'a CpuArray<T>) -> &'a [usize] {
            x.shape()
        }
        fn full(&self, value: f64, shape: &[usize]) -> CpuArray<T> {
            CpuArray::full(T::from_f64(value), shape)
        }
        fn reshape(&self, x: &CpuArray<T>, shape: &[usize]) -> CpuArray<T> {
            x.reshape(shape)
        }
        fn permute(&self, x: &CpuArray<T>, axes: &[usize]) -> CpuArray<T> {
            x.permute(axes)
        }
        fn slice(&self, x: &CpuArray<T>, axis: usize, start: usize, end: usize) -> CpuArray<T> {
            x.slice(axis, start, end)
        }
        fn broadcast_to(&self, x: &CpuArray<T>, shape: &[usize]) -> CpuArray<T> {
            x.broadcast_to(shape)
        }
        fn concat(&self, parts: &[&CpuArray<T>], axis: usize) -> CpuArray<T> {
            CpuArray::concat(parts, axis)
        }
    };
}
pub(crate) use storage_on_cpu;

impl<T: Element> Core for Cpu<T> {
    storage_on_cpu!();

    fn precision(&self) -> Precision {
        self.precision
    }
    fn elementwise<const N: usize, F: Formula<N>>(&self, f: F, x: [&CpuArray<T>; N]) -> CpuArray<T> {
        broadcast_and_combine(
            x,
            #[inline(always)]
            |x| f.at(x),
        )
    }
    fn sum(&self, x: &CpuArray<T>, axis: usize) -> CpuArray<T> {
        reduce::sum(x, axis)
    }
    fn max(&self, x: &CpuArray<T>, axis: usize) -> CpuArray<T> {
        reduce::max(x, axis)
    }
    fn matmul(&self, a: &CpuArray<T>, b: &CpuArray<T>) -> CpuArray<T> {
        matmul::matmul(self.precision, a, b)
    }
    fn gather_rows(&self, table: &CpuArray<T>, rows: &Indices) -> CpuArray<T> {
        indexing::gather_rows(table, rows)
    }
    fn scatter_add_rows(&self, x: &CpuArray<T>, rows: &Indices, row_count: usize) -> CpuArray<T> {
        indexing::scatter_add_rows(x, rows, row_count)
    }
    fn gather_last(&self, x: &CpuArray<T>, index: &Indices, k: usize) -> CpuArray<T> {
        indexing::gather_last(x, index, k)
    }
    fn scatter_add_last(&self, x: &CpuArray<T>, index: &Indices, n: usize) -> CpuArray<T> {
        indexing::scatter_add_last(x, index, n)
    }
    fn accumulate(&self, x: CpuArray<T>, y: &CpuArray<T>) -> CpuArray<T> {
        elementwise::accumulate(x, y)
    }
    fn scale_by(&self, x: &CpuArray<T>, c: &CpuArray<T>) -> CpuArray<T> {
        if c.elements()[0].is_exactly_one() { x.clone() } else { self.zip(Mul, x, c) }
    }
    fn scatter_add_rows_to(&self, sum: CpuArray<T>, x: &CpuArray<T>, rows: &Indices) -> CpuArray<T> {
        indexing::scatter_add_rows_to(sum, x, rows)
    }
    fn write_rows(&self, x: CpuArray<T>, y: &CpuArray<T>, rows: &[Range<usize>]) -> CpuArray<T> {
        x.with_rows_written(y, rows)
    }
    fn keep_awake<R>(&self, work: impl FnOnce() -> R) -> R {
        crew::keep_awake(work)
    }
}
