//! How what belongs to a program is dropped where a panic would end more than one connection.
//!
//! Who calls the program, and what is said of its panics, is not known here.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Drops a value whose own code may panic then.
pub fn discard<T>(value: T) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| drop(value))) {
        // What a panic carries may panic when it is dropped: it never is.
        std::mem::forget(panic);
    }
}

#[cfg(test)]
mod tests {
    use std::panic::panic_any;

    use super::*;

    /// Panics when it is dropped, with a value that does so too.
    struct Bomb(u32);

    impl Drop for Bomb {
        fn drop(&mut self) {
            if self.0 > 0 {
                panic_any(Bomb(self.0 - 1));
            }
        }
    }

    #[test]
    fn a_value_that_panics_when_it_is_dropped_is_dropped_without_harm_and_so_is_what_it_panics_with() {
        discard(Bomb(2));
    }
}
