//! What is said where a run goes on from a checkpoint, and what its config.toml remembers of it.

use super::request::RunRequest;
use crate::arguments::{Change, Effect};
use crate::failure::Failure;
use crate::processes;
use model::checkpoint::{Difference, Restored};
use toml::{Table, Value};

/// What is said, and remembered.
pub struct Remarks {
    /// Changes that change no result.
    pub notes: Vec<String>,
    /// Everything else.
    pub warnings: Vec<String>,
    /// The entry for the history, where something is not as it was.
    pub entry: Option<Table>,
}

impl Remarks {
    /// Compares the settings with those of the run, and the trainer with the checkpoint.
    ///
    /// # Errors
    /// [`Failure::Usage`] where more steps are done than the run is to have, or the checkpoint was made from other data or settings that
    /// its result depends on, unless that is asked for.
    pub fn of(request: &RunRequest, restored: Option<&Restored>) -> Result<Self, Failure> {
        let step = restored.map_or(0, |restored| restored.step);
        let changes = &request.layers.changes;
        let differences: Vec<&Difference> = restored.iter().flat_map(|restored| &restored.changed).collect();
        if step > request.plan.steps {
            return Err(usage(format!(
                "step {step} is done, and the run is to have {} steps: give --steps {step} or more",
                request.plan.steps
            )));
        }
        refuse(request, step, &differences)?;
        let differences: Vec<&Difference> = differences.into_iter().filter(|found| is_news(found, changes)).collect();
        let mut warnings = Vec::new();
        if restored.is_none() {
            warnings.push("the run was stopped before its first checkpoint: it begins again at step 0".to_owned());
        }
        let damaged = restored.iter().flat_map(|restored| &restored.damaged);
        warnings.extend(damaged.map(|reason| format!("{reason}; going on from the checkpoint before it, of step {step}")));
        let (harmless, others): (Vec<&Change>, Vec<&Change>) = changes.iter().partition(|change| change.effect == Effect::None);
        let changed = others.iter().map(ToString::to_string).chain(differences.iter().map(ToString::to_string));
        warnings.extend(changed.map(|change| format!("{change}: the run goes on, but not to the result that it would have had")));
        let all: Vec<String> = changes.iter().map(Change::to_string).chain(differences.iter().map(ToString::to_string)).collect();
        let notes = harmless.iter().map(ToString::to_string).collect();
        Ok(Self { notes, warnings, entry: (!all.is_empty()).then(|| entry(step, &all)) })
    }
}

/// True if no change of a setting says it already.
fn is_news(found: &Difference, changes: &[Change]) -> bool {
    !changes.iter().any(|change| change.effect != Effect::None && found.settings.contains(&change.setting.as_str()))
}

/// Refuses to go on with other data or settings, unless that is asked for or was done at this step or later before.
fn refuse(request: &RunRequest, step: u64, differences: &[&Difference]) -> Result<(), Failure> {
    let was_accepted = request.layers.history.iter().filter_map(|entry| entry.get("step")?.as_integer()).any(|at| at >= step as i64);
    let refused: Vec<String> = differences.iter().filter(|found| found.on_result).map(ToString::to_string).collect();
    if request.change || was_accepted || refused.is_empty() {
        return Ok(());
    }
    let reason = format!(
        "{}: the checkpoint of step {step} in {} was made otherwise; go on with what it had, give --change to go on with what there is now, or \
         begin a new run in another --out",
        refused.join(", "),
        request.out.display()
    );
    Err(usage(reason))
}

/// Of several processes the others, which cannot know of it, have to be told.
fn usage(reason: String) -> Failure {
    if processes::current().is_some() { Failure::Failed(reason) } else { Failure::Usage(reason) }
}

fn entry(step: u64, changed: &[String]) -> Table {
    let date = chrono::Local::now().format("%Y-%m-%d %H:%M").to_string();
    let values = [
        ("step", Value::Integer(step as i64)),
        ("date", Value::String(date)),
        ("changed", Value::Array(changed.iter().cloned().map(Value::String).collect())),
    ];
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
