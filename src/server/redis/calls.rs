//! The commands of a channel, as bytes: the calls of the script, subscriptions and reads.
//!
//! When they are written, and over which connection, is not known here.

use bytes::{Bytes, BytesMut};

use super::resp::Command;
use crate::hub::{HistoryLimits, PublicationId};
use crate::server::broker::elsewhere::Said;
use crate::server::broker::engine::records::{self, Whose};

/// A channel is kept by Redis this long after its last use, at least: long enough for a client that was away to come back.
const TTL_MS_MIN: u64 = 600_000;

/// And this much longer than its publications are.
const TTL_MARGIN_MS: u64 = 60_000;

/// How long Redis keeps a channel with these limits that nobody uses.
pub fn ttl_ms(limits: &HistoryLimits) -> u64 {
    TTL_MS_MIN.max(limits.age_ms.saturating_add(TTL_MARGIN_MS))
}

/// What each call of the script says first.
#[derive(Clone, Copy, Debug)]
pub struct Caller<'a> {
    /// What the script is called.
    pub script: &'a str,
    /// The token of the master that executes it.
    pub token: &'a str,
    /// Those of the other masters, with commas between.
    pub others: &'a str,
    /// The epoch that begins if one has to.
    pub fresh_epoch: &'a str,
    pub ttl_ms: u64,
}

impl Caller<'_> {
    fn begin<'a>(&self, out: &'a mut BytesMut, keys: &[&[u8]], operation: &str, words: usize) -> Command<'a> {
        let command = Command::new(out, 8 + keys.len() + words).word(b"EVALSHA").word(self.script.as_bytes());
        let command = command.number(keys.len() as u64);
        let command = keys.iter().fold(command, |command, key| command.word(key));
        let command = command.word(operation.as_bytes()).word(self.token.as_bytes());
        command.word(self.others.as_bytes()).word(self.fresh_epoch.as_bytes()).number(self.ttl_ms)
    }

    /// Publishes records after what this node has. With a key, where that is kept, and the fingerprint.
    pub fn publish(
        &self,
        channel_key: &[u8],
        key: Option<(&[u8], &str)>,
        (limits, is_sharded): (&HistoryLimits, bool),
        known: Option<PublicationId>,
        records: &[Bytes],
        out: &mut BytesMut,
    ) {
        let keys: Vec<&[u8]> = std::iter::once(channel_key).chain(key.map(|(key, _)| key)).collect();
        let command = self.begin(out, &keys, "publish", 6 + records.len());
        let command = command.number(limits.count as u64).number(limits.bytes);
        let command = command.word(send_word(is_sharded));
        let command = command.word(key.map_or("", |(_, fingerprint)| fingerprint).as_bytes());
        let (epoch, sequence) = words_of(known);
        let command = command.word(epoch.as_bytes()).number(sequence);
        drop(records.iter().fold(command, |command, record| command.word(record)));
    }

    /// Says that this node has a channel, by how many subscribers, how many it said when it last heard an answer (`None` if this node
    /// ends), and up to which publication, and which nodes are dead.
    pub fn open(
        &self,
        channel_key: &[u8],
        (node, count, heard): (&str, u64, Option<u64>),
        known: Option<PublicationId>,
        (dead, is_sharded): (&str, bool),
        out: &mut BytesMut,
    ) {
        let (epoch, sequence) = words_of(known);
        let command = self.begin(out, &[channel_key], "open", 7).word(node.as_bytes()).number(count);
        let command = command.word(epoch.as_bytes()).number(sequence).word(send_word(is_sharded));
        let command = command.word(dead.as_bytes());
        drop(match heard {
            Some(heard) => command.number(heard),
            None => command.word(b"-"),
        });
    }

    /// Asks whether this node is to report that a channel is vacated, unless that is answered later than then by Redis's clock.
    pub fn vacate(&self, channel_key: &[u8], node: &str, by: Option<u64>, out: &mut BytesMut) {
        let command = self.begin(out, &[channel_key], "vacate", 2).word(node.as_bytes());
        drop(match by {
            Some(time) => command.number(time),
            None => command.word(b""),
        });
    }
}

/// The epoch and the sequence of what this node has of a channel; none if it has nothing.
fn words_of(known: Option<PublicationId>) -> (String, u64) {
    known.map_or_else(Default::default, |id| (format!("{:x}", id.epoch), id.sequence))
}

