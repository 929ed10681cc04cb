//! What a client calls a command by, so that it knows the answer.

use std::fmt;

use super::json;

/// The longest reference, in bytes: a number as it is written, a string as it reads. A UUID has 36.
const REFERENCE_LEN_MAX: usize = 64;

/// The `ref` of a command: a number, or a string of up to 64 bytes. The answer has it as it came.
///
/// Invariant: one JSON value that every reader takes, of at most 386 bytes (64 escapes of 6 bytes in quotes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(Box<str>);

impl Reference {
    /// Checks one JSON value.
    ///
    /// # Errors
    /// Says what is right, as a sentence without a full stop.
    pub fn new(value: &str) -> Result<Self, String> {
        let wrong = |what: &dyn fmt::Display| {
            Err(format!("ref is a number or a string, of up to {REFERENCE_LEN_MAX} bytes; this is {what}"))
        };
        let len = match json::kind(value) {
            json::Kind::Number if !json::is_in_range(value) => return wrong(&"beyond 1.7e308"),
            json::Kind::Number => value.len(),
            json::Kind::String => match json::text(value) {
                Some(text) => text.len(),
                None => return wrong(&"no text"),
            },
            other @ (json::Kind::Object | json::Kind::List | json::Kind::Bool | json::Kind::Null) => {
                return wrong(&other);
            }
        };
        if len > REFERENCE_LEN_MAX {
            return wrong(&format_args!("one of {len}"));
        }
        Ok(Self(value.into()))
    }

    /// The JSON that came.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
