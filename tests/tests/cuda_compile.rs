//! Every kernel compiled by NVRTC for the architectures that are served, without a GPU: no error, and no register that spills into memory.
//!
//! `.ci/cuda` gets NVRTC from PyPI and runs this; elsewhere it is skipped where there is no NVRTC.

use engine::backend::cuda::compile::{Target, UNITS, compile, compiler};
use engine::backend::cuda::runtime::Unit;
use engine::backend::cuda::{Storage, elementwise_source};
use engine::backend::{Add, Div, Equal, Indices, Mul, Sub, Unary, Vjp};
use engine::formulas;
use engine::functions::{
    Exp, FiniteOrZero, GeluErf, GeluTanh, InverseRoot, Ln, Log1mexp, LogSigmoid, Neg, Powf, Relu, Scale, Sigmoid, Silu, Softplus, Sqrt,
    Tanh,
};
use engine::gradcheck::check_entry_on;
use engine::{Cuda, Device, Precision};
use losses::{ExactTargets, PairRows, TokenWeights, Weights};
use slpo_tests::normal_parameter;
use std::collections::HashSet;
use std::path::Path;

/// sm_80, sm_90 and sm_100: A100, H100, B200.
const ARCHITECTURES: [i32; 3] = [80, 90, 100];

formulas! {
    /// The sigmoid of one, scaled and shifted by others, or what is left of it.
    OfFour(x, scale, shift, least) = {
        let y = scale * x.sigmoid() + shift;
        T::select(y.is_below(least), least, y)
    };
}

/// The kernels that are made from formulas.
fn made_from_formulas() -> Vec<String> {
    fn both<F: Unary>(f: F) -> [String; 2] {
        [elementwise_source(f, [Storage::Bf16]), elementwise_source(Vjp(f), [Storage::F32, Storage::Bf16])]
    }
    let mut sources = [
        both(Exp),
        both(GeluErf),
        both(GeluTanh),
        both(Ln),
        both(LogSigmoid),
        both(Log1mexp),
        both(FiniteOrZero),
        both(Neg),
        both(Powf(1.7)),
        both(Relu),
        both(InverseRoot(1e-5)),
        both(Scale(-0.5)),
        both(Sigmoid),
        both(Silu),
        both(Softplus),
        both(Sqrt),
        both(Tanh),
    ]
    .concat();
    let [wide, mixed] = [[Storage::F32; 2], [Storage::F32, Storage::Bf16]];
    sources.extend([elementwise_source(Add, mixed), elementwise_source(Sub, wide), elementwise_source(Mul, mixed)]);
    sources.extend([elementwise_source(Div, wide), elementwise_source(Equal, wide)]);
    sources.push(elementwise_source(OfFour, [Storage::F32, Storage::Bf16, Storage::F32, Storage::Bf16]));
    sources
}

/// The sources of the kernels that the losses run, formulas of their own among them, from running them on the emulator.
fn met_by_losses() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-kernels");
    let mut units = Vec::new();
    for precision in [Precision::F32, Precision::Bf16] {
        let cuda = match Cuda::emulated(&folder, precision) {
            Ok(cuda) => cuda,
            Err(reason) => return skipped(&reason),
        };
        let device = Device::Cuda(cuda.clone());
        losses::registry().iter().for_each(|entry| check_entry_on(&device, entry, 0..2, 5).assert());
        let (logits, [w, l]) = (normal_parameter(&cuda, 1, &[5, 4]), [[0u32, 1, 2, 3, 0], [1, 1, 0, 2, 2]].map(Indices::from));
        for weights in [Weights::Eq7 { alpha: 0.75 }, Weights::Shift { alpha: 0.75 }] {
            TokenWeights::from_reference(weights, &logits, &w, &l).unwrap();
        }
        let pair = PairRows { chosen_start: 0, chosen: vec![1, 0, 2], rejected_start: 3, rejected: vec![1, 2] };
        ExactTargets::from_reference(&logits, &[pair], 0.5).unwrap();
        units.extend(cuda.units());
    }
    units
}

fn skipped(reason: &str) -> Vec<(String, String)> {
    println!("skipped: the losses' kernels: {reason}");
    Vec::new()
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
    let mut units: Vec<Unit<'_>> = UNITS.iter().cloned().chain(made).collect();
    let met = met_by_losses();
    units.extend(met.iter().map(|(name, text)| Unit::new(name, text)));
    let mut seen = HashSet::new();
    units.retain(|unit| seen.insert(unit.hash));
    std::thread::scope(|scope| {
        for architecture in ARCHITECTURES {
            if !known.contains(&architecture) {
                println!("skipped: this NVRTC makes no code for sm_{architecture}");
                continue;
            }
            let units = &units;
            scope.spawn(move || units.iter().for_each(|unit| compiles_without_a_spill(unit, architecture)));
        }
    });
    println!("{} sources for {ARCHITECTURES:?}", units.len());
}

fn compiles_without_a_spill(unit: &Unit<'_>, architecture: i32) {
    let (code, log) = compile(unit, Target::Cubin(architecture)).unwrap_or_else(|error| panic!("{error}\n{}", unit.text));
    assert!(code.starts_with(b"\x7fELF") && log.contains("registers"), "{}: {log}", unit.name);
    assert!(spills(&log).is_empty(), "{} for sm_{architecture}: {:?}", unit.name, spills(&log));
}

#[test]
fn a_spill_is_seen_in_the_log() {
    let line = "    16 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads";
    assert_eq!(spills(&format!("a\n{line}\n    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads")), [line]);
}
