//! Ops that may work in their operand's own storage: where something else shares it, it stays as it is; the result and the gradients are
//! those of the op that does not.

use engine::backend::Core;
use engine::watch::first_non_finite;
use engine::{Cuda, Device, Pairing, Precision, Reference, RotaryTable, Tensor, no_grad};
use std::path::Path;

type T = Tensor<Device>;

/// Tensors of this shape, constant until they are made parameters.
const SHAPE: [usize; 3] = [4, 40, 25];

fn numbers(from: f64) -> Vec<f64> {
    (0..SHAPE.iter().product::<usize>()).map(|i| (from + 0.37 * i as f64).sin()).collect()
}

fn constant(backend: &Device, from: f64) -> T {
    Tensor::parameter(backend, &numbers(from), &SHAPE).detach()
}

const POSITIONS: [u32; 4] = [0, 3, 9, 4];

/// Eleven pairs: a vector of eight and three by themselves; three features of the 25 stay.
fn frequencies() -> Vec<f64> {
    (0..11).map(|i| 0.7f64.powi(i)).collect()
}

fn table(backend: &Device, pairing: Pairing) -> RotaryTable<Device> {
    RotaryTable::new(backend, &POSITIONS, &frequencies(), pairing)
}

/// An op in place, and the one that is not.
type Twins = (&'static str, fn(T, &T) -> T, fn(&T, &T) -> T);

const TWINS: [Twins; 3] = [
    ("add", |a, b| a.into_add(b), |a, b| a.add(b)),
    (
        "rope of halves",
        |a, _| {
            let table = table(a.backend(), Pairing::RotateHalf);
            a.into_rope(&table)
        },
        |a, _| a.rope(&table(a.backend(), Pairing::RotateHalf)),
    ),
    (
        "rope of neighbours",
        |a, _| {
            let table = table(a.backend(), Pairing::Adjacent);
            a.into_rope(&table)
        },
        |a, _| a.rope(&table(a.backend(), Pairing::Adjacent)),
    ),
];

#[test]
fn values_are_those_of_the_twin_whether_the_storage_is_shared_or_not() {
    let backend = Device::default();
    for (name, in_place, twin) in TWINS {
        let (a, b) = (constant(&backend, 0.2), constant(&backend, 5.0));
        let (expected, before) = (twin(&a, &b).to_vec(), a.to_vec());
        assert_eq!(in_place(a.clone(), &b).to_vec(), expected, "{name}: shared");
        assert_eq!(a.to_vec(), before, "{name}: what others share stays");
        assert_eq!(in_place(a, &b).to_vec(), expected, "{name}: alone");
    }
}

#[test]
fn gradients_are_those_of_the_twin() {
    let backend = Device::default();
    for (name, in_place, twin) in TWINS {
        let gradients = |f: &dyn Fn(T, &T) -> T| {
            let (a, b) = (Tensor::parameter(&backend, &numbers(0.2), &SHAPE), Tensor::parameter(&backend, &numbers(5.0), &SHAPE));
            let loss = f(a.scale(1.5), &b.scale(0.5)).mul(&constant(&backend, 9.0)).sum_all();
            let found = loss.backward();
            [found.of(&a).to_vec(), found.of(&b).to_vec()]
        };
        assert_eq!(gradients(&in_place), gradients(&|a, b| twin(&a, b)), "{name}");
    }
}

#[test]
fn rotation_is_its_formula() {
    let backend = Device::default();
    let x = constant(&backend, 0.2);
    let (before, [tokens, heads, width], pairs) = (x.to_vec(), SHAPE, frequencies().len());
    for (pairing, apart, step) in [(Pairing::RotateHalf, pairs, 1), (Pairing::Adjacent, 1, 2)] {
        let mut expected = before.clone();
        for (token, head, pair) in (0..tokens * heads * pairs).map(|i| (i / (heads * pairs), i / pairs % heads, i % pairs)) {
            let angle = f64::from(POSITIONS[token]) * frequencies()[pair];
            let (cos, sin) = (angle.cos() as f32, angle.sin() as f32);
            let first = (token * heads + head) * width + pair * step;
            let (a, b) = (before[first], before[first + apart]);
            (expected[first], expected[first + apart]) = (a * cos - b * sin, b * cos + a * sin);
        }
        assert_eq!(x.clone().into_rope(&table(&backend, pairing)).to_vec(), expected, "{pairing:?}");
    }
}

#[test]
fn who_watches_for_what_is_not_finite_sees_the_op_and_its_parameter() {
    let backend = Device::default();
    let x = Tensor::parameter(&backend, &[3e38, 3e38], &[1, 1, 2]);
    let infinite = Tensor::full(&backend, f64::INFINITY, &[1, 1, 2]);
    // Turned by 45°, a pair of the largest numbers has a sum that is too large.
    let table = RotaryTable::new(&backend, &[1], &[std::f64::consts::FRAC_PI_4], Pairing::Adjacent);
    let rotated = || x.clone().into_rope(&table);
    let added = || x.clone().into_add(&infinite);
    for (op, f) in [("rope", &rotated as &dyn Fn() -> T), ("add", &added)] {
        for (_, found) in [first_non_finite(f), first_non_finite(|| no_grad(f))] {
            let found = found.expect("an infinity");
            assert_eq!((found.op, found.parameters), (op, x.id().into_iter().collect()));
        }
        assert_eq!(x.to_vec(), [3e38, 3e38], "{op}");
    }
}

#[test]
#[should_panic(expected = "into_add")]
fn shapes_that_would_broadcast_are_refused() {
    let backend = Device::default();
    let (matrix, vector) = (Tensor::full(&backend, 1.0, &[2, 3]), Tensor::full(&backend, 1.0, &[3]));
    let _ = matrix.into_add(&vector);
}

/// Rows of a cache are written by the device's own copy, which the definition from slices is held to: on the processor, and on a GPU or the
/// emulator, where there is one.
#[test]
fn rows_are_written_as_the_definition_says() {
    let rows: Vec<f32> = (0..3 * 2).map(|i| 100.0 + i as f32).collect();
    let places = [0..1, 1..1, 4..6];
    let written = |device: &Device| {
        let x = device.from_vec((0..7 * 2).map(|i| i as f32).collect(), &[7, 2]);
        let y = device.from_vec(rows.clone(), &[3, 2]);
        let shared = x.clone();
        let first = device.write_rows(x, &y, &places);
        assert!(device.to_vec(&shared).iter().enumerate().all(|(i, x)| *x == i as f32), "what is shared stays");
        let again = device.write_rows(first.clone(), &device.slice(&y, 0, 1, 2), &[2..2, 2..3]);
        [device.to_vec(&first), device.to_vec(&again)]
    };
    let definition = Reference::<f32>::new();
    let x = definition.from_vec((0..7 * 2).map(|i| i as f32).collect(), &[7, 2]);
    let first = definition.write_rows(x, &definition.from_vec(rows.clone(), &[3, 2]), &places);
    let again = definition.write_rows(first.clone(), &definition.from_vec(vec![102.0, 103.0], &[1, 2]), &[2..2, 2..3]);
    let wanted = [definition.to_vec(&first), definition.to_vec(&again)];
    let emulated = Cuda::emulated(&Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-kernels"), Precision::F32);
    let emulated = emulated.map_err(|reason| println!("skipped: kernels on the processor: {reason}"));
    for device in emulated.into_iter().map(Device::Cuda).chain([Device::default()]) {
        assert_eq!(written(&device), wanted, "{}", device.kind());
    }
}
