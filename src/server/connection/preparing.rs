//! What waits until its channels can be joined, where an engine of many nodes has to be asked first: a request, a command or a
//! subscription is parked as it came, and is carried out again from there once they can, or refused.
//!
//! Which channels those are is known to the broker. What waits for the backend is in `judging`, and is parked in the same places.

use super::awaiting::{Parked, Pending, Wish, Wished};
use super::context::Context;
use super::life::{Expects, Life};
use super::{Connection, Next};
use crate::backend::Judged;
use crate::commands::{Command, FaultKind, Request};
use crate::http;
use crate::hub::{ChannelName, Position};
use crate::server::api::acceptance::Becoming;
use crate::server::api::admin::Report;
use crate::server::api::answers;
use crate::server::api::handlers::Answer;
use crate::server::api::many::{PollingMany, Reading, ReadingMany};
use crate::server::api::roads;
use crate::server::broker::engine::waiting::{JoinQuestion, Prepared, Sought};
use crate::server::broker::mailbox::{JoinAnswer, Unavailable};
use crate::server::clock::{Millis, millis};

impl Context {
    /// Whether channels can be joined now by the connection that is being called. Otherwise the number of the question, which the
    /// mailbox brings the answer to.
    pub fn prepare(&mut self, channels: &[ChannelName]) -> Option<u64> {
        if !self.shared.broker.has_engine() || channels.is_empty() {
            return None;
        }
        let question = self.new_join_question();
        awaited(question, self.shared.broker.prepare(channels, question))
    }

    /// The same where readers may have publications that this node has not got yet, unless Redis was asked for these and has
    /// answered.
    pub fn prepare_sought(&mut self, sought: &[Sought], is_asked: bool) -> Option<u64> {
        if is_asked {
            let channels: Vec<_> = sought.iter().map(|sought| sought.channel.clone()).collect();
            return self.prepare(&channels);
        }
        if !self.shared.broker.has_engine() || sought.is_empty() {
            return None;
        }
        let question = self.new_join_question();
        awaited(question, self.shared.broker.prepare_sought(sought, question))
    }

    fn new_join_question(&mut self) -> JoinQuestion {
        let number = self.next_join_question();
        JoinQuestion { loop_index: self.loop_index, connection: self.owner, number }
    }

    /// Checks that what a client reads under a name can be joined now: what was waited for may have had its time.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_ready(&self, channel: &ChannelName) -> Result<(), FaultKind> {
        let joined = joined_as(channel);
        let is_ready = || self.shared.broker.is_ready(&joined) && !self.unready.contains(&joined);
        match self.shared.broker.has_engine() && !is_ready() {
            true => Err(FaultKind::Unavailable(Unavailable.to_string())),
            false => Ok(()),
        }
    }

    /// Whether what has waited since then has had its time.
    fn is_join_over(&self, since: Millis) -> bool {
        self.is_leaving() || self.join_ends(since).is_none_or(|at| at <= self.now)
    }

    /// When what begins to wait then has had its time.
    pub(super) fn join_ends(&self, since: Millis) -> Option<Millis> {
        let timeout = self.shared.broker.join_timeout()?;
        Some(Millis(since.0.saturating_add(millis(timeout).max(1))))
    }
}

fn awaited(question: JoinQuestion, prepared: Prepared) -> Option<u64> {
    match prepared {
        Prepared::Ready => None,
        Prepared::Awaited => Some(question.number),
    }
}

/// What is waited for.
impl Connection {
    /// The question about channels that something of this connection waits for, and since when.
    pub(super) fn join_question(&self) -> Option<(u64, Millis)> {
        if let Life::Http(http) = &self.life {
            let Expects::GoAhead(parked) = &http.expects else { return None };
            return Some((parked.pending.channels()?, parked.since));
        }
        let wish = self.wish()?;
        Some((wish.pending.channels()?, wish.since))
    }

    /// When the channels that are waited for have had their time, or the engine is to be asked again about some, if any are.
    pub(super) fn channels_by(&self, cx: &Context) -> Option<Millis> {
        if !cx.shared.broker.has_engine() {
            return None;
        }
        let waits_until = self.join_question().and_then(|(_, since)| cx.join_ends(since));
        waits_until.into_iter().chain(self.ask_late_at()).min()
    }

    /// It is time for what [`Connection::channels_by`] says.
    pub(super) fn expire_channels(&mut self, cx: &mut Context) -> Next {
        self.ask_late(cx);
        match self.join_question().and_then(|(_, since)| cx.join_ends(since)) {
            Some(at) if at <= cx.now => self.miss_channels(cx),
            Some(_) | None => Next::Wait,
        }
    }

