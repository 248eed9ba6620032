//! `slpo align`: optimises a model on preference pairs or labelled rows.

mod page;
mod prepared;
mod unpaired;

use crate::arguments::{Align, Shared};
use crate::commands::common::{EVALUATED_AT_ONCE, options, request, schedule_and_rule, steps};
use crate::commands::notices;
use crate::failure::Failure;
use crate::processes;
use crate::report::Report;
use crate::run_folder::{Record, RunFolderError};
use crate::training::{self, Job, Values};
use crate::watch::Watch;
use engine::{Device, Generator};
use losses::{Loss, Objective};
use model::Error;
use model::align::metrics::{CHOSEN_LOG_RATIO, KL, WEIGHTS_CHANGED, held_out};
use model::align::reference_cache::{self, Fill, ReferenceCache};
use model::align::{AlignedStep, Alignment, Ches, ches};
use model::checkpoint::RunState;
use model::data::{PreferencePair, PreferenceSet};
use model::decoder::Decoder;
use model::evaluate::{self, Check};
use model::fingerprint::{fingerprint, sequence_words};
use model::order::Order;
use model::train::{StepOutcome, Trainer};
use prepared::{Measured, Mixing, Prepared, restore_reference, start_differs};
use std::path::{Path, PathBuf};

type Backend = Device;

/// Aligns a model with one of the losses.
pub fn run(arguments: &Align, shared: &Shared) -> Result<(), Failure> {
    let prepared = Prepared::new(arguments, shared)?;
    if prepared.objective.is_unpaired() { unpaired::run(prepared, arguments, shared) } else { run_on_pairs(prepared, arguments, shared) }
}

fn run_on_pairs(prepared: Prepared, arguments: &Align, shared: &Shared) -> Result<(), Failure> {
    let Prepared { objective, decoder, tokenizer, reference, mixing, limits, chat } = prepared;
    let settings = &arguments.training;
    let load = |path: &Path| -> Result<Vec<PreferencePair>, Failure> {
        let set = PreferenceSet::load(path, &tokenizer, &chat, &limits)?;
        notices::of_rows(&set.report, shared.json);
        Ok(set.pairs)
    };
    let train = load(&settings.data)?;
    let held_out = settings.eval_data.as_deref().map(load).transpose()?.unwrap_or_default();
    let steps = steps(settings, train.len())?;
    let (schedule, rule) = schedule_and_rule(settings, steps);
    let mut trainer = Trainer::new(decoder, rule, schedule, settings.clip);
    trainer.moving_reference = mixing.and_then(|_| reference.decoder().cloned());
    let mut job = AlignmentJob {
        cache: Cache::of(arguments, &objective),
        watch: Watch::new(objective.loss(), schedule.warmup, trainer.decoder.parameter_count()),
        description: format!("{} on {} with {objective}", settings.model.display(), settings.data.display()),
        alignment: Alignment { objective, reference, at_once: settings.batch },
        order: Order::new(shared.seed, train.len(), settings.batch * settings.accumulate),
        train,
        held_out,
        measured: Measured { steps, eval_every: settings.eval_every, warmup: schedule.warmup },
        dropout: settings.dropout,
        rows_per_step: settings.batch * settings.accumulate,
        seed: shared.seed,
        same_reference: arguments.reference.is_none(),
        mixing,
        log_mass: f64::NEG_INFINITY,
        generator: Generator::new(shared.seed),
    };
    training::run(&mut job, &mut trainer, &tokenizer, &request(settings, steps), &arguments.run_settings(shared)?, shared)
}

/// Preference optimisation against a fixed reference.
struct AlignmentJob {
    alignment: Alignment<Backend>,
    train: Vec<PreferencePair>,
    held_out: Vec<PreferencePair>,
    order: Order,
    measured: Measured,
    dropout: f64,
    rows_per_step: usize,
    seed: u64,
    /// True if the model starts as its own reference.
    same_reference: bool,
    cache: Cache,
    mixing: Option<Mixing>,
    watch: Watch,
    /// The largest ln m = ln(π_w + π_l) of the pairs of the last step.
    log_mass: f64,
    generator: Generator,
    description: String,
}

