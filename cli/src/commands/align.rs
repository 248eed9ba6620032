//! `slpo align`: optimising a model on preference pairs.

use crate::arguments::{Align, Shared};
use crate::commands::common::{EVALUATED_AT_ONCE, options, plan, schedule_and_rule, steps, to_train};
use crate::commands::{Loaded, longest_sequence, notices};
use crate::failure::Failure;
use crate::memory;
use crate::objective::LossObjective;
use crate::processes;
use crate::reference_cache::{self, ReferenceCache};
use crate::report::Report;
use crate::report::chart::XyChart;
use crate::run_folder::Record;
use crate::start;
use crate::training::{self, Job, Values, fingerprint, sequence_words, series, smoothing};
use crate::watch::Watch;
use engine::{Device, Generator, Tensor, no_grad};
use losses::Loss;
use model::boundary::Limits;
use model::checkpoint::RunState;
use model::data::{ChatTemplate, PreferencePair, PreferenceSet};
use model::decoder::Decoder;
use model::evaluate::{self, Check};
use model::order::Order;
use model::parallel::Processes;
use model::preference::{Objective, PairBatch, Scored};
use model::train::{StepOutcome, Trainer};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

type Backend = Device;

/// Aligns a model with one of the losses.
pub fn run(arguments: &Align, shared: &Shared) -> Result<(), Failure> {
    let settings = &arguments.training;
    let (loss, hyper) = arguments.settings.of(&arguments.loss)?;
    let objective = LossObjective { loss, hyper };
    // An adapter's base is its own reference, without a copy.
    let adapter = settings.lora.lora_rank.is_some();
    memory::check_fine_tuning(&settings.model, adapter, !adapter || arguments.reference.is_some())?;
    let Loaded { decoder, tokenizer } = Loaded::open(&settings.model)?;
    let decoder = to_train(decoder, settings, shared.seed)?;
    let reference = match &arguments.reference {
        Some(path) => Loaded::open(path)?.decoder,
        // With an adapter: the same weights, and the adapter off.
        None => decoder.without_adapter(),
    };
    check_reference(&decoder, &reference)?;
    let longest = longest_sequence(decoder.config(), settings.max_tokens);
    let limits = Limits { truncation: settings.cut.truncation(), ..Limits::new(longest) };
    let chat = ChatTemplate::of(&tokenizer)?;
    let load = |path: &Path| PreferenceSet::load(path, &tokenizer, &chat, &limits);
    let set = load(&settings.data)?;
    notices::of_rows(&set.report, shared.json);
    let train = set.pairs;
    let held_out = match &settings.eval_data {
        Some(path) => {
            let held_out = load(path)?;
            notices::of_rows(&held_out.report, shared.json);
            held_out.pairs
        }
        None => Vec::new(),
    };
    let steps = steps(settings, train.len())?;
    let (schedule, rule) = schedule_and_rule(settings, steps);
    let decoder_size = decoder.parameter_count();
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
        rows_per_step: settings.batch * settings.accumulate,
        seed: shared.seed,
        same_reference: arguments.reference.is_none(),
        cache: Cache::of(arguments, loss),
        watch: Watch::new(loss, schedule.warmup),
        warmup: schedule.warmup,
        parameters: decoder_size,
        log_mass: f64::NEG_INFINITY,
        generator: Generator::new(shared.seed),
        description: format!("{} on {} with {}", settings.model.display(), settings.data.display(), arguments.loss),
    };
    training::run(&mut job, &mut trainer, &tokenizer, &plan(settings, steps), &arguments.run_settings(shared)?, shared)
}

