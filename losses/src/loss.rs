//! The losses by name: what the table in `lib.rs` knows of each, and the one place that turns a name into a loss.

use crate::batchwise::batch::BatchLoss;
use crate::error::LossError;
use crate::hyperparameters::{Hyperparameters, Setting};
use crate::pairwise::arrangement::Arrangement;
use crate::pairwise::pair::{Pair, PairInputs, PairLoss};
use crate::preference_loss::{Need, PreferenceLoss};
use crate::tokenwise::token::{TokenInputs, TokenLoss, TokenWeights};
use crate::unpaired::row::RowLoss;
use engine::backend::Indices;
use engine::explain::Explanation;
use engine::gradcheck::{Draw, Entry, Sample};
use engine::{Backend, Tensor};
use std::fmt;
use std::str::FromStr;

/// What a loss is a function of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The sequence log-probabilities of each pair, and perhaps the lengths.
    Pairwise,
    /// The sequence log-probabilities of a whole batch of pairs.
    Batchwise,
    /// The sequence log-probability of each labelled row.
    Unpaired,
    /// The logits at the positions that both completions have.
    Tokenwise,
    /// All logits of both completions.
    Exact,
}

/// What the table knows of a loss.
struct TableRow {
    name: &'static str,
    aliases: &'static [&'static str],
    note: Option<&'static str>,
    uses: &'static [Setting],
    kind: Kind,
    has_policy_constants: bool,
    defaults: fn() -> Hyperparameters,
    needs: fn(&Hyperparameters) -> &'static [Need],
    check: fn(&Hyperparameters) -> Result<(), LossError>,
    sample: fn(&mut Draw) -> Sample,
    explanation: Explanation,
}

impl TableRow {
    /// The row of a loss, with the source and the explanation beside it.
    const fn of<L: PreferenceLoss>(kind: Kind, source: &'static str, text: &'static str) -> Self {
        Self {
            name: L::NAME,
            aliases: L::ALIASES,
            note: L::NOTE,
            uses: L::USES,
            kind,
            has_policy_constants: L::HAS_POLICY_CONSTANTS,
            defaults: L::defaults,
            needs: |hyper| L::of(hyper).needs(),
            check: L::check,
            sample: L::sample,
            explanation: Explanation::new(L::NAME, source, text, L::example),
        }
    }
}

/// Defines [`Loss`] from the table in `lib.rs`.
macro_rules! define {
    (
        pairwise { $($pair:ident: $Pair:ident),* }
        batchwise { $($batch:ident: $Batch:ident),* }
        unpaired { $($row:ident: $Row:ident),* }
        tokenwise { $($token:ident: $Token:ident),* }
        exact { $($exact:ident: $Exact:ident),* }
    ) => {
        define! {
            $($Pair Pairwise pairwise $pair crate::pairwise::$pair::$Pair,)*
            $($Batch Batchwise batchwise $batch crate::batchwise::$batch::$Batch,)*
            $($Row Unpaired unpaired $row crate::unpaired::$row::$Row,)*
            $($Token Tokenwise tokenwise $token crate::tokenwise::$token::$Token,)*
            $($Exact Exact exact $exact crate::exact::$exact::$Exact,)*
        }

        impl Loss {
            /// Hands the pairwise loss with these settings, whatever their ranges, to `visitor`.
            pub(crate) fn visit<V: Visitor>(self, hyper: &Hyperparameters, visitor: V) -> Result<V::Output, LossError> {
                match self {
                    $(Self::$Pair => Ok(visitor.visit(crate::pairwise::$pair::$Pair::of(hyper))),)*
                    _ => Err(LossError::NotPairwise { loss: self.name() }),
                }
            }

            /// Hands the pairwise loss that a loss of a batch computes, and the arrangement of the batch's pairs, to `visitor`.
            pub(crate) fn visit_in_batch<V: Visitor>(
                self,
                hyper: &Hyperparameters,
                pairs: &[Pair<f64>],
                visitor: impl FnOnce(Arrangement) -> V,
            ) -> Result<V::Output, LossError> {
                match self {
                    $(Self::$Batch => {
                        let loss = crate::batchwise::$batch::$Batch::of(hyper);
                        Ok(visitor(loss.arrange(pairs)).visit(loss.pairwise(pairs)))
                    })*
                    _ => self.visit(hyper, visitor(Arrangement::identity(pairs.len()))),
                }
            }

            /// Hands the loss of labelled rows with these settings, whatever their ranges, to `visitor`.
            pub(crate) fn visit_row<V: RowVisitor>(self, hyper: &Hyperparameters, visitor: V) -> Result<V::Output, LossError> {
                match self {
                    $(Self::$Row => Ok(visitor.visit(crate::unpaired::$row::$Row::of(hyper))),)*
                    _ => Err(LossError::NotUnpaired { loss: self.name() }),
                }
            }

            fn token_masses<B: Backend>(
                self,
                hyper: &Hyperparameters,
                reference: &Tensor<B>,
                [chosen, rejected]: [&Indices; 2],
            ) -> Result<TokenWeights<B>, LossError> {
                match self {
                    $(Self::$Token => crate::tokenwise::$token::$Token::of(hyper).masses(reference, chosen, rejected),)*
                    _ => Err(LossError::NotTokenwise { loss: self.name() }),
                }
            }

            fn by_position<B: Backend>(self, inputs: &TokenInputs<B>) -> Result<Tensor<B>, LossError> {
                match self {
                    $(Self::$Token => Ok(crate::tokenwise::$token::$Token::evaluate(inputs)),)*
                    _ => Err(LossError::NotTokenwise { loss: self.name() }),
                }
            }
        }
    };
    ($($Loss:ident $Kind:ident $room:ident $file:ident $Type:path,)*) => {
        /// A preference loss.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Loss {
            $(#[doc = concat!("The loss in `", stringify!($room), "/", stringify!($file), ".rs`.")] $Loss,)*
        }

        impl Loss {
            /// All losses, in the order of the table.
            pub const ALL: [Self; [$(stringify!($Loss)),*].len()] = [$(Self::$Loss),*];

            fn row(self) -> TableRow {
                match self {
                    $(Self::$Loss => TableRow::of::<$Type>(
                        Kind::$Kind,
                        include_str!(concat!(stringify!($room), "/", stringify!($file), ".rs")),
                        include_str!(concat!(stringify!($room), "/", stringify!($file), ".md")),
                    ),)*
                }
            }
        }
    };
}
losses!(define);

