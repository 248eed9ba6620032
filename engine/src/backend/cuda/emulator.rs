//! Runs the same kernels on a processor: the system's C++ compiler compiles them with a header that emulates blocks, barriers and shuffles.
//!
//! The emulator lets machines without a GPU test kernels and the code that launches them. It says nothing about speed, the driver or
//! cuBLAS.

use super::compile::{COMMON, kernel_names, own_name};
use super::error::CudaError;
use super::runtime::{Arguments, Command, Function, Graph, Grid, Operand, Product, Runtime, Storage, Unit, hash};
use libloading::Library;
use std::collections::HashMap;
use std::ffi::c_void;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

const HOST: &str = include_str!("kernels/host.h");

type Launch = unsafe extern "C" fn(u32, u32, u32, u32, *mut *mut c_void);

/// Kernels that are compiled for the processor.
#[derive(Default)]
pub struct Emulator {
    compiler: String,
    folder: PathBuf,
    /// By the hash of the unit. Each has a lock of its own, so that threads build different units beside each other.
    loaded: Mutex<HashMap<u64, Arc<Mutex<Option<Loaded>>>>>,
    allocations: Mutex<HashMap<u64, Vec<u64>>>,
    graphs: Mutex<HashMap<usize, Vec<Command>>>,
    captured: AtomicUsize,
}

/// The library of a unit, with the unit's name and text.
struct Loaded {
    library: Library,
    name: String,
    text: String,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Emulator {
    /// Creates an emulator that keeps its libraries in `folder`.
    ///
    /// # Errors
    /// A sentence if there is no C++ compiler (`$CXX`, else `c++`), or if the machine is not x86-64 Linux.
    pub fn new(folder: &Path) -> Result<Self, String> {
        if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
            return Err("kernels are emulated on x86-64 Linux only".to_owned());
        }
        let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".to_owned());
        let answer = process::Command::new(&compiler).arg("--version").output();
        if !answer.is_ok_and(|output| output.status.success()) {
            return Err(format!("there is no C++ compiler ({compiler})"));
        }
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { compiler, folder: folder.to_owned(), ..Self::default() })
    }

    fn build(&self, unit: &Unit<'_>) -> Result<Library, CudaError> {
        let failed = |log: String| CudaError::Compile { unit: unit.name.to_owned(), log };
        let registered: String = kernel_names(unit.text).iter().map(|name| format!("REGISTER({name})\n")).collect();
        let source = format!("{HOST}\n{COMMON}\n{}\n{registered}", unit.text);
        let stem = self.folder.join(format!("{}-{:016x}", unit.name, hash(source.as_bytes())));
        let library = stem.with_extension("so");
        if !library.exists() {
            // Several emulators share the folder, so the library is built under a name of its own and then renamed.
            let own = own_name();
            let (partial, text) = (stem.with_extension(format!("{own}.so")), stem.with_extension(format!("{own}.cpp")));
            std::fs::write(&text, source).map_err(|error| failed(error.to_string()))?;
            let options = ["-std=c++17", "-O2", "-ffp-contract=off", "-w", "-shared", "-fPIC", "-o"];
            let output = process::Command::new(&self.compiler).args(options).arg(&partial).arg(&text).output();
            let _ = std::fs::remove_file(&text);
            let output = output.map_err(|error| failed(error.to_string()))?;
            if !output.status.success() {
                return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
            }
            std::fs::rename(&partial, &library).map_err(|error| failed(error.to_string()))?;
        }
        // SAFETY: the library is built from our source, and loading it runs no code.
        unsafe { Library::new(&library) }.map_err(|error| failed(error.to_string()))
    }
}

