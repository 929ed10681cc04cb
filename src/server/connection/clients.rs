//! What few connections know of their clients, beside the connections, so that the others spend nothing on it: the addresses
//! of those that came through proxies (of the others the socket knows), and the users whose connections are limited.
//!
//! Which address is the client's, and who is counted, is decided by `admission`.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::server::access::Identity;

/// Addresses and users by the numbers of the connections' keys, in about 30 to 60 bytes an address and 20 to 40 a user.
#[derive(Debug, Default)]
pub struct Clients {
    /// IPv4 addresses in their IPv6 form.
    addresses: HashMap<u64, Ipv6Addr>,
    /// As whom a connection is counted, whatever becomes of its identity.
    users: HashMap<u64, Arc<Identity>>,
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

    /// The connection is gone.
    pub fn remove(&mut self, owner: u64) {
        take(&mut self.addresses, owner);
    }

    /// A connection is counted as one of this user.
    pub fn insert_user(&mut self, owner: u64, who: Arc<Identity>) {
        self.users.insert(owner, who);
    }

    /// Whether a connection is counted as one of a user.
    pub fn has_user(&self, owner: u64) -> bool {
        self.users.contains_key(&owner)
    }

    /// The user as one of whose a connection is counted. It is not from now on.
    pub fn take_user(&mut self, owner: u64) -> Option<Arc<Identity>> {
        take(&mut self.users, owner)
    }
}

/// Takes an entry, and gives back the room of many that were taken.
fn take<T>(entries: &mut HashMap<u64, T>, owner: u64) -> Option<T> {
    let taken = entries.remove(&owner)?;
    if entries.len() < entries.capacity() / 4 {
        entries.shrink_to(entries.capacity() / 2);
    }
    Some(taken)
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
