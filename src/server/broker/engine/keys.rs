//! The names of a channel's keys in Redis, and the texts that Redis keeps besides publications: the subscribers by node, and what
//! an idempotency key stands for.
//!
//! Publications are in `stored`; what is done to the keys is in `script.lua`.

use std::fmt;

use crate::hub::{ChannelName, PublicationId};
use crate::server::broker::fingerprint::Fingerprint;
use crate::server::broker::idempotency::KeyDigest;

/// The names of one installation: all begin with its prefix, which has no braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyNames {
    /// What stands before a channel's name: `PREFIX:{`.
    opening: Box<str>,
    nodes: Box<str>,
    revoked: Box<str>,
    ended: Box<str>,
}

impl KeyNames {
    /// The names that begin with `prefix`.
    pub fn new(prefix: &str) -> Self {
        debug_assert!(!prefix.contains(['{', '}']), "the configuration has checked it");
        Self {
            opening: format!("{prefix}:{{").into(),
            nodes: format!("{prefix}:nodes").into(),
            revoked: format!("{prefix}:revoked").into(),
            ended: format!("{prefix}:ended").into(),
        }
    }

    /// The hash of a channel, and its channel in Redis: `PREFIX:{CHANNEL}`. In a cluster, the braces have all keys of a channel in
    /// one slot. Names of channels have no braces.
    pub fn channel(&self, channel: &ChannelName) -> String {
        format!("{}{channel}}}", self.opening)
    }

    /// The hash of who is in a channel: `PREFIX:{CHANNEL}:u`.
    pub fn members(&self, channel: &ChannelName) -> String {
        format!("{}{channel}}}:u", self.opening)
    }

    /// Where it is kept that a cache channel was reported as empty: `PREFIX:{CHANNEL}:m`.
    pub fn miss(&self, channel: &ChannelName) -> String {
        format!("{}{channel}}}:m", self.opening)
    }

    /// Where an idempotency key of a channel is kept: `PREFIX:{CHANNEL}:k:DIGEST`.
    pub fn key(&self, channel: &ChannelName, key: KeyDigest) -> String {
        format!("{}{channel}}}:k:{key}", self.opening)
    }

    /// Where revocations are kept for nodes that do not hear of them: `PREFIX:revoked`.
    pub fn revoked(&self) -> &str {
        &self.revoked
    }

    /// Where it is kept whose connections were to end, for nodes that do not hear of it: `PREFIX:ended`.
    pub fn ended(&self) -> &str {
        &self.ended
    }

    /// The channel in Redis on which nodes say that they live, and tell each other: `PREFIX:nodes`.
    pub fn nodes(&self) -> &str {
        &self.nodes
    }

    /// The name of the channel that has this name in Redis, if it is one of this installation.
    pub fn channel_of<'a>(&self, name: &'a [u8]) -> Option<&'a str> {
        let channel = name.strip_prefix(self.opening.as_bytes())?.strip_suffix(b"}")?;
        str::from_utf8(channel).ok().filter(|channel| !channel.is_empty() && !channel.contains(['{', '}']))
    }
}

/// The subscribers on other nodes, by the text `NODE:COUNT:UNTIL;…`: the sum of those for whose node `lives` says so. `own` is this
/// node's name, whose number is known better here. What is no such entry is passed over.
pub fn subscribers_elsewhere(nodes: &[u8], own: &str, mut lives: impl FnMut(&str) -> bool) -> u64 {
    let entries = nodes.split(|&byte| byte == b';').filter_map(|entry| {
        let mut parts = str::from_utf8(entry).ok()?.split(':');
        let (node, count, _until) = (parts.next()?, parts.next()?.parse::<u64>().ok()?, parts.next()?);
        (node != own && lives(node)).then_some(count)
    });
    entries.fold(0, u64::saturating_add)
}

/// What Redis keeps under an idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// Of the publication that was made under it.
    pub fingerprint: Fingerprint,
    /// The publication.
    pub id: PublicationId,
    /// The subscribers by node at that time.
    pub nodes: &'a [u8],
}

