//! Examples of the ops that work row by row over the last axis.

use crate::example;
use crate::explain::Example;
use crate::tensor::Tensor;

pub(crate) fn softmax() -> Example {
    example!(|x: [1.0, 2.0, 0.5] => [3]| x.softmax(), twin x.log_softmax().exp())
}

pub(crate) fn log_softmax() -> Example {
    example!(|x: [1.0, 2.0, 0.5] => [3]| x.log_softmax(), twin x.sub(&x.logsumexp()))
}

pub(crate) fn logsumexp() -> Example {
    example!(|x: [1.0, 2.0, 0.5] => [3]| x.logsumexp(), twin x.exp().sum(0).ln())
}

pub(crate) fn layer_norm() -> Example {
    example!(
        |x: [1.0, 2.0, 4.0] => [3]; gain: [1.0, 0.5, 2.0] => [3]; bias: [0.0, 0.1, -0.1] => [3]| x.layer_norm(gain, bias, 0.01),
        twin {
            let centred = x.sub(&x.mean(0));
            let variance = centred.mul(&centred).mean(0);
            centred.div(&variance.add(&Tensor::full(x.backend(), 0.01, &[])).sqrt()).mul(gain).add(bias)
        }
    )
    .given("ε = 0.01")
}

pub(crate) fn rms_norm() -> Example {
    example!(
        |x: [1.0, 2.0, 4.0] => [3]; gain: [1.0, 0.5, 2.0] => [3]| x.rms_norm(gain, 0.01),
        twin {
            let mean_square = x.mul(x).mean(0);
            x.div(&mean_square.add(&Tensor::full(x.backend(), 0.01, &[])).sqrt()).mul(gain)
        }
    )
    .given("ε = 0.01")
}

pub(crate) fn cross_entropy() -> Example {
    example!(
        |z: [1.0, 2.0, 0.5, 0.0, -1.0, 3.0] => [2, 3]| z.cross_entropy(&[1, 0].into()),
        twin z.log_softmax().gather(&[1, 0].into()).reshape(&[2]).neg()
    )
    .given("row 0 has target 1, row 1 has target 0")
}