/// How this node says who is in a channel.
#[derive(Clone, Copy, Debug)]
pub struct Teller<'a> {
    /// This node.
    pub node: &'a str,
    /// For how long it is believed, in milliseconds; 0: it has nobody; `None`: it ends.
    pub live_ms: Option<u64>,
    /// Whether what it does not say now is gone.
    pub is_whole: bool,
    /// Which call was the last that was answered, if the last one was not.
    pub heard: Option<&'a str>,
    /// What Redis has called its hash when it last answered.
    pub born: &'a str,
    /// Whether others may have taken it for dead since then.
    pub is_late: bool,
    /// Until when it may be told whose departure it is to report, by Redis's clock, in milliseconds.
    pub report_by: Option<u64>,
    /// The members that it knows to have gone: those of whom it knows that nobody has reported it, and those that
    /// another node may have reported.
    pub departed: [&'a [&'a str]; 2],
}

impl Caller<'_> {
    /// Says who is in a channel, whose members are kept at the one key, and which is named by the other.
    pub fn members(
        &self,
        (members_key, channel_key): (&[u8], &[u8]),
        teller: Teller<'_>,
        is_sharded: bool,
        records: &[Said],
        out: &mut BytesMut,
    ) {
        let [unreported, doubtful] = teller.departed;
        let departed_len = unreported.len() + doubtful.len();
        let words = 10 + departed_len + 4 * records.len();
        let command = self.begin(out, &[members_key], "members", words);
        let command = command.word(teller.node.as_bytes());
        let command = match teller.live_ms {
            Some(live_ms) => command.number(live_ms),
            None => command.word(b"-1"),
        };
        let command = command.word(if teller.is_whole { b"1" } else { b"0" });
        let command = command.word(send_word(is_sharded)).word(channel_key);
        let command = command.word(teller.heard.unwrap_or_default().as_bytes());
        let command = command.word(teller.born.as_bytes());
        let command = match teller.report_by {
            Some(time) => command.number(time),
            None => command.word(b""),
        };
        let command = command.number(departed_len as u64).number(unreported.len() as u64);
        let departed = unreported.iter().chain(doubtful);
        let command = departed.fold(command, |command, user_id| command.word(user_id.as_bytes()));
        let known = if teller.is_late { "2" } else { "1" };
        let words = records.iter().flat_map(|said| {
            let known = if said.is_known { known } else { "" };
            records::words(&said.record, known)
        });
        drop(words.fold(command, |command, word| command.word(word.as_bytes())));
    }
}

/// Asks for all who are in a channel.
pub fn look(members_key: &[u8], out: &mut BytesMut) {
    drop(Command::new(out, 2).word(b"HGETALL").word(members_key));
}

/// Asks for members of a channel.
pub fn confirm(members_key: &[u8], user_ids: &[Box<str>], out: &mut BytesMut) {
    let command = Command::new(out, 2 + user_ids.len()).word(b"HMGET").word(members_key);
    let fields = user_ids.iter().map(|user_id| Whose::Member(user_id.clone()).field());
    drop(fields.fold(command, |command, field| command.word(field.as_bytes())));
}

/// What a message to those that have a channel is sent by.
fn send_word(is_sharded: bool) -> &'static [u8] {
    if is_sharded { b"SPUBLISH" } else { b"PUBLISH" }
}

/// Subscribes to a channel.
pub fn subscribe(channel_key: &[u8], is_sharded: bool, out: &mut BytesMut) {
    let name: &[u8] = if is_sharded { b"SSUBSCRIBE" } else { b"SUBSCRIBE" };
    drop(Command::new(out, 2).word(name).word(channel_key));
}

/// The next command is for a slot that is on its way to this master.
pub fn asking(out: &mut BytesMut) {
    drop(Command::new(out, 1).word(b"ASKING"));
}

/// Ends that.
pub fn unsubscribe(channel_key: &[u8], is_sharded: bool, out: &mut BytesMut) {
    let name: &[u8] = if is_sharded { b"SUNSUBSCRIBE" } else { b"UNSUBSCRIBE" };
    drop(Command::new(out, 2).word(name).word(channel_key));
}

