//! Reverse mode in 60 lines, for scalars, held to the engine.
//!
//! Notice what a tape is: a list of values, each with the values it was made from and the slope towards each of them. The walk back is
//! one loop. Now read `src/tape.rs` and `src/backward.rs`: they are this, for tensors.
//!
//! It prints:
//! ```text
//! a neuron of two inputs, tanh(w·x + b):
//!   value      here 0.7071067811865, the engine 0.7071067811865
//!   ∂/∂x1      here -1.500000000000, the engine -1.500000000000
//!   ∂/∂x2      here 0.5000000000000, the engine 0.5000000000000
//!   ∂/∂w1      here 1.0000000000000, the engine 1.0000000000000
//!   ∂/∂w2      here 0.0000000000000, the engine 0.0000000000000
//!   ∂/∂b       here 0.5000000000000, the engine 0.5000000000000
//! every number agrees within 1e-12
//! ```

use engine::{Cpu, Tensor};

/// What a value was made from, each with the slope of the value in it.
type Parents = Vec<(usize, f64)>;

/// The record: values in the order in which they were made.
#[derive(Default)]
struct Tape(Vec<(f64, Parents)>);

impl Tape {
    fn push(&mut self, value: f64, parents: Parents) -> usize {
        self.0.push((value, parents));
        self.0.len() - 1
    }
    fn leaf(&mut self, value: f64) -> usize {
        self.push(value, Parents::new())
    }
    fn add(&mut self, a: usize, b: usize) -> usize {
        self.push(self.0[a].0 + self.0[b].0, vec![(a, 1.0), (b, 1.0)])
    }
    fn mul(&mut self, a: usize, b: usize) -> usize {
        let (x, y) = (self.0[a].0, self.0[b].0);
        self.push(x * y, vec![(a, y), (b, x)])
    }
    fn tanh(&mut self, a: usize) -> usize {
        let y = self.0[a].0.tanh();
        self.push(y, vec![(a, 1.0 - y * y)])
    }

    /// The derivative of value `y` in every value. Each one is visited after all that was made from it, so its own derivative is whole.
    fn backward(&self, y: usize) -> Vec<f64> {
        let mut slopes = vec![0.0; self.0.len()];
        slopes[y] = 1.0;
        for place in (0..=y).rev() {
            for &(parent, slope) in &self.0[place].1 {
                slopes[parent] += slopes[place] * slope;
            }
        }
        slopes
    }
}

fn main() {
    let inputs = [("x1", 2.0), ("x2", 0.0), ("w1", -3.0), ("w2", 1.0), ("b", 6.0 + 0.5_f64.sqrt().atanh())];

    let mut tape = Tape::default();
    let [x1, x2, w1, w2, b] = inputs.map(|(_, value)| tape.leaf(value));
    let (first, second) = (tape.mul(x1, w1), tape.mul(x2, w2));
    let sum = tape.add(first, second);
    let sum = tape.add(sum, b);
    let y = tape.tanh(sum);
    let slopes = tape.backward(y);

    let cpu = Cpu::<f64>::new();
    let tensors = inputs.map(|(_, value)| Tensor::parameter(&cpu, &[value], &[]));
    let [x1, x2, w1, w2, b] = &tensors;
    let theirs = (x1 * w1 + x2 * w2 + b).tanh();
    let gradients = theirs.backward();

    println!("a neuron of two inputs, tanh(w·x + b):");
    let mut largest = 0.0_f64;
    let mut beside = |name: &str, here: f64, engine: f64| {
        let shown = |x: f64| format!("{x:.13}").chars().take(15).collect::<String>();
        println!("  {name:<10} here {}, the engine {}", shown(here), shown(engine));
        largest = largest.max((here - engine).abs());
    };
    beside("value", tape.0[y].0, theirs.item());
    for (place, (name, _)) in inputs.iter().enumerate() {
        beside(&format!("∂/∂{name}"), slopes[place], gradients.of(&tensors[place]).item());
    }
    assert!(largest < 1e-12, "the largest difference is {largest}");
    println!("every number agrees within 1e-12");
}
