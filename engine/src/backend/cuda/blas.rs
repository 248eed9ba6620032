//! Matrix products by cuBLASLt, which can add a bias in the same call.
//!
//! Each shape of product is planned once: its descriptors, and the first algorithm of cuBLASLt's heuristic. For products without an
//! algorithm (operands in a layout that cuBLASLt does not read), cuBLAS is called instead.

use super::error::{CudaError, call};
use super::runtime::{Operand, Product, Storage};
use crate::backend::precision::Precision;
use cudarc::cublas::{result as cublas, sys as cublas_sys};
use cudarc::cublaslt::result::CublasError;
use cudarc::cublaslt::{result as lt, sys};
use cudarc::driver::{result as driver, sys::CUstream};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::c_void;
use std::sync::{Mutex, MutexGuard};

/// Bytes of memory that products may use besides their operands.
const WORKSPACE: usize = 32 << 20;
/// The largest alignment, in bytes, that algorithms ask for.
const ALIGNMENT: u64 = 256;
/// The most plans that are kept.
const PLANS: usize = 1024;

/// The handles of the libraries, and the plans. Everything runs in one stream, so one workspace serves all products.
pub struct Blas {
    lt: sys::cublasLtHandle_t,
    cublas: cublas_sys::cublasHandle_t,
    stream: CUstream,
    workspace: u64,
    precision: Precision,
    /// The plans. The keys are products with each address replaced by its alignment. `None` means that cuBLASLt has no algorithm.
    plans: Mutex<HashMap<Product, Option<ProductPlan>>>,
}

// SAFETY: the handles may be used from any thread once the device's context is current; they are used under the lock of `plans`.
unsafe impl Send for Blas {}
// SAFETY: as above.
unsafe impl Sync for Blas {}

/// True if both libraries are installed.
pub fn is_present() -> bool {
    // SAFETY: only looks for the libraries.
    unsafe { cublas_sys::is_culib_present() && sys::is_culib_present() }
}

impl Blas {
    /// Creates handles for a stream of the current context.
    ///
    /// # Errors
    /// The error that a library returns.
    pub fn new(stream: CUstream, precision: Precision) -> Result<Self, CudaError> {
        let cublas = call("cublasCreate", cublas::create_handle())?;
        // SAFETY: the handles, the stream and the workspace stay live until the process ends.
        unsafe {
            call("cublasSetStream", cublas::set_stream(cublas, stream.cast()))?;
            let workspace = call("cuMemAlloc", driver::malloc_sync(WORKSPACE))?;
            let set = cublas_sys::cublasSetWorkspace_v2(cublas, workspace as *mut c_void, WORKSPACE).result();
            set.map_err(|error| CudaError::Call { call: "cublasSetWorkspace", error: format!("{error:?}") })?;
            let lt = call("cublasLtCreate", lt::create_handle())?;
            Ok(Self { lt, cublas, stream, workspace, precision, plans: Mutex::default() })
        }
    }

    fn plans(&self) -> MutexGuard<'_, HashMap<Product, Option<ProductPlan>>> {
        self.plans.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// True if cuBLASLt has an algorithm for this product.
    pub fn plans_for(&self, product: &Product) -> bool {
        self.planned(&mut self.plans(), product).is_ok_and(|plan| plan.is_some())
    }

