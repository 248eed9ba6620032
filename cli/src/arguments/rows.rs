//! How rows become sequences: which turns are learned, and what is cut of rows that are too long.

use super::headings::DATA;
use clap::{Args, ValueEnum};
use model::boundary::Truncation;
use model::data::Turns;
use serde::Serialize;

/// Which of the model's turns are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TurnsLearned {
    /// Every turn of the assistant
    All,
    /// The last turn only
    Last,
}

/// What is cut of rows that are too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    /// The start of the prompt, which keeps at least half of the tokens if it has so many, and the ends of the completions
    Both,
    /// The start of the prompt first, then the ends of the completions
    #[value(alias = "keep_end")]
    PromptStart,
    /// The ends of the completions; a prompt that leaves no room drops the row
    #[value(alias = "keep_start")]
    End,
    /// Nothing: rows that are too long are dropped
    Drop,
}

/// Which turns of conversations are learned.
#[derive(Debug, Clone, Args, Serialize)]
pub struct TurnSettings {
    /// Which turns of the assistant are learned in a conversation
    #[arg(long, value_name = "WHICH", help_heading = DATA, value_enum, default_value_t = TurnsLearned::All)]
    pub turns: TurnsLearned,
}

/// What is cut of rows that are too long.
#[derive(Debug, Clone, Args, Serialize)]
pub struct CutSettings {
    /// What is cut of rows that are too long
    #[arg(long, value_name = "WHAT", help_heading = DATA, value_enum, default_value_t = Cut::Both)]
    pub truncation: Cut,
}

impl TurnSettings {
    /// Converts the setting for the readers.
    pub fn turns(&self) -> Turns {
        match self.turns {
            TurnsLearned::All => Turns::All,
            TurnsLearned::Last => Turns::Last,
        }
    }
}

impl CutSettings {
    /// Converts the setting for the tokenisation.
    pub fn truncation(&self) -> Truncation {
        match self.truncation {
            Cut::Both => Truncation::Both,
            Cut::PromptStart => Truncation::PromptStart,
            Cut::End => Truncation::End,
            Cut::Drop => Truncation::Drop,
        }
    }
}
