//! From one text message of a client to what it asks for, or what is wrong with it.
//!
//! What JSON itself forbids is known to `json`; whether the client may do it, to the server.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;

use super::json::{self, Fields, Items, Kind};
use super::{Command, Fault, FaultKind, Limits, Message, Reference, Request, Wanted};
use crate::hub::{ChannelName, Content, EventName, Position};

/// The events that begin so are commands; nobody can publish them.
const COMMAND_PREFIX: &str = "fanfare:";

/// The longest key of a publication, in bytes: that of the field `Idempotency-Key`.
const KEY_LEN_MAX: usize = 255;

const PUBLICATION: &str = r#"{"channel":"news","event":"tick","data":1}"#;

/// The names of an envelope that mean something. Others are passed over: what one gets may be sent as it came.
const ENVELOPE: [&str; 6] = ["event", "channel", "ref", "key", "encoding", "data"];

/// The place of `ref` in [`ENVELOPE`].
const REF: usize = 2;

/// That of `data`, whose `null` is a value.
const DATA: usize = 5;

/// The place of `channel` among the names of each object that has one.
pub(super) const CHANNEL: usize = 0;

/// The names of a channel in `fanfare:subscribe`. Others are faults: a misspelt `since` that is passed over loses messages
/// without a word.
const SUBSCRIPTION: [&str; 4] = ["channel", "since", "last", "presence"];

/// The commands, each with what its data looks like.
#[derive(Clone, Copy)]
enum Verb {
    Subscribe,
    Unsubscribe,
    History,
    Presence,
    Authorize,
}

impl Verb {
    const ALL: [Self; 5] =
        [Self::Subscribe, Self::Unsubscribe, Self::History, Self::Presence, Self::Authorize];

    fn event(self) -> &'static str {
        match self {
            Self::Subscribe => "fanfare:subscribe",
            Self::Unsubscribe => "fanfare:unsubscribe",
            Self::History => "fanfare:history",
            Self::Presence => "fanfare:presence",
            Self::Authorize => "fanfare:authorize",
        }
    }

    /// What its data is, and what that looks like.
    fn form(self) -> (&'static str, &'static str) {
        match self {
            Self::Subscribe => ("a list", r#"[{"channel":"news"}]"#),
            Self::Unsubscribe => ("a list", r#"["news"]"#),
            Self::History => ("an object", r#"{"channel":"news","last":10}"#),
            Self::Presence => ("an object", r#"{"channel":"news"}"#),
            Self::Authorize => ("an object", r#"{"token":"JWT"}"#),
        }
    }

    /// Says what its data is.
    fn wrong_data(self) -> FaultKind {
        let (kind, example) = self.form();
        FaultKind::BadCommand(format!("data of {} is {kind}: {example}", self.event()))
    }

    /// Says what is wrong with its data, and what that looks like.
    fn wrong(self, what: impl fmt::Display) -> FaultKind {
        let (_, example) = self.form();
        FaultKind::BadCommand(format!("data of {}: {what}; it looks like {example}", self.event()))
    }
}

/// What is wrong: with the whole command, or with its one channel.
struct Wrong {
    channel: Option<String>,
    kind: FaultKind,
}

impl From<FaultKind> for Wrong {
    fn from(kind: FaultKind) -> Self {
        Self { channel: None, kind }
    }
}

/// One text message of a client of `/channels`.
///
/// # Errors
/// Says what is wrong with the message as a whole. What is wrong with one channel of a list stands in the list.
pub fn parse<'a>(text: &'a str, limits: &Limits) -> Result<Request<'a>, Fault> {
    let whole = |reference, kind| Fault { reference, channel: None, kind };
    let envelope = read_envelope(text).map_err(|kind| whole(None, kind))?;
    let [event, channel, reference, key, encoding, _] = envelope.present();
    let reference = reference.map(Reference::new).transpose();
    let known = if envelope.is_twice(REF) { None } else { reference.clone().ok().flatten() };
    let refuse = |why: String| whole(known.clone(), FaultKind::BadCommand(why));
    json::check_readable(text).map_err(|what| refuse(what.to_string()))?;
    let reference = reference.map_err(refuse)?;
    if let Some(name) = envelope.twice() {
        return Err(refuse(format!("The message has {name} twice")));
    }
    let data = envelope.value(DATA);
    let command = match event.map(|event| json::text(event).ok_or_else(|| json::kind(event))).transpose() {
        Err(kind) => Err(FaultKind::BadCommand(format!("event is a string, not {kind}")).into()),
        Ok(Some(event)) if event.starts_with(COMMAND_PREFIX) => command(&event, data, &known, limits),
        Ok(event) => publication(Publication { channel, event, key, encoding, data }),
    };
    match command {
        Ok(command) => Ok(Request { reference, command }),
        Err(Wrong { channel, kind }) => Err(Fault { reference, channel, kind }),
    }
}

fn read_envelope(text: &str) -> Result<Fields<'_, 6>, FaultKind> {
    let kind = json::kind(text.trim_start_matches([' ', '\t', '\n', '\r']));
    if kind == Kind::Object
        && let Ok(envelope) = Fields::read(text, &ENVELOPE)
    {
        return Ok(envelope);
    }
    if let Err(error) = serde_json::from_str::<&RawValue>(text) {
        return Err(FaultKind::NotJson(error.to_string()));
    }
    Err(FaultKind::BadCommand(match json::check_readable(text) {
        Err(what) => what.to_string(),
        Ok(()) => format!("The message is {kind}; a message is an object like {PUBLICATION}"),
    }))
}

fn command<'a>(
    event: &str,
    data: Option<&'a str>,
    reference: &Option<Reference>,
    limits: &Limits,
) -> Result<Command<'a>, Wrong> {
    let Some(verb) = Verb::ALL.into_iter().find(|verb| verb.event() == event) else {
        let all = Verb::ALL.map(Verb::event).join(", ");
        return Err(
            FaultKind::BadCommand(format!("{} is no command; there are {all}", excerpt(event))).into()
        );
    };
    let data = data.ok_or_else(|| verb.wrong_data())?;
    match verb {
        Verb::Subscribe => subscribe(data, reference, limits).map(Command::Subscribe).map_err(Wrong::from),
        Verb::Unsubscribe => {
            unsubscribe(data, reference, limits).map(Command::Unsubscribe).map_err(Wrong::from)
        }
        Verb::History => history(data),
        Verb::Presence => presence(data),
        Verb::Authorize => authorize(data).map_err(Wrong::from),
    }
}

