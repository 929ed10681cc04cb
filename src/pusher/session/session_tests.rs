//! A session driven by literal messages; signatures are made by the app's server, which the test plays.

use std::num::NonZeroU32;

use crate::pusher::auth::hmac_hex;

use super::*;

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";

/// A connection whose server carries out each command.
struct Client {
    session: Session,
    app: App,
    now_ms: u64,
}

impl Client {
    /// That of the vectors.
    fn new() -> Self {
        let mut app = App::new("3", KEY, SECRET);
        app.client_events = true;
        app.watchlist = true;
        Self { session: Session::new("1234.1234".parse().unwrap(), 7), app, now_ms: 0 }
    }

    /// What is answered to the message, and the command that was carried out.
    fn says<'a>(&mut self, text: &'a str) -> (Vec<String>, Command<'a>) {
        let mut replies = Vec::new();
        let command = self.session.receive(text, &self.app, self.now_ms, &mut replies);
        match &command {
            Command::Subscribe { name, member } => {
                self.session.joined(name, member.as_ref().map(|member| &*member.user_id));
            }
            Command::Unsubscribe { name } => drop(self.session.left(name.as_str())),
            Command::SignIn(user) => self.session.signed_in(user),
            Command::None | Command::Refused(_) | Command::Publish(_) | Command::Close(_) => {}
        }
        (replies, command)
    }

    /// Says what is answered by `pusher:error` alone, without a code.
    fn is_told(&mut self, text: &str, sentence: &str) {
        self.is_told_with(text, "null", sentence);
    }

    fn is_told_with(&mut self, text: &str, code: &str, sentence: &str) {
        let json = serde_json::to_string(sentence).unwrap();
        let error = format!(r#"{{"event":"pusher:error","data":{{"code":{code},"message":{json}}}}}"#);
        assert_refused(self.says(text), &[&error], sentence);
    }

    /// Asks for a subscription that is refused: by the channel's event first, and then by `pusher:error`.
    fn is_refused(&mut self, text: &str, channel: &str, kind: &str, status: u16, sentence: &str) {
        let json = serde_json::to_string(sentence).unwrap();
        let for_channel = format!(
            r#"{{"event":"pusher:subscription_error","channel":"{channel}","data":{{"type":"{kind}","error":{json},"status":{status}}}}}"#
        );
        let error = format!(r#"{{"event":"pusher:error","data":{{"code":null,"message":{json}}}}}"#);
        assert_refused(self.says(text), &[&for_channel, &error], sentence);
    }

    /// Subscribes, with a signature if the channel needs one.
    fn joins(&mut self, channel: &str, channel_data: Option<&str>) {
        let text = subscription(channel, channel_data);
        let (replies, command) = self.says(&text);
        assert!(matches!(command, Command::Subscribe { .. }), "{replies:?}");
        assert_eq!(replies, [""; 0]);
    }

    /// Signs in with this `user_data`.
    fn signs_in(&mut self, user_data: &str) -> (Vec<String>, Command<'static>) {
        let text = sign_in(user_data);
        let (replies, command) = self.says(&text);
        let command = match command {
            Command::SignIn(user) => Command::SignIn(user),
            Command::Close(error) => Command::Close(error),
            Command::None => Command::None,
            other => panic!("{other:?}"),
        };
        (replies, command)
    }
}

fn assert_refused((replies, command): (Vec<String>, Command<'_>), expected: &[&str], sentence: &str) {
    assert_eq!(replies, expected);
    let Command::Refused(error) = command else { panic!("{command:?}") };
    assert_eq!(error.to_string(), sentence);
}

fn signed(text: &str) -> String {
    format!("{KEY}:{}", hmac_hex(SECRET, text.as_bytes()))
}

/// The message that subscribes as the server signs it.
fn subscription(channel: &str, channel_data: Option<&str>) -> String {
    let auth = match channel_data {
        Some(data) => signed(&format!("1234.1234:{channel}:{data}")),
        None => signed(&format!("1234.1234:{channel}")),
    };
    let mut data = serde_json::json!({"channel": channel, "auth": auth});
    if let Some(channel_data) = channel_data {
        data["channel_data"] = channel_data.into();
    }
    serde_json::json!({"event": "pusher:subscribe", "data": data}).to_string()
}

fn sign_in(user_data: &str) -> String {
    let auth = signed(&format!("1234.1234::user::{user_data}"));
    serde_json::json!({"event": "pusher:signin", "data": {"auth": auth, "user_data": user_data}}).to_string()
}

fn name(channel: &str) -> Name {
    Name::new(channel).unwrap()
}

fn subscribe(channel: &str) -> Command<'static> {
    Command::Subscribe { name: name(channel), member: None }
}

fn join(channel: &str, user_id: &str, user_info: Option<&str>) -> Command<'static> {
    let member = Member { user_id: user_id.into(), user_info: user_info.map(Into::into) };
    Command::Subscribe { name: name(channel), member: Some(member) }
}

