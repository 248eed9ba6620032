//! What the Rust peers share: presets and options of pytorch_step.py, the batch, the timing, and the JSON object on the last line.

use std::time::Instant;

const USAGE: &str = "usage: --preset nano|micro|stories15m|gpt2s [--task lm|dpo] [--steps N] [--rows N] [--tokens N]";

/// The decoder's extents, and those of one batch.
#[derive(Clone, Copy)]
pub struct Shape {
    pub dim: usize,
    pub layers: usize,
    pub heads: usize,
    pub hidden: usize,
    pub vocabulary: usize,
    pub rows: usize,
    pub tokens: usize,
}

fn preset(name: &str) -> Option<Shape> {
    let [dim, layers, heads, hidden, vocabulary, rows, tokens] = match name {
        "nano" => [64, 4, 4, 192, 512, 16, 64],
        "micro" => [128, 4, 4, 384, 512, 16, 128],
        "stories15m" => [288, 6, 6, 768, 32000, 4, 256],
        "gpt2s" => [768, 12, 12, 2048, 50304, 1, 512],
        _ => return None,
    };
    Some(Shape { dim, layers, heads, hidden, vocabulary, rows, tokens })
}

/// What the command line asks for.
pub struct Run {
    preset: String,
    steps: usize,
    /// Whether the rows are pairs, with a frozen reference, or the task is language modelling.
    pub dpo: bool,
    pub shape: Shape,
}

impl Run {
    /// Reads the command line; ends the program with code 2 where it is not one.
    pub fn from_arguments() -> Self {
        Self::parse(std::env::args().skip(1)).unwrap_or_else(|problem| {
            eprintln!("{problem}\n{USAGE}");
            std::process::exit(2)
        })
    }

    fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut name, mut task, mut steps, mut rows, mut tokens) = (None, "lm".to_owned(), 20, None, None);
        while let Some(option) = arguments.next() {
            let value = arguments.next().ok_or(format!("{option}: needs a value"))?;
            match option.as_str() {
                "--preset" => name = Some(value),
                "--task" => task = value,
                "--steps" => steps = count(&option, &value)?,
                "--rows" => rows = Some(count(&option, &value)?),
                "--tokens" => tokens = Some(count(&option, &value)?),
                _ => return Err(format!("{option}: no such option")),
            }
        }
        let name = name.ok_or("--preset is missing")?;
        let mut shape = preset(&name).ok_or(format!("--preset {name}: no such preset"))?;
        shape.rows = rows.unwrap_or(shape.rows);
        shape.tokens = tokens.unwrap_or(shape.tokens);
        if !["lm", "dpo"].contains(&task.as_str()) {
            return Err(format!("--task {task}: no such task"));
        }
        Ok(Self { preset: name, steps, dpo: task == "dpo", shape })
    }

    /// Rows of a batch; with pairs the chosen come first, then the rejected.
    pub fn sequences(&self) -> usize {
        if self.dpo { 2 * self.shape.rows } else { self.shape.rows }
    }

    /// Inputs and targets, each `sequences × tokens` in row-major order: uniform tokens, the same in every run.
    pub fn batch(&self) -> (Vec<u32>, Vec<u32>) {
        let (tokens, mut state) = (self.shape.tokens, 0u64);
        let mut draw = || {
            // Knuth's MMIX generator; the high half of the state is the draw.
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 32) as u32 % self.shape.vocabulary as u32
        };
        let rows: Vec<Vec<u32>> = (0..self.sequences()).map(|_| (0..=tokens).map(|_| draw()).collect()).collect();
        (rows.iter().flat_map(|row| row[..tokens].to_vec()).collect(), rows.iter().flat_map(|row| row[1..].to_vec()).collect())
    }

    /// Runs three steps, then times `steps` more and prints the result. `step` does one optimiser step and returns the loss before it;
    /// `lock` is the peer's Cargo.lock, which says the version of `package`.
    pub fn report<E>(
        &self,
        peer: &str,
        (lock, package): (&str, &str),
        parameters: usize,
        mut step: impl FnMut() -> Result<f32, E>,
    ) -> Result<(), E> {
        let first_loss = step()?;
        let mut loss = first_loss;
        for _ in 1..3 {
            step()?;
        }
        let mut times = Vec::with_capacity(self.steps);
        for _ in 0..self.steps {
            let start = Instant::now();
            loss = step()?;
            times.push(1e3 * start.elapsed().as_secs_f64());
        }
        let ms = median(times);
        println!(
            "{{\"preset\": \"{}\", \"task\": \"{}\", \"ms\": {ms}, \"tok_s\": {}, \"peak_mib\": {}, \"params\": {parameters}, \
             \"first_loss\": {first_loss}, \"loss\": {loss}, \"{peer}\": \"{}\"}}",
            self.preset,
            if self.dpo { "dpo" } else { "lm" },
            1e3 * (self.sequences() * self.shape.tokens) as f64 / ms,
            peak_mib(),
            version(lock, package),
        );
        Ok(())
    }
}

fn count(option: &str, value: &str) -> Result<usize, String> {
    value.parse().ok().filter(|&n| n > 0).ok_or(format!("{option} {value}: not a number of 1 or more"))
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    if times.len() % 2 == 1 { times[middle] } else { (times[middle - 1] + times[middle]) / 2.0 }
}

/// The largest resident set of this process, in MiB; NaN where the system does not say.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}

fn version<'a>(lock: &'a str, package: &str) -> &'a str {
    let entry = lock.split("[[package]]").find(|entry| entry.contains(&format!("name = \"{package}\"\n")));
    entry.and_then(|entry| entry.split("version = \"").nth(1)?.split('"').next()).unwrap_or("unknown")
}
