//! Calls into decoders of other projects that have been seen to panic on damaged files: such a panic is the file's fault, and an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// What `call` gives, or none where it panics. What `call` was changing must not be used after a panic.
pub fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(outer);
    result.ok()
}

/// Whether this thread is within [`contained`], for a panic hook: a panic there is reported by whoever called.
pub fn is_contained() -> bool {
    INSIDE.get()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_none_and_leaves_nothing_behind() {
        assert_eq!(contained(is_contained), Some(true));
        assert_eq!(contained(|| contained(|| panic!("a damaged file")).is_none() && is_contained()), Some(true));
        assert!(!is_contained());
    }
}
