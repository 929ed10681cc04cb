//! A request that publishes several messages at once: what it announces of its body, and the answer, item by item.
//!
//! The body is read by `commands::batch`. Nothing is published here.

use std::fmt::Write;

use crate::commands::FaultKind;
use crate::commands::answer;
use crate::commands::batch::{Item, Layout, To, parse};
use crate::http::{Request, Response, Status};
use crate::hub::{ChannelName, Published};
use crate::server::broker::idempotency::IdempotencyKey;

/// A batch whose body is still to come.
#[derive(Debug)]
pub struct Batch {
    /// The app whose channels it names.
    pub app: Option<Box<str>>,
    layout: Layout,
    key: Option<IdempotencyKey>,
    len_max: u64,
}

impl Batch {
    /// What the head of a request says of the batch. `len_max` bounds its body, in bytes.
    pub fn announced(
        request: &Request,
        app: Option<Box<str>>,
        key: Option<IdempotencyKey>,
        len_max: u64,
    ) -> Self {
        let media_type = request.header_str("content-type").unwrap_or("");
        let essence = media_type.split(';').next().unwrap_or("").trim();
        let layout = match essence.eq_ignore_ascii_case("application/x-ndjson") {
            true => Layout::Lines,
            false => Layout::List,
        };
        Self { app, layout, key, len_max }
    }

    /// How long the body may be, in bytes; and what all of its publications may have in all: an item that names many channels
    /// is as many publications.
    pub fn len_max(&self) -> u64 {
        self.len_max
    }

    /// The answer to a body that is longer.
    pub fn too_long(&self) -> Response {
        let sentence =
            format!("A batch has at most {} bytes: the server's --max-message; send several.", self.len_max);
        Response::text(Status::CONTENT_TOO_LARGE, &sentence)
    }

    /// The items of the body.
    ///
    /// # Errors
    /// 400 if it cannot be read, with the item that is wrong; 413 if its publications are too long in all.
    pub fn read<'a>(&self, body: &'a [u8]) -> Result<Vec<Item<'a>>, Response> {
        let bad = |sentence: &str| Response::text(Status::BAD_REQUEST, sentence);
        let text = simdutf8::basic::from_utf8(body).map_err(|_| bad("The body is not UTF-8."))?;
        let items = parse(text, self.layout).map_err(|fault| bad(&fault.to_string()))?;
        let len: u64 =
            items.iter().map(|item| item.data.len() as u64 * item.to.channels().len() as u64).sum();
        if len > self.len_max {
            let sentence = format!(
                "The publications of the batch have {len} bytes in all; {} at most, the server's --max-message: send \
                 several.",
                self.len_max
            );
            return Err(Response::text(Status::CONTENT_TOO_LARGE, &sentence));
        }
        Ok(items)
    }

    /// The key under which the item at this place may be sent again.
    pub fn key_of(&self, item: &Item<'_>, place: usize) -> Option<IdempotencyKey> {
        match &item.key {
            Some(key) => IdempotencyKey::new(key.as_bytes()),
            None => self.key.as_ref().map(|key| key.of_item(place)),
        }
    }
}

/// What has become of the publications of a batch, in its order.
///
/// Invariant: `outcomes` has one for each channel of each item.
#[derive(Debug)]
pub struct Results {
    /// The names of an item's channels, if it is answered by name.
    items: Vec<Option<Vec<ChannelName>>>,
    /// `None`: it is awaited.
    outcomes: Vec<Option<Result<Published, FaultKind>>>,
    awaited: usize,
}

impl Results {
    /// Of these items, all of which are awaited.
    pub fn new(items: &[Item<'_>]) -> Self {
        let len = items.iter().map(|item| item.to.channels().len()).sum();
        let names = items.iter().map(|item| match &item.to {
            To::One(_) => None,
            To::Several(channels) => Some(channels.clone()),
        });
        Self { items: names.collect(), outcomes: (0..len).map(|_| None).collect(), awaited: len }
    }

    /// The number of publications.
    pub fn len(&self) -> usize {
        self.outcomes.len()
    }

    /// A publication was made, or not. `place` counts the channels of all items.
    pub fn settle(&mut self, place: usize, outcome: Result<Published, FaultKind>) {
        if let Some(slot @ None) = self.outcomes.get_mut(place) {
            *slot = Some(outcome);
            self.awaited -= 1;
        }
    }

    /// Whether no outcome is awaited.
    pub fn are_complete(&self) -> bool {
        self.awaited == 0
    }

    /// The bytes of memory that they take.
    pub fn held_len(&self) -> usize {
        let names = self.items.iter().flatten().flatten().map(|name| size_of_val(name) + name.as_str().len());
        size_of::<Self>() + size_of_val(&*self.items) + size_of_val(&*self.outcomes) + names.sum::<usize>()
    }

    /// The answer, when they are complete.
    pub fn response(&self) -> Response {
        let mut body = String::from(r#"{"results":["#);
        let mut outcomes = self.outcomes.iter();
        for (at, item) in self.items.iter().enumerate() {
            body.push_str(if at == 0 { "" } else { "," });
            match item {
                None => put_outcome(&mut body, outcomes.next()),
                Some(names) => {
                    for (at, name) in names.iter().enumerate() {
                        body.push(if at == 0 { '{' } else { ',' });
                        let name = serde_json::to_string(name.as_str()).expect("a string is always JSON");
                        body.push_str(&name);
                        body.push(':');
                        put_outcome(&mut body, outcomes.next());
                    }
                    body.push('}');
                }
            }
        }
        body.push_str("]}\n");
        Response::json(Status::OK, body)
    }
}

fn put_outcome(body: &mut String, outcome: Option<&Option<Result<Published, FaultKind>>>) {
    let outcome = outcome.and_then(Option::as_ref).expect("all outcomes are there");
    let put = match outcome {
        Ok(Published { id, subscribers }) => write!(body, r#"{{"id":"{id}","subscribers":{subscribers}}}"#),
        Err(kind) => write!(body, r#"{{"error":{}}}"#, answer::fault_data(kind)),
    };
    put.expect("a string takes every write");
}
