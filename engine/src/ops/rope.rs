//! Rotary position embedding (Su et al. 2021): pairs of features turn by an angle that grows with the position.
//!
//! forward  (yₐ, y_b) = (xₐ cos φ − x_b sin φ, x_b cos φ + xₐ sin φ), φ = position·frequency of the pair
//! vjp      the same rotation by −φ
//!
//! Which features pair up: neighbours (2i, 2i + 1), as in the paper and Meta's checkpoints, or halves (i, i + R/2), as in Hugging Face's.
//! Features past the first R of a head are left as they are.
#![doc = include_str!("../explain/text/rope.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;
use crate::rotary::{Pairing, RotaryAngles};

impl RotaryAngles {
    /// The table of N positions: cosines and sines [N, R/2].
    pub fn table<B: Backend>(&self, backend: &B, positions: &[u32]) -> RotaryTable<B> {
        let width = self.frequencies.len();
        let of_batch = self.of_positions(positions);
        let array = |f: fn(&[f64; 2]) -> f64| {
            backend.from_vec(of_batch.iter().map(|angle| B::Scalar::from_f64(f(angle))).collect(), &[positions.len(), width])
        };
        RotaryTable { cos: array(|[cos, _]| *cos), sin: array(|[_, sin]| *sin), minus_sin: array(|[_, sin]| -sin), pairing: self.pairing }
    }
}

/// The cosines and sines of a batch's positions, shared by all layers.
#[derive(Clone)]
pub struct RotaryTable<B: Backend> {
    cos: B::Array,
    sin: B::Array,
    /// The sines of −φ.
    minus_sin: B::Array,
    pairing: Pairing,
}

impl<B: Backend> RotaryTable<B> {
    /// [`RotaryAngles::table`] of N positions and R/2 frequencies for a batch alone.
    pub fn new(backend: &B, positions: &[u32], frequencies: &[f64], pairing: Pairing) -> Self {
        RotaryAngles::new(frequencies.to_vec(), pairing).table(backend, positions)
    }
}

struct Rope<B: Backend> {
    table: RotaryTable<B>,
}

impl<B: Backend> Operation<B> for Rope<B> {
    fn name(&self) -> &'static str {
        "rope"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        vec![Some(backend.rope(y_bar, &self.table.cos, &self.table.minus_sin, self.table.pairing))]
    }
}

impl<B: Backend> Tensor<B> {
    /// Rotates the heads of x [N, H, D] by the angles of each token's position.
    ///
    /// # Panics
    /// If the tensor has not three axes, the table has another number of positions, or more features than D.
    #[track_caller]
    pub fn rope(&self, table: &RotaryTable<B>) -> Self {
        self.clone().into_rope(table)
    }

    /// [`Tensor::rope`] in the tensor's own storage, where nothing else shares that.
    ///
    /// # Panics
    /// As there.
    #[track_caller]
    pub fn into_rope(self, table: &RotaryTable<B>) -> Self {
        let angles = self.backend.shape(&table.cos);
        let fits = self.rank() == 3 && self.shape()[0] == angles[0] && 2 * angles[1] <= self.shape()[2];
        assert!(fits, "rope: {:?} with a table of {} positions and {} pairs", self.shape(), angles[0], angles[1]);
        let rotate = |backend: &B, x: B::Array| backend.rope(x, &table.cos, &table.sin, table.pairing);
        self.record_into(&[], rotate, || Rope { table: table.clone() })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [n, heads, pairs] = [draw.extent(), draw.extent(), draw.extent()];
    let width = 2 * pairs + draw.below(3);
    let positions: Vec<u32> = (0..n).map(|_| draw.below(5000) as u32).collect();
    let frequencies: Vec<f64> = (0..pairs).map(|i| 10000f64.powf(-(i as f64) / pairs as f64)).collect();
    let pairing = if draw.coin() { Pairing::Adjacent } else { Pairing::RotateHalf };
    let (twin_positions, twin_frequencies) = (positions.clone(), frequencies.clone());
    Sample::new(
        function!(|x; positions: Vec<u32>, frequencies: Vec<f64>, pairing: Pairing| {
            x[0].rope(&RotaryTable::new(x[0].backend(), positions, frequencies, *pairing))
        }),
        [draw.normal(&[n, heads, width])],
    )
    .with_twin(function!(|x; twin_positions: Vec<u32>, twin_frequencies: Vec<f64>, pairing: Pairing| {
        composed(&x[0], &RotaryTable::new(x[0].backend(), twin_positions, twin_frequencies, *pairing))
    }))
}

/// Rotation as a composition of recorded ops, whose gradient the tape derives: what the fused one is held to.
fn composed<B: Backend>(x: &Tensor<B>, table: &RotaryTable<B>) -> Tensor<B> {
    let [n, heads, width] = x.shape().try_into().expect("three axes");
    let half = x.backend().shape(&table.cos)[1];
    let [cos, sin] = [&table.cos, &table.sin].map(|part| Tensor::from_array(x.backend(), part.clone()).reshape(&[n, 1, half]));
    let (pair_shape, pair_axis) = match table.pairing {
        Pairing::Adjacent => ([n, heads, half, 2], 3),
        Pairing::RotateHalf => ([n, heads, 2, half], 2),
    };
    let pairs = x.slice(2, 0, 2 * half).reshape(&pair_shape);
    let [a, b] = [0, 1].map(|i| pairs.slice(pair_axis, i, i + 1).reshape(&[n, heads, half]));
    let part_shape = with_axis(&pair_shape, pair_axis, 1);
    let turned = [a.mul(&cos).sub(&b.mul(&sin)), b.mul(&cos).add(&a.mul(&sin))].map(|part| part.reshape(&part_shape));
    let joined = Tensor::concat(&[&turned[0], &turned[1]], pair_axis).reshape(&[n, heads, 2 * half]);
    Tensor::concat(&[&joined, &x.slice(2, 2 * half, width)], 2)
}