/// The accuracies of records whose margin is not exactly 0: where policy and reference are one model, there is no accuracy yet.
fn decided(records: &[Record], accuracy: &str, margin: &str) -> Vec<(f64, f64)> {
    let margins = series(records, margin);
    let is_tie = |step: f64| margins.contains(&(step, 0.0));
    series(records, accuracy).into_iter().filter(|(step, _)| !is_tie(*step)).collect()
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
    rows_per_step: usize,
    seed: u64,
    /// Does the model start as its own reference?
    same_reference: bool,
    cache: Cache,
    watch: Watch,
    warmup: u64,
    /// Numbers that are trained.
    parameters: usize,
    /// The largest ln m = ln(π_w + π_l) of the pairs of the last step.
    log_mass: f64,
    generator: Generator,
    description: String,
}

/// Where the reference's log-probabilities come from.
enum Cache {
    /// Computed at every step.
    Live,
    /// To be opened at this path, or in the run's folder.
    Path(Option<PathBuf>),
    /// At hand.
    Open(PathBuf, ReferenceCache),
}

impl Cache {
    /// What the command line asks for, where the loss needs no more than sequence log-probabilities.
    fn of(arguments: &Align, loss: Loss) -> Self {
        match &arguments.reference_cache {
            _ if !loss.is_pairwise() => Self::Live,
            Some(path) if path.as_os_str() == "off" => Self::Live,
            path => Self::Path(path.clone()),
        }
    }
}

/// ln π of the chosen and the rejected completions of a micro-batch, then ln π_ref of both, [4·pairs], so that they are read at once; without
/// what their gradients need.
fn log_probs(policy: &Scored<'_, Backend>, reference: &Scored<'_, Backend>) -> Tensor<Backend> {
    let ((chosen, rejected), (reference_chosen, reference_rejected)) = (policy.sequence_log_probs(), reference.sequence_log_probs());
    no_grad(|| Tensor::concat(&[&chosen, &rejected, &reference_chosen, &reference_rejected], 0))
}

/// Sums over pairs of what a step logs.
#[derive(Default)]
struct Sums {
    pairs: f64,
    chosen: f64,
    rejected: f64,
    chosen_log_ratio: f64,
    margin: f64,
    correct: f64,
    /// The largest ln m of a pair.
    log_mass: Option<f64>,
}

impl Sums {
    /// Adds a micro-batch's [`log_probs`].
    fn add(&mut self, log_probs: &Tensor<Backend>) {
        let (values, pairs) = (log_probs.to_f64(), log_probs.len() / 4);
        for pair in 0..pairs {
            let [w, l, reference_w, reference_l] = std::array::from_fn(|part| values[part * pairs + pair]);
            let log_mass = losses::logaddexp(reference_w, reference_l);
            let margin = (w - reference_w) - (l - reference_l);
            self.log_mass = Some(self.log_mass.map_or(log_mass, |largest| largest.max(log_mass)));
            self.pairs += 1.0;
            self.chosen += w;
            self.rejected += l;
            self.chosen_log_ratio += w - reference_w;
            self.margin += margin;
            self.correct += f64::from(u8::from(margin > 0.0));
        }
    }

    /// The sums over the pairs of all processes, in the order of ranks.
    fn of_all(self, processes: Option<&Processes>) -> Result<Self, Failure> {
        let Some(processes) = processes else { return Ok(self) };
        let own = [self.pairs, self.chosen, self.rejected, self.chosen_log_ratio, self.margin, self.correct];
        let [pairs, chosen, rejected, chosen_log_ratio, margin, correct] =
            processes.sum(&own)?.try_into().expect("as many sums as numbers");
        let largest = processes.gather(self.log_mass.unwrap_or(f64::NEG_INFINITY).to_le_bytes().to_vec())?;
        let largest = largest.into_iter().filter_map(|bytes| bytes.try_into().ok()).map(f64::from_le_bytes);
        Ok(Self { pairs, chosen, rejected, chosen_log_ratio, margin, correct, log_mass: largest.reduce(f64::max) })
    }

    fn values(&self) -> Values {
        vec![
            ("chosen_log_prob", self.chosen / self.pairs),
            ("rejected_log_prob", self.rejected / self.pairs),
            ("chosen_log_ratio", self.chosen_log_ratio / self.pairs),
            ("margin", self.margin / self.pairs),
            ("accuracy", self.correct / self.pairs),
        ]
    }
}

