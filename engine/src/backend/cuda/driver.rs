//! A GPU through the CUDA driver, cuBLAS, cuBLASLt and NVRTC, each loaded at run time.

use super::blas::{self, Blas};
use super::compile::{self, Key, Target};
use super::error::{CudaError, call};
use super::runtime::{Arguments, Command, Function, Graph, Grid, Product, Runtime, Unit};
use crate::backend::precision::Precision;
use cudarc::driver::{result as driver, sys};
use std::collections::HashMap;
use std::ffi::CString;
use std::path::PathBuf;
use std::sync::Mutex;

/// The oldest compute capability that the kernels support.
const OLDEST: (i32, i32) = (8, 0);
/// Shared memory that a block may use without an attribute set on the kernel, in bytes.
const USUAL_SHARED: u32 = 48 * 1024;

/// The driver's description of one GPU.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceReport {
    /// Its number, from 0.
    pub ordinal: usize,
    /// Its name.
    pub name: String,
    /// Its compute capability.
    pub capability: (i32, i32),
    /// Its memory in bytes.
    pub memory: u64,
}

/// Returns the driver's version and its GPUs.
///
/// # Errors
/// [`CudaError::NoDriver`], [`CudaError::NoDevice`], [`CudaError::DriverFails`] and [`CudaError::Call`].
pub fn devices() -> Result<((i32, i32), Vec<DeviceReport>), CudaError> {
    // SAFETY: only looks for the library.
    if !unsafe { sys::is_culib_present() } {
        return Err(CudaError::NoDriver);
    }
    match driver::init() {
        Err(error) if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE => return Err(CudaError::NoDevice),
        started => started.map_err(|error| CudaError::DriverFails(error.to_string()))?,
    }
    let mut version = 0;
    // SAFETY: the library is there, and the pointer is to a live number.
    unsafe { call("cuDriverGetVersion", sys::cuDriverGetVersion(&mut version).result())? };
    let count = call("cuDeviceGetCount", driver::device::get_count())?;
    let reports = (0..count).map(report).collect::<Result<_, _>>()?;
    Ok(((version / 1000, version % 1000 / 10), reports))
}

fn report(ordinal: i32) -> Result<DeviceReport, CudaError> {
    use sys::CUdevice_attribute::{CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR};
    let device = call("cuDeviceGet", driver::device::get(ordinal))?;
    let name = call("cuDeviceGetName", driver::device::get_name(device))?;
    // SAFETY: the device comes from the driver.
    unsafe {
        let attribute = |which| call("cuDeviceGetAttribute", driver::device::get_attribute(device, which));
        let capability =
            (attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?, attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?);
        let memory = call("cuDeviceTotalMem", driver::device::total_mem(device))? as u64;
        Ok(DeviceReport { ordinal: ordinal as usize, name, capability, memory })
    }
}

/// Checks that the GPU is new enough, and that NVRTC and cuBLAS are installed.
///
/// # Errors
/// [`CudaError::TooOld`], [`CudaError::NoCompiler`], [`CudaError::NoCublas`].
pub fn usable(device: &DeviceReport) -> Result<(), CudaError> {
    if device.capability < OLDEST {
        return Err(CudaError::TooOld { name: device.name.clone(), capability: device.capability });
    }
    compile::compiler()?;
    if blas::is_present() { Ok(()) } else { Err(CudaError::NoCublas) }
}

/// One GPU with its stream.
pub struct Driver {
    name: String,
    context: sys::CUcontext,
    stream: sys::CUstream,
    blas: Blas,
    target: Target,
    compiler: (i32, i32),
    folder: Option<PathBuf>,
    blocks: u32,
    loaded: Mutex<Loaded>,
}

#[derive(Default)]
struct Loaded {
    modules: HashMap<u64, usize>,
    functions: HashMap<u64, HashMap<String, Function>>,
    most_shared: HashMap<usize, u32>,
}

