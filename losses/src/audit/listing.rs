//! Section 6.1's listing at its edges: the loser after the fork, prompts, padding, lengths, missing masses.

use super::claim::{Check, Claim, Statement, distance, round_off};
use super::instance::{constant, differentiate, normals, uniform};
use super::positions::{Positions, TOKENS, Vector, token_inputs};
use super::tree::{END, FREE, Tree, VOCABULARY};
use crate::error::LossError;
use crate::tokenwise::slpo_literal::slpo_literal;
use crate::tokenwise::slpo_token::slpo_token;
use crate::tokenwise::token::{TokenInputs, TokenWeights};
use engine::Generator;
use engine::backend::Indices;

/// A completion of [`FREE`] tokens and its end.
type Completion = [u32; FREE + 1];

/// A model given by its next-token log-probabilities, with a winner and a loser that part at the second position.
struct Forked {
    tree: Tree,
    log_probs: Vec<f64>,
    masses: Vec<f64>,
    winner: Completion,
    loser: Completion,
}

impl Forked {
    fn draw(generator: &mut Generator) -> Self {
        let tree = Tree::new();
        let logits = tree.draw(generator);
        let log_probs = constant(&logits).reshape(&[tree.rows(), VOCABULARY]).log_softmax().to_f64();
        let masses = tree.masses(&log_probs);
        Self { tree, log_probs, masses, winner: [0, 0, 1, END], loser: [0, 1, 0, END] }
    }

    /// Returns the logits that the listing has: those along the winner.
    fn rows(&self) -> Vector {
        let along = self.tree.along(&self.log_probs, &self.winner)[..FREE * VOCABULARY].to_vec();
        constant(&along).reshape(&[FREE, VOCABULARY])
    }

    /// Computes the column ln p of y_l that these logits give: the token form's loss with all mass on y_l.
    fn column(&self) -> Vec<f64> {
        let tokens = |completion: &Completion| Indices::from(completion[..FREE].to_vec());
        let inputs = token_inputs(&self.rows(), &tokens(&self.winner), &tokens(&self.loser), &[0.0; FREE], Some(&[1.0; FREE]));
        slpo_token(&inputs).to_f64().iter().map(|x| -x).collect()
    }

    /// Computes ln p(token | prefix), from the enumerated masses of all completions.
    fn log_next(&self, prefix: &[u32], token: u32) -> f64 {
        let mass = |prefix: &[u32]| -> f64 {
            let begins = self.tree.completions.iter().zip(&self.masses).filter(|(completion, _)| completion.starts_with(prefix));
            begins.map(|(_, mass)| mass).sum()
        };
        (mass(&[prefix, &[token]].concat()) / mass(prefix)).ln()
    }

    /// Computes the listing's loss for a y_l of two tokens that is padded to y_w's three with this token.
    fn padded(&self, padding: u32) -> f64 {
        let inputs = token_inputs(&self.rows(), &self.winner[..FREE].to_vec().into(), &[0u32, 1, padding].into(), &[0.0; FREE], None);
        inputs.mean(&slpo_literal(&inputs)).item()
    }

    /// True if lists of each completion's own length are refused. The listing would need such lists.
    fn unequal_lengths_are_refused(&self) -> bool {
        let weights = TokenWeights::given(&constant(&[0.0; FREE]), None).expect("one list");
        let (chosen, rejected) = (self.winner[..FREE].to_vec().into(), [0u32, 1].into());
        matches!(TokenInputs::new(&self.rows(), &chosen, &rejected, weights, None), Err(LossError::Count { .. }))
    }
}

