//! What a signed request of the HTTP API asks for: its path, parameters and body as a [`Call`], with every rule of section
//! 5.3 of the protocol checked that can be checked without the channels themselves.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::invalid::{BATCH_MAX, CHANNELS_MAX, Invalid};
use super::parameters::{Parameters, Twice};
use crate::hub::EventName;
use crate::pusher::app::App;
use crate::pusher::channel::Name;
use crate::pusher::session::{InvalidSocketId, SocketId};

/// Event names that the server itself sends begin with one of these.
const RESERVED_EVENTS: [&str; 2] = ["pusher:", "pusher_internal:"];

/// How many bytes of JSON a byte of text takes at most: a control character is `\u0000`.
const ESCAPED_LEN_MAX: u64 = 6;

/// What an event has besides its data, in bytes of JSON: 100 names of 200 bytes in an array, the event's name with each
/// character escaped, and room for white space and parameters that are not known here.
const EVENT_REST_LEN_MAX: u64 = 32 * 1024;

/// What is asked for besides the endpoint: nothing, or `{}`.
const EMPTY_BODY_LEN_MAX: u64 = 1024;

/// An endpoint, and what its path names. Names are as the path has them: they are checked after the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `POST /apps/{id}/events`
    Events,
    /// `POST /apps/{id}/batch_events`
    BatchEvents,
    /// `GET /apps/{id}/channels`
    Channels,
    /// `GET /apps/{id}/channels/{channel}`
    Channel(String),
    /// `GET /apps/{id}/channels/{channel}/users`
    Users(String),
    /// `POST /apps/{id}/users/{user}/terminate_connections`
    Terminate(String),
    /// `POST /apps/{id}/channels/{channel}/events`, deprecated in 2012.
    ChannelEvents(String),
    /// `GET /apps/{id}/channels/{channel}/stats`, deprecated in 2012.
    Stats(String),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Call {
    /// Publish an event.
    Publish(Trigger),
    /// Publish events, each to one channel, in this order.
    PublishBatch(Vec<Trigger>),
    /// Publish an event; the answer is 202 and says nothing. Deprecated.
    PublishTo(Trigger),
    /// Which channels of the app have subscribers.
    Channels {
        /// What their names begin with; empty: all.
        prefix: String,
        /// What is said of each.
        info: Info,
    },
    /// The state of one channel.
    Channel {
        /// The channel.
        name: Name,
        /// What is said of it besides whether it has subscribers.
        info: Info,
    },
    /// The state of one channel with all counts. Deprecated.
    Stats(Name),
    /// Who is in a presence channel.
    Users(Name),
    /// Close the connections of a user: the identifier. It has the alphabet of channel names.
    Terminate(Box<str>),
}

/// An event that is to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// The name of the event.
    pub event: EventName,
    /// The data as text. If a library sent a JSON value where a string belongs, the text of that value: hosted Pusher
    /// refuses it, but what is meant is not in doubt, and no library reads it otherwise.
    pub data: String,
    /// The channels, 1 to 100, each once; more than one only if none is encrypted.
    pub channels: Vec<Name>,
    /// The connection that is not to receive it.
    pub socket_id: Option<SocketId>,
    /// What the publisher wants to know of each channel; `None` if it did not ask. `user_count` applies to the presence
    /// channels among them.
    pub info: Option<Info>,
}

/// Which attributes of a channel are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// The number of users in a presence channel.
    pub user_count: bool,
    /// The number of subscribers, of connections that is.
    pub subscription_count: bool,
    /// The kept event of a cache channel.
    pub cache: bool,
}

impl Endpoint {
    /// How long a body of it can be within the limits of the app, in bytes. 0: it has none.
    #[must_use]
    pub fn body_len_max(&self, app: &App) -> u64 {
        let data = app.max_event as u64;
        let event = data * ESCAPED_LEN_MAX + EVENT_REST_LEN_MAX;
        match self {
            Self::Events => event,
            Self::BatchEvents => event * BATCH_MAX as u64,
            Self::ChannelEvents(_) => data,
            Self::Terminate(_) => EMPTY_BODY_LEN_MAX,
            Self::Channels | Self::Channel(_) | Self::Users(_) | Self::Stats(_) => 0,
        }
    }

    /// The channel whose state is asked for, if it is one's.
    #[must_use]
    pub fn looks_into(&self) -> Option<Name> {
        match self {
            Self::Channel(channel) | Self::Users(channel) | Self::Stats(channel) => name(channel).ok(),
            Self::Events
            | Self::BatchEvents
            | Self::Channels
            | Self::Terminate(_)
            | Self::ChannelEvents(_) => None,
        }
    }

    /// Why a body longer than [`Endpoint::body_len_max`] is refused.
    #[must_use]
    pub fn body_too_long(&self, app: &App) -> Invalid {
        Invalid::BodyTooLong { len_max: self.body_len_max(app) }
    }

