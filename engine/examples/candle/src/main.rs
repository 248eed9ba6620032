//! Gradients of another library, held to differences of its own values: candle's functions in f64.
//!
//! Nothing is known of a function but its values, so a kink is *unchecked*, not wrong. The gradients are of ⟨v, f(x)⟩ with a fixed v. Run it
//! in this folder with `cargo run --release`; the first time candle is compiled, which takes a minute or two. It prints:
//! ```text
//! silu         6 right
//! gelu         1 right, 5 wrong: at [0] expected -0.030098154, got -0.030098087
//! gelu_erf     1 right, 5 wrong: at [0] expected -0.029794913, got -0.029794887
//! log_softmax  6 right
//! relu         5 right, 1 unchecked (a kink: the slopes on the two sides differ)
//! half a silu  6 wrong: at [0] expected -0.031735910, got -0.015867955
//! ```
//! The two gelus of candle 0.11 are right in f32 and not in f64: their backward pass has √(2/π) and 1/√(2π) as 0.797885 and 0.398942.

use candle_core::{Device, Result, Tensor, Var};
use engine::gradcheck::{Arithmetic, Input, Outside, Verdict, check_outside, fixed_cotangent};

type Function = fn(&Tensor) -> Result<Tensor>;

const POINT: [f64; 6] = [-2.0, -0.7, 0.0, 0.4, 1.3, 3.0];

fn value(f: Function, x: &[f64]) -> Result<Vec<f64>> {
    f(&Tensor::from_vec(x.to_vec(), x.len(), &Device::Cpu)?)?.to_vec1()
}

/// The gradient of ⟨v, f(x)⟩ by candle's backward pass.
fn gradient(f: Function, x: &[f64], v: &[f64]) -> Result<Vec<f64>> {
    let x = Var::from_vec(x.to_vec(), x.len(), &Device::Cpu)?;
    let weighted = (f(&x)? * Tensor::from_vec(v.to_vec(), v.len(), &Device::Cpu)?)?.sum_all()?;
    weighted.backward()?.get(&x).expect("x has a gradient").to_vec1()
}

/// One line about a function: how many elements of its gradient are right, wrong and unchecked.
fn line(name: &str, f: Function, factor: f64) -> Result<String> {
    let value_here = value(f, &POINT)?;
    let v = fixed_cotangent(value_here.len());
    let gradient: Vec<f64> = gradient(f, &POINT, &v)?.into_iter().map(|g| factor * g).collect();
    let inputs = [Input::new(POINT.to_vec(), &[POINT.len()])];
    let outside = Outside { inputs: &inputs, value: &value_here, gradient: &gradient, arithmetic: Arithmetic::DOUBLE };
    let judged = check_outside(&outside, |x| value(f, x))?;
    let mut parts = Vec::new();
    match judged.iter().filter(|element| element.verdict == Verdict::Right).count() {
        0 => {}
        right => parts.push(format!("{right} right")),
    }
    let wrong: Vec<_> = judged.iter().filter(|element| element.verdict == Verdict::Wrong).collect();
    if let [first, ..] = wrong[..] {
        parts.push(format!("{} wrong: at {:?} expected {:.9}, got {:.9}", wrong.len(), first.index, first.expected, first.got));
    }
    for element in &judged {
        if let Verdict::Unchecked(why) = element.verdict {
            parts.push(format!("1 unchecked ({why})"));
        }
    }
    Ok(format!("{name:12} {}", parts.join(", ")))
}

fn main() -> Result<()> {
    println!("{}", line("silu", Tensor::silu, 1.0)?);
    println!("{}", line("gelu", Tensor::gelu, 1.0)?);
    println!("{}", line("gelu_erf", Tensor::gelu_erf, 1.0)?);
    println!("{}", line("log_softmax", |x| candle_nn::ops::log_softmax(x, 0), 1.0)?);
    println!("{}", line("relu", Tensor::relu, 1.0)?);
    // What a mistake looks like.
    println!("{}", line("half a silu", Tensor::silu, 0.5)?);
    Ok(())
}
