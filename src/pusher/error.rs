//! What a client is told when something is wrong: code, sentence, and the messages that carry them (section 3).
//!
//! Where a fault is noticed is not known here; answers of the HTTP API are `rest`'s.

use std::fmt;
use std::num::NonZeroU32;

use super::{InvalidName, event};
use crate::hub::InvalidEventName;

/// What a sentence quotes is cut to this length in bytes. A text that was to be signed has a name of 200 bytes and a member
/// with 1 KiB of info.
const QUOTED_LEN_MAX: usize = 2000;

/// The users of a watchlist that are watched (4.10).
pub const WATCHLIST_LEN_MAX: usize = 100;

/// Of each fault: its code; where it refuses a subscription, the type and the status of `pusher:subscription_error`; what it
/// carries; and its sentence.
macro_rules! errors {
    ($(
        $(#[$doc:meta])*
        [$code:tt $($kind:literal $status:literal)?] $name:ident $(($($field:ident: $type:ty),+))? $sentence:literal
    )*) => {
        /// What is wrong, of the client, its app or the server. `Display` is the sentence that the client is told; as the
        /// reason of a Close frame it may have to be cut.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Error {
            $($(#[$doc])* $name $(($($type),+))?,)*
        }

        impl Error {
            /// The code, `None` where the client is told `null`.
            #[must_use]
            pub fn code(&self) -> Option<u16> {
                match self {
                    $(Self::$name { .. } => errors!(@code $code),)*
                }
            }

            /// The type and the status of `pusher:subscription_error`, if the fault refuses a subscription.
            fn refusal(&self) -> Option<(&'static str, u16)> {
                match self {
                    $(Self::$name { .. } => errors!(@refusal $($kind $status)?),)*
                }
            }
        }

        impl fmt::Display for Error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $(($($field),+))? => {
                        $($(let $field = Quoted($field);)+)?
                        write!(f, $sentence)
                    })*
                }
            }
        }
    };
    (@code null) => { None };
    (@code $code:literal) => { Some($code) };
    (@refusal) => { None };
    (@refusal $kind:literal $status:literal) => { Some(($kind, $status)) };
}

