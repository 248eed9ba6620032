//! What stands for a GPU where the crate is built without its feature `cuda`: types without a value.

use crate::backend::core::{Core, Indices};
use crate::backend::{Attention, Products, Rows, Update, Vocabulary};
use crate::formula::Formula;

#[derive(Clone, Copy, Debug)]
enum Never {}

/// No GPU.
#[derive(Clone, Debug)]
pub struct Cuda(Never);

/// No array on a GPU.
#[derive(Clone)]
pub struct CudaArray(Never);

impl Cuda {
    /// Waits for the GPU.
    pub fn wait(&self) {
        match self.0 {}
    }
}

/// Methods that nothing can call.
macro_rules! absent {
    ($(fn $name:ident($($argument:ty),*) -> $result:ty;)*) => {$(
        fn $name(&self, $(_: $argument),*) -> $result {
            match self.0 {}
        }
    )*};
}

impl Core for Cuda {
    type Scalar = f32;
    type Array = CudaArray;

    absent! {
        fn from_vec(Vec<f32>, &[usize]) -> CudaArray;
        fn to_vec(&CudaArray) -> Vec<f32>;
        fn full(f64, &[usize]) -> CudaArray;
        fn reshape(&CudaArray, &[usize]) -> CudaArray;
        fn permute(&CudaArray, &[usize]) -> CudaArray;
        fn slice(&CudaArray, usize, usize, usize) -> CudaArray;
        fn broadcast_to(&CudaArray, &[usize]) -> CudaArray;
        fn concat(&[&CudaArray], usize) -> CudaArray;
        fn sum(&CudaArray, usize) -> CudaArray;
        fn max(&CudaArray, usize) -> CudaArray;
        fn matmul(&CudaArray, &CudaArray) -> CudaArray;
        fn gather_rows(&CudaArray, &Indices) -> CudaArray;
        fn scatter_add_rows(&CudaArray, &Indices, usize) -> CudaArray;
        fn gather_last(&CudaArray, &Indices, usize) -> CudaArray;
        fn scatter_add_last(&CudaArray, &Indices, usize) -> CudaArray;
    }
    fn shape<'a>(&self, _: &'a CudaArray) -> &'a [usize] {
        match self.0 {}
    }
    fn elementwise<const N: usize, F: Formula<N>>(&self, _: F, _: [&CudaArray; N]) -> CudaArray {
        match self.0 {}
    }
}

impl Attention for Cuda {}
impl Products for Cuda {}
impl Rows for Cuda {}
impl Update for Cuda {}
impl Vocabulary for Cuda {}
