//! What the commands of a client do: it joins and leaves channels, publishes, and asks for what is kept.
//!
//! The commands were read by `commands`; answers are sent in the order of the commands.

use super::Connection;
use super::auditing::NotPut;
use super::client::Awaited;
use super::context::Context;
use super::joining::join_one_of_many;
use super::long_poll::elements_of;
use crate::commands::answer::{self, Beginning};
use crate::commands::{Command, Fault, FaultKind, Message, Reference, Request, Wanted};
use crate::hub::{ChannelName, Position, Source, WireForm};
use crate::server::access::{Refusal, Verdict};
use crate::server::api::answers;
use crate::server::api::roads::{self, Wish};
use crate::server::api::watching::{NotOwn, check_own};
use crate::server::broker::answer::Publishing;
use crate::server::broker::draft::{Draft, Excluded};
use crate::server::broker::idempotency::{IdempotencyKey, KeyRefused};
use crate::server::handlers::watching::Unfit;
use crate::server::metrics::refusals::Reason;

/// One command as it is carried out: the `ref` that each of its answers has.
type Ref<'a> = Option<&'a Reference>;

impl Connection {
    /// Does what a message asks for, and answers.
    pub(super) fn carry_out(&mut self, request: Request<'_>, cx: &mut Context) {
        let Request { reference, command } = request;
        let reference = reference.as_ref();
        match command {
            Command::Subscribe(channels) => {
                self.for_each(channels, reference, cx, Self::subscribe);
            }
            Command::Unsubscribe(channels) => {
                self.for_each(channels, reference, cx, Self::unsubscribe);
            }
            Command::Publish(message) => {
                let channel = message.channel.as_str().to_owned();
                let done = self.publish(message, reference, cx);
                self.settle(done, reference, channel, cx);
            }
            Command::History { channel, position } => {
                let name = channel.as_str().to_owned();
                let done = self.tell_history(&channel, position, reference, cx);
                self.settle(done, reference, name, cx);
            }
            Command::Presence { channel } => {
                let name = channel.as_str().to_owned();
                let found = self.channel_of(&channel, Wish::Subscribe, cx);
                let done = found.and_then(|found| {
                    cx.check_ready(&found)?;
                    self.tell_presence(&channel, &found, reference, cx)
                });
                self.settle(done, reference, name, cx);
            }
            Command::Authorize { token } => self.authorize(&token, reference, cx),
        }
    }

