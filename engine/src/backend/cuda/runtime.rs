//! What the kernels need of a device: memory, copies, launches and matrix products. `Driver` is a GPU;
//! `Emulator` runs the same kernels on a processor, for tests.

use super::error::CudaError;
use std::ffi::c_void;

/// The arguments of a launch as bits, each from a word of its own on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Arguments {
    words: Vec<u64>,
    starts: Vec<u32>,
}

impl Arguments {
    /// Adds an argument of the kernel, given as its bits in memory.
    pub fn push(&mut self, words: impl IntoIterator<Item = u64>) {
        self.starts.push(self.words.len() as u32);
        self.words.extend(words);
    }
    /// A pointer to each, as long as these arguments live.
    pub fn pointers(&self) -> Vec<*mut c_void> {
        self.starts.iter().map(|&start| (&raw const self.words[start as usize]).cast_mut().cast()).collect()
    }
}

/// What runs on a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// A kernel.
    Launch(Function, Grid, Arguments),
    /// A matrix product.
    Product(Product),
    /// A block of so many bytes from this address on is handed out again; see [`Runtime::marks_reuse`].
    Reuse(u64, usize),
}

/// Commands that a device keeps to run them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graph(pub usize);

/// A kernel that can be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function(pub usize);

/// How many blocks of how many threads run, with how many bytes of dynamic shared memory each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Grid {
    /// The blocks along x.
    pub x: u32,
    /// The blocks along y.
    pub y: u32,
    /// The threads of a block: a multiple of 32, at most 256.
    pub threads: u32,
    /// Bytes of dynamic shared memory.
    pub shared: u32,
}

/// How an array's elements are stored. Kernels compute in f32 whatever they read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// f32.
    F32,
    /// bfloat16: the upper half of an f32, rounded to nearest.
    Bf16,
}

impl Storage {
    /// The bytes of an element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
    /// The kernels' name of the type.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::F32 => "float",
            Self::Bf16 => "Bf16",
        }
    }
    /// f32 where either is.
    pub fn wider(self, other: Self) -> Self {
        if self == Self::Bf16 { other } else { self }
    }
}

/// One operand of a matrix product, row-major: element (i, j) is at i·ld + j, or where `transposed` at j·ld + i.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// The first element's address.
    pub address: u64,
    /// How its elements are stored; the same in both operands of a product.
    pub storage: Storage,
    /// True if it is stored with its axes exchanged.
    pub transposed: bool,
    /// Elements between rows as stored.
    pub ld: usize,
    /// Elements between the matrices of a batch.
    pub stride: usize,
}

/// C ← A·B + βC, or C ← A·B + 1·bᵀ, for each matrix of a batch, A (m × k), B (k × n), C (m × n) row-major and dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    /// (m, k, n).
    pub extents: (usize, usize, usize),
    /// The number of matrices.
    pub batch: usize,
    /// A.
    pub a: Operand,
    /// B.
    pub b: Operand,
    /// True if β is 1, false if it is 0.
    pub accumulates: bool,
    /// The address of the bias b, n elements stored as C is; only where nothing is accumulated.
    pub bias: Option<u64>,
    /// The address of C; its matrices lie one after another.
    pub c: u64,
    /// How C is stored: as the operands are, or in f32.
    pub c_storage: Storage,
}

impl Product {
    /// β.
    pub fn beta(&self) -> f32 {
        if self.accumulates { 1.0 } else { 0.0 }
    }
}

/// A source of kernels, without the common part.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// Its name in messages and file names.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    /// The text's hash.
    pub hash: u64,
}

impl<'a> Unit<'a> {
    /// A source, with its hash.
    pub const fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, hash: hash(text.as_bytes()) }
    }
}

/// FNV-1a (Fowler, Noll, Vo), 64 bits.
pub const fn hash(bytes: &[u8]) -> u64 {
    let (mut hash, mut i) = (0xcbf2_9ce4_8422_2325u64, 0);
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x100_0000_01b3);
        i += 1;
    }
    hash
}

/// A device on which kernels run in the order in which they are launched.
pub trait Runtime: Send + Sync {
    /// What it is called.
    fn name(&self) -> &str;
    /// The names and texts of the units that functions were taken from, where it keeps them.
    fn units(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// The most blocks that a loop over elements is spread over.
    fn most_blocks(&self) -> u32;
    /// New memory, with unspecified contents.
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError>;
    /// Gives memory back, once everything launched so far has run.
    fn free(&self, addresses: &[u64]);
    /// (free, total) bytes of the device.
    fn memory(&self) -> (usize, usize);
    /// True if the runtime must be told when memory is reused.
    fn marks_reuse(&self) -> bool {
        false
    }
    /// Copies to the device; `bytes` may change once this has returned.
    fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError>;
    /// Waits for what was launched, and copies from the device.
    fn download(&self, address: u64, bytes: &mut [u8]) -> Result<(), CudaError>;
    /// Waits for what was launched.
    fn wait(&self) -> Result<(), CudaError>;
    /// The stream that everything is launched into, with the device's context made current in this thread; for libraries beside the
    /// kernels.
    fn stream(&self) -> Result<usize, CudaError> {
        Err(CudaError::Call { call: "a stream", error: format!("{} has none", self.name()) })
    }
    /// A kernel of a source, compiled where this is its first use.
    fn function(&self, unit: &Unit<'_>, kernel: &str) -> Result<Function, CudaError>;
    /// True if the product can add its bias in the same call.
    fn adds_bias(&self, _product: &Product) -> bool {
        false
    }
    /// Runs a command after those before it.
    ///
    /// # Safety
    /// The arguments must be those of the kernel, and the memory they or the operands point to must be theirs to read and write.
    unsafe fn run(&self, command: &Command) -> Result<(), CudaError>;
    /// Keeps commands, without running them.
    ///
    /// # Safety
    /// As [`Runtime::run`], each time the graph is replayed.
    unsafe fn capture(&self, commands: &[Command]) -> Result<Graph, CudaError>;
    /// Runs the commands of a graph after those before it.
    ///
    /// # Safety
    /// As [`Runtime::run`]; the graph must be kept.
    unsafe fn replay(&self, graph: Graph) -> Result<(), CudaError>;
    /// Lets go of a graph, once everything launched so far has run.
    fn forget(&self, graph: Graph);
}
