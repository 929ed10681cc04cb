//! The thread that talks to Redis: a turn takes what has arrived, does what was ordered and what is due, and writes.
//!
//! It is the only one that calls the engine's methods of the broker. No lock is held while another is taken.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token};

use super::answers::read_reading;
use super::counts::{COUNTS, Counts};
use super::entries::{Joins, Redirected};
use super::host::Host;
use super::inbox::{Inbox, Order};
use super::line::{Line, Purpose, Terms};
use super::link::{Asked, Heard};
use super::loss::Loss;
use super::nodes::{BEAT_MS, BYE, Nodes};
use super::resp::{Command, Reply};
use super::rosters::{NEWS, Rosters};
use super::state::State;
use super::told::Telling;
use super::topology::{MasterId, Topology};
use super::trouble::Trouble;
use crate::hub::ChannelName;
use crate::server::broker::Broker;
use crate::server::broker::engine::keys::KeyNames;
use crate::server::broker::engine::outgoing::Outgoing;
use crate::server::broker::engine::{Ticket, stored};
use crate::server::clock::{Clock, Millis};
use crate::server::waking;

/// What one call of the system reads at most.
const READ_LEN: usize = 64 * 1024;

/// While the loops have more than they can take, nothing is read of the subscriptions, and it is looked at again after this.
const CONGESTED_TIME: Duration = Duration::from_millis(2);

/// The thread waits for this long at most.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// At its end, it waits this long for answers to what was published, and to what webhooks report.
const END_MS: u64 = 2_000;

/// The thread's state.
pub struct Node {
    pub broker: Arc<Broker>,
    pub inbox: Arc<Inbox>,
    pub tally: Arc<State>,
    pub clock: Clock,
    pub terms: Terms,
    pub topology: Topology,
    pub keys: KeyNames,
    pub id: Box<str>,
    pub host: Box<dyn Host>,
    pub joins: Joins,
    pub outgoing: Outgoing<Ticket>,
    /// The channels whose calls were sent elsewhere, until one is answered.
    pub redirects: HashMap<ChannelName, Redirected>,
    pub nodes: Nodes,
    pub counts: Counts,
    pub rosters: Rosters,
    pub telling: Telling,
    /// When it began, in milliseconds since 1970.
    pub began_unix_ms: u64,
    pub trouble: Trouble,
    pub timeout_ms: u64,
    pub poll: Poll,
    /// Where it is heard which nodes live.
    pub nodes_home: Option<MasterId>,
    /// Whether it is heard there: that is the first thing that is asked of a connection to subscribe by.
    pub is_listening: bool,
    pub beat_at: Millis,
    /// Since when Redis is away, if it is.
    pub away_since: Option<Millis>,
    pub is_away_told: bool,
    /// By when the thread ends.
    pub end_by: Option<Millis>,
}

impl Node {
    /// Runs until it is told to stop.
    ///
    /// # Errors
    /// The system's poll fails.
    pub fn run(&mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(256);
        let mut scratch = vec![0; READ_LEN];
        loop {
            self.wait(&mut events)?;
            let now = self.clock.now();
            let mut news = Vec::new();
            for event in &events {
                let ready = (event.is_readable() || event.is_read_closed(), event.is_writable());
                let terms = &self.terms;
                self.topology.with_line(event.token(), terms, &mut news, now, |line| {
                    line.note_event(ready, terms, now)
                });
            }
            self.follow_news(&mut news, now);
            self.obey(now);
            self.read_lines(&mut scratch, now);
            // What has answered in time may be read late, if this process was stopped.
            self.topology.tick(&self.terms, &mut news, now);
            self.follow_news(&mut news, now);
            self.tick(now);
            self.make_calls(now);
            self.tell_waiting();
            self.write_lines(now);
            self.inbox.note_taken(self.outgoing.bytes());
            if self.has_ended(now) {
                return Ok(());
            }
        }
    }