    /// Does something for each channel of a command. Each has one answer, in their order.
    fn for_each<T: Named>(
        &mut self,
        channels: Vec<Result<T, Fault>>,
        reference: Ref<'_>,
        cx: &mut Context,
        act: impl Fn(&mut Self, T, Ref<'_>, &mut Context) -> Result<(), FaultKind>,
    ) {
        for channel in channels {
            match channel {
                Ok(channel) => {
                    let name = channel.name().to_owned();
                    let done = act(self, channel, reference, cx);
                    self.settle(done, reference, name, cx);
                }
                Err(fault) => self.refuse_command(&fault, cx),
            }
            if !self.is_open() {
                return;
            }
        }
    }

    fn settle(&mut self, done: Result<(), FaultKind>, reference: Ref<'_>, channel: String, cx: &mut Context) {
        match done {
            Ok(()) => self.note_begun(),
            Err(kind) => {
                let fault = Fault { reference: reference.cloned(), channel: Some(channel), kind };
                self.refuse_command(&fault, cx);
            }
        }
    }

    fn subscribe(&mut self, wanted: Wanted, reference: Ref<'_>, cx: &mut Context) -> Result<(), FaultKind> {
        let channel = self.channel_of(&wanted.channel, Wish::Subscribe, cx)?;
        if let Some(subscription) = self.subscription_to(&channel, cx) {
            let since = self.position_in(subscription, cx);
            let lacks_presence = wanted.presence && self.subscription_to_companion(&channel, cx).is_none();
            let beginning = Beginning { since, lacks_presence };
            self.send_message(&answer::subscribed(&wanted.channel, reference, beginning));
            return Ok(());
        }
        let subscriptions_max = cx.shared.config.client_subscriptions;
        if self.is_subscribed_out(subscriptions_max, cx) {
            return Err(FaultKind::TooManySubscriptions(subscriptions_max));
        }
        cx.check_ready(&channel)?;
        self.hold_judged(&channel, cx);
        self.join_channel_of_many(&channel, &wanted, reference, cx);
        Ok(())
    }

    fn join_channel_of_many(
        &mut self,
        channel: &ChannelName,
        wanted: &Wanted,
        reference: Ref<'_>,
        cx: &mut Context,
    ) {
        let Some(form) = self.multiplex().map(|client| client.form) else { return };
        let sees = wanted.presence && self.sees(channel, cx);
        let joined = join_one_of_many(channel, form, wanted, reference, (self.present(), sees), cx);
        joined.texts.iter().for_each(|text| self.send_message(text));
        joined.entries.into_iter().for_each(|entry| self.add_subscription(entry, &cx.hub));
    }

    fn unsubscribe(
        &mut self,
        name: ChannelName,
        reference: Ref<'_>,
        cx: &mut Context,
    ) -> Result<(), FaultKind> {
        let channel = self.internal_name(&name, cx)?;
        self.end_reading(&channel, cx);
        self.send_message(&answer::unsubscribed(&name, reference, None));
        Ok(())
    }

    fn publish(
        &mut self,
        message: Message<'_>,
        reference: Ref<'_>,
        cx: &mut Context,
    ) -> Result<(), FaultKind> {
        let Message { channel: name, event, content, data, key } = message;
        let channel = self.channel_of(&name, Wish::Publish, cx)?;
        let (len, len_max) = (data.len() as u64, cx.shared.config.publication_len_max());
        if len > len_max {
            return Err(FaultKind::TooLarge(len, len_max));
        }
        let data = data.into_owned().into_boxed_slice().into();
        let (source, excluded, frame) = (Source::Publisher, Excluded::Nobody, None);
        let draft = Draft { channel, event, content, data, source, excluded, frame };
        let key = key.and_then(|key| IdempotencyKey::new(key.as_bytes()));
        let request = cx.audits.draw(1);
        let publishing = self.put_as(request, draft, key, cx).map_err(|refused| fault_of_put(refused, cx))?;
        let (reference, channel) = (reference.cloned(), name.as_str().into());
        match publishing {
            Publishing::Done(receipt) => self.answer_command(Ok(receipt), reference, channel, cx),
            Publishing::Awaited => self.await_outcome(Awaited { request, reference, channel }),
        }
        Ok(())
    }

    fn tell_history(
        &mut self,
        name: &ChannelName,
        position: Position,
        reference: Ref<'_>,
        cx: &mut Context,
    ) -> Result<(), FaultKind> {
        let channel = self.channel_of(name, Wish::Subscribe, cx)?;
        cx.check_ready(&channel)?;
        let mut found = None;
        cx.under_lock(
            &channel,
            (position, WireForm::LongPoll),
            self.present(),
            |_, resumption| -> Option<()> {
                found = Some(resumption);
                None
            },
        );
        let resumption = found.expect("it is shown in any case");
        let gap = resumption.gap;
        let (elements, next) = elements_of(resumption, WireForm::LongPoll, cx.shared.config.max_lag, cx);
        let elements = String::from_utf8(elements).expect("envelopes are made of texts");
        self.send_message(&answer::history(name, reference, gap, &elements, next));
        Ok(())
    }

    fn authorize(&mut self, token: &str, reference: Ref<'_>, cx: &mut Context) {
        match self.take_token(token, cx) {
            Ok(()) => {
                self.note_begun();
                self.tell_authorized(reference, cx);
                self.expel_from_forbidden(cx);
            }
            Err(refusal) => {
                let fault =
                    Fault { reference: reference.cloned(), channel: None, kind: FaultKind::from(&refusal) };
                self.refuse_command(&fault, cx);
            }
        }
    }
}

/// Rights.
impl Connection {
    /// The channel that the client means by a name, where it is open to the client.
    pub(super) fn channel_of(
        &self,
        name: &ChannelName,
        wish: Wish,
        cx: &Context,
    ) -> Result<ChannelName, FaultKind> {
        let (channel, who) = (self.internal_name(name, cx)?, self.identity.as_deref());
        if channel.is_reserved() {
            check_own(&channel, &cx.shared.apps).map_err(fault_of_own)?;
        }
        let has_key = cx.access.has_publishing_key(who, &channel);
        roads::check_kind(&channel, wish, has_key, &cx.shared.apps)
            .map_err(|sentence| FaultKind::Forbidden(sentence.to_owned()))?;
        let verdict = match wish {
            Wish::Subscribe => self.may_read(&channel, cx),
            Wish::Publish if !self.multiplex().is_some_and(|client| client.is_page_served) => {
                Verdict::No(Refusal::NoOrigin)
            }
            Wish::Publish => cx.access.may_publish(who, &channel),
        };
        let checked = match verdict {
            Verdict::Yes => Ok(()),
            Verdict::No(refusal) => Err(refusal),
            Verdict::Ask(action) => self.check_judged(action, &channel, cx),
        };
        checked.map(|()| channel).map_err(|refusal| FaultKind::from(&refusal))
    }

