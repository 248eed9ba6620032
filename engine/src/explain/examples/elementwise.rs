//! Examples of the ops that work element by element.

use crate::example;
use crate::explain::Example;

pub(crate) fn add() -> Example {
    example!(|a: [1.0, 2.0, 3.0, 4.0] => [2, 2]; b: [10.0, 20.0] => [2]| a.add(b))
}

pub(crate) fn sub() -> Example {
    example!(|a: [1.0, 2.0, 3.0, 4.0] => [2, 2]; b: [10.0, 20.0] => [2]| a.sub(b))
}

pub(crate) fn mul() -> Example {
    example!(|a: [1.0, 2.0, 3.0] => [3]; b: [-2.0, 0.5, 4.0] => [3]| a.mul(b))
}

pub(crate) fn div() -> Example {
    example!(|a: [1.0, 2.0, 3.0] => [3]; b: [-2.0, 0.5, 4.0] => [3]| a.div(b))
}

pub(crate) fn neg() -> Example {
    example!(|x: [1.0, -2.0, 0.5] => [3]| x.neg())
}

pub(crate) fn scale() -> Example {
    example!(|x: [1.0, -2.0, 0.5] => [3]| x.scale(-2.5))
}

pub(crate) fn exp() -> Example {
    example!(|x: [-1.0, 0.5, 2.0] => [3]| x.exp())
}

pub(crate) fn ln() -> Example {
    example!(|x: [0.1, 1.0, 20.0] => [3]| x.ln())
}

pub(crate) fn sqrt() -> Example {
    example!(|x: [0.25, 2.0, 9.0] => [3]| x.sqrt())
}

pub(crate) fn powf() -> Example {
    example!(|x: [0.25, 1.0, 4.0] => [3]| x.powf(1.5))
}

pub(crate) fn tanh() -> Example {
    example!(|x: [-2.0, 0.5, 1.0] => [3]| x.tanh())
}

pub(crate) fn sigmoid() -> Example {
    example!(|x: [-2.0, 0.0, 3.0] => [3]| x.sigmoid())
}

pub(crate) fn log_sigmoid() -> Example {
    example!(|x: [-800.0, 0.0, 3.0] => [3]| x.log_sigmoid()).given("e^800 overflows; the value at x = -800 does not")
}

pub(crate) fn softplus() -> Example {
    example!(|x: [-2.0, 0.5, 800.0] => [3]| x.softplus()).given("e^800 overflows; the value at x = 800 does not")
}

pub(crate) fn log1mexp() -> Example {
    example!(|x: [-0.01, -0.5, -3.0] => [3]| x.log1mexp()).given("x = ln p with p = 0.990, 0.607 and 0.050")
}

pub(crate) fn silu() -> Example {
    example!(|x: [-2.0, 0.5, 3.0] => [3]| x.silu())
}

pub(crate) fn gelu() -> Example {
    example!(|x: [-2.0, 0.5, 3.0] => [3]| x.gelu_tanh())
}

pub(crate) fn relu() -> Example {
    example!(|x: [-2.0, 0.5, 3.0] => [3]| x.relu())
}

pub(crate) fn swiglu() -> Example {
    example!(|g: [-2.0, 0.5, 3.0] => [3]; u: [1.0, -2.0, 0.5] => [3]| g.swiglu(u), twin g.silu().mul(u))
}

pub(crate) fn dropout() -> Example {
    example!(|x: [1.0, 2.0, 3.0, 4.0] => [4]| x.dropout(0.5, crate::Generator::new(3)))
}

pub(crate) fn detach() -> Example {
    example!(|x: [1.0, 2.0, 3.0] => [3]| {
        let w = crate::Tensor::parameter(x.backend(), &[0.0, 1.0, -1.0], &[3]);
        x.mul(&w.exp().detach())
    })
    .given("w is a parameter too, but nothing reaches it: e^w is detached and counts as a constant")
}