impl Runtime for Emulator {
    fn name(&self) -> &str {
        "emulator"
    }
    fn units(&self) -> Vec<(String, String)> {
        let units: Vec<_> = locked(&self.loaded).values().cloned().collect();
        units.iter().filter_map(|unit| locked(unit).as_ref().map(|unit| (unit.name.clone(), unit.text.clone()))).collect()
    }
    fn most_blocks(&self) -> u32 {
        3
    }
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError> {
        let block = vec![u64::MAX; bytes.div_ceil(8)];
        let address = block.as_ptr() as u64;
        locked(&self.allocations).insert(address, block);
        Ok(address)
    }
    fn free(&self, addresses: &[u64]) {
        let mut allocations = locked(&self.allocations);
        addresses.iter().for_each(|address| drop(allocations.remove(address)));
    }
    fn memory(&self) -> (usize, usize) {
        (0, 0)
    }
    fn marks_reuse(&self) -> bool {
        true
    }
    fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError> {
        // SAFETY: the block holds at least `bytes`.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), address as *mut u8, bytes.len()) };
        Ok(())
    }
    fn download(&self, address: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        // SAFETY: the block holds at least `bytes`.
        unsafe { std::ptr::copy_nonoverlapping(address as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        Ok(())
    }
    fn wait(&self) -> Result<(), CudaError> {
        Ok(())
    }
    fn function(&self, unit: &Unit<'_>, kernel: &str) -> Result<Function, CudaError> {
        let place = locked(&self.loaded).entry(unit.hash).or_default().clone();
        let mut place = locked(&place);
        let Loaded { library, .. } = match &mut *place {
            Some(loaded) => loaded,
            empty => empty.insert(Loaded { library: self.build(unit)?, name: unit.name.to_owned(), text: unit.text.to_owned() }),
        };
        // SAFETY: REGISTER in the header gives the symbol this type.
        let symbol = unsafe { library.get::<Launch>(format!("launch_{kernel}")) };
        let symbol = symbol.map_err(|error| CudaError::Call { call: "dlsym", error: error.to_string() })?;
        Ok(Function(*symbol as usize))
    }
    /// True for an even number of columns, so that tests cover both ways.
    fn adds_bias(&self, product: &Product) -> bool {
        product.extents.2.is_multiple_of(2)
    }
    unsafe fn run(&self, command: &Command) -> Result<(), CudaError> {
        // SAFETY: the caller's promise.
        unsafe {
            match command {
                Command::Launch(function, grid, arguments) => launch(*function, *grid, arguments),
                Command::Product(product) => multiply(product),
                // Fills the block with NaN, so that a read before the first write shows.
                Command::Reuse(address, bytes) => std::ptr::write_bytes(*address as *mut u8, 0xff, *bytes),
            }
        }
        Ok(())
    }
    unsafe fn capture(&self, commands: &[Command]) -> Result<Graph, CudaError> {
        let (mut graphs, number) = (locked(&self.graphs), self.captured.fetch_add(1, Ordering::Relaxed));
        graphs.insert(number, commands.to_vec());
        Ok(Graph(number))
    }
    unsafe fn replay(&self, graph: Graph) -> Result<(), CudaError> {
        // SAFETY: the caller's promise.
        locked(&self.graphs)[&graph.0].iter().try_for_each(|command| unsafe { self.run(command) })
    }
    fn forget(&self, graph: Graph) {
        locked(&self.graphs).remove(&graph.0);
    }
}

/// # Safety
/// As [`Runtime::run`].
unsafe fn launch(function: Function, grid: Grid, arguments: &Arguments) {
    // Only one block runs at a time, over all emulators, because the header's state is static.
    static RUNNING: Mutex<()> = Mutex::new(());
    let _running = locked(&RUNNING);
    // SAFETY: the function comes from `function`; the arguments are the caller's promise.
    unsafe {
        let launch = std::mem::transmute::<usize, Launch>(function.0);
        launch(grid.x, grid.y, grid.threads, grid.shared, arguments.pointers().as_mut_ptr());
    }
}

/// # Safety
/// As [`Runtime::run`].
unsafe fn multiply(product: &Product) {
    let (m, k, n) = product.extents;
    let strides = |x: &Operand| if x.transposed { (1, x.ld as isize) } else { (x.ld as isize, 1) };
    let ((rsa, csa), (rsb, csb)) = (strides(&product.a), strides(&product.b));
    for i in 0..product.batch {
        // SAFETY: the operands are the caller's promise; C is dense.
        unsafe {
            let (a, b) = (numbers(&product.a, i, (m, k)), numbers(&product.b, i, (k, n)));
            let c_at = product.c + (i * m * n * product.c_storage.bytes()) as u64;
            let mut c = match product.bias {
                Some(bias) => stored(bias, product.c_storage, n).repeat(m),
                None if product.accumulates => stored(c_at, product.c_storage, m * n),
                None => vec![0.0; m * n],
            };
            let (a, b, c_start) = (a.as_ptr(), b.as_ptr(), c.as_mut_ptr());
            matrixmultiply::sgemm(m, k, n, 1.0, a, rsa, csa, b, rsb, csb, 1.0, c_start, n as isize, 1);
            store(&c, c_at, product.c_storage);
        }
    }
}

/// Returns the elements of one matrix of an operand as f32, from its first element on. The product sees (rows, columns).
///
/// # Safety
/// The operand's memory must be valid.
unsafe fn numbers(x: &Operand, matrix: usize, (rows, columns): (usize, usize)) -> Vec<f32> {
    let (outer, inner) = if x.transposed { (columns, rows) } else { (rows, columns) };
    let address = x.address + (matrix * x.stride * x.storage.bytes()) as u64;
    // SAFETY: the caller's promise.
    unsafe { stored(address, x.storage, (outer - 1) * x.ld + inner) }
}

/// Reads stored numbers as f32.
///
/// # Safety
/// The memory must be valid.
unsafe fn stored(address: u64, storage: Storage, count: usize) -> Vec<f32> {
    // SAFETY: the caller's promise.
    unsafe {
        match storage {
            Storage::F32 => std::slice::from_raw_parts(address as *const f32, count).to_vec(),
            Storage::Bf16 => {
                let halves = std::slice::from_raw_parts(address as *const u16, count);
                halves.iter().map(|&half| f32::from_bits(u32::from(half) << 16)).collect()
            }
        }
    }
}

/// # Safety
/// The memory must be valid.
unsafe fn store(numbers: &[f32], address: u64, storage: Storage) {
    for (i, &x) in numbers.iter().enumerate() {
        // SAFETY: the caller's promise.
        unsafe {
            match storage {
                Storage::F32 => *(address as *mut f32).add(i) = x,
                Storage::Bf16 => *(address as *mut u16).add(i) = to_bf16(x),
            }
        }
    }
}

/// Rounds x to the nearest bfloat16, ties to even. A NaN stays a NaN.
fn to_bf16(x: f32) -> u16 {
    let bits = x.to_bits();
    if x.is_nan() { 0x7fff } else { ((bits + 0x7fff + (bits >> 16 & 1)) >> 16) as u16 }
}
