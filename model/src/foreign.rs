//! Calls into other projects' decoders, which panic on some damaged files. Such a panic is the file's fault, so it becomes an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `call`. Returns its result, or `None` if it panics. Anything that `call` was changing must not be used after a panic.
pub fn contained<T>(call: impl FnOnce() -> T) -> Option<T> {
    let outer = INSIDE.replace(true);
    let result = catch_unwind(AssertUnwindSafe(call));
    INSIDE.set(outer);
    result.ok()
}

/// True if this thread is within [`contained`]. A panic hook can ask this, because the caller of [`contained`] reports the panic.
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
