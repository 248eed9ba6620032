//! Copies of seven vector-Jacobian products of the registry, each with every kind of mistake as somebody might make it in that formula.

use engine::backend::{Add, Indices, Mul, Sub};
use engine::functions::Exp;
use engine::gradcheck::mutation::{Mistake, edit};
use engine::gradcheck::{Draw, Entry, Sample};
use engine::tape::Operation;
use engine::{Backend, Segments, Tensor, function, no_grad};

/// An op of the registry of which a copy is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// x̄ = y∘(ȳ − Σ ȳ∘y).
    Softmax,
    /// x̄ = s·(ȳ − y·mean(ȳ∘y)).
    RmsNorm,
    /// x̄ = s·(ȳ − mean ȳ − y·mean(ȳ∘y)).
    LayerNorm,
    /// Ā = Ȳ·Bᵀ, B̄ = Aᵀ·Ȳ.
    Matmul,
    /// z̄ = ȳ·(p − onehot(target)).
    CrossEntropy,
    /// Of one causal head: V̄ = Pᵀ·Ō, S̄ = c·P∘(Ō·Vᵀ − δ), Q̄ = S̄·K, K̄ = S̄ᵀ·Q.
    Attention,
    /// table̅[v] = Σ over n with row n = v of ȳ[n].
    Embedding,
}

impl Op {
    pub const ALL: [Self; 7] =
        [Self::Softmax, Self::RmsNorm, Self::LayerNorm, Self::Matmul, Self::CrossEntropy, Self::Attention, Self::Embedding];

    pub fn name(self) -> &'static str {
        match self {
            Self::Softmax => "softmax",
            Self::RmsNorm => "rms_norm",
            Self::LayerNorm => "layer_norm",
            Self::Matmul => "matmul",
            Self::CrossEntropy => "cross_entropy",
            Self::Attention => "attention",
            Self::Embedding => "embedding",
        }
    }
}

const EPSILON: f64 = 1e-2;
const ATTENTION_SCALE: f64 = 0.7;

/// An entry of the suite whose op has this mistake; its twin is the op of the registry.
pub fn entry(op: Op, mistake: Mistake) -> Entry {
    Entry::new(op.name(), move |draw| {
        let [n, d, k] = [draw.extent() + 1, draw.extent() + 1, draw.extent() + 1];
        let shapes: Vec<[usize; 2]> = match op {
            Op::Matmul => vec![[n, k], [k, d]],
            Op::Attention => vec![[n, d]; 3],
            _ => vec![[n, d]],
        };
        let count = if op == Op::CrossEntropy { n } else { n + 2 };
        let rows = indices(draw, count, if op == Op::Embedding { n } else { d });
        let inputs: Vec<_> = shapes.iter().map(|shape| draw.normal(shape)).collect();
        let twin = rows.clone();
        Sample::new(function!(|x; op: Op, mistake: Mistake, rows: Indices| copied(*op, *mistake, rows, x)), inputs)
            .with_twin(function!(|x; op: Op, twin: Indices| forward(*op, twin, x)))
            .with_inner_magnitude(1.0)
    })
}

/// Indices below the bound; the first is 0, so that a mask of it shows.
fn indices(draw: &mut Draw, count: usize, bound: usize) -> Indices {
    let mut indices = draw.indices(count, bound).to_vec();
    indices[0] = 0;
    indices.into()
}

/// The op of the registry, as one node or as several.
fn forward<B: Backend>(op: Op, rows: &Indices, x: &[Tensor<B>]) -> Tensor<B> {
    let full = |value| Tensor::full(x[0].backend(), value, &[x[0].shape()[1]]);
    match op {
        Op::Softmax => x[0].softmax(),
        Op::RmsNorm => x[0].rms_norm(&full(1.0), EPSILON),
        Op::LayerNorm => x[0].layer_norm(&full(1.0), &full(0.0), EPSILON),
        Op::Matmul => x[0].matmul(&x[1]),
        Op::CrossEntropy => x[0].cross_entropy(rows),
        Op::Embedding => x[0].embedding(rows),
        Op::Attention => {
            let [n, d] = [x[0].shape()[0], x[0].shape()[1]];
            let [q, k, v] = [0, 1, 2].map(|i| x[i].reshape(&[n, 1, d]));
            q.attention(&k, &v, &Segments::of_lengths(&[n]), ATTENTION_SCALE).reshape(&[n, d])
        }
    }
}