    /// What a request for the endpoint with these parameters, which are signed, and this body asks for.
    ///
    /// # Errors
    /// Says which rule of the endpoint the request breaks.
    pub fn call(&self, parameters: &Parameters, body: &[u8], app: &App) -> Result<Call, Invalid> {
        match self {
            Self::Events => Fields::of(body, parameters)?.trigger(app).map(Call::Publish),
            Self::BatchEvents => batch(body, app).map(Call::PublishBatch),
            Self::ChannelEvents(channel) => raw_event(channel, parameters, body, app).map(Call::PublishTo),
            Self::Channels => channels(parameters),
            Self::Channel(channel) => {
                let name = name(channel)?;
                let info = info_of(parameters)?.checked_for(&name)?;
                Ok(Call::Channel { name, info })
            }
            Self::Stats(channel) => name(channel).map(Call::Stats),
            Self::Users(channel) => {
                let name = name(channel)?;
                if name.kind().is_presence() { Ok(Call::Users(name)) } else { Err(Invalid::NotPresence) }
            }
            Self::Terminate(user) => match Name::of_user(user) {
                Ok(_) => Ok(Call::Terminate(user.as_str().into())),
                Err(why) => Err(Invalid::User { sent: user.clone(), why }),
            },
        }
    }
}

/// An event as a library sends it. Data is a string, which is taken out of the body in one pass; any other JSON, which few
/// send, is found in a second one, as a `RawValue`.
#[derive(Default, Deserialize)]
struct Fields<D> {
    name: Option<String>,
    data: Option<D>,
    channel: Option<String>,
    channels: Option<Vec<String>>,
    socket_id: Option<String>,
    info: Option<String>,
}

#[derive(Deserialize)]
struct Batch<D> {
    batch: Vec<Fields<D>>,
}

impl Fields<&RawValue> {
    /// The same with data that is the JSON text, as it was sent.
    fn into_text(self) -> Result<Fields<String>, Invalid> {
        let Self { name, data, channel, channels, socket_id, info } = self;
        let data = data.map(data_text).transpose()?;
        Ok(Fields { name, data, channel, channels, socket_id, info })
    }
}

impl Fields<String> {
    /// Those of the body; what it does not give may be in the query: "these parameters may be provided in the query string,
    /// although this is discouraged".
    fn of(body: &[u8], parameters: &Parameters) -> Result<Self, Invalid> {
        let mut fields = match parse(body) {
            _ if body.is_empty() => Self::default(),
            Ok(fields) => fields,
            Err(_) => parse::<Fields<&RawValue>>(body)?.into_text()?,
        };
        let or = |field: Option<String>, name| match field {
            Some(value) => Ok(Some(value)),
            None => text_of(parameters, name),
        };
        fields.name = or(fields.name, "name")?;
        fields.socket_id = or(fields.socket_id, "socket_id")?;
        fields.info = or(fields.info, "info")?;
        if fields.data.is_none() {
            fields.data = text_of(parameters, "data")?;
        }
        if fields.channel.is_none() && fields.channels.is_none() {
            fields.channel = text_of(parameters, "channel")?;
            let names = parameters.all("channels").map(|name| utf8(name, "channels"));
            let names = names.collect::<Result<Vec<_>, _>>()?;
            fields.channels = Some(names).filter(|names| !names.is_empty());
        }
        Ok(fields)
    }

    fn trigger(self, app: &App) -> Result<Trigger, Invalid> {
        let event = event_name(self.name.as_deref().ok_or(Invalid::Missing("name"))?)?;
        let names = match (self.channel, self.channels) {
            (Some(_), Some(_)) => return Err(Invalid::ChannelAndChannels),
            (Some(name), None) => vec![name],
            (None, Some(names)) if !names.is_empty() => names,
            (None, Some(_) | None) => return Err(Invalid::Missing("channels")),
        };
        let channels = distinct(&names)?;
        let data = self.data.ok_or(Invalid::Missing("data"))?;
        check_data(&data, app)?;
        let socket_id = self.socket_id.map(socket_id).transpose()?;
        let info = self.info.as_deref().map(|list| Info::parse([list], EVENT_ATTRIBUTES)).transpose()?;
        Ok(Trigger { event, data, channels, socket_id, info })
    }
}

fn batch(body: &[u8], app: &App) -> Result<Vec<Trigger>, Invalid> {
    let batch = match parse::<Batch<String>>(body) {
        Ok(Batch { batch }) => batch,
        Err(_) => {
            let Batch { batch } = parse::<Batch<&RawValue>>(body)?;
            batch.into_iter().map(Fields::into_text).collect::<Result<_, _>>()?
        }
    };
    if batch.len() > BATCH_MAX {
        return Err(Invalid::TooManyEvents(batch.len()));
    }
    batch
        .into_iter()
        .map(|fields| match fields.channel {
            Some(_) => fields.trigger(app),
            None => Err(Invalid::Missing("channel")),
        })
        .collect()
}