    /// The channels have had their time: what waits for them is refused.
    pub(super) fn miss_channels(&mut self, cx: &mut Context) -> Next {
        let Some((question, _)) = self.join_question() else { return Next::Wait };
        self.go_on(question, Err(Unavailable), cx)
    }

    /// The channels of a question can be joined, or one of them cannot. The connection may wait for nothing by now.
    pub fn receive_join_answer(&mut self, answer: JoinAnswer, cx: &mut Context) -> Next {
        self.go_on(answer.question, answer.outcome, cx)
    }

    fn go_on(&mut self, question: u64, outcome: Result<(), Unavailable>, cx: &mut Context) -> Next {
        if let Some(parked) = self.take_parked(|pending| pending.is_channels(question)) {
            let Parked { request, judged, since, .. } = parked;
            self.deadlines.restart(cx.now);
            let waited = Waited { since, is_over: outcome.is_err(), is_asked: outcome.is_ok() };
            self.answer_when_ready(&request, judged, waited, cx);
            return Next::Read;
        }
        let Some(wish) = self.take_wish(|pending| pending.is_channels(question)) else {
            self.take_late(question, outcome, cx);
            return Next::Wait;
        };
        let Wish { since, what, .. } = *wish;
        self.restart_beginning(cx);
        match what {
            Wished::Command(text) => self.carry_out_prepared(&text, since, outcome, cx),
            Wished::Subscription { name, member } => {
                self.join_prepared((name, member), since, outcome, cx);
                self.receive_kept(cx);
            }
            Wished::Message(_) => unreachable!("who publishes joins nothing"),
        }
        Next::Read
    }
}

/// Requests.
impl Connection {
    /// Parks a request whose answer joins channels that cannot be joined yet, or refuses it if it has waited for its time. What the
    /// backend has said of it comes back if it can be answered now.
    pub(super) fn park_unready(
        &mut self,
        request: &http::Request,
        answer: &Answer,
        judged: Judged,
        waited: Waited,
        cx: &mut Context,
    ) -> Option<Judged> {
        let Waited { since, is_over, is_asked } = waited;
        if !cx.shared.broker.has_engine() {
            return Some(judged);
        }
        let sought = sought_by(answer);
        if is_over || cx.is_join_over(since) {
            let are_ready = || cx.shared.broker.are_ready(&sought, is_asked);
            if is_stream(answer) && !cx.is_leaving() || are_ready() {
                // An EventSource does not come back after a 503: its stream begins without its channels.
                return Some(judged);
            }
            self.respond_to(request, &answers::unready(Unavailable), cx);
            return None;
        }
        let Some(question) = cx.prepare_sought(&sought, waited.is_asked) else { return Some(judged) };
        let Life::Http(http) = &mut self.life else { return None };
        let (request, pending) = (request.clone(), Pending::Channels { question });
        let parked = Parked { request, credentials: None, judged, pending, since };
        http.expects = Expects::GoAhead(Box::new(parked));
        None
    }
}

/// How long a request has waited for its channels.
#[derive(Clone, Copy, Debug)]
pub struct Waited {
    since: Millis,
    /// Whether it is not to wait any longer.
    is_over: bool,
    /// Whether the engine was asked, and has answered: what this node has not now, it will not have by waiting.
    pub is_asked: bool,
}

impl Waited {
    /// Of a request that has just come.
    pub fn not_yet(cx: &Context) -> Self {
        Self { since: cx.now, is_over: false, is_asked: false }
    }
}

/// Commands.
impl Connection {
    /// Carries out a command, once its channels can be joined. `text` is the command as it came, which may have waited since then.
    pub(super) fn carry_out_when_ready(
        &mut self,
        request: Request<'_>,
        text: &str,
        waited: Waited,
        cx: &mut Context,
    ) {
        let Waited { since, .. } = waited;
        if cx.shared.broker.has_engine() {
            let sought = self.sought_by_command(&request.command, cx);
            if let Some(question) = cx.prepare_sought(&sought, waited.is_asked)
                && !cx.is_join_over(since)
            {
                let pending = Pending::Channels { question };
                return self.await_wish(Wish { pending, since, what: Wished::Command(text.into()) });
            }
        }
        self.carry_out(request, cx);
        self.forget_judged();
    }

