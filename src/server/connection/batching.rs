//! The batch of a request: what of it the backend is asked about; then each of its publications is made or refused, and all are
//! answered at once.
//!
//! How a batch is written, and its answer, is in `api::batch`.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;

use super::context::Context;
use super::grants::{Decided, ParkedBatch};
use super::life::{After, Expects, Life};
use super::multiplex::fault_of_delivery;
use super::obeying::fault_of_put;
use super::{Connection, Next};
use crate::backend::{Action, Asked, Decision, Fault, QuestionId};
use crate::commands::FaultKind;
use crate::commands::batch::Item;
use crate::http::Response;
use crate::hub::{ChannelName, Source};
use crate::server::access::{Identity, Refusal, Verdict};
use crate::server::api::basis::refusal_of;
use crate::server::api::batch::{Batch, Results};
use crate::server::api::roads::{self, Wish};
use crate::server::broker::answer::{NotPublished, Publishing, Receipt};
use crate::server::broker::draft::{Draft, Excluded};

/// The backend.
impl Connection {
    /// Takes a batch whose body is there: it is published once the backend has decided what of it is for that to say.
    pub(super) fn take_batch(&mut self, batch: Box<Batch>, body: Vec<u8>, after: After, cx: &mut Context) {
        let items = match batch.read(&body) {
            Ok(items) => items,
            Err(response) => return self.respond(&response, after, cx),
        };
        let unasked = self.channels_to_ask(&items, &batch, cx);
        if unasked.is_empty() {
            return self.publish_items(items, &batch, &Decided::default(), after, cx);
        }
        drop(items);
        self.ask_about_batch(Box::new(ParkedBatch::new(batch, body, unasked)), after, cx);
        self.publish_judged_batch(cx);
    }

    /// What the backend has decided about a batch, if the question is one of that: it is published when the connection is
    /// read next, unless there is more to ask.
    ///
    /// # Errors
    /// The decisions, if they are about something else.
    pub(super) fn decide_batch(
        &mut self,
        question: QuestionId,
        decisions: Box<[Decision]>,
        cx: &mut Context,
    ) -> Result<Next, Box<[Decision]>> {
        let Some((mut parked, after)) = self.take_batch_that_asks(Some(question)) else {
            return Err(decisions);
        };
        parked.decide(decisions);
        self.ask_about_batch(parked, after, cx);
        Ok(if self.awaits_answer() { Next::Wait } else { Next::Read })
    }

    /// Publishes what the backend, and the rules at present, allow of the batch about which everything is decided. False if
    /// there is none.
    pub(super) fn publish_judged_batch(&mut self, cx: &mut Context) -> bool {
        let Some((parked, after)) = self.take_batch_that_asks(None) else { return false };
        let ParkedBatch { batch, body, decided, .. } = &*parked;
        if let Err(refusal) = self.check_sender(cx) {
            cx.note_refusal(&refusal, self.identity.as_deref());
            self.respond_unnoted(&Response::from(&refusal), after, cx);
            return true;
        }
        match batch.read(body) {
            Ok(items) => self.publish_items(items, batch, decided, after, cx),
            Err(response) => self.respond(&response, after, cx),
        }
        true
    }

    /// The batch that waits for the backend, or is to be published.
    pub(super) fn parked_batch(&self) -> Option<&ParkedBatch> {
        let Life::Http(http) = &self.life else { return None };
        match &http.expects {
            Expects::BatchJudgement { parked, .. } => Some(parked),
            _ => None,
        }
    }

    /// The same, taken out if this is what it waits for: a question, or nothing.
    fn take_batch_that_asks(&mut self, question: Option<QuestionId>) -> Option<(Box<ParkedBatch>, After)> {
        let Life::Http(http) = &mut self.life else { return None };
        http.take_expected(|expects| match expects {
            Expects::BatchJudgement { parked, after } if parked.question == question => Ok((parked, after)),
            other => Err(other),
        })
    }

    /// Asks about the channels of a batch, until an answer is to be awaited or there is nothing left to ask.
    fn ask_about_batch(&mut self, mut parked: Box<ParkedBatch>, after: After, cx: &mut Context) {
        while let Some(asked) = parked.next_asked() {
            match self.ask_for(asked.action, &asked.channels, cx) {
                Asked::Known(decisions) => parked.decide(decisions),
                Asked::Waiting(question) => {
                    (parked.question, parked.since) = (Some(question), cx.now);
                    break;
                }
            }
        }
        if self.identity.is_none() {
            self.identity = parked.persons().next().map(|person| Arc::new(Identity::of_person(person)));
        }
        if let Life::Http(http) = &mut self.life {
            http.expects = Expects::BatchJudgement { parked, after };
        }
    }