/// Asks for the epoch of a channel and its newest publication.
pub fn newest(channel_key: &[u8], out: &mut BytesMut) {
    drop(Command::new(out, 4).word(b"HMGET").word(channel_key).word(b"e").word(b"s"));
}

/// Asks for the epoch of a channel, its oldest publication, and those from `from` to `to`.
pub fn read(channel_key: &[u8], (from, to): (u64, u64), out: &mut BytesMut) {
    let words = usize::try_from(to - from + 1).expect("a read asks for a few publications");
    let command = Command::new(out, 4 + words).word(b"HMGET").word(channel_key).word(b"e").word(b"o");
    drop((from..=to).fold(command, |command, sequence| command.number(sequence)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(write: impl FnOnce(&mut BytesMut)) -> Vec<String> {
        let mut out = BytesMut::new();
        write(&mut out);
        let text = String::from_utf8(out.to_vec()).unwrap();
        let mut lines = text.split("\r\n");
        let announced: usize = lines.next().unwrap()[1..].parse().unwrap();
        let words: Vec<_> = lines.skip(1).step_by(2).map(str::to_owned).collect();
        assert_eq!(words.len(), announced);
        words
    }

    const CALLER: Caller<'_> =
        Caller { script: "sha", token: "t", others: "u,v", fresh_epoch: "abc", ttl_ms: 600_000 };
    const LIMITS: HistoryLimits = HistoryLimits { count: 100, bytes: 5000, age_ms: 300_000 };

    #[test]
    fn a_publication_is_a_call_of_the_script_with_one_key_or_two() {
        let records = [Bytes::from("x"), Bytes::from("y")];
        let told = words(|out| CALLER.publish(b"p:{c}", None, (&LIMITS, false), None, &records, out));
        let expected = "EVALSHA sha 1 p:{c} publish t u,v abc 600000 100 5000 PUBLISH   0 x y";
        assert_eq!(told.join(" "), expected);
        let key = Some((b"p:{c}:k:1".as_slice(), "f"));
        let known = Some(PublicationId { epoch: 0xabc, sequence: 7 });
        let told = words(|out| CALLER.publish(b"p:{c}", key, (&LIMITS, true), known, &records[..1], out));
        let expected = "EVALSHA sha 2 p:{c} p:{c}:k:1 publish t u,v abc 600000 100 5000 SPUBLISH f abc 7 x";
        assert_eq!(told.join(" "), expected);
    }

    #[test]
    fn a_channel_is_opened_with_what_the_node_has_of_it() {
        let known = PublicationId { epoch: 0xabc, sequence: 7 };
        let told = words(|out| CALLER.open(b"p:{c}", ("n", 3, Some(2)), Some(known), ("d,f", false), out));
        assert_eq!(told.join(" "), "EVALSHA sha 1 p:{c} open t u,v abc 600000 n 3 abc 7 PUBLISH d,f 2");
        let told = words(|out| CALLER.open(b"p:{c}", ("n", 0, None), None, ("", true), out));
        assert_eq!(told.join(" "), "EVALSHA sha 1 p:{c} open t u,v abc 600000 n 0  0 SPUBLISH  -");
        let told = words(|out| CALLER.vacate(b"p:{c}", "n", Some(9), out));
        assert_eq!(told.join(" "), "EVALSHA sha 1 p:{c} vacate t u,v abc 600000 n 9");
    }

    #[test]
    fn a_read_names_each_publication() {
        assert_eq!(words(|out| newest(b"c", out)).join(" "), "HMGET c e s");
        assert_eq!(words(|out| read(b"c", (8, 10), out)).join(" "), "HMGET c e o 8 9 10");
        assert_eq!(
            words(|out| confirm(b"u", &["a b".into(), "c".into()], out)),
            ["HMGET", "u", "ma b", "mc"]
        );
        assert_eq!(words(|out| subscribe(b"c", true, out)).join(" "), "SSUBSCRIBE c");
        assert_eq!(words(|out| unsubscribe(b"c", false, out)).join(" "), "UNSUBSCRIBE c");
    }

    #[test]
    fn a_channel_is_kept_longer_than_its_publications() {
        assert_eq!(ttl_ms(&LIMITS), 600_000);
        assert_eq!(ttl_ms(&HistoryLimits { age_ms: 3_600_000, ..LIMITS }), 3_660_000);
    }
}
