//! The system's allocator with large blocks at the start of a line of the cache, so that a vector of a row lies in one line, not in two.

use std::alloc::{GlobalAlloc, Layout, System};

/// Blocks of fewer bytes are left as they come.
const LARGE: usize = 1 << 10;
/// Bytes of a line of the cache.
const LINE: usize = 64;

/// A global allocator for programs that compute: products and loops over rows read numbers a vector at a time, and a vector of AVX-512 is a
/// line. Large blocks of zeros are written, and large blocks that grow are copied, where the system's allocator might do without.
///
/// ```
/// #[global_allocator]
/// static ALLOCATOR: engine::CacheAligned = engine::CacheAligned;
///
/// let numbers = vec![0.0f32; 1000];
/// assert!(numbers.as_ptr().addr().is_multiple_of(64));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct CacheAligned;

/// The layout that the system is asked for.
fn aligned(layout: Layout) -> Layout {
    if layout.size() < LARGE {
        return layout;
    }
    // A size that cannot be rounded up to the alignment is one that no system has: it is asked for as it is, and refused.
    layout.align_to(LINE).unwrap_or(layout)
}

// SAFETY: every call goes to the system's allocator, with a layout that depends on the block's own alone.
unsafe impl GlobalAlloc for CacheAligned {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc(aligned(layout)) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { System.alloc_zeroed(aligned(layout)) }
    }
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block was allocated with this layout.
        unsafe { System.dealloc(block, aligned(layout)) }
    }
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller promises that the size is valid for the alignment.
        let new = unsafe { Layout::from_size_align_unchecked(size, layout.align()) };
        if aligned(layout).align() == aligned(new).align() {
            // SAFETY: the block was allocated with this layout, and the new one has the same alignment.
            return unsafe { System.realloc(block, aligned(layout), size) };
        }
        // SAFETY: the new block is at least as large as what is copied, and the old one was allocated with its layout.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                std::ptr::copy_nonoverlapping(block, to, layout.size().min(size));
                self.dealloc(block, layout);
            }
            to
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_their_bytes_as_they_grow_and_shrink_over_the_threshold() {
        let layout = |size| Layout::from_size_align(size, 4).unwrap();
        // SAFETY: every block is used within its size, and given back with its last layout.
        unsafe {
            let mut block = CacheAligned.alloc(layout(100));
            (0..100).for_each(|i| *block.add(i) = i as u8);
            let mut size = 100;
            for next in [900, 5000, 100_000, 2000, 120] {
                block = CacheAligned.realloc(block, layout(size), next);
                size = next;
                assert!((0..100).all(|i| *block.add(i) == i as u8), "{next} bytes");
                assert!(size < LARGE || block.addr().is_multiple_of(LINE), "{next} bytes");
            }
            CacheAligned.dealloc(block, layout(size));
            let zeros = CacheAligned.alloc_zeroed(layout(3000));
            assert!(zeros.addr().is_multiple_of(LINE) && (0..3000).all(|i| *zeros.add(i) == 0));
            CacheAligned.dealloc(zeros, layout(3000));
        }
    }
}
