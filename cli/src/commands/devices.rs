//! `slpo devices`: lists the devices, and says why CUDA can or cannot be used.

use crate::arguments::Shared;
use crate::failure::Failure;
use crate::output::Output;
use engine::CudaError;
use engine::backend::{cpu, cuda};
use serde::Serialize;
use std::io::{self, Write};

#[derive(Serialize)]
struct Devices {
    cpu: Processor,
    cuda: CudaState,
}

#[derive(Serialize)]
struct Processor {
    threads: usize,
    /// The widest vector instructions that the kernels use on this machine.
    simd: &'static str,
    /// The instructions that multiply large f32 matrices in three parts of bfloat16. `null` if the products use multiply-adds.
    f32_in_parts: Option<&'static str>,
    /// The instructions of `--precision bf16`. `null` if it cannot be used.
    bf16: Option<&'static str>,
}

#[derive(Serialize)]
struct CudaState {
    /// True if `--device cuda` can be used.
    usable: bool,
    /// The reason why it cannot be used. `null` if it can.
    reason: Option<String>,
    /// The newest CUDA version that the driver supports, such as 12.8. `null` without a driver.
    driver: Option<String>,
    devices: Vec<Gpu>,
}

#[derive(Serialize)]
struct Gpu {
    ordinal: usize,
    name: String,
    compute_capability: String,
    memory_mib: u64,
    /// The reason why it cannot be used. `null` if it can.
    reason: Option<String>,
}

/// Lists the devices.
///
/// # Errors
/// [`Failure::Output`].
pub fn run(shared: &Shared) -> Result<(), Failure> {
    let devices = Devices {
        cpu: Processor {
            threads: rayon::current_num_threads(),
            simd: simd(),
            f32_in_parts: cpu::f32_in_parts(),
            bf16: cpu::bf16_instructions(),
        },
        cuda: cuda_state(),
    };
    Output::new(shared.json).result(&devices, |to| text(to, &devices))
}

fn text(to: &mut dyn Write, devices: &Devices) -> io::Result<()> {
    let Processor { threads, simd, f32_in_parts, bf16 } = &devices.cpu;
    let parts = f32_in_parts.map_or(String::new(), |instructions| format!(", large products in f32 by {instructions} in three parts"));
    let bf16 = bf16.map_or("no bf16".to_owned(), |instructions| format!("bf16 by {instructions}"));
    writeln!(to, "cpu   {threads} threads, {simd}{parts}, {bf16}")?;
    for gpu in &devices.cuda.devices {
        let state = gpu.reason.as_deref().unwrap_or("can be used");
        let (name, capability, memory) = (&gpu.name, &gpu.compute_capability, gpu.memory_mib);
        writeln!(to, "cuda  {}: {name}, compute capability {capability}, {memory} MiB: {state}", gpu.ordinal)?;
    }
    match (&devices.cuda.reason, &devices.cuda.driver) {
        (Some(reason), _) => writeln!(to, "cuda  cannot be used: {reason}"),
        (None, driver) => writeln!(to, "cuda  can be used, driver for CUDA {}", driver.as_deref().unwrap_or("unknown")),
    }
}

fn cuda_state() -> CudaState {
    let (version, reports) = match cuda::devices() {
        Ok(found) => found,
        Err(error) => return CudaState { usable: false, reason: Some(error.to_string()), driver: None, devices: Vec::new() },
    };
    let devices: Vec<Gpu> = reports.iter().map(gpu).collect();
    // `--device cuda` uses the first GPU.
    let reason = devices.first().map_or_else(|| Some(CudaError::NoDevice.to_string()), |gpu| gpu.reason.clone());
    CudaState { usable: reason.is_none(), reason, driver: Some(format!("{}.{}", version.0, version.1)), devices }
}

fn gpu(report: &cuda::DeviceReport) -> Gpu {
    Gpu {
        ordinal: report.ordinal,
        name: report.name.clone(),
        compute_capability: format!("{}.{}", report.capability.0, report.capability.1),
        memory_mib: report.memory >> 20,
        reason: cuda::usable(report).err().map(|error| error.to_string()),
    }
}

fn simd() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if is_x86_feature_detected!("avx2") {
            return "AVX2";
        }
        "SSE2"
    }
    #[cfg(target_arch = "aarch64")]
    return "NEON";
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    "scalar"
}
