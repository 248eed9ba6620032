//! The bookkeeping of the caching allocator: the free blocks of a device's memory, by size class.
//!
//! A freed block may be handed out again at once. This is safe because all work of a device goes through one stream: any kernel that still
//! reads the block was queued before any kernel that will write to it.
//!
//! The lowest free block is taken first. A step that allocates the same sizes as the step before then gets the same blocks, so its CUDA
//! graphs can be replayed.

use std::collections::{BTreeMap, BTreeSet};

/// The smallest block. The size of every block is a multiple of it.
const SMALLEST: usize = 512;

/// The free blocks, and how many bytes are held and used.
#[derive(Debug, Default)]
pub struct Cache {
    free: BTreeMap<usize, BTreeSet<u64>>,
    held: usize,
    used: usize,
    peak: usize,
}

/// Returns the size of the block for `bytes`. It is up to an eighth larger, so that a few sizes serve all requests.
pub fn size_class(bytes: usize) -> usize {
    let bytes = bytes.max(SMALLEST);
    let step = (bytes.next_power_of_two() / 16).max(SMALLEST);
    bytes.div_ceil(step) * step
}

impl Cache {
    /// Takes the lowest free block of a size class.
    pub fn take(&mut self, size: usize) -> Option<u64> {
        let block = self.free.get_mut(&size)?.pop_first()?;
        self.count_use(size);
        Some(block)
    }
    /// Counts a block that was newly allocated on the device.
    pub fn add(&mut self, size: usize) {
        self.held += size;
        self.count_use(size);
    }
    /// Takes back a block that is no longer used.
    pub fn give(&mut self, size: usize, block: u64) {
        self.used -= size;
        self.free.entry(size).or_default().insert(block);
    }
    /// Removes every free block, so that the caller can free it on the device.
    pub fn drain(&mut self) -> Vec<u64> {
        let free = std::mem::take(&mut self.free);
        self.held -= free.iter().map(|(size, blocks)| size * blocks.len()).sum::<usize>();
        free.into_values().flatten().collect()
    }
    /// The bytes in use.
    pub fn used(&self) -> usize {
        self.used
    }
    /// The bytes allocated on the device, in use or free.
    pub fn held(&self) -> usize {
        self.held
    }
    /// The most bytes that were ever in use at once.
    pub fn peak(&self) -> usize {
        self.peak
    }
    fn count_use(&mut self, size: usize) {
        self.used += size;
        self.peak = self.peak.max(self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_class_wastes_at_most_an_eighth_beyond_the_smallest_blocks() {
        for bytes in (1..200_000).step_by(37).chain([1 << 20, (1 << 20) + 1, 3_000_000_000]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(SMALLEST) && size_class(class) == class, "{bytes}: {class}");
            assert!(bytes < 8 * SMALLEST || class - bytes <= bytes / 8, "{bytes}: {class}");
        }
    }

    #[test]
    fn a_freed_block_serves_the_next_of_its_class_only() {
        let mut cache = Cache::default();
        assert_eq!(cache.take(1024), None);
        cache.add(1024);
        cache.give(1024, 7);
        assert_eq!((cache.used(), cache.held()), (0, 1024));
        assert_eq!(cache.take(2048), None);
        assert_eq!(cache.take(1024), Some(7));
        assert_eq!(cache.take(1024), None);
        assert_eq!((cache.used(), cache.peak()), (1024, 1024));
    }

    #[test]
    fn the_lowest_free_block_is_taken_in_whatever_order_they_were_freed() {
        let mut cache = Cache::default();
        for block in [9, 2, 5] {
            cache.add(512);
            cache.give(512, block);
        }
        assert_eq!([cache.take(512), cache.take(512), cache.take(512)], [Some(2), Some(5), Some(9)]);
    }

    #[test]
    fn drained_blocks_are_not_held_any_more() {
        let mut cache = Cache::default();
        cache.add(512);
        cache.add(1024);
        cache.give(512, 1);
        assert_eq!(cache.drain(), [1]);
        assert_eq!((cache.held(), cache.used()), (1024, 1024));
    }
}
