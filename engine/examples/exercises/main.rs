//! Exercises that mark themselves: twelve vector-Jacobian products for you to write, and a game the other way round.
//!
//! ```text
//! cargo run -p slpo-engine --example exercises                    what there is, and what you have solved
//! cargo run -p slpo-engine --example exercises -- softmax         marks softmax in yours.rs
//! cargo run -p slpo-engine --example exercises -- all             marks everything
//! cargo run -p slpo-engine --example exercises -- find 3          the gradients of an op with a planted mistake: which one is it?
//! cargo run -p slpo-engine --example exercises -- find 3 sign     your answer
//! ```
//!
//! `--solutions` marks the solutions instead.

mod problems;
mod solutions;
mod witnesses;
mod yours;

use engine::Generator;
use problems::{NAMES, Problem};
use witnesses::{Verdict, mark};

/// A change of the gradients of an input.
type Plant = fn(&mut [f64]);

/// What is planted in the game, in the gradients of the first input.
const MISTAKES: [(&str, &str, Plant); 5] = [
    ("sign", "the gradient is negated", |x| x.iter_mut().for_each(|x| *x = -*x)),
    ("factor", "the gradient is twice as large", |x| x.iter_mut().for_each(|x| *x *= 2.0)),
    ("term", "the last element lacks its part", |x| *x.last_mut().expect("an input has elements") = 0.0),
    ("mask", "every other element is masked", |x| x.iter_mut().step_by(2).for_each(|x| *x = 0.0)),
    ("shift", "every element has the gradient of its neighbour", |x| x.rotate_right(1)),
];

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let before = arguments.len();
    arguments.retain(|argument| argument != "--solutions");
    let is_solution = arguments.len() < before;
    let ended = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => overview(is_solution),
        ["all"] => NAMES.iter().filter(|name| !show(&Problem::new(name, is_solution))).count() == 0,
        ["find", seed] => find(seed, None),
        ["find", seed, answer] => find(seed, Some(answer)),
        [name] => match NAMES.iter().find(|known| **known == name) {
            Some(name) => show(&Problem::new(name, is_solution)),
            None => refuse(&format!("there is no exercise {name:?}; there are {}", NAMES.join(", "))),
        },
        _ => refuse("give one name, or all, or find SEED [ANSWER]"),
    };
    std::process::exit(i32::from(!ended));
}

fn refuse(why: &str) -> bool {
    eprintln!("{why}");
    false
}

fn overview(is_solution: bool) -> bool {
    println!("Write the vector-Jacobian products in engine/examples/exercises/yours.rs, then mark them by name.");
    for name in NAMES {
        let problem = Problem::new(name, is_solution);
        let state = match mark(&problem, problem.answer()) {
            Verdict::Unsolved => "to do",
            Verdict::Right => "solved",
            Verdict::WrongShape(_) | Verdict::Wrong(_) => "not right yet",
        };
        println!("  {name:<14} {state}");
    }
    true
}

/// Marks an exercise. True if it is solved.
fn show(problem: &Problem) -> bool {
    let name = problem.name;
    match mark(problem, problem.answer()) {
        Verdict::Unsolved => println!("{name}: not solved yet: it returns None in engine/examples/exercises/yours.rs"),
        Verdict::WrongShape(what) => println!("{name}: {what}"),
        Verdict::Wrong(lines) => println!("{name}: not right\n  {}", lines.join("\n  ")),
        Verdict::Right => {
            println!("{name}: right. Differences, dual numbers and the engine agree with you");
            return true;
        }
    }
    false
}

/// The game: the solution of an exercise with a mistake that the seed chose, as the witnesses see it.
fn find(seed: &str, answer: Option<&str>) -> bool {
    let Ok(seed) = seed.parse::<u64>() else { return refuse(&format!("{seed:?} is not a number")) };
    let mut generator = Generator::new(seed);
    let mut below = |n: usize| (generator.uniform() * n as f64) as usize;
    // With one number in the input, or equal ones, some mistakes look alike.
    let playable: Vec<&str> = NAMES.into_iter().filter(|name| *name != "sum").collect();
    let (name, (mistake, words, plant)) = (playable[below(playable.len())], MISTAKES[below(MISTAKES.len())]);
    let problem = Problem::new(NAMES.iter().find(|known| **known == name).expect("a name of the list"), true);
    let mut gradients = problem.answer().expect("the solutions are whole");
    match answer {
        None => {
            plant(&mut gradients[0]);
            println!("{name} has one of these mistakes in the gradient of its first input:");
            MISTAKES.iter().for_each(|(mistake, words, _)| println!("  {mistake:<8} {words}"));
            println!("x̄ of the broken op: {:.4?}", gradients[0]);
            if let Verdict::Wrong(lines) = mark(&problem, Some(gradients)) {
                lines.iter().for_each(|line| println!("  {line}"));
            }
            println!("answer with: find {seed} NAME");
            true
        }
        Some(answer) if answer == mistake => {
            println!("yes: {words}");
            true
        }
        Some(answer) if MISTAKES.iter().any(|(known, ..)| *known == answer) => {
            println!("no, it is not {answer}");
            false
        }
        Some(answer) => refuse(&format!("{answer:?} is none of the five")),
    }
}
