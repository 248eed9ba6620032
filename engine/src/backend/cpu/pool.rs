//! Recycled buffers: a training step frees and asks for the same sizes again and again, so they are kept instead of returned to the system.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

/// Buffers smaller than this go to the allocator, which is quick with them.
const SMALLEST: usize = 1 << 10;
/// At most this many bytes are kept for one element type.
const MOST_BYTES: usize = 4 << 30;

/// Free buffers by length.
pub struct Pool<T> {
    free: Mutex<Free<T>>,
}

struct Free<T> {
    by_length: HashMap<usize, Vec<Vec<T>>>,
    bytes: usize,
}

impl<T: Copy + Default> Pool<T> {
    fn new() -> Self {
        Self { free: Mutex::new(Free { by_length: HashMap::new(), bytes: 0 }) }
    }

    /// A buffer of `len` elements with unspecified contents.
    pub fn take(&self, len: usize) -> Vec<T> {
        if len >= SMALLEST {
            let mut free = self.lock();
            if let Some(buffer) = free.by_length.get_mut(&len).and_then(Vec::pop) {
                free.bytes -= len * size_of::<T>();
                return buffer;
            }
        }
        vec![T::default(); len]
    }

    /// Gives a buffer back.
    pub fn give(&self, buffer: Vec<T>) {
        let (len, bytes) = (buffer.len(), buffer.len() * size_of::<T>());
        let mut free = self.lock();
        if len >= SMALLEST && free.bytes + bytes <= MOST_BYTES {
            free.bytes += bytes;
            free.by_length.entry(len).or_default().push(buffer);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Free<T>> {
        self.free.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

static F32: LazyLock<Pool<f32>> = LazyLock::new(Pool::new);
static F64: LazyLock<Pool<f64>> = LazyLock::new(Pool::new);

/// An element type with a pool of its own.
pub trait Pooled: Sized + 'static {
    /// The pool of the type.
    fn pool() -> &'static Pool<Self>;
}
impl Pooled for f32 {
    fn pool() -> &'static Pool<Self> {
        &F32
    }
}
impl Pooled for f64 {
    fn pool() -> &'static Pool<Self> {
        &F64
    }
}