    fn carry_out_prepared(
        &mut self,
        text: &str,
        since: Millis,
        outcome: Result<(), Unavailable>,
        cx: &mut Context,
    ) {
        if !self.is_open() {
            return;
        }
        match (self.parse_command(text, cx), outcome) {
            (Ok(request), Ok(())) => {
                let waited = Waited { since, is_over: false, is_asked: true };
                self.carry_out_when_ready(request, text, waited, cx);
            }
            // Of its channels, those are joined that can be.
            (Ok(request), Err(Unavailable)) => {
                let sought = self.sought_by_command(&request.command, cx).into_iter();
                let unready = sought.filter(|sought| !cx.shared.broker.is_ready_for(sought));
                cx.unready = unready.map(|sought| sought.channel).collect();
                self.carry_out(request, cx);
                cx.unready.clear();
                self.forget_judged();
            }
            (Err(fault), _) => self.refuse_command(&fault, cx),
        }
    }

    /// The channels that a command joins or looks into, where the client may.
    fn sought_by_command(&self, command: &Command<'_>, cx: &Context) -> Vec<Sought> {
        let open = |name| self.channel_of(name, roads::Wish::Subscribe, cx).ok();
        match command {
            Command::Subscribe(_) if self.is_subscribed_out(cx.shared.config.client_subscriptions, cx) => {
                Vec::new()
            }
            Command::Subscribe(channels) => {
                let named = channels.iter().filter_map(|wanted| {
                    let wanted = wanted.as_ref().ok()?;
                    Some((open(&wanted.channel)?, wanted.position.unwrap_or(Position::Now)))
                });
                let new = named.filter(|(channel, _)| self.subscription_to(channel, cx).is_none());
                new.map(|(channel, position)| Sought::at(joined_as(&channel), position)).collect()
            }
            Command::History { channel, position } => {
                open(channel).map(|channel| Sought::at(joined_as(&channel), *position)).into_iter().collect()
            }
            Command::Presence { channel } => {
                open(channel).map(|channel| Sought::anywhere(joined_as(&channel))).into_iter().collect()
            }
            Command::Unsubscribe(_) | Command::Publish(_) | Command::Authorize { .. } => Vec::new(),
        }
    }
}

/// What a subscription of a Pusher client waits for.
#[derive(Debug)]
pub enum Wait {
    /// Nothing: its channel can be joined.
    Nothing,
    /// This.
    For(Pending),
    /// Nothing any more: it has had its time.
    Over,
}

/// Subscriptions of Pusher clients.
impl Connection {
    /// Whether a channel can be joined that may have been waited for since then.
    pub(super) fn await_channel(&self, channel: &ChannelName, since: Millis, cx: &mut Context) -> Wait {
        match cx.prepare(std::slice::from_ref(channel)) {
            None => Wait::Nothing,
            Some(_) if cx.is_join_over(since) => Wait::Over,
            Some(question) => Wait::For(Pending::Channels { question }),
        }
    }
}

/// The channel that is joined by who reads what is called so: who watches a channel joins that.
fn joined_as(name: &ChannelName) -> ChannelName {
    name.as_watched().unwrap_or_else(|| name.clone())
}

/// The channels that are joined by readings of several, and what their reader has.
pub fn sought_by_readings(readings: &[Reading]) -> Vec<Sought> {
    let sought = |reading: &Reading| {
        Sought::at(joined_as(&reading.channel), reading.wanted.position.unwrap_or(Position::Now))
    };
    readings.iter().map(sought).collect()
}

fn is_stream(answer: &Answer) -> bool {
    matches!(answer, Answer::Stream(_) | Answer::ReadMany(ReadingMany::Stream(_)))
}

/// The channels that an answer joins or looks into.
fn sought_by(answer: &Answer) -> Vec<Sought> {
    match answer {
        Answer::Upgrade(acceptance) => match &acceptance.becomes {
            Becoming::Subscriber { joining, .. } => {
                vec![Sought::at(joining.channel.clone(), joining.position)]
            }
            // They join by what they send.
            Becoming::Multiplex(_) | Becoming::Pusher { .. } | Becoming::Refused(_) => Vec::new(),
        },
        Answer::Stream(joining) => vec![Sought::at(joining.channel.clone(), joining.position)],
        Answer::Poll(polling) => vec![Sought::at(polling.channel.clone(), polling.position)],
        Answer::ReadMany(ReadingMany::Stream(readings) | ReadingMany::Poll(PollingMany { readings, .. })) => {
            sought_by_readings(readings)
        }
        Answer::Report(Report::Presence(channel) | Report::Channel(channel)) => {
            vec![Sought::anywhere(channel.clone())]
        }
        Answer::Call(requested) => requested.looks_into().into_iter().map(Sought::anywhere).collect(),
        Answer::Report(Report::Metrics | Report::Readiness | Report::Channels(_))
        | Answer::Respond(_)
        | Answer::Refuse(_)
        | Answer::Ask(_)
        | Answer::ReadBody(_)
        | Answer::ReadBatch(_)
        | Answer::Revoke
        | Answer::Session(..) => Vec::new(),
    }
}
