//! Elementwise functions: each formula's kernel is made from the formula itself, at its first use.

use super::array::CudaArray;
use super::launch::{Argument, arguments, strided};
use super::runtime::Unit;
use super::{Cuda, expression};
use crate::backend::{Binary, Unary};
use crate::shape::broadcast_or_panic;
use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// The source of y = f(x).
pub fn map_source<F: Unary>(f: F) -> String {
    let value = expression::of(["x"], |[x]| f.value(x));
    format!(
        "KERNEL map(float* out, const float* in, Long n) {{\n    FOR_EACH(i, n) {{\n        float x = in[i];\n        out[i] = {value};\n    }}\n}}\n"
    )
}

/// The source of x̄ = f′(saved)·ȳ.
pub fn map_vjp_source<F: Unary>(f: F) -> String {
    let slope = expression::of(["x"], |[x]| f.derivative(x));
    format!(
        "KERNEL map_vjp(float* out, const float* saved, const float* y_bar, Long n) {{\n    FOR_EACH(i, n) {{\n        float x = saved[i];\n        out[i] = {slope} * y_bar[i];\n    }}\n}}\n"
    )
}

/// The source of f(a, b), for arrays of the same shape in row-major order and for views.
pub fn zip_source<F: Binary>(f: F) -> String {
    let value = expression::of(["a", "b"], |[a, b]| f.value(a, b));
    format!(
        "struct Strided {{\n    Long shape[8];\n    Long strides[8];\n    int rank;\n}};\n\n\
         KERNEL zip(float* out, const float* left, const float* right, Long n) {{\n    FOR_EACH(i, n) {{\n        float a = left[i], b = right[i];\n        out[i] = {value};\n    }}\n}}\n\n\
         KERNEL zip_views(float* out, const float* left, const float* right, Strided l, Strided r, Long n) {{\n    FOR_EACH(i, n) {{\n        Long rest = i, at_l = 0, at_r = 0;\n        for (int axis = l.rank - 1; axis >= 0; --axis) {{\n            Long index = rest % l.shape[axis];\n            rest /= l.shape[axis];\n            at_l += index * l.strides[axis];\n            at_r += index * r.strides[axis];\n        }}\n        float a = left[at_l], b = right[at_r];\n        out[i] = {value};\n    }}\n}}\n"
    )
}

/// Sources of functions without parameters, by their type: a formula is traced once.
fn source<F: 'static>(kind: &'static str, make: impl FnOnce() -> String) -> Arc<str> {
    type Sources = Mutex<HashMap<(&'static str, TypeId), Arc<str>>>;
    static SOURCES: OnceLock<Sources> = OnceLock::new();
    if size_of::<F>() > 0 {
        return make().into();
    }
    let mut sources = SOURCES.get_or_init(Mutex::default).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    sources.entry((kind, TypeId::of::<F>())).or_insert_with(|| make().into()).clone()
}

/// The last word of a type's path, for file names.
fn short_name<F>(kind: &str) -> String {
    let name = type_name::<F>().rsplit("::").next().unwrap_or_default().to_lowercase();
    format!("{kind}-{}", name.chars().filter(char::is_ascii_alphanumeric).collect::<String>())
}

impl Cuda {
    pub(super) fn map_with<F: Unary>(&self, f: F, x: &CudaArray) -> CudaArray {
        let x = self.contiguous(x);
        let y = self.empty(x.shape());
        let source = source::<F>("map", || map_source(f));
        self.apply::<F>("map", "map", &source, x.len(), arguments![&y, &x, x.len()]);
        y
    }

    pub(super) fn map_vjp_with<F: Unary>(&self, f: F, saved: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        let shape = broadcast_or_panic("map_vjp", saved.shape(), cotangent.shape());
        let (saved, cotangent) = (self.contiguous(&saved.broadcast_to(&shape)), self.contiguous(&cotangent.broadcast_to(&shape)));
        let x_bar = self.empty(&shape);
        let source = source::<F>("map_vjp", || map_vjp_source(f));
        self.apply::<F>("map_vjp", "map_vjp", &source, x_bar.len(), arguments![&x_bar, &saved, &cotangent, x_bar.len()]);
        x_bar
    }

    pub(super) fn zip_with<F: Binary>(&self, f: F, a: &CudaArray, b: &CudaArray) -> CudaArray {
        let shape = broadcast_or_panic("zip", a.shape(), b.shape());
        let y = self.empty(&shape);
        let n = y.len();
        let source = source::<F>("zip", || zip_source(f));
        let (a, b) = (a.broadcast_to(&shape), b.broadcast_to(&shape));
        if a.is_contiguous() && b.is_contiguous() {
            self.apply::<F>("zip", "zip", &source, n, arguments![&y, &a, &b, n]);
        } else {
            let [left, right] = strided(&shape, [a.strides(), b.strides()]);
            self.apply::<F>("zip", "zip_views", &source, n, arguments![&y, &a, &b, left, right, n]);
        }
        y
    }

    fn apply<F>(&self, kind: &str, kernel: &str, source: &str, n: usize, arguments: &mut [Argument]) {
        let name = short_name::<F>(kind);
        self.launch(&Unit { name: &name, text: source }, kernel, self.elements(n), arguments);
    }
}
