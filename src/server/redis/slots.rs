//! Redis Cluster: the slot of a key, and which master has which slot.
//!
//! When the map is asked for, and whom it is asked of, is not decided here.

use std::collections::HashMap;
use std::fmt;

use crate::server::redis::resp::Reply;

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;

/// Stands in `Slots::owners` for a slot that no reachable master has.
const NOBODY: u16 = u16::MAX;

/// The longest host name that DNS has, in text.
const HOST_LEN_MAX: usize = 253;

/// The slot of a key: CRC16 of what stands in its first braces, if that is not empty, else of the whole key.
pub fn slot(key: &[u8]) -> u16 {
    crc16(tag(key).unwrap_or(key)) % SLOTS
}

/// What stands between the first `{` and the first `}` after it.
fn tag(key: &[u8]) -> Option<&[u8]> {
    let open = key.iter().position(|&byte| byte == b'{')?;
    let after = &key[open + 1..];
    let len = after.iter().position(|&byte| byte == b'}')?;
    (len > 0).then_some(&after[..len])
}

/// CRC-16/XMODEM: polynomial x^16 + x^12 + x^5 + 1, from 0, nothing reflected.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc: u16, &byte| {
        let [high, _] = crc.to_be_bytes();
        (crc << 8) ^ CRC16_TABLE[usize::from(high ^ byte)]
    })
}

const CRC16_TABLE: [u16; 256] = crc16_table();

const fn crc16_table() -> [u16; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
}

/// Where a server of a cluster listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// A name or an address, an IPv6 one without brackets.
    pub host: Box<str>,
    /// Its port, not 0.
    pub port: u16,
}

impl Address {
    /// From what Redis says. A host that is null, empty or `?` is the host that was asked. `None` if it is no address.
    pub fn said(host: Option<&str>, port: u16, asked_host: &str) -> Option<Self> {
        let host = match host {
            None | Some("" | "?") => asked_host,
            Some(host) => host,
        };
        // What names and addresses have, the scope of an IPv6 one too.
        let is_host = !host.is_empty()
            && host.len() <= HOST_LEN_MAX
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:%".contains(&byte));
        (is_host && port != 0).then(|| Self { host: host.into(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(f, "[{host}]:{port}") } else { write!(f, "{host}:{port}") }
    }
}

/// A reply that is not a map of slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoSlots;

impl fmt::Display for NoSlots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the reply of Redis is not a map of a cluster's slots")
    }
}

impl std::error::Error for NoSlots {}

/// Which master has which slot.
///
/// Invariants: `owners` has `SLOTS` elements, each `NOBODY` or an index of `masters`. No master is there twice. One that was
/// learnt by [`Slots::note_moved`] alone may have lost its last slot again.
#[derive(Clone, Debug)]
pub struct Slots {
    masters: Vec<Address>,
    owners: Vec<u16>,
}

impl Default for Slots {
    /// The map of which nothing is known: nobody has a slot.
    fn default() -> Self {
        Self { masters: Vec::new(), owners: vec![NOBODY; usize::from(SLOTS)] }
    }
}

impl Slots {
    /// From a reply to `CLUSTER SHARDS` (Redis 7.0) of the server at `asked_host`. Only masters that are `online` are in the
    /// map. With `tls`, addresses are those of TLS, and a master without is left out.
    ///
    /// # Errors
    /// It is not such a reply. An address that cannot be one is left out like a master that is not online.
    pub fn from_shards(reply: &Reply, asked_host: &str, tls: bool) -> Result<Self, NoSlots> {
        let port = if tls { b"tls-port".as_slice() } else { b"port" };
        let mut filling = Filling::default();
        for shard in list(reply)? {
            let slots = list(shard.field(b"slots").ok_or(NoSlots)?)?;
            let nodes = list(shard.field(b"nodes").ok_or(NoSlots)?)?;
            let is_owner = |node: &&Reply| says(node, b"role", b"master") && says(node, b"health", b"online");
            let address = nodes.iter().find(is_owner).and_then(|node| {
                let said_port = node.field(port)?.as_number()?;
                address(node.field(b"endpoint")?, said_port, asked_host)
            });
            let (ranges, rest) = slots.as_chunks();
            if !rest.is_empty() {
                return Err(NoSlots);
            }
            // One without slots is about to get some: a command may be sent to it before it has them.
            if let Some(address) = &address {
                filling.index(address);
            }
            for [first, last] in ranges {
                filling.give(range(first, last)?, address.as_ref());
            }
        }
        Ok(filling.slots)
    }

