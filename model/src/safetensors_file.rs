//! The reading and writing of `.safetensors` files: one file, or several with an index.
//!
//! The header is checked before anything is allocated: lengths against the file's size, offsets against each other (by the `safetensors`
//! crate), shapes against lengths. Then the tensors are read and widened one at a time.

use crate::atomic::atomic_write_with;
use crate::error::{Error, Result};
use crate::files::{Content, first_there, is_there};
use engine::backend::cpu::stored::Numbers;
use half::{bf16, f16};
use indexmap::IndexMap;
use rayon::prelude::*;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

pub use safetensors::tensor::Dtype;

/// The file of a model whose tensors fit in one.
pub const SINGLE_FILE: &str = "model.safetensors";
/// The index of a model whose tensors are spread over several files.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Values that are checked together for one that is not finite.
const CHECKED: usize = 1 << 14;

/// The longest header that is read, as in the reference implementation.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Ends of the names of tensors that hold no weights: masks, position ids and tables that old versions of transformers saved.
const NO_WEIGHTS: [&str; 6] =
    [".attn.bias", ".attn.masked_bias", ".attention.bias", ".attention.masked_bias", ".rotary_emb.inv_freq", "position_ids"];

/// A model's tensors by name, in the order of the file.
pub type NamedTensors = IndexMap<String, NamedTensor>;

/// One tensor of a model, widened or rounded to f32.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// The extent of each axis, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The elements in row-major order.
    pub data: Vec<f32>,
    /// The type in which the file held the elements.
    pub dtype: Dtype,
}

/// A matrix of weights as the file holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredMatrix {
    /// The extents of the axes.
    pub shape: [usize; 2],
    /// The elements in row-major order.
    pub numbers: Numbers,
}

impl StoredMatrix {
    /// Returns the same numbers in f32.
    pub fn widened(&self) -> NamedTensor {
        NamedTensor::new(self.shape.to_vec(), self.numbers.widened(0, self.numbers.len()))
    }
}

/// The weights of a model that is read and not trained: matrices that the files hold in bfloat16, f16 or Q8_0 stay so.
#[derive(Debug, Clone, Default)]
pub struct StoredWeights {
    /// The matrices that stay as they are, by name.
    pub matrices: IndexMap<String, StoredMatrix>,
    /// All other tensors, in f32.
    pub tensors: NamedTensors,
}

impl StoredWeights {
    /// Returns all names.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.matrices.keys().chain(self.tensors.keys())
    }

    /// Returns a tensor in f32, if there is one of this name.
    pub fn widened(&self, name: &str) -> Option<NamedTensor> {
        self.matrices.get(name).map(StoredMatrix::widened).or_else(|| self.tensors.get(name).cloned())
    }

    /// Returns all tensors in f32.
    pub fn all_widened(self) -> NamedTensors {
        let matrices = self.matrices.into_iter().map(|(name, matrix)| (name, matrix.widened()));
        self.tensors.into_iter().chain(matrices).collect()
    }

    /// Removes a tensor, if there is one of this name.
    pub fn remove(&mut self, name: &str) {
        self.matrices.swap_remove(name);
        self.tensors.swap_remove(name);
    }

    /// True if there is a tensor of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.matrices.contains_key(name) || self.tensors.contains_key(name)
    }
}

/// What becomes of matrices in bfloat16 and f16.
#[derive(Clone, Copy, PartialEq)]
enum Matrices {
    Stay,
    AreWidened,
}

/// True if the tensor is a buffer that holds no weights.
pub(crate) fn is_buffer(name: &str) -> bool {
    NO_WEIGHTS.iter().any(|suffix| name.ends_with(suffix))
}

impl NamedTensor {
    /// Makes a tensor in f32.
    ///
    /// # Panics
    /// If `data` does not have as many elements as `shape`.
    #[track_caller]
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Self {
        let elements: usize = shape.iter().product();
        assert_eq!(elements, data.len(), "NamedTensor: shape {shape:?} does not hold {} elements", data.len());
        Self { shape, data, dtype: Dtype::F32 }
    }
}

/// One tensor exactly as in the file, of any type.
#[derive(Debug, Clone, PartialEq)]
pub struct RawTensor {
    /// The extent of each axis, outermost first; empty for a scalar.
    pub shape: Vec<usize>,
    /// The type of the elements.
    pub dtype: Dtype,
    /// The elements in row-major order, little-endian.
    pub bytes: Vec<u8>,
}