impl Alignment {
    /// The reference as it sees some of the pairs to train on.
    fn reference<'a>(&'a self, batch: &'a PairBatch, pairs: &[&PreferencePair]) -> Scored<'a, Backend> {
        let known: Option<Vec<(f64, f64)>> = match &self.cache {
            Cache::Open(_, cache) => pairs.iter().map(|pair| cache.get(pair)).collect(),
            _ => None,
        };
        match known {
            Some(known) => Scored::known_reference(batch, &self.reference, &known),
            None => Scored::reference(batch, &self.reference),
        }
    }

    /// Opens the cache, in the process that has the run's `folder`, and computes what the run will need of it, all processes together.
    fn fill_cache(&mut self, folder: Option<&Path>) -> Result<Option<String>, Failure> {
        let Cache::Path(path) = &self.cache else { return Ok(None) };
        let path = path.clone().unwrap_or_else(|| folder.unwrap_or(Path::new("")).join(reference_cache::FILE));
        let (mut cache, remark) = match folder {
            Some(_) => ReferenceCache::open(&path, &self.reference)?,
            None => (ReferenceCache::in_memory(), None),
        };
        // Every row comes once an epoch: later steps bring no others.
        let steps_of_epoch = self.train.len().div_ceil(self.rows_per_step) as u64;
        let rows: BTreeSet<usize> = (1..=self.steps.min(steps_of_epoch)).flat_map(|step| self.order.rows_of(step)).collect();
        cache.fill(rows.into_iter().map(|row| &self.train[row]), &self.reference, self.batch, processes::current())?;
        self.cache = Cache::Open(path, cache);
        Ok(remark)
    }

    /// Compares the loss before the first step, without dropout, with the theory.
    fn check_start(&mut self, decoder: &Decoder<Backend>) -> Result<Option<String>, Failure> {
        let rows: Vec<&PreferencePair> = self.order.rows_of(1).into_iter().take(self.batch).map(|row| &self.train[row]).collect();
        let batch = PairBatch::new(rows.iter().copied());
        let policy = Scored::reference(&batch, decoder);
        let (sum, count) = self.objective.total(&policy, &self.reference(&batch, &rows))?;
        let cached = match &self.cache {
            Cache::Open(path, _) => Some(path.display().to_string()),
            _ => None,
        };
        let expected = start::expected(&self.objective, &batch, &self.reference)?;
        Ok(start::remark(&self.objective, sum.item() / count, expected, cached.as_deref()))
    }

    /// Whether the first step's pairs have enough mass for the SLPO sequence form, whose gradient it weights.
    fn check_mass(&mut self) -> Option<String> {
        if self.objective.loss != Loss::Slpo {
            return None;
        }
        let rows: Vec<&PreferencePair> = self.order.rows_of(1).into_iter().take(self.batch).map(|row| &self.train[row]).collect();
        let batch = PairBatch::new(rows.iter().copied());
        let (chosen, rejected) = self.reference(&batch, &rows).sequence_log_probs();
        let masses = chosen.to_f64().into_iter().zip(rejected.to_f64()).map(|(w, l)| losses::logaddexp(w, l));
        let largest = masses.fold(f64::NEG_INFINITY, f64::max);
        self.watch.see_mass(largest)
    }

    /// Whether a step counts the weights that it changes: the first, the first at the full learning rate, and now and then.
    fn counts_changes(&self, step: u64) -> bool {
        processes::is_first() && (step == 1 || step == self.warmup + 1 || step.is_multiple_of(100))
    }

