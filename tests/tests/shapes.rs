//! Wrong shapes panic in the caller's words: the op and the shapes it was given.

use engine::backend::Products;
use engine::{Backend, Cpu, Device, Generator, Pairing, RotaryTable, Segments, Tensor};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

type World = Cpu<f64>;

fn ones(shape: &[usize]) -> Tensor<World> {
    Tensor::full(&World::new(), 1.0, shape)
}

fn indices(list: &[u32]) -> Arc<[u32]> {
    list.into()
}

/// What `f` panics with.
fn complaint<R>(f: impl FnOnce() -> R) -> String {
    let panic = catch_unwind(AssertUnwindSafe(f)).err().expect("a wrong shape must panic");
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string())).expect("a message")
}

#[track_caller]
fn complains<R>(f: impl FnOnce() -> R, parts: &[&str]) {
    let message = complaint(f);
    for part in parts {
        assert!(message.contains(part), "no {part:?} in {message:?}");
    }
}

#[test]
fn elementwise_ops() {
    let (a, b) = (ones(&[2, 3]), ones(&[2, 4]));
    complains(|| a.add(&b), &["add", "[2, 3]", "[2, 4]"]);
    complains(|| a.sub(&b), &["sub", "[2, 3]", "[2, 4]"]);
    complains(|| a.mul(&b), &["mul", "[2, 3]", "[2, 4]"]);
    complains(|| a.div(&b), &["div", "[2, 3]", "[2, 4]"]);
    complains(|| a.swiglu(&b), &["swiglu", "[2, 3]", "[2, 4]"]);
    complains(|| a.dropout(1.0, Generator::new(1)), &["dropout", "1"]);
}

#[test]
fn products() {
    complains(|| ones(&[2, 3]).matmul(&ones(&[4, 5])), &["matmul: [2, 3] × [4, 5]: inner dimensions 3 and 4 differ"]);
    complains(|| ones(&[3]).matmul(&ones(&[3, 5])), &["matmul", "[3]", "[3, 5]", "two axes"]);
    complains(|| ones(&[2, 4, 3]).matmul(&ones(&[3, 3, 5])), &["matmul", "[2]", "[3]", "broadcast"]);
    complains(|| ones(&[2, 3]).linear(&ones(&[5, 4]), None), &["linear", "[2, 3]", "weight [5, 4]"]);
    complains(|| ones(&[2, 3]).linear(&ones(&[5, 3]), Some(&ones(&[4]))), &["linear", "[2, 3]", "weight [5, 3]", "[4]"]);
    complains(|| ones(&[2, 3]).linears(&[(&ones(&[5, 3]), None), (&ones(&[5, 4]), None)]), &["linears", "[2, 3]", "weight [5, 4]"]);
    complains(|| ones(&[2, 3]).linears(&[]), &["linears", "no layer"]);
    let gated_mlp = |x: &[usize], gate: &[usize], up: &[usize], down: &[usize]| ones(x).gated_mlp(&ones(gate), &ones(up), &ones(down));
    complains(|| gated_mlp(&[2, 3], &[5, 4], &[5, 4], &[3, 5]), &["gated_mlp: [2, 3] with gate [5, 4], up [5, 4] and down [3, 5]"]);
    complains(|| gated_mlp(&[2, 3], &[5, 3], &[6, 3], &[3, 5]), &["gated_mlp", "gate [5, 3]", "up [6, 3]"]);
    complains(|| gated_mlp(&[2, 3], &[5, 3], &[5, 3], &[3, 6]), &["gated_mlp", "gate [5, 3]", "down [3, 6]"]);
    complains(|| gated_mlp(&[3], &[5, 3], &[5, 3], &[3, 5]), &["gated_mlp", "[3] with"]);
    assert_eq!(gated_mlp(&[2, 3], &[5, 3], &[5, 3], &[4, 5]).shape(), [2, 4]);
    for n in [2, 300] {
        let [x, gate, up, down, y_bar] = [[n, 3], [5, 3], [6, 3], [4, 6], [n + 1, 4]].map(|shape| ones(&shape).into_array());
        let cpu = Cpu::<f64>::new();
        complains(|| cpu.gated_mlp(&x, [&gate, &up, &down], true), &["gated_mlp", "up [6, 3]"]);
        let saved = [ones(&[n, 6]).into_array(), ones(&[n, 6]).into_array()];
        complains(|| cpu.gated_mlp_vjp(&x, [&up, &up, &down], &saved, &y_bar, [true; 4]), &["gated_mlp", "a cotangent of"]);
        complains(|| cpu.gated_mlp_vjp(&x, [&up, &gate, &down], &saved, &y_bar, [true; 4]), &["gated_mlp", "up [5, 3]"]);
    }
}

#[test]
fn views() {
    let x = ones(&[2, 3]);
    complains(|| x.reshape(&[4]), &["reshape", "[2, 3]", "[4]"]);
    complains(|| x.permute(&[0, 0]), &["permute", "[0, 0]", "[2, 3]"]);
    complains(|| x.permute(&[0]), &["permute", "[0]", "[2, 3]"]);
    complains(|| ones(&[3]).t(), &["t:", "[3]"]);
    complains(|| x.slice(1, 2, 4), &["slice", "2..4", "[2, 3]"]);
    complains(|| x.slice(2, 0, 1), &["slice", "axis 2", "[2, 3]"]);
    complains(|| x.broadcast(&[4, 3]), &["broadcast", "[2, 3]", "[4, 3]"]);
    complains(|| Tensor::concat(&[&x, &ones(&[2, 4])], 0), &["concat", "[2, 3]", "[2, 4]"]);
    complains(|| Tensor::concat(&[] as &[&Tensor<World>], 0), &["concat"]);
}