impl<'a> Known<'a> {
    /// Reads `FINGERPRINT EPOCH-SEQUENCE NODES`, as script.lua writes it.
    ///
    /// # Errors
    /// It is something else: another program has written it.
    pub fn read(text: &'a [u8]) -> Result<Self, BadKnown> {
        let mut parts = text.splitn(3, |&byte| byte == b' ');
        let mut next = || parts.next().ok_or(BadKnown);
        let (fingerprint, id, nodes) = (next()?, next()?, next()?);
        let fingerprint = str::from_utf8(fingerprint).ok().and_then(|text| text.parse().ok());
        let id = str::from_utf8(id).ok().and_then(|text| text.parse().ok());
        Ok(Self { fingerprint: fingerprint.ok_or(BadKnown)?, id: id.ok_or(BadKnown)?, nodes })
    }
}

/// A text under an idempotency key that was not written by the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKnown;

impl fmt::Display for BadKnown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an idempotency key in Redis does not hold a fingerprint, an identifier and nodes")
    }
}

impl std::error::Error for BadKnown {}

#[cfg(test)]
mod tests {
    use super::*;

    fn name() -> ChannelName {
        ChannelName::new("prices").unwrap()
    }

    #[test]
    fn the_names_of_a_channel_have_it_in_braces_and_are_read_back() {
        let names = KeyNames::new("fanfare");
        assert_eq!(names.channel(&name()), "fanfare:{prices}");
        let key = names.key(&name(), KeyDigest::test(0xab));
        assert_eq!(key, "fanfare:{prices}:k:abababababababababababababababab");
        assert_eq!(names.nodes(), "fanfare:nodes");
        let user = ChannelName::of_user("anna").unwrap();
        for channel in [name(), name().in_space("7"), user.clone(), user.in_space("7")] {
            let text = names.channel(&channel);
            assert_eq!(names.channel_of(text.as_bytes()), Some(channel.as_str()));
        }
    }

    #[test]
    fn what_is_no_name_of_a_channel_of_this_installation_is_none() {
        let names = KeyNames::new("fanfare");
        for other in [
            "",
            "fanfare:{",
            "fanfare:{}",
            "fanfare:{prices",
            "fanfare:{prices}:k:ab",
            "fanfare:{prices}:k:{}",
            "other:{prices}",
            "fanfare:nodes",
        ] {
            assert_eq!(names.channel_of(other.as_bytes()), None, "{other}");
        }
        assert_eq!(names.channel_of(b"fanfare:{\xff}"), None);
    }

    #[test]
    fn the_subscribers_elsewhere_are_those_of_other_nodes_that_live() {
        let nodes = b"me:100:1700000000000;b:2:1700000000000;dead:50:1700000000000;c:3:1700000000000;";
        let sum = |nodes: &[u8]| subscribers_elsewhere(nodes, "me", |node| node != "dead");
        assert_eq!((sum(nodes), sum(b"")), (5, 0));
        assert_eq!(sum(b"b:18446744073709551615:1;c:1:1;"), u64::MAX);
        assert_eq!(sum(b"b;c:;d:x:1;e:-1:1;f:7;\xff:9:1;:;;g:4:1;"), 4, "what is no entry is passed over");
    }

    #[test]
    fn what_a_key_stands_for_is_read_as_the_script_writes_it_and_in_no_other_way() {
        let text = b"000102030405060708090a0b0c0d0e0f abcdefabcdef-17 a:1:2;b:3:4;";
        let known = Known::read(text).unwrap();
        assert_eq!(known.fingerprint.to_string(), "000102030405060708090a0b0c0d0e0f");
        assert_eq!(known.id, PublicationId { epoch: 0xabcd_efab_cdef, sequence: 17 });
        assert_eq!(known.nodes, b"a:1:2;b:3:4;");
        let alone = Known::read(b"000102030405060708090a0b0c0d0e0f a-1 ").unwrap();
        assert_eq!(alone.nodes, b"");
        for other in [
            &b""[..],
            b"x",
            b"000102030405060708090a0b0c0d0e0f a-1",
            b"000102030405060708090a0b0c0d0e a-1 ",
            b"000102030405060708090a0b0c0d0e0f a-01 ",
            b"\xff a-1 ",
        ] {
            assert_eq!(Known::read(other), Err(BadKnown));
        }
    }
}
