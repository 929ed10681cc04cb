//! A browser origin as the value of a flag: which texts can be the `Origin` of a page, and the form in which browsers send
//! them.
//!
//! Which origin may do what is not decided here.

use std::fmt;

use super::Host;

/// Schemes that no page with an origin has. The handshake of a WebSocket has the origin of its page; files, and documents
/// that a page creates, have the origin `null`.
const NO_PAGES: [&str; 8] = ["ws", "wss", "ftp", "file", "data", "blob", "about", "javascript"];

/// The ports that browsers leave out of an origin: RFC 6454 §6.2.
const DEFAULT_PORTS: [(&str, u16); 2] = [("http", 80), ("https", 443)];

/// A text that cannot be an origin, as the value of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoOrigin;

impl fmt::Display for NoOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "give an origin as browsers send it, such as https://example.com or http://localhost:3000: a page's scheme, \
             a host in ASCII and a port, without a path, a user, spaces or a wildcard; or * for all, or null for files. \
             A comma separates several",
        )
    }
}

impl std::error::Error for NoOrigin {}

/// `*`, `null`, or an origin as browsers send it (RFC 6454 §6.2): scheme and host in lower case, and the port if it is not
/// the scheme's default.
///
/// # Errors
/// No page can have this origin.
pub fn normalise(text: &str) -> Result<String, NoOrigin> {
    if text == "*" || text == "null" {
        return Ok(text.to_owned());
    }
    let (scheme, authority) = text.split_once("://").ok_or(NoOrigin)?;
    let scheme = scheme.to_ascii_lowercase();
    if !is_scheme(&scheme) || NO_PAGES.contains(&scheme.as_str()) {
        return Err(NoOrigin);
    }
    let host = Host::of_authority(authority).ok_or(NoOrigin)?;
    let (named, port) = match authority.rsplit_once(':') {
        Some((named, port)) if !port.contains(']') => (named, port),
        _ => (authority, ""),
    };
    // Browsers keep the dot of the root.
    let root = if named.ends_with('.') { "." } else { "" };
    let port = match port.parse::<u16>() {
        Ok(port) if !DEFAULT_PORTS.contains(&(scheme.as_str(), port)) => format!(":{port}"),
        Ok(_) => String::new(),
        Err(_) if port.is_empty() => String::new(),
        Err(_) => return Err(NoOrigin),
    };
    Ok(format!("{scheme}://{host}{root}{port}"))
}

/// RFC 3986 §3.1: `scheme = ALPHA *( ALPHA / DIGIT / "+" / "-" / "." )`.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_browsers_send_stays_as_it_is() {
        for origin in [
            "*",
            "null",
            "https://example.com",
            "http://localhost:3000",
            "http://192.0.2.7",
            "https://[fd00::1]",
            "https://[fd00::1]:8443",
            "https://example.com.",
            "http://example.com:443",
            "https://xn--bcher-kva.example",
            "chrome-extension://gmccnbhkehdjjggcnhjkphkcdfbmncgh",
            "capacitor://localhost",
        ] {
            assert_eq!(normalise(origin).as_deref(), Ok(origin));
        }
    }

    #[test]
    fn another_way_of_writing_an_origin_becomes_the_browsers() {
        for (given, sent) in [
            ("https://A.example:443", "https://a.example"),
            ("HTTP://Example.com:80", "http://example.com"),
            ("https://example.com:", "https://example.com"),
            ("https://example.com:08443", "https://example.com:8443"),
            ("https://[FD00:0::1]:443", "https://[fd00::1]"),
            ("https://Example.com.:443", "https://example.com."),
        ] {
            assert_eq!(normalise(given).as_deref(), Ok(sent), "{given}");
        }
    }

    #[test]
    fn what_no_page_can_be_of_is_no_origin() {
        for text in [
            "",
            "NULL",
            "example.com",
            "https://",
            "https://:443",
            "://example.com",
            "https://example.com/",
            "https://example.com?a",
            "https://*.example.com",
            "https://*",
            "https://user@example.com",
            "https://a.b, https://c.d",
            " https://c.d",
            "https://a.b ",
            "https://a.b:65536",
            "https://a.b:x",
            "https://a.b:80:80",
            "https://bücher.example",
            "https://a..b",
            "ftp://x",
            "wss://example.com",
            "file://",
            "file:///tmp",
        ] {
            assert_eq!(normalise(text), Err(NoOrigin), "{text}");
        }
    }
}
