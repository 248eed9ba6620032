//! The differences between the settings of a resumed run and those it had before, and the notes on settings that came from files.

use std::fmt;
use toml::Table;

/// The effect of a changed setting on a resumed run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// The result would be that of another run. Refused, unless --change is given.
    OnResult,
    /// The run continues along another path. The change is reported.
    OnPath,
    /// The weights stay the same. The change is reported.
    None,
}

/// A setting whose value has changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// The setting, with `_` for `-`.
    pub setting: String,
    /// The value before, if it was set.
    pub before: Option<String>,
    /// The value now, if it is set.
    pub now: Option<String>,
    /// The effect of the change.
    pub effect: Effect,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        write!(f, "{}: {} → {}", self.setting.replace('_', "-"), shown(&self.before), shown(&self.now))
    }
}

/// The findings about settings from files.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// Settings of a file that have no effect.
    pub notes: Vec<String>,
    /// Settings that differ from those of the resumed run.
    pub changes: Vec<Change>,
    /// Earlier changes of the run's settings, oldest first.
    pub history: Vec<Table>,
}
