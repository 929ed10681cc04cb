//! What an address counts as where addresses are limited.
//!
//! What is counted, and up to which limit, is the server's.

use core::net::IpAddr;

/// An IPv4 address, or the first 64 bits of an IPv6 address: a customer of a provider gets at least those, and could take
/// a new address for each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// The address.
    V4([u8; 4]),
    /// The network of the address.
    V6([u8; 8]),
}

impl Source {
    /// That of an address. `None` for loopback, which is never counted: what is on this machine is the operator's own.
    #[must_use]
    pub fn counted(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            address if address.is_loopback() => None,
            IpAddr::V4(address) => Some(Self::V4(address.octets())),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Some(Self::V6([a, b, c, d, e, f, g, h]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(address: &str) -> Option<Source> {
        Source::counted(address.parse().unwrap())
    }

    #[test]
    fn an_ipv4_address_counts_alone_in_either_of_its_forms() {
        assert_eq!(of("203.0.113.9"), Some(Source::V4([203, 0, 113, 9])));
        assert_eq!(of("::ffff:203.0.113.9"), of("203.0.113.9"));
        assert_ne!(of("203.0.113.10"), of("203.0.113.9"));
    }

    #[test]
    fn the_addresses_of_a_64_count_as_one() {
        assert_eq!(of("2001:db8:1:2::1"), Some(Source::V6([0x20, 0x01, 0x0d, 0xb8, 0, 1, 0, 2])));
        assert_eq!(of("2001:db8:1:2:ffff:ffff:ffff:ffff"), of("2001:db8:1:2::1"));
        assert_ne!(of("2001:db8:1:3::1"), of("2001:db8:1:2::1"));
    }

    #[test]
    fn loopback_is_not_counted() {
        for address in ["127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(of(address), None, "{address}");
        }
    }
}
