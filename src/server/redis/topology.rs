//! Which Redis masters there are, and the connections that are kept to them: one to publish and one to subscribe each.
//!
//! What there is is asked of the seeds: a server, a Sentinel that knows the master, or a cluster. What is published and joined
//! is not known here.

use mio::Token;

use super::calls;
use super::greeting::{Mode, Unfit};
use super::line::{Change, Line, Purpose, Terms, Up};
use super::link::Asked;
use super::loss::Loss;
use super::place::Place;
use super::resp::{Command, Reply};
use super::sentinel;
use super::slots::{Address, Slots, slot};
use crate::server::clock::Millis;

/// The events of the waker of the thread.
pub const WAKER: Token = Token(0);

/// Who is the master, or which slots are whose, is asked again at most this often, however many commands are sent elsewhere.
const SCOUT_MS: u64 = 1_000;

/// A Sentinel is asked who the master is this often.
const SENTINEL_MS: u64 = 1_000;

/// A master that could not be used for so long may be one that only this Sentinel believes in: the next one is asked.
const DOUBT_MS: u64 = 3_000;

/// A master, and the connections to it.
#[derive(Debug)]
pub struct Master {
    pub publish: Line,
    pub subscribe: Line,
}

impl Master {
    /// Where it is.
    pub fn place(&self) -> &Place {
        self.publish.place()
    }

    /// Whether both connections are up.
    pub fn is_up(&self) -> bool {
        self.publish.is_up() && self.subscribe.is_up()
    }
}

/// The number of a master. No other ever has it.
pub type MasterId = usize;

/// The servers.
#[derive(Debug)]
pub struct Topology {
    seeds: Vec<Place>,
    /// The seed that is asked next.
    next_seed: usize,
    /// The connection to a seed, or to a server that a cluster has named.
    scout: Option<Line>,
    /// When the scout is sent, if it is.
    scout_at: Option<Millis>,
    scouted_at: Millis,
    /// What the seeds are, once one has said so.
    pub mode: Option<Mode>,
    /// The name that Sentinels have for the master.
    master_name: Option<Box<str>>,
    masters: Vec<(MasterId, Master)>,
    slots: Option<Slots>,
    /// When something was last in order: what a Sentinel says is believed, or the next one was asked.
    believed_at: Millis,
    next_token: usize,
}

/// A change of the masters.
#[derive(Debug)]
pub enum News {
    /// A connection of a master is up.
    Up(MasterId, Purpose),
    /// A connection of a master is lost: what was asked by it and not answered, and whether it was written at least in part.
    Lost(MasterId, Purpose, Vec<(Asked, bool)>, Loss),
    /// There are other masters, or other slots are whose.
    Moved,
    /// The servers cannot be learnt from this one; whether all were asked by now.
    Unknown(Place, Loss, bool),
}

impl Topology {
    /// None is known yet. The first seed is asked at once.
    pub fn new(seeds: Vec<Place>, master_name: Option<Box<str>>, now: Millis) -> Self {
        Self {
            seeds,
            next_seed: 0,
            scout: None,
            scout_at: Some(now),
            scouted_at: now,
            mode: None,
            master_name,
            masters: Vec::new(),
            slots: None,
            believed_at: now,
            next_token: 1,
        }
    }

    /// The masters.
    pub fn masters(&mut self) -> impl Iterator<Item = (MasterId, &mut Master)> {
        self.masters.iter_mut().map(|(id, master)| (*id, master))
    }

    /// A master by its number.
    pub fn master(&mut self, id: MasterId) -> Option<&mut Master> {
        self.masters.iter_mut().find(|(known, _)| *known == id).map(|(_, master)| master)
    }

    /// The connection by which is published at a master, if it is in use.
    pub fn publisher(&mut self, id: MasterId) -> Option<&mut Up> {
        self.master(id)?.publish.up()
    }

    /// The connection by which is subscribed at a master, if it is in use.
    pub fn subscriber(&mut self, id: MasterId) -> Option<&mut Up> {
        self.master(id)?.subscribe.up()
    }

    /// The same for something that is asked next, which is told there first if the slot is on its way to that master.
    pub fn asked(&mut self, (id, is_asking): (MasterId, bool)) -> Option<&mut Up> {
        let up = self.subscriber(id)?;
        if is_asking {
            up.link.ask(Asked::Asking, calls::asking);
        }
        Some(up)
    }

