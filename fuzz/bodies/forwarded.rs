//! The client behind proxies against a model that reads the list from its left end.
//!
//! Nothing may be refused: an element that is no address ends the list.
//!
//! Input: which networks are trusted (1 byte), the peer (1 byte), then elements: what ends one (1 byte: nothing, a comma, the
//! field), then 1 byte: an element as a proxy writes it, or, for 255, a length (1 byte) and bytes.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use arbitrary::Unstructured;
use fanfare::peer::{Networks, client_behind};
use ipnet::IpNet;

use super::input::{byte, pick, up_to};

const TRUSTED: [&[&str]; 5] = [
    &["10.0.0.0/8"],
    &[],
    &["10.0.0.0/8", "2001:db8::/32", "127.0.0.1/32"],
    &["::ffff:10.0.0.0/104", "fe80::/10"],
    &["0.0.0.0/0", "::/0"],
];

const PEERS: [&str; 6] = ["10.0.0.1", "::ffff:10.0.0.1", "2001:db8::1", "203.0.113.5", "fe80::1", "::1"];

const ELEMENTS: [&str; 28] = [
    "10.0.0.2",
    "203.0.113.9",
    "unknown",
    " 10.0.0.3\t",
    "10.0.0.4:80",
    "\"10.0.0.5\"",
    "\"10.0.0.5:65535\"",
    "10.0.0.6:65536",
    "10.0.0.6:",
    "10.0.0.06",
    "[2001:db8::2]",
    "[2001:db8::3]:443",
    "2001:db8::4",
    "\"[2001:db8::5]:1\"",
    "[2001:db8::6",
    "2001:db8::7]",
    "[2001:db8::8]80",
    "[2001:db8::8]:+1",
    "fe80::2%eth0",
    "[fe80::3%25eth0]:80",
    "fe80::4%",
    "[fe80::4%]",
    "::ffff:10.0.0.7",
    "[::ffff:10.0.0.8]:00080",
    "10.0.0.9%eth0",
    "_hidden",
    "",
    "\"",
];

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let networks: Vec<IpNet> =
        pick(&mut input, &TRUSTED).iter().map(|network| network.parse().expect("it is a network")).collect();
    let peer: IpAddr = pick(&mut input, &PEERS).parse().expect("it is an address");
    let mut fields = vec![Vec::new()];
    while !input.is_empty() {
        let field = fields.last_mut().expect("there is one");
        match byte(&mut input) % 8 {
            0 => fields.push(Vec::new()),
            1 => {}
            _ => field.push(b','),
        }
        let field = fields.last_mut().expect("there is one");
        match byte(&mut input) {
            255 => {
                let len = usize::from(byte(&mut input));
                field.extend_from_slice(up_to(&mut input, len));
            }
            number => field.extend_from_slice(ELEMENTS[usize::from(number) % ELEMENTS.len()].as_bytes()),
        }
    }
    let client = client_behind(peer, &Networks::new(&networks), fields.iter().map(Vec::as_slice));
    assert_eq!(client, expected(peer, &networks, &fields), "{fields:?}");
    assert_eq!(client, client.to_canonical(), "an address has one form");
}

/// From the left end: each address replaces what was to its left, and so does what is no address; a run of trusted proxies
/// at the right end passes on what is to its left.
fn expected(peer: IpAddr, networks: &[IpNet], fields: &[Vec<u8>]) -> IpAddr {
    let is_trusted = |address: IpAddr| networks.iter().any(|network| is_in(address, network));
    let list = fields.join(b",".as_slice());
    let mut said: Option<IpAddr> = None;
    let mut hops: Vec<Option<IpAddr>> = list.split(|&byte| byte == b',').map(address).collect();
    hops.push(Some(peer.to_canonical()));
    for hop in hops {
        said = match hop {
            // It passes on what is known so far; if that is nothing, it is the last good one itself.
            Some(hop) if is_trusted(hop) => said.or(Some(hop)),
            other => other,
        };
    }
    said.expect("the peer is one")
}

/// An address in a network, both in their IPv6 forms.
fn is_in(address: IpAddr, network: &IpNet) -> bool {
    let wide = |address: IpAddr| match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    };
    let len = match network {
        IpNet::V4(network) => 96 + u32::from(network.prefix_len()),
        IpNet::V6(network) => u32::from(network.prefix_len()),
    };
    // `::/0` is no network of IPv4 addresses.
    let is_same_kind = match network {
        IpNet::V6(network) if network.network().to_ipv4_mapped().is_none() => address.is_ipv6(),
        IpNet::V4(_) | IpNet::V6(_) => true,
    };
    let mask = u128::MAX.checked_shl(128 - len).unwrap_or(0);
    is_same_kind && wide(address) & mask == wide(network.network()) & mask
}

/// By what std reads, after quotes and zones are gone.
fn address(element: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(element).ok()?.trim_matches(|character| " \t".contains(character));
    let is_quoted = text.len() >= 2 && text.starts_with('"') && text.ends_with('"');
    let text = if is_quoted { &text[1..text.len() - 1] } else { text };
    let text = without_zone(text)?;
    let bracketed = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let address = match (text.parse::<SocketAddr>(), text.parse::<IpAddr>()) {
        (Ok(address), _) => address.ip(),
        (_, Ok(address)) => address,
        _ => IpAddr::V6(bracketed?.parse::<Ipv6Addr>().ok()?),
    };
    Some(address.to_canonical())
}

/// Without what follows a `%` in an IPv6 address, up to the bracket or the end.
fn without_zone(text: &str) -> Option<String> {
    let Some((address, rest)) = text.split_once('%') else { return Some(text.to_owned()) };
    let zone_len = if text.starts_with('[') { rest.find(']')? } else { rest.len() };
    let is_wide = address.strip_prefix('[').unwrap_or(address).parse::<Ipv6Addr>().is_ok();
    (is_wide && zone_len > 0).then(|| format!("{address}{}", &rest[zone_len..]))
}