errors! {
    /// No app has this key.
    [4001] AppUnknown(key: String) "There is no app with the key '{key}' here: check key and host"
    /// The app is disabled.
    [4003] AppDisabled "The app is disabled"
    /// The app has as many connections as its configuration allows; its clients are not to try again.
    [4004] OverQuota "The app is over its quota of connections"
    /// The path of the request is none of the protocol's.
    [4005] Path "The path is none of the protocol's: connect to /app/KEY"
    /// The parameter `protocol` is not a number.
    [4006] Version(text: String) "Invalid version string: '{text}' is not a number; send protocol=7"
    /// The version of the protocol is none that is spoken here.
    [4007] Protocol(text: String) "Unsupported protocol version {text}: supported are 4 to 7"
    /// The parameter `protocol` is empty.
    [4008] NoProtocol "No protocol version supplied: send protocol=7"
    /// The connection may not go on, for this reason.
    [4009] Unauthorized(reason: String) "{reason}"
    /// The server is full at present.
    [4100] OverCapacity "The server is over capacity: try again later"
    /// The client does not take its messages as they come, and has more of them unread than the server keeps.
    [4100] Lagged "The connection is too slow: it has too many unread messages"
    /// The server is about to stop.
    [4200] Restart "The server restarts: reconnect"
    /// The client did not answer `pusher:ping`.
    [4201] NoPong "Pong reply not received: a ping was sent to the client, and nothing came"
    /// The connection was idle for too long.
    [4202] Idle "Closed after inactivity: reconnect"
    /// More client events in a second than this.
    [4301] ClientEventRate(rate: NonZeroU32) "Client event rejected: over the limit of {rate} client events a second"
    /// A client event in this channel, which is encrypted, where that is not configured.
    [4301] ClientEventEncrypted(channel: String) "Client event rejected: {channel} is encrypted, and takes none"
    /// A client event that the program around the server refuses, with its sentence.
    [4301] ClientEventRefused(sentence: String) "Client event rejected: {sentence}"
    /// This number of users in a watchlist.
    [4302] Watchlist(len: usize) "The watchlist has {len} users: only the first {WATCHLIST_LEN_MAX} are watched"
    /// The message is none of the protocol's, for this reason.
    [null] Malformed(reason: String)
        "Malformed message: {reason}; a message is a JSON object like {{\"event\":\"pusher:ping\",\"data\":{{}}}}"
    /// A binary message.
    [null] Binary "Binary messages are not supported: send JSON as text"
    /// An event that clients do not send.
    [null] Unsupported(event: String) "Unsupported event received on socket: {event}"
    /// The name of a client event breaks this rule.
    [null] EventName(why: InvalidEventName) "Client event rejected: {why}"
    /// The name of a channel, and what is wrong with it.
    [null "InvalidChannel" 400] InvalidChannel(channel: String, why: InvalidName) "Invalid channel name '{channel}': {why}"
    /// A subscription to this channel has no signature, and needs one.
    [null "AuthError" 401] NoAuth(channel: String)
        "Subscription to {channel} needs a signature: have the app's server sign it, and send it as auth"
    /// The first half of a signature is this, which is not the app's key.
    [null "AuthError" 401] InvalidKey(purpose: Purpose, key: String)
        "Invalid key in {purpose} auth data: '{key}'; auth is KEY:SIGNATURE, with the key of the connection"
    /// The text that had to be signed, and the second half of a signature, which is not its digest by any secret of the app's.
    [null "AuthError" 401] InvalidSignature(expected: String, got: String)
        "Invalid signature: Expected HMAC SHA256 hex digest of {expected}, but got {got}"
    /// A subscription to this presence channel does not say who the member is.
    [null "AuthError" 401] NoMember(channel: String)
        "Subscription to {channel} needs channel_data with a user_id, or a signed-in user"
    /// The `channel_data` of a subscription names no member, for this reason.
    [null "InvalidData" 400] InvalidMember(why: String) "Invalid channel_data: {why}"
    /// The length of a member's info, and the limit, in bytes.
    [null "LimitReached" 413] UserInfoTooLarge(len: usize, len_max: usize)
        "The user_info has {len} bytes, {len_max} at most are allowed"
    /// This channel is that of a user who is not the connection's.
    [null "AuthError" 401] NotTheUser(channel: String)
        "{channel} is the channel of a signed-in user, and this connection is not signed in as that user"
    /// This channel needs no signature, and the server's rules do not let everybody read it.
    [null "AuthError" 403] NotOpen(channel: String)
        "{channel} is not open to everybody: the server's --auth says so; use private-{channel}, with a signature of the app's"
    /// This channel cannot be reached at this time: what all nodes of the server share is away.
    [null "Unavailable" 503] Unavailable(channel: String)
        "The channel {channel} cannot be reached at this time: subscribe again in a second"
    /// A limit of the app's is reached.
    [null "LimitReached" 4004] LimitReached(limit: Limit) "{limit}"
    /// The connection has subscribed to this channel already.
    [null] Existing(channel: String) "Existing subscription to channel {channel}"
    /// The connection has not subscribed to this channel, and cannot unsubscribe.
    [null] NotSubscribed(channel: String) "No current subscription to channel {channel}, or subscription in progress"
    /// The app has no client events.
    [null] ClientEventsOff "Client event rejected: client events are not enabled for this app"
    /// A client event in this channel, which is open to everybody.
    [null] ClientEventChannel(channel: String)
        "Client event rejected: only private and presence channels take them, and {channel} is neither"
    /// A client event in this channel, to which the connection has not subscribed.
    [null] ClientEventNotSubscribed(channel: String) "Client event rejected: the connection is not subscribed to {channel}"
    /// The length of a client event's data, and the limit, in bytes.
    [null] TooLarge(len: usize, len_max: usize)
        "Client event rejected: its data has {len} bytes, {len_max} at most are allowed"
    /// The `user_data` of a sign-in names no user, for this reason.
    [null] InvalidUser(why: String) "Invalid user_data: {why}"
    /// The connection is signed in as this user, and a sign-in names another one.
    [null] SignedInAs(user: String) "Already signed in as {user}: open another connection for another user"
}

/// What a signature is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A subscription.
    Subscription,
    /// A sign-in.
    User,
}

/// A limit that an app has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// The most channels of one connection.
    Channels(usize),
    /// The most members of one presence channel.
    Members(usize),
}

impl Error {
    /// The code to close the connection with, if it does not go on. It is never 4300 or more: pusher-js would give up for
    /// good.
    #[must_use]
    pub fn close_code(&self) -> Option<u16> {
        self.code().filter(|&code| code < 4300)
    }

    /// The message `pusher:error`.
    #[must_use]
    pub fn event(&self) -> String {
        event::error(self.code(), &self.to_string())
    }

    /// Refuses a subscription: the channel's listeners are told first, by `pusher:subscription_error`, then those of the
    /// connection, by `pusher:error`. Of a fault that is not about whether one may subscribe, only the latter.
    pub fn refuse(&self, channel: &str, replies: &mut Vec<String>) {
        if let Some((kind, status)) = self.refusal() {
            replies.push(event::subscription_error(channel, kind, &self.to_string(), status));
        }
        replies.push(self.event());
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Purpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Subscription => "subscription",
            Self::User => "user",
        })
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channels(max) => {
                write!(f, "The connection has {max} channels, and may not have more: unsubscribe from some")
            }
            Self::Members(max) => write!(f, "The channel has {max} members, and may not have more"),
        }
    }
}

/// The beginning of what a sentence quotes.
struct Quoted<'a, T>(&'a T);

