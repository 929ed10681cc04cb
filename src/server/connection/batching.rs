//! The batch of a request: each of its publications is made or refused, and all are answered at once.
//!
//! How a batch is written, and its answer, is in `api::batch`.

use bytes::Bytes;

use super::context::Context;
use super::life::{After, Expects, Life};
use super::multiplex::fault_of_delivery;
use super::obeying::fault_of_put;
use super::{Connection, Next};
use crate::commands::FaultKind;
use crate::hub::{ChannelName, Source};
use crate::server::access::Verdict;
use crate::server::api::batch::{Batch, Results};
use crate::server::api::roads::{self, Wish};
use crate::server::broker::answer::{NotPublished, Publishing, Receipt};
use crate::server::broker::draft::Draft;

impl Connection {
    /// Publishes the items of a batch, in their order. The answer follows at once, or when all have been delivered.
    pub(super) fn publish_batch(&mut self, batch: &Batch, body: &[u8], after: After, cx: &mut Context) {
        let items = match batch.read(body) {
            Ok(items) => items,
            Err(response) => return self.respond(&response, after, cx),
        };
        let (mut results, mut place) = (Results::new(&items), 0);
        let first = cx.audits.draw(results.len() as u64);
        for (at, item) in items.into_iter().enumerate() {
            let key = batch.key_of(&item, at);
            let data = Bytes::from(item.data.into_owned().into_boxed_slice());
            for name in item.to.channels() {
                let (event, content, data) = (item.event.clone(), item.content, data.clone());
                let published = self.check_item(name, data.len(), batch, cx).and_then(|channel| {
                    let (source, excluded, frame) = (Source::Publisher, None, None);
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
        let (mut results, first, after) = match std::mem::replace(&mut http.expects, Expects::Head) {
            Expects::Deliveries { results, first, after } => (results, first, after),
            other => {
                http.expects = other;
                return Next::Wait;
            }
        };
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
    fn check_item(
        &self,
        name: &ChannelName,
        len: usize,
        batch: &Batch,
        cx: &Context,
    ) -> Result<ChannelName, FaultKind> {
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
        let judge = if cx.program.judge.is_some() { "the program" } else { "the backend" };
        match cx.access.may_publish(who, &channel) {
            Verdict::Yes => Ok(channel),
            Verdict::No(refusal) => {
                cx.note_refusal(&refusal, who);
                Err(FaultKind::from(&refusal))
            }
            // A batch would wait for as many answers as it has channels.
            Verdict::Ask(_) => Err(FaultKind::NoToken(format!(
                "Who may publish to {name} is for {judge} to say, which is not asked about a batch: POST to \
                 /channels/{name}, or send a key as Authorization: Bearer KEY."
            ))),
        }
    }
}