    /// From a reply to `CLUSTER SLOTS` of the server at `asked_host`. It gives the ports of the kind of the connection, and
    /// does not say whether a master is online.
    ///
    /// # Errors
    /// It is not such a reply.
    pub fn from_slots(reply: &Reply, asked_host: &str) -> Result<Self, NoSlots> {
        let mut filling = Filling::default();
        for entry in list(reply)? {
            let [first, last, master, ..] = list(entry)? else { return Err(NoSlots) };
            let [host, port, ..] = list(master)? else { return Err(NoSlots) };
            let address = address(host, port.as_number().ok_or(NoSlots)?, asked_host);
            filling.give(range(first, last)?, address.as_ref());
        }
        Ok(filling.slots)
    }

    /// The master that has a slot. `None`: no reachable one has, or there is no such slot.
    pub fn owner(&self, slot: u16) -> Option<&Address> {
        let owner = self.owners.get(usize::from(slot))?;
        self.masters.get(usize::from(*owner))
    }

    /// Whether each slot has a master that can be reached.
    pub fn is_whole(&self) -> bool {
        !self.owners.contains(&NOBODY)
    }

    /// Whether the master at this address has a slot.
    pub fn has_any(&self, address: &Address) -> bool {
        let index = self.masters.iter().position(|master| master == address);
        let index = index.and_then(|index| u16::try_from(index).ok());
        index.is_some_and(|index| self.owners.contains(&index))
    }

    /// The masters, in the order in which they were said; those without slots too.
    pub fn masters(&self) -> &[Address] {
        &self.masters
    }

    /// What `MOVED` has said of one slot, until the map has been asked for again.
    pub fn note_moved(&mut self, slot: u16, address: &Address) {
        let known = self.masters.iter().position(|master| master == address);
        let owner = known.unwrap_or(self.masters.len());
        let (Some(place), Ok(index)) = (self.owners.get_mut(usize::from(slot)), u16::try_from(owner)) else {
            return;
        };
        // Of more masters than slots, some have none; Redis advises against more than 1,000.
        if owner < usize::from(SLOTS) {
            *place = index;
            if known.is_none() {
                self.masters.push(address.clone());
            }
        }
    }

    /// The slots that have another owner in `newer`, or have one in only one of the two, ascending.
    pub fn moved<'a>(&'a self, newer: &'a Self) -> impl Iterator<Item = u16> + 'a {
        (0..SLOTS).filter(|&slot| self.owner(slot) != newer.owner(slot))
    }
}

/// A map while a reply is read.
#[derive(Default)]
struct Filling {
    slots: Slots,
    /// Where each master is in `slots.masters`.
    indices: HashMap<Address, u16>,
}

impl Filling {
    /// Gives the slots to this master; to nobody if there is none. Where a reply names a slot twice, the later counts.
    fn give(&mut self, range: (u16, u16), master: Option<&Address>) {
        let owner = master.map_or(NOBODY, |master| self.index(master));
        let (first, last) = (usize::from(range.0), usize::from(range.1));
        self.slots.owners[first..=last].fill(owner);
    }

    fn index(&mut self, master: &Address) -> u16 {
        if let Some(&index) = self.indices.get(master) {
            return index;
        }
        let masters = &mut self.slots.masters;
        // Of a reply that names more than there are slots, the rest have none.
        let Some(index) = u16::try_from(masters.len()).ok().filter(|&index| index < SLOTS) else {
            return NOBODY;
        };
        masters.push(master.clone());
        self.indices.insert(master.clone(), index);
        index
    }
}

fn list(reply: &Reply) -> Result<&[Reply], NoSlots> {
    match reply {
        Reply::List(elements) => Ok(elements),
        Reply::Text(_) | Reply::Error(_) | Reply::Number(_) | Reply::Nil | Reply::Map(_) | Reply::Push(_) => {
            Err(NoSlots)
        }
    }
}

fn says(node: &Reply, field: &[u8], value: &[u8]) -> bool {
    node.field(field).and_then(Reply::as_text) == Some(value)
}

/// The first and the last slot of a range.
fn range(first: &Reply, last: &Reply) -> Result<(u16, u16), NoSlots> {
    let slot = |reply: &Reply| reply.as_number().and_then(|slot| u16::try_from(slot).ok());
    let (first, last) = slot(first).zip(slot(last)).ok_or(NoSlots)?;
    if first <= last && last < SLOTS { Ok((first, last)) } else { Err(NoSlots) }
}

fn address(host: &Reply, port: u64, asked_host: &str) -> Option<Address> {
    let host = match host {
        Reply::Nil => None,
        host => Some(str::from_utf8(host.as_text()?).ok()?),
    };
    Address::said(host, u16::try_from(port).ok()?, asked_host)
}

#[cfg(test)]
#[path = "slots_tests.rs"]
mod tests;