/// p(l_t | w_<t), which the listing's logits hold, against p(l_t | l_<t): the same up to the fork only.
pub fn i4(generator: &mut Generator) -> Claim {
    let pair = Forked::draw(generator);
    let column = pair.column();
    let predicted: Vec<f64> = (0..FREE).map(|t| pair.log_next(&pair.winner[..t], pair.loser[t])).collect();
    let factors: Vec<f64> = (0..FREE).map(|t| pair.log_next(&pair.loser[..t], pair.loser[t])).collect();
    let total = |x: &[f64]| x.iter().sum::<f64>();
    // At the third position w_w = 0. The listing's term is −ln of the mass of all tokens but y_w's token 1 and the padding, which is one
    // token of three.
    let padding = pair.padded(0) - pair.padded(END);
    let last = |token| pair.log_next(&pair.winner[..2], token);
    let checks = vec![
        Check::new("the column's sum", total(&column), total(&predicted), round_off(5.0)),
        Check::new("its distance from ln p(l_t | w_<t)", distance(&column, &predicted), 0.0, round_off(5.0)),
        Check::new("up to the fork, from the loser's factors", distance(&column[..2], &factors[..2]), 0.0, round_off(5.0)),
        Check::new("the loser's factors' sum", total(&factors), pair.masses[pair.tree.index(&pair.loser)].ln(), round_off(5.0)),
        Check::new("are two lengths refused", f64::from(pair.unequal_lengths_are_refused()), 1.0, 0.0),
        Check::new("what a shorter loser's padding token changes", padding, (last(0) - last(END)) / FREE as f64, round_off(5.0)),
    ];
    let holds = distance(&column, &factors) <= round_off(5.0);
    let evidence = format!(
        "The listing's column for y_l sums to {:.5}, ln π(y_l) is {:.5}: they part after the fork, where it reads {:.5} for {:.5}. Its arguments \
         are one (B, T) for both; a loser of 2 tokens beside a winner of 3 must be padded, and another padding token changes the loss by {padding:+.4}.",
        total(&column),
        total(&factors),
        column[2],
        factors[2]
    );
    Statement {
        id: "I4",
        claim: "The listing's y_l column holds the factors of π(y_l)",
        formula: "p(l_t | w_<t) against p(l_t | l_<t)",
        source: concat!(file!(), "::i4"),
        verdicts: ["true", "false after the fork: it is scored under y_w's prefix, and lengths are forced equal"],
    }
    .judge(checks, holds, evidence)
}

/// A batch row whose first position belongs to the prompt and whose last is padding. At these positions y_w and y_l hold the same token.
struct ListingRow {
    positions: Positions,
    w_w: Vec<f64>,
}

/// Number of its positions: prompt, two of the completion, padding.
const LENGTH: usize = 4;

impl ListingRow {
    fn draw(generator: &mut Generator) -> Self {
        let positions = Positions::draw(generator, LENGTH);
        let w_w = (0..LENGTH).map(|_| uniform(generator, 0.3, 0.6)).collect();
        Self { positions, w_w }
    }

    /// Returns the row with this token in both completions at a position.
    fn inputs(&self, at: usize, token: u32, keep: Option<&[bool]>) -> TokenInputs<super::instance::World> {
        let with = |tokens: &Indices| {
            let mut tokens = tokens.to_vec();
            tokens[at] = token;
            Indices::from(tokens)
        };
        let logits = constant(&self.positions.logits).reshape(&[LENGTH, TOKENS]);
        let weights = TokenWeights::given(&constant(&self.w_w), None).expect("one list");
        TokenInputs::new(&logits, &with(&self.positions.chosen), &with(&self.positions.rejected), weights, keep).expect("tokens in range")
    }

    /// Computes the effect of another token at a position: in the listing, as predicted for the listing, and in the corrected form with
    /// that position masked.
    fn change(&self, at: usize) -> [f64; 3] {
        let listing = |token| {
            let inputs = self.inputs(at, token, None);
            inputs.mean(&slpo_literal(&inputs)).item()
        };
        let keep: Vec<bool> = (0..LENGTH).map(|t| t != at).collect();
        let masked = |token| {
            let inputs = self.inputs(at, token, Some(&keep));
            inputs.mean(&slpo_token(&inputs)).item()
        };
        let w = self.w_w[at];
        let alone = |token: usize| {
            let log_p = self.positions.logits[at * TOKENS + token];
            -(w * log_p + (1.0 - w) * (-log_p.exp()).ln_1p()) / LENGTH as f64
        };
        let (one, other) = (self.positions.chosen[at], self.positions.rejected[at]);
        [listing(other) - listing(one), alone(other as usize) - alone(one as usize), masked(other) - masked(one)]
    }
}

