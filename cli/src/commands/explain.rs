//! `slpo explain`: explains an op or a loss by formula, derivation, worked example, gradient by every method, and graph.

use crate::arguments::{Explain, Shared};
use crate::explain::groups::{PATH, group_of, groups, meant, nearest};
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
    group: &'static str,
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
    let known: Vec<&str> = all.iter().map(|explanation| explanation.name).collect();
    let found = meant(&known, name);
    let Some(explanation) = all.iter().find(|explanation| Some(explanation.name) == found) else {
        let advice = match nearest(&known, name) {
            Some(near) => format!("did you mean {near}? slpo explain lists all names"),
            None => "slpo explain lists all names".to_owned(),
        };
        return Err(Failure::Usage(format!("nothing that is explained is called {name:?}: {advice}")));
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
    let line = |explanation: &engine::explain::Explanation| Line {
        name: explanation.name,
        group: group_of(explanation.name),
        summary: explanation.summary(),
    };
    let list = List { explanations: all().iter().map(line).collect() };
    output.result(&list, |to| {
        for group in groups() {
            writeln!(to, "{group}")?;
            let lines = list.explanations.iter().filter(|line| line.group == group);
            lines.into_iter().try_for_each(|line| writeln!(to, "  {:<20} {}", line.name, line.summary))?;
            writeln!(to)?;
        }
        writeln!(to, "If you begin, read in this order: {}.", PATH.join(", "))?;
        writeln!(to, "`slpo explain NAME` explains one of them.")
    })
}