/// Something to do with a pairwise loss, whichever it is.
pub(crate) trait Visitor {
    /// What comes of it.
    type Output;
    /// Does it.
    fn visit<L: PairLoss>(self, loss: L) -> Self::Output;
}

/// Something to do with a loss of labelled rows, whichever it is.
pub(crate) trait RowVisitor {
    /// What comes of it.
    type Output;
    /// Does it.
    fn visit<L: RowLoss>(self, loss: L) -> Self::Output;
}

impl Loss {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Other names that are understood: those of other trainers and of the papers.
    pub fn aliases(self) -> &'static [&'static str] {
        self.row().aliases
    }

    /// What the name computes here, and what other programs call so, where the two differ.
    pub fn note(self) -> Option<&'static str> {
        self.row().note
    }

    /// The settings that the loss uses. Every other one changes nothing.
    pub fn uses(self) -> &'static [Setting] {
        self.row().uses
    }

    /// The settings with the defaults of this loss.
    pub fn defaults(self) -> Hyperparameters {
        (self.row().defaults)()
    }

    /// What it is a function of.
    pub fn kind(self) -> Kind {
        self.row().kind
    }

    /// True if its gradient takes numbers as constants that follow from the policy.
    pub fn has_policy_constants(self) -> bool {
        self.row().has_policy_constants
    }

    /// True if it is a function of the sequence log-probabilities of each pair.
    pub fn is_pairwise(self) -> bool {
        self.kind() == Kind::Pairwise
    }

    /// True if it is a function of sequence log-probabilities, of each pair or of the whole batch.
    pub fn is_of_sequences(self) -> bool {
        matches!(self.kind(), Kind::Pairwise | Kind::Batchwise)
    }

    /// True if sequence log-probabilities are all that the loss with these settings needs of the reference, so that they can be cached.
    pub fn takes_cached_reference(self, hyper: &Hyperparameters) -> bool {
        let needs = |need: Need| self.needs(need, hyper);
        let needs_more = [Need::Logits, Need::ReferenceTails, Need::Divergences].into_iter().any(needs);
        !self.is_unpaired() && needs(Need::Reference) && !needs_more
    }

    /// True if it is a function of labelled rows, which are no pairs.
    pub fn is_unpaired(self) -> bool {
        self.kind() == Kind::Unpaired
    }

    /// True if the loss with these settings needs it.
    pub fn needs(self, need: Need, hyper: &Hyperparameters) -> bool {
        (self.row().needs)(hyper).contains(&need)
    }

    /// One loss for each set of things that a loss reads with its defaults: losses of one set differ by their formulas alone. Every token
    /// form is among them, because each reads the logits in its own way.
    pub fn one_of_each_input() -> Vec<Self> {
        let reads = |loss: Self| (loss.kind(), Need::ALL.map(|need| loss.needs(need, &loss.defaults())));
        let is_first = |loss: Self| Self::ALL.into_iter().find(|&other| reads(other) == reads(loss)) == Some(loss);
        Self::ALL.into_iter().filter(|&loss| loss.kind() == Kind::Tokenwise || is_first(loss)).collect()
    }

    /// The names of some losses in the order of the table: `cdpo and robust`.
    pub fn listed(which: impl Fn(Self) -> bool) -> String {
        let names: Vec<&str> = Self::ALL.into_iter().filter(|&loss| which(loss)).map(Self::name).collect();
        match names.split_last() {
            Some((last, others)) if !others.is_empty() => format!("{} and {last}", others.join(", ")),
            _ => names.concat(),
        }
    }

    /// Checks the settings that the loss uses; the others may be anything.
    ///
    /// # Errors
    /// [`LossError::Hyperparameter`] for the first that is out of range.
    pub fn validate(self, hyper: &Hyperparameters) -> Result<(), LossError> {
        let row = self.row();
        row.uses.iter().try_for_each(|&setting| hyper.check(setting))?;
        (row.check)(hyper)
    }

    /// The loss of one pair where the policy is the reference, from theory; `None` for losses that are not pairwise.
    pub fn at_start(self, hyper: &Hyperparameters, pair: &Pair<f64>) -> Option<f64> {
        self.visit_in_batch(hyper, &[*pair], |_| AtStart(pair)).ok()
    }

    /// The loss of one labelled row where the policy is the reference, from theory; `None` for losses of other things.
    pub fn at_start_of_row(self, hyper: &Hyperparameters, is_desirable: bool) -> Option<f64> {
        self.visit_row(hyper, RowAtStart(is_desirable)).ok()
    }

    /// [`Loss::at_start`] where it is the same for every pair: it is then a number even of a pair that is NaN. For a loss of labelled rows,
    /// [`Loss::at_start_of_row`] where it is the same for both labels.
    pub fn start_value(self, hyper: &Hyperparameters) -> Option<f64> {
        if self.is_unpaired() {
            let starts = [true, false].map(|is_desirable| self.at_start_of_row(hyper, is_desirable));
            return starts[0].filter(|_| starts[0] == starts[1]);
        }
        let nan = f64::NAN;
        let unknown = Pair { weight: nan, tails: [nan; 4], divergences: (nan, nan), ..Pair::from([nan; 7]) };
        self.at_start(hyper, &unknown).filter(|start| !start.is_nan())
    }

    /// Its formula, derivation and worked example.
    pub fn explanation(self) -> Explanation {
        self.row().explanation
    }

    /// What the gradient suite runs it on, by its name.
    pub fn entry(self) -> Entry {
        let row = self.row();
        Entry::new(row.name, row.sample)
    }
}

