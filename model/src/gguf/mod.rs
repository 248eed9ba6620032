//! GGUF files, versions 2 and 3, little-endian: metadata, and tensors of the types that can be widened exactly as ggml does it.
//!
//! ```text
//! "GGUF"  version u32  tensors u64  keys u64
//! keys:     name string, type u32, value               (string: length u64, UTF-8 bytes; array: type u32, length u64, values)
//! tensors:  name string, axes u32, extents u64 …, type u32, offset u64       (extents innermost first)
//! padding to general.alignment (32), then the tensors' data, each at its offset from here
//! ```
//!
//! The layout is that of ggml's own description, docs/gguf.md. Counts and lengths are compared with the bytes that are left before they are
//! used. So nothing is allocated that the file is too small to hold. Keys and descriptions of tensors are read as a whole, at most 1 GiB of
//! them. Tensors are read one at a time.

mod cursor;
mod metadata;
mod tensor_type;

pub use metadata::{Array, Value};
pub use tensor_type::TensorType;

use crate::error::{Error, Result};
use crate::files::{Content, TOKENIZER};
use crate::memory;
use cursor::{Cursor, Damage};
use engine::backend::cpu::stored::{Numbers, Q8Block};
use indexmap::IndexMap;
use std::ops::Range;

/// The first bytes of a file.
pub const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// ggml's own limit on the number of axes.
const MOST_AXES: u32 = 4;

/// The file's description of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// The extent of each axis, outermost first, as everywhere else in this program.
    pub shape: Vec<usize>,
    /// The type of the elements.
    pub kind: TensorType,
    /// The first byte within the file.
    start: u64,
    /// Bytes in the file.
    length: u64,
}

impl TensorInfo {
    fn range(&self) -> Range<u64> {
        self.start..self.start + self.length
    }
}

/// The bytes before the data: keys, and descriptions of tensors. [`Gguf`] borrows from them.
#[derive(Debug)]
pub struct Header(Vec<u8>);

impl Header {
    /// The number of bytes that are read at first.
    const FIRST: u64 = 1 << 20;

    /// Reads the first bytes of a file, as many as its keys and descriptions take.
    ///
    /// # Errors
    /// [`Error::Io`]. [`Error::BadFile`] in these cases:
    ///
    /// - The file is truncated, or its counts, lengths or offsets do not fit it.
    /// - Tensors overlap, or a name occurs twice.
    /// - A type is not known.
    /// - Keys take more than 1 GiB.
    pub fn read(content: &Content) -> Result<Self> {
        let mut length = content.length().min(Self::FIRST);
        loop {
            let bytes = content.read(0..length)?;
            match parse(&bytes, content.length()) {
                Ok(_) => return Ok(Self(bytes)),
                Err(Damage::Wrong(reason)) => return Err(Error::bad_file(content.path(), reason)),
                Err(Damage::NotYetRead) if length >= TOKENIZER.bytes => {
                    let reason = format!("its keys take more than {}: damaged", memory::size(TOKENIZER.bytes as f64));
                    return Err(Error::bad_file(content.path(), reason));
                }
                Err(Damage::NotYetRead) => length = content.length().min(2 * length),
            }
        }
    }
}

type Parsed<'a> = (IndexMap<&'a str, Value<'a>>, IndexMap<&'a str, TensorInfo>);

fn parse(bytes: &[u8], file_length: u64) -> Result<Parsed<'_>, Damage> {
    let mut cursor = Cursor::new(bytes, file_length);
    let (tensor_count, key_count) = header(&mut cursor)?;
    let metadata = metadata::read(&mut cursor, key_count)?;
    let tensors = tensors(&mut cursor, tensor_count, alignment(&metadata)?)?;
    Ok((metadata, tensors))
}

/// A file whose header has been read and checked.
#[derive(Debug)]
pub struct Gguf<'a> {
    content: &'a Content<'a>,
    metadata: IndexMap<&'a str, Value<'a>>,
    tensors: IndexMap<&'a str, TensorInfo>,
}

