//! The form of a host with an optional port: RFC 9110 §7.2, RFC 3986 §3.2.2 and §3.2.3.
//!
//! Whose name it is does not matter here.

use core::net::Ipv6Addr;

/// Whether this is `host [ ":" port ]` with a host that is not empty.
pub(super) fn is_host(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    if let Some(rest) = text.strip_prefix('[') {
        let Some((literal, rest)) = rest.split_once(']') else { return false };
        return is_ip_literal(literal) && (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
    }
    match text.split_once(':') {
        Some((name, port)) => is_name(name) && is_port(port),
        None => is_name(text),
    }
}

/// RFC 3986 §3.2.3: `port = *DIGIT`, so it may be empty; TCP has 65,535 of them.
fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.trim_start_matches('0').is_empty() || text.parse::<u64>().is_ok_and(|port| port <= 65_535))
}

/// RFC 3986 §3.2.2: `IP-literal = "[" ( IPv6address / IPvFuture ) "]"`; RFC 6874 §2 adds a zone, which some clients
/// send.
fn is_ip_literal(text: &str) -> bool {
    if let Some(future) = text.strip_prefix(['v', 'V']) {
        return future.split_once('.').is_some_and(|(version, address)| {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && address.bytes().all(|byte| is_name_byte(byte) || byte == b':')
        });
    }
    let (address, zone) = text.split_once('%').map_or((text, None), |(address, zone)| (address, Some(zone)));
    address.parse::<Ipv6Addr>().is_ok()
        && zone.is_none_or(|zone| !zone.is_empty() && zone.bytes().all(is_name_byte))
}

/// RFC 3986 §3.2.2: `reg-name = *( unreserved / pct-encoded / sub-delims )`; an IPv4 address is one by its form.
fn is_name(text: &str) -> bool {
    let mut parts = text.split('%');
    let is_plain = |part: &str| part.bytes().all(is_name_byte);
    let is_encoded = |part: &str| {
        part.len() >= 2 && part.as_bytes()[..2].iter().all(u8::is_ascii_hexdigit) && is_plain(part)
    };
    !text.is_empty() && parts.next().is_some_and(is_plain) && parts.all(is_encoded)
}

/// RFC 3986 §2.2 and §2.3, but for the comma, which is what joins two Host fields into one.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_or_an_address_with_or_without_a_port_is_a_host() {
        for text in [
            "example.org",
            "a_b",
            "127.0.0.1:80",
            "a:",
            "a:0080",
            "a:65535",
            "%C3%BC.org:1",
            "[::1]",
            "[::1]:8080",
            "[::1]:",
            "[::ffff:1.2.3.4]",
            "[fe80::1%25eth0]:80",
            "[v1.fe:x]",
        ] {
            assert!(is_host(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn a_port_that_is_no_number_user_information_and_garbage_are_no_host() {
        for text in [
            "",
            ":80",
            "a:b",
            "a:80x",
            "a:+80",
            "a:-1",
            "a:65536",
            "a:99999999999999999999",
            "a:1:2",
            "::1",
            "u@a",
            "u:p@a",
            "a/b",
            "a?b",
            "a b",
            "a,b",
            "a%",
            "a%zz",
            "%4",
            "[::1",
            "::1]",
            "[]",
            "[1.2.3.4]",
            "[::1]80",
            "[::1]:x",
            "[fe80::1%]",
            "[v.x]",
            "[vz.x]",
            "[v1.]",
            "a[b",
            "a]",
            "a\\b",
            "<a>",
            "ü",
        ] {
            assert!(!is_host(text.as_bytes()), "{text}");
        }
        assert!(!is_host(b"\xff"));
    }
}
