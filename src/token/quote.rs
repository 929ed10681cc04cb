//! How sentences quote what a client or a file said: without line ends, and not at any length.

use std::fmt;

/// How much of one text is quoted, in characters: a name, or what a parser says.
const QUOTE_LEN_MAX: usize = 100;

/// A text without quotation marks, with its control characters escaped, cut where it is long.
pub(super) struct Quoted<'a, T>(pub &'a T);

impl<T: fmt::Display> fmt::Display for Quoted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        for c in text.chars().take(QUOTE_LEN_MAX) {
            if is_printed(c) { write!(f, "{c}")? } else { write!(f, "{}", c.escape_unicode())? }
        }
        if text.chars().nth(QUOTE_LEN_MAX).is_some() { f.write_str("…") } else { Ok(()) }
    }
}

/// Control characters, and those that end a line or turn the direction of a text, would let a quoted text pose as another.
fn is_printed(c: char) -> bool {
    !(c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_text_is_one_line_and_cut_between_characters() {
        assert_eq!(Quoted(&"u42").to_string(), "u42");
        assert_eq!(Quoted(&"a\r\nb\u{2028}\u{202e}c").to_string(), r"a\u{d}\u{a}b\u{2028}\u{202e}c");
        assert_eq!(Quoted(&"é".repeat(100)).to_string(), "é".repeat(100));
        assert_eq!(Quoted(&"é".repeat(101)).to_string(), format!("{}…", "é".repeat(100)));
    }
}
