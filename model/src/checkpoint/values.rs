//! Tensors of a checkpoint, bit for bit in the precision of the trainer: F32 for an f32 trainer and F64 for any other.

use crate::atomic::atomic_write;
use crate::error::{Error, Result};
use crate::safetensors_file::{self, RawTensor};
use engine::{Backend, Scalar, Tensor};
use indexmap::IndexMap;
use safetensors::tensor::{Dtype, TensorView, serialize};
use std::path::Path;

/// Writes named tensors. The elements are kept bit for bit.
///
/// # Errors
/// [`Error::Io`]; [`Error::NonFinite`] for a value that is NaN or infinite, because no run can continue from it.
pub fn write<B: Backend>(path: &Path, tensors: &[(String, Tensor<B>)]) -> Result<()> {
    let mut parts = Vec::with_capacity(tensors.len());
    for (name, tensor) in tensors {
        let elements = tensor.to_f64();
        if let Some(index) = elements.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { path: path.to_owned(), tensor: name.clone(), index, value: elements[index] });
        }
        parts.push((name.as_str(), tensor.shape().to_vec(), bytes::<B>(&elements)));
    }
    let dtype = dtype::<B>();
    let unwritable = |error: safetensors::SafeTensorError| Error::bad_file(path, format!("cannot be written: {error}"));
    let view = |(name, shape, bytes)| Ok((name, TensorView::new(dtype, shape, bytes)?));
    let views = parts.iter().map(|(name, shape, bytes)| view((*name, shape.clone(), bytes.as_slice())));
    let views: Vec<_> = views.collect::<std::result::Result<_, _>>().map_err(unwritable)?;
    atomic_write(path, &serialize(views, None).map_err(unwritable)?)
}

/// Reads the tensors back.
///
/// # Errors
/// [`Error::Io`], [`Error::BadFile`] where the file is not what [`write`] makes of a trainer of this precision.
pub fn read<B: Backend>(path: &Path) -> Result<IndexMap<String, RawTensor>> {
    let tensors = safetensors_file::read_raw(path)?;
    match tensors.values().find(|tensor| tensor.dtype != dtype::<B>()) {
        None => Ok(tensors),
        Some(other) => {
            let reason = format!("it holds {:?}, and this run computes in {:?}", other.dtype, dtype::<B>());
            Err(Error::bad_file(path, reason))
        }
    }
}

/// Removes a named tensor from `tensors` and returns its elements. Its shape must be `shape`.
///
/// # Errors
/// [`Error::MissingTensor`], [`Error::ShapeMismatch`].
pub fn take(tensors: &mut IndexMap<String, RawTensor>, name: &str, shape: &[usize]) -> Result<Vec<f64>> {
    let tensor = tensors.swap_remove(name).ok_or_else(|| Error::MissingTensor { name: name.to_owned() })?;
    if tensor.shape != shape {
        return Err(Error::ShapeMismatch { name: name.to_owned(), expected: shape.to_vec(), found: tensor.shape });
    }
    tensor.to_f64().ok_or_else(|| Error::MissingTensor { name: name.to_owned() })
}

/// Returns the name of a backend's precision, as it is written in the state.
pub fn precision<B: Backend>() -> &'static str {
    B::Scalar::NAME
}

fn dtype<B: Backend>() -> Dtype {
    if precision::<B>() == "f32" { Dtype::F32 } else { Dtype::F64 }
}

fn bytes<B: Backend>(elements: &[f64]) -> Vec<u8> {
    match dtype::<B>() {
        Dtype::F32 => elements.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
        _ => elements.iter().flat_map(|x| x.to_le_bytes()).collect(),
    }
}