    /// Returns the plan for a product, or `None` if cuBLASLt has no algorithm for it.
    fn planned<'a>(
        &self,
        plans: &'a mut HashMap<Product, Option<ProductPlan>>,
        product: &Product,
    ) -> Result<Option<&'a ProductPlan>, CudaError> {
        use sys::cublasStatus_t::{CUBLAS_STATUS_INVALID_VALUE, CUBLAS_STATUS_NOT_SUPPORTED};
        if plans.len() >= PLANS {
            plans.clear();
        }
        let plan = match plans.entry(aligned(product)) {
            Entry::Occupied(planned) => planned.into_mut(),
            Entry::Vacant(place) => match ProductPlan::new(self, place.key()) {
                Err(CublasError(CUBLAS_STATUS_NOT_SUPPORTED | CUBLAS_STATUS_INVALID_VALUE)) => place.insert(None),
                plan => place.insert(Some(call("cublasLtMatmulAlgoGetHeuristic", plan)?)),
            },
        };
        Ok(plan.as_ref())
    }

    /// Launches a product into the stream.
    ///
    /// # Safety
    /// The operands' memory must be valid, and the device's context current.
    ///
    /// # Errors
    /// The error that a library returns.
    pub unsafe fn product(&self, product: &Product) -> Result<(), CudaError> {
        let mut plans = self.plans();
        // SAFETY: the caller's promise.
        unsafe {
            match self.planned(&mut plans, product)? {
                Some(plan) => call("cublasLtMatmul", plan.run(self, product)),
                None => self.multiplied_by_cublas(product),
            }
        }
    }

    fn compute_type(&self, product: &Product) -> cublas_sys::cublasComputeType_t {
        let rounds = self.precision == Precision::Tf32 && product.a.storage == Storage::F32;
        if rounds {
            cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32
        } else {
            cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F
        }
    }

    /// # Safety
    /// As [`Blas::product`].
    unsafe fn multiplied_by_cublas(&self, product: &Product) -> Result<(), CudaError> {
        if product.bias.is_some() {
            return Err(CudaError::Call { call: "cublasLtMatmul", error: "no algorithm adds this bias".to_owned() });
        }
        let (m, k, n) = product.extents;
        let kind = |storage: Storage| match storage {
            Storage::F32 => cublas_sys::cudaDataType::CUDA_R_32F,
            Storage::Bf16 => cublas_sys::cudaDataType::CUDA_R_16BF,
        };
        let (a, b, alpha, beta) = (&product.a, &product.b, 1.0f32, product.beta());
        // cuBLAS is column-major, so it sees the transposes of our matrices. Therefore we compute Cᵀ = Bᵀ·Aᵀ.
        // SAFETY: the operands are the caller's promise, the handle is live.
        let done = unsafe {
            cublas::gemm_strided_batched_ex(
                self.cublas,
                operation(b),
                operation(a),
                n as i32,
                m as i32,
                k as i32,
                (&raw const alpha).cast(),
                b.address as *const c_void,
                kind(b.storage),
                b.ld as i32,
                b.stride as i64,
                a.address as *const c_void,
                kind(a.storage),
                a.ld as i32,
                a.stride as i64,
                (&raw const beta).cast(),
                product.c as *mut c_void,
                kind(product.c_storage),
                n as i32,
                (m * n) as i64,
                product.batch as i32,
                self.compute_type(product),
                cublas_sys::cublasGemmAlgo_t::CUBLAS_GEMM_DEFAULT,
            )
        };
        done.map_err(|error| CudaError::Call { call: "cublasGemmStridedBatchedEx", error: format!("{error:?}") })
    }
}

/// Returns the product with each address replaced by its alignment.
fn aligned(product: &Product) -> Product {
    let alignment = |address: u64| 1 << address.trailing_zeros().min(ALIGNMENT.trailing_zeros());
    let operand = |x: &Operand| Operand { address: alignment(x.address), ..*x };
    Product { a: operand(&product.a), b: operand(&product.b), bias: product.bias.map(alignment), c: alignment(product.c), ..*product }
}

fn operation(x: &Operand) -> cublas_sys::cublasOperation_t {
    use cublas_sys::cublasOperation_t::{CUBLAS_OP_N, CUBLAS_OP_T};
    if x.transposed { CUBLAS_OP_T } else { CUBLAS_OP_N }
}

fn kind(storage: Storage) -> sys::cudaDataType {
    match storage {
        Storage::F32 => sys::cudaDataType::CUDA_R_32F,
        Storage::Bf16 => sys::cudaDataType::CUDA_R_16BF,
    }
}

