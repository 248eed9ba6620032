//! Elementwise functions. The kernel of each formula is generated from the formula itself, at its first use.

use super::array::CudaArray;
use super::context::Cuda;
use super::expression::{self, Symbol, Traced};
use super::launch::{Argument, strided};
use super::runtime::{Storage, Unit, hash};
use crate::formula::Formula;
use crate::shape::broadcast_all;
use std::any::{TypeId, type_name};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

/// A formula whose type is forgotten, so that what makes and launches kernels is compiled once.
struct AnyFormula<'a> {
    /// The last word of its type's name.
    name: String,
    /// Its type, if a value of it has no parameters: all such values have one kernel.
    id: Option<TypeId>,
    trace: Traced<'a>,
}

fn trace<const N: usize, F: Formula<N>>(f: F) -> impl Fn(&[Symbol]) -> Symbol {
    move |x| f.at(x.try_into().expect("a symbol for each variable"))
}

/// Generates the kernels of a formula: one for arrays in row-major order, and one for views with strides. The result is stored as the
/// widest of the inputs.
pub fn elementwise_source<const N: usize, F: Formula<N>>(f: F, storages: [Storage; N]) -> String {
    source_text(&storages, &trace(f))
}

fn source_text(storages: &[Storage], formula: Traced) -> String {
    let for_each_input = |separator: &str, text: &dyn Fn(usize, &str) -> String| {
        storages.iter().enumerate().map(|(i, storage)| text(i, storage.type_name())).collect::<Vec<_>>().join(separator)
    };
    let names: Vec<String> = (0..storages.len()).map(|i| format!("x{i}")).collect();
    let (out, body) = (widest(storages).type_name(), expression::of(&names, formula));
    let numbers = for_each_input(", ", &|i, _| format!("float x{i}"));
    let inputs = for_each_input(", ", &|i, storage| format!("const {storage}* in{i}"));
    let pointers = for_each_input(", ", &|i, _| format!("in{i}"));
    let loads = for_each_input(" ", &|i, _| format!("float a{i}[lanes.count]; load(a{i}, in{i} + i);"));
    let lane = for_each_input(", ", &|i, _| format!("a{i}[e]"));
    let views = for_each_input(", ", &|i, _| format!("Strided view{i}"));
    let offsets = for_each_input(", ", &|i, _| format!("at{i} = 0"));
    let steps = for_each_input(" ", &|i, _| format!("at{i} += index * view{i}.strides[axis];"));
    let loads_of_views = for_each_input(" ", &|i, _| format!("float a{i}[1]; load(a{i}, in{i} + at{i});"));
    let element = for_each_input(", ", &|i, _| format!("a{i}[0]"));
    format!(
        "__device__ inline float formula({numbers}) {{
{body}}}

KERNEL elementwise({out}* out, {inputs}, Long n) {{
    for_each(aligned(out, {pointers}), n, [&](Long i, auto lanes) {{
        {loads}
        float y[lanes.count];
        for (int e = 0; e < lanes.count; ++e) y[e] = formula({lane});
        store(out + i, y);
    }});
}}

KERNEL elementwise_views({out}* out, {inputs}, {views}, Long n) {{
    FOR_EACH(i, n) {{
        Long rest = i, {offsets};
        for (int axis = view0.rank - 1; axis >= 0; --axis) {{
            Long index = rest % view0.shape[axis];
            rest /= view0.shape[axis];
            {steps}
        }}
        {loads_of_views}
        float y[1] = {{formula({element})}};
        store(out + i, y);
    }}
}}
"
    )
}

fn widest(storages: &[Storage]) -> Storage {
    storages.iter().copied().fold(Storage::Bf16, Storage::wider)
}

/// Returns the source for a formula. A formula without parameters is traced once for its type.
fn source(formula: &AnyFormula, storages: &[Storage]) -> Source {
    type Sources = Mutex<HashMap<(Vec<Storage>, TypeId), Source>>;
    static SOURCES: OnceLock<Sources> = OnceLock::new();
    let make = || Source::new(source_text(storages, formula.trace));
    let Some(id) = formula.id else { return make() };
    let mut sources = SOURCES.get_or_init(Mutex::default).lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    sources.entry((storages.to_vec(), id)).or_insert_with(make).clone()
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

/// Returns the last word of a type's path, for file names.
fn short_name(path: &str) -> String {
    let name = path.rsplit("::").next().unwrap_or_default().to_lowercase();
    format!("elementwise-{}", name.chars().filter(char::is_ascii_alphanumeric).collect::<String>())
}

impl Cuda {
    pub(super) fn apply<const N: usize, F: Formula<N>>(&self, f: F, x: [&CudaArray; N]) -> CudaArray {
        let id = (size_of::<F>() == 0).then(TypeId::of::<F>);
        self.apply_any(&AnyFormula { name: short_name(type_name::<F>()), id, trace: &trace(f) }, &x)
    }

    fn apply_any(&self, formula: &AnyFormula, x: &[&CudaArray]) -> CudaArray {
        let shapes: Vec<&[usize]> = x.iter().map(|x| x.shape()).collect();
        let shape = broadcast_all("elementwise", &shapes);
        let storages: Vec<Storage> = x.iter().map(|x| x.storage()).collect();
        let y = self.empty_as(&shape, widest(&storages));
        let x: Vec<CudaArray> = x.iter().map(|x| x.broadcast_to(&shape)).collect();
        let mut arguments: Vec<Argument> = std::iter::once(&y).chain(&x).map(Argument::from).collect();
        let are_in_order = x.iter().all(CudaArray::is_contiguous);
        if !are_in_order {
            let strides: Vec<&[usize]> = x.iter().map(CudaArray::strides).collect();
            arguments.extend(strided(&shape, &strides).into_iter().map(Argument::from));
        }
        arguments.push(Argument::from(y.len()));
        let source = source(formula, &storages);
        let kernel = if are_in_order { "elementwise" } else { "elementwise_views" };
        self.launch(&Unit { name: &formula.name, text: &source.text, hash: source.hash }, kernel, self.elements(y.len()), &arguments);
        y
    }
}