    fn wait(&mut self, events: &mut Events) -> io::Result<()> {
        let is_congested = self.broker.is_read_late();
        let is_ready =
            !self.inbox.may_sleep() || self.topology.is_ready(!is_congested) || self.joins.is_ready();
        let due = [
            Some(self.topology.due(&self.terms)),
            self.joins.due(),
            self.rosters.due(),
            self.counts.due(),
            self.outgoing.due(),
            Some(self.beat_at),
        ];
        let timeout = match (is_ready, due.into_iter().flatten().chain(self.end_by).min()) {
            (true, _) => Duration::ZERO,
            (false, due) => due.map_or(WAIT_MAX, |at| self.clock.until(at)).min(WAIT_MAX),
        };
        let timeout = if is_congested { timeout.min(CONGESTED_TIME) } else { timeout };
        match self.poll.poll(events, Some(timeout)) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
            _ => {
                self.inbox.is_up();
                Ok(())
            }
        }
    }

    fn obey(&mut self, now: Millis) {
        for order in self.inbox.take() {
            match order {
                Order::Publish(draft, ticket) => self.publish(&draft, ticket, now),
                Order::Want(channel, waiter) => self.want(channel, waiter, now),
                Order::Count(channel) => self.count(&channel, now),
                Order::Members(channel) => self.members_changed(&channel, now),
                Order::Missed(channel) => self.missed(channel),
                Order::Tell(tiding) => self.tell(tiding),
                Order::Resolved(line, found) => {
                    let (terms, mut news) = (&self.terms, Vec::new());
                    self.topology.with_line(Token(line), terms, &mut news, now, |line| {
                        line.resolved(found, terms, now)
                    });
                    self.follow_news(&mut news, now);
                }
                Order::Stop => {
                    self.end_by = Some(Millis(now.0 + END_MS));
                    self.leave_rosters(now);
                    self.leave_vacated(now);
                }
            }
        }
    }

    fn tick(&mut self, now: Millis) {
        self.tick_channels(now);
        self.tick_rosters(now);
        self.tick_vacated(now);
        if self.beat_at <= now {
            self.beat_at = Millis(now.0 + BEAT_MS);
            self.look_at_nodes(now);
            self.tell_nodes("");
            self.tell_kept_later();
            // One master of a cluster may be lost after another.
            self.is_away_told = false;
            if self.joins.late_len > 0 {
                self.tell_late(now);
            }
        }
        if self.is_away(now) && !self.is_away_told {
            self.is_away_told = true;
            self.tell_late(now);
        }
        self.tally.note_turn(self.outgoing.bytes(), self.joins.len(), self.nodes.len());
    }

    /// While Redis is away, no node is heard.
    fn look_at_nodes(&mut self, now: Millis) {
        if self.away_since.is_none() && self.nodes.expire() {
            self.recount(now);
        }
    }

    /// Whether Redis has been away for so long that nobody is to wait for it.
    pub fn is_away(&self, now: Millis) -> bool {
        self.away_since.is_some_and(|since| now.0 >= since.0 + self.timeout_ms)
    }

    /// Whether the thread is to end.
    pub fn is_ending(&self) -> bool {
        self.end_by.is_some()
    }

    /// Whether the thread is to end, and nothing waits for an answer any more.
    fn has_ended(&mut self, now: Millis) -> bool {
        let Some(end_by) = self.end_by else { return false };
        let is_answered =
            self.outgoing.waiting_len() == 0 && !self.rosters.are_leaving() && self.joins.opens == 0;
        if !is_answered && now < end_by {
            return false;
        }
        self.report_departed(now);
        self.report_vacated(now);
        self.tell_nodes(BYE);
        self.write_lines(now);
        true
    }

    /// Says to the other nodes that this one lives.
    fn tell_nodes(&mut self, what: &str) {
        let text = format!("{}{what}", self.id);
        let channel = self.keys.nodes().as_bytes();
        let mut masters = self.topology.masters();
        if let Some(up) = masters.find_map(|(_, master)| master.publish.up()) {
            let command =
                |out: &mut _| drop(Command::new(out, 3).word(b"PUBLISH").word(channel).word(text.as_bytes()));
            up.link.ask(Asked::TellNodes, command);
        }
    }
}

/// Lines.
impl Node {
    fn read_lines(&mut self, scratch: &mut [u8], now: Millis) {
        // A loop that is woken finds all that has come, and sends it with one write for each subscriber.
        let _held = waking::hold();
        let is_congested = self.broker.is_read_late();
        for token in self.topology.tokens() {
            let (terms, mut news) = (&self.terms, Vec::new());
            self.topology.with_line(token, terms, &mut news, now, |line| {
                if is_congested && line.purpose() == Purpose::Subscribe && line.is_up() {
                    line.excuse(now);
                    return None;
                }
                line.read(scratch);
                line.greet(terms, now)
            });
            self.follow_news(&mut news, now);
            self.hear(token, now);
        }
    }

    /// Takes all that was heard on a line.
    fn hear(&mut self, token: Token, now: Millis) {
        loop {
            let (terms, mut news, mut heard) = (&self.terms, Vec::new(), None);
            self.topology.with_line(token, terms, &mut news, now, |line| match line.up()?.link.next() {
                Ok(next) => {
                    heard = next;
                    None
                }
                Err(broken) => Some(line.lose(Loss::Broken(broken), terms, now)),
            });
            self.follow_news(&mut news, now);
            match heard {
                None => return,
                Some(Heard::Push(parts)) => self.heard_push(token, &parts, now),
                Some(Heard::Answer(asked, reply)) => self.heard_answer(token, asked, reply, now),
            }
        }
    }