    /// The channel that the client means by a name.
    pub(super) fn internal_name(&self, name: &ChannelName, cx: &Context) -> Result<ChannelName, FaultKind> {
        if name.is_reserved() {
            return Ok(name.clone());
        }
        let app = self.multiplex().and_then(|client| client.app.as_deref());
        roads::name_in_app(name, app, &cx.shared.apps)
            .ok_or_else(|| FaultKind::Forbidden("The app of this connection was removed.".to_owned()))
    }
}

/// Why there is nothing to read under one of the server's own names.
fn fault_of_own(not_own: NotOwn) -> FaultKind {
    match not_own {
        NotOwn::Unknown => FaultKind::Reserved,
        // Its sentence gets its full stop there.
        NotOwn::NoApp | NotOwn::PlainName(_) => {
            FaultKind::BadCommand(not_own.to_string().trim_end_matches('.').to_owned())
        }
    }
}

/// What a client is told whose publication was not made.
pub fn fault_of_put(refused: NotPut, cx: &Context) -> FaultKind {
    match refused {
        NotPut::Program(Unfit::Refused(refusal)) => FaultKind::Forbidden(refusal.to_string()),
        NotPut::Program(Unfit::TooLong { len, len_max }) => FaultKind::TooLarge(len, len_max),
        NotPut::Program(Unfit::Undecided) => FaultKind::Unavailable(Unfit::Undecided.to_string()),
        NotPut::Key(KeyRefused::Reused) => FaultKind::Conflict,
        NotPut::Key(KeyRefused::NoRoom) => {
            cx.note(Reason::Memory, &"a publication with a key: --max-memory is reached");
            FaultKind::Unavailable(answers::NO_ROOM_FOR_KEY.to_owned())
        }
        NotPut::Key(KeyRefused::ShareUsed) => {
            cx.note(Reason::Memory, &"a publication with a key: keys have their share of --max-memory");
            FaultKind::Unavailable(answers::KEYS_SHARE_USED.to_owned())
        }
    }
}

/// What a command lists, by the name of its channel.
trait Named {
    fn name(&self) -> &str;
}

impl Named for Wanted {
    fn name(&self) -> &str {
        self.channel.as_str()
    }
}

impl Named for ChannelName {
    fn name(&self) -> &str {
        self.as_str()
    }
}
