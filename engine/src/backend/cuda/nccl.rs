//! Sums over the GPUs of several processes by NCCL, which is loaded at run time.
//!
//! Sums run in a stream of their own, beside the kernels. A sum begins when everything launched before it has run. Kernels launched after
//! [`Nccl::finish`] run when all sums have ended. The arrays of a sum are held until then, so their memory is not handed out again too
//! early.
//!
//! The declarations are those of nccl.h, unchanged since NCCL 2.0.

use super::array::CudaArray;
use super::context::Cuda;
use super::error::{CudaError, call};
use super::runtime::Storage;
use cudarc::driver::{result as driver, sys};
use libloading::Library;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::OnceLock;

/// The name of a group of processes. One process creates it and sends it to the others.
pub type UniqueId = [u8; 128];

/// `ncclUniqueId`, which is passed by value.
#[repr(C)]
#[derive(Clone, Copy)]
struct Id(UniqueId);

/// `ncclFloat32` and `ncclSum`.
const FLOAT32: c_int = 7;
const SUM: c_int = 0;

type Code = c_int;
type Communicator = *mut c_void;

/// The functions of NCCL that are used, and the library that contains them.
struct Functions {
    get_unique_id: unsafe extern "C" fn(*mut Id) -> Code,
    init_rank: unsafe extern "C" fn(*mut Communicator, c_int, Id, c_int) -> Code,
    all_reduce: unsafe extern "C" fn(*const c_void, *mut c_void, usize, c_int, c_int, Communicator, sys::CUstream) -> Code,
    group_start: unsafe extern "C" fn() -> Code,
    group_end: unsafe extern "C" fn() -> Code,
    abort: unsafe extern "C" fn(Communicator) -> Code,
    error_string: unsafe extern "C" fn(Code) -> *const c_char,
    _library: Library,
}

impl Functions {
    fn load() -> Option<Self> {
        // SAFETY: NCCL's initialisers have no conditions, and the types are those of nccl.h.
        unsafe {
            let library = ["libnccl.so.2", "libnccl.so"].into_iter().find_map(|name| Library::new(name).ok())?;
            Some(Self {
                get_unique_id: *library.get(b"ncclGetUniqueId\0").ok()?,
                init_rank: *library.get(b"ncclCommInitRank\0").ok()?,
                all_reduce: *library.get(b"ncclAllReduce\0").ok()?,
                group_start: *library.get(b"ncclGroupStart\0").ok()?,
                group_end: *library.get(b"ncclGroupEnd\0").ok()?,
                abort: *library.get(b"ncclCommAbort\0").ok()?,
                error_string: *library.get(b"ncclGetErrorString\0").ok()?,
                _library: library,
            })
        }
    }

    fn get() -> Result<&'static Self, CudaError> {
        static FUNCTIONS: OnceLock<Option<Functions>> = OnceLock::new();
        FUNCTIONS.get_or_init(Self::load).as_ref().ok_or(CudaError::NoNccl)
    }

    /// Turns the code of a failed call into an error.
    fn check(&self, call: &'static str, code: Code) -> Result<(), CudaError> {
        if code == 0 {
            return Ok(());
        }
        // SAFETY: NCCL returns a static text for every code.
        let text = unsafe { CStr::from_ptr((self.error_string)(code)) };
        Err(CudaError::Call { call, error: text.to_string_lossy().into_owned() })
    }
}

/// This process's membership in a group. Addresses are kept as numbers, because a thread other than the creator may use them.
pub struct Nccl {
    cuda: Cuda,
    communicator: usize,
    stream: usize,
    /// Recorded before a sum may begin, and after all sums have ended.
    events: [usize; 2],
    /// The arrays of sums that may still be running.
    held: Vec<CudaArray>,
}

impl Nccl {
    /// Creates the name of a new group.
    ///
    /// # Errors
    /// [`CudaError::NoNccl`], [`CudaError::Call`].
    pub fn unique_id() -> Result<UniqueId, CudaError> {
        let (functions, mut id) = (Functions::get()?, Id([0; 128]));
        // SAFETY: the pointer is to a live id.
        functions.check("ncclGetUniqueId", unsafe { (functions.get_unique_id)(&mut id) })?;
        Ok(id.0)
    }

