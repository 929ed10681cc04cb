//! The client's address from `X-Forwarded-For`.
//!
//! Each proxy appends the address that it was connected from, so that the right end is the nearest proxy's word and the left
//! end is what the client sent: whoever reads the left end lets clients choose their address.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::Networks;

/// The address of the client whose request came from `peer`. As long as an address is that of a trusted proxy, the next
/// element of the list, from the right, is what that proxy says; the first other is the client's. A list that ends
/// before that, or an element that is no address, ends it at the last good one.
///
/// `fields` are the values of the fields called `X-Forwarded-For`, in the order sent: together they are one list.
pub fn client_behind<'a>(
    peer: IpAddr,
    trusted: &Networks,
    fields: impl DoubleEndedIterator<Item = &'a [u8]>,
) -> IpAddr {
    let mut client = peer.to_canonical();
    let mut said = fields.rev().flat_map(|field| field.rsplit(|&byte| byte == b','));
    while trusted.contains(client) {
        match said.next().and_then(address) {
            Some(address) => client = address,
            None => break,
        }
    }
    client
}

/// The address in an element, in the forms that proxies write: `203.0.113.9`, `203.0.113.9:1234`, `2001:db8::1`,
/// `[2001:db8::1]`, `[2001:db8::1]:1234`, each also in quotes, an IPv6 address also with a zone. IPv4 addresses in their
/// IPv6 form are IPv4 addresses.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(element).ok()?.trim_matches([' ', '\t']);
    let text = match text.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => text,
    };
    let address = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            let is_port_good = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
            ipv6(address).filter(|_| is_port_good)?.into()
        }
        None => match text.split_once(':') {
            None => text.parse::<Ipv4Addr>().ok()?.into(),
            Some((address, port)) if !port.contains(':') && is_port(port) => {
                address.parse::<Ipv4Addr>().ok()?.into()
            }
            Some(_) => ipv6(text)?.into(),
        },
    };
    Some(IpAddr::to_canonical(&address))
}

/// An IPv6 address. A zone (RFC 4007 §11) names an interface of the proxy, and is left out.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    match text.split_once('%') {
        Some((_, "")) => None,
        Some((address, _)) => address.parse().ok(),
        None => text.parse().ok(),
    }
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok()
}

#[cfg(test)]
#[path = "forwarded_tests.rs"]
mod tests;
