//! A loss of your own in some 30 lines, and what it gets for free.
//!
//! The loss is ln cosh of the distance from a target margin: squared near it, straight far from it. It is one value, one gradient, and the
//! same loss composed of ops, which checks them. Training, every backend and every check follow.
//!
//! It prints:
//! ```text
//! log-cosh: 7 methods agree on 8 samples
//! losses  [0.8554, 1982.3069]: finite, though cosh 1983 is not
//! slopes  [0.9051, -1.0000]: in l_w of each pair
//! start   0.4338: every pair, where the policy is the reference
//! as a file in src/pairwise/ and a word in the table of src/lib.rs, slpo align, verify, explain and gradcheck know it too
//! ```

use engine::explain::Example;
use engine::gradcheck::{Draw, Input, Sample, check};
use engine::{Backend, Cpu, Scalar, Tensor, function};
use losses::{Hyperparameters, LossError, Pair, PairInputs, PairLoss, PreferenceLoss, Setting};

/// L = ln cosh d, d = a − r − 1/(2β), with the log-ratios a and r. ∂L/∂l_w = tanh d = −∂L/∂l_l.
#[derive(Clone, Copy)]
struct LogCosh {
    beta: f64,
}

impl LogCosh {
    fn distance<T: Scalar>(self, pair: &Pair<T>) -> T {
        pair.margin() - T::from_f64(0.5 / self.beta)
    }
}

impl PairLoss for LogCosh {
    /// |d| + ln(1 + e^{−2|d|}) − ln 2: cosh itself overflows from d = 711 on.
    fn value<T: Scalar>(self, pair: Pair<T>) -> T {
        let size = self.distance(&pair).abs();
        size + (-(size + size)).softplus() - T::from_f64(std::f64::consts::LN_2)
    }
    fn gradient<T: Scalar>(self, pair: Pair<T>) -> (T, T) {
        let slope = self.distance(&pair).tanh();
        (slope, -slope)
    }
    fn at_start(self, _: &Pair<f64>) -> f64 {
        (0.5 / self.beta).cosh().ln()
    }
    fn twin<B: Backend>(self, inputs: &PairInputs<B>) -> Tensor<B> {
        let d = inputs.margins(1.0) - 0.5 / self.beta;
        &d + (-2.0 * &d).softplus() - std::f64::consts::LN_2
    }
}

impl PreferenceLoss for LogCosh {
    const NAME: &'static str = "log-cosh";
    const USES: &'static [Setting] = &[Setting::Beta];
    fn of(hyper: &Hyperparameters) -> Self {
        Self { beta: hyper.beta }
    }
    fn sample(draw: &mut Draw) -> Sample {
        let shape = [1 + draw.below(5)];
        on([draw.log_probabilities(&shape), draw.log_probabilities(&shape)])
    }
    fn example() -> Example {
        let pairs = [[-11.0, -20.0], [-13.5, -18.0]].map(|l| Input::new(l.to_vec(), &[2]));
        Example::new("log-cosh(l_w, l_l) of each pair", &["l_w", "l_l"], on(pairs)).given("β = 0.5; the reference is −12 throughout")
    }
}

/// The loss of policies with these log-probabilities beside a reference of −12, with the composition that checks it.
fn on(policy: [Input; 2]) -> Sample {
    fn inputs<B: Backend>(x: &[Tensor<B>]) -> PairInputs<B> {
        let reference = Tensor::full(x[0].backend(), -12.0, x[0].shape());
        PairInputs::new(&x[0], &x[1], &reference, &reference).expect("four vectors of one length")
    }
    let loss = function!(|x| LogCosh { beta: 0.5 }.evaluate(&inputs(x)));
    Sample::new(loss, policy).with_twin(function!(|x| LogCosh { beta: 0.5 }.twin(&inputs(x))))
}

fn main() -> Result<(), LossError> {
    // 1. Its gradient, by every method, on points drawn from ordinary to extreme.
    let mut all = check("log-cosh", &LogCosh::sample(&mut Draw::new(0, 1)));
    (1..8).for_each(|seed| all.merge(check("log-cosh", &LogCosh::sample(&mut Draw::new(seed, 1)))));
    all.assert();
    println!("{all} on 8 samples");

    // 2. A value and a gradient on any backend, here in f32.
    let cpu = Cpu::<f32>::new();
    let column = |values: [f64; 2]| Tensor::parameter(&cpu, &values, &[2]);
    let (chosen, rejected, reference) = (column([-11.0, -2000.0]), column([-13.5, -18.0]), column([-12.0, -12.0]).detach());
    let losses = LogCosh { beta: 0.5 }.evaluate(&PairInputs::new(&chosen, &rejected, &reference, &reference)?);
    println!("losses  {:.4?}: finite, though cosh 1983 is not", losses.to_f64());
    println!("slopes  {:.4?}: in l_w of each pair", losses.sum_all().backward().of(&chosen).to_f64());

    // 3. What training must start from, known before it starts.
    println!("start   {:.4}: every pair, where the policy is the reference", LogCosh { beta: 0.5 }.at_start(&Pair::from([-12.0; 7])));
    println!("as a file in src/pairwise/ and a word in the table of src/lib.rs, slpo align, verify, explain and gradcheck know it too");
    Ok(())
}
