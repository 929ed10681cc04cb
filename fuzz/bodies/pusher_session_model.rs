//! What the Pusher protocol says becomes of a client's message: which events are answered, and what the server is to do.
//!
//! Written from the rules, over lists of channels, members and users of which it is known what they are. Sentences are not
//! compared.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use fanfare::pusher::auth::hmac_hex;
use fanfare::pusher::{App, Command, Member};
use serde_json::json;

/// Who may subscribe to a channel.
#[derive(Clone, Copy, PartialEq)]
pub enum Needs {
    Nothing,
    Signature,
    Member,
    User(&'static str),
    /// It is the name of no channel.
    AnotherName,
}

/// Channels, what a subscription to them needs, and whether they are encrypted.
pub const CHANNELS: [(&str, Needs, bool); 14] = [
    ("a", Needs::Nothing, false),
    ("private-a", Needs::Signature, false),
    ("presence-a", Needs::Member, false),
    ("private-encrypted-a", Needs::Signature, true),
    ("#server-to-user-u0", Needs::User("u0"), false),
    ("presence-cache-a", Needs::Member, false),
    ("cache-a", Needs::Nothing, false),
    ("private-cache-a", Needs::Signature, false),
    ("private-encrypted-cache-a", Needs::Signature, true),
    ("#server-to-user-u1", Needs::User("u1"), false),
    ("my-private-a", Needs::Nothing, false),
    ("no name", Needs::AnotherName, false),
    ("", Needs::AnotherName, false),
    ("#private-a", Needs::AnotherName, false),
];

const USER_INFO_LEN_MAX: usize = 16;
const EVENT_LEN_MAX: usize = 16;

/// A member as it has to be understood, or the type of the refusal.
type Named = Result<(&'static str, Option<&'static str>), &'static str>;

/// `channel_data`, and whom it names.
pub const DATA: [(&str, Named); 8] = [
    ("", Err("AuthError")),
    (r#"{"user_id":"u0"}"#, Ok(("u0", None))),
    (r#"{"user_info":{"n": [1]},"user_id":7}"#, Ok(("7", Some(r#"{"n": [1]}"#)))),
    (r#"{"user_id":"\u00e9\"","user_info":null}"#, Ok(("\u{e9}\"", None))),
    ("{}", Err("InvalidData")),
    ("[1]", Err("InvalidData")),
    (r#"{"user_id":""}"#, Err("InvalidData")),
    (r#"{"user_id":1,"user_info":"more than that"}"#, Ok(("1", Some(r#""more than that""#)))),
];

/// A user: identifier, info, watchlist.
type Known = (&'static str, Option<&'static str>, &'static [&'static str]);

/// `user_data`, and whom it names.
pub const USERS: [(&str, Option<Known>); 6] = [
    (r#"{"id":"u0"}"#, Some(("u0", None, &[]))),
    (r#"{"id":"u1","user_info":[1],"watchlist":["u0",5,"u0"]}"#, Some(("u1", Some("[1]"), &["u0", "5"]))),
    (
        r#"{"user_info":"longer than any member's","id":"u2"}"#,
        Some(("u2", Some(r#""longer than any member's""#), &[])),
    ),
    (r#"{"id":5}"#, None),
    (r#"{"id":"no name"}"#, None),
    ("x", None),
];

/// Events and their data: those that clients may send first.
pub const EVENTS: [(&str, &str); 8] = [
    ("client-a", r#"{"n": 1}"#),
    ("client-", r#""\ud83d\ude00""#),
    ("client-b", r#""\u0061\u0061\u0061""#),
    ("client-c", "[1,2,3,4,5,6,7,8]"),
    ("pusher:error", "{}"),
    ("pusher_internal:member_added", "{}"),
    ("my-client-a", "{}"),
    ("", "null"),
];

/// How many of [`EVENTS`] clients may send, and how many of these are short enough.
const CLIENT_EVENTS: usize = 4;
const SHORT_EVENTS: usize = 3;

/// What becomes of a message: the replies by their events, and the command in words.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    pub replies: Vec<String>,
    pub command: String,
}

pub struct Model {
    pub app: App,
    pub now_ms: u64,
    /// The channels of the connection, and who it is there.
    pub joined: BTreeMap<String, Option<String>>,
    /// Who is signed in, with the info.
    pub user: Option<(String, Option<String>)>,
    /// Whether it is signed in, or has joined what needs a signature.
    pub is_authorized: bool,
    /// Whether data is sent as a string of JSON.
    is_text: bool,
    window_ms: u64,
    in_window: u32,
}

impl Model {
    pub fn new(flags: u8) -> Self {
        let mut app = App::new("3", "key", "secret");
        app.secrets.push("old secret".to_owned());
        app.client_events = flags & 1 != 0;
        app.encrypted_client_events = flags & 2 != 0;
        app.watchlist = flags & 4 != 0;
        app.max_channels = if flags & 8 != 0 { 2 } else { 1000 };
        app.client_event_rate = NonZeroU32::new(if flags & 16 != 0 { 1 } else { 10 }).expect("neither is 0");
        app.max_user_info = USER_INFO_LEN_MAX;
        app.max_event = EVENT_LEN_MAX;
        let (joined, is_text) = (BTreeMap::new(), flags & 32 != 0);
        let (is_authorized, now_ms, window_ms) = (false, 0, 0);
        Self { app, now_ms, joined, user: None, is_authorized, is_text, window_ms, in_window: 0 }
    }

    pub fn ping(&self, is_pong: bool) -> (String, Outcome) {
        if is_pong {
            return (r#"{"event":"pusher:pong","data":{}}"#.to_owned(), outcome(&[], ""));
        }
        (r#"{"event":"pusher:ping","data":{}}"#.to_owned(), outcome(&["pusher:pong"], ""))
    }

    pub fn subscribe(&self, channel: usize, data: usize, is_signed: bool) -> (String, Outcome) {
        let (name, needs, _) = CHANNELS[channel];
        let (channel_data, _) = DATA[data];
        let colon = if channel_data.is_empty() { "" } else { ":" };
        let auth = self.auth(&format!("1234.1234:{name}{colon}{channel_data}"), is_signed);
        let text = self.message(
            "pusher:subscribe",
            &json!({"channel": name, "auth": auth, "channel_data": channel_data}).to_string(),
        );
        if self.joined.contains_key(name) {
            return (text, outcome(&["pusher:error null"], "refused"));
        }
        let kind = match needs {
            Needs::AnotherName => Some("InvalidChannel"),
            _ if self.joined.len() >= self.app.max_channels => Some("LimitReached"),
            Needs::Signature | Needs::Member if !is_signed => Some("AuthError"),
            Needs::User(user) if self.user_id() != Some(user) => Some("AuthError"),
            Needs::Member => self.member(data).err(),
            Needs::Nothing | Needs::Signature | Needs::User(_) => None,
        };
        let outcome = match kind {
            Some(kind) => {
                outcome(&[&format!("pusher:subscription_error {kind}"), "pusher:error null"], "refused")
            }
            None => {
                let member = if needs == Needs::Member { self.member(data).ok() } else { None };
                outcome(&[], &format!("subscribe to {name} as {member:?}"))
            }
        };
        (text, outcome)
    }

    pub fn unsubscribe(&self, name: &str) -> (String, Outcome) {
        let text = self.message("pusher:unsubscribe", &json!({"channel": name}).to_string());
        let outcome = match self.joined.get(name) {
            Some(_) => outcome(&[], &format!("unsubscribe from {name}")),
            None => outcome(&["pusher:error null"], "refused"),
        };
        (text, outcome)
    }

    pub fn client_event(&self, channel: usize, event: usize) -> (String, Outcome) {
        let (name, needs, is_encrypted) = CHANNELS[channel];
        let (event_name, data) = EVENTS[event];
        let text = format!(r#"{{"data":{data},"channel":{},"event":{}}}"#, json!(name), json!(event_name));
        let is_sent_to = matches!(needs, Needs::Signature | Needs::Member);
        let refused_for_good = event >= CLIENT_EVENTS || !self.app.client_events || !is_sent_to;
        let outcome = if refused_for_good {
            outcome(&["pusher:error null"], "refused")
        } else if is_encrypted && !self.app.encrypted_client_events {
            outcome(&["pusher:error 4301"], "refused")
        } else if event >= SHORT_EVENTS || !self.joined.contains_key(name) {
            outcome(&["pusher:error null"], "refused")
        } else if self.in_window() >= self.app.client_event_rate.get() {
            outcome(&["pusher:error 4301"], "refused")
        } else {
            let user_id = self.joined[name].as_deref();
            outcome(&[], &format!("publish {event_name} to {name} by {user_id:?}: {data}"))
        };
        (text, outcome)
    }

    pub fn sign_in(&self, user: usize, is_signed: bool) -> (String, Outcome) {
        let (user_data, known) = USERS[user];
        let auth = self.auth(&format!("1234.1234::user::{user_data}"), is_signed);
        let text = self.message("pusher:signin", &json!({"auth": auth, "user_data": user_data}).to_string());
        let outcome = match (known, self.user_id()) {
            _ if !is_signed => outcome(&["pusher:error 4009"], "close"),
            (None, _) => outcome(&["pusher:error null"], "refused"),
            (Some((id, ..)), Some(other)) if id != other => outcome(&["pusher:error null"], "refused"),
            (Some(_), Some(_)) => outcome(&["pusher:signin_success"], ""),
            (Some((id, info, watchlist)), None) => {
                let watchlist = if self.app.watchlist { watchlist } else { &[] };
                outcome(&[], &format!("sign in {id} {info:?} {watchlist:?}"))
            }
        };
        (text, outcome)
    }

    /// Only what is public or signed is joined, by whom the signed data names; `signed` is the subscription that there is a
    /// signature for.
    pub fn check_admission(&self, name: &str, member: Option<&Member>, signed: Option<(usize, usize)>) {
        assert!(self.joined.len() < self.app.max_channels);
        if name.starts_with("private-") || name.starts_with("presence-") {
            let (channel, data) = signed.expect("a channel that needs a signature has one");
            assert_eq!(name, CHANNELS[channel].0, "the signature is for another channel");
            let expected = if name.starts_with("presence-") { self.member(data).ok() } else { None };
            let member = member.map(|member| (&*member.user_id, member.user_info.as_deref()));
            assert_eq!(member, expected.as_ref().map(|(id, info)| (id.as_str(), info.as_deref())));
        } else {
            assert_eq!(member, None);
            let user = name.strip_prefix("#server-to-user-");
            assert!(user.is_none() || user == self.user_id(), "{name} is another user's");
        }
    }

    /// A client event has been sent.
    pub fn count_event(&mut self) {
        self.in_window = self.in_window() + 1;
        if self.in_window == 1 {
            self.window_ms = self.now_ms;
        }
        assert!(self.in_window <= self.app.client_event_rate.get());
    }

    fn user_id(&self) -> Option<&str> {
        self.user.as_ref().map(|(id, _)| id.as_str())
    }

    /// Who joins with this data: without, the user that is signed in.
    fn member(&self, data: usize) -> Result<(String, Option<String>), &'static str> {
        let (channel_data, named) = DATA[data];
        let (id, info) = match &self.user {
            Some(user) if channel_data.is_empty() => user.clone(),
            _ => named.map(|(id, info)| (id.to_owned(), info.map(str::to_owned)))?,
        };
        let is_long = info.as_ref().is_some_and(|info| info.len() > USER_INFO_LEN_MAX);
        if is_long { Err("LimitReached") } else { Ok((id, info)) }
    }

    /// The events of the second that began with the first of them.
    fn in_window(&self) -> u32 {
        if self.now_ms < self.window_ms + 1000 { self.in_window } else { 0 }
    }

    /// Signed with a secret that may be the second one, or with none of them.
    fn auth(&self, text: &str, is_signed: bool) -> String {
        let secret = match self.joined.len() % 2 {
            _ if !is_signed => "no secret",
            0 => "secret",
            _ => "old secret",
        };
        format!("key:{}", hmac_hex(secret, text.as_bytes()))
    }

    fn message(&self, event: &str, data: &str) -> String {
        let data = if self.is_text { json!(data).to_string() } else { data.to_owned() };
        format!(r#"{{"event":"{event}","data":{data}}}"#)
    }
}

/// A command in words.
pub fn summary(command: &Command<'_>) -> String {
    match command {
        Command::None => String::new(),
        Command::Refused(_) => "refused".to_owned(),
        Command::Subscribe { name, member } => {
            let member = member.as_ref().map(|member| (&member.user_id, member.user_info.as_ref()));
            format!("subscribe to {} as {member:?}", name.as_str())
        }
        Command::Unsubscribe { name } => format!("unsubscribe from {}", name.as_str()),
        Command::Publish(event) => {
            let (name, to) = (event.event.as_str(), event.name.as_str());
            format!("publish {name} to {to} by {:?}: {}", event.user_id.as_deref(), event.data)
        }
        Command::SignIn(user) => format!("sign in {} {:?} {:?}", user.id, user.info, user.watchlist),
        Command::Close(_) => "close".to_owned(),
    }
}

fn outcome(replies: &[&str], command: &str) -> Outcome {
    Outcome { replies: replies.iter().map(|&reply| reply.to_owned()).collect(), command: command.to_owned() }
}