impl<'a> Gguf<'a> {
    /// Opens the file of `content` with its `header`.
    ///
    /// # Errors
    /// The errors of [`Header::read`].
    pub fn new(content: &'a Content<'a>, header: &'a Header) -> Result<Self> {
        let (metadata, tensors) = parse(&header.0, content.length()).map_err(|damage| match damage {
            Damage::Wrong(reason) => Error::bad_file(content.path(), reason),
            Damage::NotYetRead => Error::bad_file(content.path(), "its header was read in part only"),
        })?;
        Ok(Self { content, metadata, tensors })
    }

    /// Returns the value of a key.
    pub fn get(&self, key: &str) -> Option<&Value<'a>> {
        self.metadata.get(key)
    }

    /// Iterates over all keys with their values, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = (&'a str, &Value<'a>)> {
        self.metadata.iter().map(|(key, value)| (*key, value))
    }

    /// Iterates over all tensors by name, in the order of the file.
    pub fn tensors(&self) -> impl Iterator<Item = (&'a str, &TensorInfo)> {
        self.tensors.iter().map(|(name, info)| (*name, info))
    }

    /// Returns the tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// True if two tensors have the same bytes in the file.
    ///
    /// # Errors
    /// [`Error::Io`]. [`Error::BadFile`] if the file became shorter.
    pub fn have_same_bytes(&self, a: &TensorInfo, b: &TensorInfo) -> Result<bool> {
        Ok(self.content.read(a.range())? == self.content.read(b.range())?)
    }

    /// Returns the elements of a tensor as they are stored, in row-major order, if they are in bfloat16, f16 or Q8_0.
    ///
    /// # Errors
    /// [`Error::NonFinite`]. [`Error::Io`].
    pub fn stored(&self, name: &str, info: &TensorInfo) -> Result<Option<Numbers>> {
        let Some(numbers) = info.kind.stored(self.content, info.range())? else { return Ok(None) };
        let bad = match &numbers {
            Numbers::Bf16(numbers) => numbers.iter().position(|number| !number.is_finite()),
            Numbers::F16(numbers) => numbers.iter().position(|number| !number.is_finite()),
            Numbers::Q8(blocks) => blocks.iter().position(|block| !block.scale.is_finite()).map(|block| block * Q8Block::NUMBERS),
        };
        let Some(index) = bad else { return Ok(Some(numbers)) };
        let block = index / Q8Block::NUMBERS * Q8Block::NUMBERS;
        let value = f64::from(numbers.widened(block, (block + Q8Block::NUMBERS).min(numbers.len()))[index - block]);
        Err(self.non_finite(name, index, value))
    }

    fn non_finite(&self, name: &str, index: usize, value: f64) -> Error {
        Error::NonFinite { path: self.content.path().to_owned(), tensor: name.to_owned(), index, value }
    }

    /// Returns the elements of a tensor in row-major order, widened to f32 as in ggml's reference code.
    ///
    /// # Errors
    /// [`Error::Unsupported`] naming the tensor and its type, if the type is not one of F32, F16, BF16, Q8_0, Q4_0 and Q4_1.
    /// [`Error::NonFinite`]. [`Error::Io`].
    pub fn widen(&self, name: &str, info: &TensorInfo) -> Result<Vec<f32>> {
        let Some(data) = info.kind.widen(self.content, info.range())? else {
            return Err(Error::Unsupported {
                path: Some(self.content.path().to_owned()),
                what: format!("the type {} of tensor {name}", info.kind.name()),
                supported: TensorType::SUPPORTED.to_owned(),
            });
        };
        match data.iter().position(|value| !value.is_finite()) {
            Some(index) => Err(self.non_finite(name, index, data[index].into())),
            None => Ok(data),
        }
    }
}

fn header(cursor: &mut Cursor) -> Result<(u64, u64), Damage> {
    if cursor.take(4)? != MAGIC {
        return Err(Damage::Wrong("does not start with GGUF".to_owned()));
    }
    match cursor.u32()? {
        2 | 3 => {}
        1 => {
            return Err(Damage::Wrong(
                "is GGUF of version 1; versions 2 and 3 are read: convert it again with a newer llama.cpp".to_owned(),
            ));
        }
        version if version.swap_bytes() <= 3 => {
            return Err(Damage::Wrong("is a big-endian GGUF file; only little-endian ones are read".to_owned()));
        }
        version => return Err(Damage::Wrong(format!("is GGUF of version {version}; versions 2 and 3 are read"))),
    }
    Ok((cursor.u64()?, cursor.u64()?))
}

