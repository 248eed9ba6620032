//! A network of two layers learns where a ring ends: points within a distance of 1 from the centre are 1, others 0.
//!
//! It prints:
//! ```text
//! step   0: loss 0.7774
//! step 250: loss 0.…
//! step 500: loss 0.…
//! 39… of 400 new points are told rightly
//! ```

use engine::{Cpu, Generator, Tensor};

const HIDDEN: usize = 16;
const POINTS: usize = 400;

type Array = Tensor<Cpu<f32>>;

/// Points of the square from −2 to 2, with 1 for those inside the ring.
fn points(cpu: &Cpu<f32>, generator: &mut Generator) -> (Array, Array) {
    let x: Vec<f64> = (0..2 * POINTS).map(|_| 4.0 * generator.uniform() - 2.0).collect();
    let inside = |point: &[f64]| f64::from(u8::from(point[0] * point[0] + point[1] * point[1] < 1.0));
    let labels: Vec<f64> = x.chunks(2).map(inside).collect();
    (Tensor::constant(cpu, &x, &[POINTS, 2]), Tensor::constant(cpu, &labels, &[POINTS, 1]))
}

/// z = tanh(x·W₁ᵀ + b₁)·W₂ᵀ + b₂: above 0 where the network says "inside".
fn network(x: &Array, [w1, b1, w2, b2]: &[Array; 4]) -> Array {
    x.linear(w1, Some(b1)).tanh().linear(w2, Some(b2))
}

/// −ln σ(z) for points inside, −ln(1 − σ(z)) = z − ln σ(z) for the others; the mean over the points.
fn loss(z: &Array, labels: &Array) -> Array {
    ((1.0 - labels) * z - z.log_sigmoid()).mean_all()
}

fn main() {
    let cpu = Cpu::<f32>::new();
    let mut generator = Generator::new(3);
    let mut random = |shape: &[usize], size: f64| {
        let data: Vec<f64> = (0..shape.iter().product()).map(|_| size * generator.normal()).collect();
        Tensor::parameter(&cpu, &data, shape)
    };
    let mut parameters = [random(&[HIDDEN, 2], 1.0), random(&[HIDDEN], 0.1), random(&[1, HIDDEN], 0.25), random(&[1], 0.0)];
    let mut generator = Generator::new(4);
    let (x, labels) = points(&cpu, &mut generator);
    for step in 0..=500 {
        let loss = loss(&network(&x, &parameters), &labels);
        let gradients = loss.backward();
        if step % 250 == 0 {
            println!("step {step:>3}: loss {:.4}", loss.item());
        }
        // Gradient descent: each parameter moves against its gradient. The moved value is a new parameter, with no past.
        parameters = parameters.map(|parameter| (&parameter - gradients.of(&parameter) * 0.5).to_parameter());
    }
    let (x, labels) = points(&cpu, &mut generator);
    let right = network(&x, &parameters).to_f64().iter().zip(labels.to_f64()).filter(|(z, label)| (**z > 0.0) == (*label == 1.0)).count();
    println!("{right} of {POINTS} new points are told rightly");
    assert!(right > 370);
}
