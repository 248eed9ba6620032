//! Writes GGUF files: keys and tensors as docs/gguf.md lays them out.

use super::{DEFAULT_ALIGNMENT, MAGIC};
use half::{bf16, f16};
use std::io::{self, Write};

/// ggml's numbers for the types of values.
const INTEGER: u32 = 4;
const SIGNED: u32 = 5;
const FLOAT: u32 = 6;
const FLAG: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

/// A type in which a tensor is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stored {
    /// As in memory.
    F32,
    /// IEEE 754 binary16: at most 65,504.
    F16,
    /// The upper half of an f32.
    Bf16,
    /// 32 elements a block: a scale d in f16, and the elements as d times whole numbers from −127 to 127.
    Q8,
}

/// Elements of a block of [`Stored::Q8`].
const BLOCK: usize = 32;

impl Stored {
    /// Returns the type under its name on the command line.
    pub fn named(name: &str) -> Option<Self> {
        [("f32", Self::F32), ("f16", Self::F16), ("bf16", Self::Bf16), ("q8_0", Self::Q8)]
            .into_iter()
            .find(|(known, _)| *known == name)
            .map(|(_, stored)| stored)
    }

    /// ggml's number of the type.
    fn number(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8 => 8,
            Self::Bf16 => 30,
        }
    }

    /// llama.cpp's number of a file whose matrices have this type (`general.file_type`).
    pub fn file_type(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::F16 => 1,
            Self::Q8 => 7,
            Self::Bf16 => 32,
        }
    }

    /// True if rows of this width can be written.
    pub fn takes(self, row: usize) -> bool {
        self != Self::Q8 || row.is_multiple_of(BLOCK)
    }

    fn encode(self, values: &[f32]) -> Vec<u8> {
        match self {
            Self::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::F16 => values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect(),
            Self::Bf16 => values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes()).collect(),
            Self::Q8 => values.chunks_exact(BLOCK).flat_map(q8_block).collect(),
        }
    }
}

/// One block as ggml rounds it (ggml-quants.c, `quantize_row_q8_0_ref`): d = max |x|/127, and x/d rounded, halves away from 0.
fn q8_block(values: &[f32]) -> Vec<u8> {
    let d = values.iter().fold(0.0, |most: f32, value| most.max(value.abs())) / 127.0;
    let inverse = if d == 0.0 { 0.0 } else { 1.0 / d };
    let quants = values.iter().map(|value| (value * inverse).round() as i8 as u8);
    f16::from_f32(d).to_le_bytes().into_iter().chain(quants).collect()
}

/// A file that grows by keys and tensors.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    keys: Vec<Vec<u8>>,
    infos: Vec<Vec<u8>>,
    data: Vec<u8>,
}

impl Writer {
    /// Starts a file whose architecture is `name`.
    pub fn new(name: &str) -> Self {
        Self::default().text("general.architecture", name)
    }

    fn key(mut self, name: &str, kind: u32, value: &[u8]) -> Self {
        self.keys.push([&string(name), kind.to_le_bytes().as_slice(), value].concat());
        self
    }

    fn array(self, name: &str, kind: u32, values: &[Vec<u8>]) -> Self {
        let value = [kind.to_le_bytes().as_slice(), &(values.len() as u64).to_le_bytes(), &values.concat()].concat();
        self.key(name, ARRAY, &value)
    }

    /// Adds a text.
    pub fn text(self, name: &str, value: &str) -> Self {
        self.key(name, TEXT, &string(value))
    }

    /// Adds a number of 32 bits.
    pub fn integer(self, name: &str, value: u32) -> Self {
        self.key(name, INTEGER, &value.to_le_bytes())
    }

    /// Adds an f32.
    pub fn float(self, name: &str, value: f32) -> Self {
        self.key(name, FLOAT, &value.to_le_bytes())
    }

    /// Adds a yes or no.
    pub fn flag(self, name: &str, value: bool) -> Self {
        self.key(name, FLAG, &[u8::from(value)])
    }

    /// Adds a list of texts.
    pub fn texts(self, name: &str, values: &[&str]) -> Self {
        self.array(name, TEXT, &values.iter().map(|value| string(value)).collect::<Vec<_>>())
    }

    /// Adds a list of numbers with a sign.
    pub fn integers(self, name: &str, values: &[i32]) -> Self {
        self.array(name, SIGNED, &values.iter().map(|value| value.to_le_bytes().to_vec()).collect::<Vec<_>>())
    }

    /// Adds a list of f32.
    pub fn floats(self, name: &str, values: &[f32]) -> Self {
        self.array(name, FLOAT, &values.iter().map(|value| value.to_le_bytes().to_vec()).collect::<Vec<_>>())
    }

    /// Adds a tensor of `shape`, outermost extent first, in f32.
    #[cfg(test)]
    pub fn tensor(self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        self.tensor_in(Stored::F32, name, shape, values)
    }

    /// Adds a tensor of `shape`, outermost extent first.
    ///
    /// # Panics
    /// If the type does not take rows of this width.
    pub fn tensor_in(mut self, stored: Stored, name: &str, shape: &[usize], values: &[f32]) -> Self {
        assert!(stored.takes(shape.last().copied().unwrap_or(1)), "{name}: rows of {shape:?} are no whole blocks");
        self.data.resize(self.data.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
        let mut info = [string(name), (shape.len() as u32).to_le_bytes().to_vec()].concat();
        shape.iter().rev().for_each(|&extent| info.extend((extent as u64).to_le_bytes()));
        info.extend(stored.number().to_le_bytes());
        info.extend((self.data.len() as u64).to_le_bytes());
        self.infos.push(info);
        self.data.extend(stored.encode(values));
        self
    }

    /// Returns the whole file.
    #[cfg(test)]
    pub fn bytes(&self) -> Vec<u8> {
        let mut file = Vec::new();
        self.write(&mut file).expect("memory can be written");
        file
    }

    /// Writes the whole file.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write(&self, to: &mut impl Write) -> io::Result<()> {
        let counts = [self.infos.len(), self.keys.len()].map(|count| (count as u64).to_le_bytes());
        let mut header = [MAGIC.as_slice(), &3u32.to_le_bytes(), &counts.concat(), &self.keys.concat(), &self.infos.concat()].concat();
        header.resize(header.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
        to.write_all(&header)?;
        to.write_all(&self.data)
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
