//! Every kernel compiled by NVRTC for the architectures that are served, without a GPU: no error, and no register that spills into memory.
//!
//! `.ci/cuda` gets NVRTC from PyPI and runs this; elsewhere it is skipped where there is no NVRTC.

use engine::backend::cuda::compile::{Target, UNITS, compile, compiler};
use engine::backend::cuda::runtime::Unit;
use engine::backend::cuda::{Storage, map_source, map_vjp_source, zip_source};
use engine::backend::{Add, Div, Equal, Mul, Sub, Unary};
use engine::ops::{exp, gelu, ln, log_sigmoid, log1mexp, logsumexp, neg, powf, relu, rms_norm, scale, sigmoid, silu, softplus, sqrt, tanh};

/// sm_80, sm_90 and sm_100: A100, H100, B200.
const ARCHITECTURES: [i32; 3] = [80, 90, 100];

/// The kernels that are made from formulas.
fn made_from_formulas() -> Vec<String> {
    fn both<F: Unary>(f: F) -> [String; 2] {
        [map_source(f, Storage::Bf16), map_vjp_source(f, [Storage::F32, Storage::Bf16])]
    }
    let mut sources = [
        both(exp::Exp),
        both(gelu::GeluErf),
        both(gelu::GeluTanh),
        both(ln::Ln),
        both(log_sigmoid::LogSigmoid),
        both(log1mexp::Log1mexp),
        both(logsumexp::FiniteOrZero),
        both(neg::Neg),
        both(powf::Powf(1.7)),
        both(relu::Relu),
        both(rms_norm::InverseRoot(1e-5)),
        both(scale::Scale(-0.5)),
        both(sigmoid::Sigmoid),
        both(silu::Silu),
        both(softplus::Softplus),
        both(sqrt::Sqrt),
        both(tanh::Tanh),
    ]
    .concat();
    let [wide, mixed] = [[Storage::F32; 2], [Storage::F32, Storage::Bf16]];
    sources.extend([zip_source(Add, mixed), zip_source(Sub, wide), zip_source(Mul, mixed), zip_source(Div, wide), zip_source(Equal, wide)]);
    sources
}

/// The lines of the compiler's log that speak of registers kept in memory.
fn spills(log: &str) -> Vec<&str> {
    log.lines().filter(|line| line.contains("spill") && !line.contains(" 0 bytes spill stores, 0 bytes spill loads")).collect()
}

#[test]
fn every_kernel_compiles_without_a_spill() {
    let known = match compiler() {
        Ok((_, known)) => known,
        Err(error) => return println!("skipped: {error}"),
    };
    let formulas = made_from_formulas();
    let made = formulas.iter().map(|text| Unit::new("formula", text));
    let units: Vec<Unit<'_>> = UNITS.iter().cloned().chain(made).collect();
    for architecture in ARCHITECTURES {
        if !known.contains(&architecture) {
            println!("skipped: this NVRTC makes no code for sm_{architecture}");
            continue;
        }
        for unit in &units {
            let (code, log) = compile(unit, Target::Cubin(architecture)).unwrap_or_else(|error| panic!("{error}\n{}", unit.text));
            assert!(code.starts_with(b"\x7fELF") && log.contains("registers"), "{}: {log}", unit.name);
            assert!(spills(&log).is_empty(), "{} for sm_{architecture}: {:?}", unit.name, spills(&log));
        }
        println!("{} sources compile for sm_{architecture}", units.len());
    }
}

#[test]
fn a_spill_is_seen_in_the_log() {
    let line = "    16 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads";
    assert_eq!(spills(&format!("a\n{line}\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads")), [line]);
}
