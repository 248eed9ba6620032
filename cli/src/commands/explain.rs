//! `slpo explain`: explains an op or a loss by formula, derivation, worked example, gradient by every method, and graph.

use crate::arguments::{Explain, Shared};
use crate::explain::{Explained, all, page, text};
use crate::failure::Failure;
use crate::output::Output;
use crate::report::ReportError;
use serde::Serialize;

#[derive(Serialize)]
struct List {
    explanations: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    summary: String,
}

/// Explains the named op or loss, or lists all of them.
///
/// # Errors
/// [`Failure::Usage`] for an unknown name; [`Failure::Report`] if the page cannot be written.
pub fn run(arguments: &Explain, shared: &Shared) -> Result<(), Failure> {
    let output = Output::new(shared.json);
    let Some(name) = &arguments.name else { return list(output) };
    let all = all();
    let Some(explanation) = all.iter().find(|explanation| explanation.name == name) else {
        let known: Vec<&str> = all.iter().map(|explanation| explanation.name).collect();
        return Err(Failure::Usage(format!("nothing that is explained is called {name:?}; there are {}", known.join(", "))));
    };
    let worked = explanation.work();
    if let Some(path) = &arguments.html {
        let page = page(explanation, &worked)?;
        let written = crate::run_folder::write_page(path, &page);
        written.map_err(|source| ReportError::Write { path: path.clone(), source })?;
    }
    output.result(&Explained::new(explanation, &worked), |to| match &arguments.html {
        Some(path) => writeln!(to, "wrote {}", path.display()),
        None => write!(to, "{}", text(explanation, &worked)),
    })
}

fn list(output: Output) -> Result<(), Failure> {
    let line = |explanation: &engine::explain::Explanation| Line { name: explanation.name, summary: explanation.summary() };
    let list = List { explanations: all().iter().map(line).collect() };
    output.result(&list, |to| {
        list.explanations.iter().try_for_each(|line| writeln!(to, "{:<20} {}", line.name, line.summary))?;
        writeln!(to, "\n`slpo explain NAME` explains one of them.")
    })
}
