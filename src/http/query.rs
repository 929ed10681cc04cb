//! Decoding what a target carries: query parameters and path segments.
//!
//! The undecoded parts come from `Request::query` and `Request::path`; which characters a channel name may
//! have is the hub's to say.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The first parameter called `name`, decoded as `application/x-www-form-urlencoded` (`+` is a space, bytes
/// that are not UTF-8 become U+FFFD). A name without `=` has the empty value.
pub fn parameter(query: Option<&str>, name: &str) -> Option<String> {
    form_urlencoded::parse(query?.as_bytes())
        .find(|(parameter_name, _)| parameter_name == name)
        .map(|(_, value)| value.into_owned())
}

/// All parameters in the order in which they come: names and values, decoded as [`parameter`] does.
pub fn parameters(query: Option<&str>) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    form_urlencoded::parse(query.unwrap_or_default().as_bytes())
}

/// One path segment, percent-decoded (`+` stays); `None` if the result is not UTF-8.
///
/// Decode after splitting the path at `/`, never before: RFC 3986 §2.4 ("%2F" is data, not a delimiter). A
/// `%` without two hex digits stays as it is.
pub fn decode_segment(segment: &str) -> Option<String> {
    percent_decode_str(segment).decode_utf8().ok().map(|text| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_decoded() {
        assert_eq!(parameter(Some("a=1&event=tick+tock%21"), "event").as_deref(), Some("tick tock!"));
    }

    #[test]
    fn the_first_of_equal_names_wins() {
        assert_eq!(parameter(Some("since=4&since=9"), "since").as_deref(), Some("4"));
    }

    #[test]
    fn a_name_without_a_value_is_empty_and_an_absent_one_is_none() {
        assert_eq!(parameter(Some("wait&x=1"), "wait").as_deref(), Some(""));
        assert_eq!(parameter(Some("wait&x=1"), "since"), None);
        assert_eq!(parameter(None, "since"), None);
    }

    #[test]
    fn all_parameters_come_in_their_order_and_decoded() {
        let all: Vec<_> = parameters(Some("channel=a%2Cb&last=1&channel=+c")).collect();
        let expected = [("channel", "a,b"), ("last", "1"), ("channel", " c")];
        assert_eq!(all, expected.map(|(name, value)| (name.into(), value.into())));
        assert_eq!(parameters(None).count(), 0);
    }

    #[test]
    fn a_segment_keeps_its_plus_and_decodes_its_percents() {
        assert_eq!(decode_segment("a+b%40%2Fc").as_deref(), Some("a+b@/c"));
        assert_eq!(decode_segment("Z%C3%BCrich").as_deref(), Some("Zürich"));
        assert_eq!(decode_segment("100%").as_deref(), Some("100%"));
    }

    #[test]
    fn a_segment_that_is_not_utf8_is_refused() {
        assert_eq!(decode_segment("%ff"), None);
    }
}
