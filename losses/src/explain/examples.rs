//! The worked examples of the losses: one function a loss, by its module's name.

use crate::cdpo::Cdpo;
use crate::dpo::Dpo;
use crate::hinge::Hinge;
use crate::ipo::Ipo;
use crate::pair::PairLoss;
use crate::robust::Robust;
use crate::samples::{Domain, pair_sample};
use crate::slpo::Slpo;
use crate::slpo_exact::{ExactTargets, PairRows};
use crate::slpo_gkl::SlpoGkl;
use crate::slpo_token::Plain;
use crate::weights::Weights;
use engine::explain::Example;
use engine::gradcheck::{Input, Sample};
use engine::{Backend, Cpu, Tensor, function};

/// Two pairs: one that the model has the right way round by more than the reference, and one the wrong way round.
const PAIRS: [[f64; 2]; 4] = [[-11.0, -7.0], [-13.5, -6.0], [-12.0, -7.5], [-13.0, -8.0]];
const PAIRS_GIVEN: &str = "β = 0.1; reference: ln π_w = [-12, -7.5], ln π_l = [-13, -8]";

/// A pairwise loss on [l_w, l_l, ln π_w, ln π_l].
fn pairs<L: PairLoss>(loss: L, [chosen, rejected, reference_chosen, reference_rejected]: [[f64; 2]; 4], given: &'static str) -> Example {
    let domain = Domain {
        chosen: chosen.to_vec(),
        rejected: rejected.to_vec(),
        reference_chosen: reference_chosen.to_vec(),
        reference_rejected: reference_rejected.to_vec(),
        lengths: (vec![1, 1], vec![1, 1]),
    };
    Example::new(&format!("{}(l_w, l_l) of each pair", L::NAME), &["l_w", "l_l"], pair_sample(loss, domain)).given(given)
}

pub(super) fn dpo() -> Example {
    pairs(Dpo { beta: 0.1 }, PAIRS, PAIRS_GIVEN)
}

pub(super) fn cdpo() -> Example {
    pairs(Cdpo { beta: 0.1, label_smoothing: 0.1 }, PAIRS, "ε = 0.1, β = 0.1; reference: ln π_w = [-12, -7.5], ln π_l = [-13, -8]")
}

pub(super) fn robust() -> Example {
    pairs(Robust { beta: 0.1, label_smoothing: 0.1 }, PAIRS, "ε = 0.1, β = 0.1; reference: ln π_w = [-12, -7.5], ln π_l = [-13, -8]")
}

pub(super) fn ipo() -> Example {
    pairs(Ipo { beta: 0.1, length_normalize: false }, PAIRS, "the sum form, β = 0.1; reference: ln π_w = [-12, -7.5], ln π_l = [-13, -8]")
}

pub(super) fn hinge() -> Example {
    let numbers = [[-11.0, -2.0], [-13.5, -16.0], [-12.0, -9.0], [-13.0, -8.0]];
    pairs(Hinge { beta: 0.1 }, numbers, "β = 0.1; reference: ln π_w = [-12, -9], ln π_l = [-13, -8]; the second pair is past the kink")
}

/// Completions of which the first pair has much of the mass, the second little.
const LIKELY: [[f64; 2]; 4] = [[-1.5, -5.0], [-2.0, -6.5], [-1.75, -6.0], [-1.625, -6.0]];

pub(super) fn slpo() -> Example {
    let given = "Eq 7 with α = 0.75; reference: ln π_w = [-1.75, -6], ln π_l = [-1.625, -6]";
    pairs(Slpo { weights: Weights::Eq7 { alpha: 0.75 } }, LIKELY, given)
}

pub(super) fn slpo_gkl() -> Example {
    let given = "Eq 7 with α = 0.75; reference: ln π_w = [-1.75, -600], ln π_l = [-1.625, -600]";
    let numbers = [[-1.5, -599.0], [-2.0, -600.5], [-1.75, -600.0], [-1.625, -600.0]];
    pairs(SlpoGkl { weights: Weights::Eq7 { alpha: 0.75 } }, numbers, given)
}

