//! The host by which a server is addressed: that of a `Host` field, of an origin, or of `--allow-host`.
//!
//! Names are parsed and compared whole. Nothing is resolved here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// RFC 1035 §2.3.4 leaves 253 characters between the dots of its 255 octets.
const NAME_LEN_MAX: usize = 253;

/// A host without its port: an address, or a name in lower case without the dot of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Address(IpAddr),
    Name(String),
}

impl Host {
    /// The host of `host` or `host:port`, as in a `Host` field or an origin (RFC 3986 §3.2). `None` if `authority` has
    /// another form, for example user information.
    #[must_use]
    pub fn of_authority(authority: &str) -> Option<Self> {
        let (host, port) = match authority.rfind(']') {
            Some(end) => authority.split_at(end + 1),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let is_port = port.is_empty() || port[1..].bytes().all(|byte| byte.is_ascii_digit());
        (is_port && (port.is_empty() || port.starts_with(':'))).then(|| Self::parse(host))?
    }

    /// Whether it stands for the machine itself: `localhost` and the names under it, which no DNS server answers for (RFC
    /// 6761 §6.3), 127.0.0.0/8, also written as IPv6, and `::1`.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        match &self.0 {
            Kind::Address(address) => address.to_canonical().is_loopback(),
            Kind::Name(name) => name.rsplit('.').next() == Some("localhost"),
        }
    }

    /// Parses a host; an IPv6 address has to be in brackets.
    fn parse(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            let address = rest.strip_suffix(']')?.parse().ok()?;
            return Some(Self(Kind::Address(IpAddr::V6(address))));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Ok(address) = name.parse() {
            return Some(Self(Kind::Address(IpAddr::V4(address))));
        }
        let is_name = name.len() <= NAME_LEN_MAX && name.split('.').all(is_label);
        is_name.then(|| Self(Kind::Name(name.to_ascii_lowercase())))
    }
}

/// Whether the text may stand between the dots of a host name. The underscore is not allowed by the RFC, but containers
/// have it in their names.
fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
}

/// A text that is not a host, as the value of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoHost;

impl fmt::Display for NoHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "give a host as browsers send it, such as example.test or 192.0.2.7, without scheme and port; a comma separates \
             several",
        )
    }
}

impl std::error::Error for NoHost {}

impl FromStr for Host {
    type Err = NoHost;

    /// Parses a host without a port. An IPv6 address may be without brackets.
    fn from_str(text: &str) -> Result<Self, NoHost> {
        let bare = text.parse().ok().map(|address| Self(Kind::Address(IpAddr::V6(address))));
        bare.or_else(|| Self::parse(text)).ok_or(NoHost)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Address(IpAddr::V6(address)) => write!(f, "[{address}]"),
            Kind::Address(address) => address.fmt(f),
            Kind::Name(name) => f.write_str(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_loopback(authority: &str) -> bool {
        Host::of_authority(authority).is_some_and(|host| host.is_loopback())
    }

    #[test]
    fn the_names_and_addresses_of_this_machine_are_loopback_with_any_port() {
        for host in [
            "localhost",
            "LocalHost",
            "localhost.",
            "app.localhost",
            "a.b-c.localhost",
            "127.0.0.1",
            "127.0.0.1.",
            "127.255.1.2",
            "[::1]",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]",
            "[::FFFF:7f00:1]",
        ] {
            for port in ["", ":", ":80", ":65535"] {
                assert!(is_loopback(&format!("{host}{port}")), "{host}{port}");
            }
        }
    }

    #[test]
    fn what_only_looks_like_this_machine_is_not_loopback() {
        for authority in [
            "",
            ":80",
            ".",
            ".localhost",
            "a..localhost",
            "127.0.0.1.evil.net",
            "127.0.0.1.evil.net:8080",
            "localhost.evil.net",
            "evil-localhost",
            "evillocalhost:80",
            "localhost..",
            "localhost@evil.net",
            "localhost:80@evil.net",
            "user@localhost",
            "localhost:80:80",
            "localhost:http",
            "localhost:+80",
            "127.1",
            "2130706433",
            "0x7f.0.0.1",
            "0177.0.0.1",
            "127.0.0.256",
            "128.0.0.1",
            "0.0.0.0",
            "10.0.0.1",
            "::1",
            "[::1",
            "::1]",
            "[::1]evil.net",
            "[::1]80",
            "[::1].localhost",
            "[[::1]]",
            "[127.0.0.1]",
            "[::1%25lo]",
            "[::]",
            "[::2]",
            "[::ffff:10.0.0.1]",
            "[::127.0.0.1]",
            "localhost/",
            "löcalhost",
            "local host",
        ] {
            assert!(!is_loopback(authority), "{authority}");
        }
    }

    #[test]
    fn a_name_is_the_same_in_any_case_and_with_the_dot_of_the_root() {
        let host: Host = "Example.Test".parse().unwrap();
        for authority in ["example.test", "EXAMPLE.TEST:8080", "example.test.", "example.test.:80"] {
            assert_eq!(Host::of_authority(authority).as_ref(), Some(&host), "{authority}");
        }
        for authority in ["a.example.test", "example.test.evil.net", "example.tes", "xexample.test"] {
            assert_ne!(Host::of_authority(authority).as_ref(), Some(&host), "{authority}");
        }
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let host: Host = "fd00::1".parse().unwrap();
        assert_eq!("[FD00:0::1]".parse(), Ok(host.clone()));
        assert_eq!(Host::of_authority("[fd00::1]:80"), Some(host.clone()));
        assert_eq!(host.to_string(), "[fd00::1]");
        assert_eq!("192.0.2.7".parse::<Host>().unwrap().to_string(), "192.0.2.7");
    }

    #[test]
    fn a_name_of_more_than_253_characters_is_refused() {
        let name = |len: usize| "a.".repeat(len / 2) + "a";
        assert!(name(253).parse::<Host>().is_ok());
        assert_eq!(name(255).parse::<Host>(), Err(NoHost));
    }
}
