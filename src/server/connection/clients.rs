//! The addresses of clients whose connections came through proxies, beside the connections: one that came directly spends
//! nothing on it, and its socket knows.
//!
//! Which address is the client's is decided by `admission`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

/// Addresses by the numbers of the connections' keys, in 25 to 50 bytes each.
#[derive(Debug, Default)]
pub struct Clients {
    /// IPv4 addresses in their IPv6 form.
    addresses: HashMap<u64, Ipv6Addr>,
}

impl Clients {
    /// The client of a connection has this address.
    pub fn insert(&mut self, owner: u64, address: IpAddr) {
        let address = match address {
            IpAddr::V4(address) => address.to_ipv6_mapped(),
            IpAddr::V6(address) => address,
        };
        self.addresses.insert(owner, address);
    }

    /// The address of the client of a connection, if a proxy has said it.
    pub fn get(&self, owner: u64) -> Option<IpAddr> {
        self.addresses.get(&owner).map(|address| address.to_canonical())
    }

    /// A connection is gone.
    pub fn remove(&mut self, owner: u64) {
        let is_removed = self.addresses.remove(&owner).is_some();
        if is_removed && self.addresses.len() < self.addresses.capacity() / 4 {
            self.addresses.shrink_to(self.addresses.capacity() / 2);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_back_as_it_was_said_until_the_connection_is_gone() {
        let mut clients = Clients::default();
        for (owner, address) in [(1, "203.0.113.9"), (2, "2001:db8::9")] {
            let address: IpAddr = address.parse().unwrap();
            clients.insert(owner, address);
            assert_eq!(clients.get(owner), Some(address));
        }
        clients.remove(1);
        assert_eq!((clients.get(1), clients.get(2).is_some()), (None, true));
    }

    #[test]
    fn what_many_clients_took_is_given_back() {
        let mut clients = Clients::default();
        (0..10_000).for_each(|owner| clients.insert(owner, IpAddr::from([203, 0, 113, 9])));
        (0..10_000).for_each(|owner| clients.remove(owner));
        assert!(clients.addresses.capacity() < 10, "{}", clients.addresses.capacity());
    }
}
