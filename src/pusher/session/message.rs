//! What clients send, taken from JSON: messages, and the data that an app's server signed for them.
//!
//! Whether a signature is right is not known here. Nesting costs no stack: values that are passed on stay text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::pusher::error::WATCHLIST_LEN_MAX;
use crate::pusher::{Error, Member, Name};

/// The longest identifier of a member, in characters, as hosted Pusher has it.
const MEMBER_ID_LEN_MAX: usize = 128;

/// One message: an object with a string `event`. A name that comes twice is an error.
#[derive(Deserialize)]
pub struct Message<'a> {
    #[serde(borrow)]
    pub event: Cow<'a, str>,
    #[serde(borrow)]
    channel: Option<&'a RawValue>,
    #[serde(borrow)]
    pub data: Option<&'a RawValue>,
}

/// The data of `pusher:subscribe` and `pusher:unsubscribe`.
#[derive(Debug, Deserialize)]
pub struct Subscription {
    pub channel: String,
    pub auth: Option<String>,
    pub channel_data: Option<String>,
}

/// The data of `pusher:signin`.
#[derive(Deserialize)]
pub struct SignIn {
    pub auth: String,
    pub user_data: String,
}

/// A user that signs in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its identifier: 1 to 200 characters of the alphabet of channel names.
    pub id: Box<str>,
    /// The signed `user_data` as it came: JSON.
    pub data: Box<str>,
    /// The `user_info` in it: one JSON value as it was signed, `None` if there is none or `null`.
    pub info: Option<Box<str>>,
    /// The users that it watches, if the app has watchlists: at most 100, each once.
    pub watchlist: Vec<Box<str>>,
}

impl<'a> Message<'a> {
    pub fn parse(text: &'a str) -> Result<Self, Error> {
        object(text).map_err(Error::Malformed)
    }

    /// The channel of a client event.
    pub fn channel(&self) -> Result<String, Error> {
        let channel = self.channel.ok_or_else(|| missing("channel"))?;
        serde_json::from_str(channel.get()).map_err(|error| Error::Malformed(format!("channel: {error}")))
    }

    /// The data as an object, which some clients send as a string of JSON.
    fn object<T: for<'b> Deserialize<'b>>(&self) -> Result<T, Error> {
        let data = self.data.ok_or_else(|| missing("data"))?.get();
        let inner = if data.starts_with('"') {
            serde_json::from_str(data)
                .map_err(|error| error.to_string())
                .and_then(|text: String| object(&text))
        } else {
            object(data)
        };
        inner.map_err(|why| Error::Malformed(format!("data: {why}")))
    }
}

impl Subscription {
    /// An empty signature is none, and so is empty `channel_data`.
    pub fn parse(message: &Message<'_>) -> Result<Self, Error> {
        let Self { channel, auth, channel_data } = message.object()?;
        let is_some = |text: &String| !text.is_empty();
        Ok(Self { channel, auth: auth.filter(is_some), channel_data: channel_data.filter(is_some) })
    }
}

impl SignIn {
    pub fn parse(message: &Message<'_>) -> Result<Self, Error> {
        message.object()
    }
}

/// Who the `channel_data` of a subscription names: `{"user_id":…,"user_info":…}`.
pub fn member(channel_data: &str) -> Result<Member, Error> {
    #[derive(Deserialize)]
    struct ChannelData<'a> {
        #[serde(borrow)]
        user_id: &'a RawValue,
        #[serde(borrow)]
        user_info: Option<&'a RawValue>,
    }
    let data: ChannelData<'_> = object(channel_data).map_err(Error::InvalidMember)?;
    let user_id = id(data.user_id).map_err(|why| Error::InvalidMember(format!("user_id: {why}")))?;
    if user_id.is_empty() || user_id.chars().count() > MEMBER_ID_LEN_MAX {
        let why = format!("a user_id has 1 to {MEMBER_ID_LEN_MAX} characters");
        return Err(Error::InvalidMember(why));
    }
    Ok(Member { user_id: user_id.into(), user_info: data.user_info.map(|info| info.get().into()) })
}

