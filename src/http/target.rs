//! The request target: origin-form, absolute-form reduced to it, and `*` (RFC 9112 §3.2).
//!
//! Splitting it into segments and decoding them is the router's, with `query.rs`.

use super::error::Error;
use super::host::is_host;

/// Schemes of an absolute-form target; `ws` and `wss` because a WebSocket client behind a proxy may write
/// its own.
const SCHEMES: [&str; 4] = ["http", "https", "ws", "wss"];

/// The target as path and query, e.g. `/a?b=1` for `http://example.org/a?b=1`.
pub(super) fn reduce(method: &str, target: &str) -> Result<String, Error> {
    // RFC 9112 §3.2: no form has a fragment. RFC 6455 §3: "Fragment identifiers are meaningless in the
    // context of WebSocket URIs and MUST NOT be used on these URIs."
    if target.contains('#') {
        return Err(Error::Target);
    }
    if target.starts_with('/') {
        return Ok(target.to_owned());
    }
    // RFC 9112 §3.2.4: "The asterisk-form of request-target is only used for a server-wide OPTIONS request".
    if target == "*" && method == "OPTIONS" {
        return Ok(target.to_owned());
    }
    reduce_absolute(target)
}

/// RFC 9112 §3.2.2: "a server MUST accept the absolute-form in requests". Host is then outranked by the
/// target's authority; nothing here depends on either. Where a name is checked it is the one in Host, which no page can
/// make differ from the target's.
fn reduce_absolute(target: &str) -> Result<String, Error> {
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
    if path_and_query.starts_with('/') {
        Ok(path_and_query.to_owned())
    } else {
        Ok(format!("/{path_and_query}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_as_it_is() {
        for target in ["/", "/a/b?c=d", "//", "/http://x/", "/a?b?c", "/%2f"] {
            assert_eq!(reduce("GET", target).as_deref(), Ok(target));
        }
    }

    #[test]
    fn an_absolute_target_is_reduced_to_path_and_query() {
        for (target, reduced) in [
            ("http://example.org/a?b=1", "/a?b=1"),
            ("HTTP://example.org:8080/", "/"),
            ("http://example.org", "/"),
            ("http://example.org?b=/1", "/?b=/1"),
            ("wss://[::1]:443/a", "/a"),
        ] {
            assert_eq!(reduce("GET", target).as_deref(), Ok(reduced), "{target}");
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
            assert_eq!(reduce("GET", target), Err(Error::Target), "{target}");
        }
    }

    #[test]
    fn a_target_with_user_information_or_a_fragment_is_refused() {
        assert_eq!(reduce("GET", "http://user@example.org/"), Err(Error::Target));
        assert_eq!(reduce("GET", "/a#b"), Err(Error::Target));
    }

    #[test]
    fn the_asterisk_is_for_options_only() {
        assert_eq!(reduce("OPTIONS", "*").as_deref(), Ok("*"));
        assert_eq!(reduce("GET", "*"), Err(Error::Target));
    }
}
