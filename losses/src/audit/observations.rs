//! The key observations 1 to 4 about DPO.

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::instance::{
    constant, differentiate, evaluate, log_distribution, loss_of_log_probs, loss_of_logits, normals, number, pair_loss, sigmoid, uniform,
};
use super::tree::{END, Tree, VOCABULARY};
use crate::hyperparameters::Hyperparameters;
use crate::loss::Loss;
use engine::Generator;

pub const CLAIMS: &[super::claim::Computation] = &[k1, k2a, k2b, k3a, k3b, k4a, k4b];

/// Returns the hyper-parameters of DPO with its usual β.
fn dpo() -> Hyperparameters {
    Hyperparameters::default()
}

/// softmax(βS_w, βS_l)₁ is Bradley–Terry's probability e^{r_w}/(e^{r_w} + e^{r_l}) of the rewards r = βS.
fn k1(generator: &mut Generator) -> Claim {
    let rewards = normals(generator, 2, 1.5);
    let softmax = constant(&rewards).softmax().to_f64()[0];
    let bradley_terry = rewards[0].exp() / (rewards[0].exp() + rewards[1].exp());
    let loss = evaluate(&rewards, |s| loss_of_log_probs(Loss::Dpo, &dpo(), &s.scale(1.0 / dpo().beta), (0.0, 0.0)));
    let checks = vec![
        Check::new("the softmax", softmax, bradley_terry, round_off(1.0)),
        Check::new("DPO's loss", loss, -bradley_terry.ln(), round_off(5.0)),
    ];
    let holds = checks.iter().all(Check::agrees);
    let evidence =
        format!("Rewards {:.3} and {:.3}: softmax gives {softmax:.12}, Bradley–Terry {bradley_terry:.12}.", rewards[0], rewards[1]);
    Statement {
        id: "K1",
        claim: "KO1: the reward model and Bradley–Terry simplify to a two-way softmax",
        formula: "softmax(r_w, r_l)₁ = e^{r_w}/(e^{r_w} + e^{r_l})",
        source: concat!(file!(), "::k1"),
        verdicts: ["true (it is Bradley–Terry)", "false"],
    }
    .judge(checks, holds, evidence)
}

/// ∂L/∂g_t = −βσ(−βh) for every winning token: at the start (h = 0) and away from it.
fn k2a(generator: &mut Generator) -> Claim {
    let (t_w, t_l) = (3 + generator.below(4), 3 + generator.below(4));
    let beta = dpo().beta;
    let gradient = |g: &[f64]| {
        let loss = |g: &_| {
            let sum = |x: engine::Tensor<super::instance::World>| x.sum_all().reshape(&[1]);
            let (w, l) = (sum(engine::Tensor::slice(g, 0, 0, t_w)), sum(g.slice(0, t_w, t_w + t_l)));
            pair_loss(Loss::Dpo, &dpo(), (&w, &l), (0.0, 0.0))
        };
        differentiate(g, loss).1
    };
    let start = gradient(&vec![0.0; t_w + t_l]);
    let moved = normals(generator, t_w + t_l, 2.0);
    let h: f64 = moved[..t_w].iter().sum::<f64>() - moved[t_w..].iter().sum::<f64>();
    let later = gradient(&moved);
    let expected = -beta * sigmoid(-beta * h);
    let checks = vec![
        Check::new("the winning tokens' gradient at the start", start[0], -0.5 * beta, round_off(1.0)),
        Check::new("its spread over the winning tokens", distance(&start[..t_w], &vec![start[0]; t_w]), 0.0, round_off(1.0)),
        Check::new("the winning tokens' gradient later", later[0], expected, round_off(1.0)),
        Check::new("its spread then", distance(&later[..t_w], &vec![later[0]; t_w]), 0.0, round_off(1.0)),
    ];
    let holds = checks[1].agrees();
    let evidence = format!("All {t_w} winning tokens have {:.6} at the start, and {:.6} at the margin h = {h:.3}.", start[0], later[0]);
    Statement {
        id: "K2a",
        claim: "KO2: at the start all winning tokens share one gradient (with respect to their log-probabilities)",
        formula: "∂L/∂g_t = −βσ(−βh) for each t, h = Σ g_w − Σ g_l",
        source: concat!(file!(), "::k2a"),
        verdicts: ["true, and at every step, not only the start", "false"],
    }
    .judge(checks, holds, evidence)
}

