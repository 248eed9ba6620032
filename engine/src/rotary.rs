//! The angles of rotary position embedding: which features pair up, and the cosines and sines of positions.

use std::sync::{Arc, Mutex, PoisonError};

/// Which features of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// (2i, 2i + 1).
    Adjacent,
    /// (i, i + R/2), R being the number of rotated features.
    RotateHalf,
}

/// At most so many angles have their cosine and sine kept: 8 MiB.
const MOST_KEPT: usize = 1 << 19;

/// What positions are rotated by: their angles are a position's number times the frequencies. Cosines and sines are computed once for all
/// batches, where positions are small; clones share them.
#[derive(Clone)]
pub struct RotaryAngles {
    pub(crate) frequencies: Vec<f64>,
    pub(crate) pairing: Pairing,
    /// (cos φ, sin φ) of the positions from 0 on, each with all frequencies.
    kept: Arc<Mutex<Vec<[f64; 2]>>>,
}

impl RotaryAngles {
    /// With R/2 frequencies (radians a position); θ^{−2i/R} is the usual i-th.
    pub fn new(frequencies: Vec<f64>, pairing: Pairing) -> Self {
        Self { frequencies, pairing, kept: Arc::default() }
    }

    /// Of each position, with all frequencies. Those up to the last one are computed once each where they are no more than the batch's.
    pub(crate) fn of_positions(&self, positions: &[u32]) -> Vec<[f64; 2]> {
        let width = self.frequencies.len();
        let ends = positions.iter().max().map_or(0, |&last| last as usize + 1);
        let gathered = |rows: &[[f64; 2]]| {
            let row = |&position: &u32| &rows[position as usize * width..][..width];
            positions.iter().flat_map(row).copied().collect()
        };
        let rows = |from: usize| (from as u32..ends as u32).flat_map(|position| self.of_position(position));
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kept.len() / width.max(1);
        if ends * width <= MOST_KEPT && ends <= known + positions.len() {
            kept.extend(rows(known));
            gathered(&kept)
        } else if ends <= positions.len() {
            gathered(&rows(0).collect::<Vec<_>>())
        } else {
            positions.iter().flat_map(|&position| self.of_position(position)).collect()
        }
    }

    fn of_position(&self, position: u32) -> impl Iterator<Item = [f64; 2]> {
        self.frequencies.iter().map(move |frequency| {
            let (sin, cos) = (f64::from(position) * frequency).sin_cos();
            [cos, sin]
        })
    }
}
