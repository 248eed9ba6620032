//! Gradients collected into buckets: messages that are large enough to be efficient and small enough to be sent early.

/// Number of bytes that fill a bucket.
pub const BUCKET_BYTES: usize = 25 << 20;

/// Items by the place of their parameter, released bucket by bucket in a fixed order. The backward pass reaches the last parameters first,
/// so buckets fill from the end.
pub struct Buckets<T> {
    /// The places of each bucket.
    plan: Vec<Vec<usize>>,
    items: Vec<Option<T>>,
    /// Index of the first bucket that was not released.
    next: usize,
}

impl<T> Buckets<T> {
    /// Makes buckets for parameters of these sizes in bytes.
    pub fn new(sizes: &[usize], bucket_bytes: usize) -> Self {
        let (mut plan, mut filled): (Vec<Vec<usize>>, usize) = (Vec::new(), bucket_bytes);
        for (place, size) in sizes.iter().enumerate().rev() {
            if filled >= bucket_bytes {
                plan.push(Vec::new());
                filled = 0;
            }
            filled += size;
            plan.last_mut().expect("a bucket").push(place);
        }
        Self { plan, items: sizes.iter().map(|_| None).collect(), next: 0 }
    }

    /// Adds an item and returns the buckets that it completes, each with its places.
    pub fn put(&mut self, place: usize, item: T) -> Vec<Vec<(usize, T)>> {
        self.items[place] = Some(item);
        let mut full = Vec::new();
        while self.plan.get(self.next).is_some_and(|places| places.iter().all(|&place| self.items[place].is_some())) {
            full.push(self.plan[self.next].iter().map(|&place| (place, self.items[place].take().expect("it is there"))).collect());
            self.next += 1;
        }
        full
    }

    /// Lists the places without an item in the buckets that were not released.
    pub fn missing(&self) -> Vec<usize> {
        let left = self.plan[self.next..].iter().flatten();
        left.copied().filter(|&place| self.items[place].is_none()).collect()
    }

    /// Starts again with the first bucket.
    pub fn reset(&mut self) {
        self.next = 0;
        self.items.iter_mut().for_each(|item| *item = None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_handed_out_in_order_as_soon_as_they_are_full() {
        let mut buckets = Buckets::new(&[10, 4, 4, 4], 8);
        assert!(buckets.put(3, 'd').is_empty());
        assert!(buckets.put(0, 'a').is_empty(), "the last bucket waits for the one before it");
        assert_eq!(buckets.put(2, 'c'), [vec![(3, 'd'), (2, 'c')]]);
        assert_eq!(buckets.missing(), [1]);
        assert_eq!(buckets.put(1, 'b'), [vec![(1, 'b'), (0, 'a')]]);
        assert!(buckets.missing().is_empty());
        buckets.reset();
        assert_eq!(buckets.missing(), [3, 2, 1, 0]);
        assert!(Buckets::<char>::new(&[], 8).missing().is_empty());
    }
}
