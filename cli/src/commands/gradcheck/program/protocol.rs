//! What `slpo gradcheck --program` and a program say to each other: JSON lines, and arrays in safetensors files.
//!
//! | from | line | meaning |
//! |---|---|---|
//! | program | `{"inputs": "point.safetensors"}` | the tensors of this file are the inputs, and their values the point |
//! | or | `{"inputs": {"x": [3], "w": [2, 3]}}` | the shapes of the inputs; the point is drawn from `--seed` |
//! | slpo | `{"inputs": FILE, "output": FILE, "cotangent": null}` | write `value` of the inputs to the output file |
//! | slpo | `{"inputs": FILE, "output": FILE, "cotangent": FILE}` | write also `grad_x`, … of Σ cotangent·value |
//! | program | `{}` | the output file is written |
//! | program | `{"error": "words"}` | it cannot be |
//!
//! The end of standard input is the end of the program.

use super::channel::Channel;
use crate::failure::Failure;
use engine::Generator;
use engine::gradcheck::{Arithmetic, Input};
use model::safetensors_file::{Dtype, RawTensor, read_raw, write_raw};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::Path;

/// A conversation with a program about one function.
pub struct Conversation {
    channel: Channel,
    folder: tempfile::TempDir,
    /// The inputs' names, in the program's order.
    pub names: Vec<String>,
    /// The inputs at the point.
    pub inputs: Vec<Input>,
    /// The coarsest arithmetic of the inputs and of all answers so far.
    pub arithmetic: Arithmetic,
    dtype: Dtype,
    /// The type and the shape of the value, once it is known.
    value_form: Option<(Dtype, Vec<usize>)>,
}

impl Conversation {
    /// Reads the first line of a program.
    ///
    /// # Errors
    /// Those of [`Channel::receive`]. [`Failure::Model`] if the point's file cannot be read; [`Failure::Failed`] if the line describes no
    /// inputs.
    pub fn begin(mut channel: Channel, seed: u64) -> Result<Self, Failure> {
        let folder = tempfile::tempdir().map_err(|error| {
            Failure::Failed(format!("cannot make a temporary folder for the arrays: {}", model::error::io_words(&error)))
        })?;
        let greeting = channel.receive("\"inputs\"")?;
        let (names, inputs, dtype) = match greeting.get("inputs") {
            Some(Value::String(file)) => point_of(&channel, Path::new(file))?,
            Some(Value::Object(shapes)) => drawn_point(&channel, shapes, seed)?,
            _ => return Err(channel.failure("its first line has no \"inputs\": give the point's file, or the inputs' names with shapes")),
        };
        if inputs.iter().all(|input| input.data.is_empty()) {
            return Err(channel.failure("its inputs have no elements: there is nothing to check"));
        }
        let arithmetic = if dtype == Dtype::F32 { Arithmetic::SINGLE } else { Arithmetic::DOUBLE };
        Ok(Self { channel, folder, names, inputs, arithmetic, dtype, value_form: None })
    }

    /// A failure of the program.
    pub fn failure(&self, reason: &str) -> Failure {
        self.channel.failure(reason)
    }

    /// Asks for the function's value at `x`, the elements of all inputs one after another.
    ///
    /// # Errors
    /// [`Failure::Failed`] or [`Failure::Model`] for a bad answer.
    pub fn value(&mut self, x: &[f64]) -> Result<Vec<f64>, Failure> {
        let output = self.ask(x, None, "the answer about the value")?;
        self.value_in(&output)
    }

    /// Asks for the value at the point and for the gradient of ⟨`cotangent`, value⟩, which must be finite.
    ///
    /// # Errors
    /// As [`Conversation::value`].
    pub fn gradient(&mut self, cotangent: &[f64]) -> Result<(Vec<f64>, Vec<f64>), Failure> {
        let x = self.point();
        let output = self.ask(&x, Some(cotangent), "the answer about the gradient")?;
        let value = self.value_in(&output)?;
        let mut gradient = Vec::with_capacity(x.len());
        for (input, shape) in self.names.iter().zip(self.inputs.iter().map(|input| &input.shape)) {
            let name = format!("grad_{input}");
            let (dtype, found, values) = self.tensor(&output, &name)?;
            if found != *shape {
                return Err(self.failure(&format!("`{name}` has shape {found:?}, but `{input}` has {shape:?}: the two must be equal")));
            }
            if let Some(place) = values.iter().position(|x| !x.is_finite()) {
                return Err(self.failure(&format!("`{name}` is {} at element {place}: give a point where it is finite", values[place])));
            }
            self.arithmetic = coarser(self.arithmetic, dtype);
            gradient.extend(values);
        }
        Ok((value, gradient))
    }

    /// The elements of all inputs, one after another.
    pub fn point(&self) -> Vec<f64> {
        self.inputs.iter().flat_map(|input| input.data.iter().copied()).collect()
    }

