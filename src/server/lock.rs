//! How the locks of a server are taken.
//!
//! What they protect is not known here.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock even if a holder panicked: what is done under these locks keeps the data consistent at every step.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
