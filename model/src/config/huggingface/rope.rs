//! RoPE's settings: `rope_theta`, `rope_scaling` and `rotary_pct` of transformers 4, `rope_parameters` of transformers 5.
//!
//! A setting may occur in several places. If two of them disagree, the versions of transformers follow different ones, so the file is
//! refused.

use super::known;
use crate::config::{Architecture, Llama3Scaling, PositionKind, RopeScaling};
use crate::error::{Error, Result};
use crate::keys::{Keys, unsupported};
use serde_json::{Value, json};

/// The objects that hold the settings in transformers 5 and 4.
const OBJECTS: [&str; 2] = ["rope_parameters", "rope_scaling"];

/// A setting from one place: the place's name for messages, and the value.
type Found<T> = Option<(String, T)>;

/// The settings of one object.
#[derive(Default)]
struct Nested {
    theta: Found<f64>,
    fraction: Found<f64>,
    scaling: Found<Option<RopeScaling>>,
}

/// Reads RoPE for heads of `head_dim` components. Unless the file sets a fraction, GPT-NeoX rotates a quarter of them and the others all.
pub fn read(keys: &Keys, architecture: Architecture, head_dim: usize) -> Result<PositionKind> {
    let neox = architecture == Architecture::GptNeoX;
    let outer_context = keys.size("original_max_position_embeddings")?;
    let mut nested = Vec::new();
    for object in OBJECTS {
        nested.extend(keys.object(object, |inner| objects(inner, outer_context))?.unwrap_or_default());
    }
    let thetas = [found(keys, "rope_theta")?, if neox { found(keys, "rotary_emb_base")? } else { None }];
    let theta = agreed(nested.iter().map(|n| n.theta.clone()).chain(thetas))?;
    let fractions = [found(keys, "partial_rotary_factor")?, if neox { found(keys, "rotary_pct")? } else { None }];
    let fraction = agreed(nested.iter().map(|n| n.fraction.clone()).chain(fractions))?;
    let (place, fraction) = fraction.unwrap_or(("rotary_pct".to_owned(), if neox { 0.25 } else { 1.0 }));
    if !(fraction > 0.0 && fraction <= 1.0) {
        return Err(Error::bad_config(format!("{place} must be above 0 and at most 1, not {fraction}")));
    }
    if !neox && fraction != 1.0 {
        return Err(unsupported(
            format!("{place} {fraction}"),
            "1 in this family: transformers 4 and 5 compute different things otherwise",
        ));
    }
    let scaling = agreed(nested.into_iter().map(|n| n.scaling))?.and_then(|(_, scaling)| scaling);
    Ok(PositionKind::Rope {
        theta: theta.map_or(1e4, |(_, theta)| theta),
        // A small extra amount makes 32/80 of 80 give 32, whatever the rounding.
        rotary_dim: (head_dim as f64 * fraction + 1e-6) as usize,
        scaling,
    })
}

fn found(keys: &Keys, key: &str) -> Result<Found<f64>> {
    Ok(keys.number(key)?.map(|value| (keys.name(key), value)))
}

/// Returns the value on which all places that have one agree.
fn agreed<T: PartialEq + std::fmt::Debug>(places: impl IntoIterator<Item = Found<T>>) -> Result<Found<T>> {
    let mut places = places.into_iter().flatten();
    let Some((first, value)) = places.next() else { return Ok(None) };
    match places.find(|(_, other)| *other != value) {
        Some((second, _)) => Err(Error::bad_config(format!("{first} and {second} say different things: leave one of them"))),
        None => Ok(Some((first, value))),
    }
}

/// Reads the settings of an object. If the object holds one object for each type of layer, reads each of those.
fn objects(keys: &Keys, outer_context: Option<usize>) -> Result<Vec<Nested>> {
    let types: Vec<&str> = keys.all().filter(|key| key.ends_with("_attention")).collect();
    if types.is_empty() {
        return Ok(vec![settings(keys, outer_context)?]);
    }
    let mut all = Vec::new();
    for kind in types {
        all.extend(keys.object(kind, |inner| settings(inner, outer_context))?);
    }
    Ok(all)
}

fn settings(keys: &Keys, outer_context: Option<usize>) -> Result<Nested> {
    keys.know(&known::ROPE);
    // Before `rope_type` the key was called `type`.
    let text = |key: &str| -> Result<Found<&str>> { Ok(keys.text(key)?.map(|kind| (keys.name(key), kind))) };
    let kind = agreed([text("rope_type")?, text("type")?])?;
    let scaling = scaling(keys, kind.as_ref().map(|(_, kind)| *kind), outer_context)?;
    // An object without a type (and without a factor) does not set the scaling.
    let scaling = kind.map(|(place, _)| (place, scaling));
    Ok(Nested { theta: found(keys, "rope_theta")?, fraction: found(keys, "partial_rotary_factor")?, scaling })
}

fn scaling(keys: &Keys, kind: Option<&str>, outer_context: Option<usize>) -> Result<Option<RopeScaling>> {
    let number = |key: &str| keys.number(key)?.ok_or_else(|| keys.missing(key));
    let inner = keys.size("original_max_position_embeddings")?.map(|size| (keys.name("original_max_position_embeddings"), size));
    let context = || agreed([inner.clone(), outer_context.map(|size| ("original_max_position_embeddings".to_owned(), size))]);
    match kind {
        None | Some("default") => match keys.number("factor")? {
            None | Some(1.0) => Ok(None),
            Some(factor) => {
                Err(unsupported(format!("{} {factor} without a rope_type", keys.name("factor")), "a rope_type beside it: linear, llama3"))
            }
        },
        Some("linear") => Ok(Some(RopeScaling::Linear { factor: number("factor")? })),
        Some("llama3") => Ok(Some(RopeScaling::Llama3(Llama3Scaling {
            factor: number("factor")?,
            low_freq_factor: number("low_freq_factor")?,
            high_freq_factor: number("high_freq_factor")?,
            original_max_positions: context()?.ok_or_else(|| keys.missing("original_max_position_embeddings"))?.1,
        }))),
        Some(other) => Err(unsupported(format!("{} {other:?}", keys.name("rope_type")), "default, linear, llama3")),
    }
}

/// Returns the value of `rope_scaling`.
pub fn write_scaling(scaling: Option<RopeScaling>) -> Value {
    match scaling {
        None => Value::Null,
        Some(RopeScaling::Linear { factor }) => json!({ "rope_type": "linear", "factor": factor }),
        Some(RopeScaling::Llama3(scaling)) => json!({
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_max_positions,
        }),
    }
}
