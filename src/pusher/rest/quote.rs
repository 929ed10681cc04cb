//! How the sentences of the HTTP API quote what a client sent: on one line, and not at any length.

use std::fmt;

/// How much is quoted, in characters: a channel name and what stands around it.
const QUOTE_LEN_MAX: usize = 256;

/// A text as a client sent it, in quotation marks, escaped, and cut where it is long.
pub(super) struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quote(f, self.0, QUOTE_LEN_MAX)
    }
}

/// Writes at most `len_max` characters of the text in quotation marks, escaped so that it is one line.
pub(super) fn quote(f: &mut fmt::Formatter<'_>, text: &str, len_max: usize) -> fmt::Result {
    match text.char_indices().nth(len_max) {
        None => write!(f, "{text:?}"),
        Some((end, _)) => write!(f, "{:?} (cut, of {} bytes)", &text[..end], text.len()),
    }
}
