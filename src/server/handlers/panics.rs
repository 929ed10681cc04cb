//! Panics of a program's handlers: what is done about them, and what they say.
//!
//! They are caught where handlers are called.

use std::any::Any;
use std::fmt;

/// What is done when a handler panics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPanic {
    /// Its connection is closed with 1011, a line is logged, and the server goes on. Needs unwinding, which is the default of
    /// cargo's profiles: a program that is built with `panic = "abort"` ends with any panic.
    #[default]
    Close,
    /// The server stops, and `run` panics.
    Stop,
}

/// What a panic says, for a log line.
pub struct Said<'a>(pub &'a (dyn Any + Send));

impl fmt::Display for Said<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.downcast_ref::<&str>().copied();
        f.write_str(text.or_else(|| self.0.downcast_ref::<String>().map(String::as_str)).unwrap_or("no text"))
    }
}
