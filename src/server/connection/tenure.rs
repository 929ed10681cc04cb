//! How long a connection may read its channels by the word of its backend: the grants, the question whether they hold on, and
//! the end.
//!
//! How a connection comes by its grants is in `judging`.

use std::sync::Arc;

use super::context::Context;
use super::life::Life;
use super::{Connection, Next};
use crate::backend::{Action, Asked, Credentials, Decision, Judged, QuestionId, Transport};
use crate::hub::ChannelName;
use crate::server::access::Refusal;
use crate::server::api::basis::{Asking, refusal_of};
use crate::server::api::payload::Sent;
use crate::server::clock::{Millis, millis};

/// While the backend fails, who is in is asked about again after this long.
const RETRY_MS: u64 = 5_000;

/// Connections that were allowed something until the same moment ask again spread over this time.
const SPREAD_MS: u64 = 1_000;

/// What a connection may by the word of its backend, and until when.
#[derive(Debug)]
pub struct Tenure {
    pub(super) credentials: Arc<Credentials>,
    pub(super) transport: Transport,
    /// The channels that it may read.
    held: Vec<Held>,
    /// Until when its messages are published to its one channel without another question, where the backend is to be asked.
    pub(super) publishes_until: Millis,
    /// The earliest time at which a channel is to be asked about again.
    ask_at: Millis,
    /// The channels that are being asked about again.
    pub(super) renewal: Option<(QuestionId, Vec<ChannelName>)>,
    /// What the client wants to be done if the backend says so. Nothing further is read until then.
    pub(super) wish: Option<Box<Wish>>,
    /// What the backend has decided about the command that is being carried out.
    pub(super) judged: Judged,
}

/// What a client wants to be done.
#[derive(Debug)]
pub struct Wish {
    pub question: QuestionId,
    pub asking: Asking,
    pub what: Wished,
}

/// The same, as it came.
#[derive(Debug)]
pub enum Wished {
    /// A message is to be published to the one channel.
    Message(Sent),
    /// A command is to be carried out: its text.
    Command(Box<str>),
}

/// A channel that may be read.
#[derive(Debug)]
struct Held {
    channel: ChannelName,
    /// Whether the client may see who is there.
    sees: bool,
    ends_at: Millis,
}

impl Tenure {
    /// Nothing is allowed yet.
    pub fn new(credentials: Arc<Credentials>, transport: Transport) -> Self {
        Self {
            credentials,
            transport,
            held: Vec::new(),
            publishes_until: Millis(0),
            ask_at: Millis(u64::MAX),
            renewal: None,
            wish: None,
            judged: Judged::default(),
        }
    }

    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let wish_len = self.wish.as_ref().map_or(0, |wish| match &wish.what {
            Wished::Message(sent) => size_of::<Wish>() + sent.draft.data.len(),
            Wished::Command(text) => size_of::<Wish>() + text.len(),
        });
        let held_len = self.held.capacity() * size_of::<Held>();
        size_of::<Self>() + self.credentials.held_len() + held_len + wish_len
    }

    /// Whether the client may see who is in a channel that it reads.
    pub fn sees(&self, channel: &ChannelName) -> bool {
        self.held.iter().any(|held| held.channel == *channel && held.sees)
    }

    /// Whether the client reads a channel, or may again, without another question.
    pub fn holds(&self, channel: &ChannelName, is_read: bool, now: Millis) -> bool {
        // Who reads it while the backend fails reads on.
        self.held.iter().any(|held| held.channel == *channel && (is_read || now < held.ends_at))
    }

    /// The client may read a channel until then.
    pub fn hold(&mut self, channel: &ChannelName, sees: bool, ends_at: Millis, owner: u64) {
        self.held.retain(|held| held.channel != *channel);
        self.held.push(Held { channel: channel.clone(), sees, ends_at });
        self.ask_at = self.ask_at.min(spread(ends_at, owner));
    }
}

/// How long who is in stays while the backend fails.
fn grace_ms(cx: &Context) -> u64 {
    cx.shared.config.backend.as_ref().map_or(0, |backend| millis(backend.grace))
}

