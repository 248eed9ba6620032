//! What a loss takes besides its name: an argument for each setting in the losses' table, and the weights of a sum of losses.

use super::headings::LOSS;
use super::values;
use crate::failure::Failure;
use clap::builder::PossibleValuesParser;
use clap::parser::ValueSource;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches};
use losses::{Hyperparameters, Loss, LossError, Objective, Preset, Setting};
use serde::Serialize;

/// The hyper-parameters of the losses.
#[derive(Debug, Clone, Default)]
pub struct LossSettings {
    /// The settings that were given, with their values as texts.
    given: Vec<(Setting, String)>,
    /// The weights of the losses, if they were given.
    weights: Option<String>,
    /// The values of all settings: those given, and the defaults of the loss.
    values: Box<Hyperparameters>,
}

const WEIGHTS: &str = "loss_weights";
/// The id of the flag that asks for what `ipo` always does.
pub const LENGTH_NORMALIZE: &str = "length_normalize";

impl LossSettings {
    /// Combines the losses of this name, or of these names with commas between them, with these settings.
    ///
    /// # Errors
    /// [`Failure::Usage`] for a setting that a loss cannot have, and losses that cannot be combined.
    pub fn of(&self, names: &str) -> Result<Objective, Failure> {
        self.objective(names).map_err(|error| Failure::Usage(error.to_string()))
    }

    fn objective(&self, names: &str) -> Result<Objective, LossError> {
        let mut terms = terms_of(names)?;
        if let Some(text) = &self.weights {
            let weights = weights(text, terms.len())?;
            terms.iter_mut().zip(weights).for_each(|((_, weight), given)| *weight = given);
        }
        Objective::combine(&terms, self.hyperparameters(names)?)
    }

    /// Returns the settings that were given over the defaults of the losses. Of two losses with different defaults the first one wins.
    pub(super) fn hyperparameters(&self, names: &str) -> Result<Hyperparameters, LossError> {
        let losses = losses_of(names)?;
        let mut hyper = losses.first().map_or_else(Hyperparameters::default, |loss| loss.defaults());
        for loss in losses.into_iter().rev() {
            loss.uses().iter().for_each(|&setting| hyper.copy(setting, &loss.defaults()));
        }
        if let Some(preset) = Preset::named(names) {
            (preset.defaults)(&mut hyper);
        }
        self.given.iter().try_for_each(|(setting, text)| hyper.set(*setting, text))?;
        Ok(hyper)
    }

    /// True if the setting was given.
    pub fn gives(&self, setting: Setting) -> bool {
        self.given.iter().any(|(given, _)| *given == setting)
    }

    /// Fills in the defaults of the losses, for the settings that a run keeps.
    pub fn resolved(mut self, names: &str) -> Self {
        self.values = Box::new(self.hyperparameters(names).unwrap_or_default());
        self
    }
}

/// The settings as a run keeps them: every value, given or default.
impl Serialize for LossSettings {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Kept<'a> {
            loss_weights: &'a Option<String>,
            #[serde(flatten)]
            values: &'a Hyperparameters,
        }
        Kept { loss_weights: &self.weights, values: &self.values }.serialize(serializer)
    }
}

/// Parses the names of losses with commas between them, each with a weight of 1, or the name of a preset.
fn terms_of(names: &str) -> Result<Vec<(Loss, f64)>, LossError> {
    match Preset::named(names) {
        Some(preset) => Ok(preset.terms.to_vec()),
        None => names.split(',').map(|name| Ok((name.parse()?, 1.0))).collect(),
    }
}

/// The losses of [`terms_of`].
///
/// # Errors
/// [`LossError::UnknownLoss`].
pub fn losses_of(names: &str) -> Result<Vec<Loss>, LossError> {
    Ok(terms_of(names)?.into_iter().map(|(loss, _)| loss).collect())
}

fn weights(text: &str, losses: usize) -> Result<Vec<f64>, LossError> {
    let refuse = |reason: String| LossError::Combination { reason };
    let parse = |part: &str| part.trim().parse().map_err(|_| refuse(format!("--loss-weights: {part:?} is not a number")));
    let weights: Vec<f64> = text.split(',').map(parse).collect::<Result<_, _>>()?;
    if weights.len() == losses {
        return Ok(weights);
    }
    Err(refuse(format!("--loss-weights has {} numbers, but there are {losses} losses: give one weight for each", weights.len())))
}

/// The names of the losses that use a setting.
pub fn users(setting: Setting) -> String {
    Loss::listed(|loss| loss.uses().contains(&setting))
}

/// Parses the value of a setting that is a number in most cases. f32 must be able to hold it.
fn parse(setting: Setting, text: &str) -> Result<String, String> {
    match Hyperparameters::default().set(setting, text) {
        Ok(()) if text.trim().parse::<f64>().is_ok() => values::number(text).map(|_| text.to_owned()),
        Ok(()) => Ok(text.to_owned()),
        Err(_) => values::number(text).and_then(|_| Err(format!("must be {}", setting.range()))),
    }
}

/// The argument of a setting.
fn argument(setting: Setting) -> Arg {
    let default = Hyperparameters::default().text(setting);
    let users = match users(setting) {
        users if users.is_empty() => String::new(),
        users => format!("Of {users}: "),
    };
    let range = if setting.words().is_empty() { format!(", {}", setting.range()) } else { String::new() };
    let own = |loss: &Loss| loss.uses().contains(&setting) && loss.defaults().text(setting) != default;
    let others: Vec<String> =
        Loss::ALL.into_iter().filter(own).map(|loss| format!("; {} for {loss}", loss.defaults().text(setting))).collect();
    let help = format!("{users}{}{range}{}", setting.meaning(), others.concat());
    let argument = Arg::new(setting.field())
        .long(setting.name())
        .value_name(setting.value_name())
        .help_heading(LOSS)
        .default_value(default)
        .allow_negative_numbers(true)
        .help(help);
    if setting.words().is_empty() {
        argument.value_parser(move |text: &str| parse(setting, text))
    } else {
        argument.value_parser(PossibleValuesParser::new(setting.words()))
    }
}

impl Args for LossSettings {
    fn augment_args(command: Command) -> Command {
        let weights = Arg::new(WEIGHTS)
            .long("loss-weights")
            .value_name("W,W,…")
            .help_heading(LOSS)
            .allow_negative_numbers(true)
            .help("The weight of each loss, where --loss names several with commas between them [default: 1 each]");
        let length_normalize =
            Arg::new(LENGTH_NORMALIZE).long("length-normalize").hide(true).action(clap::ArgAction::SetTrue).help_heading(LOSS);
        Setting::ALL.into_iter().fold(command.arg(weights), |command, setting| command.arg(argument(setting))).arg(length_normalize)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for LossSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let is_given = |name: &str| matches.value_source(name).is_some_and(|source| source != ValueSource::DefaultValue);
        let text = |name: &str| matches.get_one::<String>(name).cloned();
        let given = Setting::ALL.into_iter().filter(|setting| is_given(setting.field()));
        Ok(Self {
            given: given.filter_map(|setting| Some((setting, text(setting.field())?))).collect(),
            weights: text(WEIGHTS),
            values: Box::default(),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
