//! `slpo align`: optimising a model on preference pairs.

use crate::arguments::{Align, Shared};
use crate::commands::common::{EVALUATED_AT_ONCE, options, plan, schedule_and_rule, steps, to_train};
use crate::commands::{Loaded, longest_sequence};
use crate::failure::Failure;
use crate::interrupt;
use crate::objective::LossObjective;
use crate::progress::Progress;
use crate::report::Report;
use crate::report::chart::XyChart;
use crate::run_folder::Record;
use crate::training::{self, Job, Settings, Values, series, smoothing};
use engine::{Cpu, Generator, Tensor};
use model::boundary::Limits;
use model::data::{ChatTemplate, PreferencePair, PreferenceSet};
use model::decoder::Decoder;
use model::evaluate;
use model::order::Order;
use model::preference::{Objective, PairBatch, Scored};
use model::train::{StepOutcome, Trainer};
use serde_json::Value;
use std::path::Path;

type Backend = Cpu<f32>;

/// Aligns a model with one of the losses.
pub fn run(arguments: &Align, shared: &Shared) -> Result<(), Failure> {
    let settings = &arguments.training;
    interrupt::listen()?;
    let (loss, hyper) = arguments.settings.of(&arguments.loss)?;
    let objective = LossObjective { loss, hyper };
    let Loaded { decoder, tokenizer } = Loaded::open(&settings.model)?;
    let decoder = to_train(decoder, settings, shared.seed)?;
    let reference = match &arguments.reference {
        Some(path) => Loaded::open(path)?.decoder,
        // With an adapter: the same weights, and the adapter off.
        None => decoder.without_adapter(),
    };
    check_reference(&decoder, &reference)?;
    let limits = Limits::new(longest_sequence(decoder.config(), settings.max_tokens));
    let chat = ChatTemplate::of(&tokenizer)?;
    let load = |path: &Path| PreferenceSet::load(path, &tokenizer, &chat, &limits);
    let set = load(&settings.data)?;
    Progress::new(0, !shared.json).line(&set.report.to_string());
    let train = set.pairs;
    let held_out = match &settings.eval_data {
        Some(path) => load(path)?.pairs,
        None => Vec::new(),
    };
    let steps = steps(settings, train.len());
    let (schedule, rule) = schedule_and_rule(settings, steps);
    let mut trainer = Trainer::new(decoder, rule, schedule, settings.clip);
    let mut job = Alignment {
        objective,
        reference,
        order: Order::new(shared.seed, train.len(), settings.batch * settings.accumulate),
        train,
        held_out,
        batch: settings.batch,
        steps,
        eval_every: settings.eval_every,
        dropout: settings.dropout,
        generator: Generator::new(shared.seed),
        description: format!("{} on {} with {}", settings.model.display(), settings.data.display(), arguments.loss),
    };
    training::run(&mut job, &mut trainer, &tokenizer, &plan(settings, steps), &Settings { command: arguments, shared }, shared)
}

fn check_reference(policy: &Decoder<Backend>, reference: &Decoder<Backend>) -> Result<(), Failure> {
    let (policy, reference) = (policy.config().vocab_size, reference.config().vocab_size);
    if policy != reference {
        let reason = format!("the reference has a vocabulary of {reference} tokens, the model one of {policy}: they must be the same");
        return Err(Failure::Usage(reason));
    }
    Ok(())
}

/// Preference optimisation against a reference that stays as it is.
struct Alignment {
    objective: LossObjective,
    reference: Decoder<Backend>,
    train: Vec<PreferencePair>,
    held_out: Vec<PreferencePair>,
    order: Order,
    batch: usize,
    steps: u64,
    eval_every: u64,
    dropout: f64,
    generator: Generator,
    description: String,
}

/// Sums over pairs of what a step logs.
#[derive(Default)]
struct Sums {
    pairs: f64,
    chosen: f64,
    rejected: f64,
    margin: f64,
    correct: f64,
}

impl Sums {
    fn add(&mut self, policy: &Scored<'_, Backend>, reference: &Scored<'_, Backend>) {
        let values = |x: &Tensor<Backend>| x.to_f64();
        let ((chosen, rejected), (reference_chosen, reference_rejected)) = (policy.sequence_log_probs(), reference.sequence_log_probs());
        let margins = values(&chosen.sub(&reference_chosen).sub(&rejected.sub(&reference_rejected)));
        self.pairs += margins.len() as f64;
        self.chosen += values(&chosen).iter().sum::<f64>();
        self.rejected += values(&rejected).iter().sum::<f64>();
        self.margin += margins.iter().sum::<f64>();
        self.correct += margins.iter().filter(|&&margin| margin > 0.0).count() as f64;
    }

