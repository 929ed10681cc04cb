//! What a connection has by the word of its backend, or of the program in its place, and the batch that waits for that.
//!
//! When it is asked is known to `judging` and `tenure`; what else waits is in `awaiting`.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::backend::{Action, Credentials, Decision, Grant, Judged, Person, QuestionId, Transport};
use crate::http;
use crate::hub::ChannelName;
use crate::server::api::basis::Asking;
use crate::server::api::batch::Batch;
use crate::server::clock::Millis;

/// Connections that were allowed something until the same moment ask again spread over this time.
const SPREAD_MS: u64 = 1_000;

/// What a client brought, as whoever decides is shown it.
#[derive(Debug)]
pub enum Brought {
    /// To the backend.
    Backend(Arc<Credentials>),
    /// To the program: the request, and the address of the client.
    Program(Box<http::Request>, Option<IpAddr>),
}

impl Brought {
    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        match self {
            Self::Backend(credentials) => credentials.held_len(),
            Self::Program(request, _) => size_of::<http::Request>() + request.held_len(),
        }
    }
}

/// The most channels of a batch that one question is about: as many as a subscriber may ask about by default. A batch with
/// more is several questions, one after the other.
const ASKED_MAX: usize = 100;

/// A batch whose body is there, and that waits for the backend. Nothing that follows it is read meanwhile.
///
/// Invariants: each channel of it that the backend is to be asked about is in one of `decided`, `asked` and `unasked`; those of
/// one action are side by side in `unasked`.
#[derive(Debug)]
pub struct ParkedBatch {
    pub batch: Box<Batch>,
    /// As it came: `--max-message` bytes at most.
    pub body: Vec<u8>,
    pub decided: Decided,
    /// The question that is being asked. `None`: the batch can be published.
    pub question: Option<QuestionId>,
    /// When it was asked.
    pub since: Millis,
    /// What it is about.
    asked: Asking,
    unasked: Vec<(Action, ChannelName)>,
}

/// What the backend has decided about the channels of a batch: by name, since a batch may name thousands.
#[derive(Debug, Default)]
pub struct Decided(HashMap<ChannelName, (Action, Decision)>);

impl Decided {
    /// What is decided, if it is.
    pub fn find(&self, action: Action, channel: &ChannelName) -> Option<&Decision> {
        self.0.get(channel).filter(|(decided, _)| *decided == action).map(|(_, decision)| decision)
    }
}

impl ParkedBatch {
    /// A batch with these channels to ask about, each once.
    pub fn new(batch: Box<Batch>, body: Vec<u8>, mut unasked: Vec<(Action, ChannelName)>) -> Self {
        unasked.sort_by_key(|(action, _)| *action);
        let asked = Asking { action: Action::Publish, channels: Vec::new() };
        Self { batch, body, decided: Decided::default(), question: None, since: Millis(0), asked, unasked }
    }

    /// The next question. `None`: there is nothing left to ask.
    pub fn next_asked(&mut self) -> Option<&Asking> {
        debug_assert!(self.question.is_none());
        let action = self.unasked.first()?.0;
        let same = self.unasked.iter().take(ASKED_MAX).take_while(|(other, _)| *other == action).count();
        let channels = self.unasked.drain(..same).map(|(_, channel)| channel).collect();
        self.asked = Asking { action, channels };
        Some(&self.asked)
    }

    /// What is decided about the channels of a question. A backend that has failed is not asked about the others: each question
    /// could keep the client waiting for as long.
    pub fn decide(&mut self, decisions: Box<[Decision]>) {
        debug_assert_eq!(self.asked.channels.len(), decisions.len());
        self.question = None;
        let fault = decisions.iter().find(|decision| matches!(decision, Decision::Fault(_))).cloned();
        let Asking { action, channels } = &mut self.asked;
        let decided = std::mem::take(channels).into_iter().zip(decisions);
        self.decided.0.extend(decided.map(|(channel, decision)| (channel, (*action, decision))));
        if let Some(fault) = fault {
            let unasked = std::mem::take(&mut self.unasked).into_iter();
            self.decided.0.extend(unasked.map(|(action, channel)| (channel, (action, fault.clone()))));
        }
    }