impl<T: fmt::Display> fmt::Display for Quoted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = ends.take_while(|&end| end <= QUOTED_LEN_MAX).last().unwrap_or(0);
        f.write_str(&text[..end])?;
        if end < text.len() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::InvalidChannelName;

    fn text() -> String {
        "x".to_owned()
    }

    /// One value of each, with the code that the protocol has for it.
    fn all() -> Vec<(Error, Option<u16>)> {
        vec![
            (Error::AppUnknown("278d425bdf160c739803".to_owned()), Some(4001)),
            (Error::AppDisabled, Some(4003)),
            (Error::OverQuota, Some(4004)),
            (Error::Path, Some(4005)),
            (Error::Version(text()), Some(4006)),
            (Error::Protocol("3".to_owned()), Some(4007)),
            (Error::NoProtocol, Some(4008)),
            (Error::Unauthorized(text()), Some(4009)),
            (Error::OverCapacity, Some(4100)),
            (Error::Lagged, Some(4100)),
            (Error::Restart, Some(4200)),
            (Error::NoPong, Some(4201)),
            (Error::Idle, Some(4202)),
            (Error::ClientEventRate(NonZeroU32::MIN), Some(4301)),
            (Error::ClientEventEncrypted(text()), Some(4301)),
            (Error::ClientEventRefused(text()), Some(4301)),
            (Error::Watchlist(101), Some(4302)),
            (Error::Malformed(text()), None),
            (Error::Binary, None),
            (Error::Unsupported(text()), None),
            (Error::EventName(InvalidEventName::Length), None),
            (Error::InvalidChannel(text(), InvalidName::Channel(InvalidChannelName::Empty)), None),
            (Error::NoAuth(text()), None),
            (Error::InvalidKey(Purpose::User, text()), None),
            (Error::InvalidSignature(text(), text()), None),
            (Error::NoMember(text()), None),
            (Error::InvalidMember(text()), None),
            (Error::UserInfoTooLarge(2, 1), None),
            (Error::NotTheUser(text()), None),
            (Error::NotOpen(text()), None),
            (Error::Unavailable(text()), None),
            (Error::LimitReached(Limit::Members(100)), None),
            (Error::Existing(text()), None),
            (Error::NotSubscribed(text()), None),
            (Error::ClientEventsOff, None),
            (Error::ClientEventChannel(text()), None),
            (Error::ClientEventNotSubscribed(text()), None),
            (Error::TooLarge(2, 1), None),
            (Error::InvalidUser(text()), None),
            (Error::SignedInAs(text()), None),
        ]
    }

    #[test]
    fn every_fault_has_the_code_of_the_protocol_and_a_sentence() {
        for (error, code) in all() {
            assert_eq!(error.code(), code, "{error:?}");
            assert!(!error.to_string().is_empty() && !error.to_string().ends_with('.'), "{error}");
        }
    }

    #[test]
    fn a_connection_is_closed_for_codes_below_4300_only_with_a_sentence_that_fits() {
        for (error, code) in all() {
            assert_eq!(error.close_code(), code.filter(|code| (4000..4300).contains(code)), "{error:?}");
            // RFC 6455 §5.5: 125 bytes, of which 2 are the code.
            assert!(error.close_code().is_none() || error.to_string().len() <= 123, "{error}");
        }
    }

    #[test]
    fn a_client_is_told_the_code_as_a_number_or_null() {
        assert_eq!(
            Error::AppDisabled.event(),
            r#"{"event":"pusher:error","data":{"code":4003,"message":"The app is disabled"}}"#
        );
        assert_eq!(
            Error::Existing("a".to_owned()).event(),
            r#"{"event":"pusher:error","data":{"code":null,"message":"Existing subscription to channel a"}}"#
        );
    }

    #[test]
    fn a_refused_subscriber_is_told_twice_the_channels_listeners_first() {
        let mut replies = Vec::new();
        Error::LimitReached(Limit::Members(100)).refuse("presence-a", &mut replies);
        assert_eq!(
            replies,
            [
                r#"{"event":"pusher:subscription_error","channel":"presence-a","data":{"type":"LimitReached","error":"The channel has 100 members, and may not have more","status":4004}}"#,
                r#"{"event":"pusher:error","data":{"code":null,"message":"The channel has 100 members, and may not have more"}}"#,
            ]
        );
        let mut replies = Vec::new();
        Error::Existing("a".to_owned()).refuse("a", &mut replies);
        assert_eq!(replies, [Error::Existing("a".to_owned()).event()]);
    }

    #[test]
    fn what_a_sentence_quotes_is_cut_between_characters() {
        let error = Error::Unauthorized("é".repeat(1000));
        assert_eq!(error.to_string(), "é".repeat(1000));
        let error = Error::Unauthorized(format!("a{}", "é".repeat(1000)));
        assert_eq!(error.to_string(), format!("a{}…", "é".repeat(999)));
    }
}
