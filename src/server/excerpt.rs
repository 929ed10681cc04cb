//! Text that may quote a peer, made safe for a log line or an error sentence: bounded in length, on one line.
//!
//! Where it is written is not known here.

use std::fmt::{self, Display, Write};

/// The beginning of the text of `what`, at most `len_max` bytes, with control characters escaped.
#[derive(Clone, Copy)]
pub struct Excerpt<'a> {
    pub what: &'a dyn Display,
    pub len_max: usize,
}

/// The mark where the text was cut.
const CUT: &str = "…";

impl Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut taken = Taken { text: String::new(), len_max: self.len_max };
        // The error is our own: the bound is reached, and the rest need not be formatted.
        let _ = write!(taken, "{}", self.what);
        f.write_str(&taken.text)
    }
}

/// Invariant: `text` is at most `len_max` bytes.
struct Taken {
    text: String,
    len_max: usize,
}

impl Write for Taken {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let len = self.text.len();
            if is_disguise(c) {
                self.text.extend(c.escape_default())
            } else {
                self.text.push(c)
            }
            if self.text.len() > self.len_max {
                self.text.truncate(len);
                while self.text.len() + CUT.len() > self.len_max && self.text.pop().is_some() {}
                self.text.push_str(CUT);
                return Err(fmt::Error);
            }
        }
        Ok(())
    }
}

/// Whether a terminal would interpret the character rather than show it: control characters, line ends, changes of
/// direction.
fn is_disguise(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excerpt(what: &str, len_max: usize) -> String {
        Excerpt { what: &what, len_max }.to_string()
    }

    #[test]
    fn what_fits_is_whole_and_what_does_not_is_cut() {
        assert_eq!(excerpt("hello", 5), "hello");
        assert_eq!(excerpt("hello!", 5), "he…");
        assert_eq!(excerpt("üüü", 5), "ü…");
        assert_eq!(excerpt(&"x".repeat(900_000), 200).len(), 200);
    }

    #[test]
    fn what_a_terminal_would_obey_is_shown() {
        assert_eq!(excerpt("a\r\nb\x1b[2J\u{202e}\u{9b}", 99), "a\\r\\nb\\u{1b}[2J\\u{202e}\\u{9b}");
        assert_eq!(excerpt("say \"ü\" \\", 99), "say \"ü\" \\");
    }
}
