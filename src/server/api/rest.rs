//! The HTTP API of Pusher: finds the app that a request is for, does what it asks for, and answers it.
//!
//! What a request asks for, and whether it is signed, is decided by `pusher::rest`; bodies are read by the connection.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::slice;
use std::sync::Arc;

use bytes::Bytes;

use crate::http::{Response, Status};
use crate::hub::{ChannelName, Content, Source};
use crate::pusher::rest::answer::{self, Attributes, Cached};
use crate::pusher::rest::{AppOf, Authenticated, Call, Head, Info, Refused, Trigger, Unauthorized};
use crate::pusher::{Access, Kind, Name};
use crate::server::api::events::{Events, Tally, Told};
use crate::server::apps::Apps;
use crate::server::apps::running::RunningApp;
use crate::server::broker::Broker;
use crate::server::broker::answer::{Publishing, Waiter};
use crate::server::broker::draft::{Draft, Excluded, check_json};
use crate::server::broker::engine::tidings::Tiding;
use crate::server::broker::joins::Occupation;
use crate::server::clock::{self, Millis};
use crate::server::metrics::counters::ApiCall;

/// Every status of a refusal.
const REFUSALS: [Status; 7] = [
    Status::BAD_REQUEST,
    Status::UNAUTHORIZED,
    Status::FORBIDDEN,
    Status::NOT_FOUND,
    Status::METHOD_NOT_ALLOWED,
    Status::CONTENT_TOO_LARGE,
    Status::TOO_MANY_REQUESTS,
];

/// A request of the API that is signed by an app; its body may still have to be read.
#[derive(Debug)]
pub struct Requested {
    request: Authenticated,
    app: Arc<RunningApp>,
}

/// What a call does itself, and at which time.
#[derive(Clone, Copy, Debug)]
pub struct Scene<'a> {
    /// What is published goes here.
    pub broker: &'a Broker,
    /// Who gets the outcome of each publication that an engine takes.
    pub waiter: &'a Waiter,
    /// The loop that counts the events.
    pub loop_index: usize,
    /// The time of the server's clock.
    pub now: Millis,
}

/// What came of a request.
#[derive(Debug)]
pub enum Outcome {
    /// It is answered.
    Done(Done),
    /// An engine has publications of it: it is answered by [`conclude`] when all of these are settled.
    Awaited(Box<Events>),
}

/// What came of a request that is answered.
#[derive(Debug)]
pub struct Done {
    /// The answer.
    pub response: Response,
    /// What was done, unless the request was refused.
    pub call: Option<ApiCall>,
    /// What was published at once.
    pub published: Tally,
}

impl Requested {
    /// A request whose signature is that of its app.
    ///
    /// # Errors
    /// The answer that there is no such app, or what is wrong with the signature.
    pub fn new(head: Head, apps: &Apps) -> Result<Self, Response> {
        let (app, unknown) = match head.app() {
            AppOf::Id(id) => (apps.by_id(id), Refused::AppUnknown(id.clone())),
            AppOf::Key(key) => (apps.by_key(key), Unauthorized::KeyUnknown(key.clone()).into()),
        };
        let Some(app) = app else { return Err(refusal(&unknown)) };
        match head.authenticate(&app.settings(), clock::unix_ms() / 1000) {
            Ok(request) => Ok(Self { request, app }),
            Err(refused) => Err(refuse(&app, &refused)),
        }
    }

    /// The channel that its answer tells the state of, if it does.
    pub fn looks_into(&self) -> Option<ChannelName> {
        self.request.endpoint().looks_into().map(|name| self.app.channel(&name))
    }

    /// How long its body may be, in bytes; 0 for a GET.
    pub fn body_len_max(&self) -> u64 {
        self.request.endpoint().body_len_max(&self.app.settings())
    }

    /// The answer to a body that is longer.
    pub fn body_too_long(&self) -> Response {
        let too_long = self.request.endpoint().body_too_long(&self.app.settings());
        refuse(&self.app, &too_long.into())
    }

    /// Does what the request asks for, if this is the body that was signed and no rule is broken.
    pub fn execute(&self, body: &[u8], scene: Scene<'_>) -> Outcome {
        let call = self.request.call(body, &self.app.settings());
        let outcome = call.and_then(|call| Calling { app: &self.app, scene }.execute(call));
        outcome.unwrap_or_else(|refused| {
            let response = refuse(&self.app, &refused);
            Outcome::Done(Done { response, call: None, published: Tally::default() })
        })
    }
}

/// The answer to a call whose publications are settled, and what was done if it was. `scene`: as it is by now.
pub fn conclude(events: &Events, scene: Scene<'_>) -> (Response, Option<ApiCall>) {
    match events.outcome() {
        Ok(()) => {
            let response = Calling { app: &events.app, scene }.tell(&events.told);
            (response, Some(events.call))
        }
        Err(why) => (events.fail(why), None),
    }
}

