//! Elementwise functions: each formula's kernel is made from the formula itself, at its first use.

use super::array::CudaArray;
use super::launch::{Argument, arguments, strided};
use super::runtime::{Storage, Unit, hash};
use super::{Cuda, expression};
use crate::backend::{Binary, Unary};
use crate::shape::broadcast_or_panic;
use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// The source of y = f(x).
pub fn map_source<F: Unary>(f: F, storage: Storage) -> String {
    let (value, t) = (expression::of(["x"], |[x]| f.value(x)), storage.type_name());
    format!(
        "KERNEL map({t}* out, const {t}* in, Long n) {{\n    for_each(aligned(out, in), n, [&](Long i, auto lanes) {{\n        float xs[lanes.count];\n        load(xs, in + i);\n        for (int e = 0; e < lanes.count; ++e) {{\n            float x = xs[e];\n            xs[e] = {value};\n        }}\n        store(out + i, xs);\n    }});\n}}\n"
    )
}

/// The source of x̄ = f′(saved)·ȳ; x̄ is stored as the wider of the two.
pub fn map_vjp_source<F: Unary>(f: F, [saved, cotangent]: [Storage; 2]) -> String {
    let slope = expression::of(["x"], |[x]| f.derivative(x));
    let [o, s, c] = [saved.wider(cotangent), saved, cotangent].map(Storage::type_name);
    format!(
        "KERNEL map_vjp({o}* out, const {s}* saved, const {c}* y_bar, Long n) {{\n    for_each(aligned(out, saved, y_bar), n, [&](Long i, auto lanes) {{\n        float xs[lanes.count], ys[lanes.count];\n        load(xs, saved + i);\n        load(ys, y_bar + i);\n        for (int e = 0; e < lanes.count; ++e) {{\n            float x = xs[e];\n            ys[e] = {slope} * ys[e];\n        }}\n        store(out + i, ys);\n    }});\n}}\n"
    )
}

/// The source of f(a, b), for arrays of the same shape in row-major order and for views; the result is stored as the wider of the two.
pub fn zip_source<F: Binary>(f: F, [left, right]: [Storage; 2]) -> String {
    let value = expression::of(["a", "b"], |[a, b]| f.value(a, b));
    let [o, l, r] = [left.wider(right), left, right].map(Storage::type_name);
    format!(
        "struct Strided {{\n    Long shape[8];\n    Long strides[8];\n    int rank;\n}};\n\n\
         KERNEL zip({o}* out, const {l}* left, const {r}* right, Long n) {{\n    for_each(aligned(out, left, right), n, [&](Long i, auto lanes) {{\n        float as[lanes.count], bs[lanes.count];\n        load(as, left + i);\n        load(bs, right + i);\n        for (int e = 0; e < lanes.count; ++e) {{\n            float a = as[e], b = bs[e];\n            as[e] = {value};\n        }}\n        store(out + i, as);\n    }});\n}}\n\n\
         KERNEL zip_views({o}* out, const {l}* left, const {r}* right, Strided at, Strided other, Long n) {{\n    FOR_EACH(i, n) {{\n        Long rest = i, at_l = 0, at_r = 0;\n        for (int axis = at.rank - 1; axis >= 0; --axis) {{\n            Long index = rest % at.shape[axis];\n            rest /= at.shape[axis];\n            at_l += index * at.strides[axis];\n            at_r += index * other.strides[axis];\n        }}\n        float as[1], bs[1];\n        load(as, left + at_l);\n        load(bs, right + at_r);\n        float a = as[0], b = bs[0];\n        as[0] = {value};\n        store(out + i, as);\n    }}\n}}\n"
    )
}

/// Sources of functions without parameters, by their type: a formula is traced once.
fn source<F: 'static>(kind: &'static str, storages: [Storage; 2], make: impl FnOnce() -> String) -> Source {
    type Sources = Mutex<HashMap<(&'static str, [Storage; 2], TypeId), Source>>;
    static SOURCES: OnceLock<Sources> = OnceLock::new();
    if size_of::<F>() > 0 {
        return Source::new(make());
    }
    let mut sources = SOURCES.get_or_init(Mutex::default).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    sources.entry((kind, storages, TypeId::of::<F>())).or_insert_with(|| Source::new(make())).clone()
}

/// A source with its hash.
#[derive(Clone)]
struct Source {
    text: Arc<str>,
    hash: u64,
}

impl Source {
    fn new(text: String) -> Self {
        Self { hash: hash(text.as_bytes()), text: text.into() }
    }
}

/// The last word of a type's path, for file names.
fn short_name<F>(kind: &str) -> String {
    let name = type_name::<F>().rsplit("::").next().unwrap_or_default().to_lowercase();
    format!("{kind}-{}", name.chars().filter(char::is_ascii_alphanumeric).collect::<String>())
}

impl Cuda {
    pub(super) fn map_with<F: Unary>(&self, f: F, x: &CudaArray) -> CudaArray {
        let x = self.packed(x);
        let y = self.empty_as(x.shape(), x.storage());
        let source = source::<F>("map", [x.storage(); 2], || map_source(f, x.storage()));
        self.apply::<F>("map", "map", &source, x.len(), arguments![&y, &x, x.len()]);
        y
    }

    pub(super) fn map_vjp_with<F: Unary>(&self, f: F, saved: &CudaArray, cotangent: &CudaArray) -> CudaArray {
        let shape = broadcast_or_panic("map_vjp", saved.shape(), cotangent.shape());
        let (saved, cotangent) = (self.packed(&saved.broadcast_to(&shape)), self.packed(&cotangent.broadcast_to(&shape)));
        let storages = [saved.storage(), cotangent.storage()];
        let x_bar = self.empty_as(&shape, saved.storage().wider(cotangent.storage()));
        let source = source::<F>("map_vjp", storages, || map_vjp_source(f, storages));
        self.apply::<F>("map_vjp", "map_vjp", &source, x_bar.len(), arguments![&x_bar, &saved, &cotangent, x_bar.len()]);
        x_bar
    }

    pub(super) fn zip_with<F: Binary>(&self, f: F, a: &CudaArray, b: &CudaArray) -> CudaArray {
        let shape = broadcast_or_panic("zip", a.shape(), b.shape());
        let storages = [a.storage(), b.storage()];
        let y = self.empty_as(&shape, a.storage().wider(b.storage()));
        let n = y.len();
        let source = source::<F>("zip", storages, || zip_source(f, storages));
        let (a, b) = (a.broadcast_to(&shape), b.broadcast_to(&shape));
        if a.is_contiguous() && b.is_contiguous() {
            self.apply::<F>("zip", "zip", &source, n, arguments![&y, &a, &b, n]);
        } else {
            let [left, right] = strided(&shape, [a.strides(), b.strides()]);
            self.apply::<F>("zip", "zip_views", &source, n, arguments![&y, &a, &b, left, right, n]);
        }
        y
    }

    fn apply<F>(&self, kind: &str, kernel: &str, source: &Source, n: usize, arguments: &[Argument]) {
        let name = short_name::<F>(kind);
        self.launch(&Unit { name: &name, text: &source.text, hash: source.hash }, kernel, self.elements(n), arguments);
    }
}
