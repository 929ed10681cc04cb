//! `Sec-WebSocket-Extensions`: what a client offers, and what is agreed (RFC 6455 §9.1, RFC 7692 §5 and §7.1).
//!
//! Only permessage-deflate is known; other extensions are passed over. Nothing is compressed here, and an offer that
//! cannot be taken is declined: it never fails the handshake.

use std::borrow::Cow;
use std::fmt;

/// The largest LZ77 window, as the exponent of its size: 32 KiB (RFC 7692 §7.1.2).
pub const WINDOW_BITS_MAX: u8 = 15;

/// The smallest (RFC 7692 §7.1.2).
const WINDOW_BITS_MIN: u8 = 8;

/// The name of the extension (RFC 7692 §7).
const NAME: &str = "permessage-deflate";

/// permessage-deflate as agreed with one client. `Display` is the value of the response's field.
///
/// The server never takes context over: what it compresses is shared by all subscribers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    /// The largest window that the client can inflate with. Below 15, it is only sent what fits.
    pub server_max_window_bits: u8,
    /// Whether the client may refer back to its earlier messages: its window is then kept between them.
    pub client_context_takeover: bool,
    /// Whether the client asked for a bound on our window, so that it has to be answered with one.
    is_server_window_bounded: bool,
}

impl Deflate {
    /// The first offer that can be taken, over all fields in order (RFC 7692 §5.1: "in order of preference").
    #[must_use]
    pub fn negotiate<'a>(
        fields: impl Iterator<Item = &'a str>,
        client_context_takeover: bool,
    ) -> Option<Self> {
        fields
            .flat_map(|field| split(field, ','))
            .find_map(|offer| Self::accept(offer, client_context_takeover))
    }

    /// RFC 7692 §7: "A server MUST decline an extension negotiation offer for this extension if": a parameter is
    /// not defined, has an invalid value, or is there twice; or if the server cannot support it.
    fn accept(offer: &str, client_context_takeover: bool) -> Option<Self> {
        let mut parts = split(offer, ';');
        if parts.next()?.trim_matches(OWS) != NAME {
            return None;
        }
        let mut offered = Offered::default();
        for parameter in parts {
            offered.add(parameter)?;
        }
        Some(Self {
            server_max_window_bits: offered.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX),
            client_context_takeover: client_context_takeover && !offered.client_no_context_takeover,
            is_server_window_bounded: offered.server_max_window_bits.is_some(),
        })
    }
}

impl fmt::Display for Deflate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 7692 §7.1.1: both may be answered whether or not they were offered.
        write!(f, "{NAME}; server_no_context_takeover")?;
        if !self.client_context_takeover {
            f.write_str("; client_no_context_takeover")?;
        }
        if self.is_server_window_bounded {
            write!(f, "; server_max_window_bits={}", self.server_max_window_bits)?;
        }
        Ok(())
    }
}

/// The parameters of one offer.
#[derive(Default)]
struct Offered {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: bool,
}

impl Offered {
    /// Takes one parameter in; `None` if the whole offer is to be declined for it.
    fn add(&mut self, parameter: &str) -> Option<()> {
        let (name, value) = match parameter.split_once('=') {
            Some((name, value)) => (name.trim_matches(OWS), Some(unquote(value.trim_matches(OWS))?)),
            None => (parameter.trim_matches(OWS), None),
        };
        match (name, value) {
            ("server_no_context_takeover", None) => once(&mut self.server_no_context_takeover),
            ("client_no_context_takeover", None) => once(&mut self.client_no_context_takeover),
            // RFC 7692 §7.1.2.2: a client says by this, with a value or without, that it understands the
            // parameter. Nothing is asked of it: our inflater takes every window.
            ("client_max_window_bits", None) => once(&mut self.client_max_window_bits),
            ("client_max_window_bits", Some(bits)) => {
                window_bits(&bits)?;
                once(&mut self.client_max_window_bits)
            }
            ("server_max_window_bits", Some(bits)) => {
                match self.server_max_window_bits.replace(window_bits(&bits)?) {
                    None => Some(()),
                    Some(_) => None,
                }
            }
            _ => None,
        }
    }
}

/// Optional white space around list elements and parameters (RFC 9110 §5.6.3).
const OWS: [char; 2] = [' ', '\t'];

fn once(seen: &mut bool) -> Option<()> {
    (!std::mem::replace(seen, true)).then_some(())
}

/// RFC 7692 §7.1.2: "a decimal integer value without leading zeroes between 8 to 15, inclusive".
fn window_bits(value: &str) -> Option<u8> {
    let bits: u8 = value.parse().ok()?;
    let is_plain = value.bytes().all(|byte| byte.is_ascii_digit()) && !value.starts_with('0');
    (is_plain && (WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&bits)).then_some(bits)
}