    fn heard_push(&mut self, token: Token, parts: &[Reply], now: Millis) {
        let Some((master, _)) = self.topology.whose(token) else { return };
        let text = |at: usize| parts.get(at).and_then(Reply::as_text);
        let (Some(kind), Some(channel)) = (text(0), text(1)) else { return };
        match kind {
            b"message" | b"smessage" => {
                let Some(Reply::Text(payload)) = parts.get(2) else { return };
                let Some(name) = self.keys.channel_of(channel) else {
                    if channel == self.keys.nodes().as_bytes() {
                        self.heard_node(payload, now);
                    }
                    return;
                };
                if let Some(text) = payload.strip_prefix(COUNTS) {
                    return self.heard_counts(name, text, now);
                }
                if let Some(text) = payload.strip_prefix(NEWS) {
                    return self.heard_news(name, text, now);
                }
                match stored::pushed(payload) {
                    Ok(record) => self.pushed(master, name, record, now),
                    Err(bad) => {
                        self.tally.note_unreadable();
                        self.trouble.note_unreadable(name, &bad, now);
                    }
                }
            }
            b"unsubscribe" | b"sunsubscribe" => {
                let name = self.keys.channel_of(channel).and_then(|name| self.joins.name(name));
                if let Some(name) = name {
                    self.unsubscribed(master, &name, now);
                }
            }
            _ => {}
        }
    }

    fn heard_answer(&mut self, token: Token, asked: Asked, reply: Reply, now: Millis) {
        let Some((master, _)) = self.topology.whose(token) else {
            return self.scout_heard(token, &asked, &reply, now);
        };
        let refusal = match &reply {
            // These have rules of their own, or do not matter.
            Reply::Error(_) if matches!(asked, Asked::Info | Asked::Publish(..) | Asked::Prolong) => None,
            Reply::Error(error) => Some(self.refusal(master, error)),
            _ => None,
        };
        if let Some(refusal) = &refusal {
            self.note_refused(master, &asked, refusal, now);
            self.redirect(master, &asked, &refusal.reason, now);
        }
        match asked {
            Asked::Info => {
                let (terms, mut news) = (&self.terms, Vec::new());
                self.topology
                    .with_line(token, terms, &mut news, now, |line| line.note_role(&reply, terms, now));
                self.follow_news(&mut news, now);
                self.compare_tokens(master, now);
            }
            Asked::Publish(channel, records, since) => {
                if !matches!(reply, Reply::Error(_)) {
                    self.tally.note_call(records, since.elapsed());
                }
                self.called(master, &channel, &reply, now);
            }
            Asked::Subscribe(channel) if refusal.is_none() => self.subscribed(&channel),
            Asked::Kept => self.heard_kept(&reply),
            Asked::Members(channel) => self.heard_members(&channel, &reply, now),
            Asked::Look(channel) => self.heard_look(&channel, &reply, now),
            Asked::Confirm(channel, user_ids) => self.confirmed(&channel, user_ids, &reply, now),
            Asked::Vacated(channel, times) => self.vacancy_confirmed(&channel, times, &reply, now),
            Asked::Miss(channel) if matches!(reply, Reply::Text(_)) => self.host.cache_missed(&channel, now),
            Asked::SubscribeNodes => self.heard_nodes(master, refusal, now),
            Asked::Open(channel, attempt, said) => match refusal {
                None => self.heard_open(&channel, (attempt, said), &reply, now),
                Some(refusal) => self.open_refused(&channel, attempt, &refusal, now),
            },
            Asked::Keep(tiding) if refusal.is_some() => self.telling.keep_later(tiding),
            Asked::Peek(channel, attempt) => self.peeked(master, &channel, attempt, &reply, now),
            Asked::Read(channel, attempt) => self.read(&channel, attempt, read_reading(&reply), now),
            Asked::Newest(channel) => self.heard_newest(&channel, &reply, now),
            _ => {}
        }
    }

    fn scout_heard(&mut self, token: Token, asked: &Asked, reply: &Reply, now: Millis) {
        let mut news = Vec::new();
        if *asked == Asked::Ping {
            let pong = |line: &mut Line| {
                line.note_pong(now);
                None
            };
            return self.topology.with_line(token, &self.terms, &mut news, now, pong);
        }
        self.topology.scout_heard(asked, reply, &self.terms, &mut news, now);
        self.follow_news(&mut news, now);
    }

    /// Both connections of a master lead to the same process: else the one that hears is on another server than the one that
    /// publishes, and hears nothing.
    pub fn compare_tokens(&mut self, id: MasterId, now: Millis) {
        let Some(master) = self.topology.master(id) else { return };
        let is_same = match (master.publish.up(), master.subscribe.up()) {
            (Some(publish), Some(subscribe)) => {
                publish.is_answered() != subscribe.is_answered() || publish.token == subscribe.token
            }
            _ => true,
        };
        if !is_same {
            // Which of them is where it should be cannot be told.
            let (tokens, mut news) = ([master.publish.token(), master.subscribe.token()], Vec::new());
            for token in tokens {
                let terms = &self.terms;
                let lose = |line: &mut Line| Some(line.lose(Loss::NotMaster, terms, now));
                self.topology.with_line(token, terms, &mut news, now, lose);
            }
            self.follow_news(&mut news, now);
        }
    }

    fn write_lines(&mut self, now: Millis) {
        let mut news = Vec::new();
        for token in self.topology.tokens() {
            let terms = &self.terms;
            self.topology.with_line(token, terms, &mut news, now, |line| line.write(terms, now));
        }
        self.follow_news(&mut news, now);
    }
}
