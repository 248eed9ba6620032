//! GGUF files for tests: keys and tensors as docs/gguf.md lays them out, tensors in F32.

use super::{DEFAULT_ALIGNMENT, MAGIC};

/// ggml's numbers for the types of values.
const INTEGER: u32 = 4;
const SIGNED: u32 = 5;
const FLOAT: u32 = 6;
const FLAG: u32 = 7;
const TEXT: u32 = 8;
const ARRAY: u32 = 9;

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

    pub fn text(self, name: &str, value: &str) -> Self {
        self.key(name, TEXT, &string(value))
    }

    pub fn integer(self, name: &str, value: u32) -> Self {
        self.key(name, INTEGER, &value.to_le_bytes())
    }

    pub fn float(self, name: &str, value: f32) -> Self {
        self.key(name, FLOAT, &value.to_le_bytes())
    }

    pub fn flag(self, name: &str, value: bool) -> Self {
        self.key(name, FLAG, &[u8::from(value)])
    }

    pub fn texts(self, name: &str, values: &[&str]) -> Self {
        self.array(name, TEXT, &values.iter().map(|value| string(value)).collect::<Vec<_>>())
    }

    pub fn integers(self, name: &str, values: &[i32]) -> Self {
        self.array(name, SIGNED, &values.iter().map(|value| value.to_le_bytes().to_vec()).collect::<Vec<_>>())
    }

    pub fn floats(self, name: &str, values: &[f32]) -> Self {
        self.array(name, FLOAT, &values.iter().map(|value| value.to_le_bytes().to_vec()).collect::<Vec<_>>())
    }

    /// Adds a tensor of `shape`, outermost extent first.
    pub fn tensor(mut self, name: &str, shape: &[usize], values: &[f32]) -> Self {
        self.data.resize(self.data.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
        let mut info = [string(name), (shape.len() as u32).to_le_bytes().to_vec()].concat();
        shape.iter().rev().for_each(|&extent| info.extend((extent as u64).to_le_bytes()));
        info.extend(0u32.to_le_bytes());
        info.extend((self.data.len() as u64).to_le_bytes());
        self.infos.push(info);
        values.iter().for_each(|value| self.data.extend(value.to_le_bytes()));
        self
    }

    /// Returns the whole file.
    pub fn bytes(&self) -> Vec<u8> {
        let counts = [self.infos.len(), self.keys.len()].map(|count| (count as u64).to_le_bytes());
        let mut file = [MAGIC.as_slice(), &3u32.to_le_bytes(), &counts.concat(), &self.keys.concat(), &self.infos.concat()].concat();
        file.resize(file.len().next_multiple_of(DEFAULT_ALIGNMENT as usize), 0);
        [file, self.data.clone()].concat()
    }
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}
