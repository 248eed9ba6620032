//! Runs the targets on random changes of their seeds, on stable: `mutate TARGET|all SECONDS [SEED]`.
//!
//! A panic is caught, its input written to `finds/TARGET-N`, and the exit status is 1. To bound memory, run it under `ulimit -v`.

use slpo_fuzz::{TARGETS, Target};
use std::panic::catch_unwind;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A xorshift generator (Marsaglia 2003): the same seed gives the same inputs.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// Numbers at which arithmetic goes wrong.
const EDGES: [u64; 10] = [0, 1, 0x7f, 0xff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 1 << 40, i64::MAX as u64, u64::MAX];

fn change(bytes: &mut Vec<u8>, others: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(16)).min(bytes.len());
    match random.below(8) {
        0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
        1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        3 => drop(bytes.splice(at..end.max(at), [])),
        4 => {
            let copy = bytes[at..end.max(at)].to_vec();
            bytes.splice(at..at, copy);
        }
        5 | 6 => {
            let width = [1, 2, 4, 8][random.below(4)];
            let number = EDGES[random.below(EDGES.len())].to_le_bytes();
            bytes.splice(at..(at + width).min(bytes.len()), number[..width].iter().copied());
        }
        _ => {
            let other = &others[random.below(others.len())];
            let from = random.below(other.len());
            let to = (from + 1 + random.below(64)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
    }
}

/// Runs one target for a while; the number of finds.
fn run(target: &Target, time: Duration, seed: u64) -> usize {
    let seeds = (target.seeds)();
    seeds.iter().for_each(|seed| (target.fuzz)(seed));
    let (mut random, started, mut runs, mut finds) = (Random(seed.max(1)), Instant::now(), 0u64, 0);
    while started.elapsed() < time {
        let mut input = seeds[random.below(seeds.len())].clone();
        for _ in 0..1 + random.below(4) {
            change(&mut input, &seeds, &mut random);
        }
        runs += 1;
        let fuzz = target.fuzz;
        if catch_unwind(|| fuzz(&input)).is_err() {
            finds += 1;
            let path = format!("finds/{}-{finds}", target.name);
            std::fs::create_dir_all("finds").and_then(|()| std::fs::write(&path, &input)).expect("finds/ can be written");
            eprintln!("{path}");
            if finds == 10 {
                break;
            }
        }
    }
    println!("{}: {runs} inputs, {finds} finds", target.name);
    finds
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |place: usize, otherwise: u64| arguments.get(place).map_or(Some(otherwise), |text| text.parse().ok());
    let (Some(name), Some(seconds), Some(seed)) = (arguments.first(), number(1, 60), number(2, 1)) else {
        eprintln!("usage: mutate TARGET|all SECONDS [SEED]; targets: {}", TARGETS.iter().map(|t| t.name).collect::<Vec<_>>().join(", "));
        return ExitCode::from(2);
    };
    let chosen = TARGETS.iter().filter(|target| name == "all" || name == target.name);
    let finds: usize = chosen.map(|target| run(target, Duration::from_secs(seconds), seed)).sum();
    if finds == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
