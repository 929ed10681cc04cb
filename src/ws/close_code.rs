//! The close codes: their numbers, what each says, and which of them an endpoint may send.
//!
//! Which fault is answered with which code is `error`'s; how a code is read and written, `close`'s.

use std::fmt;

/// A close code that an endpoint may send (RFC 6455 §7.4): one of the constants, or 3000-4999.
///
/// The codes that stand for the absence of a Close frame (1005, 1006, 1015) and the undefined ones have no
/// value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CloseCode(u16);

macro_rules! close_codes {
    ($($number:literal $name:ident $sentence:literal)*) => {
        impl CloseCode {
            $(
                #[doc = concat!(stringify!($number), ": ", $sentence, ".")]
                pub const $name: CloseCode = CloseCode($number);
            )*

            /// What the code says.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self.0 {
                    $($number => $sentence,)*
                    _ => "a code of a library or an application",
                }
            }

            const fn is_registered(number: u16) -> bool {
                matches!(number, $($number)|*)
            }
        }
    };
}

// RFC 6455 §7.4.1, and 1012-1014 of the IANA registry that §11.7 opens.
close_codes! {
    1000 NORMAL              "the connection has done what it was for"
    1001 GOING_AWAY          "the endpoint is going away: a server stops, a browser leaves the page"
    1002 PROTOCOL_ERROR      "the peer broke a rule of the protocol"
    1003 UNSUPPORTED_DATA    "the endpoint does not take this kind of data"
    1007 INVALID_PAYLOAD     "the payload is not what its type says: text that is not UTF-8"
    1008 POLICY_VIOLATION    "the message breaks the endpoint's policy"
    1009 MESSAGE_TOO_BIG     "the message is too big to process"
    1010 MANDATORY_EXTENSION "the client needs an extension that the server did not negotiate"
    1011 INTERNAL_ERROR      "the server met a condition that it did not expect"
    1012 SERVICE_RESTART     "the server restarts"
    1013 TRY_AGAIN_LATER     "the server cannot serve this client now"
    1014 BAD_GATEWAY         "an upstream server gave an invalid answer"
}

impl CloseCode {
    /// The code of that number, if an endpoint may send it.
    #[must_use]
    pub const fn new(number: u16) -> Option<CloseCode> {
        // RFC 6455 §7.4.2: 3000-3999 are "for use by libraries, frameworks, and applications", 4000-4999 "for
        // private use"; 0-999 "are not used", and of 1000-2999 what no document defines has no meaning.
        if CloseCode::is_registered(number) || matches!(number, 3000..=4999) {
            Some(CloseCode(number))
        } else {
            None
        }
    }

    /// A code of 3000-4999, for a constant.
    ///
    /// # Panics
    /// If the number is outside that range.
    #[must_use]
    pub const fn private(number: u16) -> CloseCode {
        assert!(matches!(number, 3000..=4999), "RFC 6455 §7.4.2 leaves 3000-4999 to applications");
        CloseCode(number)
    }

    /// The number, as it is on the wire.
    #[must_use]
    pub const fn as_u16(self) -> u16 {
        self.0
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0, self.sentence())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_printed_with_its_sentence() {
        assert_eq!(CloseCode::SERVICE_RESTART.to_string(), "1012: the server restarts");
        assert_eq!(CloseCode::private(4100).to_string(), "4100: a code of a library or an application");
    }

    #[test]
    #[should_panic(expected = "leaves 3000-4999 to applications")]
    fn a_private_code_outside_its_range_is_our_mistake() {
        let _ = CloseCode::private(2999);
    }
}