/// The deprecated way: the name in the query, and the body is the data as it is.
fn raw_event(channel: &str, parameters: &Parameters, body: &[u8], app: &App) -> Result<Trigger, Invalid> {
    let event = event_name(&text_of(parameters, "name")?.ok_or(Invalid::Missing("name"))?)?;
    let data = utf8(body, "body")?;
    check_data(&data, app)?;
    let socket_id = text_of(parameters, "socket_id")?.map(socket_id).transpose()?;
    Ok(Trigger { event, data, channels: vec![name(channel)?], socket_id, info: None })
}

fn channels(parameters: &Parameters) -> Result<Call, Invalid> {
    let prefix = text_of(parameters, "filter_by_prefix")?.unwrap_or_default();
    let info = info_of(parameters)?;
    if info.cache {
        return Err(Invalid::Attribute { sent: "cache".to_owned(), known: EVENT_ATTRIBUTES });
    }
    if info.user_count && !prefix.starts_with("presence-") {
        return Err(Invalid::UserCount);
    }
    Ok(Call::Channels { prefix, info })
}

/// What an event, and a list of channels, may be asked for.
const EVENT_ATTRIBUTES: &str = "user_count, subscription_count";

/// What one channel may be asked for.
const CHANNEL_ATTRIBUTES: &str = "user_count, subscription_count, cache";

impl Info {
    /// From comma lists.
    fn parse<'a>(lists: impl IntoIterator<Item = &'a str>, known: &'static str) -> Result<Self, Invalid> {
        let mut info = Self::default();
        let attributes = lists.into_iter().flat_map(|list| list.split(',')).map(str::trim);
        for attribute in attributes.filter(|attribute| !attribute.is_empty()) {
            match attribute {
                "user_count" => info.user_count = true,
                "subscription_count" => info.subscription_count = true,
                "cache" if known == CHANNEL_ATTRIBUTES => info.cache = true,
                _ => return Err(Invalid::Attribute { sent: attribute.to_owned(), known }),
            }
        }
        Ok(info)
    }

    /// The same, if the channel has all of it.
    fn checked_for(self, name: &Name) -> Result<Self, Invalid> {
        if self.user_count && !name.kind().is_presence() {
            return Err(Invalid::UserCount);
        }
        if self.cache && !name.kind().is_cache {
            return Err(Invalid::NotCache);
        }
        Ok(self)
    }
}

fn info_of(parameters: &Parameters) -> Result<Info, Invalid> {
    let lists = parameters.all("info").map(|list| utf8(list, "info"));
    let lists = lists.collect::<Result<Vec<_>, _>>()?;
    Info::parse(lists.iter().map(String::as_str), CHANNEL_ATTRIBUTES)
}

/// The names, each once. The number that is bounded is that which was sent.
fn distinct(names: &[String]) -> Result<Vec<Name>, Invalid> {
    if names.len() > CHANNELS_MAX {
        return Err(Invalid::TooManyChannels(names.len()));
    }
    let mut channels = Vec::with_capacity(names.len());
    for sent in names {
        let name = name(sent)?;
        if !channels.contains(&name) {
            channels.push(name);
        }
    }
    match channels.iter().find(|name| name.kind().is_encrypted) {
        Some(encrypted) if channels.len() > 1 => Err(Invalid::Encrypted(encrypted.as_str().to_owned())),
        Some(_) | None => Ok(channels),
    }
}

fn name(sent: &str) -> Result<Name, Invalid> {
    Name::new(sent).map_err(|why| Invalid::Channel { sent: sent.to_owned(), why })
}

fn event_name(sent: &str) -> Result<EventName, Invalid> {
    if RESERVED_EVENTS.iter().any(|prefix| sent.starts_with(prefix)) {
        return Err(Invalid::EventReserved(sent.to_owned()));
    }
    EventName::new(sent).map_err(|why| Invalid::Event { sent: sent.to_owned(), why })
}

fn socket_id(sent: String) -> Result<SocketId, Invalid> {
    sent.parse().map_err(|InvalidSocketId| Invalid::SocketId(sent))
}

fn data_text(json: &RawValue) -> Result<String, Invalid> {
    if json.get().starts_with('"') { parse(json.get().as_bytes()) } else { Ok(json.get().to_owned()) }
}

fn check_data(data: &str, app: &App) -> Result<(), Invalid> {
    if data.len() > app.max_event {
        return Err(Invalid::DataTooLong { len: data.len(), len_max: app.max_event });
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, Invalid> {
    serde_json::from_slice(json).map_err(|error| Invalid::Body(error.to_string()))
}

fn text_of(parameters: &Parameters, name: &'static str) -> Result<Option<String>, Invalid> {
    let value = parameters.one(name).map_err(|Twice| Invalid::Twice(name))?;
    value.map(|value| utf8(value, name)).transpose()
}

fn utf8(bytes: &[u8], what: &'static str) -> Result<String, Invalid> {
    str::from_utf8(bytes).map(str::to_owned).map_err(|_| Invalid::NotUtf8(what))
}

#[cfg(test)]
#[path = "call_tests.rs"]
mod tests;
