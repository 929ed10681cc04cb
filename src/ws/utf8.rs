//! UTF-8 checked as it arrives, in pieces that may end anywhere.
//!
//! Whole runs go to `simdutf8`; what is here is the seam between two pieces. What is done about text that is
//! not UTF-8 is decided by who asks.

use std::error::Error;
use std::fmt;

use simdutf8::compat;

/// The bytes so far are not the beginning of any UTF-8 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidUtf8;

impl fmt::Display for InvalidUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not valid UTF-8")
    }
}

impl Error for InvalidUtf8 {}

/// Checks UTF-8 piece by piece; fails at the first byte that cannot be valid, however the pieces are cut.
///
/// ```text
///   pushed:  "κό"           "σ" begins          its rest
///            ce ba cf 8c    cf                  83
///   held:                   cf                  (nothing)
/// ```
///
/// Invariant: `held[..held_len]` is a proper beginning of one character, so `held_len <= 3`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Utf8Validator {
    held: [u8; 3],
    held_len: u8,
}

impl Utf8Validator {
    /// Checks the next piece. After an `Err` the text is lost, and only a new validator is of use.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidUtf8> {
        let rest = self.complete_held(bytes)?;
        let Err(error) = compat::from_utf8(rest) else { return Ok(()) };
        // No `error_len`: the input ended inside a character that is valid so far.
        if error.error_len().is_some() {
            return Err(InvalidUtf8);
        }
        self.hold(&rest[error.valid_up_to()..]);
        Ok(())
    }

    /// Ends the text: it must not end inside a character. The validator is then as new.
    pub fn finish(&mut self) -> Result<(), InvalidUtf8> {
        let ends_inside_character = self.held_len > 0;
        *self = Utf8Validator::default();
        if ends_inside_character { Err(InvalidUtf8) } else { Ok(()) }
    }

    /// Gives the held character bytes until it is whole; returns what is left of them.
    fn complete_held<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], InvalidUtf8> {
        let mut rest = bytes;
        while self.held_len > 0
            && let Some((&byte, behind)) = rest.split_first()
        {
            let len = usize::from(self.held_len);
            let mut character = [self.held[0], self.held[1], self.held[2], 0];
            character[len] = byte;
            match str::from_utf8(&character[..=len]) {
                Ok(_) => self.held_len = 0,
                Err(error) if error.error_len().is_some() => return Err(InvalidUtf8),
                Err(_) => self.hold(&character[..=len]),
            }
            rest = behind;
        }
        Ok(rest)
    }

    fn hold(&mut self, start: &[u8]) {
        debug_assert!(start.len() <= 3, "four bytes are a whole character or none");
        self.held[..start.len()].copy_from_slice(start);
        self.held_len = start.len() as u8;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes at the edges of the UTF-8 table: every row of it begins and ends with one of them.
    const EDGES: [u8; 24] = [
        0x00, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xec, 0xed, 0xee,
        0xef, 0xf0, 0xf1, 0xf3, 0xf4, 0xf5, 0xff,
    ];

    /// The oracle: can these bytes be the beginning of a text?
    fn can_become_valid(start: &[u8]) -> bool {
        str::from_utf8(start).map_or_else(|error| error.error_len().is_none(), |_| true)
    }

    /// Asserts, byte by byte, that `push` fails exactly where no completion is valid, and `finish` like std.
    fn assert_like_std(bytes: &[u8]) {
        let mut validator = Utf8Validator::default();
        for end in 1..=bytes.len() {
            let pushed = validator.push(&bytes[end - 1..end]);
            assert_eq!(pushed.is_ok(), can_become_valid(&bytes[..end]), "{:02x?}", &bytes[..end]);
            if pushed.is_err() {
                return;
            }
        }
        assert_eq!(validator.finish().is_ok(), str::from_utf8(bytes).is_ok(), "{bytes:02x?}");
    }

    #[test]
    fn greek_cut_inside_a_character_is_valid() {
        let mut validator = Utf8Validator::default();
        assert_eq!(validator.push(b"\xce\xba\xcf\x8c\xcf"), Ok(()));
        assert_eq!(validator.push(b"\x83"), Ok(()));
        assert_eq!(validator.finish(), Ok(()));
    }

    #[test]
    fn a_surrogate_is_refused_at_its_second_byte() {
        let mut validator = Utf8Validator::default();
        assert_eq!(validator.push(b"\xed"), Ok(()));
        assert_eq!(validator.push(b"\xa0"), Err(InvalidUtf8));
    }

    #[test]
    fn a_code_point_over_10ffff_is_refused_at_its_second_byte() {
        let mut validator = Utf8Validator::default();
        assert_eq!(validator.push(b"\xf4"), Ok(()));
        assert_eq!(validator.push(b"\x90"), Err(InvalidUtf8));
    }

    #[test]
    fn a_text_that_ends_inside_a_character_is_refused_at_its_end() {
        let mut validator = Utf8Validator::default();
        assert_eq!(validator.push(b"\xf0\x9f\x8e"), Ok(()));
        assert_eq!(validator.finish(), Err(InvalidUtf8));
        assert_eq!(validator.finish(), Ok(()));
    }

    #[test]
    fn a_validator_is_four_bytes() {
        assert_eq!(size_of::<Utf8Validator>(), 4);
    }

    #[test]
    fn four_bytes_of_every_row_of_the_table_fail_where_std_says() {
        for a in EDGES {
            for b in EDGES {
                for c in EDGES {
                    EDGES.iter().for_each(|&d| assert_like_std(&[a, b, c, d]));
                }
            }
        }
    }

    /// Text with now and then a byte that spoils it.
    fn nearly_text() -> impl Strategy<Value = Vec<u8>> {
        let spoilt = (any::<String>(), any::<prop::sample::Index>(), prop::sample::select(EDGES.to_vec()));
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..16),
            "\\PC{0,200}".prop_map(String::into_bytes),
            spoilt.prop_map(|(text, at, byte)| {
                let mut bytes = text.into_bytes();
                bytes.insert(at.index(bytes.len() + 1), byte);
                bytes
            }),
        ]
    }

    proptest! {
        #[test]
        fn any_bytes_fail_where_std_says(bytes in nearly_text()) {
            assert_like_std(&bytes);
        }

        #[test]
        fn any_cut_gives_what_std_says_of_the_whole(
            bytes in nearly_text(),
            cuts in prop::collection::vec(1_usize..80, 1..8),
        ) {
            let mut validator = Utf8Validator::default();
            let mut checked = Ok(());
            let mut rest = &bytes[..];
            let mut lens = cuts.iter().cycle();
            while checked.is_ok() && !rest.is_empty() {
                let (piece, behind) = rest.split_at(rest.len().min(*lens.next().unwrap()));
                checked = validator.push(piece);
                rest = behind;
                let read = &bytes[..bytes.len() - rest.len()];
                prop_assert_eq!(checked.is_ok(), can_become_valid(read));
            }
            let ended = checked.and_then(|()| validator.finish());
            prop_assert_eq!(ended.is_ok(), str::from_utf8(&bytes).is_ok());
        }
    }
}
