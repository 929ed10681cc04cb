//! How the locks of a server are taken.
//!
//! What they guard is not known here.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// A lock whose holder panicked guards data that is whole all the same: nothing is done under our locks but
/// pushing and taking.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
