//! Training data: plain text, prompts with completions, preference pairs, labelled rows.
//!
//! Each reader returns the data together with a [`DataReport`], so that nothing is left out silently. There are two kinds of bad rows:
//!
//! - A row that real data sets are known to have (an empty answer, two equal ones) is dropped and counted with its line.
//! - A row that is wrong (not JSON, a missing key, a number for a text) stops the reading with its line.

pub mod chat;
mod columns;
pub mod completions;
mod formats;
pub mod inspect;
pub mod jsonl;
mod message;
pub mod parquet;
pub mod preferences;
pub mod prompts;
mod report;
mod rows;
mod source;
pub mod text;
mod turns;
pub mod unpaired;

pub use chat::{ChatTemplate, Conversation};
pub use completions::CompletionSet;
pub use message::{Message, Role};
pub use preferences::{PreferencePair, PreferenceSet};
pub use report::{DataReport, DropReason, Dropped};
pub use rows::{CompletionRow, PreferenceRow};
pub use source::{Source, read_rows, rows_of_bytes};
pub use text::TextData;
pub use turns::Turns;
pub use unpaired::{Balance, LabelledSequence, LabelledSet};

#[cfg(test)]
mod tests;
