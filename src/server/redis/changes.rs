//! What follows when a connection to Redis is up or lost, when masters change, and when Redis refuses something.
//!
//! When connections are dialled and given up is in `line`; what happens to channels then, in `homes` and `joins`.

use super::line::{self, Purpose};
use super::link::Asked;
use super::loss::Loss;
use super::node::Node;
use super::refusal::{Fate, Refusal};
use super::resp::Command;
use super::state::Outcome;
use super::topology::{MasterId, News};
use crate::server::clock::Millis;

/// Connections.
impl Node {
    /// What follows from changes of connections and masters.
    pub fn follow_news(&mut self, news: &mut Vec<News>, now: Millis) {
        for news in std::mem::take(news) {
            match news {
                News::Up(id, purpose) => self.line_up(id, purpose, now),
                News::Lost(id, purpose, asked, loss) => self.line_lost(id, purpose, asked, &loss, now),
                News::Moved => self.rehome(now),
                News::Unknown(place, loss, is_last) => {
                    self.trouble.note_lost(&place, &loss, now);
                    match Outcome::of(&place, &loss) {
                        // Another seed may be there.
                        Outcome::Away if !is_last => {}
                        outcome => self.tally.note_first(outcome),
                    }
                }
            }
            self.note_whether_up(now);
        }
    }

    fn line_up(&mut self, id: MasterId, purpose: Purpose, now: Millis) {
        // Before anything is opened at another server than the one that draws the numbers.
        self.compare_tokens(id, now);
        let is_up = self.topology.master(id).is_some_and(|master| master.subscribe.is_up());
        if purpose != Purpose::Subscribe || !is_up {
            return;
        }
        if self.nodes_home.is_none() {
            self.listen_to_nodes(id, now);
        }
        self.subscriptions_up(now);
    }

    fn listen_to_nodes(&mut self, id: MasterId, now: Millis) {
        let channel = self.keys.nodes().as_bytes();
        if let Some(up) = self.topology.subscriber(id) {
            self.nodes_home = Some(id);
            self.nodes.begin(now);
            let command = |out: &mut _| drop(Command::new(out, 2).word(b"SUBSCRIBE").word(channel));
            up.link.ask(Asked::SubscribeNodes, command);
        }
    }

    fn line_lost(
        &mut self,
        id: MasterId,
        purpose: Purpose,
        asked: Vec<(Asked, bool)>,
        loss: &Loss,
        now: Millis,
    ) {
        self.tally.note_lost(purpose, loss);
        if let Some(place) = self.topology.master(id).map(|master| master.place().clone()) {
            self.trouble.note_lost(&place, loss, now);
            self.tally.note_first(Outcome::of(&place, loss));
        }
        match purpose {
            Purpose::Publish => {
                self.tell_again(&asked);
                self.rosters_lost(&asked, now);
                self.vacated_lost(&asked, now);
                self.calls_lost(asked);
            }
            Purpose::Subscribe => {
                self.rosters_lost(&asked, now);
                self.subscriptions_lost(id, asked, now);
            }
            Purpose::Scout => {}
        }
        if purpose == Purpose::Subscribe && self.nodes_home == Some(id) {
            (self.nodes_home, self.is_listening) = (None, false);
            let mut others = self.topology.masters();
            let other = others.find_map(|(id, master)| master.subscribe.is_up().then_some(id));
            drop(others);
            other.into_iter().for_each(|other| self.listen_to_nodes(other, now));
        }
    }

    /// A connection that does nothing but open is of no use.
    pub fn note_whether_up(&mut self, now: Millis) {
        let is_up = self.is_listening && self.topology.is_up();
        let is_reachable = self.is_listening && self.topology.is_reachable();
        self.tally.note_reach(is_up, is_reachable, now);
        match (is_up, self.away_since) {
            (true, Some(_)) => {
                self.away_since = None;
                self.is_away_told = false;
                self.note_up();
            }
            (false, None) => self.away_since = Some(now),
            (true, None) | (false, Some(_)) => {}
        }
    }
}

/// Redis.
impl Node {
    fn note_up(&mut self) {
        let places: Vec<_> = self.topology.masters().map(|(_, master)| master.place().to_string()).collect();
        self.trouble.note_up(&places.join(", "));
    }

    /// Something was refused that publishes nothing.
    pub fn note_refused(&mut self, master: MasterId, asked: &Asked, refusal: &Refusal, now: Millis) {
        match refusal.fate() {
            Fate::LoadScript => self.load_script(master),
            Fate::AgainAtMaster | Fate::Elsewhere => self.topology.scout(now),
            Fate::Again => {}
            Fate::Never | Fate::Unknown => {
                let what = match asked {
                    Asked::Open(channel, ..)
                    | Asked::Read(channel, _)
                    | Asked::Newest(channel)
                    | Asked::Subscribe(channel) => {
                        format!("to let this node have channel {channel}")
                    }
                    other => format!("{other:?}"),
                };
                self.trouble.note_refused(&what, refusal, now);
            }
        }
    }

    /// Has Redis know the script again: it was restarted, or has forgotten it.
    pub fn load_script(&mut self, master: MasterId) {
        let Some(master) = self.topology.master(master) else { return };
        for line in [&mut master.publish, &mut master.subscribe] {
            if let Some(up) = line.up()
                && !up.link.awaits(&Asked::Load)
            {
                up.link.ask(Asked::Load, |out| line::load(self.terms.script, out));
            }
        }
    }
}