    /// The connection by which is published at the master that has a key, if that is known and it is in use.
    pub fn publisher_of(&mut self, key: &[u8]) -> Option<&mut Up> {
        self.publisher(self.home_of(key)?)
    }

    /// The master that has a channel, whose key is `key`; `None` while that is not known.
    pub fn home_of(&self, key: &[u8]) -> Option<MasterId> {
        match &self.slots {
            None => self.masters.first().map(|(id, _)| *id),
            Some(slots) => self.id_at(&place_of(slots.owner(slot(key))?)),
        }
    }

    /// The master at an address, if there is one.
    pub fn id_at(&self, place: &Place) -> Option<MasterId> {
        self.masters.iter().find(|(_, master)| master.place() == place).map(|(id, _)| *id)
    }

    /// What `MOVED` has said of one slot, until the map has been asked for again.
    pub fn note_moved(&mut self, slot: u16, address: &Address) {
        if let Some(slots) = &mut self.slots {
            slots.note_moved(slot, address);
        }
    }

    /// Whether publications and subscriptions go by shards.
    pub fn is_sharded(&self) -> bool {
        self.slots.is_some()
    }

    /// Whether every channel has a master, and that can be used.
    pub fn is_up(&self) -> bool {
        let has_owner = |place: &Place| match &self.slots {
            None => true,
            Some(slots) => address_of(place).is_some_and(|address| slots.has_any(&address)),
        };
        let mut owners = self.masters.iter().filter(|(_, master)| has_owner(master.place())).peekable();
        let is_whole = self.slots.as_ref().is_none_or(Slots::is_whole);
        is_whole && owners.peek().is_some() && owners.all(|(_, master)| master.is_up())
    }

    /// Whether some channels have a master that can be used.
    pub fn is_reachable(&self) -> bool {
        self.masters.iter().any(|(_, master)| master.is_up())
    }

    /// The tokens of all masters but this one, as the script wants them: a slot that has moved here came from one of them, and has
    /// lost nothing. Where this one was promoted, what it has of the master that it followed may be late, so that one's is left
    /// out, though it may be alive for another moment.
    pub fn other_tokens(&mut self, id: MasterId) -> String {
        let followed = self.publisher(id).and_then(|up| up.followed.clone());
        let others = self.masters.iter_mut().filter(|(other, _)| *other != id);
        let tokens = others.filter_map(|(_, master)| Some(&master.publish.up()?.token));
        let tokens = tokens.filter(|token| followed.as_ref() != Some(*token));
        tokens.map(|token| &**token).collect::<Vec<_>>().join(",")
    }

    /// Has the servers asked who is the master, or which slots are whose; not too often.
    pub fn scout(&mut self, now: Millis) {
        let is_alone = self.mode == Some(Mode::Server) && self.seeds.len() == 1;
        if self.scout_at.is_none() && !is_alone {
            self.scout_at = Some(Millis(now.0.max(self.scouted_at.0 + SCOUT_MS)));
        }
    }

    /// When [`Topology::tick`] is due.
    pub fn due(&self, terms: &Terms) -> Millis {
        let lines = self.lines().map(|line| line.due(terms));
        lines.chain(self.scout_at).min().unwrap_or(Millis(u64::MAX))
    }

    fn lines(&self) -> impl Iterator<Item = &Line> {
        let masters = self.masters.iter().flat_map(|(_, master)| [&master.publish, &master.subscribe]);
        masters.chain(&self.scout)
    }

    /// Whether another turn has something to do without an event.
    pub fn is_ready(&mut self, may_read: bool) -> bool {
        self.masters
            .iter_mut()
            .any(|(_, master)| master.publish.is_ready() || may_read && master.subscribe.is_ready())
            || self.scout.as_mut().is_some_and(Line::is_ready)
    }

    /// Whose the line with a token is; `None` for the scout, and if there is none.
    pub fn whose(&self, token: Token) -> Option<(MasterId, Purpose)> {
        self.masters.iter().find_map(|(id, master)| {
            let lines = [&master.publish, &master.subscribe];
            lines.into_iter().find(|line| line.token() == token).map(|line| (*id, line.purpose()))
        })
    }

    /// The line with a token: the connection of a master, or the scout.
    fn line(&mut self, token: Token) -> Option<(Option<(MasterId, Purpose)>, &mut Line)> {
        for (id, master) in &mut self.masters {
            for (purpose, line) in
                [(Purpose::Publish, &mut master.publish), (Purpose::Subscribe, &mut master.subscribe)]
            {
                if line.token() == token {
                    return Some((Some((*id, purpose)), line));
                }
            }
        }
        let scout = self.scout.as_mut().filter(|scout| scout.token() == token)?;
        Some((None, scout))
    }