/// A little later, another time for each connection.
fn spread(at: Millis, owner: u64) -> Millis {
    // Fibonacci hashing: neighbours in the table are far apart in time.
    Millis(at.0.saturating_add((owner.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % SPREAD_MS))
}

/// The end of what was allowed.
impl Connection {
    /// When the backend is to be asked again whether the connection may read its channels, if it is to be.
    pub(super) fn renewal_at(&self) -> Option<Millis> {
        let tenure = self.tenure.as_ref().filter(|tenure| tenure.renewal.is_none())?;
        let is_reading = match &self.life {
            Life::WebSocket(_) => self.is_open(),
            Life::EventStream(_) | Life::LongPoll(_) => true,
            Life::Http(_) | Life::Carried(_) | Life::Carrier(_) | Life::Finishing | Life::Lingering => false,
        };
        (is_reading && tenure.ask_at < Millis(u64::MAX)).then_some(tenure.ask_at)
    }

    /// Asks the backend whether the connection may read on. A long poll is answered: the next one asks.
    pub(super) fn renew(&mut self, cx: &mut Context) -> Next {
        if matches!(self.life, Life::LongPoll(_)) {
            self.answer_poll(cx);
            return Next::Read;
        }
        let entries = self.subscriptions.entries().iter();
        let read: Vec<ChannelName> =
            entries.map(|entry| cx.hub.channel(entry.subscription).clone()).collect();
        let Some(tenure) = &mut self.tenure else { return Next::Wait };
        // Those that were left are forgotten.
        tenure.held.retain(|held| read.contains(&held.channel));
        tenure.ask_at = Millis(u64::MAX);
        let channels: Vec<_> = tenure
            .held
            .iter()
            .filter(|held| held.ends_at <= cx.now)
            .map(|held| held.channel.clone())
            .collect();
        if channels.is_empty() {
            self.set_renewal(cx);
            return Next::Wait;
        }
        match self.ask_for(Action::Subscribe, &channels, cx) {
            Asked::Known(decisions) => self.renewed(&channels, &decisions, cx),
            Asked::Waiting(question) => {
                if let Some(tenure) = &mut self.tenure {
                    tenure.renewal = Some((question, channels));
                }
                Next::Wait
            }
        }
    }

    /// Goes on reading what may be read on, and ends the rest. While the backend fails, the connection stays for
    /// `--auth-grace`.
    pub(super) fn renewed(
        &mut self,
        channels: &[ChannelName],
        decisions: &[Decision],
        cx: &mut Context,
    ) -> Next {
        let grace_ms = grace_ms(cx);
        for (channel, decision) in channels.iter().zip(decisions) {
            let Some(tenure) = &mut self.tenure else { return Next::Wait };
            let Some(held) = tenure.held.iter_mut().find(|held| held.channel == *channel) else { continue };
            match decision {
                Decision::Yes(grant) => {
                    (held.ends_at, held.sees) = (Millis(grant.ends_at_ms), grant.sees);
                    continue;
                }
                Decision::Fault(_) if cx.now.0 < held.ends_at.0.saturating_add(grace_ms) => continue,
                Decision::Fault(_) | Decision::No(_) => {}
            }
            tenure.held.retain(|held| held.channel != *channel);
            if let Some(refusal) = refusal_of(decision, Action::Subscribe, channel) {
                self.end_judged(channel, &refusal, cx);
            }
        }
        self.set_renewal(cx);
        Next::Wait
    }

    /// Sets the time of the next question: when the first channel runs out, or a while after a fault.
    fn set_renewal(&mut self, cx: &Context) {
        let grace_ms = grace_ms(cx);
        let Some(tenure) = &mut self.tenure else { return };
        let ends = tenure.held.iter().map(|held| match held.ends_at > cx.now {
            true => held.ends_at,
            false => Millis(held.ends_at.0.saturating_add(grace_ms).min(cx.now.0 + RETRY_MS)),
        });
        tenure.ask_at = ends.min().map_or(Millis(u64::MAX), |at| spread(at, cx.owner));
    }

    /// Ends the subscription of a client of many channels; all others have what they read as a whole, and end.
    fn end_judged(&mut self, channel: &ChannelName, refusal: &Refusal, cx: &mut Context) {
        if self.multiplex().is_some() {
            if let Some(subscription) = self.subscription_to(channel, cx) {
                self.expel(subscription, refusal.code(), cx);
            }
            return;
        }
        cx.note_refusal(refusal, self.identity.as_deref());
        self.end_with(refusal, cx);
    }
}
