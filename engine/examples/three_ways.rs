//! One gradient three ways, and a second derivative without a second pass through formulas.
//!
//! The function is f(x) = ln Σ e^{xᵢ}, whose gradient is softmax(x). One source runs in three numeric worlds, because it is generic over
//! the backend.
//!
//! It prints:
//! ```text
//! ∂f/∂x₀ of ln Σ e^x at (0.5, −1, 2):
//!   reverse mode          0.175290392140
//!   central differences   0.17529039…
//!   dual numbers          0.175290392140
//!   softmax, by hand      0.175290392140
//! H·u along u = (1, 0, −1), by duals under the reverse pass:
//!   here                  [0.28227128, 0.02387066, -0.30614195]
//!   (diag p − p·pᵀ)·u     [0.28227128, 0.02387066, -0.30614195]
//! ```

use engine::{Backend, Cpu, Dual, Tensor};

const X: [f64; 3] = [0.5, -1.0, 2.0];
const U: [f64; 3] = [1.0, 0.0, -1.0];

fn f<B: Backend>(x: &Tensor<B>) -> Tensor<B> {
    x.exp().sum_all().ln()
}

fn main() {
    // Reverse mode: one walk back gives the slopes in all inputs.
    let cpu = Cpu::<f64>::new();
    let x = Tensor::parameter(&cpu, &X, &[3]);
    let reverse = f(&x).backward().of(&x).to_f64()[0];

    // Central differences: two values for one slope, with an error of h² from the curve and of 1e-16/h from rounding.
    let h = 1e-5;
    let at = |x0: f64| f(&Tensor::constant(&cpu, &[x0, X[1], X[2]], &[3])).item();
    let differences = (at(X[0] + h) - at(X[0] - h)) / (2.0 * h);

    // Dual numbers: x₀ + 1·ε. The coefficient of ε is the slope, exact but for rounding.
    let duals = Cpu::<Dual<f64>>::new();
    let seeded = (0..3).map(|i| Dual::new(X[i], if i == 0 { 1.0 } else { 0.0 })).collect();
    let forward = f(&Tensor::from_vec(&duals, seeded, &[3])).to_vec()[0].tangent;

    let total: f64 = X.iter().map(|x| x.exp()).sum();
    let p = X.map(|x| x.exp() / total);
    println!("∂f/∂x₀ of ln Σ e^x at (0.5, −1, 2):");
    println!("  reverse mode          {reverse:.12}");
    println!("  central differences   {differences:.12}");
    println!("  dual numbers          {forward:.12}");
    println!("  softmax, by hand      {:.12}", p[0]);
    assert!((reverse - p[0]).abs() < 1e-15 && (forward - p[0]).abs() < 1e-15 && (differences - p[0]).abs() < 1e-9);

    // The reverse pass on numbers x + u·ε: the gradient's coefficient of ε is the Hessian times u.
    let moving = (0..3).map(|i| Dual::new(X[i], U[i])).collect();
    let x = Tensor::from_vec(&duals, moving, &[3]).to_parameter();
    let hessian_u: Vec<f64> = f(&x).backward().of(&x).to_vec().iter().map(|dual| dual.tangent).collect();
    let along: f64 = p.iter().zip(U).map(|(p, u)| p * u).sum();
    let by_hand: Vec<f64> = p.iter().zip(U).map(|(p, u)| p * (u - along)).collect();
    println!("H·u along u = (1, 0, −1), by duals under the reverse pass:");
    println!("  here                  {hessian_u:.8?}");
    println!("  (diag p − p·pᵀ)·u     {by_hand:.8?}");
    assert!(hessian_u.iter().zip(&by_hand).all(|(here, by_hand)| (here - by_hand).abs() < 1e-15));
}
