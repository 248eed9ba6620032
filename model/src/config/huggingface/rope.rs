//! RoPE's settings: `rope_theta`, `rope_scaling` and `rotary_pct` of transformers 4, `rope_parameters` of transformers 5.

use super::keys::{Keys, unsupported};
use crate::config::{Llama3Scaling, PositionKind};
use crate::error::{Error, Result};
use serde_json::{Map, Value, json};

/// Reads RoPE for heads of `head_dim` components, of which the file turns `default_fraction` unless it says otherwise.
/// `theta_key` and `fraction_key` are what transformers 4 called them in this architecture.
pub fn read(keys: &Keys, head_dim: usize, (theta_key, fraction_key): (&str, &str), default_fraction: f64) -> Result<PositionKind> {
    let empty = Map::new();
    let nested = match keys.object("rope_parameters")? {
        Some(parameters) => parameters,
        None => keys.object("rope_scaling")?.unwrap_or(&empty),
    };
    let nested = Keys::new(nested);
    let theta = first(nested.number("rope_theta")?, keys.number(theta_key)?).unwrap_or(1e4);
    let fraction = first(nested.number("partial_rotary_factor")?, keys.number(fraction_key)?).unwrap_or(default_fraction);
    if !(fraction > 0.0 && fraction <= 1.0) {
        let reason = format!("{fraction_key} must be above 0 and at most 1, not {fraction}");
        return Err(Error::bad_config(reason));
    }
    Ok(PositionKind::Rope {
        theta,
        // A hair more, so that 32/80 of 80 is 32 whatever the rounding.
        rotary_dim: (head_dim as f64 * fraction + 1e-6) as usize,
        scaling: scaling(&nested)?,
    })
}

fn first(nested: Option<f64>, outer: Option<f64>) -> Option<f64> {
    nested.or(outer)
}

fn scaling(nested: &Keys) -> Result<Option<Llama3Scaling>> {
    // Before `rope_type` the key was called `type`.
    let kind = nested.text("rope_type")?.or(nested.text("type")?);
    match kind {
        None | Some("default") => Ok(None),
        Some("llama3") => {
            let number = |key: &str| {
                let missing = || Error::bad_config(format!("rope {key} is missing"));
                nested.number(key)?.ok_or_else(missing)
            };
            Ok(Some(Llama3Scaling {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_positions: nested.required_size("original_max_position_embeddings")?,
            }))
        }
        Some(other) => Err(unsupported(format!("rope_type {other:?}"), "default, llama3")),
    }
}

/// The value of `rope_scaling`.
pub fn write_scaling(scaling: Option<Llama3Scaling>) -> Value {
    scaling.map_or(Value::Null, |scaling| {
        json!({
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_max_positions,
        })
    })
}