    /// Joins the group as number `rank` of `size`, and waits for the other processes.
    ///
    /// # Errors
    /// [`CudaError::NoNccl`], [`CudaError::Call`].
    pub fn join(cuda: &Cuda, id: &UniqueId, rank: usize, size: usize) -> Result<Self, CudaError> {
        let functions = Functions::get()?;
        cuda.0.runtime.settled()?.stream()?;
        let mut communicator: Communicator = std::ptr::null_mut();
        // SAFETY: the pointer is to a live communicator, and the device's context is current.
        let code = unsafe { (functions.init_rank)(&mut communicator, size as c_int, Id(*id), rank as c_int) };
        functions.check("ncclCommInitRank", code)?;
        let stream = call("cuStreamCreate", driver::stream::create(driver::stream::StreamKind::NonBlocking))?;
        let event = || call("cuEventCreate", driver::event::create(sys::CUevent_flags::CU_EVENT_DISABLE_TIMING));
        let events = [event()? as usize, event()? as usize];
        Ok(Self { cuda: cuda.clone(), communicator: communicator as usize, stream: stream as usize, events, held: Vec::new() })
    }

    /// Starts to sum arrays over the group in f32, element by element. Every process passes equally many arrays, of the same shapes. The
    /// returned arrays hold the sums once [`Nccl::finish`] has been called.
    ///
    /// # Errors
    /// [`CudaError::Call`].
    pub fn begin_sum(&mut self, arrays: Vec<CudaArray>) -> Result<Vec<CudaArray>, CudaError> {
        let functions = Functions::get()?;
        let mut pairs: Vec<(CudaArray, CudaArray)> = Vec::with_capacity(arrays.len());
        for mut array in arrays {
            let in_place = array.is_sole_owner() && array.storage() == Storage::F32;
            let sum = if in_place { array.clone() } else { self.cuda.empty(array.shape()) };
            pairs.push((self.cuda.contiguous(&array), sum));
        }
        let settled = self.cuda.0.runtime.settled()?;
        order(self.events[0], settled.stream()?, self.stream)?;
        let (stream, communicator) = (self.stream as sys::CUstream, self.communicator as Communicator);
        // SAFETY: the arrays are contiguous, have these lengths, and live until `finish`; the handles are live.
        unsafe {
            functions.check("ncclGroupStart", (functions.group_start)())?;
            for (input, sum) in pairs.iter().filter(|(input, _)| input.len() > 0) {
                let (from, to) = (input.address() as *const c_void, sum.address() as *mut c_void);
                let code = (functions.all_reduce)(from, to, input.len(), FLOAT32, SUM, communicator, stream);
                functions.check("ncclAllReduce", code)?;
            }
            functions.check("ncclGroupEnd", (functions.group_end)())?;
        }
        let (inputs, sums): (Vec<CudaArray>, Vec<CudaArray>) = pairs.into_iter().unzip();
        self.held.extend(inputs.into_iter().chain(sums.iter().cloned()));
        Ok(sums)
    }

    /// Makes everything launched from here on wait for all sums that were started. The host does not wait.
    ///
    /// # Errors
    /// [`CudaError::Call`].
    pub fn finish(&mut self) -> Result<(), CudaError> {
        let settled = self.cuda.0.runtime.settled()?;
        order(self.events[1], self.stream, settled.stream()?)?;
        drop(settled);
        self.held.clear();
        Ok(())
    }
}

/// Makes later work in stream `after` wait for the work already in stream `before`, by means of `event`.
fn order(event: usize, before: usize, after: usize) -> Result<(), CudaError> {
    let event = event as sys::CUevent;
    // SAFETY: the event and the streams stay live until the process ends.
    unsafe {
        call("cuEventRecord", driver::event::record(event, before as sys::CUstream))?;
        let flags = sys::CUevent_wait_flags::CU_EVENT_WAIT_DEFAULT;
        call("cuStreamWaitEvent", driver::stream::wait_event(after as sys::CUstream, event, flags))
    }
}

/// Leaves the group without waiting for other processes, which may have died. A process that leaves in order has waited for its sums
/// before.
impl Drop for Nccl {
    fn drop(&mut self) {
        if let Ok(functions) = Functions::get() {
            // SAFETY: the communicator is live, and nobody uses it after this.
            unsafe { (functions.abort)(self.communicator as Communicator) };
        }
    }
}