/// RFC 6455 §9.1: a value may be a quoted-string whose text is a token.
fn unquote(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(value.into()) };
    let quoted = quoted.strip_suffix('"')?;
    let mut text = String::new();
    let mut characters = quoted.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => text.push(characters.next()?),
            '"' => return None,
            _ => text.push(character),
        }
    }
    Some(text.into())
}

/// The pieces between separators that are not inside a quoted-string.
fn split(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut is_quoted = false;
    let mut is_escaped = false;
    text.split(move |character| {
        let was_escaped = std::mem::take(&mut is_escaped);
        match character {
            '"' if !was_escaped => is_quoted = !is_quoted,
            '\\' if is_quoted && !was_escaped => is_escaped = true,
            _ => return character == separator && !is_quoted,
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(fields: &[&str]) -> Option<String> {
        Deflate::negotiate(fields.iter().copied(), false).map(|deflate| deflate.to_string())
    }

    const PLAIN: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn what_browsers_offer_is_taken() {
        assert_eq!(answer(&["permessage-deflate; client_max_window_bits"]).as_deref(), Some(PLAIN));
        assert_eq!(answer(&["permessage-deflate"]).as_deref(), Some(PLAIN));
    }

    #[test]
    fn no_offer_or_another_extension_is_no_agreement() {
        assert_eq!(answer(&[]), None);
        assert_eq!(answer(&["", "  ,, "]), None);
        assert_eq!(answer(&["x-webkit-deflate-frame, permessage-bzip2"]), None);
        assert_eq!(answer(&["permessage-deflate-x"]), None);
    }

    #[test]
    fn another_extension_before_it_is_passed_over() {
        assert_eq!(
            answer(&["foo; bar=\"a, b; permessage-deflate\", permessage-deflate"]).as_deref(),
            Some(PLAIN)
        );
        assert_eq!(answer(&["foo", "permessage-deflate"]).as_deref(), Some(PLAIN));
    }

    #[test]
    fn a_bounded_window_is_answered_with_the_same_bound() {
        for bits in 8..=15 {
            let expected = format!("{PLAIN}; server_max_window_bits={bits}");
            assert_eq!(
                answer(&[&format!("permessage-deflate; server_max_window_bits={bits}")]),
                Some(expected)
            );
        }
    }

    #[test]
    fn values_may_be_quoted_and_space_may_be_around_them() {
        let expected = Some(format!("{PLAIN}; server_max_window_bits=10"));
        assert_eq!(answer(&["permessage-deflate;server_max_window_bits=\"10\""]), expected);
        assert_eq!(answer(&["permessage-deflate ;\tserver_max_window_bits = \"1\\0\" "]), expected);
    }

    #[test]
    fn a_bad_parameter_declines_its_offer_and_the_next_is_looked_at() {
        for bad in [
            "server_max_window_bits",
            "server_max_window_bits=",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=08",
            "server_max_window_bits=+9",
            "server_max_window_bits=256",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=x",
            "client_max_window_bits; client_max_window_bits=9",
            "server_no_context_takeover=1",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover=true",
            "client_no_context_takeover; client_no_context_takeover",
            "unknown",
            "",
        ] {
            assert_eq!(answer(&[&format!("permessage-deflate; {bad}")]), None, "{bad}");
            assert_eq!(
                answer(&[&format!("permessage-deflate; {bad}, permessage-deflate")]).as_deref(),
                Some(PLAIN)
            );
        }
    }

    #[test]
    fn a_quote_without_an_end_takes_what_is_behind_it_along() {
        assert_eq!(answer(&["permessage-deflate; server_max_window_bits=\"10, permessage-deflate"]), None);
        assert_eq!(
            answer(&["permessage-deflate; server_max_window_bits=\"10", "permessage-deflate"]).as_deref(),
            Some(PLAIN)
        );
    }

    #[test]
    fn the_first_offer_that_can_be_taken_is() {
        let offers = "permessage-deflate; server_max_window_bits=9, permessage-deflate";
        assert_eq!(answer(&[offers]), Some(format!("{PLAIN}; server_max_window_bits=9")));
    }

    #[test]
    fn a_client_takes_context_over_only_if_both_sides_want_it() {
        let negotiate = |offer| Deflate::negotiate([offer].into_iter(), true).unwrap();
        assert!(negotiate("permessage-deflate").client_context_takeover);
        assert!(!negotiate("permessage-deflate; client_no_context_takeover").client_context_takeover);
        assert_eq!(
            negotiate("permessage-deflate").to_string(),
            "permessage-deflate; server_no_context_takeover"
        );
    }
}