impl RawTensor {
    /// Makes a tensor of F32, to which the elements are rounded, or else of F64.
    pub fn of_f64(dtype: Dtype, shape: &[usize], data: &[f64]) -> Self {
        let bytes = match dtype {
            Dtype::F32 => data.iter().flat_map(|&x| (x as f32).to_le_bytes()).collect(),
            _ => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        let dtype = if dtype == Dtype::F32 { dtype } else { Dtype::F64 };
        Self { shape: shape.to_vec(), dtype, bytes }
    }

    /// Returns the elements as f64, exactly. Returns `None` unless the type is F64, F32, F16 or BF16.
    pub fn to_f64(&self) -> Option<Vec<f64>> {
        let content = Content::of_bytes(Path::new(""), &self.bytes);
        View { dtype: self.dtype, content: &content, range: 0..content.length() }.to_f64().ok()?
    }

    /// Returns the elements as f32. Only F64 is rounded. Returns `None` unless the type is F64, F32, F16 or BF16.
    pub fn to_f32(&self) -> Option<Vec<f32>> {
        let content = Content::of_bytes(Path::new(""), &self.bytes);
        View { dtype: self.dtype, content: &content, range: 0..content.length() }.to_f32().ok()?
    }

    /// Returns the elements as i64. Returns `None` unless the type is a signed integer or an unsigned one of up to 32 bits.
    pub fn to_i64(&self) -> Option<Vec<i64>> {
        match self.dtype {
            Dtype::I64 => Some(elements(&self.bytes, i64::from_le_bytes)),
            Dtype::I32 => Some(elements(&self.bytes, |b| i64::from(i32::from_le_bytes(b)))),
            Dtype::I16 => Some(elements(&self.bytes, |b| i64::from(i16::from_le_bytes(b)))),
            Dtype::I8 => Some(elements(&self.bytes, |b| i64::from(i8::from_le_bytes(b)))),
            Dtype::U32 => Some(elements(&self.bytes, |b| i64::from(u32::from_le_bytes(b)))),
            Dtype::U16 => Some(elements(&self.bytes, |b| i64::from(u16::from_le_bytes(b)))),
            Dtype::U8 => Some(elements(&self.bytes, |b| i64::from(u8::from_le_bytes(b)))),
            _ => None,
        }
    }
}

/// One tensor as a range of a file.
struct View<'a> {
    dtype: Dtype,
    content: &'a Content<'a>,
    range: Range<u64>,
}

impl View<'_> {
    /// Reads the elements as f64, exactly. Returns `None` for a type that is not read.
    fn to_f64(&self) -> Result<Option<Vec<f64>>> {
        match self.dtype {
            Dtype::F64 => self.elements(f64::from_le_bytes),
            _ => Ok(self.to_f32()?.map(|data| data.into_iter().map(f64::from).collect())),
        }
    }

    /// Reads the elements as f32. Only F64 is rounded. Returns `None` for a type that is not read.
    fn to_f32(&self) -> Result<Option<Vec<f32>>> {
        match self.dtype {
            Dtype::F64 => self.elements(|b| f64::from_le_bytes(b) as f32),
            Dtype::F32 => self.elements(f32::from_le_bytes),
            Dtype::F16 => self.elements(|b| f16::from_le_bytes(b).to_f32()),
            Dtype::BF16 => self.elements(|b| bf16::from_le_bytes(b).to_f32()),
            _ => Ok(None),
        }
    }

    fn elements<const N: usize, T: Copy + Default + Send>(&self, convert: impl Fn([u8; N]) -> T + Sync) -> Result<Option<Vec<T>>> {
        self.content.elements(self.range.clone(), |chunk| [convert(chunk)]).map(Some)
    }
}

fn elements<const N: usize, T>(bytes: &[u8], convert: impl Fn([u8; N]) -> T) -> Vec<T> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|&chunk| convert(chunk)).collect()
}

/// Reads the weights of one file: every tensor, in the file's order. Known buffers of other types (GPT-2's causal masks, position ids) are
/// left out, because they hold no weights.
///
/// # Errors
/// [`Error::Io`]. [`Error::BadFile`] if the header is inconsistent or the file is truncated. [`Error::NonFinite`]. [`Error::Unsupported`]
/// for a tensor of another type than F64, F32, F16 or BF16.
pub fn read(path: &Path) -> Result<NamedTensors> {
    read_content(&Content::open(path)?)
}

/// Reads the weights from the contents of a file.
///
/// # Errors
/// As [`read`].
pub fn read_content(content: &Content) -> Result<NamedTensors> {
    Ok(read_weights(content, Matrices::AreWidened)?.tensors)
}

