//! `slpo train`: trains a language model on text.

use crate::arguments::{Shared, Train};
use crate::commands::common::{options, remarks, steps_of, warmup};
use crate::commands::notices;
use crate::failure::Failure;
use crate::memory;
use crate::processes;
use crate::report::Report;
use crate::report::chart::XyChart;
use crate::run_folder::Record;
use crate::training::{self, Job, RunRequest, Values, series, smoothing};
use crate::watch::{Guess, Health};
use engine::{Device, Generator};
use model::batch::Batch;
use model::checkpoint::RunState;
use model::config::preset::Preset;
use model::data::TextData;
use model::decoder::Decoder;
use model::evaluate::{self, Check};
use model::fingerprint::fingerprint;
use model::optimizer::{Rule, Schedule};
use model::tokenizer::Tokenizer;
use model::train::{Plan, StepOutcome, Trainer};

/// Trains a decoder from random weights.
pub fn run(arguments: &Train, shared: &Shared) -> Result<(), Failure> {
    let settings = arguments;
    let preset = Preset::named(&settings.preset)?;
    let tokenizer = match &settings.tokenizer {
        Some(path) if model::files::is_folder(path)? => Tokenizer::from_folder(path)?,
        Some(path) => Tokenizer::from_file(path)?,
        None => Tokenizer::bytes(),
    };
    notices::warn(tokenizer.remarks());
    let config = preset.config().for_tokenizer(&tokenizer)?;
    let text = TextData::load(&settings.data, &tokenizer, settings.held_out)?;
    notices::of_file(&settings.data, &text.remarks);
    let (rows, tokens) = (settings.batch_rows.unwrap_or(preset.batch.rows), settings.batch_tokens.unwrap_or(preset.batch.tokens));
    text.window(0, tokens)?;
    let own_rows = (rows * settings.accumulate).div_ceil(processes::count()).min(rows);
    memory::check(&config, own_rows * tokens, settings.checkpoint_activations)?;
    let decoder = Decoder::random(&crate::device::current(), &config, shared.seed)?;
    let steps = steps(settings, text.train().len(), rows * tokens * settings.accumulate)?;
    let learning_rate = settings.peak_rate();
    let warmup = warmup(settings.warmup, steps, MOST_WARMUP);
    let schedule = Schedule { learning_rate, warmup, steps, final_fraction: 0.1 };
    let mut trainer = Trainer::new(decoder, Rule::adamw(settings.weight_decay), schedule, settings.clip);
    let remarks = remarks(settings.warmup, steps, learning_rate, settings.weight_decay);
    let plan = Plan { steps, eval_every: settings.eval_every, checkpoint_every: settings.checkpoint_every };
    let request = RunRequest::new(&settings.out, plan, &settings.control, None, remarks);
    let guess = Guess::among_tokens_of(text.train());
    let mut job = Pretraining {
        text,
        rows,
        tokens,
        accumulate: settings.accumulate,
        dropout: settings.dropout,
        checkpoint: settings.checkpoint_activations,
        seed: shared.seed,
        generator: Generator::new(shared.seed),
        health: Health::new(guess),
        warmup,
        description: format!("{} ({} parameters) on {}", preset.name, trainer.decoder.parameter_count(), settings.data.display()),
    };
    training::run(&mut job, &mut trainer, &tokenizer, &request, &settings.run_settings(shared)?, shared)
}

/// The most steps of warm-up if the command line gives none.
const MOST_WARMUP: u64 = 50;

/// Returns the steps that were asked for, or as many as the epochs of a text of this many tokens need.
fn steps(settings: &Train, tokens: usize, tokens_of_step: usize) -> Result<u64, Failure> {
    let of_epochs = || steps_of(settings.epochs.unwrap_or(1.0), tokens as f64 / tokens_of_step as f64);
    settings.fixed_steps().map_or_else(of_epochs, Ok)
}

