//! The answers to opens and to the first subscription of a connection, and what is done where Redis refuses them: since it is full,
//! since its user may not, or for a while.
//!
//! When what was refused for a while is asked again is `broker::engine::channel`'s.

use bytes::BytesMut;

use super::answers::{read_opening, read_peek};
use super::calls;
use super::greeting::Unfit;
use super::line::Line;
use super::link::Asked;
use super::loss::Loss;
use super::node::Node;
use super::refusal::{Fate, Reason, Refusal};
use super::resp::{Command, Reply};
use super::state::Outcome;
use super::topology::MasterId;
use crate::hub::ChannelName;
use crate::server::clock::Millis;

impl Node {
    /// The answer to an open.
    pub fn heard_open(
        &mut self,
        name: &ChannelName,
        (attempt, said): (u64, u64),
        reply: &Reply,
        now: Millis,
    ) {
        if let Some(entry) = self.joins.entries.get_mut(name) {
            entry.heard = said;
        }
        self.opened(name, attempt, read_opening(reply), now);
        self.roster_opened(name, now);
        self.heard_nodes_of(name, reply, now);
    }

    /// An open was refused.
    ///
    /// Redis that takes no writes refuses it: it is full, its disk is, or too few replicas are there. A channel that is read here
    /// then goes on as it is there; one that nobody has joined is refused, so that requests do not make keys.
    pub fn open_refused(&mut self, name: &ChannelName, attempt: u64, refusal: &Refusal, now: Millis) {
        if let Some(entry) = self.joins.entries.get_mut(name) {
            entry.said = entry.heard;
        }
        let takes_no_writes =
            matches!(refusal.reason, Reason::OutOfMemory | Reason::Misconfigured | Reason::NoReplicas);
        if takes_no_writes && self.joins.is_ready_here(name) && self.send_peek(name, attempt) {
            return;
        }
        self.opened(name, attempt, None, now);
        match refusal.fate() {
            Fate::Never | Fate::Unknown => self.refuse_waiters(name, now),
            Fate::LoadScript | Fate::Again | Fate::AgainAtMaster | Fate::Elsewhere => {}
        }
    }

    /// Asks where a channel is. Its expiry may be set where there is no room for anything else.
    fn send_peek(&mut self, name: &ChannelName, attempt: u64) -> bool {
        let (key, ttl_ms) = (self.keys.channel(name), calls::ttl_ms(&self.broker.limits_of(name)));
        let Some(up) = self.home_up(name) else { return false };
        up.link.ask(Asked::Prolong, |out| {
            drop(Command::new(out, 3).word(b"PEXPIRE").word(key.as_bytes()).number(ttl_ms));
        });
        up.link.ask(Asked::Peek(name.clone(), attempt), |out: &mut BytesMut| {
            let command = Command::new(out, 6).word(b"HMGET").word(key.as_bytes());
            drop(command.word(b"e").word(b"s").word(b"o").word(b"r"));
        });
        true
    }

    /// The answer to that. It counts if the channel is of the master that answers: else a new epoch has to begin, for which there
    /// is no room.
    pub fn peeked(&mut self, master: MasterId, name: &ChannelName, attempt: u64, reply: &Reply, now: Millis) {
        let token = self.topology.subscriber(master).map(|up| up.token.clone());
        let opening =
            read_peek(reply).filter(|(_, of)| token.as_deref().is_some_and(|token| token.as_bytes() == *of));
        match opening {
            Some((opening, _)) => {
                self.reopened(name, attempt, opening, now);
                self.roster_opened(name, now);
            }
            None => self.opened(name, attempt, None, now),
        }
    }

    /// The answer to the subscription to what nodes say, which is the first of a connection: if it is refused, all others are, and
    /// nothing would be heard.
    pub fn heard_nodes(&mut self, master: MasterId, refusal: Option<Refusal>, now: Millis) {
        let Some(refusal) = refusal else {
            self.is_listening = true;
            // What is told from now on is heard.
            self.telling.begin();
            self.note_whether_up(now);
            return self.tally.note_first(Outcome::Up);
        };
        let unfit = Unfit::ForGood(format!(
            "its user may not subscribe to channels that begin with the --redis-prefix. Allow them with &PREFIX:* ({refusal})"
        ));
        let Some(token) = self.topology.master(master).map(|master| master.subscribe.token()) else { return };
        let (terms, mut news) = (&self.terms, Vec::new());
        let lose = |line: &mut Line| Some(line.lose(Loss::Unfit(unfit), terms, now));
        self.topology.with_line(token, terms, &mut news, now, lose);
        self.follow_news(&mut news, now);
    }
}