    fn values(&self) -> Values {
        vec![
            ("chosen_log_prob", self.chosen / self.pairs),
            ("rejected_log_prob", self.rejected / self.pairs),
            ("margin", self.margin / self.pairs),
            ("accuracy", self.correct / self.pairs),
        ]
    }
}

impl Alignment {
    /// KL(π‖π_ref) of the next token on a step's pairs before the step, where the step is one that is measured.
    fn divergence(&self, rows: &[&PreferencePair], decoder: &Decoder<Backend>, step: u64) -> Result<Option<(&'static str, f64)>, Failure> {
        let due = step == 1 || step == self.steps || (self.eval_every > 0 && step.is_multiple_of(self.eval_every));
        if !due {
            return Ok(None);
        }
        let pairs: Vec<PreferencePair> = rows.iter().map(|&pair| pair.clone()).collect();
        let score = evaluate::pairs(decoder, Some(&self.reference), &pairs, self.batch)?;
        Ok(score.kl.map(|kl| ("kl", kl)))
    }
}

impl Job for Alignment {
    fn step(&mut self, trainer: &mut Trainer<Backend>, step: u64) -> Result<(StepOutcome, Values, usize), Failure> {
        let rows: Vec<&PreferencePair> = self.order.rows_of(step).into_iter().map(|row| &self.train[row]).collect();
        let micro_batches: Vec<PairBatch> = rows.chunks(self.batch).map(|rows| PairBatch::new(rows.iter().copied())).collect();
        let kl = self.divergence(&rows, &trainer.decoder, step)?;
        let dropout = self.generator.stream(step);
        let mut sums = Sums::default();
        let outcome = trainer.step(micro_batches.len(), |decoder, index| {
            let batch = &micro_batches[index];
            let reference = Scored::reference(batch, &self.reference);
            let policy = Scored::policy(batch, decoder, &options(self.dropout, false, dropout.stream(index as u64)));
            sums.add(&policy, &reference);
            self.objective.total(&policy, &reference)
        })?;
        let values = sums.values().into_iter().chain(kl).collect();
        Ok((outcome, values, micro_batches.iter().map(PairBatch::token_count).sum()))
    }

    fn evaluate(&self, trainer: &Trainer<Backend>) -> Result<Values, Failure> {
        if self.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let score = evaluate::pairs(&trainer.decoder, Some(&self.reference), &self.held_out, EVALUATED_AT_ONCE)?;
        Ok(vec![
            ("held_out_accuracy", score.accuracy),
            ("held_out_preferred", score.accuracy_unreferenced),
            ("held_out_chosen_log_prob", score.chosen_log_prob),
            ("held_out_rejected_log_prob", score.rejected_log_prob),
            ("held_out_margin", score.margin),
            ("held_out_kl", score.kl.unwrap_or(f64::NAN)),
        ])
    }

    fn report(&self, records: &[Record], summary: &Value) -> Report {
        let loss = series(records, "loss");
        let window = smoothing(loss.len());
        let train = |name: &str| series(records, name);
        let chart = |label: &str| XyChart::new("step", label);
        Report::new(format!("Alignment with {}", self.objective.loss))
            .lead(self.description.clone())
            .figure("Loss", "Of each step's batch, before the step.", chart("loss").smoothed_line("training", loss, window))
            .figure(
                "Log-probabilities of the completions",
                "Sums over completion tokens. Watch whether the chosen completions fall together with the rejected ones.",
                chart("log-probability (nats)")
                    .smoothed_line("chosen", train("chosen_log_prob"), window)
                    .smoothed_line("rejected", train("rejected_log_prob"), window)
                    .line("chosen, held out", train("held_out_chosen_log_prob"))
                    .line("rejected, held out", train("held_out_rejected_log_prob")),
            )
            .figure(
                "Margin",
                "ln π/π_ref of the chosen completion less that of the rejected one.",
                chart("margin (nats)").smoothed_line("training", train("margin"), window).line("held out", train("held_out_margin")),
            )
            .figure(
                "Accuracy",
                "The part of pairs with a margin above zero; \"preferred\" asks the model alone: is ln π larger for the chosen one?",
                chart("accuracy")
                    .smoothed_line("training", train("accuracy"), window)
                    .line("held out", train("held_out_accuracy"))
                    .line("held out, preferred", train("held_out_preferred")),
            )
            .figure(
                "Divergence from the reference",
                "KL(π‖π_ref) of the next token, averaged over the completion tokens of a step's pairs and of the pairs kept apart.",
                chart("KL (nats a token)").line("training", train("kl")).line("held out", train("held_out_kl")),
            )
            .section("Summary")
            .preformatted(format!("{summary:#}"))
    }
}
