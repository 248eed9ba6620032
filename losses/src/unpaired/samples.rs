//! What a loss of labelled rows is checked and explained on: log-probabilities down to −1e4, and two rows worked out.

use super::row::{RowInputs, RowLoss};
use crate::preference_loss::Need;
use engine::explain::Example;
use engine::gradcheck::{Draw, Function, Input, Sample};
use engine::{Backend, Tensor};

/// What the file of every loss of labelled rows uses.
pub(crate) mod prelude {
    pub(crate) use super::{row_example, row_sample};
    pub(crate) use crate::hyperparameters::{Hyperparameters, Setting};
    pub(crate) use crate::preference_loss::{Need, PreferenceLoss};
    pub(crate) use crate::unpaired::row::{LabelledRow, RowInputs, RowLoss};
    pub(crate) use engine::explain::Example;
    pub(crate) use engine::gradcheck::{Draw, Sample};
    pub(crate) use engine::{Backend, Scalar, Tensor};
}

/// Log-probabilities and labels of a batch of rows. They are numbers of f32 too, so that both precisions see the same inputs.
#[derive(Clone, Debug)]
struct Domain {
    policy: Vec<f64>,
    reference: Vec<f64>,
    labels: Vec<bool>,
    divergence: f64,
}

/// The policy from −1e-3 to −1e4; the reference at 0 to 2 times that, so that its rounding is no larger than the policy's.
fn log_probabilities(draw: &mut Draw) -> Domain {
    let n = draw.extent();
    let rounded = |x: f64| f64::from(x as f32);
    let policy: Vec<f64> = draw.log_probabilities(&[n]).data.into_iter().map(rounded).collect();
    let times = draw.uniform(&[n], 0.0, 2.0).data;
    let reference = policy.iter().zip(times).map(|(l, times)| rounded(l * times)).collect();
    let labels = (0..n).map(|_| draw.coin()).collect();
    Domain { policy, reference, labels, divergence: rounded(draw.uniform(&[], 0.0, 3.0).data[0]) }
}

/// A loss of labelled rows, as it is trained with or as its twin, as a function of the policy's log-probabilities.
struct OfPolicy<L> {
    loss: L,
    domain: Domain,
    is_twin: bool,
}

impl<L: RowLoss> Function for OfPolicy<L> {
    fn call<B: Backend>(&self, x: &[Tensor<B>]) -> Tensor<B> {
        let reference = Tensor::constant(x[0].backend(), &self.domain.reference, &[self.domain.reference.len()]);
        let inputs = RowInputs::new(&x[0], &reference, &self.domain.labels).expect("a domain's vectors have one length");
        let inputs = inputs.with_divergence(self.domain.divergence);
        if self.is_twin { self.loss.twin(&inputs) } else { self.loss.evaluate(&inputs) }
    }
}

/// A loss with its composition as twin.
fn sample_of<L: RowLoss>(loss: L, domain: Domain) -> Sample {
    let inputs = [Input::new(domain.policy.clone(), &[domain.policy.len()])];
    let twin = OfPolicy { loss, domain: domain.clone(), is_twin: true };
    Sample::new(OfPolicy { loss, domain, is_twin: false }, inputs).with_twin(twin)
}

/// A loss of labelled rows on random rows.
pub(crate) fn row_sample<L: RowLoss>(loss: L, draw: &mut Draw) -> Sample {
    let domain = log_probabilities(draw);
    sample_of(loss, domain)
}

/// A loss worked out on two rows: a desirable completion that became likelier, and an undesirable one that became less likely. `settings`
/// says which loss it is.
pub(crate) fn row_example<L: RowLoss>(loss: L, settings: &str) -> Example {
    let divergence = 0.3;
    let domain = Domain { policy: vec![-11.0, -13.5], reference: vec![-12.0, -13.0], labels: vec![true, false], divergence };
    let z = if loss.needs().contains(&Need::Divergence) { format!("; z = {divergence}") } else { String::new() };
    let given = format!("{settings}; reference: ln π_ref = [-12, -13]; labels: [desirable, undesirable]{z}");
    Example::new(&format!("{}(l) of each row", L::NAME), &["l"], sample_of(loss, domain)).given(given)
}
