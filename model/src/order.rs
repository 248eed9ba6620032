//! The order in which rows are visited: epoch after epoch, each in a random order of its own.

use engine::Generator;

/// The rows of each step, as a function of the seed and the step alone, so that a run can continue from any step.
pub struct Order {
    generator: Generator,
    rows: usize,
    batch: usize,
    /// The epoch whose order is cached.
    epoch: Option<(u64, Vec<usize>)>,
}

impl Order {
    /// Makes an order of `rows` rows in batches of `batch`.
    ///
    /// # Panics
    /// If there are no rows.
    pub fn new(seed: u64, rows: usize, batch: usize) -> Self {
        assert!(rows > 0, "order: no rows");
        Self { generator: Generator::new(seed).stream(0x006F_7264_6572), rows, batch, epoch: None }
    }

    /// Returns the rows of step `step`, counted from 1. An epoch's last rows and the next one's first may share a batch.
    pub fn rows_of(&mut self, step: u64) -> Vec<usize> {
        let first = (step - 1) * self.batch as u64;
        (first..first + self.batch as u64).map(|position| self.row(position)).collect()
    }

    fn row(&mut self, position: u64) -> usize {
        let (epoch, index) = (position / self.rows as u64, (position % self.rows as u64) as usize);
        if self.epoch.as_ref().is_none_or(|(current, _)| *current != epoch) {
            self.epoch = Some((epoch, self.generator.stream(epoch).permutation(self.rows)));
        }
        self.epoch.as_ref().map_or(0, |(_, order)| order[index])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_comes_once_an_epoch_and_any_step_can_be_reached_at_once() {
        let mut order = Order::new(3, 10, 4);
        let all: Vec<usize> = (1..=5).flat_map(|step| order.rows_of(step)).collect();
        for epoch in all.chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(all[..10], all[10..], "each epoch has an order of its own");
        assert_eq!(Order::new(3, 10, 4).rows_of(5), all[16..]);
    }
}
