//! Matrix product over the last two axes, with the leading axes broadcast. Operands transposed by `permute` are not copied.
//!
//! forward  Y = A·B
//! vjp      Ā = Ȳ·Bᵀ, B̄ = Aᵀ·Ȳ                       (saves A and B), summed over the axes a side was repeated along
#![doc = include_str!("../explain/text/matmul.md")]
#![cfg_attr(doc, doc = include_str!("../../docs/katex.html"))]

use super::prelude::*;

struct Matmul<B: Backend> {
    a: B::Array,
    b: B::Array,
}

impl<B: Backend> Operation<B> for Matmul<B> {
    fn name(&self) -> &'static str {
        "matmul"
    }
    fn vjp(&self, backend: &B, y_bar: B::Array, needed: &[bool]) -> Vec<Option<B::Array>> {
        let to = |x: B::Array, like: &B::Array| backend.sum_to(&x, backend.shape(like));
        let a = needed[0].then(|| to(backend.matmul(&y_bar, &backend.transpose(&self.b)), &self.a));
        let b = needed[1].then(|| to(backend.matmul(&backend.transpose(&self.a), &y_bar), &self.b));
        vec![a, b]
    }
}

impl<B: Backend> Tensor<B> {
    /// [.., m, k] × [.., k, n] → [.., m, n]; the leading axes broadcast.
    ///
    /// # Panics
    /// If an operand has fewer than two axes, the inner extents differ or the leading axes do not broadcast.
    #[track_caller]
    pub fn matmul(&self, other: &Self) -> Self {
        let (a, b) = (self.shape(), other.shape());
        assert!(a.len() >= 2 && b.len() >= 2, "matmul: {a:?} × {b:?}: both need two axes or more");
        let (inner_a, inner_b) = (a[a.len() - 1], b[b.len() - 2]);
        assert!(inner_a == inner_b, "matmul: {a:?} × {b:?}: inner dimensions {inner_a} and {inner_b} differ");
        broadcast_or_panic("matmul", &a[..a.len() - 2], &b[..b.len() - 2]);
        if b.len() == 2 && a.len() > 2 {
            let shape = with_axis(a, a.len() - 1, b[1]);
            return self.reshape(&[count(&a[..a.len() - 1]), inner_a]).matmul(other).reshape(&shape);
        }
        let y = self.backend.matmul(&self.value, &other.value);
        Tensor::record(&self.backend, y, &[self, other], || Matmul { a: self.value.clone(), b: other.value.clone() })
    }
}

pub(super) fn sample(draw: &mut Draw) -> Sample {
    let [m, k, n] = [draw.extent(), draw.extent(), draw.extent()];
    let (lead_a, lead_b) = if draw.coin() { draw.broadcast_shapes() } else { (vec![], vec![]) };
    let shape = |lead: &[usize], tail: [usize; 2]| [lead, &tail].concat();
    if draw.coin() {
        let inputs = [draw.normal(&shape(&lead_a, [m, k])), draw.normal(&shape(&lead_b, [k, n]))];
        Sample::new(function!(|x| x[0].matmul(&x[1])), inputs)
    } else {
        let inputs = [draw.normal(&[k, m]), draw.normal(&[n, k])];
        Sample::new(function!(|x| x[0].t().matmul(&x[1].t())), inputs)
    }
}
