//! A derivative and its tape. Read this first.
//!
//! y = x·tanh(x) + x² at x = 1.5. The engine records each op on the way forward. `backward` walks the record from the end to the start
//! and multiplies by the chain rule.
//!
//! It prints:
//! ```text
//! the record, each value with the numbers of those it was made from:
//!   0 parameter []
//!   1 tanh [0]
//!   2 mul [0, 1]
//!   3 mul [0, 0]
//!   4 add [2, 3]
//! the walk back: the slope of y = 3.607722 in each value, the last one first
//!   y           1.000000
//!   x·x         1.000000
//!   x·t         1.000000
//!   t = tanh x  1.500000
//!   x           4.176208
//! dy/dx by hand: t + x(1 − t²) + 2x = 4.176208
//! ```

use engine::{Cpu, Tensor};

fn main() {
    let cpu = Cpu::<f64>::new();
    let x = Tensor::parameter(&cpu, &[1.5], &[]);
    let t = x.tanh();
    let (product, square) = (&x * &t, &x * &x);
    let y = &product + &square;

    println!("the record, each value with the numbers of those it was made from:");
    let graph = y.graph();
    // Numbers are unique in the whole program. Here they are counted from the first value.
    let number = |id: u64| id - graph[0].id;
    for node in &graph {
        let parents: Vec<u64> = node.parents.iter().map(|&id| number(id)).collect();
        println!("  {} {} {parents:?}", number(node.id), node.op);
    }

    // `backward` keeps the slopes in parameters only; this one keeps those in every value on the way.
    let gradients = y.backward_keeping_all();
    println!("the walk back: the slope of y = {:.6} in each value, the last one first", y.item());
    for (name, value) in [("y", &y), ("x·x", &square), ("x·t", &product), ("t = tanh x", &t), ("x", &x)] {
        println!("  {name:<11} {:.6}", gradients.of(value).item());
    }

    let (x, t) = (1.5, 1.5_f64.tanh());
    println!("dy/dx by hand: t + x(1 − t²) + 2x = {:.6}", t + x * (1.0 - t * t) + 2.0 * x);
}
