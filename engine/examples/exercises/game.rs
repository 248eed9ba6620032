//! The game: any op of the engine with a mistake in its vector-Jacobian product, as forward mode sees it. You say which mistake it is.

use super::refuse;
use engine::Generator;
use engine::gradcheck::mutation::{Mistake, Plant, own_operation};
use engine::gradcheck::{Comparison, Entry, Method, Settings, check_entry_with};

/// The most elements of a round, and the largest extent of an axis.
const ELEMENTS: usize = 16;
const EXTENT: usize = 4;

/// A mistake, what an answer calls it, and what it does to the first input that has a gradient.
const MISTAKES: [(Mistake, &str, &str); 5] = [
    (Mistake::WrongSign, "sign", "the gradient is negated"),
    (Mistake::WrongFactor, "factor", "the gradient is larger by one millionth"),
    (Mistake::MissingTerm, "term", "of Σ_k ȳ_k ∂y_k/∂x the last term is missing"),
    (Mistake::WrongMask, "mask", "the second half of the gradient is zero"),
    (Mistake::OffByOne, "shift", "every element has the gradient of the one before it"),
];

/// An op with a mistake that the seed chose.
struct Round {
    op: &'static str,
    mistake: usize,
    elements: Vec<Comparison>,
}

/// Shows a round, or says whether an answer is right.
pub fn find(seed: &str, answer: Option<&str>) -> bool {
    let Ok(number) = seed.parse::<u64>() else { return refuse(&format!("{seed:?} is not a number")) };
    let round = Round::new(number);
    let (_, word, what) = MISTAKES[round.mistake];
    match answer {
        None => round.show(number),
        Some(answer) if answer == word => println!("yes, in {}: {what}", round.op),
        Some(answer) if MISTAKES.iter().any(|(_, known, _)| *known == answer) => {
            println!("no, it is not {answer}");
            return false;
        }
        Some(answer) => return refuse(&format!("{answer:?} is none of the five")),
    }
    true
}

impl Round {
    /// Draws ops until one is small enough to read, and each of the five mistakes looks different in it.
    fn new(seed: u64) -> Self {
        let mut generator = Generator::new(seed);
        let mut below = |n: usize| (generator.uniform() * n as f64) as usize;
        loop {
            let (entry, sample, mistake) = (below(engine::ops::registry().len()), below(1000) as u64, below(MISTAKES.len()));
            let op = own_operation(registered(entry));
            let seen = |mistake| elements(registered(entry).rewritten(Plant { op, mistake }), sample);
            let all: Vec<Vec<Comparison>> = MISTAKES.iter().map(|(mistake, ..)| seen(*mistake)).collect();
            if all.iter().enumerate().all(|(at, own)| is_seen(own) && all[..at].iter().all(|other| differ(own, other))) {
                return Self { op, mistake, elements: all.into_iter().nth(mistake).expect("one of the five") };
            }
        }
    }

    fn show(&self, seed: u64) {
        println!("{} has one of these mistakes in the gradient of its first input:", self.op);
        MISTAKES.iter().for_each(|(_, word, what)| println!("  {word:<8} {what}"));
        for Comparison { input, index, expected, got, .. } in &self.elements {
            println!("input {} at {index:?}: expected {expected:>14.9}, got {got:>14.9}", input.unwrap_or(0));
        }
        println!("answer with: find {seed} NAME");
    }
}

fn registered(at: usize) -> Entry {
    engine::ops::registry().into_iter().nth(at).expect("an op of the registry")
}

/// Each element of the gradients beside what dual numbers say.
fn elements(entry: Entry, sample: u64) -> Vec<Comparison> {
    let methods = vec![Method::ForwardMode];
    let settings = Settings { element_limit: ELEMENTS, methods, comparisons: true, ..Settings::default() };
    check_entry_with(&entry, [sample], EXTENT, &settings).checks.into_iter().flat_map(|check| check.comparisons).collect()
}

/// True if a person can see the mistake: it was checked element by element, and one is wrong in the digits that are shown.
fn is_seen(elements: &[Comparison]) -> bool {
    elements.iter().all(|element| !element.index.is_empty())
        && elements.iter().any(|element| element.of_allowed > 1.0 && is_apart(element.expected, element.got))
}

fn differ(one: &[Comparison], other: &[Comparison]) -> bool {
    one.iter().zip(other).any(|(one, other)| is_apart(one.got, other.got))
}

/// True if two numbers differ in nine decimals.
fn is_apart(a: f64, b: f64) -> bool {
    (a - b).abs() > 2e-9
}
