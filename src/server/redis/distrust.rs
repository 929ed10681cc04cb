//! A connection that TLS forbids until somebody changes something: which errors those are, and what is said of them.
//!
//! What follows from it is not decided here.

use std::fmt;
use std::io;

/// Why TLS is not spoken with the other side, until somebody changes something: the sentence.
#[derive(Debug)]
pub struct NoTrust(pub String);

impl fmt::Display for NoTrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NoTrust {}

/// The sentence, if an error is one of these.
pub fn of(error: &io::Error) -> Option<&NoTrust> {
    error.get_ref()?.downcast_ref()
}
