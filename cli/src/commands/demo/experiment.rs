//! The demo's experiment: learns the language, draws pairs, and aligns with each loss.

use super::scores::{Estimate, Point};
use crate::failure::Failure;
use crate::progress::Progress;
use engine::{Device, Generator};
use losses::{Hyperparameters, Loss, Objective};
use model::align::{AlignedStep, Alignment, Reference};
use model::boundary::Sequence;
use model::data::PreferencePair;
use model::decoder::{Decoder, ForwardOptions};
use model::language::Language;
use model::optimizer::{Rule, Schedule};
use model::order::Order;
use model::preference::PairBatch;
use model::study::learned_language::{self, log_probs, sequence};
use model::study::path::{Moment, moments};
use model::study::statistics::mean_and_error;
use model::train::Trainer;
use serde_json::{Value, json};

/// The amount of work in the demo.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Steps of learning the language.
    pub pretrain_steps: u64,
    /// Sentences per step of learning.
    pub pretrain_batch: usize,
    /// Steps of each alignment.
    pub align_steps: u64,
    /// Pairs per step of alignment.
    pub align_batch: usize,
    /// The learning rate of alignment at its peak.
    pub align_learning_rate: f64,
    /// Pairs to train on.
    pub train_pairs: usize,
    /// Held-out pairs.
    pub held_out_pairs: usize,
    /// Completions drawn from each model to measure it.
    pub samples: usize,
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            pretrain_steps: 1200,
            pretrain_batch: 64,
            align_steps: 200,
            align_batch: 32,
            align_learning_rate: 5e-4,
            train_pairs: 2048,
            held_out_pairs: 512,
            samples: 4096,
        }
    }
}

/// One way to align.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The name in the table.
    pub name: &'static str,
    /// The loss on the command line.
    pub loss: Loss,
    /// β of DPO: the strength with the most reward at half a nat in small worlds that can be enumerated, rounded.
    pub beta: f64,
    /// α of the SLPO weights.
    pub alpha: f64,
}

const fn method(name: &'static str, loss: Loss, alpha: f64) -> Method {
    Method { name, loss, beta: 1.0, alpha }
}

/// The methods that are compared.
pub const METHODS: [Method; 7] = [
    method("DPO", Loss::Dpo, 1.0),
    method("SFT", Loss::Nll, 1.0),
    method("SLPO token", Loss::SlpoToken, 1.0),
    method("SLPO sequence", Loss::Slpo, 1.0),
    method("SLPO exact Q*", Loss::SlpoExact, 1.0),
    method("SLPO-GKL α=1", Loss::SlpoGkl, 1.0),
    method("SLPO-GKL α=0.9", Loss::SlpoGkl, 0.9),
];

/// Runs of each method, each with its own order of the pairs.
pub const RUNS: u64 = 3;
/// Moments at which a run is measured.
const MOMENTS: usize = 12;

/// One run of a method.
pub struct DemoRun {
    /// The decoder at the end.
    pub decoder: Decoder<Device>,
    /// What it was at some moments.
    pub path: Vec<Moment>,
    /// The metrics of each step's batch.
    pub curve: Vec<Point>,
}

/// The language, the model that learned it, and the pairs.
pub struct Experiment {
    /// The language, whose truth is known.
    pub language: Language,
    /// The amount of work.
    pub budget: Budget,
    /// The model after learning the language. Every alignment starts from it, and uses it as its reference.
    pub reference: Decoder<Device>,
    /// (step, nats per sentence) while learning.
    pub learning_curve: Vec<(f64, f64)>,
    /// Mean nats per sentence over new sentences, with its standard error. NaN before learning.
    pub cross_entropy: Estimate,
    train: Vec<PreferencePair>,
    held_out: Vec<PreferencePair>,
    seed: u64,
}

/// Streams of random numbers, one for each purpose.
mod stream {
    pub const PRETRAIN: u64 = 1;
    pub const PAIRS: u64 = 2;
    pub const MEASURE: u64 = 3;
}

