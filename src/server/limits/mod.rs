//! How many connections an address or a user may have, how many handshakes an address may begin and how many messages a
//! connection may send, and which proxies are believed.
//!
//! Who is at the other end is found out by `peer`; what a refused client is sent, and when a seat is given back, is the
//! connection's.

mod addresses;
mod pace;
mod too_many;
mod users;

use std::net::IpAddr;

use addresses::Addresses;
use users::Users;

pub use addresses::{Counts, Seat};
pub use pace::{Pace, UsedUntil};
pub use too_many::TooMany;

use crate::config::Config;
use crate::peer::{Networks, Source, client_behind};
use crate::server::clock::Millis;

/// A connection may send this many times its rate at once: a page that comes back and says all that it has to say.
const MESSAGES_BURST: u32 = 2;

/// The limits of a server, shared by its loops.
#[derive(Debug)]
pub struct Limits {
    proxies: Networks,
    addresses: Option<Addresses>,
    users: Option<Users>,
    messages: Option<Pace>,
}

impl Limits {
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let is_by_address = config.ip_connections.is_some() || config.ip_handshakes.is_some();
        Self {
            proxies: Networks::new(&config.trust_proxy),
            addresses: is_by_address.then(|| Addresses::new(config.ip_connections, config.ip_handshakes)),
            users: config.user_connections.map(Users::new),
            messages: config
                .client_messages
                .filter(|_| !config.is_development())
                .map(|rate| Pace::new(rate, MESSAGES_BURST)),
        }
    }

    /// Whether any proxy is trusted.
    pub fn has_proxies(&self) -> bool {
        !self.proxies.is_empty()
    }

    /// Whether an address is that of a trusted proxy.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.contains(address)
    }

    /// The client's address, if a request with these fields called `X-Forwarded-For` came from this address.
    pub fn client_behind<'a>(
        &self,
        hop: IpAddr,
        forwarded_for: impl DoubleEndedIterator<Item = &'a [u8]>,
    ) -> IpAddr {
        client_behind(hop, &self.proxies, forwarded_for)
    }

    /// Lets a client in. It holds a seat from now on if the connections of its address are limited; that is to be given back by
    /// [`Limits::leave`] once. A trusted proxy is not limited, nor is loopback.
    ///
    /// # Errors
    /// What there are too many of.
    pub fn enter(&self, client: IpAddr, counts: Counts, now: Millis) -> Result<Option<Seat>, TooMany> {
        let Some(addresses) = &self.addresses else { return Ok(None) };
        match Source::counted(client) {
            Some(source) if !self.is_proxy(client) => addresses.enter(source, counts, now),
            Some(_) | None => Ok(None),
        }
    }

    /// Gives a seat back.
    pub fn leave(&self, seat: Seat, now: Millis) {
        if let Some(addresses) = &self.addresses {
            addresses.leave(seat, now);
        }
    }

    /// Counts a connection of a user, by the `sub` of its token. True if it was counted, and is to be given back by
    /// [`Limits::leave_user`] once.
    ///
    /// # Errors
    /// The user has too many.
    pub fn enter_user(&self, sub: &str) -> Result<bool, TooMany> {
        self.users.as_ref().map_or(Ok(false), |users| users.enter(sub).map(|()| true))
    }

    /// Counts a connection of a user less.
    pub fn leave_user(&self, sub: &str) {
        if let Some(users) = &self.users {
            users.leave(sub);
        }
    }

    /// The pace of the messages of a connection, where it has one.
    pub fn messages(&self) -> Option<Pace> {
        self.messages
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(config: Config) -> Limits {
        Limits::new(&Config { ip_connections: Some(1), ..config })
    }

    #[test]
    fn loopback_and_trusted_proxies_are_let_in_whatever_their_number() {
        let limits = limits(Config { trust_proxy: vec!["10.0.0.0/8".parse().unwrap()], ..Config::default() });
        for address in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"] {
            for _ in 0..3 {
                let entered = limits.enter(address.parse().unwrap(), Counts::Handshake, Millis(0));
                assert_eq!(entered, Ok(None), "{address}");
            }
        }
        let other = "203.0.113.9".parse().unwrap();
        assert!(limits.enter(other, Counts::Handshake, Millis(0)).unwrap().is_some());
        assert!(limits.enter(other, Counts::Handshake, Millis(0)).is_err());
    }

    #[test]
    fn without_a_limit_nothing_is_counted() {
        let limits = Limits::new(&Config::default());
        let client = "203.0.113.9".parse().unwrap();
        assert_eq!(limits.enter(client, Counts::Handshake, Millis(0)), Ok(None));
        assert_eq!(limits.enter_user("u42"), Ok(false));
        assert!(!limits.has_proxies());
    }

    #[test]
    fn messages_have_a_pace_outside_development_mode_unless_it_is_turned_off() {
        let insecure = || Config { insecure: true, ..Config::default() };
        assert!(Limits::new(&insecure()).messages().is_some());
        assert!(Limits::new(&Config::default()).messages().is_none());
        assert!(Limits::new(&Config { client_messages: None, ..insecure() }).messages().is_none());
    }
}