/// ∂L/∂z_t = −β/2·(onehot − p_t) at the start: of different length for each token, and 0 on the shared prefix.
fn k2b(generator: &mut Generator) -> Claim {
    let tree = Tree::new();
    let logits = tree.draw(generator);
    let (winner, loser) = ([0, 0, 0, END], [0, 1, 1, END]);
    let log_prob = |completion: &[u32]| tree.token_log_probs(&constant(&logits), completion).sum_all().item();
    let reference = (log_prob(&winner), log_prob(&loser));
    let loss = |z: &_| {
        let of = |completion: &[u32]| tree.token_log_probs(z, completion).sum_all().reshape(&[1]);
        pair_loss(Loss::Dpo, &dpo(), (&of(&winner), &of(&loser)), reference)
    };
    let (_, gradient) = differentiate(&logits, loss);
    let norms = [0, 1, 2].map(|t| norm(&gradient[tree.row(&winner[..t]) * VOCABULARY..][..VOCABULARY]));
    let row = tree.row(&winner[..2]) * VOCABULARY;
    let p = constant(&logits[row..row + VOCABULARY]).softmax().to_f64();
    let half = 0.5 * dpo().beta;
    let last = half * norm(&[1.0 - p[0], -p[1], -p[2]]);
    let predicted = [0.0, half * 2f64.sqrt(), last];
    let spread = |norms: &[f64; 3]| norms.iter().fold(0.0, |a: f64, &b| a.max(b)) - norms.iter().fold(f64::MAX, |a, &b| a.min(b));
    let checks = vec![
        Check::new("the spread of the gradients' lengths", spread(&norms), spread(&predicted), round_off(1.0)),
        Check::new("the length on the shared prefix", norms[0], predicted[0], round_off(1.0)),
        Check::new("the length at the fork", norms[1], predicted[1], round_off(1.0)),
        Check::new("the length after the fork", norms[2], predicted[2], round_off(1.0)),
    ];
    let holds = spread(&norms) <= round_off(1.0);
    let evidence = format!(
        "Lengths of the logit gradient along the winner: {:.6} on the prefix that the loser shares, {:.6} at the fork, {:.6} after it.",
        norms[0], norms[1], norms[2]
    );
    Statement {
        id: "K2b",
        claim: "KO2: at the start all winning tokens share one gradient (with respect to their logits)",
        formula: "∂L/∂z_t = −βσ(−βh)(onehot(y_t) − p_t)",
        source: concat!(file!(), "::k2b"),
        verdicts: ["true", "false: it differs by token, and is zero on a shared prefix"],
    }
    .judge(checks, holds, evidence)
}

