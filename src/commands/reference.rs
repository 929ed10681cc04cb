//! What a client calls a command by, so that it knows the answer.

use std::fmt;

use super::json;

/// The longest reference, in bytes: a number as it is written, a string as it reads. A UUID has 36.
const REFERENCE_LEN_MAX: usize = 64;

/// The `ref` of a command: a number, or a string of up to 64 bytes. The answer has it as it came.
///
/// Invariant: one JSON value, of at most 386 bytes (64 escapes of 6 bytes in quotes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference(Box<str>);

impl Reference {
    /// Checks one JSON value.
    pub(super) fn new(value: &str) -> Result<Self, String> {
        let len = match json::kind(value) {
            json::Kind::String => json::text(value).map_err(|_| REMEDY.to_owned())?.len(),
            json::Kind::Number => value.len(),
            other => return Err(format!("{REMEDY}, not {other}")),
        };
        if len > REFERENCE_LEN_MAX {
            return Err(format!("{REMEDY}; this one has {len}"));
        }
        Ok(Self(value.into()))
    }

    /// The JSON that came.
    #[must_use]
    pub fn as_json(&self) -> &str {
        &self.0
    }
}

/// What a reference is.
const REMEDY: &str = "ref is a number or a string, of up to 64 bytes";

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