    /// Sends a request. Returns the tensors of the output file.
    fn ask(&mut self, x: &[f64], cotangent: Option<&[f64]>, awaited: &str) -> Result<BTreeMap<String, RawTensor>, Failure> {
        let path = |name: &str| self.folder.path().join(format!("{name}.safetensors"));
        let (inputs, output, weights) = (path("inputs"), path("output"), path("cotangent"));
        let mut rest = x;
        let tensors = self.names.iter().zip(&self.inputs).map(|(name, input)| {
            let (own, others) = rest.split_at(input.data.len());
            rest = others;
            (name.clone(), RawTensor::of_f64(self.dtype, &input.shape, own))
        });
        write_raw(&inputs, &tensors.collect())?;
        if let Some(cotangent) = cotangent {
            let (dtype, shape) = self.value_form.clone().unwrap_or((self.dtype, vec![cotangent.len()]));
            write_raw(&weights, &[("cotangent".to_owned(), RawTensor::of_f64(dtype, &shape, cotangent))].into_iter().collect())?;
        }
        // An old output would pass for the new one.
        let _ = std::fs::remove_file(&output);
        self.channel.send(&json!({"inputs": inputs, "output": output, "cotangent": cotangent.map(|_| &weights)}));
        self.channel.receive(awaited)?;
        let written = read_raw(&output).map_err(|error| self.failure(&format!("it answered, but its output is not there: {error}")))?;
        Ok(written.into_iter().collect())
    }

    /// The elements of `value`, whose shape never changes.
    fn value_in(&mut self, output: &BTreeMap<String, RawTensor>) -> Result<Vec<f64>, Failure> {
        let (dtype, shape, values) = self.tensor(output, "value")?;
        let (_, expected) = self.value_form.get_or_insert_with(|| (dtype, shape.clone()));
        if *expected != shape {
            let reason = format!("`value` has shape {shape:?}, but at the point it had {expected:?}: it must be the same everywhere");
            return Err(self.failure(&reason));
        }
        self.arithmetic = coarser(self.arithmetic, dtype);
        Ok(values)
    }

    /// A tensor of an output file: its type, its shape and its elements.
    fn tensor(&self, output: &BTreeMap<String, RawTensor>, name: &str) -> Result<(Dtype, Vec<usize>, Vec<f64>), Failure> {
        let Some(tensor) = output.get(name) else {
            let names: Vec<&str> = output.keys().map(String::as_str).collect();
            return Err(self.failure(&format!("its output has no `{name}`, only [{}]: write it too", names.join(", "))));
        };
        match floats(tensor) {
            Some(values) => Ok((tensor.dtype, tensor.shape.clone(), values)),
            None => Err(self.failure(&format!("`{name}` is {}: write F64 or F32", tensor.dtype))),
        }
    }
}

/// The elements of a tensor of F64 or F32.
fn floats(tensor: &RawTensor) -> Option<Vec<f64>> {
    matches!(tensor.dtype, Dtype::F64 | Dtype::F32).then(|| tensor.to_f64()).flatten()
}

fn coarser(arithmetic: Arithmetic, dtype: Dtype) -> Arithmetic {
    if dtype == Dtype::F32 { Arithmetic::SINGLE } else { arithmetic }
}

type Point = (Vec<String>, Vec<Input>, Dtype);

/// The tensors of the program's own file. They are F32 if one of them is.
fn point_of(channel: &Channel, file: &Path) -> Result<Point, Failure> {
    let (mut names, mut inputs, mut dtype) = (Vec::new(), Vec::new(), Dtype::F64);
    for (name, tensor) in read_raw(file)? {
        let Some(values) = floats(&tensor) else {
            return Err(channel.failure(&format!("the input `{name}` is {}: inputs are F64 or F32", tensor.dtype)));
        };
        if let Some(place) = values.iter().position(|x| !x.is_finite()) {
            return Err(channel.failure(&format!("the input `{name}` is {} at element {place}: give a finite point", values[place])));
        }
        dtype = if tensor.dtype == Dtype::F32 { Dtype::F32 } else { dtype };
        inputs.push(Input::new(values, &tensor.shape));
        names.push(name);
    }
    Ok((names, inputs, dtype))
}

/// Standard normal inputs of these shapes, in F64.
fn drawn_point(channel: &Channel, shapes: &Map<String, Value>, seed: u64) -> Result<Point, Failure> {
    let mut generator = Generator::new(seed);
    let (mut names, mut inputs) = (Vec::new(), Vec::new());
    for (name, shape) in shapes {
        let extents: Option<Vec<usize>> = serde_json::from_value(shape.clone()).ok();
        let Some((extents, count)) = extents.and_then(|extents| Some((extents.clone(), elements(&extents)?))) else {
            let reason =
                format!("the shape of the input `{name}` is {shape}: give a list of extents, such as [2, 3], of up to 2^24 elements");
            return Err(channel.failure(&reason));
        };
        inputs.push(Input::new((0..count).map(|_| generator.normal()).collect(), &extents));
        names.push(name.clone());
    }
    Ok((names, inputs, Dtype::F64))
}

/// The number of elements, if it is not too large for a check.
fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1_usize, |product, &extent| product.checked_mul(extent)).filter(|&count| count <= 1 << 24)
}
