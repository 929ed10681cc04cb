//! The role of a connection that reads and publishes to many channels by commands: beginnings, faults and ends.
//!
//! What a message asks for is read by `commands`, and done in `obeying`. The bytes of channels are in logs of this loop.

use super::client::{Awaited, Client, Multiplex};
use super::context::Context;
use super::life::Life;
use super::subscriptions::Entry;
use super::watching::name_of;
use super::{Connection, Next};
use crate::commands::answer::{self, Beginning};
use crate::commands::{self, Fault, FaultKind, Limits, Reference, Request};
use crate::hub::{ChannelName, PublicationId, Subscription};
use crate::server::access::Verdict;
use crate::server::api::acceptance::Multiplexing;
use crate::server::broker::answer::{NotPublished, Receipt};
use crate::server::clock::Millis;
use crate::server::encoder::{self, Notice};
use crate::server::metrics::refusals::Reason;
use crate::ws::{CloseCode, Message, MessageKind};

/// A connection that was refused this many times by its own fault is closed: it does not read what it is told.
const REFUSALS_MAX: u16 = 100;

/// From this status on it is not the client's fault (RFC 9110, section 15.6), such as a Redis that is away.
const SERVER_FAULT: u16 = 500;

/// What the server ends a subscription with that lags too far.
const LAGGED: &str = "lagged";

/// Beginnings.
impl Connection {
    /// The handshake is in the outbox.
    pub(super) fn begin_multiplex(&mut self, multiplexing: Multiplexing, cx: &mut Context) {
        let Multiplexing { form, app, is_page_served, operator } = multiplexing;
        // Who has proved who it is need not ask for anything: it may publish later.
        let begin_by = self.identity.is_none().then(|| Millis(cx.now.0 + cx.timeouts.head_ms()));
        let client = Multiplex { form, app, is_page_served, operator, begin_by, refusals: 0, awaited: None };
        if let Some(slot) = self.client_slot() {
            *slot = Some(Box::new(Client::Multiplex(client)));
        }
        self.deadlines.begin_notices(cx.now, &cx.timeouts);
    }

    /// The client, if it reads and publishes by commands.
    pub(super) fn multiplex(&self) -> Option<&Multiplex> {
        let Life::WebSocket(websocket) = &self.life else { return None };
        match websocket.client.as_deref()? {
            Client::Multiplex(client) => Some(client),
            Client::Pusher(_) | Client::Publisher(_) => None,
        }
    }

    pub(super) fn multiplex_mut(&mut self) -> Option<&mut Multiplex> {
        match self.client_slot()?.as_deref_mut()? {
            Client::Multiplex(client) => Some(client),
            Client::Pusher(_) | Client::Publisher(_) => None,
        }
    }

    /// When the client has to have proved something or asked for something, if it has to. What it has asked for may wait for
    /// the backend or for channels: that is no delay of its own.
    pub(super) fn begin_by(&self) -> Option<Millis> {
        self.multiplex()?.begin_by.filter(|_| self.is_open() && !self.awaits_go_ahead())
    }

    /// Its time to begin, if it has not, counts from now: what it has asked for is decided.
    pub(super) fn restart_beginning(&mut self, cx: &Context) {
        if let Some(begin_by) = self.multiplex_mut().and_then(|client| client.begin_by.as_mut()) {
            *begin_by = Millis(cx.now.0 + cx.timeouts.head_ms());
        }
    }

    /// The client has done what it has to begin with.
    pub(super) fn note_begun(&mut self) {
        if let Some(client) = self.multiplex_mut() {
            client.begin_by = None;
        }
    }

    /// Closes a client that has not begun in time.
    pub(super) fn close_unbegun(&mut self, cx: &mut Context) {
        let kind = FaultKind::Timeout(cx.timeouts.head_ms().div_ceil(1000));
        self.refuse_command(&Fault { reference: None, channel: None, kind }, cx);
    }

    /// Sends the notice that the server is alive to a client without subscriptions.
    pub(super) fn say_alive_to_multiplex(&mut self, cx: &Context) {
        if let Some(form) = self.multiplex().map(|client| client.form) {
            let notice = Notice::Alive { idle_ms: cx.timeouts.idle_ms() };
            encoder::notice(notice, form, None, self.outbox.tail());
        }
    }
}

/// Messages.
impl Connection {
    /// Processes one message of a client.
    pub(super) fn receive_request(&mut self, message: &Message<'_>, cx: &mut Context) -> Next {
        let text = match (message.kind, str::from_utf8(&message.payload)) {
            (MessageKind::Text, Ok(text)) => text,
            (MessageKind::Text | MessageKind::Binary, _) => {
                self.refuse_command(&Fault { reference: None, channel: None, kind: FaultKind::Binary }, cx);
                return Next::Read;
            }
        };
        match self.parse_command(text, cx) {
            Ok(request) => self.carry_out_if(request, text, cx),
            Err(fault) => self.refuse_command(&fault, cx),
        }
        Next::Read
    }

