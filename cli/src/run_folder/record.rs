//! Records of metrics as they stand in `metrics.jsonl`: one JSON object a line.

use serde_json::Value;

/// The values of one step.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    /// The step, from 0 or 1 as the logger counts.
    pub step: u64,
    /// Names and values; read back from a file they are in the order of the names.
    pub values: Vec<(String, f64)>,
}

impl Record {
    /// The values with borrowed names, as a logger takes them.
    pub fn named(&self) -> Vec<(&str, f64)> {
        self.values.iter().map(|(name, value)| (name.as_str(), *value)).collect()
    }
}

/// Reads every line. An error has the number of the line, from 1, and the reason.
pub fn parse_all(text: &str) -> Result<Vec<Record>, (usize, String)> {
    (1..).zip(text.lines()).map(|(number, line)| parse(line).map_err(|reason| (number, reason))).collect()
}

/// Reads one line. An error has the reason.
pub fn parse(line: &str) -> Result<Record, String> {
    let value: Value = serde_json::from_str(line).map_err(|error| format!("not JSON ({error})"))?;
    let Value::Object(mut object) = value else { return Err("not a JSON object".to_owned()) };
    let step = object.remove("step").and_then(|step| step.as_u64()).ok_or("no whole number `step`")?;
    let number = |(name, value): (String, Value)| match parse_number(&value) {
        Some(number) => Ok((name, number)),
        None => Err(format!("`{name}` is not a number")),
    };
    Ok(Record { step, values: object.into_iter().map(number).collect::<Result<_, _>>()? })
}

fn parse_number(value: &Value) -> Option<f64> {
    match value.as_str() {
        Some("NaN") => Some(f64::NAN),
        Some("Infinity") => Some(f64::INFINITY),
        Some("-Infinity") => Some(f64::NEG_INFINITY),
        _ => value.as_f64(),
    }
}