fn subscribe(
    data: &str,
    reference: &Option<Reference>,
    limits: &Limits,
) -> Result<Vec<Result<Wanted, Fault>>, FaultKind> {
    let verb = Verb::Subscribe;
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for (at, item) in items(verb, data, limits)?.into_iter().enumerate() {
        let wrong = |what: &dyn fmt::Display| verb.wrong(format_args!("item {} {what}", at + 1));
        let fields = object(item, &SUBSCRIPTION).map_err(|kind| wrong(&format_args!("is {kind}")))?;
        let [channel, since, last, presence] = fields.present();
        let name = name_of(channel, &fields).map_err(|what| wrong(&what))?;
        once(&mut names, &name)?;
        let wanted = || {
            check_names(&fields, &SUBSCRIPTION)?;
            let (channel, position) = (asked_name(&name)?, position(since, last)?);
            Ok(Wanted { channel, position, presence: presence.map_or(Ok(false), truth)? })
        };
        all.push(wanted().map_err(|kind| of_channel(reference, &name, kind)));
    }
    Ok(all)
}

fn unsubscribe(
    data: &str,
    reference: &Option<Reference>,
    limits: &Limits,
) -> Result<Vec<Result<ChannelName, Fault>>, FaultKind> {
    let verb = Verb::Unsubscribe;
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for (at, item) in items(verb, data, limits)?.into_iter().enumerate() {
        let not_text = || verb.wrong(format_args!("item {} is {}", at + 1, json::kind(item)));
        let name = json::text(item).ok_or_else(not_text)?;
        once(&mut names, &name)?;
        all.push(asked_name(&name).map_err(|kind| of_channel(reference, &name, kind)));
    }
    Ok(all)
}

