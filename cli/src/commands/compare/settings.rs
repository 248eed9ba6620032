//! The settings of a comparison in its folder. A comparison goes on only with the same ones: its runs would not be comparable otherwise.

use crate::arguments::{Compare, Shared};
use crate::failure::Failure;
use crate::run_folder::write_atomically;
use engine::Device;
use model::Error;
use model::data::PreferencePair;
use model::decoder::Decoder;
use model::fingerprint::{fingerprint, sequence_words};
use model::study::own_pairs::Other;
use serde_json::{Map, Value, json};
use std::path::Path;

/// The file of the settings.
const FILE: &str = "settings.json";

/// Returns the settings, and fingerprints of what the files hold.
pub fn of(arguments: &Compare, shared: &Shared, model: &Decoder<Device>, pairs: &[PreferencePair], other: &Other) -> Map<String, Value> {
    let names: Vec<&str> = arguments.losses.0.iter().map(|arm| arm.name).collect();
    let words =
        |pairs: &[PreferencePair]| fingerprint(pairs.iter().flat_map(|pair| [&pair.chosen, &pair.rejected]).flat_map(sequence_words));
    let weights = model.parameters().into_iter().flat_map(|parameter| parameter.tensor.to_f64()).map(|weight| (weight as f32).to_bits());
    let value = json!({
        "losses": names,
        "seeds": arguments.seeds,
        "steps": arguments.steps,
        "batch": arguments.batch,
        "learning_rate": arguments.learning_rate,
        "divergences": arguments.divergences.0,
        "tested": arguments.tested,
        "seed": shared.seed,
        "data": words(pairs),
        "model": fingerprint(weights),
        "text": fingerprint(other.text.iter().flatten().copied()),
        "second_test": words(&other.second),
    });
    let Value::Object(settings) = value else { unreachable!("settings are an object") };
    settings
}

/// Compares the settings with those of the comparison in a folder.
///
/// # Errors
/// [`Failure::Usage`] with the first that differs; [`Failure::Failed`] if the file is not one of settings; [`Error::Io`].
pub fn check(folder: &Path, settings: &Map<String, Value>) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let text = model::files::read_text(&path, model::files::FLAGS)?;
    let known: Map<String, Value> = serde_json::from_str(&text).map_err(|error| Failure::Failed(format!("{}: {error}", path.display())))?;
    let differing = settings.iter().find(|(name, value)| known.get(*name) != Some(value));
    let Some((name, value)) = differing else { return Ok(()) };
    let before = known.get(name).map_or_else(|| "nothing".to_owned(), Value::to_string);
    Err(Failure::Usage(format!(
        "{}: the comparison there has {before} for {name}, and this one {value}: give the same, or choose another --out",
        folder.display()
    )))
}

/// Writes the settings.
///
/// # Errors
/// [`Error::Io`].
pub fn write(folder: &Path, settings: &Map<String, Value>) -> Result<(), Failure> {
    let path = folder.join(FILE);
    let text = format!("{:#}\n", Value::Object(settings.clone()));
    write_atomically(&path, text.as_bytes()).map_err(Error::io(&path)).map_err(Failure::from)
}