    /// What a message asks for.
    ///
    /// # Errors
    /// It is no command.
    pub(super) fn parse_command<'a>(&self, text: &'a str, cx: &Context) -> Result<Request<'a>, Fault> {
        commands::parse(text, &Limits { channels_max: cx.shared.config.client_subscriptions })
    }

    /// Tells the client what is wrong. Closes the connection if it does not go on after this.
    pub(super) fn refuse_command(&mut self, fault: &Fault, cx: &mut Context) {
        if !self.is_open() {
            return;
        }
        cx.note(Reason::Command, fault);
        self.send_message(&answer::error(fault));
        if let Some(code) = fault.closes() {
            return self.close(close_code(code), &fault.to_string(), cx);
        }
        if fault.kind.status() >= SERVER_FAULT {
            return;
        }
        let Some(client) = self.multiplex_mut() else { return };
        client.refusals += 1;
        if client.refusals >= REFUSALS_MAX {
            let kind = FaultKind::TooManyRefusals(usize::from(REFUSALS_MAX));
            self.refuse_command(&Fault { reference: None, channel: None, kind }, cx);
        }
    }

    /// Whether the outcome of a publication is awaited, so that no further message is read.
    pub(super) fn awaits_outcome(&self) -> bool {
        let Life::WebSocket(websocket) = &self.life else { return false };
        match websocket.client.as_deref() {
            Some(Client::Multiplex(client)) => client.awaited.is_some(),
            Some(Client::Publisher(_)) => true,
            Some(Client::Pusher(_)) | None => false,
        }
    }

    /// Whether it is that of this one.
    pub(super) fn awaits_outcome_of(&self, request: u64) -> bool {
        let Life::WebSocket(websocket) = &self.life else { return false };
        let awaited = match websocket.client.as_deref() {
            Some(Client::Multiplex(client)) => client.awaited.as_deref(),
            Some(Client::Publisher(awaited)) => Some(awaited),
            Some(Client::Pusher(_)) | None => None,
        };
        awaited.is_some_and(|awaited| awaited.request == request)
    }

    /// The outcome of a publication comes later.
    pub(super) fn await_outcome(&mut self, awaited: Awaited) {
        let Some(slot) = self.client_slot() else { return };
        match slot.as_deref_mut() {
            Some(Client::Multiplex(client)) => client.awaited = Some(Box::new(awaited)),
            Some(Client::Pusher(_) | Client::Publisher(_)) => {}
            None => *slot = Some(Box::new(Client::Publisher(awaited))),
        }
    }

    fn take_awaited(&mut self) -> Option<Awaited> {
        let slot = self.client_slot()?;
        if let Some(Client::Multiplex(client)) = slot.as_deref_mut() {
            return client.awaited.take().map(|awaited| *awaited);
        }
        match *slot.take_if(|client| matches!(**client, Client::Publisher(_)))? {
            Client::Publisher(awaited) => Some(awaited),
            Client::Multiplex(_) | Client::Pusher(_) => None,
        }
    }

    /// The publication of which the outcome was awaited has been delivered, or has failed.
    pub(super) fn receive_command_outcome(
        &mut self,
        outcome: Result<Receipt, NotPublished>,
        cx: &mut Context,
    ) -> Next {
        let Some(Awaited { reference, channel, .. }) = self.take_awaited() else { return Next::Wait };
        self.answer_command(outcome, reference, channel, cx);
        Next::Read
    }

    /// Tells the client what has become of its publication.
    pub(super) fn answer_command(
        &mut self,
        outcome: Result<Receipt, NotPublished>,
        reference: Option<Reference>,
        channel: Box<str>,
        cx: &mut Context,
    ) {
        let kind = match outcome {
            Ok(receipt) => {
                if !receipt.is_replay {
                    self.note_published(receipt.published, cx);
                }
                if let Some(reference) = &reference {
                    self.send_message(&answer::published(reference, receipt.published));
                }
                return;
            }
            Err(why) => fault_of_delivery(why),
        };
        self.refuse_command(&Fault { reference, channel: Some(channel.into()), kind }, cx);
    }
}

/// Why it is not known that a publication was delivered.
pub fn fault_of_delivery(why: NotPublished) -> FaultKind {
    match why {
        NotPublished::Refused => {
            FaultKind::Unavailable("This is not published; try again in a second.".to_owned())
        }
        NotPublished::Unanswered => FaultKind::Unanswered,
        NotPublished::KeyReused => FaultKind::Conflict,
    }
}

