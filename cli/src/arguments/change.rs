//! How the settings of a run that goes on differ from those it had, and what came from files of settings.

use std::fmt;
use toml::Table;

/// What a change of a setting does to a run that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It would be another run: refused, unless the change is asked for.
    OnResult,
    /// The run goes on along another path: said.
    OnPath,
    /// The same weights come out: said.
    None,
}

/// A setting that is not what it was.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The setting, with `_` for `-`.
    pub setting: String,
    /// What it was, where it was set.
    pub before: Option<String>,
    /// What it is, where it is set.
    pub now: Option<String>,
    /// What that does.
    pub effect: Effect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(f, "{}: {} → {}", self.setting.replace('_', "-"), shown(&self.before), shown(&self.now))
    }
}

/// What came from files, and what is to be said about it.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// Settings of a file that have no effect.
    pub notes: Vec<String>,
    /// Settings that are not those of the run that is resumed.
    pub changes: Vec<Change>,
    /// What was changed in the run before, oldest first.
    pub history: Vec<Table>,
}