/// Slopes at the masses that Eq 7's token form aims at, p = (w_w, w_l, u). Its own slope is 0, and the listing's slope in y_l's logit is
/// p_l, whatever w_l is.
fn slopes_at_eq7s_target(generator: &mut Generator) -> (f64, f64, f64) {
    let (w_w, w_l) = (uniform(generator, 0.3, 0.5), uniform(generator, 0.1, 0.3));
    let rest = 0.5 * (1.0 - w_w - w_l);
    let z = [w_w, w_l, rest, rest].map(f64::ln);
    let inputs = |z: &Vector| token_inputs(&z.reshape(&[1, TOKENS]), &[0u32].into(), &[1u32].into(), &[w_w], Some(&[w_l]));
    let listing = differentiate(&z, |z| slpo_literal(&inputs(z))).1[1];
    let mended = differentiate(&z, |z| slpo_token(&inputs(z))).1[1];
    (listing, mended, w_l)
}

/// Computes how much a position's logit gradient shrinks if the same positions are in a batch twice as long: by 2, because the mean is over
/// B·T.
fn dilution(row: &ListingRow) -> f64 {
    let gradient = |times: usize| {
        let repeat = |tokens: &Indices| Indices::from(tokens.to_vec().repeat(times));
        let (chosen, rejected) = (repeat(&row.positions.chosen), repeat(&row.positions.rejected));
        let loss = |z: &Vector| {
            let logits = z.reshape(&[LENGTH * times, TOKENS]);
            let inputs = token_inputs(&logits, &chosen, &rejected, &row.w_w.repeat(times), None);
            inputs.mean(&slpo_literal(&inputs))
        };
        differentiate(&row.positions.logits.repeat(times), loss).1[row.positions.chosen[0] as usize]
    };
    gradient(1) / gradient(2)
}

/// Defects at the edges: NaN if no other token is left, no w_l, no mask for prompt and padding, and a mean over B·T.
pub fn i7(generator: &mut Generator) -> Claim {
    let two = constant(&normals(generator, 2, 1.0)).reshape(&[1, 2]);
    let nothing_left = slpo_literal(&token_inputs(&two, &[0u32].into(), &[1u32].into(), &[1.0], None)).item();
    let row = ListingRow::draw(generator);
    let [prompt, padding] = [0, LENGTH - 1].map(|at| row.change(at));
    let (listing, mended, p_l) = slopes_at_eq7s_target(generator);
    let diluted = dilution(&row);
    let checks = vec![
        Check::new("is it NaN where no other token is left", f64::from(nothing_left.is_nan()), 1.0, 0.0),
        Check::new("the listing's slope on y_l's logit at Eq 7's target", listing, p_l, round_off(1.0)),
        Check::new("the slope there of the form with w_l", mended, 0.0, round_off(1.0)),
        Check::new("what another prompt token changes", prompt[0], prompt[1], round_off(5.0)),
        Check::new("what it changes where the prompt is masked", prompt[2], 0.0, 0.0),
        Check::new("what another padding token changes", padding[0], padding[1], round_off(5.0)),
        Check::new("what it changes where padding is masked", padding[2], 0.0, 0.0),
        Check::new("a gradient against that in a batch twice as long", diluted, 2.0, round_off(10.0)),
    ];
    let unmoved = |change: [f64; 3]| change[0].abs() <= round_off(5.0);
    let holds = !nothing_left.is_nan() && listing.abs() <= round_off(1.0) && unmoved(prompt) && unmoved(padding) && diluted == 1.0;
    let evidence = format!(
        "V = 2 gives 0·(−∞) = {nothing_left}. At the masses Eq 7 aims at, the listing still pushes y_l's logit down with {listing:.4} = p_l: it \
         has no w_l. Another token in the prompt changes the loss by {:+.4}, another padding token by {:+.4}; with a mask neither does. \
         Each position's gradient is 1/{diluted:.0} of itself in a batch twice as long.",
        prompt[0], padding[0]
    );
    Statement {
        id: "I7",
        claim: "The listing computes the loss of any batch of prompts, padding and tokens",
        formula: "0·(−∞) = NaN; no w_l; no mask; mean over B·T",
        source: concat!(file!(), "::i7"),
        verdicts: ["true", "defects: NaN where no other token is left, no w_l, no mask for prompt or padding, mean over B·T"],
    }
    .judge(checks, holds, evidence)
}