struct AtStart<'a>(&'a Pair<f64>);

impl Visitor for AtStart<'_> {
    type Output = f64;
    fn visit<L: PairLoss>(self, loss: L) -> f64 {
        loss.at_start(self.0)
    }
}

struct RowAtStart(bool);

impl RowVisitor for RowAtStart {
    type Output = f64;
    fn visit<L: RowLoss>(self, loss: L) -> f64 {
        loss.at_start(self.0)
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Loss {
    type Err = LossError;

    /// Reads a name or an alias, in capital or small letters.
    fn from_str(name: &str) -> Result<Self, LossError> {
        let lower = name.trim().to_lowercase().replace('_', "-");
        let is_called = |loss: &Self| loss.name() == lower || loss.aliases().contains(&lower.as_str());
        let unknown = || LossError::UnknownLoss { name: name.to_owned(), known: Self::ALL.map(Self::name).join(", ") };
        Self::ALL.into_iter().find(is_called).ok_or_else(unknown)
    }
}

/// The loss of each pair, `[B]`; its mean is the batch's loss.
///
/// # Errors
/// If the loss is not pairwise, a hyper-parameter is out of range, or lengths are needed and missing.
pub fn pairwise<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<B>) -> Result<Tensor<B>, LossError> {
    loss.validate(hyper)?;
    evaluate(loss, hyper, inputs)
}

/// [`pairwise`] with settings that were checked before.
pub(crate) fn evaluate<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<B>) -> Result<Tensor<B>, LossError> {
    evaluate_by(loss, hyper, inputs, ByOp)
}