/// Next-token prediction on windows of a text.
struct Pretraining {
    text: TextData,
    rows: usize,
    tokens: usize,
    accumulate: usize,
    dropout: f64,
    checkpoint: bool,
    seed: u64,
    generator: Generator,
    health: Health,
    warmup: u64,
    description: String,
}

/// Number of tokens of a prompt for the page.
const PROMPT: usize = 12;

/// The random stream that chooses the windows of a step, and the stream that chooses what dropout drops.
const WINDOWS: u64 = 1;
const DROPOUT: u64 = 2;

impl Job for Pretraining {
    fn state(&self) -> RunState {
        let data = fingerprint(self.text.train().iter().copied());
        RunState { seed: self.seed, data, rows_per_step: (self.rows * self.accumulate) as u64, rows_at_once: self.rows as u64 }
    }

    fn step(&mut self, trainer: &mut Trainer<Device>, step: u64) -> Result<(StepOutcome, Values, usize), Failure> {
        let mut draw = self.generator.stream(WINDOWS).stream(step);
        let count = self.rows * self.accumulate;
        let windows: Vec<&[u32]> = (0..count).map(|_| self.text.window(draw.bits(), self.tokens)).collect::<Result<_, _>>()?;
        let share = trainer.share(count, self.rows);
        let micro_batches: Vec<Batch> =
            share.micro_batches.into_iter().map(|rows| Batch::of_windows(windows[rows].iter().copied())).collect();
        let dropout = self.generator.stream(DROPOUT).stream(step);
        let outcome = trainer.step(micro_batches.len(), |decoder, index| {
            let options = options(self.dropout, self.checkpoint, dropout.stream((share.before + index) as u64));
            let batch = &micro_batches[index];
            Ok((batch.loss(decoder, &options), batch.target_count() as f64))
        })?;
        Ok((outcome, Vec::new(), count * self.tokens))
    }

    fn watch(&mut self, step: u64, values: &[(&str, f64)]) -> Vec<String> {
        self.health.see(step, values)
    }

    fn evaluate(&self, trainer: &Trainer<Device>, go_on: Check<'_>) -> Result<Values, Failure> {
        let windows: Vec<&[u32]> = self.text.held_out_windows(self.tokens).collect();
        if windows.is_empty() {
            return Ok(Vec::new());
        }
        let score = evaluate::text(&trainer.decoder, windows, go_on)?;
        Ok(vec![("held_out_loss", score.nats_per_token())])
    }

    fn prompts(&self) -> Vec<Vec<u32>> {
        let beginning = |window: &[u32]| window[..window.len().min(PROMPT)].to_vec();
        let mut windows: Vec<Vec<u32>> = self.text.held_out_windows(self.tokens).map(beginning).collect();
        if windows.is_empty() {
            windows.push(beginning(self.text.train()));
        }
        windows
    }

    fn report(&self, records: &[Record]) -> Report {
        let loss = series(records, "loss");
        let window = smoothing(loss.len());
        let curve = XyChart::new("step", "loss (nats a token)").smoothed_line("training", loss, window);
        Report::new("Training a language model")
            .lead(self.description.clone())
            .figure(
                "Loss",
                "Cross-entropy of the next token on the training batches and on the text kept apart.",
                curve.line("held out", series(records, "held_out_loss")),
            )
            .figure(
                "Norm of the gradient",
                "Before clipping. A jump says where training was close to leaving the rails.",
                XyChart::new("step", "global norm").smoothed_line("gradient", series(records, "gradient_norm"), window).log_y(),
            )
            .figure(
                "Learning rate",
                match self.warmup {
                    0 => "Half a cosine from the peak down to a tenth of it.".to_owned(),
                    warmup => format!("{warmup} steps of warm-up, then half a cosine down to a tenth of the peak."),
                },
                XyChart::new("step", "learning rate").line("η", series(records, "learning_rate")),
            )
    }
}
