//! Ops that may work in their operand's own storage: where something else shares it, it stays as it is; the result and the gradients are those of
//! the op that does not.

use engine::{Cpu, Pairing, RotaryTable, Tensor};

type T = Tensor<Cpu<f32>>;

/// Tensors of this shape, constant until they are made parameters.
const SHAPE: [usize; 3] = [4, 40, 7];

fn numbers(from: f64) -> Vec<f64> {
    (0..SHAPE.iter().product::<usize>()).map(|i| (from + 0.37 * i as f64).sin()).collect()
}

fn constant(backend: &Cpu<f32>, from: f64) -> T {
    Tensor::parameter(backend, &numbers(from), &SHAPE).detach()
}

fn table(backend: &Cpu<f32>, pairing: Pairing) -> RotaryTable<Cpu<f32>> {
    RotaryTable::new(backend, &[0, 3, 9, 4], &[1.0, 0.1, 0.01], pairing)
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
    let backend = Cpu::<f32>::new();
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
    let backend = Cpu::<f32>::new();
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
#[should_panic(expected = "into_add")]
fn shapes_that_would_broadcast_are_refused() {
    let backend = Cpu::<f32>::new();
    let (matrix, vector) = (Tensor::full(&backend, 1.0, &[2, 3]), Tensor::full(&backend, 1.0, &[3]));
    let _ = matrix.into_add(&vector);
}
