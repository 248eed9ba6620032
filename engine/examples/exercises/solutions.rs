//! The solutions: for teachers, and for the tests. `cargo run -p slpo-engine --example exercises -- all --solutions` checks them.

use super::yours::Answer;

pub fn exp(y: &[f64], y_bar: &[f64]) -> Answer {
    Some(vec![zip(y, y_bar, |y, y_bar| y_bar * y)])
}

pub fn tanh(y: &[f64], y_bar: &[f64]) -> Answer {
    Some(vec![zip(y, y_bar, |y, y_bar| y_bar * (1.0 - y * y))])
}

pub fn mul(a: &[f64], b: &[f64], y_bar: &[f64]) -> Answer {
    Some(vec![zip(y_bar, b, |y_bar, b| y_bar * b), zip(y_bar, a, |y_bar, a| y_bar * a)])
}

pub fn div(a: &[f64], b: &[f64], y_bar: &[f64]) -> Answer {
    let a_bar = zip(y_bar, b, |y_bar, b| y_bar / b);
    let b_bar = (0..a.len()).map(|i| -y_bar[i] * a[i] / (b[i] * b[i])).collect();
    Some(vec![a_bar, b_bar])
}

pub fn sum(n: usize, y_bar: f64) -> Answer {
    Some(vec![vec![y_bar; n]])
}

pub fn broadcast_add(_: usize, y_bar: &[f64]) -> Answer {
    Some(vec![y_bar.to_vec(), vec![y_bar.iter().sum()]])
}

pub fn matmul(a: &[f64], b: &[f64], y_bar: &[f64], [m, k, n]: [usize; 3]) -> Answer {
    let (mut a_bar, mut b_bar) = (vec![0.0; m * k], vec![0.0; k * n]);
    for i in 0..m {
        for l in 0..k {
            for j in 0..n {
                a_bar[i * k + l] += y_bar[i * n + j] * b[l * n + j];
                b_bar[l * n + j] += a[i * k + l] * y_bar[i * n + j];
            }
        }
    }
    Some(vec![a_bar, b_bar])
}

pub fn logsumexp(x: &[f64], y: f64, y_bar: f64) -> Answer {
    Some(vec![x.iter().map(|x| y_bar * (x - y).exp()).collect()])
}

pub fn softmax(y: &[f64], y_bar: &[f64]) -> Answer {
    let along = dot(y, y_bar);
    Some(vec![zip(y, y_bar, |y, y_bar| y * (y_bar - along))])
}

pub fn rms_norm(x: &[f64], s: f64, y_bar: &[f64]) -> Answer {
    let mean = dot(x, y_bar) / x.len() as f64;
    Some(vec![zip(x, y_bar, |x, y_bar| s * y_bar - s * s * s * x * mean)])
}

pub fn cross_entropy(p: &[f64], t: usize, y_bar: f64) -> Answer {
    Some(vec![p.iter().enumerate().map(|(i, p)| y_bar * (p - if i == t { 1.0 } else { 0.0 })).collect()])
}

pub fn attention(q: &[f64], k: &[f64], v: &[f64], w: &[f64], o_bar: &[f64], [n, d]: [usize; 2]) -> Answer {
    let row = |x: &[f64], i: usize| x[i * d..(i + 1) * d].to_vec();
    let (mut q_bar, mut k_bar, mut v_bar) = (vec![0.0; n * d], vec![0.0; n * d], vec![0.0; n * d]);
    for i in 0..n {
        let weights = &w[i * n..(i + 1) * n];
        let w_bar: Vec<f64> = (0..n).map(|j| dot(&row(o_bar, i), &row(v, j))).collect();
        let along = dot(weights, &w_bar);
        for j in 0..n {
            // The softmax's vjp, and the factor of the scores.
            let score_bar = weights[j] * (w_bar[j] - along) / (d as f64).sqrt();
            for c in 0..d {
                v_bar[j * d + c] += weights[j] * o_bar[i * d + c];
                q_bar[i * d + c] += score_bar * k[j * d + c];
                k_bar[j * d + c] += score_bar * q[i * d + c];
            }
        }
    }
    Some(vec![q_bar, k_bar, v_bar])
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn zip(a: &[f64], b: &[f64], f: impl Fn(f64, f64) -> f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
}
