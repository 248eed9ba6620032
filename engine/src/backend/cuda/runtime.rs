//! What kernels need of a device: memory, copies, launches and matrix products. `Driver` is a GPU. `Emulator` runs the same kernels on a
//! processor, for tests.

use super::error::CudaError;
use std::ffi::c_void;

/// The arguments of a launch as 64-bit words. Each argument begins at a new word.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Arguments {
    words: Vec<u64>,
    starts: Vec<u32>,
}

impl Arguments {
    /// Appends an argument of the kernel, given as its bits in memory.
    pub fn push(&mut self, words: impl IntoIterator<Item = u64>) {
        self.starts.push(self.words.len() as u32);
        self.words.extend(words);
    }
    /// Returns a pointer to each argument. The pointers are valid as long as these arguments live.
    pub fn pointers(&self) -> Vec<*mut c_void> {
        self.starts.iter().map(|&start| (&raw const self.words[start as usize]).cast_mut().cast()).collect()
    }
}

/// A command for a device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Command {
    /// Launches a kernel.
    Launch(Function, Grid, Arguments),
    /// Multiplies matrices.
    Product(Product),
    /// Marks a block, given by its address and size in bytes, as handed out again; see [`Runtime::marks_reuse`].
    Reuse(u64, usize),
}

/// Commands that a device has captured to run them again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Graph(pub usize);

/// A kernel that can be launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Function(pub usize);

/// The blocks of a launch, their threads and their shared memory.
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

/// How an array's elements are stored. Kernels compute in f32, whatever the storage of their inputs and outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Storage {
    /// f32.
    F32,
    /// bfloat16: the upper half of an f32, rounded to nearest.
    Bf16,
}

impl Storage {
    /// The bytes of one element.
    pub fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::Bf16 => 2,
        }
    }
    /// The name of the element type in the kernels.
    pub fn type_name(self) -> &'static str {
        match self {
            Self::F32 => "float",
            Self::Bf16 => "Bf16",
        }
    }
    /// Returns f32 if either storage is f32, else bfloat16.
    pub fn wider(self, other: Self) -> Self {
        if self == Self::Bf16 { other } else { self }
    }
}

/// One operand of a matrix product, row-major. Element (i, j) is at i·ld + j, or at j·ld + i if `transposed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// The first element's address.
    pub address: u64,
    /// How its elements are stored. Both operands of a product are stored the same way.
    pub storage: Storage,
    /// True if it is stored with its axes exchanged.
    pub transposed: bool,
    /// Elements between the starts of two stored rows.
    pub ld: usize,
    /// Elements between the starts of two matrices of a batch.
    pub stride: usize,
}

/// C ← A·B + βC, or C ← A·B + 1·bᵀ, for each matrix of a batch, A (m × k), B (k × n), C (m × n) row-major and dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Product {
    /// (m, k, n).
    pub extents: (usize, usize, usize),
    /// The number of matrices in the batch.
    pub batch: usize,
    /// A.
    pub a: Operand,
    /// B.
    pub b: Operand,
    /// True if β is 1, false if it is 0.
    pub accumulates: bool,
    /// The address of the bias b: n elements, stored as C is. Only for products that do not accumulate.
    pub bias: Option<u64>,
    /// The address of C. The matrices of a batch follow each other without gaps.
    pub c: u64,
    /// How C is stored: like the operands, or in f32.
    pub c_storage: Storage,
}

impl Product {
    /// β.
    pub fn beta(&self) -> f32 {
        if self.accumulates { 1.0 } else { 0.0 }
    }
}

/// A source file of kernels, without the common part that starts every source.
#[derive(Clone, Debug)]
pub struct Unit<'a> {
    /// The name in messages and file names.
    pub name: &'a str,
    /// The text.
    pub text: &'a str,
    /// The text's hash.
    pub hash: u64,
}

impl<'a> Unit<'a> {
    /// Takes a source and computes its hash.
    pub const fn new(name: &'a str, text: &'a str) -> Self {
        Self { name, text, hash: hash(text.as_bytes()) }
    }
}

/// Computes the FNV-1a hash (Fowler, Noll, Vo), 64 bits.
pub const fn hash(bytes: &[u8]) -> u64 {
    let (mut hash, mut i) = (0xcbf2_9ce4_8422_2325u64, 0);
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x100_0000_01b3);
        i += 1;
    }
    hash
}

/// A device that runs commands in the order in which they are launched.
pub trait Runtime: Send + Sync {
    /// The device's name.
    fn name(&self) -> &str;
    /// The names and texts of the units whose kernels were used, if the runtime keeps them.
    fn units(&self) -> Vec<(String, String)> {
        Vec::new()
    }
    /// The largest number of blocks for a loop over elements.
    fn most_blocks(&self) -> u32;
    /// Allocates memory with unspecified contents.
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError>;
    /// Frees memory, once everything launched so far has run.
    fn free(&self, addresses: &[u64]);
    /// Returns the (free, total) bytes of the device.
    fn memory(&self) -> (usize, usize);
    /// True if the queue must report when a block is handed out again. The emulator then fills the block with NaN, so that tests find reads
    /// of unwritten memory.
    fn marks_reuse(&self) -> bool {
        false
    }
    /// Copies to the device. The caller may change `bytes` afterwards.
    fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError>;
    /// Waits for everything that was launched, and copies from the device.
    fn download(&self, address: u64, bytes: &mut [u8]) -> Result<(), CudaError>;
    /// Waits for everything that was launched.
    fn wait(&self) -> Result<(), CudaError>;
    /// Returns the stream into which everything is launched, and makes the device's context current in this thread. For libraries that work
    /// beside the kernels, such as NCCL.
    fn stream(&self) -> Result<usize, CudaError> {
        Err(CudaError::Call { call: "a stream", error: format!("{} has none", self.name()) })
    }
    /// Returns a kernel of a source, which is compiled at its first use.
    fn function(&self, unit: &Unit<'_>, kernel: &str) -> Result<Function, CudaError>;
    /// True if the product can add its bias in the same call.
    fn adds_bias(&self, _product: &Product) -> bool {
        false
    }
    /// Runs a command after all earlier commands.
    ///
    /// # Safety
    /// The arguments must match the kernel. The kernel may read and write all memory that they and the operands point to.
    unsafe fn run(&self, command: &Command) -> Result<(), CudaError>;
    /// Captures commands as a graph, without running them.
    ///
    /// # Safety
    /// As [`Runtime::run`], each time that the graph is replayed.
    unsafe fn capture(&self, commands: &[Command]) -> Result<Graph, CudaError>;
    /// Runs the commands of a graph after all earlier commands.
    ///
    /// # Safety
    /// As [`Runtime::run`]; the graph must not be forgotten.
    unsafe fn replay(&self, graph: Graph) -> Result<(), CudaError>;
    /// Destroys a graph, once everything launched so far has run.
    fn forget(&self, graph: Graph);
}