/// The answer to a request that is refused, which is noted with its app.
fn refuse(app: &RunningApp, refused: &Refused) -> Response {
    app.note_refused(refused, clock::unix_ms());
    refusal(refused)
}

/// The answer to a request that is refused.
pub fn refusal(refused: &Refused) -> Response {
    let status = REFUSALS.into_iter().find(|status| status.code() == refused.status());
    let response = Response::error(status.expect("the table has every status of a refusal"), refused);
    match refused {
        Refused::Method(allow) => response.header("Allow", *allow),
        Refused::Rate { retry_s, .. } => response.header("Retry-After", retry_s.to_string()),
        Refused::Path
        | Refused::AppUnknown(_)
        | Refused::AppDisabled
        | Refused::Unauthorized(_)
        | Refused::Invalid(_) => response,
    }
}

/// A call of an app.
struct Calling<'a> {
    app: &'a Arc<RunningApp>,
    scene: Scene<'a>,
}

impl Calling<'_> {
    fn execute(&self, call: Call) -> Result<Outcome, Refused> {
        let (call, body) = match call {
            Call::Publish(trigger) => {
                let tally = self.publish(slice::from_ref(&trigger))?;
                return Ok(self.answer(ApiCall::Events, tally, Told::of_event(trigger)));
            }
            Call::PublishBatch(batch) => {
                let tally = self.publish(&batch)?;
                return Ok(self.answer(ApiCall::BatchEvents, tally, Told::of_batch(batch)));
            }
            Call::PublishTo(trigger) => {
                let tally = self.publish(slice::from_ref(&trigger))?;
                return Ok(self.answer(ApiCall::Events, tally, Told::Accepted));
            }
            Call::Channels { prefix, info } => (ApiCall::Channels, self.channels(&prefix, info)),
            Call::Channel { name, info } => (ApiCall::Channel, self.channel(&name, info)),
            Call::Stats(name) => (ApiCall::Channel, self.stats(&name)),
            Call::Users(name) => (ApiCall::Users, self.users(&name)),
            Call::Terminate(user) => {
                self.terminate(&user);
                (ApiCall::Terminate, answer::NOTHING.to_owned())
            }
        };
        let response = Response::json(Status::OK, body);
        Ok(Outcome::Done(Done { response, call: Some(call), published: Tally::default() }))
    }

    /// Publishes all of it, or nothing if the app's rate does not allow it now: what of it was published at once, and how much an
    /// engine has. Each channel of an event counts, since each gets a publication.
    fn publish(&self, triggers: &[Trigger]) -> Result<(Tally, usize), Refused> {
        let count = triggers.iter().map(|trigger| trigger.channels.len()).sum::<usize>();
        if count > 0 {
            self.take_events(u32::try_from(count).unwrap_or(u32::MAX))?;
            self.app.note_messages(self.scene.loop_index, count as u64);
        }
        let (mut published, mut awaited) = (Tally::default(), 0);
        for trigger in triggers {
            awaited += self.deliver(trigger, &mut published);
        }
        Ok((published, awaited))
    }

    /// Answers events, unless some are awaited.
    fn answer(&self, call: ApiCall, (published, awaited): (Tally, usize), told: Told) -> Outcome {
        if awaited == 0 {
            return Outcome::Done(Done { response: self.tell(&told), call: Some(call), published });
        }
        Outcome::Awaited(Box::new(Events::new(self.app, (call, told), awaited, published)))
    }

    fn take_events(&self, count: u32) -> Result<(), Refused> {
        self.app.take_events(count, self.scene.now).map_err(|wait_ms| {
            let rate = self.app.settings().event_rate.map_or(u32::MAX, NonZeroU32::get);
            Refused::Rate { rate, retry_s: wait_ms.div_ceil(1000) }
        })
    }

    /// Publishes to each channel of an event: the number of channels whose outcome is awaited. The protocol answers before an event
    /// is delivered ("sent asynchronously"); but one that an engine does not take would be lost after its answer.
    fn deliver(&self, trigger: &Trigger, published: &mut Tally) -> usize {
        // What pusher-js parses, subscribers by other roads get as the value that it is.
        let is_json = check_json(trigger.data.as_bytes()).is_ok();
        let content = if is_json { Content::Json } else { Content::Text };
        let data = Bytes::from(trigger.data.clone());
        let excluded = match trigger.socket_id {
            None => Excluded::Nobody,
            Some(id) => self.app.owner_of(id).map_or(Excluded::Socket(id), Excluded::Owner),
        };
        let mut awaited = 0;
        for name in &trigger.channels {
            let draft = Draft {
                channel: self.app.channel(name),
                event: Some(trigger.event.clone()),
                content,
                data: data.clone(),
                source: Source::Publisher,
                excluded,
                frame: None,
            };
            match self.scene.broker.publish(draft, self.scene.waiter.clone(), self.scene.now) {
                Publishing::Done(receipt) => {
                    published.publications += 1;
                    published.subscribers += receipt.published.subscribers;
                }
                Publishing::Awaited => awaited += 1,
            }
        }
        awaited
    }

    /// The answer to events that are published.
    fn tell(&self, told: &Told) -> Response {
        let body = match told {
            Told::Nothing => answer::NOTHING.to_owned(),
            Told::Accepted => return Response::json(Status::ACCEPTED, answer::NOTHING.to_owned()),
            Told::Channels(names, info) => {
                answer::channels(names.iter().map(|name| (name.as_str(), self.attributes(name, *info))))
            }
            Told::Batch(asked) => answer::batch(asked.iter().map(|asked| {
                asked.as_ref().map_or_else(Attributes::default, |(name, info)| self.attributes(name, *info))
            })),
        };
        Response::json(Status::OK, body)
    }

    fn stats(&self, name: &Name) -> String {
        let Occupation { subscribers, users, .. } = self.occupation(name);
        answer::stats(name.kind().is_presence().then_some(users), subscribers)
    }

    /// In the order of their identifiers.
    fn users(&self, name: &Name) -> String {
        let mut users = self.scene.broker.users(self.app.channel(name).as_str());
        users.sort_unstable();
        answer::users(users.iter().map(String::as_str))
    }

    fn attributes(&self, name: &Name, info: Info) -> Attributes {
        attributes(name.kind(), info, &self.occupation(name))
    }

    fn occupation(&self, name: &Name) -> Occupation {
        let channel = self.app.channel(name);
        self.scene.broker.occupation(channel.as_str(), self.scene.now).unwrap_or_default()
    }

    /// The channels with subscribers, in the order of their names. Those of users are the protocol's own.
    fn channels(&self, prefix: &str, info: Info) -> String {
        let mut found: BTreeMap<ChannelName, Attributes> = BTreeMap::new();
        self.scene.broker.show_occupied(|channel, subscribers, users| {
            let kind = Kind::of(channel.local());
            let is_meant = self.app.has_channel(channel) && channel.local().starts_with(prefix);
            if is_meant && kind.access != Access::User {
                let occupation = Occupation { subscribers, users, cached: None };
                found.insert(channel.clone(), attributes(kind, info, &occupation));
            }
        });
        answer::channels(found.iter().map(|(channel, attributes)| (channel.local(), *attributes)))
    }

    fn channel(&self, name: &Name, info: Info) -> String {
        let occupation = self.occupation(name);
        let attributes = attributes(name.kind(), info, &occupation);
        let cached = occupation.cached.as_ref();
        let cached = cached.map(|(data, left_ms)| Cached { data, ttl_s: left_ms.div_ceil(1000) });
        answer::channel(occupation.subscribers > 0, attributes, info.cache.then_some(cached))
    }

    fn terminate(&self, user: &str) {
        let broker = self.scene.broker;
        self.app.terminate(user, broker);
        broker.tell_nodes(Tiding::Terminate {
            at_ms: clock::unix_ms(),
            app: self.app.id().into(),
            user: user.into(),
        });
    }
}

/// What was asked for of a channel, as far as its kind has it.
fn attributes(kind: Kind, info: Info, occupation: &Occupation) -> Attributes {
    Attributes {
        user_count: (info.user_count && kind.is_presence()).then_some(occupation.users),
        subscription_count: info.subscription_count.then_some(occupation.subscribers),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::rest::Invalid;

    #[test]
    fn every_refusal_has_its_status_and_its_sentence_as_text() {
        for (refused, status) in [
            (Refused::Path, Status::NOT_FOUND),
            (Refused::Method("POST"), Status::METHOD_NOT_ALLOWED),
            (Refused::AppUnknown("7".into()), Status::NOT_FOUND),
            (Refused::AppDisabled, Status::FORBIDDEN),
            (Refused::Rate { rate: 5, retry_s: 2 }, Status::TOO_MANY_REQUESTS),
            (Unauthorized::Missing("auth_key").into(), Status::UNAUTHORIZED),
            (Invalid::UserCount.into(), Status::BAD_REQUEST),
            (Invalid::DataTooLong { len: 2, len_max: 1 }.into(), Status::CONTENT_TOO_LARGE),
        ] {
            assert_eq!(refusal(&refused).status(), status);
        }
    }
}