/// Two positions of four tokens; at the second, both completions have the same token.
fn tokens() -> (Plain, Input) {
    let plain = Plain { chosen: [0, 2].into(), rejected: [1, 2].into(), w_w: vec![0.5, 0.25], w_l: vec![0.125, 0.125], keep: None };
    (plain, Input::new(vec![1.0, 2.0, 0.5, -1.0, 0.0, 1.0, -0.5, 0.5], &[1, 2, 4]))
}

pub(super) fn slpo_token() -> Example {
    let (plain, logits) = tokens();
    let twin = plain.clone();
    let sample = Sample::new(function!(|x; plain: Plain| crate::slpo_token::slpo_token(&plain.with(&x[0]))), [logits])
        .with_twin(function!(|x; twin: Plain| crate::slpo_token::slpo_token_composed(&twin.with(&x[0]))));
    Example::new("slpo_token(z) at each position", &["z"], sample)
        .given("y_w = [0, 2], y_l = [1, 2], w_w = [0.5, 0.25], w_l = [0.125, 0.125]; at the second position the tokens collide")
}

pub(super) fn slpo_literal() -> Example {
    let (plain, logits) = tokens();
    let twin = plain.clone();
    let sample = Sample::new(function!(|x; plain: Plain| crate::slpo_literal::slpo_literal(&plain.with(&x[0]))), [logits])
        .with_twin(function!(|x; twin: Plain| crate::slpo_literal::slpo_literal_composed(&twin.with(&x[0]))));
    Example::new("slpo_literal(z) at each position", &["z"], sample).given("y_w = [0, 2], y_l = [1, 2], w_w = [0.5, 0.25]; there is no w_l")
}

/// Completions [0, 2] and [1, 2] over three tokens, of which 2 ends them; the loser's mass is moved.
fn exact_targets<B: Backend>(backend: &B) -> ExactTargets<B> {
    let reference = [0.5, 1.0, -1.0, 0.0, 0.5, 2.0, 0.5, 1.0, -1.0, 1.0, 0.0, 1.5];
    let reference = Tensor::constant(&Cpu::<f64>::new(), &reference, &[4, 3]);
    let pair = PairRows { chosen_start: 0, chosen: vec![0, 2], rejected_start: 2, rejected: vec![1, 2] };
    ExactTargets::from_reference(&reference, &[pair], 1.0).expect("the two completions part").to(backend)
}

pub(super) fn slpo_exact() -> Example {
    let shapes = "the logits have the reference's shape";
    let logits = Input::new(vec![0.0, 1.0, -0.5, 0.5, 0.0, 1.0, 0.0, 1.0, -0.5, 1.0, -1.0, 0.5], &[4, 3]);
    let sample = Sample::new(
        function!(|x; shapes: &'static str| crate::slpo_exact::slpo_exact(&x[0], &exact_targets(x[0].backend())).expect(shapes)),
        [logits],
    )
    .with_twin(function!(|x; shapes: &'static str| {
        crate::slpo_exact::slpo_exact_composed(&x[0], &exact_targets(x[0].backend())).expect(shapes)
    }))
    .with_inner_magnitude(1.0);
    Example::new("slpo_exact(z, &targets)", &["z"], sample)
        .given("y_w = [0, 2] on rows 0 and 1, y_l = [1, 2] on rows 2 and 3; row 2 is the fork again and does not count twice")
}

/// ln q of one row.
fn log_target<B: Backend>(backend: &B) -> Tensor<B> {
    Tensor::constant(backend, &[0.7, 0.2, 0.1], &[1, 3]).ln()
}

pub(super) fn soft_cross_entropy() -> Example {
    let shapes = "the logits have the target's shape";
    let sample = Sample::new(
        function!(|x; shapes: &'static str| {
            crate::soft_cross_entropy::soft_cross_entropy(&x[0], &log_target(x[0].backend())).expect(shapes)
        }),
        [Input::new(vec![1.0, 2.0, 0.5], &[1, 3])],
    )
    .with_twin(function!(|x; shapes: &'static str| {
        crate::soft_cross_entropy::soft_cross_entropy_composed(&x[0], &log_target(x[0].backend())).expect(shapes)
    }))
    .with_inner_magnitude(1.0);
    Example::new("soft_cross_entropy(z, ln q)", &["z"], sample).given("q = [0.7, 0.2, 0.1]")
}
