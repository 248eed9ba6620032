//! Recycled buffers: a training step frees and asks for the same sizes again and again, so they are kept instead of returned to the system.
//!
//! What is kept is bounded by what was needed:
//! * Of each length, no more buffers are kept than were taken. A buffer that others allocated is freed.
//! * Of all lengths together, at most twice what was in use at once. Where sequences of ever new lengths are trained on, the buffers of the
//!   length that was not asked for the longest are freed first.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Buffers of fewer elements are not kept: the allocator is quick with them.
const SMALLEST: usize = 1 << 10;
/// The most bytes that are kept for one element type, whatever was in use.
const MOST_BYTES: usize = 4 << 30;
/// The bytes that may be kept, however little was in use.
const FEWEST_BYTES: usize = 16 << 20;

/// The beginning of the message of a panic for want of memory.
pub const OUT_OF_MEMORY: &str = "out of memory";

/// A new buffer. Panics for want of memory, where the allocator would end the process without a word of what to do.
fn allocate<T: Copy + Default>(len: usize) -> Vec<T> {
    let mut buffer = Vec::new();
    if buffer.try_reserve_exact(len).is_err() {
        panic!("{OUT_OF_MEMORY}: {:.1} MiB more cannot be had", (len * size_of::<T>()) as f64 / f64::from(1 << 20));
    }
    buffer.resize(len, T::default());
    buffer
}

/// The free buffers of one element type, by length.
pub struct BufferPool<T> {
    shelves: Mutex<Shelves<T>>,
}

/// The buffers of one length.
struct Shelf<T> {
    free: Vec<Vec<T>>,
    /// Buffers that were taken and have not come back.
    taken: usize,
    /// The tick when a buffer was last asked for.
    last_asked: u64,
}

struct Shelves<T> {
    by_length: HashMap<usize, Shelf<T>>,
    /// Counts the buffers that are asked for.
    tick: u64,
    free_bytes: usize,
    taken_bytes: usize,
    most_taken_bytes: usize,
}

impl<T: Copy + Default> BufferPool<T> {
    /// An empty pool.
    pub fn new() -> Self {
        let shelves = Shelves { by_length: HashMap::new(), tick: 0, free_bytes: 0, taken_bytes: 0, most_taken_bytes: 0 };
        Self { shelves: Mutex::new(shelves) }
    }

    /// A buffer of `len` elements with unspecified contents.
    ///
    /// # Panics
    /// If the system has no memory for it: the message begins with [`OUT_OF_MEMORY`].
    pub fn take(&self, len: usize) -> Vec<T> {
        let found = if len >= SMALLEST { self.lock().take(len) } else { None };
        found.unwrap_or_else(|| allocate(len))
    }

    /// Takes a buffer back.
    pub fn give(&self, buffer: Vec<T>) {
        if buffer.len() >= SMALLEST {
            self.lock().give(buffer);
        }
    }

    /// Bytes of the buffers that are kept.
    #[cfg(test)]
    pub fn free_bytes(&self) -> usize {
        self.lock().free_bytes
    }

    fn lock(&self) -> MutexGuard<'_, Shelves<T>> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Shelves<T> {
    fn take(&mut self, len: usize) -> Option<Vec<T>> {
        self.tick += 1;
        let bytes = len * size_of::<T>();
        let shelf = self.by_length.entry(len).or_insert_with(|| Shelf { free: Vec::new(), taken: 0, last_asked: 0 });
        shelf.last_asked = self.tick;
        shelf.taken += 1;
        self.taken_bytes += bytes;
        self.most_taken_bytes = self.most_taken_bytes.max(self.taken_bytes);
        let found = shelf.free.pop();
        self.free_bytes -= if found.is_some() { bytes } else { 0 };
        found
    }

    fn give(&mut self, buffer: Vec<T>) {
        let bytes = buffer.len() * size_of::<T>();
        let Some(shelf) = self.by_length.get_mut(&buffer.len()).filter(|shelf| shelf.taken > 0) else { return };
        shelf.taken -= 1;
        shelf.free.push(buffer);
        self.taken_bytes -= bytes;
        self.free_bytes += bytes;
        while self.free_bytes > (2 * self.most_taken_bytes).clamp(FEWEST_BYTES, MOST_BYTES) {
            self.free_longest_unasked();
        }
    }

    /// Frees the buffers of the length that was not asked for the longest.
    fn free_longest_unasked(&mut self) {
        let kept = self.by_length.iter().filter(|(_, shelf)| !shelf.free.is_empty());
        let Some(len) = kept.min_by_key(|(_, shelf)| shelf.last_asked).map(|(len, _)| *len) else { return };
        let Some(shelf) = self.by_length.get_mut(&len) else { return };
        self.free_bytes -= shelf.free.len() * len * size_of::<T>();
        shelf.free.clear();
        if shelf.taken == 0 {
            self.by_length.remove(&len);
        }
    }
}

static F32: LazyLock<BufferPool<f32>> = LazyLock::new(BufferPool::new);
static F64: LazyLock<BufferPool<f64>> = LazyLock::new(BufferPool::new);

/// An element type with a pool of its own.
pub trait Pooled: Sized + 'static {
    /// The pool of the type.
    fn pool() -> &'static BufferPool<Self>;
}
impl Pooled for f32 {
    fn pool() -> &'static BufferPool<Self> {
        &F32
    }
}
impl Pooled for f64 {
    fn pool() -> &'static BufferPool<Self> {
        &F64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_that_comes_back_is_the_next_one_of_its_length() {
        let pool = BufferPool::<f32>::new();
        let first = pool.take(2000);
        let place = first.as_ptr();
        pool.give(first);
        let second = pool.take(2000);
        assert_eq!(second.as_ptr(), place);
        assert_eq!(pool.free_bytes(), 0);
    }

    #[test]
    fn buffers_that_were_not_taken_do_not_pile_up() {
        let pool = BufferPool::<f32>::new();
        for _ in 0..100 {
            let taken = pool.take(4096);
            pool.give(vec![0.0; 4096]);
            pool.give(vec![0.0; 5000]);
            pool.give(taken);
        }
        assert_eq!(pool.free_bytes(), 4 * 4096);
    }

    #[test]
    fn ever_new_lengths_keep_twice_what_was_in_use_at_once_and_the_newest_of_them() {
        let pool = BufferPool::<f32>::new();
        let mebibyte = 1 << 18;
        for extra in 0..200 {
            let both = [pool.take(10 * mebibyte + extra), pool.take(10 * mebibyte + 500 + extra)];
            both.into_iter().for_each(|buffer| pool.give(buffer));
            assert!(pool.free_bytes() <= 41 << 20, "{} bytes are kept", pool.free_bytes());
        }
        assert!(pool.free_bytes() >= 20 << 20);
        let newest = pool.take(10 * mebibyte + 199);
        assert!(pool.lock().by_length.len() <= 4, "lengths that went are forgotten");
        assert_eq!(newest.len(), 10 * mebibyte + 199);
    }
}