fn history<'a>(data: &str) -> Result<Command<'a>, Wrong> {
    const NAMES: [&str; 3] = ["channel", "since", "last"];
    let verb = Verb::History;
    let fields = object(data, &NAMES).map_err(|_| verb.wrong_data())?;
    let [channel, since, last] = fields.present();
    let name = name_of(channel, &fields).map_err(|what| verb.wrong(format_args!("it {what}")))?;
    let read = || {
        check_names(&fields, &NAMES)?;
        let channel = channel_name(&name)?;
        let position = position(since, last)?.ok_or_else(|| verb.wrong("it has neither since nor last"))?;
        Ok(Command::History { channel, position })
    };
    read().map_err(|kind| Wrong { channel: Some(name.to_string()), kind })
}

fn presence<'a>(data: &str) -> Result<Command<'a>, Wrong> {
    const NAMES: [&str; 1] = ["channel"];
    let verb = Verb::Presence;
    let fields = object(data, &NAMES).map_err(|_| verb.wrong_data())?;
    let [channel] = fields.present();
    let name = name_of(channel, &fields).map_err(|what| verb.wrong(format_args!("it {what}")))?;
    let read = || {
        check_names(&fields, &NAMES)?;
        Ok(Command::Presence { channel: channel_name(&name)? })
    };
    read().map_err(|kind| Wrong { channel: Some(name.to_string()), kind })
}

fn authorize(data: &str) -> Result<Command<'_>, FaultKind> {
    const NAMES: [&str; 1] = ["token"];
    let verb = Verb::Authorize;
    let fields = object(data, &NAMES).map_err(|_| verb.wrong_data())?;
    check_names(&fields, &NAMES)?;
    let [token] = fields.present();
    let token = token.and_then(json::text).filter(|token| !token.is_empty());
    Ok(Command::Authorize { token: token.ok_or_else(|| verb.wrong("it has no token"))? })
}

/// The values of an envelope that is to be published.
struct Publication<'a> {
    channel: Option<&'a str>,
    event: Option<Cow<'a, str>>,
    key: Option<&'a str>,
    encoding: Option<&'a str>,
    data: Option<&'a str>,
}

fn publication(envelope: Publication<'_>) -> Result<Command<'_>, Wrong> {
    let Publication { channel, event, key, encoding, data } = envelope;
    let name = channel.and_then(json::text).ok_or_else(|| {
        bad(format!(
            "The message names no channel; to publish is {PUBLICATION}, and commands have events like fanfare:subscribe"
        ))
    })?;
    let read = || {
        let (content, data) = payload(data, encoding)?;
        Ok(Message {
            channel: channel_name(&name)?,
            event: event.as_deref().map(EventName::new).transpose().map_err(FaultKind::Event)?,
            content,
            data,
            key: key.map(publication_key).transpose()?,
        })
    };
    read().map(Command::Publish).map_err(|kind| Wrong { channel: Some(name.to_string()), kind })
}

pub(super) fn payload<'a>(
    data: Option<&'a str>,
    encoding: Option<&str>,
) -> Result<(Content, Cow<'a, [u8]>), FaultKind> {
    let data = data.ok_or_else(|| bad(format!("The message has no data; to publish is {PUBLICATION}")))?;
    let text = json::text(data);
    if let Some(encoding) = encoding {
        let is_base64 = json::text(encoding).is_some_and(|encoding| encoding == "base64");
        if !is_base64 {
            return Err(bad("encoding is \"base64\", or left out".to_owned()));
        }
        let text =
            text.ok_or_else(|| bad(format!("data in base64 is a string, not {}", json::kind(data))))?;
        let not_base64 = |why: String| {
            bad(format!("data is not base64 (RFC 4648 §4, padded): {}", why.trim_end_matches('.')))
        };
        let bytes = STANDARD.decode(text.as_bytes()).map_err(|why| not_base64(why.to_string()))?;
        return Ok((Content::Binary, bytes.into()));
    }
    Ok(match text {
        Some(Cow::Borrowed(text)) => (Content::Text, text.as_bytes().into()),
        Some(Cow::Owned(text)) => (Content::Text, text.into_bytes().into()),
        None => (Content::Json, data.as_bytes().into()),
    })
}

pub(super) fn publication_key(key: &str) -> Result<Cow<'_, str>, FaultKind> {
    let is_key = |key: &Cow<'_, str>| {
        (1..=KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic())
    };
    let wrong = || bad(format!("key is 1 to {KEY_LEN_MAX} visible ASCII characters, such as a UUID"));
    json::text(key).filter(is_key).ok_or_else(wrong)
}