    /// The channels of a batch that the backend is to be asked about, each once, in the order in which they are named.
    fn channels_to_ask(&self, items: &[Item<'_>], batch: &Batch, cx: &Context) -> Vec<(Action, ChannelName)> {
        let (mut channels, mut seen) = (Vec::new(), HashSet::new());
        for item in items {
            for name in item.to.channels() {
                let checked = self.check_item(name, item.data.len(), batch, cx);
                if let Ok((channel, Verdict::Ask(action))) = checked
                    && seen.insert(channel.clone())
                {
                    channels.push((action, channel));
                }
            }
        }
        channels
    }
}

/// The broker.
impl Connection {
    /// Publishes the items of a batch, in their order, where the rules or the backend let the client: that has decided what
    /// is in `decided`. The answer follows at once, or when all have been delivered.
    fn publish_items(
        &mut self,
        items: Vec<Item<'_>>,
        batch: &Batch,
        decided: &Decided,
        after: After,
        cx: &mut Context,
    ) {
        let (mut results, mut place) = (Results::new(&items), 0);
        let first = cx.audits.draw(results.len() as u64);
        for (at, item) in items.into_iter().enumerate() {
            let key = batch.key_of(&item, at);
            let data = Bytes::from(item.data.into_owned().into_boxed_slice());
            for name in item.to.channels() {
                let (event, content, data) = (item.event.clone(), item.content, data.clone());
                let admitted = self.admit_item(name, data.len(), batch, decided, cx);
                let published = admitted.and_then(|channel| {
                    let (source, excluded, frame) = (Source::Publisher, Excluded::Nobody, None);
                    let draft = Draft { channel, event, content, data, source, excluded, frame };
                    let publishing = self.put_as(first + place as u64, draft, key.clone(), cx);
                    publishing.map_err(|refused| fault_of_put(refused, cx))
                });
                match published {
                    Ok(Publishing::Done(receipt)) => {
                        self.note_receipt(receipt, cx);
                        results.settle(place, Ok(receipt.published));
                    }
                    Ok(Publishing::Awaited) => {}
                    Err(kind) => results.settle(place, Err(kind)),
                }
                place += 1;
            }
        }
        self.answer_batch(Box::new(results), first, after, cx);
    }

    /// Whether its request waits for the outcomes of a batch.
    pub(super) fn awaits_outcomes(&self) -> bool {
        matches!(&self.life, Life::Http(http) if matches!(http.expects, Expects::Deliveries { .. }))
    }

    /// A publication of its batch has been delivered, or has failed.
    pub(super) fn receive_outcome_of_batch(
        &mut self,
        request: u64,
        outcome: Result<Receipt, NotPublished>,
        cx: &mut Context,
    ) -> Next {
        let Life::Http(http) = &mut self.life else { return Next::Wait };
        let taken = http.take_expected(|expects| match expects {
            Expects::Deliveries { results, first, after } => Ok((results, first, after)),
            other => Err(other),
        });
        let Some((mut results, first, after)) = taken else { return Next::Wait };
        if let Ok(receipt) = outcome {
            self.note_receipt(receipt, cx);
        }
        let place = usize::try_from(request.wrapping_sub(first)).unwrap_or(usize::MAX);
        results.settle(place, outcome.map(|receipt| receipt.published).map_err(fault_of_delivery));
        let next = if results.are_complete() { Next::Read } else { Next::Wait };
        self.answer_batch(results, first, after, cx);
        next
    }

    fn answer_batch(&mut self, results: Box<Results>, first: u64, after: After, cx: &mut Context) {
        if results.are_complete() {
            return self.respond(&results.response(), after, cx);
        }
        if let Life::Http(http) = &mut self.life {
            http.expects = Expects::Deliveries { results, first, after };
        }
    }

    fn note_receipt(&mut self, receipt: Receipt, cx: &mut Context) {
        if !receipt.is_replay {
            self.note_published(receipt.published, cx);
        }
    }

    /// The channel that an item means by a name, if the client may publish there and the item is not too long.
    fn admit_item(
        &self,
        name: &ChannelName,
        len: usize,
        batch: &Batch,
        decided: &Decided,
        cx: &Context,
    ) -> Result<ChannelName, FaultKind> {
        let (channel, verdict) = self.check_item(name, len, batch, cx)?;
        let refusal = match verdict {
            Verdict::Yes => None,
            Verdict::No(refusal) => Some(refusal),
            Verdict::Ask(action) => match decided.find(action, &channel) {
                Some(decision) => refusal_of(decision, action, &channel),
                // The rules were reloaded between the question and the answer.
                None => Some(Refusal::Unavailable(Fault::Paused)),
            },
        };
        match refusal {
            None => Ok(channel),
            Some(refusal) => {
                cx.note_refusal(&refusal, self.identity.as_deref());
                Err(FaultKind::from(&refusal))
            }
        }
    }

    /// The channel that an item means by a name, and what the rules say of publishing there.
    fn check_item(
        &self,
        name: &ChannelName,
        len: usize,
        batch: &Batch,
        cx: &Context,
    ) -> Result<(ChannelName, Verdict), FaultKind> {
        let (len, len_max) = (len as u64, cx.shared.config.publication_len_max());
        if len > len_max {
            return Err(FaultKind::TooLarge(len, len_max));
        }
        let (apps, who) = (&cx.shared.apps, self.identity.as_deref());
        let channel = roads::name_in_app(name, batch.app.as_deref(), apps)
            .ok_or_else(|| FaultKind::Forbidden("The app of this batch was removed.".to_owned()))?;
        let has_key = cx.access.has_publishing_key(who, &channel);
        roads::check_kind(&channel, Wish::Publish, has_key, apps)
            .map_err(|sentence| FaultKind::Forbidden(sentence.to_owned()))?;
        let verdict = cx.access.may_publish(who, &channel);
        Ok((channel, verdict))
    }
}