/// A tensor that was read.
enum Weight {
    /// As it is stored.
    Matrix(StoredMatrix),
    /// In f32.
    Tensor(NamedTensor),
    /// A buffer, which holds no weights.
    Buffer,
}

/// Reads the tensors beside each other, because one thread alone makes the memory of each ready.
fn read_weights(content: &Content, matrices: Matrices) -> Result<StoredWeights> {
    let mut views = Vec::new();
    visit(content, |name, shape, view| {
        views.push((name, shape, view));
        Ok(())
    })?;
    let read = |(name, shape, view): (String, Vec<usize>, View<'_>)| {
        let weight = read_weight(content, matrices, &name, shape, &view)?;
        Ok((name, weight))
    };
    let mut weights = StoredWeights::default();
    for read in views.into_par_iter().map(read).collect::<Vec<Result<_>>>() {
        match read? {
            (name, Weight::Matrix(matrix)) => drop(weights.matrices.insert(name, matrix)),
            (name, Weight::Tensor(tensor)) => drop(weights.tensors.insert(name, tensor)),
            (_, Weight::Buffer) => {}
        }
    }
    Ok(weights)
}

fn read_weight(content: &Content, matrices: Matrices, name: &str, shape: Vec<usize>, view: &View<'_>) -> Result<Weight> {
    if let (Matrices::Stay, &[rows, columns]) = (matrices, shape.as_slice())
        && let Some(numbers) = stored_numbers(content, name, view)?
    {
        return Ok(Weight::Matrix(StoredMatrix { shape: [rows, columns], numbers }));
    }
    let path = content.path();
    let Some(data) = view.to_f32()? else { return refuse_type(path, name, view.dtype).map(|()| Weight::Buffer) };
    check_finite(path, name, view, &data, |value| value.is_finite())?;
    Ok(Weight::Tensor(NamedTensor { shape, data, dtype: view.dtype }))
}

/// Reads the elements of a tensor as they are, if they are in bfloat16 or f16.
fn stored_numbers(content: &Content, name: &str, view: &View<'_>) -> Result<Option<Numbers>> {
    let (path, range) = (content.path(), view.range.clone());
    Ok(match view.dtype {
        Dtype::BF16 => {
            let numbers = content.elements(range, |bytes| [bf16::from_le_bytes(bytes)])?;
            check_finite(path, name, view, &numbers, |number| number.is_finite())?;
            Some(Numbers::Bf16(numbers))
        }
        Dtype::F16 => {
            let numbers = content.elements(range, |bytes| [f16::from_le_bytes(bytes)])?;
            check_finite(path, name, view, &numbers, |number| number.is_finite())?;
            Some(Numbers::F16(numbers))
        }
        _ => None,
    })
}

/// Refuses a type that is not read, unless the tensor is a buffer.
fn refuse_type(path: &Path, name: &str, dtype: Dtype) -> Result<()> {
    if is_buffer(name) {
        return Ok(());
    }
    let what = format!("the type {dtype} of tensor {}", name.escape_debug());
    let supported = "F64, F32, F16, BF16: save the model in one of them, without quantisation".to_owned();
    Err(Error::Unsupported { path: Some(path.to_owned()), what, supported })
}

/// Reads every tensor of one file unchanged, of any type, finite or not.
///
/// # Errors
/// [`Error::Io`]. [`Error::BadFile`] if the header is inconsistent or the file is truncated.
pub fn read_raw(path: &Path) -> Result<IndexMap<String, RawTensor>> {
    let mut tensors = IndexMap::new();
    visit(&Content::open(path)?, |name, shape, view| {
        let bytes = view.content.read(view.range)?;
        tensors.insert(name, RawTensor { shape, dtype: view.dtype, bytes });
        Ok(())
    })?;
    Ok(tensors)
}

/// Reads the weights of a model's folder: `model.safetensors`, or all the files that `model.safetensors.index.json` names.
///
/// # Errors
/// As [`read`]. [`Error::Unsupported`] if the folder's weights are only in another form. [`Error::BadFile`] in these cases:
///
/// - An index names a file outside the folder.
/// - A tensor is not in the file that the index names.
/// - Two files hold a tensor of the same name.
pub fn read_folder(folder: &Path) -> Result<NamedTensors> {
    Ok(read_folder_weights(folder, Matrices::AreWidened)?.tensors)
}

/// Reads the weights of a model's folder. Matrices in bfloat16 and f16 stay as they are.
///
/// # Errors
/// As [`read_folder`].
pub fn read_folder_as_stored(folder: &Path) -> Result<StoredWeights> {
    read_folder_weights(folder, Matrices::Stay)
}