/// Evaluates a loss by its op or by its twin. Only the losses of a batch read the numbers back from the device, to arrange the pairs.
fn evaluate_by<B: Backend, V: Visitor<Output = Tensor<B>>>(
    loss: Loss,
    hyper: &Hyperparameters,
    inputs: &PairInputs<B>,
    way: fn(PairInputs<B>) -> V,
) -> Result<Tensor<B>, LossError> {
    check_inputs(loss, hyper, inputs)?;
    if loss.is_pairwise() {
        return loss.visit(hyper, way(inputs.clone()));
    }
    let mut weights = None;
    let losses = loss.visit_in_batch(hyper, &inputs.constants().pairs(), |arrangement| {
        let arranged = inputs.arranged(&arrangement);
        weights = arrangement.weights;
        way(arranged)
    })?;
    Ok(match weights {
        Some(weights) => losses.mul(&Tensor::constant(losses.backend(), &weights, &[weights.len()])),
        None => losses,
    })
}

/// The same as [`pairwise`] as a composition of ops, with no derivative written by hand: what [`pairwise`] is checked against.
///
/// # Errors
/// As [`pairwise`].
pub fn pairwise_twin<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<B>) -> Result<Tensor<B>, LossError> {
    loss.validate(hyper)?;
    evaluate_by(loss, hyper, inputs, ByTwin)
}

/// Refuses inputs that lack something that the loss needs.
fn check_inputs<B: Backend>(loss: Loss, hyper: &Hyperparameters, inputs: &PairInputs<B>) -> Result<(), LossError> {
    check_lengths(loss, hyper, inputs.lengths().is_some())?;
    let kinds = [
        (Need::Tails, "the log-probabilities past the length of each pair's shorter completion"),
        (Need::ReferenceTails, "the reference's log-probabilities past the length of each pair's shorter completion"),
        (Need::PairWeights, "the weights of the pairs"),
        (Need::Divergences, "the divergences of the policy from the reference along the completions"),
    ];
    let missing = kinds.into_iter().find(|&(need, _)| !inputs.has(need) && loss.needs(need, hyper));
    missing.map_or(Ok(()), |(_, what)| Err(LossError::Missing { loss: loss.name(), what }))
}

/// Refuses lengths that are needed and missing.
pub(crate) fn check_lengths(loss: Loss, hyper: &Hyperparameters, has_lengths: bool) -> Result<(), LossError> {
    if loss.needs(Need::Lengths, hyper) && !has_lengths {
        return Err(LossError::MissingLengths { loss: loss.name() });
    }
    Ok(())
}

/// [`PairLoss::evaluate`] of these inputs. It is apart from [`ByTwin`], so that no crate compiles the twins that it does not ask for.
struct ByOp<B: Backend>(PairInputs<B>);

impl<B: Backend> Visitor for ByOp<B> {
    type Output = Tensor<B>;
    fn visit<L: PairLoss>(self, loss: L) -> Tensor<B> {
        loss.evaluate(&self.0)
    }
}

/// [`PairLoss::twin`] of these inputs.
struct ByTwin<B: Backend>(PairInputs<B>);

impl<B: Backend> Visitor for ByTwin<B> {
    type Output = Tensor<B>;
    fn visit<L: PairLoss>(self, loss: L) -> Tensor<B> {
        loss.twin(&self.0)
    }
}

/// The loss of each position from the policy's and the reference's logits [.., V] and the two tokens there.
///
/// # Errors
/// If the loss is not tokenwise, a hyper-parameter is out of range, or the lists do not fit the logits.
pub fn tokenwise<B: Backend>(
    loss: Loss,
    hyper: &Hyperparameters,
    [policy, reference]: [&Tensor<B>; 2],
    [chosen, rejected]: [&Indices; 2],
) -> Result<Tensor<B>, LossError> {
    loss.validate(hyper)?;
    let masses = loss.token_masses(hyper, reference, [chosen, rejected])?;
    by_position(loss, &TokenInputs::new(policy, chosen, rejected, masses, None)?)
}

/// The loss of each position, [..], whose masses are given.
///
/// # Errors
/// If the loss is not tokenwise.
pub fn by_position<B: Backend>(loss: Loss, inputs: &TokenInputs<B>) -> Result<Tensor<B>, LossError> {
    loss.by_position(inputs)
}
