//! The exercises: four losses of one pair. You get [l_w, l_l, ln π_w, ln π_l]: the log-probabilities of the chosen and of the rejected
//! answer under the policy, then under the reference. Return the loss and its slopes in l_w and l_l. Replace `None` by
//! `Some((loss, [slope_w, slope_l]))` and run `cargo run -p slpo-losses --example loss_exercises -- NAME`.

/// The loss and its slopes; `None` if the exercise is not solved yet.
pub type Answer = Option<(f64, [f64; 2])>;

/// −ln σ(β(a − r)), a = l_w − ln π_w, r = l_l − ln π_l.
pub fn dpo(_pair: [f64; 4], _beta: f64) -> Answer {
    None
}

/// (a − r − 1/(2β))².
pub fn ipo_sum(_pair: [f64; 4], _beta: f64) -> Answer {
    None
}

/// max(0, 1 − β(a − r)): straight, then flat.
pub fn hinge(_pair: [f64; 4], _beta: f64) -> Answer {
    None
}

/// The paper's Eq 6: −m·l_w − (1 − m)·ln(1 − e^{l_w} − e^{l_l}), m = π_w + π_l.
pub fn slpo(_pair: [f64; 4]) -> Answer {
    None
}