    /// Does something with the line of a token, and notes what has become of it.
    pub fn with_line(
        &mut self,
        token: Token,
        terms: &Terms,
        news: &mut Vec<News>,
        now: Millis,
        act: impl FnOnce(&mut Line) -> Option<Change>,
    ) {
        let Some((whose, line)) = self.line(token) else { return };
        if let Some(change) = act(line) {
            self.note(whose, change, terms, news, now);
        }
    }

    /// The tokens of all lines.
    pub fn tokens(&self) -> Vec<Token> {
        self.lines().map(Line::token).collect()
    }

    /// Dials, greets, asks INFO and gives up, where that is due.
    pub fn tick(&mut self, terms: &Terms, news: &mut Vec<News>, now: Millis) {
        if self.scout_at.is_some_and(|at| at <= now) {
            self.scout_at = None;
            self.scouted_at = now;
            self.send_scout(now);
        }
        for token in self.tokens() {
            self.with_line(token, terms, news, now, |line| line.tick(terms, now));
        }
    }

    fn send_scout(&mut self, now: Millis) {
        if self.scout.is_some() {
            return self.ask_scout();
        }
        // A cluster's masters know it better than a seed that may be gone. They take turns: one may be cut off from the others.
        let known: Vec<_> = self.masters.iter().filter(|(_, master)| master.publish.is_up()).collect();
        let place = match (self.mode, known.len()) {
            (Some(Mode::Cluster), 1..) => known[self.next_token % known.len()].1.place().clone(),
            _ => {
                let seed = self.seeds[self.next_seed].clone();
                self.next_seed = (self.next_seed + 1) % self.seeds.len();
                seed
            }
        };
        let token = self.new_token();
        self.scout = Some(Line::new(Purpose::Scout, place, token, now));
    }

    /// Has the scout ask what there is, if it is up and what it found is no lone server.
    fn ask_scout(&mut self) {
        let Some(up) = self.scout.as_mut().and_then(Line::up) else { return };
        match (up.mode, &self.master_name) {
            (Mode::Server, _) => {}
            (Mode::Cluster, _) => up.link.ask(Asked::Slots, |out| {
                drop(Command::new(out, 2).word(b"CLUSTER").word(b"SHARDS"));
            }),
            (Mode::Sentinel, Some(name)) => up.link.ask(Asked::Master, |out| {
                let command = Command::new(out, 3).word(b"SENTINEL").word(b"GET-MASTER-ADDR-BY-NAME");
                drop(command.word(name.as_bytes()));
            }),
            (Mode::Sentinel, None) => up.link.ask(Asked::Masters, |out| {
                drop(Command::new(out, 2).word(b"SENTINEL").word(b"MASTERS"));
            }),
        }
    }

    fn new_token(&mut self) -> Token {
        self.next_token += 1;
        Token(self.next_token)
    }

    fn note(
        &mut self,
        whose: Option<(MasterId, Purpose)>,
        change: Change,
        terms: &Terms,
        news: &mut Vec<News>,
        now: Millis,
    ) {
        match (whose, change) {
            (Some((id, purpose)), Change::Up) => {
                if let Some(Master { publish, subscribe }) = self.master(id) {
                    [publish, subscribe].into_iter().for_each(|line| line.hurry(now));
                }
                news.push(News::Up(id, purpose));
            }
            (Some((id, purpose)), Change::Lost(asked, loss)) => {
                news.push(News::Lost(id, purpose, asked, loss));
                self.scout(now);
            }
            (None, Change::Up) => self.scout_is_up(terms, news, now),
            (None, Change::Lost(_, loss)) => {
                let Some(scout) = self.scout.take() else { return };
                let is_last = self.next_seed == 0;
                news.push(News::Unknown(scout.place().clone(), loss, is_last));
                // The next seed is asked; once all were, after a pause.
                let pause_ms = if is_last { SCOUT_MS } else { 0 };
                self.scout_at = Some(Millis(now.0 + pause_ms));
            }
        }
    }