fn read_folder_weights(folder: &Path, matrices: Matrices) -> Result<StoredWeights> {
    let index = folder.join(INDEX_FILE);
    if is_there(&folder.join(SINGLE_FILE))? || !is_there(&index)? {
        refuse_other_forms(folder)?;
        return read_weights(&Content::open(&folder.join(SINGLE_FILE))?, matrices);
    }
    let mut weights = StoredWeights::default();
    for (shard, names) in shards(&index)? {
        let part = read_weights(&Content::open(&folder.join(&shard))?, matrices)?;
        if let Some(missing) = names.iter().find(|name| !part.contains(name) && !is_buffer(name)) {
            let reason = format!("tensor {missing} is said to be in {shard}, but is not");
            return Err(Error::bad_file(index, reason));
        }
        if let Some(name) = part.names().find(|name| weights.contains(name)) {
            return Err(Error::bad_file(index, format!("tensor {name} is in {shard} and in a file before it")));
        }
        weights.matrices.extend(part.matrices);
        weights.tensors.extend(part.tensors);
    }
    Ok(weights)
}

/// Returns a sentence about weights of a folder that [`read_folder`] does not use: a sharded model beside a single file. transformers makes
/// the same choice.
///
/// # Errors
/// The errors of [`parse_index`].
pub fn folder_remarks(folder: &Path) -> Result<Vec<String>> {
    let index = folder.join(INDEX_FILE);
    if !is_there(&folder.join(SINGLE_FILE))? || !is_there(&index)? {
        return Ok(Vec::new());
    }
    let mut others = 0;
    for shard in shards(&index)?.into_keys().filter(|shard| shard != SINGLE_FILE) {
        others += usize::from(is_there(&folder.join(shard))?);
    }
    let remark = format!("{}: {SINGLE_FILE} is read; the {others} other files that {INDEX_FILE} names are not", folder.display());
    Ok(if others > 0 { vec![remark] } else { Vec::new() })
}

/// Refuses a folder whose weights are only in a form that is not read. The error names the form.
fn refuse_other_forms(folder: &Path) -> Result<()> {
    const OTHERS: [&str; 3] = ["pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5"];
    if is_there(&folder.join(SINGLE_FILE))? {
        return Ok(());
    }
    first_there(folder, &OTHERS)?.map_or(Ok(()), |name| {
        let supported = "model.safetensors, which save_pretrained(…) of transformers writes".to_owned();
        Err(Error::Unsupported { path: Some(folder.to_owned()), what: name.to_owned(), supported })
    })
}

#[derive(Deserialize)]
struct ShardIndex {
    weight_map: BTreeMap<String, String>,
}

/// Returns the names of the tensors in each file of a sharded model. The files are sorted by name.
fn shards(index: &Path) -> Result<BTreeMap<String, Vec<String>>> {
    let text = crate::files::read(index, crate::files::INDEX)?;
    parse_index(index, &text)
}

/// Parses the contents of a `model.safetensors.index.json`. Returns the names of the tensors in each file, with the files sorted by name.
/// `index` is its name for messages.
///
/// # Errors
/// [`Error::Json`]. [`Error::BadFile`] if it names a file outside its own folder.
pub fn parse_index(index: &Path, text: &[u8]) -> Result<BTreeMap<String, Vec<String>>> {
    let parsed: ShardIndex = serde_json::from_slice(text).map_err(Error::json(index))?;
    let mut shards = BTreeMap::<String, Vec<String>>::new();
    for (tensor, shard) in parsed.weight_map {
        let plain = Path::new(&shard).file_name() == Some(shard.as_ref()) && !shard.contains(['/', '\\', '\0']);
        if !plain {
            let reason = format!("{shard:?} must be the name of a file in the same folder");
            return Err(Error::bad_file(index, reason));
        }
        shards.entry(shard).or_default().push(tensor);
    }
    Ok(shards)
}

fn check_finite<T: Sync>(path: &Path, name: &str, view: &View, data: &[T], is_finite: impl Fn(&T) -> bool + Sync) -> Result<()> {
    // Without an early end the compiler checks several values at once.
    let is_whole = |part: &[T]| part.iter().fold(true, |is_whole, value| is_whole & is_finite(value));
    let Some(part) = data.par_chunks(CHECKED).position_first(|part| !is_whole(part)) else { return Ok(()) };
    let index = data.iter().skip(part * CHECKED).position(|value| !is_finite(value)).map_or(0, |index| part * CHECKED + index);
    let value = view.to_f64()?.map_or(f64::NAN, |exact| exact[index]);
    Err(Error::NonFinite { path: path.to_owned(), tensor: name.to_owned(), index, value })
}