/// The items of a command's list: at least one, and not more than a command may have.
fn items<'a>(verb: Verb, data: &'a str, limits: &Limits) -> Result<Vec<&'a str>, FaultKind> {
    let list = Some(data).filter(|data| json::kind(data) == Kind::List);
    let items = list.and_then(|list| Items::read(list, limits.channels_max).ok());
    let Items { first, len } = items.ok_or_else(|| verb.wrong_data())?;
    if len > limits.channels_max {
        return Err(FaultKind::TooManyListed(len, limits.channels_max));
    }
    if len == 0 { Err(verb.wrong("it names no channel")) } else { Ok(first) }
}

/// The values of an object; the error is what it is instead.
fn object<'a, const N: usize>(value: &'a str, names: &[&'static str; N]) -> Result<Fields<'a, N>, Kind> {
    let kind = json::kind(value);
    let object = Some(value).filter(|_| kind == Kind::Object);
    object.and_then(|object| Fields::read(object, names).ok()).ok_or(kind)
}

/// The channel that an object names; the error is what the object does instead.
fn name_of<'a, const N: usize>(
    channel: Option<&'a str>,
    fields: &Fields<'_, N>,
) -> Result<Cow<'a, str>, &'static str> {
    if fields.is_twice(CHANNEL) {
        return Err("has channel twice");
    }
    let channel = channel.ok_or("has no channel")?;
    json::text(channel).ok_or("has a channel that is no string")
}

/// Checks that an object has each of the names once, and no other.
fn check_names<const N: usize>(fields: &Fields<'_, N>, names: &[&str; N]) -> Result<(), FaultKind> {
    if let Some(twice) = fields.twice() {
        return Err(bad(format!("{twice} comes twice")));
    }
    match &fields.unknown {
        Some(unknown) => Err(bad(format!("{} is none of {}", excerpt(unknown), names.join(", ")))),
        None => Ok(()),
    }
}

/// The name of what a client reads, that of the server's own channels too: whether it may is not known here.
fn asked_name(name: &str) -> Result<ChannelName, FaultKind> {
    ChannelName::asked(name).map_err(FaultKind::Channel)
}

pub(super) fn channel_name(name: &str) -> Result<ChannelName, FaultKind> {
    let channel = ChannelName::new(name).map_err(FaultKind::Channel)?;
    if channel.is_reserved() { Err(FaultKind::Reserved) } else { Ok(channel) }
}

/// Each channel gets one answer: named twice, it would get two.
fn once(names: &mut BTreeSet<String>, name: &str) -> Result<(), FaultKind> {
    if names.insert(name.to_owned()) {
        return Ok(());
    }
    Err(bad(format!("Channel {} is listed twice; list each once", excerpt(name))))
}

fn position(since: Option<&str>, last: Option<&str>) -> Result<Option<Position>, FaultKind> {
    match (since, last) {
        (Some(_), Some(_)) => Err(bad("Give since or last, not both".to_owned())),
        (Some(since), None) => after(since).map(Some),
        (None, Some(last)) => match last.parse() {
            Ok(count) => Ok(Some(Position::Last(count))),
            Err(_) => Err(bad("last is a number of publications, such as 10".to_owned())),
        },
        (None, None) => Ok(None),
    }
}

fn after(since: &str) -> Result<Position, FaultKind> {
    let position = json::text(since).and_then(|id| match &*id {
        "" => Some(Position::Now),
        id => id.parse().ok().map(Position::After),
    });
    position.ok_or_else(|| {
        bad("since is the id of a publication, such as 8c1f5d0e7a21-7, or empty for from now on".to_owned())
    })
}

fn truth(presence: &str) -> Result<bool, FaultKind> {
    presence.parse().map_err(|_| bad("presence is true or false".to_owned()))
}

fn of_channel(reference: &Option<Reference>, channel: &str, kind: FaultKind) -> Fault {
    Fault { reference: reference.clone(), channel: Some(channel.to_owned()), kind }
}

fn bad(why: String) -> FaultKind {
    FaultKind::BadCommand(why)
}

/// The longest part of a name that a sentence quotes, in characters.
const EXCERPT_LEN_MAX: usize = 50;

pub(super) fn excerpt(name: &str) -> String {
    match name.char_indices().nth(EXCERPT_LEN_MAX) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
