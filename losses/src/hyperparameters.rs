//! The losses' hyper-parameters: one table with the name, the default, the range and the meaning of each.
//!
//! The command line, the files of settings and the messages are made from this table.

use crate::error::LossError;
use crate::weights::{WeightRule, Weights};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A value that a setting can have.
trait Value: Sized {
    /// The words that are allowed, for a setting whose values are words.
    const WORDS: &'static [&'static str] = &[];
    /// Parses a value, in the notation of the command line.
    fn parse(text: &str) -> Option<Self>;
    /// Writes a value so that [`Value::parse`] returns it.
    fn text(&self) -> String;
}

impl Value for f64 {
    fn parse(text: &str) -> Option<Self> {
        text.trim().parse().ok()
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

/// A number, or `running` for one that follows from the run.
impl Value for Option<f64> {
    fn parse(text: &str) -> Option<Self> {
        if text.trim() == "running" { Some(None) } else { f64::parse(text).map(Some) }
    }
    fn text(&self) -> String {
        self.map_or("running".to_owned(), |number| number.to_string())
    }
}

/// Defines enumerations whose values are words.
macro_rules! words {
    ($($(#[$doc:meta])* $Name:ident { $($(#[$value_doc:meta])* $Value:ident = $word:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $Name {
            $($(#[$value_doc])* #[serde(rename = $word)] $Value,)*
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$Value => $word,)*
                })
            }
        }

        impl Value for $Name {
            const WORDS: &'static [&'static str] = &[$($word),*];
            fn parse(text: &str) -> Option<Self> {
                match text {
                    $($word => Some(Self::$Value),)*
                    _ => None,
                }
            }
            fn text(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

words! {
    /// How negative log-likelihoods of the chosen completions are averaged.
    Reduction {
        /// Over all chosen tokens of the batch: −Σ l_w / Σ n_w. A long completion counts more.
        Token = "token",
        /// Over the tokens of each completion, then over the pairs: the mean of −l_w/n_w.
        Pair = "pair",
    }
    /// The models whose log-probabilities LD-DPO weights past the shorter completion.
    TailOf {
        /// Policy and reference.
        Both = "both",
        /// The policy alone.
        Policy = "policy",
    }
    /// The f-divergence that holds a policy to its reference.
    Divergence {
        /// Forward KL: f′(e^a) = 1 − e^{−a}.
        ForwardKl = "forward-kl",
        /// Jensen-Shannon: f′(e^a) = ln 2 + ln σ(a).
        Js = "js",
        /// The α-divergence: f′(e^a) = (e^{(α−1)a} − 1)/(α − 1).
        Alpha = "alpha",
    }
}

impl Value for WeightRule {
    const WORDS: &'static [&'static str] = &["eq7", "shift"];
    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
    fn text(&self) -> String {
        self.to_string()
    }
}

/// Defines [`Setting`] and [`Hyperparameters`] from the table of settings.
macro_rules! settings {
    ($(
        $(#[$doc:meta])*
        $Setting:ident $field:ident: $type:ty = $default:expr, $letter:literal, $means:literal, $range:literal $(, $is_allowed:expr)?;
    )*) => {
        /// A setting of a loss: a field of [`Hyperparameters`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Setting {
            $(#[doc = concat!("[`Hyperparameters::", stringify!($field), "`].")] $Setting,)*
        }

        impl Setting {
            /// All settings, in the order of the fields.
            pub const ALL: [Self; [$(stringify!($Setting)),*].len()] = [$(Self::$Setting),*];

            /// The name of the field, which is the name in files of settings.
            pub fn field(self) -> &'static str {
                match self {
                    $(Self::$Setting => stringify!($field),)*
                }
            }

            /// The letter or word that stands for the value in help texts.
            pub fn value_name(self) -> &'static str {
                match self {
                    $(Self::$Setting => $letter,)*
                }
            }

            /// What the setting is, without the losses that use it and without its range.
            pub fn meaning(self) -> &'static str {
                match self {
                    $(Self::$Setting => $means,)*
                }
            }

            /// The values that it may have, in words.
            pub fn range(self) -> &'static str {
                match self {
                    $(Self::$Setting => $range,)*
                }
            }

            /// The words that it may have as its value; none for a number.
            pub fn words(self) -> &'static [&'static str] {
                match self {
                    $(Self::$Setting => <$type as Value>::WORDS,)*
                }
            }
        }

