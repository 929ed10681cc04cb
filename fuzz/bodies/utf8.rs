//! `Utf8Validator` in any cut against `std::str::from_utf8`.
//!
//! May be refused: a piece that holds the first byte after which no text could be valid, and the end of a
//! text inside a character. Both must be.
//!
//! Input: where to cut (see `input::cuts`), then the text.

use arbitrary::Unstructured;
use fanfare::ws::{InvalidUtf8, Utf8Validator};

use super::input::{cuts, pieces, up_to};

/// Longer texts are not checked byte by byte: std reads from the start each time.
const BY_BYTE_LEN_MAX: usize = 512;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let sizes = cuts(&mut input);
    let text = up_to(&mut input, usize::MAX);
    check(text, &[text]);
    check(text, &pieces(text, sizes));
    if text.len() <= BY_BYTE_LEN_MAX {
        check(text, &text.chunks(1).collect::<Vec<_>>());
    }
}

fn check(text: &[u8], pieces: &[&[u8]]) {
    let mut validator = Utf8Validator::default();
    let mut pushed_len = 0;
    for piece in pieces {
        pushed_len += piece.len();
        let expected = can_become_valid(&text[..pushed_len]);
        assert_eq!(validator.push(piece).is_ok(), expected, "{pushed_len} bytes of {text:02x?}");
        if !expected {
            return;
        }
    }
    let expected = str::from_utf8(text).map(|_| ()).map_err(|_| InvalidUtf8);
    assert_eq!(validator.finish(), expected, "at the end of {text:02x?}");
    assert_eq!(validator.finish(), Ok(()), "a finished validator is as new");
}

/// The oracle: std says of a text that ends inside a character that the fault has no length.
fn can_become_valid(start: &[u8]) -> bool {
    str::from_utf8(start).map_or_else(|error| error.error_len().is_none(), |_| true)
}