fn alignment(metadata: &IndexMap<&str, Value>) -> Result<u64, Damage> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(DEFAULT_ALIGNMENT) };
    let found = value.unsigned().filter(|a| a.is_power_of_two() && (1..=1 << 20).contains(a));
    found.ok_or_else(|| Damage::Wrong("general.alignment is no power of two up to 1048576".to_owned()))
}

fn tensors<'a>(cursor: &mut Cursor<'a>, count: u64, alignment: u64) -> Result<IndexMap<&'a str, TensorInfo>, Damage> {
    // A description has at least the length of its name, the number of axes, one axis, the type and the offset.
    cursor.check_count("tensors", count, 8 + 4 + 8 + 4 + 8)?;
    let mut infos = Vec::new();
    for _ in 0..count {
        infos.push(tensor_info(cursor)?);
    }
    let data = (cursor.position() as u64).next_multiple_of(alignment);
    let mut tensors = IndexMap::new();
    for (name, shape, kind, offset) in infos {
        let end = cursor.file_length();
        let elements = shape.iter().try_fold(1u64, |all, &extent| all.checked_mul(extent as u64));
        let length = elements.and_then(|elements| kind.bytes_of(elements, shape.last().map_or(1, |&extent| extent as u64)));
        let Some(length) = length else {
            return Err(Damage::Wrong(format!("tensor {name}: {shape:?} is no shape of type {}", kind.name())));
        };
        let place = data.checked_add(offset).and_then(|start| Some((start, start.checked_add(length)?)));
        let Some((start, _)) = place.filter(|&(_, stop)| stop <= end) else {
            return Err(Damage::Wrong(format!("tensor {name} of {length} bytes lies outside the file of {end}: truncated or damaged")));
        };
        if !offset.is_multiple_of(alignment) {
            return Err(Damage::Wrong(format!("tensor {name} is at {offset}, which is no multiple of the alignment {alignment}")));
        }
        let info = TensorInfo { shape, kind, start, length };
        if tensors.insert(name, info).is_some() {
            return Err(Damage::Wrong(format!("tensor {name} is there twice")));
        }
    }
    refuse_overlaps(&tensors)?;
    Ok(tensors)
}

fn tensor_info<'a>(cursor: &mut Cursor<'a>) -> Result<(&'a str, Vec<usize>, TensorType, u64), Damage> {
    let name = cursor.string()?;
    let axes = cursor.u32()?;
    if axes == 0 || axes > MOST_AXES {
        return Err(Damage::Wrong(format!("tensor {name} has {axes} axes, not 1 to {MOST_AXES}")));
    }
    let mut shape = Vec::new();
    for _ in 0..axes {
        let extent = usize::try_from(cursor.u64()?).ok().filter(|&extent| extent > 0);
        shape.push(extent.ok_or_else(|| Damage::Wrong(format!("tensor {name} has an extent of zero, or one too large")))?);
    }
    shape.reverse();
    let number = cursor.u32()?;
    let kind = TensorType::of_number(number).ok_or_else(|| Damage::Wrong(format!("tensor {name} has the unknown type {number}")))?;
    Ok((name, shape, kind, cursor.u64()?))
}

fn refuse_overlaps(tensors: &IndexMap<&str, TensorInfo>) -> Result<(), Damage> {
    let mut places: Vec<_> = tensors.iter().map(|(name, info)| (info.start, info.start + info.length, *name)).collect();
    places.sort_unstable();
    match places.windows(2).find(|pair| pair[1].0 < pair[0].1) {
        Some(pair) => Err(Damage::Wrong(format!("tensors {} and {} overlap", pair[0].2, pair[1].2))),
        None => Ok(()),
    }
}

pub mod writer;

#[cfg(test)]
mod tests;