        /// What may be chosen about a loss. Each loss reads only what it [`USES`](crate::PreferenceLoss::USES).
        #[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
        #[serde(default)]
        pub struct Hyperparameters {
            $($(#[$doc])* pub $field: $type,)*
        }

        impl Default for Hyperparameters {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl Hyperparameters {
            /// The value of a setting, as [`Hyperparameters::set`] takes it.
            pub fn text(&self, setting: Setting) -> String {
                match setting {
                    $(Setting::$Setting => Value::text(&self.$field),)*
                }
            }

            /// Gives a setting a value from the command line. Its range is not checked: see [`Hyperparameters::check`].
            ///
            /// # Errors
            /// [`LossError::Setting`] for a text that is no value of the setting.
            pub fn set(&mut self, setting: Setting, text: &str) -> Result<(), LossError> {
                let refused = || LossError::Setting { name: setting.name(), text: text.to_owned(), range: setting.range() };
                match setting {
                    $(Setting::$Setting => self.$field = Value::parse(text).ok_or_else(refused)?,)*
                }
                Ok(())
            }

            /// Gives a setting the value that `other` has.
            pub fn copy(&mut self, setting: Setting, other: &Self) {
                match setting {
                    $(Setting::$Setting => self.$field = other.$field,)*
                }
            }

            /// Checks the value of one setting; of all others, anything is allowed.
            ///
            /// # Errors
            /// [`LossError::Hyperparameter`] for a value out of the setting's range.
            pub fn check(&self, setting: Setting) -> Result<(), LossError> {
                match setting {
                    $(Setting::$Setting => {
                        $(
                            let is_allowed: fn(&Self, &$type) -> bool = $is_allowed;
                            require(setting, self, is_allowed(self, &self.$field))?;
                        )?
                        Ok(())
                    })*
                }
            }
        }
    };
}

settings! {
    /// Inverse temperature β of DPO and its relatives, from 1e-6 to 1e6. ORPO's weight λ of its odds ratio.
    Beta beta: f64 = 0.1, "B", "how strongly they hold the model to its reference",
        "from 1e-6 to 1e6", |_, beta| (LEAST_BETA..=MOST_BETA).contains(beta);
    /// The margin γ by which the chosen completion's reward must exceed the rejected one's, in units of the reward β·ln π.
    Gamma gamma: f64 = 0.5, "G", "the margin γ of the rewards (itself, not γ/β)",
        "at least 0 and at most 1e6", |_, gamma| (0.0..=1e6).contains(gamma);
    /// α of SLPO's weights: in (0.5, 1] by the rule eq7, in [0, 1] by the rule shift.
    Alpha alpha: f64 = 1.0, "A", "the share of the pair's probability that goes to the chosen completion",
        "above 0.5 and at most 1 (from 0 with --weights shift)",
        |hyper, &alpha| alpha <= 1.0 && if hyper.weights == WeightRule::Eq7 { alpha > 0.5 } else { alpha >= 0.0 };
    /// Probability ε in [0, 0.4995] that a label is flipped.
    LabelSmoothing label_smoothing: f64 = 0.1, "E", "the fraction of preferences that they take to be wrong",
        "at least 0 and at most 0.4995", |_, epsilon| (0.0..=MOST_SMOOTHING).contains(epsilon);
    /// The rule for SLPO's weights.
    Weights weights: WeightRule = WeightRule::Eq7, "FORM",
        "the weights, eq7 (w_w = α·m, w_l = (1−α)·m) or shift (w_w = π_w + α·π_l, w_l = (1−α)·π_l)", "eq7 or shift";
    /// The weight λ of a penalty on chosen completions that became less likely than the reference has them.
    Penalty penalty: f64 = 50.0, "L", "the weight λ of the penalty on chosen completions that fall below the reference",
        "at least 0 and at most 1e6", |_, penalty| (0.0..=1e6).contains(penalty);
    /// The temperature τ of discopop's choice between its two losses.
    TemperatureTau temperature_tau: f64 = 0.05, "T", "the temperature τ of the choice between its two losses",
        "from 1e-4 to 1e4", |_, tau| (1e-4..=1e4).contains(tau);
    /// Probability that the chosen completion wins.
    WinProbability win_probability: f64 = 1.0, "P", "the probability that the chosen completion wins; 1 is the hard form",
        "at least 0 and at most 1", |_, p| (0.0..=1.0).contains(p);
    /// The weight c of Cal-DPO's calibration.
    Calibration calibration: f64 = 0.5, "C", "the weight c of the squared distances of the rewards from ±1/(2β)",
        "at least 0 and at most 1e6", |_, c| (0.0..=1e6).contains(c);
    /// The balance α of BPO: the weight of the rejected completion's fall.
    Balance balance: f64 = 1.0, "A", "the balance α: how much a fall of the rejected completion counts beside a rise of the chosen one",
        "above 0 and at most 1", |_, &alpha| alpha > 0.0 && alpha <= 1.0;
    /// The factor f of DPO-Shift on the rejected completion's log-ratio.
    Shift shift: f64 = 0.75, "F", "the factor f of the rejected completion's log-ratio; 1 is dpo",
        "above 0 and at most 1", |_, &f| f > 0.0 && f <= 1.0;
    /// The share λ of the policy in BDPO's mixture with the reference.
    Mixture mixture: f64 = 0.5, "L", "the share λ of the policy in the mixture that stands for the rejected completion; 1 is dpo",
        "above 0 and at most 1", |_, &lambda| lambda > 0.0 && lambda <= 1.0;
    /// The margin that the pair's rewards must reach: Δ of ODPO, δ of SLiC.
    Margin margin: f64 = 0.5, "M", "the margin that a pair must reach: Δ of odpo, δ of slic",
        "at least 0 and at most 1e6", |_, margin| (0.0..=1e6).contains(margin);
    /// The weight α of R-DPO's difference of lengths.
    LengthPenalty length_penalty: f64 = 0.01, "A", "the weight α of the difference of the lengths, n_w − n_l; a negative one rewards length",
        "from -1e3 to 1e3", |_, alpha| (-1e3..=1e3).contains(alpha);
    /// The bound on χPO's margin; 0 for none.
    ClipReward clip_reward: f64 = 0.0, "R", "the bound 2R on the margin of the rewards is twice this; 0 is no bound",
        "at least 0 and at most 1e6", |_, r| (0.0..=1e6).contains(r);
    /// The f-divergence of f-DPO.
    Divergence divergence: Divergence = Divergence::ForwardKl, "NAME", "the divergence from the reference", "forward-kl, js or alpha";
    /// α of f-DPO's α-divergence.
    DivergenceAlpha divergence_alpha: f64 = 0.5, "A", "α of --divergence alpha", "above 0 and below 1", |_, &alpha| alpha > 0.0 && alpha < 1.0;
    /// α of AlphaPO's reward; 0 is the logarithm.
    RewardAlpha reward_alpha: f64 = 0.25, "A", "α of the reward (1 − p^−α)/α of the mean token probability p; 0 is simpo",
        "from -10 to 10", |_, alpha| (-10.0..=10.0).contains(alpha);
    /// The weight of the negative log-likelihood of the chosen completions.
    Nll nll: f64 = 0.0, "X", "the weight of the chosen completions' negative log-likelihood, which is added to any loss",
        "at least 0 and at most 1e6", |_, nll| (0.0..=1e6).contains(nll);
    /// How that negative log-likelihood is averaged.
    NllReduction nll_reduction: Reduction = Reduction::Token, "HOW",
        "how the negative log-likelihood is averaged: over the tokens of the batch, or over the tokens of each pair", "token or pair";
    /// The temperature T of slpo-halves; 0 for the number of tokens of each completion.
    Temperature temperature: f64 = 0.0, "T", "the temperature of its two binary problems; 0 is each completion's number of tokens",
        "0, or from 1e-3 to 1e6", |_, t| *t == 0.0 || (1e-3..=1e6).contains(t);
    /// BCO's shift δ of the rewards; `None` for the mean of the rewards so far, which is 0 before the first step.
    Delta delta: Option<f64> = None, "D", "the constant δ that is subtracted from the rewards, or running for their mean so far",
        "running, or from -1e6 to 1e6", |_, delta| delta.is_none_or(|delta| (-1e6..=1e6).contains(&delta));
    /// λ_D of KTO: the weight of desirable completions.
    DesirableWeight desirable_weight: f64 = 1.0, "W", "the weight λ_D of desirable completions",
        "at least 0 and at most 1e6", |_, weight| (0.0..=1e6).contains(weight);
    /// λ_U of KTO: the weight of undesirable completions.
    UndesirableWeight undesirable_weight: f64 = 1.0, "W", "the weight λ_U of undesirable completions",
        "at least 0 and at most 1e6", |_, weight| (0.0..=1e6).contains(weight);
    /// How much the batch's β of β-DPO changes for each nat of its mean margin.
    BetaScale beta_scale: f64 = 0.6, "C", "c, by how much β changes for each nat of the batch's mean margin",
        "at least 0 and at most 1e3", |_, c| (0.0..=1e3).contains(c);
    /// M of β-DPO, the moving mean of the margins, in nats. A run starts with it.
    RunningMargin running_margin: f64 = 0.0, "M", "M, the moving mean of the margins in nats, with which a run starts",
        "from -1e6 to 1e6", |_, margin| (-1e6..=1e6).contains(margin);
    /// γ of that moving mean.
    MarginMomentum margin_momentum: f64 = 0.9, "G", "γ of that moving mean, M ← γM + (1 − γ) mean h",
        "at least 0 and below 1", |_, gamma| (0.0..1.0).contains(gamma);
    /// ρ of β-DPO: the share of a step's pairs that it leaves out.
    FilterShare filter_share: f64 = 0.2, "P", "the share ρ of a step's pairs that are left out, unusual margins first; 0 keeps all",
        "at least 0 and below 1", |_, rho| (0.0..1.0).contains(rho);
    /// α of LD-DPO: the weight of the tokens past the length of the pair's shorter completion.
    TailWeight tail_weight: f64 = 0.5, "A", "the weight α of the tokens past the length of the pair's shorter completion; 1 is dpo",
        "at least 0 and at most 1", |_, alpha| (0.0..=1.0).contains(alpha);
    /// The models whose tokens have that weight.
    TailOf tail_of: TailOf = TailOf::Both, "MODELS", "the models whose tokens have that weight", "both or policy";
    /// α of TDPO2: the weight of the divergences.
    DivergenceWeight divergence_weight: f64 = 0.5, "A", "the weight α of the divergences along the completions; 0 is dpo",
        "at least 0 and at most 1e3", |_, alpha| (0.0..=1e3).contains(alpha);
}

/// The range of β. A margin of one nat then gives a β·margin that f32 tells from 0, and a margin of a thousand nats a finite gradient.
const LEAST_BETA: f64 = 1e-6;
const MOST_BETA: f64 = 1e6;

/// The largest ε: robust divides by 1 − 2ε, which is 1/1000 there.
const MOST_SMOOTHING: f64 = 0.4995;

impl Setting {
    /// The name on the command line, without dashes in front.
    pub fn name(self) -> String {
        self.field().replace('_', "-")
    }

    /// The reason for the range, where it is not obvious.
    fn reason(self) -> &'static str {
        match self {
            Self::Beta => {
                ": the loss is a function of β times the margin in nats, and beyond that f32 sees no margin, or every margin as infinite"
            }
            Self::LabelSmoothing => ": at 0.5 the labels say nothing, and robust divides by 1 − 2ε",
            Self::Alpha => "; eq7 would otherwise prefer the rejected completion",
            _ => "",
        }
    }
}

impl Hyperparameters {
    /// SLPO's weights: the rule with its α.
    pub fn weights(&self) -> Weights {
        match self.weights {
            WeightRule::Eq7 => Weights::Eq7 { alpha: self.alpha },
            WeightRule::Shift => Weights::Shift { alpha: self.alpha },
        }
    }
}

fn require(setting: Setting, hyper: &Hyperparameters, fits: bool) -> Result<(), LossError> {
    if fits {
        return Ok(());
    }
    let requirement = format!("{}{}", setting.range(), setting.reason());
    Err(LossError::Hyperparameter { name: setting.name(), value: hyper.text(setting), requirement })
}