    /// KL(π‖π_ref) of the next token on a step's pairs before the step, where the step is one that is measured.
    fn divergence(&self, rows: &[&PreferencePair], decoder: &Decoder<Backend>, step: u64) -> Result<Option<(&'static str, f64)>, Failure> {
        let due = step == 1 || step == self.steps || (self.eval_every > 0 && step.is_multiple_of(self.eval_every));
        if !due || !processes::is_first() {
            return Ok(None);
        }
        let pairs: Vec<PreferencePair> = rows.iter().map(|&pair| pair.clone()).collect();
        let score = evaluate::pairs(decoder, Some(&self.reference), &pairs, self.batch, &evaluate::to_the_end)?;
        Ok(score.kl.map(|kl| ("kl", kl)))
    }
}

impl Job for Alignment {
    fn state(&self) -> RunState {
        let data = fingerprint(self.train.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).flat_map(sequence_words));
        RunState { seed: self.seed, data, rows_per_step: self.rows_per_step as u64, rows_at_once: self.batch as u64 }
    }

    fn prepare(&mut self, trainer: &Trainer<Backend>, folder: Option<&Path>, new: bool) -> Result<Vec<String>, Failure> {
        let made_anew = self.fill_cache(folder)?;
        let start = if new && self.same_reference && folder.is_some() { self.check_start(&trainer.decoder)? } else { None };
        let mass = if new && folder.is_some() { self.check_mass() } else { None };
        Ok(made_anew.into_iter().chain(start).chain(mass).collect())
    }

    fn step(&mut self, trainer: &mut Trainer<Backend>, step: u64) -> Result<(StepOutcome, Values, usize), Failure> {
        let rows: Vec<&PreferencePair> = self.order.rows_of(step).into_iter().map(|row| &self.train[row]).collect();
        let share = trainer.share(rows.len(), self.batch);
        let own = share.micro_batches.into_iter().map(|part| &rows[part]);
        let parts: Vec<(&[&PreferencePair], PairBatch)> = own.map(|rows| (rows, PairBatch::new(rows.iter().copied()))).collect();
        let kl = self.divergence(&rows, &trainer.decoder, step)?;
        let dropout = self.generator.stream(step);
        let mut seen = Vec::new();
        trainer.count_changes = self.counts_changes(step);
        let outcome = trainer.step(parts.len(), |decoder, index| {
            let (pairs, batch) = &parts[index];
            let reference = self.reference(batch, pairs);
            let policy = Scored::policy(batch, decoder, &options(self.dropout, false, dropout.stream((share.before + index) as u64)));
            seen.push(log_probs(&policy, &reference));
            self.objective.total(&policy, &reference)
        })?;
        let tokens = rows.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).map(|sequence| sequence.tokens.len() - 1).sum();
        if outcome.skipped.is_some() {
            return Ok((outcome, Vec::new(), tokens));
        }
        let mut sums = Sums::default();
        seen.iter().for_each(|log_probs| sums.add(log_probs));
        let sums = sums.of_all(processes::current())?;
        self.log_mass = sums.log_mass.unwrap_or(f64::NEG_INFINITY);
        let changed = outcome.changed.map(|changed| ("weights_changed", changed));
        Ok((outcome, sums.values().into_iter().chain(kl).chain(changed).collect(), tokens))
    }

    fn watch(&mut self, step: u64, values: &Values) -> Vec<String> {
        let more = values
            .iter()
            .find(|(name, _)| *name == "gradient_norm")
            .map(|(_, norm)| [("gradient_rms", norm / (self.parameters as f64).sqrt()), ("log_mass", self.log_mass)]);
        let values = values.iter().copied().chain(more.into_iter().flatten()).collect();
        self.watch.see(step, &values)
    }

    fn evaluate(&self, trainer: &Trainer<Backend>, go_on: Check<'_>) -> Result<Values, Failure> {
        if self.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let score = evaluate::pairs(&trainer.decoder, Some(&self.reference), &self.held_out, EVALUATED_AT_ONCE, go_on)?;
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
                    .smoothed_line("training", decided(records, "accuracy", "margin"), window)
                    .line("held out", decided(records, "held_out_accuracy", "held_out_margin"))
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