/// The user that the `user_data` of a sign-in names, and the length of the watchlist as it came.
pub fn user(user_data: String, has_watchlist: bool) -> Result<(User, usize), Error> {
    #[derive(Deserialize)]
    struct UserData<'a> {
        id: String,
        #[serde(borrow)]
        user_info: Option<&'a RawValue>,
        #[serde(borrow)]
        watchlist: Option<&'a RawValue>,
    }
    let invalid = |why: String| Error::InvalidUser(why);
    let data: UserData<'_> = object(&user_data).map_err(invalid)?;
    Name::of_user(&data.id).map_err(|why| Error::InvalidUser(format!("id: {why}")))?;
    let listed = data.watchlist.filter(|_| has_watchlist);
    let (watchlist, len) = listed.map_or(Ok((Vec::new(), 0)), |list| {
        watchlist(list).map_err(|why| Error::InvalidUser(format!("watchlist: {why}")))
    })?;
    let info = data.user_info.map(|info| info.get().into());
    Ok((User { id: data.id.into(), info, watchlist, data: user_data.into() }, len))
}

/// The first users of a watchlist, each once, and its length as it came.
fn watchlist(list: &RawValue) -> Result<(Vec<Box<str>>, usize), String> {
    let all: Vec<&RawValue> = serde_json::from_str(list.get()).map_err(|error| error.to_string())?;
    let mut kept: Vec<Box<str>> = Vec::new();
    for value in all.iter().take(WATCHLIST_LEN_MAX) {
        let user = id(value)?;
        Name::of_user(&user).map_err(|why| why.to_string())?;
        if kept.iter().all(|other| **other != *user) {
            kept.push(user.into());
        }
    }
    Ok((kept, all.len()))
}

/// An identifier as text: a string, or a number as it is written.
fn id(value: &RawValue) -> Result<String, String> {
    let text = value.get();
    if text.starts_with('"') {
        return serde_json::from_str(text).map_err(|error| error.to_string());
    }
    if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Ok(text.to_owned());
    }
    Err("it is neither a string nor a number".to_owned())
}

/// How long the data of an event is, in bytes: of a string what it says, not how it is escaped. Data that is short enough
/// as it is written is not looked at.
pub fn data_len(json: &str, len_max: usize) -> usize {
    if json.len() <= len_max || !json.starts_with('"') {
        return json.len();
    }
    serde_json::from_str::<Cow<'_, str>>(json).map_or(json.len(), |text| text.len())
}

/// Reads an object. (A structure could be read from a list too, which is none of the protocol's messages.)
fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        return Err("it is not a JSON object".to_owned());
    }
    let object = serde_json::from_str(text).map_err(|error| error.to_string())?;
    // Values that are passed on as they came would otherwise reach clients whose JSON reader refuses them.
    if has_lone_surrogate(text) {
        return Err("it has one half of a surrogate pair, which is no character".to_owned());
    }
    Ok(object)
}

/// Whether JSON has an escape `\uD800` to `\uDFFF` without its other half (RFC 8259 §8.2).
fn has_lone_surrogate(json: &str) -> bool {
    let mut rest = json;
    while let Some((_, escape)) = rest.split_once('\\') {
        match unit(escape) {
            Some(0xd800..0xdc00) => {
                let low = escape[5..].strip_prefix('\\').and_then(unit);
                if !matches!(low, Some(0xdc00..0xe000)) {
                    return true;
                }
                rest = &escape[11..];
            }
            Some(0xdc00..0xe000) => return true,
            // The character after the backslash may be one itself.
            _ => rest = escape.char_indices().nth(1).map_or("", |(at, _)| &escape[at..]),
        }
    }
    false
}

/// The UTF-16 unit of an escape `uXXXX`, if it is one.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix('u')?.get(..4)?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

fn missing(field: &str) -> Error {
    Error::Malformed(format!("missing field `{field}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_surrogate_pair_is_found_and_a_whole_one_and_an_escaped_backslash_are_none() {
        for text in
            [r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"\\ud800"}"#, r#"{"a":"\u00e9\n\\"}"#, "{}", r#"{"a":"\"#]
        {
            assert!(!has_lone_surrogate(text), "{text}");
        }
        for text in [
            r#"{"a":"\ud800"}"#,
            r#"{"a":"\ude00"}"#,
            r#"{"a":"\ud83d\ud83d"}"#,
            r#"{"a":"\\\uD800x"}"#,
            r#"{"a":"\ud83d"#,
        ] {
            assert!(has_lone_surrogate(text), "{text}");
        }
    }
}
