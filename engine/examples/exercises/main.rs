//! Exercises that mark themselves: twelve vector-Jacobian products for you to write, and a game the other way round.
//!
//! ```text
//! cargo run -p slpo-engine --example exercises                    what there is, and what you have solved
//! cargo run -p slpo-engine --example exercises -- softmax         marks softmax in yours.rs
//! cargo run -p slpo-engine --example exercises -- all             marks everything
//! cargo run -p slpo-engine --example exercises -- find 3          any op of the engine with a planted mistake: which one is it?
//! cargo run -p slpo-engine --example exercises -- find 3 sign     your answer
//! ```
//!
//! `--solutions` marks the solutions instead.

mod game;
mod problems;
mod solutions;
mod witnesses;
mod yours;

use problems::{NAMES, Problem};
use witnesses::{Verdict, mark};

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).collect();
    let before = arguments.len();
    arguments.retain(|argument| argument != "--solutions");
    let is_solution = arguments.len() < before;
    let ended = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => overview(is_solution),
        ["all"] => NAMES.iter().filter(|name| !show(&Problem::new(name, is_solution))).count() == 0,
        ["find", seed] => game::find(seed, None),
        ["find", seed, answer] => game::find(seed, Some(answer)),
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
