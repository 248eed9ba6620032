//! Examples of the ops that move, copy or add up elements.

use crate::example;
use crate::explain::Example;

pub(crate) fn reshape() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] => [2, 3]| x.reshape(&[3, 2]))
}

pub(crate) fn permute() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] => [2, 3]| x.permute(&[1, 0]))
}

pub(crate) fn slice() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0, 5.0] => [5]| x.slice(0, 1, 4))
}

pub(crate) fn concat() -> Example {
    example!(|a: [1.0, 2.0] => [2]; b: [3.0] => [1]| crate::Tensor::concat(&[a, b], 0))
}

pub(crate) fn broadcast() -> Example {
    example!(|x: [1.0, 2.0, 3.0] => [3]| x.broadcast(&[2, 3]))
}

pub(crate) fn sum() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] => [2, 3]| x.sum(1))
}

pub(crate) fn mean() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] => [2, 3]| x.mean(1))
}

pub(crate) fn max() -> Example {
    example!(|x: [1.0, 5.0, 3.0, 4.0, 2.0, 6.0] => [2, 3]| x.max(1))
}

pub(crate) fn embedding() -> Example {
    example!(|table: [0.1, 0.2, 0.3, 0.4, 0.5, 0.6] => [3, 2]| table.embedding(&[2, 0, 2].into()))
        .given("token 2 occurs twice and token 1 not at all")
}

pub(crate) fn scatter_add_rows() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] => [3, 2]| x.scatter_add_rows(&[1, 0, 1].into(), 2))
}

pub(crate) fn gather() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0, 5.0, 6.0] => [2, 3]| x.gather(&[2, 2, 0, 1].into()))
        .given("two entries of each row; in the first row one entry is taken twice")
}

pub(crate) fn scatter_add() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0] => [2, 2]| x.scatter_add(&[2, 2, 0, 1].into(), 3))
}