#[test]
fn reductions_and_rows() {
    let (x, scalar) = (ones(&[2, 3]), ones(&[]));
    complains(|| x.sum(2), &["sum", "axis 2", "[2, 3]"]);
    complains(|| x.mean(5), &["mean", "axis 5", "[2, 3]"]);
    complains(|| x.max(2), &["max", "axis 2", "[2, 3]"]);
    complains(|| scalar.softmax(), &["softmax", "scalar"]);
    complains(|| scalar.log_softmax(), &["log_softmax", "scalar"]);
    complains(|| scalar.logsumexp(), &["logsumexp", "scalar"]);
    complains(|| x.masked_logsumexp(&[true]), &["masked_logsumexp", "1", "[2, 3]"]);
    complains(|| x.logsumexp_without(&[0].into()), &["logsumexp_without", "1", "[2, 3]"]);
    complains(|| x.logsumexp_without(&[0, 3].into()), &["logsumexp_without", "3"]);
    complains(|| x.rms_norm(&ones(&[4]), 1e-5), &["rms_norm", "[2, 3]", "[4]"]);
    complains(|| x.layer_norm(&ones(&[4]), &ones(&[3]), 1e-5), &["layer_norm", "[2, 3]", "[4]"]);
    complains(|| x.layer_norm(&ones(&[3]), &ones(&[2]), 1e-5), &["layer_norm", "[2, 3]", "[2]"]);
}

#[test]
fn indexing() {
    let table = ones(&[4, 3]);
    complains(|| table.embedding(&indices(&[0, 4])), &["embedding", "index 4", "position 1", "4"]);
    complains(|| ones(&[4]).embedding(&indices(&[0])), &["embedding", "[4]"]);
    complains(|| table.gather(&indices(&[0, 1, 2])), &["gather", "3 indices", "[4, 3]"]);
    complains(|| table.gather(&indices(&[0, 1, 2, 3])), &["gather", "index 3"]);
    complains(|| table.scatter_add(&indices(&[0]), 5), &["scatter_add", "1 indices", "[4, 3]"]);
    complains(|| table.scatter_add_rows(&indices(&[0]), 5), &["scatter_add_rows", "1 indices", "[4, 3]"]);
    complains(|| table.cross_entropy(&indices(&[0])), &["cross_entropy", "1 targets", "[4, 3]"]);
    complains(|| table.cross_entropy(&indices(&[0, 1, 2, 3])), &["cross_entropy", "index 3", "position 3"]);
    complains(|| table.linear_log_prob(&ones(&[7, 2]), &indices(&[0; 4])), &["linear_log_prob", "[4, 3]", "[7, 2]"]);
    complains(|| table.linear_log_prob(&ones(&[7, 3]), &indices(&[7; 4])), &["linear_log_prob", "index 7"]);
}

#[test]
fn attention_and_rope() {
    let (q, k) = (ones(&[5, 3, 4]), ones(&[5, 2, 4]));
    let five = Segments::of_lengths(&[2, 3]);
    complains(|| q.attention(&k, &k, &five, 1.0), &["attention", "[5, 3, 4]", "[5, 2, 4]"]);
    complains(|| q.attention(&q, &q, &Segments::of_lengths(&[4]), 1.0), &["attention", "(4, 4)", "5"]);
    complains(|| Segments::of_queries_and_keys(&[3], &[2]), &["segments", "[3]", "[2]"]);
    complains(|| Segments::of_lengths(&[3]).with_window(Some(0)), &["segments", "0"]);
    let table = RotaryTable::new(&World::new(), &[0, 1], &[1.0], Pairing::Adjacent);
    complains(|| q.rope(&table), &["rope", "[5, 3, 4]", "2 positions"]);
}

#[test]
fn tensors_and_gradients() {
    complains(|| Tensor::constant(&World::new(), &[1.0, 2.0], &[3]), &["tensor", "2 elements", "[3]"]);
    complains(|| ones(&[2]).item(), &["item", "[2]"]);
    complains(|| ones(&[2]).to_parameter().backward(), &["backward", "[2]"]);
    complains(|| ones(&[2]).to_parameter().backward_with(&ones(&[3])), &["backward_with", "[2]", "[3]"]);
}

/// The location in the panic is the caller's, not one inside the engine.
#[test]
fn the_panic_points_at_the_caller() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let here = file!();
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let _ = sender.send(info.location().map(|location| location.file().to_string()));
    }));
    let outcome = catch_unwind(|| ones(&[2, 3]).matmul(&ones(&[4, 5])));
    std::panic::set_hook(before);
    assert!(outcome.is_err());
    assert!(receiver.try_iter().flatten().any(|file| file == here), "no panic was located in {here}");
}

/// Extents of 0 are shapes like any other.
#[test]
fn empty_tensors_are_not_wrong() {
    fn check<B: Backend>(backend: &B) {
        let empty = Tensor::parameter(backend, &[], &[0, 3]);
        let product = empty.matmul(&Tensor::full(backend, 1.0, &[3, 2]));
        assert_eq!(product.shape(), [0, 2]);
        assert_eq!(product.sum_all().item(), 0.0);
        let inner = Tensor::full(backend, 1.0, &[2, 0]).matmul(&Tensor::full(backend, 1.0, &[0, 3]));
        assert_eq!(inner.to_f64(), [0.0; 6]);
        assert_eq!(empty.softmax().shape(), [0, 3]);
        assert_eq!(empty.mul(&empty).sum_all().backward().of(&empty).shape(), [0, 3]);
    }
    check(&World::new());
    check(&Device::default());
}
