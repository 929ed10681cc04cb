//! The networks of trusted proxies: whether an address is in one of them.
//!
//! How they are written is the configuration's.

use core::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

/// The bits ahead of an IPv4 address in its IPv6 form, `::ffff:0:0/96` (RFC 4291 §2.5.5.2).
const MAPPED_PREFIX_LEN: u8 = 96;

/// Networks. A network of IPv4 addresses in their IPv6 form is the same as that of the addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Networks(Box<[IpNet]>);

impl Networks {
    /// These.
    #[must_use]
    pub fn new(networks: &[IpNet]) -> Self {
        Self(networks.iter().map(canonical).collect())
    }

    /// Whether there is none, so that no proxy is trusted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether an address is in one of them. An IPv4 address in its IPv6 form is that address.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

fn canonical(network: &IpNet) -> IpNet {
    match (network, network.network().to_canonical()) {
        (IpNet::V6(mapped), IpAddr::V4(address)) => {
            let short = mapped.prefix_len().checked_sub(MAPPED_PREFIX_LEN);
            short.and_then(|len| Ipv4Net::new(address, len).ok()).map_or(*network, IpNet::V4)
        }
        _ => *network,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[&str]) -> Networks {
        Networks::new(&list.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>())
    }

    #[test]
    fn an_address_is_in_a_network_in_either_of_its_forms() {
        let networks = networks(&["10.0.0.0/8", "2001:db8::/32"]);
        for (address, is_in) in [
            ("10.1.2.3", true),
            ("::ffff:10.1.2.3", true),
            ("11.0.0.1", false),
            ("::ffff:11.0.0.1", false),
            ("2001:db8:9::1", true),
            ("2001:db9::1", false),
            ("::10.1.2.3", false),
        ] {
            assert_eq!(networks.contains(address.parse().unwrap()), is_in, "{address}");
        }
    }

    #[test]
    fn a_network_of_mapped_addresses_is_that_of_the_addresses() {
        let networks = networks(&["::ffff:10.0.0.0/104"]);
        assert!(networks.contains("10.9.9.9".parse().unwrap()));
        assert!(networks.contains("::ffff:10.9.9.9".parse().unwrap()));
        assert!(!networks.contains("11.0.0.1".parse().unwrap()));
    }

    #[test]
    fn without_networks_nobody_is_trusted_and_with_all_everybody() {
        assert!(Networks::default().is_empty());
        assert!(!Networks::default().contains("127.0.0.1".parse().unwrap()));
        let all = networks(&["0.0.0.0/0", "::/0"]);
        assert!(all.contains("203.0.113.9".parse().unwrap()) && all.contains("2001:db8::1".parse().unwrap()));
    }
}