// SAFETY: the handles may be used from any thread once the context is current; every method makes it current first.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// Opens a GPU.
    ///
    /// # Errors
    /// The reason why the GPU cannot be used.
    pub fn open(ordinal: usize, precision: Precision) -> Result<Self, CudaError> {
        let (_, devices) = devices()?;
        let report = devices.get(ordinal).ok_or(CudaError::NoDevice)?;
        usable(report)?;
        let (compiler, known) = compile::compiler()?;
        let device = call("cuDeviceGet", driver::device::get(ordinal as i32))?;
        // SAFETY: the device comes from the driver; its context and all handles stay live until the process ends.
        unsafe {
            let context = call("cuDevicePrimaryCtxRetain", driver::primary_ctx::retain(device))?;
            call("cuCtxSetCurrent", driver::ctx::set_current(context))?;
            let stream = call("cuStreamCreate", driver::stream::create(driver::stream::StreamKind::NonBlocking))?;
            let processors = sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
            let processors = call("cuDeviceGetAttribute", driver::device::get_attribute(device, processors))?;
            Ok(Self {
                name: report.name.clone(),
                context,
                stream,
                blas: Blas::new(stream, precision)?,
                target: Target::choose(report.capability.0 * 10 + report.capability.1, &known),
                compiler,
                folder: compile::folder(),
                blocks: processors as u32 * 16,
                loaded: Mutex::default(),
            })
        }
    }

    /// Makes the context current in this thread.
    fn enter(&self) -> Result<(), CudaError> {
        // SAFETY: the context stays live until the process ends.
        call("cuCtxSetCurrent", unsafe { driver::ctx::set_current(self.context) })
    }

    fn load(&self, unit: &Unit<'_>) -> Result<usize, CudaError> {
        let source = compile::whole(unit);
        let key = Key::new(unit.name, &source, self.target, self.compiler);
        let mut code = compile::cached(self.folder.as_deref(), &key, || Ok(compile::compile(unit, self.target)?.0))?;
        code.push(0);
        // SAFETY: the code is a whole image, with the zero at its end that PTX text needs.
        let module = unsafe { call("cuModuleLoadData", driver::module::load_data(code.as_ptr().cast()))? };
        Ok(module as usize)
    }
}

impl Driver {
    /// Launches a kernel into the stream.
    ///
    /// # Safety
    /// As [`Runtime::run`].
    unsafe fn launch(&self, function: Function, grid: Grid, arguments: &Arguments) -> Result<(), CudaError> {
        let handle = function.0 as sys::CUfunction;
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let most = loaded.most_shared.entry(function.0).or_insert(USUAL_SHARED);
        // SAFETY: the function is loaded; the arguments are the caller's promise.
        unsafe {
            if grid.shared > *most {
                let attribute = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                call("cuFuncSetAttribute", driver::function::set_function_attribute(handle, attribute, grid.shared as i32))?;
                *most = grid.shared;
            }
            let (blocks, threads, pointers) = ((grid.x, grid.y, 1), (grid.threads, 1, 1), &mut arguments.pointers());
            call("cuLaunchKernel", driver::launch_kernel(handle, blocks, threads, grid.shared, self.stream, pointers))
        }
    }
}