    fn scout_is_up(&mut self, terms: &Terms, news: &mut Vec<News>, now: Millis) {
        let Some(scout) = &mut self.scout else { return };
        let place = scout.place().clone();
        let Some(up) = scout.up() else { return };
        self.mode = Some(up.mode);
        if up.mode == Mode::Server {
            self.end_scout(terms);
            self.slots = None;
            return self.adopt(vec![place], terms, news, now);
        }
        self.ask_scout();
    }

    /// The answer to something that the scout has asked.
    pub fn scout_heard(
        &mut self,
        asked: &Asked,
        reply: &Reply,
        terms: &Terms,
        news: &mut Vec<News>,
        now: Millis,
    ) {
        let heard = match asked {
            Asked::Slots => self.heard_slots(reply, terms, news, now),
            Asked::Master => self.heard_master(reply, terms, news, now),
            Asked::Masters => self.heard_masters(reply, now),
            _ => Ok(()),
        };
        if let Err(unfit) = heard {
            let token = self.scout.as_ref().map(Line::token);
            let lose = |line: &mut Line| Some(line.lose(Loss::Unfit(unfit), terms, now));
            if let Some(token) = token {
                self.with_line(token, terms, news, now, lose);
            }
        }
    }

    fn heard_master(
        &mut self,
        reply: &Reply,
        terms: &Terms,
        news: &mut Vec<News>,
        now: Millis,
    ) -> Result<(), Unfit> {
        let name = self.master_name.as_deref().unwrap_or_default();
        let place = sentinel::read_master(reply, name)?;
        self.scout_at = Some(Millis(now.0 + SENTINEL_MS));
        if self.is_up() || self.id_at(&place).is_none() {
            self.believed_at = now;
        } else if now.0 >= self.believed_at.0 + DOUBT_MS && self.seeds.len() > 1 {
            self.believed_at = now;
            self.end_scout(terms);
        }
        self.adopt(vec![place], terms, news, now);
        Ok(())
    }

    fn heard_masters(&mut self, reply: &Reply, now: Millis) -> Result<(), Unfit> {
        self.master_name = Some(sentinel::read_only_name(reply)?);
        self.scout_at = Some(now);
        Ok(())
    }

    fn heard_slots(
        &mut self,
        reply: &Reply,
        terms: &Terms,
        news: &mut Vec<News>,
        now: Millis,
    ) -> Result<(), Unfit> {
        let host = self.scout.as_ref().map(|scout| scout.place().host().to_owned()).unwrap_or_default();
        let slots = Slots::from_shards(reply, &host, terms.uses_tls());
        let slots = slots.map_err(|no_slots| Unfit::ForNow(no_slots.to_string()))?;
        self.end_scout(terms);
        let places = slots.masters().iter().map(place_of).collect();
        if !slots.is_whole() {
            // A master has failed, and none has followed it yet.
            self.scout_at = Some(Millis(now.0 + SCOUT_MS));
        }
        self.slots = Some(slots);
        self.adopt(places, terms, news, now);
        news.push(News::Moved);
        Ok(())
    }

    fn end_scout(&mut self, terms: &Terms) {
        // What it asked does not matter any more.
        self.scout.take().into_iter().for_each(|scout| drop(scout.end(terms)));
    }

    /// These are the masters from now on: connections to others are given up.
    fn adopt(&mut self, places: Vec<Place>, terms: &Terms, news: &mut Vec<News>, now: Millis) {
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.masters)
            .into_iter()
            .partition(|(_, master)| places.contains(master.place()));
        self.masters = kept;
        for (id, master) in gone {
            for (purpose, line) in
                [(Purpose::Publish, master.publish), (Purpose::Subscribe, master.subscribe)]
            {
                news.push(News::Lost(id, purpose, line.end(terms), Loss::NotMaster));
            }
        }
        for place in places {
            if self.id_at(&place).is_none() {
                let (first, second) = (self.new_token(), self.new_token());
                let publish = Line::new(Purpose::Publish, place.clone(), first, now);
                let subscribe = Line::new(Purpose::Subscribe, place, second, now);
                self.masters.push((first.0, Master { publish, subscribe }));
            }
        }
    }
}

/// The address that a cluster has for that.
fn address_of(place: &Place) -> Option<Address> {
    match place {
        Place::Tcp(host, port) => Some(Address { host: host.clone(), port: *port }),
        Place::Unix(_) => None,
    }
}

/// Where that is.
pub fn place_of(address: &Address) -> Place {
    Place::Tcp(address.host.clone(), address.port)
}

#[cfg(test)]
#[path = "topology_tests.rs"]
mod tests;