fn none() -> (Vec<String>, Command<'static>) {
    (Vec::new(), Command::None)
}

#[test]
fn an_idle_session_is_small() {
    assert!(size_of::<Session>() <= 80, "{}", size_of::<Session>());
    assert_eq!(Client::new().session.held_len(), 0);
}

#[test]
fn a_client_is_told_its_socket_id_and_a_timeout_that_is_not_0() {
    let session = Client::new().session;
    assert_eq!(
        session.established(120),
        r#"{"event":"pusher:connection_established","data":"{\"socket_id\":\"1234.1234\",\"activity_timeout\":120}"}"#
    );
    assert!(session.established(0).contains(r#"\"activity_timeout\":1}"#));
}

#[test]
fn a_ping_is_answered_and_a_pong_is_taken() {
    let mut client = Client::new();
    let pong = vec![r#"{"event":"pusher:pong","data":"{}"}"#.to_owned()];
    for ping in [
        r#"{"event":"pusher:ping","data":{}}"#,
        r#"{"event":"pusher:ping","data":"{}"}"#,
        r#"{"event":"pusher:ping"}"#,
        "\r\n\t {\"data\" : null , \"event\" : \"pusher:\\u0070ing\" } ",
    ] {
        assert_eq!(client.says(ping), (pong.clone(), Command::None), "{ping}");
    }
    assert_eq!(client.says(r#"{"event":"pusher:pong","data":{}}"#), none());
}

#[test]
fn a_client_of_protocol_4_is_not_pinged() {
    let answers = [4, 5, 6, 7].map(|version| Session::new(SocketId::new(1, 2), version).answers_ping());
    assert_eq!(answers, [false, true, true, true]);
}

#[test]
fn a_client_subscribes_to_a_public_channel_whatever_auth_it_sends() {
    let mut client = Client::new();
    let text = r#"{"event":"pusher:subscribe","data":{"auth":"","channel":"prices"}}"#;
    assert_eq!(client.says(text), (vec![], subscribe("prices")));
    let text = r#"{"event":"pusher:subscribe","data":{"auth":"x","channel":"cache-a","channel_data":"x"}}"#;
    assert_eq!(client.says(text), (vec![], subscribe("cache-a")));
    assert!(!client.session.is_authorized());
}

#[test]
fn the_data_of_a_message_may_be_a_string_of_json() {
    let mut client = Client::new();
    let text = r#"{"event":"pusher:subscribe","data":"{\"channel\":\"prices\",\"auth\":null}"}"#;
    assert_eq!(client.says(text), (vec![], subscribe("prices")));
    let text = r#"{"event":"pusher:unsubscribe","data":" {\"channel\":\"prices\"}"}"#;
    assert_eq!(client.says(text), (vec![], Command::Unsubscribe { name: name("prices") }));
}

#[test]
fn a_client_may_leave_and_join_a_channel_again_in_one_turn() {
    let mut client = Client::new();
    let join = r#"{"event":"pusher:subscribe","data":{"channel":"a"}}"#;
    let leave = r#"{"event":"pusher:unsubscribe","data":{"channel":"a"}}"#;
    for _ in 0..3 {
        assert_eq!(client.says(join), (vec![], subscribe("a")));
        assert_eq!(client.session.channels().collect::<Vec<_>>(), ["a"]);
        assert_eq!(client.says(leave), (vec![], Command::Unsubscribe { name: name("a") }));
        assert_eq!(client.session.channels_len(), 0);
    }
}

#[test]
fn a_second_subscription_to_a_channel_changes_nothing() {
    let mut client = Client::new();
    client.joins("presence-a", Some(r#"{"user_id":"1"}"#));
    let again = subscription("presence-a", Some(r#"{"user_id":"2"}"#));
    client.is_told(&again, "Existing subscription to channel presence-a");
    assert_eq!(client.session.user_id_in("presence-a"), Some("1"));
}

#[test]
fn a_client_cannot_leave_a_channel_that_it_does_not_have() {
    let mut client = Client::new();
    for channel in ["a", "no name", "#server-to-user-1", ""] {
        let text = format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{channel}"}}}}"#);
        client.is_told(
            &text,
            &format!("No current subscription to channel {channel}, or subscription in progress"),
        );
    }
}

#[test]
fn a_channel_whose_name_breaks_the_rules_is_refused_with_the_rule() {
    let mut client = Client::new();
    client.is_refused(
        r#"{"event":"pusher:subscribe","data":{"channel":"a b"}}"#,
        "a b",
        "InvalidChannel",
        400,
        "Invalid channel name 'a b': the channel name holds ' '; allowed are A-Z a-z 0-9 _ - = @ , . ;",
    );
    for channel in ["", "#a", "7/prices", "@fanfare.dashboard", "private-\u{e9}", &"a".repeat(201)] {
        let text = subscription(channel, None);
        let (replies, command) = client.says(&text);
        assert!(matches!((replies.len(), command), (2, Command::Refused(_))), "{channel}");
    }
}

#[test]
fn a_private_channel_takes_the_signature_of_the_vector() {
    let text = r#"{"event":"pusher:subscribe","data":{"auth":"278d425bdf160c739803:58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4","channel":"private-foobar"}}"#;
    let mut client = Client::new();
    assert_eq!(client.says(text), (vec![], subscribe("private-foobar")));
    assert!(client.session.is_authorized());
    let mut other = Client::new();
    other.session = Session::new(SocketId::new(1234, 1235), 7);
    assert!(matches!(other.says(text).1, Command::Refused(_)), "it is signed for one connection");
}

#[test]
fn channel_data_of_a_private_channel_is_signed_too() {
    let mut client = Client::new();
    client.joins("private-a", Some("anything"));
    let text = subscription("private-b", None).replace("\"auth\":", r#""channel_data":"x","auth":"#);
    let (replies, command) = client.says(&text);
    assert!(matches!((replies.len(), command), (2, Command::Refused(_))));
    assert!(replies[1].contains("digest of 1234.1234:private-b:x, but got "), "{replies:?}");
    let text = subscription("private-b", None).replace("\"auth\":", r#""channel_data":"","auth":"#);
    assert_eq!(client.says(&text).1, subscribe("private-b"), "empty data is none");
}

#[test]
fn a_wrong_signature_is_answered_with_what_had_to_be_signed() {
    let mut client = Client::new();
    for channel in
        ["private-a", "private-encrypted-a", "private-cache-a", "private-encrypted-cache-a", "presence-a"]
    {
        let data = if channel.starts_with("presence") { r#"{"user_id":"1"}"# } else { "" };
        let json = serde_json::to_string(data).unwrap();
        let text = format!(
            r#"{{"event":"pusher:subscribe","data":{{"channel":"{channel}","auth":"{KEY}:abc","channel_data":{json}}}}}"#
        );
        let colon = if data.is_empty() { "" } else { ":" };
        client.is_refused(
            &text,
            channel,
            "AuthError",
            401,
            &format!(
                "Invalid signature: Expected HMAC SHA256 hex digest of 1234.1234:{channel}{colon}{data}, but got abc"
            ),
        );
    }
    assert!(!client.session.is_authorized());
}

#[test]
fn a_subscription_without_a_signature_or_with_another_key_is_refused() {
    let mut client = Client::new();
    for auth in ["", r#","auth":"""#, r#","auth":null"#] {
        let text = format!(r#"{{"event":"pusher:subscribe","data":{{"channel":"private-a"{auth}}}}}"#);
        let sentence =
            "Subscription to private-a needs a signature: have the app's server sign it, and send it as auth";
        client.is_refused(&text, "private-a", "AuthError", 401, sentence);
    }
    let text = r#"{"event":"pusher:subscribe","data":{"channel":"private-a","auth":"other:00"}}"#;
    let sentence = "Invalid key in subscription auth data: 'other'; auth is KEY:SIGNATURE, with the key of the connection";
    client.is_refused(text, "private-a", "AuthError", 401, sentence);
}

#[test]
fn a_member_whose_id_is_a_number_is_one_whose_id_is_text() {
    let text = r#"{"event":"pusher:subscribe","data":{"auth":"278d425bdf160c739803:31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80","channel_data":"{\"user_id\":10,\"user_info\":{\"name\":\"Mr. Channels\"}}","channel":"presence-foobar"}}"#;
    let mut client = Client::new();
    let joined = join("presence-foobar", "10", Some(r#"{"name":"Mr. Channels"}"#));
    assert_eq!(client.says(text), (vec![], joined));
    assert_eq!(client.session.user_id_in("presence-foobar"), Some("10"));
    assert_eq!(client.session.left("presence-foobar").as_deref(), Some("10"));
    assert_eq!(client.session.left("presence-foobar"), None);
    for (number, id) in [("18446744073709551616", "18446744073709551616"), ("-1.5e3", "-1.5e3")] {
        let data = format!(r#"{{"user_info":null,"user_id":{number}}}"#);
        let text = subscription("presence-a", Some(&data));
        assert_eq!(client.says(&text), (vec![], join("presence-a", id, None)));
        drop(client.session.left("presence-a"));
    }
}

#[test]
fn a_member_that_is_signed_but_is_none_is_refused_with_the_reason() {
    let mut client = Client::new();
    let long = format!(r#"{{"user_id":"{}"}}"#, "é".repeat(129));
    for (data, why) in [
        ("1", "it is not a JSON object"),
        (r#"["1",null]"#, "it is not a JSON object"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        ("{}", "missing field `user_id` at line 1 column 2"),
        (r#"{"user_id":true}"#, "user_id: it is neither a string nor a number"),
        (r#"{"user_id":null}"#, "user_id: it is neither a string nor a number"),
        (r#"{"user_id":""}"#, "a user_id has 1 to 128 characters"),
        (&long, "a user_id has 1 to 128 characters"),
        (r#"{"user_id":"1","user_id":"2"}"#, "duplicate field `user_id` at line 1 column 24"),
        (r#"{"user_id":"\ud800"}"#, "it has one half of a surrogate pair, which is no character"),
    ] {
        let text = subscription("presence-a", Some(data));
        client.is_refused(&text, "presence-a", "InvalidData", 400, &format!("Invalid channel_data: {why}"));
    }
    client.joins("presence-a", Some(&long.replace("é\"", "\"")));
}

#[test]
fn the_info_of_a_member_has_a_limit() {
    let mut client = Client::new();
    let data = |len: usize| format!(r#"{{"user_id":"1","user_info":"{}"}}"#, "a".repeat(len - 2));
    let text = subscription("presence-a", Some(&data(1025)));
    let sentence = "The user_info has 1025 bytes, 1024 at most are allowed";
    client.is_refused(&text, "presence-a", "LimitReached", 413, sentence);
    client.joins("presence-a", Some(&data(1024)));
}

#[test]
fn a_signed_in_user_joins_a_presence_channel_without_data() {
    let mut client = Client::new();
    let text = subscription("presence-a", None);
    let sentence = "Subscription to presence-a needs channel_data with a user_id, or a signed-in user";
    client.is_refused(&text, "presence-a", "AuthError", 401, sentence);
    assert!(matches!(client.signs_in(r#"{"id":"7","user_info":{"n":1}}"#).1, Command::SignIn(_)));
    assert_eq!(client.says(&text), (vec![], join("presence-a", "7", Some(r#"{"n":1}"#))));
    let named = subscription("presence-b", Some(r#"{"user_id":8}"#));
    assert_eq!(client.says(&named), (vec![], join("presence-b", "8", None)), "what is signed counts");
}

#[test]
fn a_connection_has_at_most_so_many_channels() {
    let mut client = Client::new();
    client.app.max_channels = 2;
    client.joins("a", None);
    client.joins("b", None);
    let text = subscription("c", None);
    let sentence = "The connection has 2 channels, and may not have more: unsubscribe from some";
    client.is_refused(&text, "c", "LimitReached", 4004, sentence);
    client.is_told(&subscription("a", None), "Existing subscription to channel a");
    assert!(matches!(
        client.says(r#"{"event":"pusher:unsubscribe","data":{"channel":"a"}}"#).1,
        Command::Unsubscribe { .. }
    ));
    client.joins("c", None);
}

#[test]
fn a_user_signs_in_with_the_signature_of_the_vector() {
    let mut client = Client::new();
    let text = r#"{"event":"pusher:signin","data":{"auth":"278d425bdf160c739803:4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba","user_data":"{\"id\":\"12345\"}"}}"#;
    let user =
        User { id: "12345".into(), data: r#"{"id":"12345"}"#.into(), info: None, watchlist: Vec::new() };
    assert_eq!(client.says(text), (vec![], Command::SignIn(user)));
    assert_eq!(client.session.user_id(), Some("12345"));
    assert!(client.session.is_authorized());
}

#[test]
fn a_second_sign_in_of_the_same_user_is_answered_and_of_another_refused() {
    let mut client = Client::new();
    assert!(matches!(client.signs_in(r#"{"id":"a"}"#).1, Command::SignIn(_)));
    assert_eq!(
        client.signs_in(r#"{"id":"a"}"#),
        (
            vec![
                r#"{"event":"pusher:signin_success","data":"{\"user_data\":\"{\\\"id\\\":\\\"a\\\"}\"}"}"#
                    .to_owned()
            ],
            Command::None
        )
    );
    client.is_told(
        &sign_in(r#"{"id":"b"}"#),
        "Already signed in as a: open another connection for another user",
    );
    assert_eq!(client.session.user_id(), Some("a"));
}

#[test]
fn a_sign_in_with_a_wrong_signature_ends_the_connection_after_an_error() {
    let mut client = Client::new();
    for (auth, sentence) in [
        (
            "278d425bdf160c739803:00",
            r#"Invalid signature: Expected HMAC SHA256 hex digest of 1234.1234::user::{"id":"1"}, but got 00"#,
        ),
        ("x", "Invalid key in user auth data: 'x'; auth is KEY:SIGNATURE, with the key of the connection"),
    ] {
        let text = format!(
            r#"{{"event":"pusher:signin","data":{{"auth":"{auth}","user_data":"{{\"id\":\"1\"}}"}}}}"#
        );
        let message = serde_json::to_string(sentence).unwrap();
        let error = format!(r#"{{"event":"pusher:error","data":{{"code":4009,"message":{message}}}}}"#);
        let close = Command::Close(Error::Unauthorized(sentence.to_owned()));
        assert_eq!(client.says(&text), (vec![error], close));
    }
    assert!(!client.session.is_authorized());
}

#[test]
fn a_user_whose_id_is_not_a_text_of_the_alphabet_does_not_sign_in() {
    let mut client = Client::new();
    for (data, why) in [
        (r#"{"id":""}"#, "id: the identifier of the user is empty"),
        (r#"{"id":10}"#, "invalid type: integer `10`, expected a string at line 1 column 8"),
        (
            r#"{"id":"a b"}"#,
            "id: the identifier of the user holds ' '; allowed are A-Z a-z 0-9 _ - = @ , . ;",
        ),
        ("{}", "missing field `id` at line 1 column 2"),
        ("[]", "it is not a JSON object"),
        (
            r#"{"id":"1","watchlist":{}}"#,
            "watchlist: invalid type: map, expected a sequence at line 1 column 0",
        ),
        (r#"{"id":"1","watchlist":[true]}"#, "watchlist: it is neither a string nor a number"),
        (
            r#"{"id":"1","watchlist":["é"]}"#,
            "watchlist: the identifier of the user holds 'é'; allowed are A-Z a-z 0-9 _ - = @ , . ;",
        ),
    ] {
        client.is_told(&sign_in(data), &format!("Invalid user_data: {why}"));
    }
    assert!(!client.session.is_authorized());
}

#[test]
fn a_watchlist_is_kept_to_its_first_100_users_and_the_client_told_so() {
    let mut client = Client::new();
    let list = |len: u32| {
        let ids: Vec<_> = (0..len).map(|id| format!("\"u{id}\"")).collect();
        format!(r#"{{"id":"1","watchlist":[{}]}}"#, ids.join(","))
    };
    let (replies, command) = client.signs_in(&list(101));
    assert_eq!(
        replies,
        [
            r#"{"event":"pusher:error","data":{"code":4302,"message":"The watchlist has 101 users: only the first 100 are watched"}}"#
        ]
    );
    let Command::SignIn(user) = command else { panic!("{command:?}") };
    assert_eq!((user.watchlist.len(), &*user.watchlist[99]), (100, "u99"));
    let (replies, command) = Client::new().signs_in(&list(100));
    let Command::SignIn(user) = command else { panic!("{command:?}") };
    assert_eq!((replies.len(), user.watchlist.len()), (0, 100));
}

#[test]
fn a_watchlist_has_each_user_once_and_is_empty_where_the_app_has_none() {
    let mut client = Client::new();
    let data = r#"{"id":"1","watchlist":["a",2,"a","2"]}"#;
    let Command::SignIn(user) = client.signs_in(data).1 else { panic!() };
    assert_eq!(user.watchlist, [Box::from("a"), Box::from("2")]);
    let mut client = Client::new();
    client.app.watchlist = false;
    let Command::SignIn(user) = client.signs_in(r#"{"id":"1","watchlist":5}"#).1 else { panic!() };
    assert!(user.watchlist.is_empty());
}

#[test]
fn a_user_has_the_channel_of_its_own_and_no_other() {
    let mut client = Client::new();
    let own = r##"{"event":"pusher:subscribe","data":{"auth":"","channel":"#server-to-user-a"}}"##;
    let refused = |client: &mut Client, text: &str, channel: &str| {
        let sentence = format!(
            "{channel} is the channel of a signed-in user, and this connection is not signed in as that user"
        );
        client.is_refused(text, channel, "AuthError", 401, &sentence);
    };
    refused(&mut client, own, "#server-to-user-a");
    assert!(matches!(client.signs_in(r#"{"id":"a"}"#).1, Command::SignIn(_)));
    assert_eq!(client.says(own), (vec![], subscribe("#server-to-user-a")));
    let other = subscription("#server-to-user-b", None);
    refused(&mut client, &other, "#server-to-user-b");
}

#[test]
fn a_client_event_goes_out_as_it_was_sent() {
    let mut client = Client::new();
    client.joins("private-a", None);
    client.joins("presence-a", Some(r#"{"user_id":10}"#));
    for (sent, data) in [
        (r#","data":{ "x": [1, 2] }"#, r#"{ "x": [1, 2] }"#),
        (r#","data":"{\"x\":1}""#, r#""{\"x\":1}""#),
        (r#","data":"\ud83d\ude00""#, r#""\ud83d\ude00""#),
        (r#","data":1e999"#, "1e999"),
        (r#","data":null"#, "null"),
        ("", "null"),
    ] {
        client.now_ms += 1000;
        for (channel, user_id) in [("private-a", None), ("presence-a", Some("10"))] {
            let text = format!(r#"{{"event":"client-typing","channel":"{channel}"{sent}}}"#);
            let event = EventName::new("client-typing").unwrap();
            let expected = ClientEvent { name: name(channel), event, data, user_id: user_id.map(Into::into) };
            assert_eq!(client.says(&text), (vec![], Command::Publish(expected)));
        }
    }
}

#[test]
fn a_client_event_is_refused_where_the_app_or_the_channel_takes_none() {
    let mut client = Client::new();
    client.joins("prices", None);
    client.joins("my-private-a", None);
    client.joins("private-encrypted-a", None);
    client.joins("private-a", None);
    let event = |channel: &str| format!(r#"{{"event":"client-a","channel":"{channel}","data":{{}}}}"#);
    for channel in ["prices", "my-private-a", "cache-a", "#server-to-user-1"] {
        let sentence = format!(
            "Client event rejected: only private and presence channels take them, and {channel} is neither"
        );
        client.is_told(&event(channel), &sentence);
    }
    let sentence = "Client event rejected: private-encrypted-a is encrypted, and takes none";
    client.is_told_with(&event("private-encrypted-a"), "4301", sentence);
    let sentence = "Client event rejected: the connection is not subscribed to private-b";
    client.is_told(&event("private-b"), sentence);
    client.app.encrypted_client_events = true;
    assert!(matches!(client.says(&event("private-encrypted-a")).1, Command::Publish(_)));
    client.app.client_events = false;
    let sentence = "Client event rejected: client events are not enabled for this app";
    client.is_told(&event("private-a"), sentence);
}

#[test]
fn a_client_event_after_the_subscription_has_ended_is_refused() {
    let mut client = Client::new();
    client.joins("private-a", None);
    drop(client.says(r#"{"event":"pusher:unsubscribe","data":{"channel":"private-a"}}"#));
    let sentence = "Client event rejected: the connection is not subscribed to private-a";
    client.is_told(r#"{"event":"client-a","channel":"private-a"}"#, sentence);
}

#[test]
fn a_client_sends_so_many_events_a_second_and_refused_ones_do_not_count() {
    let mut client = Client::new();
    client.app.client_event_rate = NonZeroU32::new(2).unwrap();
    client.joins("private-a", None);
    client.now_ms = 5000;
    let event = r#"{"event":"client-a","channel":"private-a"}"#;
    assert_eq!(client.says(r#"{"event":"client-a","channel":"private-b"}"#).0.len(), 1);
    assert!(matches!(client.says(event).1, Command::Publish(_)));
    assert!(matches!(client.says(event).1, Command::Publish(_)));
    let sentence = "Client event rejected: over the limit of 2 client events a second";
    client.is_told_with(event, "4301", sentence);
    client.now_ms = 6000;
    assert!(matches!(client.says(event).1, Command::Publish(_)));
}

#[test]
fn the_data_and_the_name_of_a_client_event_have_limits() {
    let mut client = Client::new();
    client.joins("private-a", None);
    client.app.max_event = 10;
    let event = |data: &str| format!(r#"{{"event":"client-a","channel":"private-a","data":{data}}}"#);
    assert!(matches!(client.says(&event(r#""aaaaaaaaa\n""#)).1, Command::Publish(_)), "quotes do not count");
    let sentence = "Client event rejected: its data has 11 bytes, 10 at most are allowed";
    client.is_told(&event(r#""aaaaaaaaaaa""#), sentence);
    client.is_told(&event("[123456789]"), sentence);
    let named = |name: &str| format!(r#"{{"event":"{name}","channel":"private-a"}}"#);
    let longest = format!("client-{}", "a".repeat(193));
    assert!(matches!(client.says(&named(&longest)).1, Command::Publish(_)));
    client.is_told(
        &named(&format!("{longest}a")),
        "Client event rejected: an event name has 1 to 200 characters",
    );
    client.is_told(&named("client-\\n"), "Client event rejected: an event name holds no control characters");
}

#[test]
fn events_that_clients_do_not_send_are_named_and_never_sent_on() {
    let mut client = Client::new();
    client.joins("private-a", None);
    for event in [
        "pusher:connection_established",
        "pusher:error",
        "pusher_internal:member_added",
        "my-client-a",
        "Client-a",
        "client",
        "tick",
        "",
    ] {
        let text = format!(r#"{{"event":"{event}","channel":"private-a","data":{{}}}}"#);
        client.is_told(&text, &format!("Unsupported event received on socket: {event}"));
    }
}

#[test]
fn a_message_that_is_none_is_answered_with_the_reason_and_the_connection_stays() {
    let mut client = Client::new();
    for (text, why) in [
        ("", "it is not a JSON object"),
        ("hello", "it is not a JSON object"),
        ("\u{feff}{}", "it is not a JSON object"),
        ("[]", "it is not a JSON object"),
        (r#"["pusher:ping",null,null]"#, "it is not a JSON object"),
        ("{", "EOF while parsing an object at line 1 column 1"),
        (r#"{"event":"pusher:ping"}x"#, "trailing characters at line 1 column 24"),
        ("{}", "missing field `event` at line 1 column 2"),
        (r#"{"event":5}"#, "invalid type: integer `5`, expected a string at line 1 column 10"),
        (r#"{"event":null}"#, "invalid type: null, expected a string at line 1 column 13"),
        (r#"{"event":"a","event":"b"}"#, "duplicate field `event` at line 1 column 20"),
        (r#"{"event":"\ud800"}"#, "unexpected end of hex escape at line 1 column 17"),
        (
            r#"{"event":"client-a","channel":"private-a","data":"\ud800"}"#,
            "it has one half of a surrogate pair, which is no character",
        ),
        (r#"{"event":"client-a"}"#, "missing field `channel`"),
        (
            r#"{"event":"client-a","channel":[]}"#,
            "channel: invalid type: sequence, expected a string at line 1 column 0",
        ),
        (r#"{"event":"pusher:subscribe"}"#, "missing field `data`"),
        (r#"{"event":"pusher:subscribe","data":null}"#, "missing field `data`"),
        (r#"{"event":"pusher:subscribe","data":"a"}"#, "data: it is not a JSON object"),
        (r#"{"event":"pusher:subscribe","data":["a",null,null]}"#, "data: it is not a JSON object"),
        (r#"{"event":"pusher:subscribe","data":{}}"#, "data: missing field `channel` at line 1 column 2"),
        (
            r#"{"event":"pusher:subscribe","data":{"channel":"a","channel":"b"}}"#,
            "data: duplicate field `channel` at line 1 column 24",
        ),
        (
            r#"{"event":"pusher:subscribe","data":{"channel":5}}"#,
            "data: invalid type: integer `5`, expected a string at line 1 column 12",
        ),
        (
            r#"{"event":"pusher:signin","data":{"auth":"a"}}"#,
            "data: missing field `user_data` at line 1 column 12",
        ),
    ] {
        client.is_told(
            text,
            &format!(
                "Malformed message: {why}; a message is a JSON object like {{\"event\":\"pusher:ping\",\"data\":{{}}}}"
            ),
        );
    }
}

#[test]
fn nesting_however_deep_costs_no_stack() {
    const DEPTH: usize = 200_000;
    let mut client = Client::new();
    client.app.max_event = usize::MAX;
    client.joins("private-a", None);
    let deep = format!("{}{}", "[".repeat(DEPTH), "]".repeat(DEPTH));
    let text = format!(r#"{{"event":"client-a","channel":"private-a","data":{deep}}}"#);
    let Command::Publish(event) = client.says(&text).1 else { panic!() };
    assert_eq!(event.data, deep);
    let text = format!(r#"{{"other":{deep},"event":"pusher:ping","channel":{deep}}}"#);
    assert_eq!(client.says(&text).0.len(), 1);
    let data = format!(r#"{{"user_id":"1","user_info":{deep}}}"#);
    assert_eq!(client.says(&subscription("presence-a", Some(&data))).0.len(), 2);
    for text in [deep.clone(), "[".repeat(DEPTH), r#"{"event":"#.repeat(DEPTH)] {
        assert_eq!(client.says(&text).0.len(), 1);
    }
}

#[test]
fn what_a_client_sent_is_quoted_in_part_only() {
    let mut client = Client::new();
    let long = "é".repeat(100_000);
    for text in [
        format!(r#"{{"event":"{long}"}}"#),
        format!(r#"{{"event":"client-a","channel":{{"{long}":1}}}}"#),
        format!(r#"{{"event":"pusher:subscribe","data":{{"channel":["{long}"]}}}}"#),
        subscription(&format!("private-{long}"), None),
        sign_in(&long),
        format!(r#"{{"event":"pusher:unsubscribe","data":{{"channel":"{long}"}}}}"#),
        format!(r#"{{"event":"pusher:signin","data":{{"auth":"{KEY}:{long}","user_data":"{long}"}}}}"#),
    ] {
        let (replies, _) = client.says(&text);
        let error = replies.last().unwrap();
        assert!(error.len() < 4200, "{} bytes", error.len());
        assert!(error.starts_with(r#"{"event":"pusher:error""#), "{error}");
    }
}
