//! Who asks what, what is known, and which calls are to be made: equal questions share a call, and there are only so many.
//!
//! Calls are made elsewhere. Time comes in with each call, in milliseconds of the server's clock.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::breaker::Breaker;
use super::cache::{CACHE_LEN_MAX, CACHE_MAX, Cache, Key};
use super::call::{Action, Call, CallId, QuestionId, Transport};
use super::credentials::{Credentials, CredentialsDigest};
use super::decision::{Decision, Fault};
use super::reply::Reply;
use crate::hub::ChannelName;

/// How long a no is kept: a client that was let in meanwhile, by an invitation say, tries again soon.
const NO_KEPT_MS: u64 = 5_000;

/// How long a fault is kept for the same credentials and channel, so that a client that does not wait asks once a second.
const FAULT_KEPT_MS: u64 = 1_000;

/// A yes is kept for its time, give or take this part of it, so that those that began together do not end together.
const SPREAD_PER_MILLE: u64 = 100;

/// A call is made again at most this often because its user was forgotten meanwhile: forgetting it time and again holds up nobody.
const AGAIN_MAX: u8 = 2;

/// What a desk may hold.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Decisions that are kept.
    pub cache_max: usize,
    /// Bytes of them.
    pub cache_len_max: usize,
    /// Calls that are made at once.
    pub calls_max: usize,
    /// Calls that wait to be made.
    pub waiting_max: usize,
    /// Questions that wait for calls. One of a connection at a time, unless it has ended meanwhile.
    pub questions_max: usize,
    /// How long a call waits to be made, in milliseconds; then its questions are answered with a fault.
    pub wait_max_ms: u64,
}

impl Bounds {
    /// Those of a server whose calls may take that long.
    #[must_use]
    pub fn new(timeout_ms: u64) -> Self {
        Self {
            cache_max: CACHE_MAX,
            cache_len_max: CACHE_LEN_MAX,
            calls_max: 32,
            waiting_max: 1_024,
            // More than a server has connections by default: 20 MB.
            questions_max: 131_072,
            wait_max_ms: timeout_ms,
        }
    }
}

/// What becomes of a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The decisions, in the order of the channels.
    Known(Box<[Decision]>),
    /// They are told later, under this number.
    Waiting(QuestionId),
}

/// A question that was answered, and who asked it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<W> {
    /// Who asked.
    pub waiter: W,
    /// The number of the question.
    pub question: QuestionId,
    /// The decisions, in the order of the channels.
    pub decisions: Box<[Decision]>,
}

/// What a thread is to do.
#[derive(Debug)]
pub enum Taken {
    /// Make this call, then settle it.
    Call(Call),
    /// Nothing, until something is asked.
    Wait,
    /// End.
    End,
}

/// What there is at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Questions that wait.
    pub questions: usize,
    /// Calls that wait to be made.
    pub waiting: usize,
    /// Calls that are being made.
    pub calls: usize,
    /// Decisions that are kept.
    pub kept: usize,
    /// Bytes of them.
    pub kept_len: usize,
    /// What became of calls so far.
    pub outcomes: Outcomes,
}

/// What became of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Something was allowed.
    pub allowed: u64,
    /// Nothing was.
    pub refused: u64,
    /// There was no answer in time.
    pub timeout: u64,
    /// There was no connection, or it ended before the answer.
    pub unreachable: u64,
    /// The answer says neither yes nor no.
    pub bad_answer: u64,
}