/// Calls `found` with each tensor's name, shape and view in turn, in the order of the file.
fn visit<'a>(content: &'a Content<'a>, mut found: impl FnMut(String, Vec<usize>, View<'a>) -> Result<()>) -> Result<()> {
    let (metadata, data) = read_header(content)?;
    for name in metadata.offset_keys() {
        let Some(info) = metadata.info(&name) else {
            continue;
        };
        let (start, end) = info.data_offsets;
        let range = data.saturating_add(start as u64)..data.saturating_add(end as u64);
        found(name, info.shape.clone(), View { dtype: info.dtype, content, range })?;
    }
    Ok(())
}

/// Reads the header. Its offsets, shapes and lengths must agree with each other and with the file's size. Also returns the start of the
/// data.
fn read_header(content: &Content) -> Result<(Metadata, u64)> {
    let (path, file_bytes) = (content.path(), content.length());
    let Some(length) = content.read(0..file_bytes.min(8))?.first_chunk::<8>().copied() else {
        let reason = format!("{file_bytes} bytes are too few for a safetensors file");
        return Err(Error::bad_file(path, reason));
    };
    let header_bytes = u64::from_le_bytes(length);
    if header_bytes > MAX_HEADER_BYTES || 8 + header_bytes > file_bytes {
        let reason =
            format!("not a safetensors file, or truncated: it announces a header of {header_bytes} bytes, the file has {file_bytes}");
        return Err(Error::bad_file(path, reason));
    }
    let data = 8 + header_bytes;
    let header = content.read(8..data)?;
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| Error::bad_file(path, format!("bad safetensors header: {error}")))?;
    let expected = (metadata.data_len() as u64).saturating_add(data);
    if expected != file_bytes {
        let reason = format!("the header describes a file of {expected} bytes, this one has {file_bytes}: truncated or damaged");
        return Err(Error::bad_file(path, reason));
    }
    Ok((metadata, data))
}

/// Writes `tensors` in f32, sorted by name, in one step, with the metadata that `transformers` requires.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written. [`Error::NonFinite`] if a weight is NaN or infinite. The old file is then unchanged.
pub fn write(path: &Path, tensors: &NamedTensors) -> Result<()> {
    let mut sorted: Vec<_> = tensors.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    for (name, tensor) in &sorted {
        if let Some(index) = tensor.data.iter().position(|value| !value.is_finite()) {
            return Err(Error::NonFinite { path: path.to_owned(), tensor: (*name).clone(), index, value: f64::from(tensor.data[index]) });
        }
    }
    let f32s = sorted.iter().map(|(name, tensor)| (*name, Dtype::F32, &tensor.shape, tensor.data.len() * size_of::<f32>()));
    let header = header(path, f32s)?;
    atomic_write_with(path, |writer| {
        writer.write_all(&(header.len() as u64).to_le_bytes())?;
        writer.write_all(&header)?;
        let mut values = sorted.iter().flat_map(|(_, tensor)| &tensor.data);
        values.try_for_each(|value| writer.write_all(&value.to_le_bytes()))
    })
}

/// Writes tensors of any type unchanged, in this order.
///
/// # Errors
/// [`Error::Io`] if the file cannot be written.
pub fn write_raw(path: &Path, tensors: &IndexMap<String, RawTensor>) -> Result<()> {
    let header = header(path, tensors.iter().map(|(name, tensor)| (name, tensor.dtype, &tensor.shape, tensor.bytes.len())))?;
    let mut content = [&(header.len() as u64).to_le_bytes()[..], &header].concat();
    tensors.values().for_each(|tensor| content.extend(&tensor.bytes));
    std::fs::write(path, content).map_err(Error::io(path))
}

/// Makes the header for tensors that follow each other in this order: name, type, shape and number of bytes of each.
fn header<'a>(path: &Path, tensors: impl Iterator<Item = (&'a String, Dtype, &'a Vec<usize>, usize)>) -> Result<Vec<u8>> {
    let mut offset = 0;
    let infos = tensors.map(|(name, dtype, shape, bytes)| {
        let start = offset;
        offset += bytes;
        (name.clone(), TensorInfo { dtype, shape: shape.clone(), data_offsets: (start, offset) })
    });
    let about = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata =
        Metadata::new(Some(about), infos.collect()).map_err(|error| Error::bad_file(path, format!("cannot be written: {error}")))?;
    let mut header = serde_json::to_vec(&metadata).map_err(Error::json(PathBuf::from(path)))?;
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

#[cfg(test)]
mod tests;
