//! `slpo sft`: fine-tunes a model on prompts with completions.

use crate::arguments::{Sft, Shared};
use crate::commands::common::{EVALUATED_AT_ONCE, options, request, schedule_and_rule, steps, to_train};
use crate::commands::{Loaded, longest_sequence, notices};
use crate::failure::Failure;
use crate::memory;
use crate::report::Report;
use crate::report::chart::XyChart;
use crate::run_folder::Record;
use crate::training::{self, Job, Values, series, smoothing};
use crate::watch::{Guess, Health};
use engine::{Device, Generator};
use model::batch::Batch;
use model::boundary::{Limits, Sequence};
use model::checkpoint::RunState;
use model::data::{ChatTemplate, CompletionSet};
use model::evaluate::{self, Check};
use model::fingerprint::{fingerprint, sequence_words};
use model::order::Order;
use model::train::{StepOutcome, Trainer};

/// Fine-tunes a model on completions. Prompt tokens are context only.
pub fn run(arguments: &Sft, shared: &Shared) -> Result<(), Failure> {
    let settings = &arguments.training;
    memory::check_fine_tuning(&settings.model, settings.lora.lora_rank.is_some(), false)?;
    let Loaded { decoder, tokenizer } = Loaded::open(&settings.model)?;
    let decoder = to_train(decoder, settings, shared.seed)?;
    let longest = longest_sequence(decoder.config(), settings.max_tokens);
    let limits = Limits { truncation: settings.cut.truncation(), ..Limits::new(longest) };
    let chat = ChatTemplate::of(&tokenizer)?;
    let load = |path: &std::path::Path| CompletionSet::load(path, &tokenizer, &chat, arguments.rows.turns(), &limits);
    let set = load(&settings.data)?;
    notices::of_rows(&set.report, shared.json);
    let train = set.sequences;
    let held_out = match &settings.eval_data {
        Some(path) => {
            let held_out = load(path)?;
            notices::of_rows(&held_out.report, shared.json);
            held_out.sequences
        }
        None => Vec::new(),
    };
    let steps = steps(settings, train.len())?;
    let (schedule, rule) = schedule_and_rule(settings, steps);
    let mut trainer = Trainer::new(decoder, rule, schedule, settings.clip);
    let health = Health::new(Guess::among_all(trainer.decoder.config().vocab_size));
    let mut job = FineTuning {
        order: Order::new(shared.seed, train.len(), settings.batch * settings.accumulate),
        train,
        held_out,
        batch: settings.batch,
        dropout: settings.dropout,
        rows_per_step: settings.batch * settings.accumulate,
        seed: shared.seed,
        generator: Generator::new(shared.seed),
        health,
        description: format!("{} on {}", settings.model.display(), settings.data.display()),
    };
    training::run(&mut job, &mut trainer, &tokenizer, &request(settings, steps), &arguments.run_settings(shared)?, shared)
}

/// Next-token prediction on completions.
struct FineTuning {
    train: Vec<Sequence>,
    held_out: Vec<Sequence>,
    order: Order,
    batch: usize,
    dropout: f64,
    rows_per_step: usize,
    seed: u64,
    generator: Generator,
    health: Health,
    description: String,
}

impl Job for FineTuning {
    fn state(&self) -> RunState {
        let data = fingerprint(self.train.iter().flat_map(sequence_words));
        RunState { seed: self.seed, data, rows_per_step: self.rows_per_step as u64, rows_at_once: self.batch as u64 }
    }

    fn step(&mut self, trainer: &mut Trainer<Device>, step: u64) -> Result<(StepOutcome, Values, usize), Failure> {
        let rows: Vec<&Sequence> = self.order.rows_of(step).into_iter().map(|row| &self.train[row]).collect();
        let share = trainer.share(rows.len(), self.batch);
        let tokens = rows.iter().map(|sequence| sequence.tokens.len() - 1).sum();
        let micro_batches: Vec<Batch> =
            share.micro_batches.into_iter().map(|part| Batch::of_sequences(rows[part].iter().copied())).collect();
        let dropout = self.generator.stream(step);
        let outcome = trainer.step(micro_batches.len(), |decoder, index| {
            let options = options(self.dropout, false, dropout.stream((share.before + index) as u64));
            let batch = &micro_batches[index];
            Ok((batch.loss(decoder, &options), batch.target_count() as f64))
        })?;
        Ok((outcome, Vec::new(), tokens))
    }

    fn watch(&mut self, step: u64, values: &[(&str, f64)]) -> Vec<String> {
        self.health.see(step, values)
    }

    fn evaluate(&self, trainer: &Trainer<Device>, go_on: Check<'_>) -> Result<Values, Failure> {
        if self.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let score = evaluate::completions(&trainer.decoder, &self.held_out, EVALUATED_AT_ONCE, go_on)?;
        Ok(vec![("held_out_loss", score.nats_per_token())])
    }

    fn prompts(&self) -> Vec<Vec<u32>> {
        let rows = if self.held_out.is_empty() { &self.train } else { &self.held_out };
        rows.iter().map(|row| row.prompt().to_vec()).collect()
    }

    fn report(&self, records: &[Record]) -> Report {
        let loss = series(records, "loss");
        let window = smoothing(loss.len());
        let curve = XyChart::new("step", "loss (nats a completion token)").smoothed_line("training", loss, window);
        Report::new("Fine-tuning on completions").lead(self.description.clone()).figure(
            "Loss",
            "Cross-entropy of completion tokens; prompts are context only.",
            curve.line("held out", series(records, "held_out_loss")),
        )
    }
}