impl Runtime for Driver {
    fn name(&self) -> &str {
        &self.name
    }
    fn most_blocks(&self) -> u32 {
        self.blocks
    }
    fn allocate(&self, bytes: usize) -> Result<u64, CudaError> {
        self.enter()?;
        // SAFETY: kernels read only memory that other kernels or copies have written.
        call("cuMemAlloc", unsafe { driver::malloc_sync(bytes) })
    }
    fn free(&self, addresses: &[u64]) {
        let _ = self.enter();
        // SAFETY: the stream is live, the addresses come from `allocate` and nobody uses them any more.
        unsafe {
            let _ = driver::stream::synchronize(self.stream);
            for &address in addresses {
                let _ = driver::free_sync(address);
            }
        }
    }
    fn memory(&self) -> (usize, usize) {
        let _ = self.enter();
        driver::mem_get_info().unwrap_or_default()
    }
    fn upload(&self, address: u64, bytes: &[u8]) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: the block holds at least `bytes`; for pageable memory the driver has copied `bytes` when the call returns.
        call("cuMemcpyHtoDAsync", unsafe { driver::memcpy_htod_async(address, bytes, self.stream) })
    }
    fn download(&self, address: u64, bytes: &mut [u8]) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: the block holds at least `bytes`, and the copy has ended when the stream is synchronized.
        unsafe {
            call("cuMemcpyDtoHAsync", driver::memcpy_dtoh_async(bytes, address, self.stream))?;
            call("cuStreamSynchronize", driver::stream::synchronize(self.stream))
        }
    }
    fn wait(&self) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: the stream is live.
        call("cuStreamSynchronize", unsafe { driver::stream::synchronize(self.stream) })
    }
    fn stream(&self) -> Result<usize, CudaError> {
        self.enter()?;
        Ok(self.stream as usize)
    }
    fn function(&self, unit: &Unit<'_>, kernel: &str) -> Result<Function, CudaError> {
        self.enter()?;
        let mut loaded = self.loaded.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let source = unit.hash;
        if let Some(function) = loaded.functions.get(&source).and_then(|of_unit| of_unit.get(kernel)) {
            return Ok(*function);
        }
        let module = match loaded.modules.get(&source) {
            Some(module) => *module,
            None => *loaded.modules.entry(source).or_insert(self.load(unit)?),
        };
        let name = CString::new(kernel).map_err(|error| CudaError::Call { call: "cuModuleGetFunction", error: error.to_string() })?;
        // SAFETY: the module stays loaded until the process ends.
        let function = unsafe { call("cuModuleGetFunction", driver::module::get_function(module as sys::CUmodule, name))? };
        loaded.functions.entry(source).or_default().insert(kernel.to_owned(), Function(function as usize));
        Ok(Function(function as usize))
    }
    fn adds_bias(&self, product: &Product) -> bool {
        self.enter().is_ok() && self.blas.plans_for(product)
    }
    unsafe fn run(&self, command: &Command) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: the caller's promise.
        unsafe {
            match command {
                Command::Launch(function, grid, arguments) => self.launch(*function, *grid, arguments),
                Command::Product(product) => self.blas.product(product),
                Command::Reuse(..) => Ok(()),
            }
        }
    }
    unsafe fn capture(&self, commands: &[Command]) -> Result<Graph, CudaError> {
        self.enter()?;
        // SAFETY: the stream is live; the commands are the caller's promise. The capture is ended even if a command fails.
        unsafe {
            let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED;
            call("cuStreamBeginCapture", driver::stream::begin_capture(self.stream, mode))?;
            let recorded = commands.iter().try_for_each(|command| self.run(command));
            let graph = call("cuStreamEndCapture", driver::stream::end_capture(self.stream));
            let made = recorded
                .and(graph.clone())
                .and_then(|graph| call("cuGraphInstantiate", driver::graph::instantiate(graph, sys::CUgraphInstantiate_flags(0))));
            if let Ok(graph) = graph {
                let _ = driver::graph::destroy(graph);
            }
            Ok(Graph(made? as usize))
        }
    }
    unsafe fn replay(&self, graph: Graph) -> Result<(), CudaError> {
        self.enter()?;
        // SAFETY: the caller's promise.
        call("cuGraphLaunch", unsafe { driver::graph::launch(graph.0 as sys::CUgraphExec, self.stream) })
    }
    fn forget(&self, graph: Graph) {
        let _ = self.enter();
        // SAFETY: the stream is live, and nobody replays the graph any more.
        unsafe {
            let _ = driver::stream::synchronize(self.stream);
            let _ = driver::graph::exec_destroy(graph.0 as sys::CUgraphExec);
        }
    }
}
