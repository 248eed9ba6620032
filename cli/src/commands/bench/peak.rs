//! `slpo bench peak`: measures how fast the processor multiplies and reads.

use crate::arguments::{BenchPeak, Shared};
use crate::failure::Failure;
use crate::output::Output;
use engine::backend::cpu::peak;
use engine::{Cpu, Precision};
use serde::Serialize;

#[derive(Serialize)]
struct PeakResult {
    device: &'static str,
    threads: usize,
    /// Speed of multiply-adds in registers.
    fma_gflop_s: f64,
    /// Speed of the best square product.
    gemm_gflop_s: f64,
    /// Speed of the best square product in bfloat16. `null` if the processor has no instructions for it.
    bf16_gemm_gflop_s: Option<f64>,
    extent: usize,
    /// Speed at which the threads read an array that no cache holds.
    read_gb_s: f64,
}

/// 256 MiB.
const READ_ELEMENTS: usize = 1 << 26;

pub fn run(arguments: &BenchPeak, shared: &Shared) -> Result<(), Failure> {
    let result = PeakResult {
        device: "cpu",
        threads: rayon::current_num_threads(),
        fma_gflop_s: peak::multiply_adds(1.0),
        gemm_gflop_s: peak::products(Cpu::new(), arguments.extent, 10),
        bf16_gemm_gflop_s: Cpu::with_precision(Precision::Bf16).ok().map(|cpu| peak::products(cpu, arguments.extent, 10)),
        extent: arguments.extent,
        read_gb_s: peak::reads(READ_ELEMENTS, 10),
    };
    Output::new(shared.json).result(&result, |to| {
        writeln!(
            to,
            "{} threads: multiply-adds {:.1} GFLOP/s, a product of extent {} {:.1} GFLOP/s{}, reading {:.1} GB/s",
            result.threads,
            result.fma_gflop_s,
            result.extent,
            result.gemm_gflop_s,
            result.bf16_gemm_gflop_s.map_or(String::new(), |rate| format!(", in bf16 {rate:.1} GFLOP/s")),
            result.read_gb_s
        )
    })
}