/// Defines a descriptor of cuBLASLt, given the functions that set its attributes and destroy it.
macro_rules! descriptor {
    ($(#[$doc:meta])* $name:ident, $handle:ty, $attribute:ty, $set:path, $destroy:path) => {
        $(#[$doc])*
        struct $name($handle);

        impl $name {
            fn set<T>(&self, attribute: $attribute, value: &T) -> Result<(), CublasError> {
                // SAFETY: the descriptor is live and the value of the attribute's type.
                unsafe { $set(self.0, attribute, (&raw const *value).cast(), size_of::<T>()) }
            }
        }

        impl Drop for $name {
            fn drop(&mut self) {
                // SAFETY: nobody uses it after this.
                let _ = unsafe { $destroy(self.0) };
            }
        }
    };
}

/// The layouts and the algorithm of a product. cuBLASLt is column-major, so it sees the transposes of our matrices. Therefore we compute
/// Cᵀ = Bᵀ·Aᵀ.
struct ProductPlan {
    description: Description,
    /// The layouts of Bᵀ, Aᵀ and Cᵀ.
    layouts: [Layout; 3],
    algorithm: sys::cublasLtMatmulAlgo_t,
}

impl ProductPlan {
    /// Plans a product whose addresses are replaced by their alignments.
    fn new(blas: &Blas, shape: &Product) -> Result<Self, CublasError> {
        let (m, k, n) = shape.extents;
        let layouts = [
            Layout::of_operand(&shape.b, (k, n), shape.batch)?,
            Layout::of_operand(&shape.a, (m, k), shape.batch)?,
            Layout::new(shape.c_storage, (n, m), n, (shape.batch, m * n))?,
        ];
        let description = Description::new(blas, shape)?;
        let preference = Preference::new([shape.b.address, shape.a.address, shape.c])?;
        let [b, a, c] = &layouts;
        // SAFETY: all of them are live.
        let found = unsafe { lt::get_matmul_algo_heuristic(blas.lt, description.0, b.0, a.0, c.0, c.0, preference.0)? };
        Ok(Self { description, layouts, algorithm: found.algo })
    }

    /// # Safety
    /// As [`Blas::product`], for a product of this plan's shape.
    unsafe fn run(&self, blas: &Blas, product: &Product) -> Result<(), CublasError> {
        let (alpha, beta) = (1.0f32, product.beta());
        let (workspace, [b, a, c]) = (blas.workspace as *mut c_void, &self.layouts);
        // SAFETY: the operands are the caller's promise, everything else is live.
        unsafe {
            if let Some(bias) = product.bias {
                self.description.set(sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
            }
            lt::matmul(
                blas.lt,
                self.description.0,
                (&raw const alpha).cast(),
                (&raw const beta).cast(),
                product.b.address as *const c_void,
                b.0,
                product.a.address as *const c_void,
                a.0,
                product.c as *const c_void,
                c.0,
                product.c as *mut c_void,
                c.0,
                &raw const self.algorithm,
                workspace,
                WORKSPACE,
                blas.stream.cast(),
            )
        }
    }
}

descriptor!(
    /// The operation on the matrices.
    Description, sys::cublasLtMatmulDesc_t, sys::cublasLtMatmulDescAttributes_t, lt::set_matmul_desc_attribute, lt::destroy_matmul_desc
);

impl Description {
    fn new(blas: &Blas, shape: &Product) -> Result<Self, CublasError> {
        use sys::cublasLtMatmulDescAttributes_t::*;
        let compute = match blas.compute_type(shape) {
            cublas_sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32 => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F_FAST_TF32,
            _ => sys::cublasComputeType_t::CUBLAS_COMPUTE_32F,
        };
        let description = Self(lt::create_matmul_desc(compute, sys::cudaDataType::CUDA_R_32F)?);
        description.set(CUBLASLT_MATMUL_DESC_TRANSA, &operation(&shape.b))?;
        description.set(CUBLASLT_MATMUL_DESC_TRANSB, &operation(&shape.a))?;
        if let Some(bias) = shape.bias {
            description.set(CUBLASLT_MATMUL_DESC_EPILOGUE, &sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS)?;
            description.set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &kind(shape.c_storage))?;
            description.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, &bias)?;
        }
        Ok(description)
    }
}

descriptor!(
    /// The layout of a matrix.
    Layout, sys::cublasLtMatrixLayout_t, sys::cublasLtMatrixLayoutAttribute_t, lt::set_matrix_layout_attribute, lt::destroy_matrix_layout
);

impl Layout {
    /// Describes an operand with this many rows and columns.
    fn of_operand(x: &Operand, (rows, columns): (usize, usize), batch: usize) -> Result<Self, CublasError> {
        let stored = if x.transposed { (rows, columns) } else { (columns, rows) };
        Self::new(x.storage, stored, x.ld, (batch, x.stride))
    }

    /// Describes a batch of column-major matrices with this many rows and columns. `batch` is (number of matrices, elements between them).
    fn new(storage: Storage, (rows, columns): (usize, usize), ld: usize, batch: (usize, usize)) -> Result<Self, CublasError> {
        use sys::cublasLtMatrixLayoutAttribute_t::*;
        let layout = Self(lt::create_matrix_layout(kind(storage), rows as u64, columns as u64, ld as i64)?);
        if batch.0 > 1 {
            layout.set(CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &(batch.0 as i32))?;
            layout.set(CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &(batch.1 as i64))?;
        }
        Ok(layout)
    }
}

descriptor!(
    /// The limits within which an algorithm is chosen.
    Preference, sys::cublasLtMatmulPreference_t, sys::cublasLtMatmulPreferenceAttributes_t, lt::set_matmul_pref_attribute, lt::destroy_matmul_pref
);

impl Preference {
    /// Sets the workspace, and the alignments of the operands and of the result.
    fn new([a, b, c]: [u64; 3]) -> Result<Self, CublasError> {
        use sys::cublasLtMatmulPreferenceAttributes_t::*;
        let preference = Self(lt::create_matmul_pref()?);
        preference.set(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE)?;
        preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &(a as u32))?;
        preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, &(b as u32))?;
        preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, &(c as u32))?;
        preference.set(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, &(c as u32))?;
        Ok(preference)
    }
}
