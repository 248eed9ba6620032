//! Stopping on request: what ctrl-C (SIGINT), SIGTERM and SIGHUP do in each phase of a command.
//!
//! | phase | the first signal | a second one |
//! |---|---|---|
//! | nothing is to be saved (loading, tokenising, measuring) | ends the program | |
//! | a loop that saves, from [`save_first`] on | sets [`requested`]: the loop saves and ends | ends the program |
//! | a command writes text, a [`Turn::of_command`] | ends the turn, or after some seconds the program | ends the program |
//! | a chat waits for a line, from [`listen_in_turns`] on | ends the program | |
//! | a chat answers, a [`Turn::of_chat`] | ctrl-C ends the turn; the others end the program | ends the program |
//!
//! The exit code is what a shell reports for a program that the signal ended: 128 and the signal's number.
//!
//! Catching the signals is the part of [`crate::signals`].

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Signals with their numbers, which are the same on every Unix.
pub const SIGNALS: [(i32, &str); 3] = [(1, "SIGHUP"), (SIGINT, "SIGINT"), (15, "SIGTERM")];
/// Ctrl-C.
pub const SIGINT: i32 = 2;

/// What a signal means at the moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Unsaved,
    Saving,
    Waiting,
    Turn(Writer),
}

/// Who writes a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Writer {
    Command,
    Chat,
}

struct State {
    phase: Phase,
    /// The signal that asked to stop.
    asked: Option<i32>,
}

static STATE: Mutex<State> = Mutex::new(State { phase: Phase::Unsaved, asked: None });

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is to be done about a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Nothing: whoever polls does it.
    Ask,
    /// As [`Action::Ask`], and end the program where that takes too long.
    AskWithin,
    /// End the program, and say so.
    EndAndSay,
    /// End the program.
    End,
}

impl State {
    fn receive(&mut self, signal: i32) -> Action {
        let again = self.asked.replace(signal).is_some();
        match self.phase {
            Phase::Unsaved => Action::EndAndSay,
            Phase::Saving if !again => Action::Ask,
            Phase::Turn(Writer::Command) if !again => Action::AskWithin,
            Phase::Turn(Writer::Chat) if !again && signal == SIGINT => Action::Ask,
            _ => Action::End,
        }
    }
}

/// Takes in a signal that came.
pub fn receive(signal: i32) -> Action {
    state().receive(signal)
}

/// The name of a signal.
pub fn name(signal: i32) -> &'static str {
    SIGNALS.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name)
}

/// The exit code of a program that a signal ended.
pub fn code(signal: i32) -> i32 {
    128 + signal
}

/// From here on the command polls [`requested`], and saves before it ends.
pub fn save_first() {
    state().phase = Phase::Saving;
}

/// Whether this process was asked to stop.
pub fn requested() -> bool {
    signal().is_some()
}

/// The signal that asked this process to stop.
pub fn signal() -> Option<i32> {
    state().asked
}

/// Takes over the request of another process of the run.
pub fn take_over(signal: i32) {
    state().asked.get_or_insert(signal);
}

/// The exit code of a command that was stopped.
pub fn exit_code() -> i32 {
    code(signal().unwrap_or(SIGINT))
}

/// From here on a conversation is held: between its turns a signal ends the program.
pub fn listen_in_turns() {
    state().phase = Phase::Waiting;
}

/// A text that is being written, until it is dropped.
pub struct Turn {
    before: Phase,
}

impl Turn {
    /// The text of a command, which ends with it.
    pub fn of_command() -> Self {
        Self::begin(Writer::Command)
    }

    /// An answer of a conversation, which goes on after it.
    pub fn of_chat() -> Self {
        Self::begin(Writer::Chat)
    }

    fn begin(writer: Writer) -> Self {
        let mut state = state();
        state.asked = None;
        Self { before: std::mem::replace(&mut state.phase, Phase::Turn(writer)) }
    }

    /// Whether the user asked to end this text.
    pub fn interrupted(&self) -> bool {
        requested()
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        state().phase = self.before;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The actions for signals that come one after the other in a phase.
    fn actions(phase: Phase, signals: &[i32]) -> Vec<Action> {
        let mut state = State { phase, asked: None };
        signals.iter().map(|&signal| state.receive(signal)).collect()
    }

    #[test]
    fn a_signal_does_what_its_phase_asks_for_and_a_second_one_ends_the_program() {
        for (signal, _) in SIGNALS {
            assert_eq!(actions(Phase::Unsaved, &[signal]), [Action::EndAndSay]);
            assert_eq!(actions(Phase::Waiting, &[signal]), [Action::End]);
            assert_eq!(actions(Phase::Turn(Writer::Command), &[signal, signal]), [Action::AskWithin, Action::End]);
            for (second, _) in SIGNALS {
                assert_eq!(actions(Phase::Saving, &[signal, second]), [Action::Ask, Action::End]);
            }
        }
        assert_eq!(actions(Phase::Turn(Writer::Chat), &[SIGINT, SIGINT]), [Action::Ask, Action::End]);
        assert_eq!(actions(Phase::Turn(Writer::Chat), &[15]), [Action::End]);
        assert_eq!(SIGNALS.map(|(number, _)| code(number)), [129, 130, 143]);
    }
}