/// Warns if the model finds the completions of most pairs as alike as the chosen one is to itself.
fn alike(scores: &[Ches]) -> Option<String> {
    let high = scores.iter().filter(|ches| ches.normalised >= 0.0).count();
    (2 * high > scores.len()).then(|| {
        format!(
            "likelihood displacement is likely: in {high} of the first {} pairs the model finds the rejected completion as like the chosen one \
             as the chosen one is to itself (CHES of 0 or above), so what lowers one lowers both; slpo data --ches names the pairs",
            scores.len()
        )
    })
}

/// The source of the reference's log-probabilities.
enum Cache {
    /// The reference computes them at every step.
    Live,
    /// A cache at this path, or in the run's folder if there is no path.
    Path(Option<PathBuf>),
}

impl Cache {
    /// Chooses what the command line asks for. A loss that needs more than sequence log-probabilities has no cache.
    fn of(arguments: &Align, objective: &Objective) -> Self {
        match &arguments.reference_cache {
            _ if arguments.reference_every.is_some_and(|every| every > 0) => Self::Live,
            _ if !objective.takes_cached_reference() => Self::Live,
            Some(path) if path.as_os_str() == "off" => Self::Live,
            path => Self::Path(path.clone()),
        }
    }
}

/// Turns an error of the cache into an error of the run.
fn of_cache(error: Error) -> Failure {
    match error {
        Error::Io { path, source } => RunFolderError::Write { path, source }.into(),
        error => error.into(),
    }
}

impl AlignmentJob {
    /// Opens the cache in the process that has the run's `folder`. All processes together then compute the missing entries.
    fn fill_cache(&mut self, folder: Option<&Path>) -> Result<Option<String>, Failure> {
        let Cache::Path(path) = &self.cache else { return Ok(None) };
        let path = path.clone().unwrap_or_else(|| folder.unwrap_or(Path::new("")).join(reference_cache::FILE));
        let Alignment { reference, at_once, .. } = &mut self.alignment;
        let Some(decoder) = reference.decoder() else { return Ok(None) };
        let (mut cache, remark) = match folder {
            Some(_) => ReferenceCache::open(&path, decoder)?,
            None => (ReferenceCache::in_memory(), None),
        };
        // Every row is used once in an epoch, so later steps bring no new rows.
        let steps_of_epoch = self.train.len().div_ceil(self.rows_per_step) as u64;
        let mut is_visited = vec![false; self.train.len()];
        let visited = (1..=self.measured.steps.min(steps_of_epoch)).flat_map(|step| self.order.rows_of(step));
        let pairs = visited.filter(|&row| !std::mem::replace(&mut is_visited[row], true)).map(|row| &self.train[row]);
        let filled = cache.fill(pairs, decoder, *at_once, processes::current(), &processes::stop_requested);
        match filled.map_err(of_cache)? {
            Fill::Whole => reference.set_cache(cache),
            Fill::Stopped { known, missing } => {
                return Err(Failure::Interrupted(format!(
                    "the reference's log-probabilities of {known} pairs are saved in {}, {missing} are missing; the same command with \
                     --resume goes on from there",
                    cache.path().display()
                )));
            }
        }
        Ok(remark)
    }

    /// Compares the loss before the first step with the theory. Returns a message for the user if they differ.
    fn check_start(&self, decoder: &Decoder<Backend>, pairs: &[&PreferencePair]) -> Result<Option<String>, Failure> {
        let start = self.alignment.start(decoder, pairs)?;
        Ok((!start.agrees()).then(|| start_differs(&self.alignment, start)))
    }
}