/// The op with its values from the registry and its vector-Jacobian product from here.
fn copied<B: Backend>(op: Op, mistake: Mistake, rows: &Indices, x: &[Tensor<B>]) -> Tensor<B> {
    let y = no_grad(|| forward(op, rows, x));
    let operation = || Copied { op, mistake, rows: rows.clone(), x: x.iter().map(|x| x.array().clone()).collect(), y: y.array().clone() };
    Tensor::record(x[0].backend(), y.array().clone(), &x.iter().collect::<Vec<_>>(), operation)
}

struct Copied<B: Backend> {
    op: Op,
    mistake: Mistake,
    rows: Indices,
    x: Vec<B::Array>,
    y: B::Array,
}

impl<B: Backend> Operation<B> for Copied<B> {
    fn name(&self) -> &'static str {
        self.op.name()
    }
    fn vjp(&self, b: &B, y_bar: B::Array, _: &[bool]) -> Vec<Option<B::Array>> {
        let results = match self.op {
            Op::Softmax => vec![self.softmax(b, &y_bar)],
            Op::RmsNorm | Op::LayerNorm => vec![self.norm(b, &y_bar)],
            Op::Matmul => self.matmul(b, &y_bar),
            Op::CrossEntropy => vec![self.cross_entropy(b, &y_bar)],
            Op::Attention => self.attention(b, &y_bar),
            Op::Embedding => vec![self.embedding(b, &y_bar)],
        };
        results.into_iter().map(Some).collect()
    }
}

impl<B: Backend> Copied<B> {
    /// Σ ȳ∘y over the last axis; with a wrong mask the first entry is left out, off by one y is the neighbour's.
    fn projection(&self, b: &B, y_bar: &B::Array) -> B::Array {
        let width = b.shape(&self.y)[1];
        let y = match self.mistake {
            Mistake::WrongMask => edit(b, &self.y, |y, zero| y.iter_mut().step_by(width).for_each(|y| *y = zero)),
            Mistake::OffByOne => edit(b, &self.y, |y, _| y.chunks_exact_mut(width).for_each(|row| row.rotate_left(1))),
            _ => self.y.clone(),
        };
        b.sum(&b.zip(Mul, y_bar, &y), 1)
    }

    fn softmax(&self, b: &B, y_bar: &B::Array) -> B::Array {
        let factor = match self.mistake {
            Mistake::WrongSign => -1.0,
            Mistake::WrongFactor => 2.0,
            Mistake::MissingTerm => 0.0,
            _ => 1.0,
        };
        b.zip(Mul, &self.y, &b.zip(Sub, y_bar, &b.scale(&self.projection(b, y_bar), factor)))
    }

    /// Both norms: s is formed again from x.
    fn norm(&self, b: &B, y_bar: &B::Array) -> B::Array {
        let layer = self.op == Op::LayerNorm;
        let n = b.shape(&self.y)[1] as f64;
        let (_, s) = if layer { b.layer_norm(&self.x[0], EPSILON) } else { b.rms_norm(&self.x[0], EPSILON) };
        let factor = match self.mistake {
            Mistake::WrongSign => -1.0 / n,
            Mistake::WrongFactor => 1.0,
            Mistake::MissingTerm if !layer => 0.0,
            _ => 1.0 / n,
        };
        let along = b.zip(Mul, &self.y, &b.scale(&self.projection(b, y_bar), factor));
        let mean = if layer && self.mistake != Mistake::MissingTerm { 1.0 / n } else { 0.0 };
        let centred = b.zip(Sub, y_bar, &b.scale(&b.sum(y_bar, 1), mean));
        b.zip(Mul, &b.zip(Sub, &centred, &along), &s)
    }

    fn matmul(&self, b: &B, y_bar: &B::Array) -> Vec<B::Array> {
        let transposed = |x: &B::Array| b.permute(x, &[1, 0]);
        let (rows, inner) = (b.shape(&self.x[0])[0], b.shape(&self.x[0])[1]);
        let right = match self.mistake {
            Mistake::OffByOne => edit(b, &self.x[1], |x, _| {
                let width = x.len() / inner;
                x.rotate_left(width);
            }),
            _ => self.x[1].clone(),
        };
        let a_bar = b.matmul(y_bar, &transposed(&right));
        let a_bar = match self.mistake {
            Mistake::WrongSign => b.scale(&a_bar, -1.0),
            Mistake::WrongFactor => b.scale(&a_bar, 0.5),
            Mistake::WrongMask => edit(b, &a_bar, |x, zero| x[..inner].fill(zero)),
            _ => a_bar,
        };
        let kept = if self.mistake == Mistake::MissingTerm { rows - 1 } else { rows };
        let b_bar = b.matmul(&transposed(&b.slice(&self.x[0], 0, 0, kept)), &b.slice(y_bar, 0, 0, kept));
        vec![a_bar, b_bar]
    }