fn norm(x: &[f64]) -> f64 {
    x.iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// Number of inputs of the softmax in Key Observation 3.
pub const T: usize = 100;

/// σ″(x).
pub fn second_derivative(x: f64) -> f64 {
    let s = sigmoid(x);
    s * (1.0 - s) * (1.0 - 2.0 * s)
}

/// Returns T inputs around a centre, whose mean and standard deviation (over the T) are exactly these.
pub fn inputs(deviations: &[f64], centre: f64, deviation: f64) -> Vec<f64> {
    let n = deviations.len() as f64;
    let mean = deviations.iter().sum::<f64>() / n;
    let scale = (deviations.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / n).sqrt();
    deviations.iter().map(|x| centre + deviation * (x - mean) / scale).collect()
}

/// mean σ(kTα_t) − σ(kΣα): the gap of the softmax of (kΣα, 0), by the engine. At k = 2 it is the gap of the softmax of (Σα, −Σα). There the
/// winner's and the loser's inputs move in sync, in opposite directions.
pub fn jensen_gap(alpha: &[f64], k: f64) -> f64 {
    let alpha = constant(&alpha.iter().map(|a| k * a).collect::<Vec<_>>());
    alpha.scale(alpha.len() as f64).sigmoid().mean_all().item() - alpha.sum_all().sigmoid().item()
}

/// ½k²T²Var(α)·σ″(kTᾱ), and the bound of the remainder: (kT)³·mean|α − ᾱ|³/6·max|σ‴|, where |σ‴| ≤ 1/8.
pub fn second_order(alpha: &[f64], k: f64) -> (f64, f64) {
    let (t, kt) = (alpha.len() as f64, k * alpha.len() as f64);
    let mean = alpha.iter().sum::<f64>() / t;
    let moment = |n: i32| alpha.iter().map(|a| (a - mean).abs().powi(n)).sum::<f64>() / t;
    (0.5 * kt * kt * moment(2) * second_derivative(kt * mean), kt.powi(3) * moment(3) / 6.0 / 8.0)
}

/// mean σ(Tα_t) − σ(Tᾱ) = ½T²Var(α)·σ″(Tᾱ) + R.
fn k3a(generator: &mut Generator) -> Claim {
    let deviations = normals(generator, T, 1.0);
    let centre = uniform(generator, 0.007, 0.02);
    let alpha = inputs(&deviations, centre, 0.001);
    let (predicted, remainder) = second_order(&alpha, 1.0);
    let (gap, equal) = (jensen_gap(&alpha, 1.0), jensen_gap(&[centre; T], 1.0));
    // No centre gives more than the extremum of σ″, at σ = (3 − √3)/6: 1/(6√3).
    let ceiling = 0.5 * (T as f64 * 0.001).powi(2) / (6.0 * 3f64.sqrt());
    let in_sync = inputs(&deviations, 0.01, 0.001);
    let (both, (both_predicted, both_remainder)) = (jensen_gap(&in_sync, 2.0), second_order(&in_sync, 2.0));
    let needed = 0.001 * (1.608e-3 / both_predicted.abs()).sqrt();
    let checks = vec![
        Check::new("the gap for unequal inputs", gap, predicted, remainder + round_off(1.0)),
        Check::new("the gap for equal inputs", equal, 0.0, round_off(1.0)),
        Check::new("the gap of (Σα, −Σα) at ᾱ = 0.01", both, both_predicted, both_remainder + round_off(1.0)),
        // (½·0.2²)·σ″(2) = −1.599250e-3, given to half of its last digit.
        Check::new("its prediction", both_predicted, -1.599250e-3, 5e-10),
    ];
    let holds = equal.abs() <= round_off(1.0);
    let evidence = format!(
        "T = {T} inputs about {centre:.4}: the gap is {equal:.1e} where they are equal; with standard deviation 1e-3 it is {gap:.4e}, predicted \
         {predicted:.4e} up to {remainder:.0e}. At this T and deviation it cannot pass {ceiling:.2e} for any mean, so a gap of 1.605e-3 \
         (1.608e-3 predicted) is not of this softmax. It fits the softmax of (Σα, −Σα), winner and loser in sync, at ᾱ = 0.01: {:.3e}, \
         predicted {:.4e}; 1.608e-3 is a sample deviation of {needed:.6}, well within the 7% of 100 draws.",
        both.abs(),
        both_predicted.abs(),
    );
    Statement {
        id: "K3a",
        claim: "KO3: for inputs that move together the softmax of a sum is the mean of softmaxes at temperature 1/T",
        formula: "mean σ(Tα_t) − σ(Σα_t) = ½T²Var(α)·σ″(Tᾱ) + O(3)",
        source: concat!(file!(), "::k3a"),
        verdicts: ["exact for equal inputs, approximate otherwise", "false"],
    }
    .judge(checks, holds, evidence)
}

/// ∂/∂α_k [−ln σ(Σα)] = −σ(−Σα): −½ at zero for every T.
fn k3b(generator: &mut Generator) -> Claim {
    let gradient = |t: usize, alpha: f64| differentiate(&vec![alpha; t], |x| x.sum_all().log_sigmoid().neg()).1[0];
    let many = 50 + generator.below(200);
    let moved = uniform(generator, 0.5, 3.0) / many as f64;
    let (one, all, later) = (gradient(1, 0.0), gradient(many, 0.0), gradient(many, moved));
    let checks = vec![
        Check::new("the gradient at zero for many inputs", all, -0.5, round_off(1.0)),
        Check::new("the gradient at zero for one input", one, -0.5, round_off(1.0)),
        Check::new("the gradient away from zero", later, -sigmoid(-(many as f64) * moved), round_off(1.0)),
    ];
    let holds = all.abs() < one.abs() - round_off(1.0);
    let evidence = format!(
        "At zero each input's gradient is {one:.6} for T = 1 and {all:.6} for T = {many}, so the sum starts {many} times as fast; it falls to \
         {later:.4} once every input stands at {moved:.4}."
    );
    Statement {
        id: "K3b",
        claim: "KO3: the low temperature strongly disincentivises material updates",
        formula: "∂/∂α_k [−ln σ(Σα)] = −σ(−Σα)",
        source: concat!(file!(), "::k3b"),
        verdicts: ["true", "misleading: at the start the gradient is the same for every T"],
    }
    .judge(checks, holds, evidence)
}

/// With π_w and π_l fixed, L does not depend on how the other sequences share their mass.
fn k4a(generator: &mut Generator) -> Claim {
    let n = 6;
    let log_pi = log_distribution(generator, n);
    let reference = (log_pi[0] - 0.3, log_pi[1] + 0.2);
    let others = constant(&log_pi[2..]).logsumexp().item();
    let moved: Vec<f64> = log_distribution(generator, n - 2).into_iter().map(|x| x + others).collect();
    let moved = [&log_pi[..2], &moved].concat();
    let total_variation = 0.5 * log_pi.iter().zip(&moved).map(|(a, b)| (a.exp() - b.exp()).abs()).sum::<f64>();
    let loss = |z: &_| loss_of_logits(Loss::Dpo, &dpo(), z, reference);
    let (before, gradient) = differentiate(&log_pi, loss);
    let after = evaluate(&moved, loss);
    let on_others = gradient[2..].iter().fold(0.0f64, |a, g| a.max(g.abs()));
    let checks = vec![
        Check::new("the change of the loss", after - before, 0.0, round_off(1.0)),
        Check::new("the gradient on the other sequences' logits", on_others, 0.0, round_off(1.0)),
    ];
    let holds = checks.iter().all(Check::agrees);
    let evidence =
        format!("A total variation of {total_variation:.4} among the other sequences changes the loss by {:.1e}.", after - before);
    Statement {
        id: "K4a",
        claim: "KO4: DPO's loss looks at no sequence but the winner and the loser",
        formula: "L is a function of π(y_w) and π(y_l) alone",
        source: concat!(file!(), "::k4a"),
        verdicts: ["true", "false"],
    }
    .judge(checks, holds, evidence)
}

/// L = ln(1 + e^{−βh}) ≈ e^{−βh} at π_w about 10⁻³ and π_l about e^{−1000}; and S_w ≤ −ln π_ref(w).
fn k4b(generator: &mut Generator) -> Claim {
    let beta = dpo().beta;
    let (l_w, l_l) = (uniform(generator, 1e-4, 1e-2).ln(), -uniform(generator, 900.0, 1200.0));
    let reference = (l_w + uniform(generator, -2.0, 2.0), uniform(generator, -8.0, -3.0));
    let at = |l_w: f64| evaluate(&[l_w, l_l], |x| loss_of_log_probs(Loss::Dpo, &dpo(), x, reference));
    let h = (l_w - reference.0) - (l_l - reference.1);
    let (loss, bound) = (at(l_w), -reference.0);
    let highest = evaluate(&[60.0, 0.0, 0.0], |z| z.log_softmax().slice(0, 0, 1).sub(&number(z, reference.0)));
    // ln(1 + x) = x to within x², which is x = e^{−βh} relatively. −βh itself carries its own rounding.
    let size = round_off(beta * h.abs());
    let checks = vec![
        Check::new("ln L", loss.ln(), -beta * h, size + (-beta * h).exp()),
        Check::new("S_w where the winner is certain", highest, bound, round_off(bound)),
    ];
    let holds = !(loss < 1e-30 && l_w.exp() < 0.5) && highest > 1e3;
    let evidence = format!(
        "π_w = {:.2e} and ln π_l = {l_l:.0} give L = {loss:.1e}: the loss is spent with the winner all but impossible. S_w cannot pass \
         −ln π_ref(w) = {bound:.3}.",
        l_w.exp()
    );
    Statement {
        id: "K4b",
        claim: "KO4: left unchecked, DPO forces the winner to probability 1 and each shifted logit to ±∞",
        formula: "L = ln(1 + e^{−βh}) ≈ e^{−βh}; S_w ≤ −ln π_ref(w)",
        source: concat!(file!(), "::k4b"),
        verdicts: ["true", "false: the loss vanishes with the loser alone, and S_w is bounded above"],
    }
    .judge(checks, holds, evidence)
}