impl Job for AlignmentJob {
    fn state(&self) -> RunState {
        let data = fingerprint(self.train.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).flat_map(sequence_words));
        RunState { seed: self.seed, data, rows_per_step: self.rows_per_step as u64, rows_at_once: self.alignment.at_once as u64 }
    }

    fn prepare(&mut self, trainer: &Trainer<Backend>, folder: Option<&Path>, new: bool) -> Result<Vec<String>, Failure> {
        restore_reference(&mut self.alignment, trainer);
        let made_anew = self.fill_cache(folder)?;
        if !new || folder.is_none() {
            return Ok(made_anew.into_iter().collect());
        }
        let rows = self.order.rows_of(1).into_iter().take(self.alignment.at_once);
        let pairs: Vec<&PreferencePair> = rows.map(|row| &self.train[row]).collect();
        let start = if self.same_reference { self.check_start(&trainer.decoder, &pairs)? } else { None };
        // The SLPO sequence form weights a pair's gradient by the pair's mass, which may be close to zero.
        let mass = (self.alignment.objective.loss() == Loss::Slpo).then(|| self.alignment.largest_log_mass(&pairs));
        let mass = mass.and_then(|mass| self.watch.see_mass(mass));
        let alike = alike(&ches(&trainer.decoder, &pairs, self.alignment.at_once));
        Ok(made_anew.into_iter().chain(start).chain(mass).chain(alike).collect())
    }

    fn step(&mut self, trainer: &mut Trainer<Backend>, step: u64) -> Result<(StepOutcome, Values, usize), Failure> {
        let pairs: Vec<&PreferencePair> = self.order.rows_of(step).into_iter().map(|row| &self.train[row]).collect();
        let kl = if self.measured.measures_divergence(step) { self.alignment.divergence(&trainer.decoder, &pairs)? } else { None };
        trainer.count_changes = self.measured.counts_changes(step);
        let options = options(self.dropout, false, self.generator.stream(step));
        let AlignedStep { outcome, pairs: metrics } = self.alignment.step(trainer, &pairs, &options)?;
        let tokens = pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).map(|sequence| sequence.tokens.len() - 1).sum();
        if let Some(mixing) = self.mixing {
            mixing.move_reference(step, &mut self.alignment, trainer);
        }
        let Some(metrics) = metrics else { return Ok((outcome, Vec::new(), tokens)) };
        self.log_mass = metrics.largest_log_mass;
        let kl = kl.map(|kl| (KL, kl));
        let changed = outcome.changed.map(|changed| (WEIGHTS_CHANGED, changed));
        // Without a reference the log-ratio is the log-probability.
        let has_reference = self.alignment.reference.decoder().is_some();
        let named = metrics.named().into_iter().filter(|(name, _)| has_reference || *name != CHOSEN_LOG_RATIO);
        Ok((outcome, named.chain(kl).chain(changed).collect(), tokens))
    }

    fn watch(&mut self, step: u64, values: &[(&str, f64)]) -> Vec<String> {
        self.watch.see(step, values, self.log_mass)
    }

    fn evaluate(&self, trainer: &Trainer<Backend>, go_on: Check<'_>) -> Result<Values, Failure> {
        if self.held_out.is_empty() {
            return Ok(Vec::new());
        }
        let reference = self.alignment.reference.decoder();
        let score = evaluate::pairs(&trainer.decoder, reference, &self.held_out, EVALUATED_AT_ONCE, go_on)?;
        let kl = score.kl.map(|kl| (held_out::KL, kl));
        let values = [
            (held_out::ACCURACY, score.accuracy),
            (held_out::PREFERRED, score.accuracy_unreferenced),
            (held_out::CHOSEN_LOG_PROB, score.chosen_log_prob),
            (held_out::REJECTED_LOG_PROB, score.rejected_log_prob),
            (held_out::MARGIN, score.margin),
        ];
        Ok(values.into_iter().chain(kl).collect())
    }

    fn prompts(&self) -> Vec<Vec<u32>> {
        let pairs = if self.held_out.is_empty() { &self.train } else { &self.held_out };
        pairs.iter().map(|pair| pair.chosen.prompt().to_vec()).collect()
    }

    fn report(&self, records: &[Record]) -> Report {
        page::report(self.alignment.objective.loss(), self.description.clone(), records)
    }
}
