//! The request target: origin-form, absolute-form, and `*` (RFC 9112 §3.2).
//!
//! Splitting it into segments and decoding them is the router's, with `query.rs`.

use super::error::Error;
use super::host::is_host;

/// Schemes of an absolute-form target; `ws` and `wss` because a WebSocket client behind a proxy may write
/// its own.
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

/// A target that was taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// The authority of an absolute-form target, e.g. `example.org:80`.
    pub authority: Option<String>,
    /// E.g. `/a?b=1`.
    pub path_and_query: String,
}

impl Target {
    fn without_authority(target: &str) -> Self {
        Self { authority: None, path_and_query: target.to_owned() }
    }
}

/// The target in its parts, e.g. `example.org` and `/a?b=1` of `http://example.org/a?b=1`.
pub(super) fn parse(method: &str, target: &str) -> Result<Target, Error> {
    // RFC 9112 §3.2: no form has a fragment. RFC 6455 §3: "Fragment identifiers are meaningless in the
    // context of WebSocket URIs and MUST NOT be used on these URIs."
    if target.contains('#') {
        return Err(Error::Target);
    }
    if target.starts_with('/') {
        return Ok(Target::without_authority(target));
    }
    // RFC 9112 §3.2.4: "The asterisk-form of request-target is only used for a server-wide OPTIONS request".
    if target == "*" && method == "OPTIONS" {
        return Ok(Target::without_authority(target));
    }
    parse_absolute(target)
}

/// RFC 9112 §3.2.2: "a server MUST accept the absolute-form in requests".
fn parse_absolute(target: &str) -> Result<Target, Error> {
    let (scheme, rest) = target.split_once("://").ok_or(Error::Target)?;
    if !SCHEMES.iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return Err(Error::Target);
    }
    let (authority, path_and_query) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    // RFC 9110 §4.2.1 for the empty host: "A recipient that processes such a URI reference MUST reject it as
    // invalid"; §4.2.4 for user information.
    if !is_host(authority.as_bytes()) {
        return Err(Error::Target);
    }
    let root = if path_and_query.starts_with('/') { "" } else { "/" };
    Ok(Target { authority: Some(authority.to_owned()), path_and_query: format!("{root}{path_and_query}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_as_it_is() {
        for target in ["/", "/a/b?c=d", "//", "/http://x/", "/a?b?c", "/%2f"] {
            assert_eq!(parse("GET", target), Ok(Target::without_authority(target)));
        }
    }

    #[test]
    fn an_absolute_target_is_an_authority_and_path_and_query() {
        for (target, authority, path_and_query) in [
            ("http://example.org/a?b=1", "example.org", "/a?b=1"),
            ("HTTP://example.org:8080/", "example.org:8080", "/"),
            ("http://example.org", "example.org", "/"),
            ("http://example.org?b=/1", "example.org", "/?b=/1"),
            ("wss://[::1]:443/a", "[::1]:443", "/a"),
        ] {
            let parts = Target { authority: Some(authority.into()), path_and_query: path_and_query.into() };
            assert_eq!(parse("GET", target), Ok(parts), "{target}");
        }
    }

    #[test]
    fn a_target_without_a_path_is_refused() {
        for target in [
            "a",
            "example.org:80",
            "ftp://a/b",
            "http:/a",
            "http:///a",
            "http://:80/",
            "http://a:b/",
            "*",
            "?a",
        ] {
            assert_eq!(parse("GET", target), Err(Error::Target), "{target}");
        }
    }

    #[test]
    fn a_target_with_user_information_or_a_fragment_is_refused() {
        assert_eq!(parse("GET", "http://user@example.org/"), Err(Error::Target));
        assert_eq!(parse("GET", "/a#b"), Err(Error::Target));
    }

    #[test]
    fn the_asterisk_is_for_options_only() {
        assert_eq!(parse("OPTIONS", "*"), Ok(Target::without_authority("*")));
        assert_eq!(parse("GET", "*"), Err(Error::Target));
    }
}