    fn cross_entropy(&self, b: &B, y_bar: &B::Array) -> B::Array {
        let [n, classes] = [b.shape(&self.x[0])[0], b.shape(&self.x[0])[1]];
        let p = b.softmax(&self.x[0]);
        let column = b.reshape(y_bar, &[n, 1]);
        let targets: Indices = match self.mistake {
            Mistake::OffByOne => self.rows.iter().map(|&target| (target + 1) % classes as u32).collect(),
            _ => self.rows.clone(),
        };
        let chosen = b.scatter_add_last(&b.full(1.0, &[n, 1]), &targets, classes);
        let (of_p, of_chosen) = match self.mistake {
            Mistake::WrongSign => (1.0, 1.0),
            Mistake::WrongFactor => (2.0, -1.0),
            Mistake::MissingTerm => (0.0, -1.0),
            _ => (1.0, -1.0),
        };
        let slope = b.zip(Add, &b.scale(&p, of_p), &b.scale(&chosen, of_chosen));
        let column = match self.mistake {
            // Class 0 is taken for padding.
            Mistake::WrongMask => edit(b, &column, |y_bar, zero| {
                y_bar.iter_mut().zip(&self.rows[..]).filter(|(_, target)| **target == 0).for_each(|(y, _)| *y = zero);
            }),
            _ => column,
        };
        b.zip(Mul, &slope, &column)
    }

    fn attention(&self, b: &B, o_bar: &B::Array) -> Vec<B::Array> {
        let transposed = |x: &B::Array| b.permute(x, &[1, 0]);
        let [q, k, v] = [0, 1, 2].map(|i| &self.x[i]);
        let n = b.shape(q)[0];
        let future = match self.mistake {
            Mistake::WrongMask => n,
            Mistake::OffByOne => 1,
            _ => 0,
        };
        let scores = b.scale(&b.matmul(q, &transposed(k)), ATTENTION_SCALE);
        let scores = edit(b, &scores, |s, _| {
            let hidden = |ij: usize| ij % n > ij / n + future;
            s.iter_mut().enumerate().filter(|(ij, _)| hidden(*ij)).for_each(|(_, s)| *s = engine::Scalar::neg_infinity());
        });
        let p = b.map(Exp, &b.log_softmax(&scores));
        let delta = b.sum(&b.zip(Mul, o_bar, &self.y), 1);
        let delta = match self.mistake {
            Mistake::WrongSign => b.scale(&delta, -1.0),
            Mistake::MissingTerm => b.scale(&delta, 0.0),
            _ => delta,
        };
        let p_bar = b.matmul(o_bar, &transposed(v));
        let scale = if self.mistake == Mistake::WrongFactor { ATTENTION_SCALE.powi(2) } else { ATTENTION_SCALE };
        let s_bar = b.scale(&b.zip(Mul, &p, &b.zip(Sub, &p_bar, &delta)), scale);
        vec![b.matmul(&s_bar, k), b.matmul(&transposed(&s_bar), q), b.matmul(&transposed(&p), o_bar)]
    }

    fn embedding(&self, b: &B, y_bar: &B::Array) -> B::Array {
        let [count, width] = [b.shape(&self.x[0])[0], b.shape(&self.x[0])[1]];
        let rows: Indices = match self.mistake {
            Mistake::OffByOne => self.rows.iter().map(|&row| (row + 1) % count as u32).collect(),
            _ => self.rows.clone(),
        };
        // Of equal rows only the last is written, instead of all of them added.
        let overwritten = |n: usize| rows[n + 1..].contains(&rows[n]);
        let y_bar = match self.mistake {
            Mistake::MissingTerm => edit(b, y_bar, |y_bar, zero| {
                y_bar.chunks_exact_mut(width).enumerate().filter(|(n, _)| overwritten(*n)).for_each(|(_, row)| row.fill(zero));
            }),
            _ => y_bar.clone(),
        };
        let table = b.scatter_add_rows(&y_bar, &rows, count);
        match self.mistake {
            Mistake::WrongSign => b.scale(&table, -1.0),
            Mistake::WrongFactor => b.scale(&table, 1.0 / count as f64),
            // Row 0 is taken for padding.
            Mistake::WrongMask => edit(b, &table, |table, zero| table[..width].fill(zero)),
            _ => table,
        }
    }
}
