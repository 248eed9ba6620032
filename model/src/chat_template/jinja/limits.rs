//! The limits on what a template may use of the machine.

use super::fault::{Fault, Outcome};

/// Bytes of a template at most. The longest public templates have about 30 kB.
pub const LONGEST_TEMPLATE: usize = 1 << 20;
/// Steps of one rendering at most, about a second. One step is a node that is evaluated, an item, or [`BYTES_PER_STEP`] bytes.
pub const STEPS: u64 = 5_000_000;
/// Bytes of text that cost one step. So a rendering makes 320 MB of text at most, with all intermediate texts counted.
pub const BYTES_PER_STEP: usize = 64;
/// Bytes of one text at most.
pub const LARGEST_TEXT: usize = 32 << 20;
/// Items of one list at most.
pub const LARGEST_LIST: usize = 1 << 20;
/// Parameters of a macro, and arguments of a call, at most.
pub const MOST_ARGUMENTS: usize = 255;
/// The most namespaces, and the most scopes that macros keep. They are freed only at the end of a rendering.
pub const MOST_KEPT: usize = 100_000;
/// Levels of brackets, operators or blocks in a template. Python's own parser stops at 200 brackets.
pub const DEEPEST_SYNTAX: u32 = 256;
/// Levels of lists within lists.
pub const DEEPEST_VALUE: u32 = 256;
/// Nested evaluations at most, including macros that call macros. Python stops at 1000 of its frames, about 200 macros.
pub const DEEPEST_CALL: u32 = 2500;
/// Bytes of the stack on which templates are compiled and run: [`DEEPEST_CALL`] evaluations of 12 KiB. Untouched pages cost nothing.
const STACK: usize = 32 << 20;
/// Items of a `range` at most, as in jinja2's sandbox.
pub const LONGEST_RANGE: i128 = 100_000;

/// Runs `work` in a thread with a stack of its own.
///
/// # Errors
/// The errors of `work`, or one if the machine has no memory for the stack.
pub fn on_own_stack<T: Send>(work: impl FnOnce() -> Outcome<T> + Send) -> Outcome<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("chat template".to_owned()).stack_size(STACK);
        let running = thread.spawn_scoped(scope, work);
        let running = running.map_err(|error| Fault::new(format!("no memory for the template's stack of {STACK} bytes ({error})")))?;
        match running.join() {
            Ok(outcome) => outcome,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Refuses a text of `bytes` bytes before it is made.
///
/// # Errors
/// If the text would be longer than [`LARGEST_TEXT`].
pub fn check_text(bytes: u128) -> Outcome<()> {
    if bytes > LARGEST_TEXT as u128 {
        return Err(Fault::new(format!("a text of {bytes} bytes: a template makes texts of {LARGEST_TEXT} at most")));
    }
    Ok(())
}

/// Refuses a list of `items` items before it is made.
///
/// # Errors
/// If the list would be longer than [`LARGEST_LIST`].
pub fn check_list(items: u128) -> Outcome<()> {
    if items > LARGEST_LIST as u128 {
        return Err(Fault::new(format!("a list of {items} items: a template makes lists of {LARGEST_LIST} at most")));
    }
    Ok(())
}
