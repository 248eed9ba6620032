//! AdamW and the norm of a gradient, each in one pass over memory and one parallel loop for all parameters. The readable twins are the
//! defaults of [`Update`].

use super::Cpu;
use super::array::CpuArray;
use super::element::Element;
use crate::backend::step::{AdamwPart, AdamwStep};
use crate::backend::update::Update;
use crate::simd::vectorised;
use crate::threads::parallel_loop::InTasks;

/// Number of elements of a sum of squares that one task adds up.
const TASK: usize = 1 << 14;
/// Number of elements of a parameter that one task updates.
const STEP_TASK: usize = 1 << 12;

/// Makes an AdamW step of each of these parameters, in place.
pub fn adamw_all<T: Element>(mut parts: Vec<AdamwPart<'_, CpuArray<T>>>) {
    let gradients: Vec<_> = parts.iter().map(|part| part.gradient.elements()).collect();
    let constants: Vec<Constants<T>> = parts.iter().map(|part| Constants::of(&part.step)).collect();
    let mut tasks = Vec::new();
    for ((part, gradient), constants) in parts.iter_mut().zip(&gradients).zip(&constants) {
        let same = [&*part.theta, part.m, part.v].iter().all(|x| x.shape() == part.gradient.shape());
        assert!(same, "adamw: a gradient of shape {:?} for a parameter of shape {:?}", part.gradient.shape(), part.theta.shape());
        let [thetas, ms, vs] = [&mut *part.theta, part.m, part.v].map(|x| x.elements_mut().chunks_mut(STEP_TASK));
        tasks.extend(thetas.zip(ms).zip(vs).zip(gradient.chunks(STEP_TASK)).map(|(((theta, m), v), g)| (constants, [theta, m, v], g)));
    }
    tasks.into_iter().for_each_task(|(constants, [theta, m, v], g)| {
        vectorised::<T, _>(
            #[inline(always)]
            || constants.update(theta, m, v, g),
        )
    });
}

/// The step's constants in the element type.
struct Constants<T> {
    gradient_scale: T,
    beta1: [T; 2],
    beta2: [T; 2],
    second_correction: T,
    epsilon: T,
    rate: T,
    shrink: T,
}

impl<T: Element> Constants<T> {
    fn of(step: &AdamwStep) -> Self {
        let correction = |beta: f64| 1.0 - beta.powf(step.step as f64);
        Self {
            gradient_scale: T::from_f64(step.gradient_scale),
            beta1: [step.beta1, 1.0 - step.beta1].map(T::from_f64),
            beta2: [step.beta2, 1.0 - step.beta2].map(T::from_f64),
            second_correction: T::from_f64(1.0 / correction(step.beta2)),
            epsilon: T::from_f64(step.epsilon),
            rate: T::from_f64(step.learning_rate / correction(step.beta1)),
            shrink: T::from_f64(1.0 - step.learning_rate * step.weight_decay),
        }
    }

    #[inline(always)]
    fn update(&self, theta: &mut [T], m: &mut [T], v: &mut [T], g: &[T]) {
        for (((theta, m), v), &g) in theta.iter_mut().zip(m).zip(v).zip(g) {
            let g = g * self.gradient_scale;
            *m = self.beta1[0] * *m + self.beta1[1] * g;
            *v = self.beta2[0] * *v + self.beta2[1] * (g * g);
            *theta = self.shrink * *theta - self.rate * (*m / ((*v * self.second_correction).sqrt() + self.epsilon));
        }
    }
}

/// Computes Σ x² of each array in f64. Tasks have a fixed size, and their sums are added in order. One parallel loop handles all arrays.
pub fn sums_of_squares<T: Element>(arrays: &[&CpuArray<T>]) -> Vec<f64> {
    let elements: Vec<_> = arrays.iter().map(|x| x.elements()).collect();
    let chunks: Vec<&[T]> = elements.iter().flat_map(|x| x.chunks(TASK)).collect();
    let mut parts = vec![0.0; chunks.len()];
    parts.iter_mut().zip(chunks).for_each_task(|(part, chunk)| *part = partial_sum_of_squares(chunk));
    let mut parts = parts.into_iter();
    elements.iter().map(|x| parts.by_ref().take(x.len().div_ceil(TASK)).sum()).collect()
}

fn partial_sum_of_squares<T: Element>(chunk: &[T]) -> f64 {
    let mut lanes = [0.0f64; 16];
    let (blocks, rest) = chunk.as_chunks::<16>();
    vectorised::<T, _>(
        #[inline(always)]
        || {
            for block in blocks {
                for (lane, x) in lanes.iter_mut().zip(block) {
                    *lane += x.to_f64() * x.to_f64();
                }
            }
        },
    );
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane += x.to_f64() * x.to_f64();
    }
    lanes.iter().sum()
}

impl<T: Element> Update for Cpu<T> {
    fn sums_of_squares(&self, arrays: &[&CpuArray<T>]) -> Vec<f64> {
        sums_of_squares(arrays)
    }
    fn adamw(&self, mut parts: Vec<AdamwPart<'_, CpuArray<T>>>, control: Option<&CpuArray<T>>) {
        for part in &mut parts {
            let Some(scale) = self.step_scale(part.step.gradient_scale, control) else { return };
            part.step.gradient_scale = scale;
        }
        adamw_all(parts);
    }
}