impl Experiment {
    /// Creates an experiment whose model knows nothing yet.
    pub fn new(budget: Budget, seed: u64) -> Result<Self, Failure> {
        let language = Language::new();
        let reference = Decoder::random(&crate::device::processor()?, &learned_language::config(&language), seed)?;
        let (learning_curve, train, held_out) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { language, budget, reference, learning_curve, cross_entropy: (f64::NAN, f64::NAN), train, held_out, seed })
    }

    fn stream(&self, purpose: u64) -> Generator {
        Generator::new(self.seed).stream(purpose)
    }

    /// Learns the language from sentences drawn from it. Each sentence is used once.
    pub fn pretrain(&mut self, bar: &mut Progress) -> Result<(), Failure> {
        let Budget { pretrain_steps: steps, pretrain_batch, .. } = self.budget;
        let (random, mut generator) = (self.reference.clone(), self.stream(stream::PRETRAIN));
        let curve = &mut self.learning_curve;
        self.reference =
            learned_language::learn(&self.language, random, (steps, pretrain_batch), &mut generator, |step, outcome, tokens| {
                curve.push((step as f64, outcome.loss));
                bar.step(step, &[("nats a sentence", outcome.loss)], tokens);
            })?;
        self.cross_entropy = self.held_out_cross_entropy();
        Ok(())
    }

    /// Computes the mean nats per sentence over new sentences, and its standard error.
    fn held_out_cross_entropy(&self) -> Estimate {
        let mut generator = self.stream(stream::MEASURE).stream(1);
        let sentences: Vec<Sequence> = (0..self.budget.samples)
            .map(|_| sequence(&self.language, &[], &self.language.sample_sentence(&mut || generator.uniform())))
            .collect();
        let nats: Vec<f64> = log_probs(&self.reference, &sentences).into_iter().map(|x| -x).collect();
        mean_and_error(&nats)
    }

    /// Draws pairs from the model itself, and labels them by the known reward. Ties, equal completions and unfinished ones are drawn again.
    pub fn draw_pairs(&mut self) -> Result<(), Failure> {
        let wanted = self.budget.train_pairs + self.budget.held_out_pairs;
        let mut pairs = learned_language::pairs(&self.language, &self.reference, self.stream(stream::PAIRS), wanted)?;
        self.held_out = pairs.split_off(self.budget.train_pairs);
        self.train = pairs;
        Ok(())
    }

    /// Returns the random stream for measuring. It is the same for every model.
    pub fn measuring_stream(&self) -> Generator {
        self.stream(stream::MEASURE)
    }

    /// Aligns a copy of the reference with one loss, in one of [`RUNS`] orders. `measure` is called at some moments.
    pub fn align(
        &self,
        method: Method,
        run: u64,
        bar: &mut Progress,
        mut measure: impl FnMut(u64, &Decoder<Device>) -> Result<Moment, Failure>,
    ) -> Result<DemoRun, Failure> {
        let Budget { align_steps: steps, align_batch, align_learning_rate: learning_rate, .. } = self.budget;
        let schedule = Schedule { learning_rate, warmup: 10.min(steps / 10), steps, final_fraction: 0.1 };
        let rule = Rule::adamw(0.0);
        let mut trainer = Trainer::new(self.reference.clone(), rule, schedule, 1.0);
        let hyper = Hyperparameters { alpha: method.alpha, beta: method.beta, ..Hyperparameters::default() };
        let objective = Objective::new(method.loss, hyper).map_err(|error| Failure::Failed(error.to_string()))?;
        let alignment = Alignment { objective, reference: Reference::live(self.reference.clone()), at_once: align_batch };
        let mut order = Order::new(RUNS * self.seed + run, self.train.len(), align_batch);
        let (mut curve, mut path) = (Vec::new(), Vec::new());
        let measured = moments(steps, MOMENTS);
        for step in 0..=steps {
            if step > 0 {
                let batch: Vec<&PreferencePair> = order.rows_of(step).into_iter().map(|row| &self.train[row]).collect();
                let AlignedStep { outcome, pairs } = alignment.step(&mut trainer, &batch, &ForwardOptions::default())?;
                let pairs = pairs.expect("a step that is not finite ends the run");
                curve.push(Point { step, pairs });
                let values = [(method.name, outcome.loss), ("margin", pairs.margin)];
                bar.step(run * steps + step, &values, PairBatch::new(batch).token_count());
            }
            if measured.contains(&step) {
                path.push(measure(step, &trainer.decoder)?);
            }
        }
        Ok(DemoRun { decoder: trainer.decoder, path, curve })
    }

    /// The training pairs.
    pub fn train_pairs(&self) -> &[PreferencePair] {
        &self.train
    }
    /// The held-out pairs.
    pub fn held_out_pairs(&self) -> &[PreferencePair] {
        &self.held_out
    }

    /// Returns what is known of the language in closed form.
    pub fn truth(&self) -> Value {
        json!({
            "words": self.language.words().len(),
            "prompts": self.language.prompts().len(),
            "entropy_nats_a_sentence": self.language.entropy(),
            "expected_reward": self.language.expected_reward(),
        })
    }

    /// Returns how well the language was learned.
    pub fn pretraining(&self) -> Value {
        let (nats, error) = self.cross_entropy;
        let parameters = self.reference.parameter_count();
        json!({ "parameters": parameters, "cross_entropy_nats_a_sentence": nats, "standard_error": error, "entropy": self.language.entropy() })
    }

    /// Describes in one line how well the language was learned.
    pub fn pretraining_summary(&self) -> String {
        let (nats, error) = self.cross_entropy;
        format!(
            "     {} parameters; new sentences cost it {nats:.3} ± {error:.3} nats, the language's entropy is {:.3}",
            self.reference.parameter_count(),
            self.language.entropy()
        )
    }

    /// Describes the pairs in one line, with an example.
    pub fn pairs_summary(&self) -> String {
        let words = |sequence: &Sequence| self.language.decode(sequence.completion());
        let example = self.train.first().map_or_else(String::new, |pair| {
            let prompt = self.language.decode(&pair.chosen.prompt()[1..]);
            format!("; for example \"{prompt}\" → \"{}\" over \"{}\"", words(&pair.chosen), words(&pair.rejected))
        });
        format!("     {} pairs to train on, {} kept apart{example}", self.train.len(), self.held_out.len())
    }
}