/// Subscriptions.
impl Connection {
    /// Its subscription to a channel, or to what is watched under this name. O(subscriptions).
    pub(super) fn subscription_to(&self, channel: &ChannelName, cx: &Context) -> Option<Subscription> {
        match channel.as_watched() {
            Some(watched) => self.subscriptions.to_watched(watched.as_str(), &cx.hub),
            None => self.subscriptions.to_channel(channel.as_str(), &cx.hub),
        }
    }

    /// The last publication that the client has been sent of a channel, or found there.
    pub(super) fn position_in(&self, subscription: Subscription, cx: &Context) -> PublicationId {
        let mut entries = self.subscriptions.entries().iter();
        let entry = entries.find(|entry| entry.subscription == subscription);
        entry.expect("it is one of this connection").position(&cx.hub)
    }

    /// Its subscription to the companion of a channel.
    pub(super) fn subscription_to_companion(
        &self,
        channel: &ChannelName,
        cx: &Context,
    ) -> Option<Subscription> {
        if !channel.is_public() {
            return None;
        }
        self.subscription_to(&channel.companion(), cx)
    }

    /// Ends the subscription to a channel, and that to its companion. False if there is none.
    pub(super) fn end_reading(&mut self, channel: &ChannelName, cx: &mut Context) -> bool {
        let Some(subscription) = self.subscription_to(channel, cx) else { return false };
        let companion = self.subscription_to_companion(channel, cx);
        for subscription in [Some(subscription), companion].into_iter().flatten() {
            if self.detach(subscription, cx) {
                cx.unsubscribe(subscription);
            }
        }
        true
    }

    /// The server ends a subscription, or that to the channel of which it is the companion, and tells the client why and where
    /// it may go on.
    pub(super) fn expel(&mut self, subscription: Subscription, code: &str, cx: &mut Context) {
        let name = name_of(subscription, &cx.hub);
        let channel = name.accompanied().unwrap_or(name);
        self.keep_started(cx);
        let Some(subscription) = self.subscription_to(&channel, cx) else {
            unreachable!("a companion is read with its channel")
        };
        let since = self.position_in(subscription, cx);
        if self.end_reading(&channel, cx) {
            self.send_message(&answer::unsubscribed(&channel, None, Some(answer::Ended { code, since })));
        }
    }

    /// Whether it reads as many channels as it may: each with its companion is one. O(subscriptions) if it nearly does.
    pub(super) fn is_subscribed_out(&self, channels_max: usize, cx: &Context) -> bool {
        let entries = self.subscriptions.entries();
        let is_channel = |entry: &&Entry| cx.hub.channel(entry.subscription).accompanied().is_none();
        entries.len() >= channels_max && entries.iter().filter(is_channel).count() >= channels_max
    }

    /// Ends all subscriptions of a client of commands, and tells it why.
    pub(super) fn expel_from_all(&mut self, code: &str, cx: &mut Context) {
        if self.multiplex().is_none() {
            return;
        }
        for channel in self.channels(cx) {
            if let Some(subscription) = self.subscription_to(&channel, cx) {
                self.expel(subscription, code, cx);
            }
        }
    }

    /// Ends the subscriptions of a client of commands to channels that it may not read any more, and to the companions of those
    /// of which it may not know any more who is there.
    pub(super) fn expel_from_forbidden(&mut self, cx: &mut Context) {
        if self.multiplex().is_none() {
            return;
        }
        for channel in self.channels(cx) {
            let Some(subscription) = self.subscription_to(&channel, cx) else { continue };
            if let Verdict::No(refusal) = self.may_read(&channel, cx) {
                self.expel(subscription, refusal.code(), cx);
            } else if let Verdict::No(_) = cx.access.may_see(self.identity.as_deref(), &channel) {
                self.end_companion(&channel, subscription, cx);
            }
        }
    }

    /// If the client was told until now who is in a channel that it reads, it is told that it is not any more.
    fn end_companion(&mut self, channel: &ChannelName, subscription: Subscription, cx: &mut Context) {
        let Some(companion) = self.subscription_to_companion(channel, cx) else { return };
        if self.detach(companion, cx) {
            cx.unsubscribe(companion);
            let beginning = Beginning { since: self.position_in(subscription, cx), lacks_presence: true };
            self.send_message(&answer::subscribed(channel, None, beginning));
        }
    }

    /// As [`Connection::expel`], since the client lags too far in the channel.
    pub(super) fn expel_lagging(&mut self, subscription: Subscription, cx: &mut Context) {
        self.expel(subscription, LAGGED, cx);
    }
}

/// The code of a Close frame, from the tables of faults.
pub fn close_code(number: u16) -> CloseCode {
    CloseCode::new(number).unwrap_or(CloseCode::POLICY_VIOLATION)
}
