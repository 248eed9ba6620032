//! Optimizer steps, and the sums of squares for a gradient's norm.

use super::array::CudaArray;
use super::context::{Buffer, Cuda, Rates};
use super::launch::{Argument, arguments};
use super::runtime::Grid;
use super::views::{bytes_of, bytes_of_mut};
use super::{compile, launch};
use crate::backend::step::{AdamwPart, SgdStep, StepDecision};
use crate::backend::update::Update;
use std::sync::MutexGuard;

/// Elements whose squares one block sums.
const CHUNK: usize = 1 << 16;

impl Cuda {
    /// Launches a rule's kernel on a parameter and its moments. Updates each array in place if no other array shares its block.
    fn optimizer_step<const N: usize>(
        &self,
        kernel: &'static str,
        mut arrays: [&mut CudaArray; N],
        gradient: &CudaArray,
        (rule, numbers): (&[f64], &[f64]),
        control: Option<&CudaArray>,
    ) {
        let fits = arrays.iter().all(|x| x.shape() == gradient.shape());
        assert!(fits, "{kernel}: a gradient of {:?} for arrays of {:?}", gradient.shape(), arrays.each_ref().map(|x| x.shape()));
        let gradient = self.contiguous(gradient);
        let old = arrays.each_ref().map(|x| (self.contiguous(x), x.address()));
        for (array, (old, address)) in arrays.iter_mut().zip(&old) {
            // `old` holds a second reference to each block. If a block has two owners, no other array shares it.
            if old.address() != *address || !array.has_owners(2) {
                **array = self.empty(old.shape());
            }
        }
        arrays.iter().for_each(|array| array.forget_rounded());
        let n = gradient.len();
        let (rates, _until_launched) = self.rates(kernel, rule, numbers);
        let mut arguments: Vec<Argument> = arrays.iter().map(|new| Argument::from(&**new)).collect();
        arguments.extend(old.iter().map(|(old, _)| Argument::from(old)));
        arguments.extend([gradient.address(), rates, control.map_or(0, CudaArray::address)].map(Argument::Address));
        arguments.push(n.into());
        self.launch_elements("optimizer", kernel, n, &arguments);
    }

    /// Returns the address of a step's numbers on the device, and a lock. The lock keeps other threads from replacing the numbers before
    /// the kernel is queued.
    ///
    /// All steps of one rule use one address. Only the numbers behind it (step count, rate, scale) change, so the launches repeat exactly
    /// and their graph can be replayed.
    fn rates(&self, kernel: &'static str, rule: &[f64], numbers: &[f64]) -> (u64, MutexGuard<'_, Vec<Rates>>) {
        let numbers: Vec<u32> = numbers.iter().map(|&x| (x as f32).to_bits()).collect();
        let rule = (kernel, rule.iter().map(|x| x.to_bits()).collect());
        let mut kept = self.0.rates.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let at = kept.iter().position(|rates| rates.rule == rule).unwrap_or_else(|| {
            kept.push(Rates { rule, numbers: Vec::new(), buffer: Buffer::new(&self.0, size_of_val(&numbers[..])) });
            kept.len() - 1
        });
        if kept[at].numbers != numbers {
            self.write(kept[at].buffer.address(), bytes_of(&numbers));
            kept[at].numbers = numbers;
        }
        (kept[at].buffer.address(), kept)
    }

    /// Computes Σ x² of each chunk of each array, in f64. Returns the sums, and the bounds of each array's chunks.
    fn partial_squares(&self, arrays: &[&CudaArray]) -> (Buffer, Vec<u32>) {
        let mut bounds = vec![0u32];
        bounds.extend(arrays.iter().scan(0, |end, x| {
            *end += x.len().div_ceil(CHUNK) as u32;
            Some(*end)
        }));
        let sums = Buffer::new(&self.0, bounds[arrays.len()] as usize * size_of::<f64>());
        for (x, bounds) in arrays.iter().zip(bounds.windows(2)) {
            let x = self.contiguous(x);
            let grid = Grid { x: bounds[1] - bounds[0], y: 1, threads: launch::THREADS, shared: 0 };
            let out = Argument::Address(sums.address() + u64::from(bounds[0]) * size_of::<f64>() as u64);
            self.launch(&compile::unit("optimizer"), "sum_of_squares", grid, arguments![out, &x, CHUNK, x.len()]);
        }
        (sums, bounds)
    }
}

impl Update for Cuda {
    fn sums_of_squares(&self, arrays: &[&CudaArray]) -> Vec<f64> {
        let (sums, bounds) = self.partial_squares(arrays);
        let mut partial = vec![0f64; bounds[arrays.len()] as usize];
        self.read(sums.address(), bytes_of_mut(&mut partial));
        bounds.windows(2).map(|bounds| partial[bounds[0] as usize..bounds[1] as usize].iter().sum()).collect()
    }
    fn adamw(&self, parts: Vec<AdamwPart<'_, CudaArray>>, control: Option<&CudaArray>) {
        for AdamwPart { theta, m, v, gradient, step } in parts {
            let correction = |beta: f64| 1.0 - beta.powf(step.step as f64);
            let numbers = [
                step.gradient_scale,
                step.beta1,
                1.0 - step.beta1,
                step.beta2,
                1.0 - step.beta2,
                1.0 / correction(step.beta2),
                step.learning_rate / correction(step.beta1),
                1.0 - step.learning_rate * step.weight_decay,
                step.epsilon,
            ];
            let rule = [step.beta1, step.beta2, step.weight_decay, step.epsilon];
            self.optimizer_step("adamw", [theta, m, v], gradient, (&rule, &numbers), control);
        }
    }
    fn sgd(&self, theta: &mut CudaArray, velocity: &mut CudaArray, gradient: &CudaArray, step: &SgdStep, control: Option<&CudaArray>) {
        let numbers = [step.gradient_scale, step.momentum, step.learning_rate];
        self.optimizer_step("sgd", [theta, velocity], gradient, (&[step.momentum], &numbers), control);
    }
    fn step_control(&self, losses: &[&CudaArray], gradients: &[&CudaArray], weight: f64, clip: f64) -> CudaArray {
        let control = self.empty(&[2 * (4 + gradients.len())]);
        let one_block = Grid { x: 1, y: 1, threads: launch::THREADS, shared: 0 };
        let run = |kernel, arguments: &[Argument]| self.launch(&compile::unit("optimizer"), kernel, one_block, arguments);
        for (number, loss) in losses.iter().enumerate() {
            run("add_loss", arguments![&control, &self.contiguous(loss), number as i32]);
        }
        let (partial, bounds) = self.partial_squares(gradients);
        let bounds = self.table(&bounds);
        let [partial, bounds] = [partial.address(), bounds.address()].map(Argument::Address);
        run("step_control", arguments![&control, partial, bounds, gradients.len() as i32, weight, clip]);
        control
    }
    fn step_decision(&self, control: &CudaArray) -> StepDecision {
        let mut numbers = vec![0f64; control.len() / 2];
        self.read(control.address(), bytes_of_mut(&mut numbers));
        StepDecision::from_numbers(&numbers)
    }
}
