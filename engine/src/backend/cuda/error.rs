//! Why CUDA cannot be used, or stopped working.

/// Why CUDA cannot be used, or stopped working.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CudaError {
    /// The driver's library is not there.
    #[error("CUDA: no NVIDIA driver is installed (libcuda is not found)")]
    NoDriver,
    /// The driver is there and does not work.
    #[error("CUDA: the NVIDIA driver does not start: {0}")]
    DriverFails(String),
    /// The driver sees no GPU.
    #[error("CUDA: the NVIDIA driver sees no GPU (is CUDA_VISIBLE_DEVICES set to hide it?)")]
    NoDevice,
    /// The run-time compiler is not there.
    #[error("CUDA: the run-time compiler NVRTC is not found: install CUDA 12 or 13's libnvrtc, or name its folder in LD_LIBRARY_PATH")]
    NoCompiler,
    /// cuBLAS is not there.
    #[error("CUDA: cuBLAS is not found: install CUDA 12 or 13's libcublas and libcublasLt, or name their folder in LD_LIBRARY_PATH")]
    NoCublas,
    /// NCCL is not there.
    #[error("CUDA: NCCL is not found, which adds up gradients over GPUs: install libnccl.so.2, or name its folder in LD_LIBRARY_PATH")]
    NoNccl,
    /// The GPU is too old for the kernels.
    #[error("CUDA: {name} has compute capability {}.{}; 8.0 (Ampere) or newer is needed", capability.0, capability.1)]
    TooOld {
        /// The GPU's name.
        name: String,
        /// Its compute capability.
        capability: (i32, i32),
    },
    /// The GPU's memory is too small for the computation.
    #[error(
        "CUDA: out of GPU memory: {wanted_mib} MiB more were wanted, {used_mib} MiB are in use by this program, {free_mib} of {total_mib} MiB are free; use a smaller batch or --checkpoint-activations"
    )]
    OutOfMemory {
        /// The size of the allocation that failed.
        wanted_mib: u64,
        /// The memory that this program's arrays use.
        used_mib: u64,
        /// The memory that is free on the GPU.
        free_mib: u64,
        /// The memory of the GPU.
        total_mib: u64,
    },
    /// A kernel does not compile: a defect of this program, or a compiler with which it was not tested.
    #[error("CUDA: the kernels of {unit} do not compile: {log}")]
    Compile {
        /// The source's name.
        unit: String,
        /// The compiler's messages.
        log: String,
    },
    /// A call of the driver or a library failed.
    #[error("CUDA: {call} failed: {error}")]
    Call {
        /// The function that was called.
        call: &'static str,
        /// The error that it returned.
        error: String,
    },
}

impl CudaError {
    /// Ends the computation by a panic whose payload is this error: the methods of a [`Backend`](crate::Backend) return no `Result`.
    pub(crate) fn raise(self) -> ! {
        std::panic::panic_any(self)
    }
}

/// Turns the error of a CUDA library's call into a [`CudaError`].
pub(crate) fn call<T, E: std::fmt::Display>(call: &'static str, result: Result<T, E>) -> Result<T, CudaError> {
    result.map_err(|error| CudaError::Call { call, error: error.to_string() })
}