impl Outcomes {
    /// Each with the word for it.
    #[must_use]
    pub fn named(&self) -> [(&'static str, u64); 5] {
        [
            ("allowed", self.allowed),
            ("refused", self.refused),
            ("timeout", self.timeout),
            ("unreachable", self.unreachable),
            ("bad_answer", self.bad_answer),
        ]
    }

    fn note(&mut self, outcome: &Result<Reply, Fault>) {
        let counter = match outcome {
            Ok(reply) if reply.is_refusal() => &mut self.refused,
            Ok(_) => &mut self.allowed,
            Err(Fault::Timeout(_)) => &mut self.timeout,
            Err(
                Fault::Unreachable
                | Fault::Busy
                | Fault::Paused
                | Fault::Outdated
                | Fault::Stopped
                | Fault::Program(_),
            ) => &mut self.unreachable,
            Err(Fault::Status(_) | Fault::Unreadable) => &mut self.bad_answer,
        };
        *counter += 1;
    }
}

/// What is asked and known. `W` is whoever asks.
///
/// Invariants: a key is in one call at most; a question that waits has a channel that is undecided, and each such channel is
/// in a call that tells it; `queue` has the calls that are not being made, in the order of asking.
#[derive(Debug)]
pub struct Desk<W> {
    bounds: Bounds,
    cache: Cache,
    breaker: Breaker,
    calls: HashMap<CallId, Open>,
    queue: VecDeque<CallId>,
    /// Which call will decide a key.
    deciding: HashMap<Key, CallId>,
    questions: HashMap<QuestionId, Question<W>>,
    next: u64,
    outcomes: Outcomes,
    is_stopped: bool,
}

/// A call that is not settled.
#[derive(Debug)]
struct Open {
    call: Call,
    asked_at_ms: u64,
    /// Who is told, in the order of asking.
    askers: Vec<QuestionId>,
    /// Users who were forgotten while it was being made: what it says of them may be what was true before.
    forgotten: Vec<Arc<str>>,
    /// How often it is made again because of that.
    again: u8,
}

impl Open {
    /// Whether the answer is of a user who was forgotten after the backend was asked.
    fn is_outdated(&self, reply: &Reply) -> bool {
        reply.sub().is_some_and(|sub| self.forgotten.iter().any(|forgotten| **forgotten == *sub))
    }
}

/// A question that waits.
#[derive(Debug)]
struct Question<W> {
    waiter: W,
    channels: Box<[ChannelName]>,
    /// In the order of the channels.
    decisions: Box<[Option<Decision>]>,
    /// The calls that it waits for.
    calls_left: usize,
}

impl<W> Desk<W> {
    /// Nothing is known.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        Self {
            cache: Cache::new(bounds.cache_max, bounds.cache_len_max),
            bounds,
            breaker: Breaker::default(),
            calls: HashMap::new(),
            queue: VecDeque::new(),
            deciding: HashMap::new(),
            questions: HashMap::new(),
            next: 0,
            outcomes: Outcomes::default(),
            is_stopped: false,
        }
    }

    /// Asks whether a client may do something with channels. Those that nothing is known of are asked about in one call;
    /// those that are being asked about by somebody else are not asked about again.
    pub fn ask(
        &mut self,
        credentials: &Arc<Credentials>,
        action: Action,
        channels: &[ChannelName],
        transport: Transport,
        waiter: W,
        now_ms: u64,
    ) -> Asked {
        self.cache.expire(now_ms);
        let key = |channel: &ChannelName| Key::new(credentials.digest(), action, channel);
        let known = |channel| self.cache.find(&key(channel), now_ms).cloned();
        let mut decisions: Box<[_]> = channels.iter().map(known).collect();
        let mut open: Vec<CallId> = Vec::new();
        let mut unasked: Vec<ChannelName> = Vec::new();
        for (channel, _) in channels.iter().zip(&decisions).filter(|(_, decision)| decision.is_none()) {
            match self.deciding.get(&key(channel)) {
                Some(call) if open.contains(call) => {}
                Some(call) => open.push(*call),
                None if unasked.contains(channel) => {}
                None => unasked.push(channel.clone()),
            }
        }
        if !unasked.is_empty() {
            match self.check_room(now_ms) {
                Ok(()) => open.push(self.open(credentials, action, unasked.into(), transport, now_ms)),
                Err(fault) => {
                    let refused = channels.iter().zip(&mut decisions);
                    for (_, decision) in refused.filter(|(channel, _)| unasked.contains(channel)) {
                        *decision = Some(Decision::Fault(fault));
                    }
                }
            }
        }
        if open.is_empty() {
            return Asked::Known(complete(decisions));
        }
        if self.questions.len() >= self.bounds.questions_max {
            let busy = |decision: Option<Decision>| decision.unwrap_or(Decision::Fault(Fault::Busy));
            return Asked::Known(decisions.into_iter().map(busy).collect());
        }
        let id = QuestionId(self.number());
        for call in &open {
            self.calls.get_mut(call).expect("it is open").askers.push(id);
        }
        let question = Question { waiter, channels: channels.into(), decisions, calls_left: open.len() };
        self.questions.insert(id, question);
        Asked::Waiting(id)
    }

    /// What a thread does next; and questions whose calls have waited for too long.
    pub fn take(&mut self, now_ms: u64) -> (Taken, Vec<Told<W>>) {
        let mut told = Vec::new();
        if self.is_stopped {
            return (Taken::End, told);
        }
        while let Some(id) = self.queue.front().copied() {
            let open = &self.calls[&id];
            if now_ms.saturating_sub(open.asked_at_ms) > self.bounds.wait_max_ms {
                self.queue.pop_front();
                self.fail(id, Fault::Busy, None, &mut told);
            } else if self.running() < self.bounds.calls_max {
                self.queue.pop_front();
                let open = self.calls.get_mut(&id).expect("what waits is a call");
                open.forgotten.clear();
                return (Taken::Call(open.call.clone()), told);
            } else {
                break;
            }
        }
        (Taken::Wait, told)
    }

    /// A call that was taken was answered, or not. Returns the questions that are answered by it.
    pub fn settle(&mut self, id: CallId, outcome: Result<Reply, Fault>, now_ms: u64) -> Vec<Told<W>> {
        self.outcomes.note(&outcome);
        let mut told = Vec::new();
        match outcome {
            Ok(reply) => {
                self.breaker.note_answer();
                // Who asked waits no longer by it than for a call that had to wait: it is made by then, or not at all.
                let since_ms = now_ms.saturating_sub(self.bounds.wait_max_ms);
                match self.calls.get_mut(&id) {
                    Some(open) if open.is_outdated(&reply) => {
                        if open.again == AGAIN_MAX || open.asked_at_ms < since_ms {
                            self.fail(id, Fault::Outdated, None, &mut told);
                            return told;
                        }
                        open.again += 1;
                        self.queue.push_back(id);
                    }
                    _ => self.decide(id, &reply, now_ms, &mut told),
                }
            }
            Err(fault) => {
                let is_away = self.breaker.note_fault(fault, now_ms);
                self.fail(id, fault, Some(now_ms + FAULT_KEPT_MS), &mut told);
                let waiting = if is_away { std::mem::take(&mut self.queue) } else { VecDeque::new() };
                waiting.into_iter().for_each(|id| self.fail(id, Fault::Paused, None, &mut told));
            }
        }
        told
    }

    /// Forgets what is known of a user: the backend is asked anew, also by calls that are under way and whose answer
    /// names the user, each at most [`AGAIN_MAX`] times. O(decisions).
    pub fn forget_user(&mut self, sub: &str) {
        self.cache.forget_user(sub);
        let sub: Arc<str> = sub.into();
        for open in self.calls.values_mut().filter(|open| open.forgotten.last() != Some(&sub)) {
            open.forgotten.push(Arc::clone(&sub));
        }
    }

    /// Ends asking: no call is taken any more, and every question is answered with a fault.
    pub fn stop(&mut self) -> Vec<Told<W>> {
        self.is_stopped = true;
        self.give_up()
    }

    /// Answers every question with a fault, and forgets the calls that wait: there is no thread to make them.
    pub fn give_up(&mut self) -> Vec<Told<W>> {
        let mut told = Vec::new();
        self.queue.clear();
        let mut ids: Vec<_> = self.calls.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.fail(id, Fault::Stopped, None, &mut told);
        }
        debug_assert!(self.questions.is_empty() && self.deciding.is_empty());
        told
    }

    /// What there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            questions: self.questions.len(),
            waiting: self.queue.len(),
            calls: self.running(),
            kept: self.cache.len(),
            kept_len: self.cache.held_len(),
            outcomes: self.outcomes,
        }
    }

    /// Whether calls wait that a thread could make.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.queue.is_empty() && self.running() < self.bounds.calls_max
    }

    fn running(&self) -> usize {
        self.calls.len() - self.queue.len()
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Whether one call more may wait.
    fn check_room(&self, now_ms: u64) -> Result<(), Fault> {
        if self.is_stopped {
            return Err(Fault::Stopped);
        }
        if !self.breaker.permits(self.calls.len(), now_ms) {
            return Err(Fault::Paused);
        }
        if self.queue.len() >= self.bounds.waiting_max { Err(Fault::Busy) } else { Ok(()) }
    }

    /// A new call, of channels that no other call decides.
    fn open(
        &mut self,
        credentials: &Arc<Credentials>,
        action: Action,
        channels: Arc<[ChannelName]>,
        transport: Transport,
        now_ms: u64,
    ) -> CallId {
        let id = CallId(self.number());
        let call = Call { id, credentials: Arc::clone(credentials), action, channels, transport };
        for channel in &*call.channels {
            let before = self.deciding.insert(Key::new(credentials.digest(), action, channel), id);
            debug_assert!(before.is_none(), "a key is in one call");
        }
        self.calls
            .insert(id, Open { call, asked_at_ms: now_ms, askers: vec![], forgotten: vec![], again: 0 });
        self.queue.push_back(id);
        id
    }

    fn decide(&mut self, id: CallId, reply: &Reply, now_ms: u64, told: &mut Vec<Told<W>>) {
        let Some(open) = self.calls.get(&id) else { return };
        let ends_at_ms = now_ms + spread(reply.ttl_ms(), open.call.credentials.digest());
        self.close(
            id,
            |channel| {
                let decision = reply.decide(channel, ends_at_ms);
                let kept_until_ms = match &decision {
                    Decision::Yes(grant) => grant.ends_at_ms,
                    Decision::No(_) => now_ms + NO_KEPT_MS,
                    Decision::Fault(_) => unreachable!("an answer that can be read decides"),
                };
                (decision, Some(kept_until_ms))
            },
            told,
        );
    }

    fn fail(&mut self, id: CallId, fault: Fault, kept_until_ms: Option<u64>, told: &mut Vec<Told<W>>) {
        self.close(id, |_| (Decision::Fault(fault), kept_until_ms), told);
    }

    /// Ends a call. `decide` says what is decided about each of its channels, and until when that is kept.
    fn close(
        &mut self,
        id: CallId,
        decide: impl Fn(&ChannelName) -> (Decision, Option<u64>),
        told: &mut Vec<Told<W>>,
    ) {
        // A call that was under way at the stop is settled after it was given up.
        let Some(Open { call, askers, .. }) = self.calls.remove(&id) else { return };
        let mut decided = HashMap::new();
        for channel in &*call.channels {
            let key = Key::new(call.credentials.digest(), call.action, channel);
            self.deciding.remove(&key);
            let (decision, kept_until_ms) = decide(channel);
            if let Some(kept_until_ms) = kept_until_ms {
                self.cache.keep(key, decision.clone(), kept_until_ms);
            }
            decided.insert(channel, decision);
        }
        for id in askers {
            let Some(question) = self.questions.get_mut(&id) else { continue };
            for (channel, decision) in question.channels.iter().zip(&mut question.decisions) {
                if decision.is_none() {
                    *decision = decided.get(channel).cloned();
                }
            }
            question.calls_left -= 1;
            if question.calls_left == 0
                && let Some(Question { waiter, decisions, .. }) = self.questions.remove(&id)
            {
                told.push(Told { waiter, question: id, decisions: complete(decisions) });
            }
        }
    }
}

impl Key {
    fn new(digest: CredentialsDigest, action: Action, channel: &ChannelName) -> Self {
        Self { digest, action, channel: channel.clone() }
    }
}

fn complete(decisions: Box<[Option<Decision>]>) -> Box<[Decision]> {
    decisions.into_iter().map(|decision| decision.expect("each channel was known or in a call")).collect()
}

/// A time, up to a tenth shorter or longer, the same for the same credentials.
fn spread(time_ms: u64, digest: CredentialsDigest) -> u64 {
    let tenth_ms = time_ms * SPREAD_PER_MILLE / 1000;
    time_ms - tenth_ms + digest.spread(2 * tenth_ms + 1)
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