    /// About how many channels the question is that is being asked.
    pub fn asked_len(&self) -> usize {
        self.asked.channels.len()
    }

    /// As whom the backend lets its client publish.
    pub fn persons(&self) -> impl Iterator<Item = &Arc<Person>> {
        self.decided.0.values().filter_map(|(_, decision)| match decision {
            Decision::Yes(grant) => grant.person.as_ref(),
            Decision::No(_) | Decision::Fault(_) => None,
        })
    }

    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let decided_len = self.decided.0.capacity() * size_of::<(ChannelName, (Action, Decision))>();
        let unasked_len = self.unasked.capacity() * size_of::<(Action, ChannelName)>();
        let asked_len = self.asked.channels.capacity() * size_of::<ChannelName>();
        size_of::<Self>() + self.body.capacity() + decided_len + unasked_len + asked_len
    }
}

/// What a connection may by the word of its backend, and until when.
#[derive(Debug)]
pub struct Tenure {
    pub brought: Brought,
    pub transport: Transport,
    /// The channels that it may read.
    pub held: Vec<Held>,
    /// Until when its messages are published to its one channel without another question, where the backend is to be asked.
    pub publishes_until: Millis,
    /// Who its client is by the word that allowed that.
    pub publisher: Option<Arc<Person>>,
    /// The earliest time at which a channel is to be asked about again.
    pub ask_at: Millis,
    /// The channels that are being asked about again.
    pub renewal: Option<Renewal>,
    /// What the backend has decided about the command that is being carried out.
    pub judged: Judged,
}

/// Channels that are being asked about again.
#[derive(Debug)]
pub struct Renewal {
    pub question: QuestionId,
    pub channels: Vec<ChannelName>,
    /// When they were asked about.
    pub since: Millis,
}

/// A channel that may be read.
#[derive(Debug)]
pub struct Held {
    pub channel: ChannelName,
    /// Whether the client may see who is there.
    pub sees: bool,
    pub ends_at: Millis,
    /// Who the client is by the word that allowed it. It may be another user than the one of its token.
    pub person: Option<Arc<Person>>,
}

impl Tenure {
    /// Nothing is allowed yet.
    pub fn new(brought: Brought, transport: Transport) -> Self {
        Self {
            brought,
            transport,
            held: Vec::new(),
            publishes_until: Millis(0),
            publisher: None,
            ask_at: Millis(u64::MAX),
            renewal: None,
            judged: Judged::default(),
        }
    }

    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let held_len = self.held.capacity() * size_of::<Held>();
        size_of::<Self>() + self.brought.held_len() + held_len
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

    /// The client may read a channel by this grant.
    pub fn hold(&mut self, channel: &ChannelName, grant: &Grant, owner: u64) {
        let (ends_at, person) = (Millis(grant.ends_at_ms), grant.person.clone());
        self.held.retain(|held| held.channel != *channel);
        self.held.push(Held { channel: channel.clone(), sees: grant.sees, ends_at, person });
        self.ask_at = self.ask_at.min(spread(ends_at, owner));
    }

    /// The client may publish to its one channel by this grant.
    pub fn let_publish(&mut self, grant: &Grant) {
        (self.publishes_until, self.publisher) = (Millis(grant.ends_at_ms), grant.person.clone());
    }

    /// As whom the backend let the client in.
    pub fn persons(&self) -> impl Iterator<Item = &Person> {
        self.held.iter().filter_map(|held| held.person.as_deref()).chain(self.publisher.as_deref())
    }
}

/// A little later, another time for each connection.
pub fn spread(at: Millis, owner: u64) -> Millis {
    // Fibonacci hashing: neighbours in the table are far apart in time.
    Millis(at.0.saturating_add((owner.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32) % SPREAD_MS))
}
