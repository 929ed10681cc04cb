//! Messages of clients as literal text, and what they ask for or what is wrong with them.

use proptest::prelude::*;

use super::*;
use crate::commands::answer;
use crate::hub::PublicationId;

const LIMITS: Limits = Limits { channels_max: 3 };

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

/// The reference as JSON, and the command.
fn read(text: &str) -> (Option<String>, Command<'_>) {
    let Request { reference, command } =
        parse(text, &LIMITS).unwrap_or_else(|fault| panic!("{text}: {fault}"));
    (reference.map(|reference| reference.to_string()), command)
}

fn message(text: &str) -> Message<'_> {
    match read(text).1 {
        Command::Publish(message) => message,
        other => panic!("{text}: {other:?}"),
    }
}

/// The answer to a message that is wrong as a whole, or in its one channel.
fn refused(text: &str) -> String {
    answer::error(&parse(text, &LIMITS).map(|request| panic!("{text}: {request:?}")).unwrap_err())
}

/// The answer that the sentence of a `bad_command` is in.
fn told(channel: &str, reference: &str, sentence: &str) -> String {
    let channel = if channel.is_empty() { String::new() } else { format!(r#","channel":"{channel}""#) };
    let reference = if reference.is_empty() { String::new() } else { format!(r#","ref":{reference}"#) };
    let sentence = serde_json::to_string(sentence).unwrap();
    format!(
        r#"{{"event":"fanfare:error"{channel}{reference},"data":{{"code":"bad_command","status":400,"message":{sentence}}}}}"#
    )
}

/// Asserts what a client is told that sends a message with a `ref` of 1 that is wrong as a whole.
fn assert_told(text: &str, sentence: &str) {
    assert_eq!(refused(text), told("", "1", sentence), "{text}");
}

fn assert_told_of(channel: &str, text: &str, sentence: &str) {
    assert_eq!(refused(text), told(channel, "1", sentence), "{text}");
}

/// What a subscriber is told of each channel that it asks for wrongly; the names of the others.
fn subscribed_to(items: &str) -> Vec<Result<Wanted, String>> {
    let text = format!(r#"{{"event":"fanfare:subscribe","ref":1,"data":[{items}]}}"#);
    let Command::Subscribe(all) = read(&text).1 else { panic!("{text}") };
    all.into_iter().map(|one| one.map_err(|fault| answer::error(&fault))).collect()
}

#[test]
fn a_client_subscribes_to_channels_each_with_its_position_and_presence() {
    let text = r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"news","since":"8c1f5d0e7a21-7"},{"channel":"chat-7","last":10,"presence":true},{"channel":"ops"}]}"#;
    let (reference, command) = read(text);
    assert_eq!(reference.as_deref(), Some("1"));
    let id = PublicationId { epoch: 0x8c1f_5d0e_7a21, sequence: 7 };
    assert_eq!(
        command,
        Command::Subscribe(vec![
            Ok(Wanted { channel: name("news"), position: Some(Position::After(id)), presence: false }),
            Ok(Wanted { channel: name("chat-7"), position: Some(Position::Last(10)), presence: true }),
            Ok(Wanted { channel: name("ops"), position: None, presence: false }),
        ])
    );
}

#[test]
fn a_client_publishes_an_envelope_with_a_channel() {
    let text = r#"{"channel":"chat-7","event":"say","ref":2,"key":"7f3a","data":"hi"}"#;
    assert_eq!(
        read(text),
        (
            Some("2".to_owned()),
            Command::Publish(Message {
                channel: name("chat-7"),
                event: Some(EventName::new("say").unwrap()),
                content: Content::Text,
                data: Cow::Borrowed(b"hi"),
                key: Some(Cow::Borrowed("7f3a")),
            })
        )
    );
}

#[test]
fn a_client_asks_for_history_and_presence_unsubscribes_and_authorizes() {
    assert_eq!(
        read(r#"{"event":"fanfare:history","ref":3,"data":{"channel":"news","last":1}}"#),
        (Some("3".to_owned()), Command::History { channel: name("news"), position: Position::Last(1) })
    );
    assert_eq!(
        read(r#"{"event":"fanfare:presence","ref":4,"data":{"channel":"chat-7"}}"#),
        (Some("4".to_owned()), Command::Presence { channel: name("chat-7") })
    );
    assert_eq!(
        read(r#"{"event":"fanfare:unsubscribe","ref":5,"data":["news"]}"#),
        (Some("5".to_owned()), Command::Unsubscribe(vec![Ok(name("news"))]))
    );
    assert_eq!(
        read(r#"{"event":"fanfare:authorize","ref":6,"data":{"token":"eyJ…"}}"#),
        (Some("6".to_owned()), Command::Authorize { token: Cow::Borrowed("eyJ…") })
    );
}

#[test]
fn white_space_the_order_of_names_and_escapes_change_nothing() {
    let text =
        "\r\n{ \"data\" : [ \"\\u006eews\" ] ,\t\"ref\":\"a\", \"event\" : \"fanfare\\u003aunsubscribe\" } ";
    assert_eq!(read(text), (Some("\"a\"".to_owned()), Command::Unsubscribe(vec![Ok(name("news"))])));
}

#[test]
fn what_one_gets_may_be_sent_as_it_came() {
    let message = message(r#"{"channel":"news","id":"8c1f5d0e7a21-8","event":"tick","data":{"price":1.50}}"#);
    assert_eq!((message.content, &*message.data), (Content::Json, &br#"{"price":1.50}"#[..]));
    assert!(matches!(message.data, Cow::Borrowed(_)), "nothing is copied");
}

#[test]
fn a_publisher_sends_text_any_json_or_bytes_as_base64() {
    for (data, content, payload) in [
        (r#""say \"hi\"""#, Content::Text, &br#"say "hi""#[..]),
        (r#""""#, Content::Text, b""),
        (r#""\ud83d\ude00""#, Content::Text, "😀".as_bytes()),
        ("null", Content::Json, b"null"),
        ("-1.0e2", Content::Json, b"-1.0e2"),
        ("[1, 2]", Content::Json, b"[1, 2]"),
        (r#"{"a":1,"a":2}"#, Content::Json, br#"{"a":1,"a":2}"#),
        (r#""AP8=","encoding":"base64""#, Content::Binary, b"\x00\xff"),
        (r#""","encoding":"base64""#, Content::Binary, b""),
        (r#""AP8=","encoding":null"#, Content::Text, b"AP8="),
    ] {
        let text = format!(r#"{{"channel":"a","data":{data}}}"#);
        let message = message(&text);
        assert_eq!((message.content, &*message.data), (content, payload), "{data}");
        assert_eq!((message.event, message.key), (None, None));
    }
}

#[test]
fn null_stands_for_nothing_where_something_may_be_left_out() {
    let text = r#"{"event":null,"ref":null,"key":null,"channel":"a","data":1}"#;
    assert_eq!(read(text).0, None);
    assert_eq!((message(text).event, message(text).key), (None, None));
    let wanted = Wanted { channel: name("a"), position: None, presence: false };
    assert_eq!(subscribed_to(r#"{"channel":"a","since":null,"last":null,"presence":null}"#), [Ok(wanted)]);
}

#[test]
fn a_position_is_an_identifier_a_number_or_from_now_on() {
    let position = |item: &str| subscribed_to(item).remove(0).unwrap().position;
    let id = PublicationId { epoch: 0xbeef, sequence: 7 };
    assert_eq!(position(r#"{"channel":"a","since":"beef-7"}"#), Some(Position::After(id)));
    assert_eq!(position(r#"{"channel":"a","since":""}"#), Some(Position::Now));
    assert_eq!(position(r#"{"channel":"a","last":0}"#), Some(Position::Last(0)));
}

#[test]
fn a_wrong_channel_of_a_list_is_told_of_and_the_others_are_subscribed_to() {
    let all = subscribed_to(r#"{"channel":"7/prices"},{"channel":"news"},{"channel":"@fanfare.watch/a b"}"#);
    let slash =
        "This is no name of a channel: the channel name holds '/'; allowed are A-Z a-z 0-9 _ - = @ , . ;.";
    assert_eq!(all[0], Err(told("7/prices", "1", slash)));
    assert_eq!(all[1], Ok(Wanted { channel: name("news"), position: None, presence: false }));
    let space =
        "This is no name of a channel: the channel name holds ' '; allowed are A-Z a-z 0-9 _ - = @ , . ;.";
    assert_eq!(all[2], Err(told("@fanfare.watch/a b", "1", space)));
}

#[test]
fn what_the_server_has_of_its_own_may_be_asked_for() {
    for name in ["@fanfare.dashboard", "@fanfare.watch/7/private-room"] {
        let [Ok(wanted)] = &subscribed_to(&format!(r#"{{"channel":"{name}"}}"#))[..] else {
            panic!("{name}")
        };
        assert_eq!(wanted.channel.as_str(), name);
    }
}

#[test]
fn what_is_wrong_with_one_channel_of_a_subscriber_is_said() {
    let since = "since is the id of a publication, such as 8c1f5d0e7a21-7, or empty for from now on.";
    let last = "last is a number of publications, such as 10.";
    let long = "x".repeat(60);
    for (rest, sentence) in [
        (r#""since":"a-1","last":1"#, "Give since or last, not both.".to_owned()),
        (r#""since":"7""#, since.to_owned()),
        (r#""since":7"#, since.to_owned()),
        (r#""last":-1"#, last.to_owned()),
        (r#""last":1.5"#, last.to_owned()),
        (r#""last":1e3"#, last.to_owned()),
        (r#""last":99999999999999999999"#, last.to_owned()),
        (r#""last":"10""#, last.to_owned()),
        (r#""presence":1"#, "presence is true or false.".to_owned()),
        (r#""last":1,"last":2"#, "last comes twice.".to_owned()),
        (r#""sinc":"a-1""#, "sinc is none of channel, since, last, presence.".to_owned()),
        (&format!(r#""{long}":1"#), format!("{}… is none of channel, since, last, presence.", &long[..50])),
    ] {
        let all = subscribed_to(&format!(r#"{{"channel":"a",{rest}}},{{"channel":"b"}}"#));
        assert_eq!(all[0], Err(told("a", "1", &sentence)), "{rest}");
        assert!(all[1].is_ok(), "{rest}");
    }
}

#[test]
fn a_wrong_name_of_a_client_that_unsubscribes_is_told_of() {
    let (_, command) = read(r#"{"event":"fanfare:unsubscribe","ref":1,"data":["","a"]}"#);
    let Command::Unsubscribe(all) = command else { panic!("{command:?}") };
    let empty = "This is no name of a channel: the channel name is empty.";
    let error = answer::error(all[0].as_ref().unwrap_err());
    assert_eq!(error, told("", "1", empty).replace(r#","ref""#, r#","channel":"","ref""#));
    assert_eq!(all[1], Ok(name("a")));
}

#[test]
fn a_list_is_of_channels_each_once_and_not_of_too_many() {
    let subscribe = |data: &str| format!(r#"{{"event":"fanfare:subscribe","ref":1,"data":{data}}}"#);
    let unsubscribe = |data: &str| format!(r#"{{"event":"fanfare:unsubscribe","ref":1,"data":{data}}}"#);
    let list = r#"data of fanfare:subscribe is a list: [{"channel":"news"}]."#;
    for data in [r#"{"channel":"news"}"#, r#""news""#, "null", "1"] {
        assert_told(&subscribe(data), list);
    }
    assert_told(r#"{"event":"fanfare:subscribe","ref":1}"#, list);
    assert_told(r#"{"event":"fanfare:subscribe","ref":1,"channel":"news"}"#, list);
    let wrong =
        |what: &str| format!(r#"data of fanfare:subscribe: {what}; it looks like [{{"channel":"news"}}]."#);
    assert_told(&subscribe("[]"), &wrong("it names no channel"));
    assert_told(&subscribe(r#"["news"]"#), &wrong("item 1 is a string"));
    assert_told(&subscribe(r#"[{"channel":"a"},[]]"#), &wrong("item 2 is a list"));
    assert_told(&subscribe(r#"[{"last":1}]"#), &wrong("item 1 has no channel"));
    assert_told(&subscribe(r#"[{"channel":null}]"#), &wrong("item 1 has no channel"));
    assert_told(&subscribe(r#"[{"channel":7}]"#), &wrong("item 1 has a channel that is no string"));
    assert_told(&subscribe(r#"[{"channel":"a","channel":"b"}]"#), &wrong("item 1 has channel twice"));
    let twice = "Channel a is listed twice; list each once.";
    assert_told(&subscribe(r#"[{"channel":"a"},{"channel":"\u0061","last":1}]"#), twice);
    assert_told(&unsubscribe(r#"["a","b","a"]"#), twice);
    assert_told(&unsubscribe(r#""a""#), r#"data of fanfare:unsubscribe is a list: ["news"]."#);
    let item = r#"data of fanfare:unsubscribe: item 1 is an object; it looks like ["news"]."#;
    assert_told(&unsubscribe(r#"[{"channel":"a"}]"#), item);
    let no_channel = r#"data of fanfare:unsubscribe: it names no channel; it looks like ["news"]."#;
    assert_told(&unsubscribe("[]"), no_channel);
    assert_eq!(
        refused(&unsubscribe(r#"["a","b","c","d"]"#)),
        r#"{"event":"fanfare:error","ref":1,"data":{"code":"too_many","status":429,"message":"4 channels are listed; a command has at most 3: send several."}}"#
    );
    assert!(parse(&unsubscribe(r#"["a","b","c"]"#), &LIMITS).is_ok());
}

#[test]
fn a_wrong_question_for_history_or_presence_is_told_of() {
    let history = |data: &str| format!(r#"{{"event":"fanfare:history","ref":1,"data":{data}}}"#);
    let presence = |data: &str| format!(r#"{{"event":"fanfare:presence","ref":1,"data":{data}}}"#);
    let form = r#"{"channel":"news","last":10}"#;
    assert_told(&history("[]"), &format!("data of fanfare:history is an object: {form}."));
    let wrong = |what: &str| format!("data of fanfare:history: {what}; it looks like {form}.");
    assert_told(&history("{}"), &wrong("it has no channel"));
    assert_told_of("a", &history(r#"{"channel":"a"}"#), &wrong("it has neither since nor last"));
    let both = r#"{"channel":"a","last":1,"since":""}"#;
    assert_told_of("a", &history(both), "Give since or last, not both.");
    let unknown = "presence is none of channel, since, last.";
    assert_told_of("a", &history(r#"{"channel":"a","last":1,"presence":true}"#), unknown);
    let own = "Channels whose names begin with @fanfare. are the server's own.";
    assert_told_of("@fanfare.x", &history(r#"{"channel":"@fanfare.x","last":1}"#), own);
    assert_told(&presence(r#""a""#), r#"data of fanfare:presence is an object: {"channel":"news"}."#);
    let none = r#"data of fanfare:presence: it has no channel; it looks like {"channel":"news"}."#;
    assert_told(&presence("{}"), none);
    assert_told_of("@fanfare.x", &presence(r#"{"channel":"@fanfare.x"}"#), own);
    assert_told_of("a", &presence(r#"{"channel":"a","last":1}"#), "last is none of channel.");
}

#[test]
fn an_authorization_without_a_token_is_told_of() {
    let authorize = |data: &str| format!(r#"{{"event":"fanfare:authorize","ref":1,"data":{data}}}"#);
    assert_told(&authorize(r#""eyJ""#), r#"data of fanfare:authorize is an object: {"token":"JWT"}."#);
    let none = r#"data of fanfare:authorize: it has no token; it looks like {"token":"JWT"}."#;
    for data in ["{}", r#"{"token":""}"#, r#"{"token":1}"#, r#"{"token":null}"#] {
        assert_told(&authorize(data), none);
    }
    assert_told(&authorize(r#"{"token":"a","token":"b"}"#), "token comes twice.");
    assert_told(&authorize(r#"{"token":"a","key":"b"}"#), "key is none of token.");
}

#[test]
fn a_wrong_publication_is_told_of_with_its_channel() {
    let publish = |rest: &str| format!(r#"{{"channel":"a","ref":1,{rest}}}"#);
    let example = r#"{"channel":"news","event":"tick","data":1}"#;
    let no_data = format!("The message has no data; to publish is {example}.");
    assert_told_of("a", &publish(r#""event":"tick""#), &no_data);
    let encoding = "encoding is \"base64\", or left out.";
    assert_told_of("a", &publish(r#""data":"x","encoding":"hex""#), encoding);
    assert_told_of("a", &publish(r#""data":"x","encoding":true"#), encoding);
    let not_text = "data in base64 is a string, not an object.";
    assert_told_of("a", &publish(r#""data":{},"encoding":"base64""#), not_text);
    let not_base64 = "data is not base64 (RFC 4648 §4, padded): Invalid symbol 45, offset 0.";
    assert_told_of("a", &publish(r#""data":"-_8=","encoding":"base64""#), not_base64);
    let key = "key is 1 to 255 visible ASCII characters, such as a UUID.";
    for wrong in [r#""""#, r#""a b""#, r#""ü""#, "1", &format!(r#""{}""#, "k".repeat(256))] {
        assert_told_of("a", &publish(&format!(r#""data":1,"key":{wrong}"#)), key);
    }
    assert_eq!(
        message(&publish(&format!(r#""data":1,"key":"{}""#, "k".repeat(255)))).key.unwrap().len(),
        255
    );
    let reserved = "This is no name of an event: event names that begin with fanfare:, pusher: or pusher_internal: are \
                    the server's own.";
    assert_told_of("a", &publish(r#""data":1,"event":"pusher:ping""#), reserved);
    let empty = "This is no name of an event: an event name has 1 to 200 characters.";
    assert_told_of("a", &publish(r#""data":1,"event":"""#), empty);
    let own = "Channels whose names begin with @fanfare. are the server's own.";
    assert_told_of("@fanfare.x", r#"{"channel":"@fanfare.x","ref":1,"data":1}"#, own);
    let no_channel = format!(
        "The message names no channel; to publish is {example}, and commands have events like fanfare:subscribe."
    );
    for text in [
        r#"{"ref":1,"data":1}"#,
        r#"{"ref":1,"event":"subscribe","data":["a"]}"#,
        r#"{"channel":["a"],"ref":1}"#,
    ] {
        assert_told(text, &no_channel);
    }
}

#[test]
fn an_event_that_is_no_command_is_told_of_with_those_that_are() {
    let all = "fanfare:subscribe, fanfare:unsubscribe, fanfare:history, fanfare:presence, fanfare:authorize";
    for event in ["fanfare:", "fanfare:subscribed", "fanfare:Subscribe"] {
        let text = format!(r#"{{"event":"{event}","ref":1,"channel":"a","data":1}}"#);
        assert_told(&text, &format!("{event} is no command; there are {all}."));
    }
    let long = format!("fanfare:{}", "x".repeat(900_000));
    let cut = format!("{}… is no command; there are {all}.", &long[..50]);
    assert_told(&format!(r#"{{"event":"{long}","ref":1}}"#), &cut);
    assert_told(r#"{"event":7,"ref":1,"channel":"a","data":1}"#, "event is a string, not a number.");
}

#[test]
fn what_is_no_json_ends_the_connection_with_1007_and_a_sentence_that_fits() {
    for text in
        ["", "hello", "{", "{]", r#"{"a":1,}"#, "{} {}", "\"\n\"", "[01]", "\u{feff}{}", r#"{"a":"\x"}"#]
    {
        let fault = parse(text, &LIMITS).unwrap_err();
        assert_eq!(fault.closes(), Some(1007), "{text}: {fault}");
        assert!(fault.to_string().len() <= 123, "{fault}");
        assert_eq!((fault.kind.code(), fault.kind.status()), ("bad_command", 400));
    }
    let fault = parse("\n{\"a\":}", &LIMITS).unwrap_err();
    assert_eq!(fault.to_string(), "The message is not JSON: expected value at line 2 column 6.");
}

#[test]
fn json_that_is_no_command_leaves_the_connection_open() {
    for (text, kind) in [
        ("[]", "a list"),
        ("\"hello\"", "a string"),
        (" 1", "a number"),
        ("-1", "a number"),
        ("true", "true or false"),
        ("null", "null"),
    ] {
        let sentence = format!(
            r#"The message is {kind}; a message is an object like {{"channel":"news","event":"tick","data":1}}."#
        );
        assert_eq!(refused(text), told("", "", &sentence), "{text}");
        assert_eq!(parse(text, &LIMITS).unwrap_err().closes(), None);
    }
}

#[test]
fn a_name_that_comes_twice_is_refused_with_the_reference_unless_it_is_that() {
    assert_told(r#"{"channel":"a","ref":1,"data":1,"data":2}"#, "The message has data twice.");
    assert_told(r#"{"channel":"a","ref":1,"\u0063hannel":"b","data":2}"#, "The message has channel twice.");
    let twice = told("", "", "The message has ref twice.");
    assert_eq!(refused(r#"{"channel":"a","ref":1,"ref":2,"data":1}"#), twice);
    let twice = told("", "", "The message has event twice.");
    assert_eq!(refused(r#"{"event":"a","event":"b","ref":1,"ref":2}"#), twice);
}

#[test]
fn half_of_a_surrogate_pair_is_refused_wherever_it_stands() {
    let half = "The message has one half of a surrogate pair, which is no character; send both halves.";
    for text in [
        r#"{"channel":"a","ref":1,"data":"\ud800"}"#,
        r#"{"channel":"a","ref":1,"data":{"x":["\ude00\ud83d"]}}"#,
        r#"{"channel":"\ud83d\ud83d","ref":1,"data":1}"#,
        r#"{"event":"fanfare:subscribe","ref":1,"data":[{"channel":"\udfff"}]}"#,
    ] {
        assert_told(text, half);
    }
    for text in [r#"{"\ud800":1,"ref":1}"#, r#"{"channel":"a","ref":"\ud800","data":1}"#] {
        assert_eq!(refused(text), told("", "", half));
    }
}

#[test]
fn a_message_that_is_nested_too_deep_is_refused_and_costs_no_stack() {
    let nested = |depth: usize| {
        format!(r#"{{"channel":"a","ref":1,"data":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
    };
    assert_eq!(message(&nested(99)).data.len(), 198);
    for depth in [100, 1_000_000] {
        assert_told(&nested(depth), "The message is nested deeper than 100.");
    }
}

#[test]
fn a_number_beyond_what_readers_take_is_refused() {
    let beyond = "The message has a number beyond 1.7e308; send it as a string.";
    let digits = "9".repeat(400);
    for number in ["1e309", "-1.8E+308", "1e999999999999999999999", digits.as_str()] {
        assert_told(&format!(r#"{{"channel":"a","ref":1,"data":[{number}]}}"#), beyond);
        assert_eq!(refused(&format!(r#"{{"channel":"a","ref":{number},"data":1}}"#)), told("", "", beyond));
    }
    for number in ["1.7e308", "1e-999", "0.1", "123456789012345678901234567890", &digits[..300]] {
        assert_eq!(message(&format!(r#"{{"channel":"a","data":{number}}}"#)).data, number.as_bytes());
    }
}

#[test]
fn a_reference_is_a_number_or_a_string_of_64_bytes_and_comes_back_as_it_came() {
    let with = |reference: &str| format!(r#"{{"channel":"a","ref":{reference},"data":1}}"#);
    let (string, digits) = (format!(r#""{}""#, "ü".repeat(32)), "1".repeat(64));
    let escaped = format!(r#""{}""#, r"\u0041".repeat(64));
    for reference in ["0", "-1.50", "1e3", r#""""#, r#""a\"b""#, &string, &digits, &escaped] {
        assert_eq!(read(&with(reference)).0.as_deref(), Some(reference));
    }
    let wrong = |what: &str| {
        told("", "", &format!("ref is a number or a string, of up to 64 bytes; this is {what}."))
    };
    for (reference, what) in
        [("true", "true or false"), ("{}", "an object"), ("[1]", "a list"), ("false", "true or false")]
    {
        assert_eq!(refused(&with(reference)), wrong(what), "{reference}");
    }
    assert_eq!(refused(&with(&format!(r#""{}""#, "a".repeat(65)))), wrong("one of 65"));
    assert_eq!(refused(&with(&"1".repeat(65))), wrong("one of 65"));
}

/// Texts that are nearly commands: pieces of some, in any order.
fn nearly() -> impl Strategy<Value = String> {
    let pieces = [
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\"",
        "\\",
        "\\ud800",
        "\\u0061",
        " ",
        "1",
        "-1e999",
        "null",
        "true",
        "\"event\":",
        "\"fanfare:subscribe\"",
        "\"fanfare:unsubscribe\"",
        "\"fanfare:history\"",
        "\"fanfare:authorize\"",
        "\"ref\":",
        "\"data\":",
        "\"channel\":",
        "\"news\"",
        "\"since\":",
        "\"8c1f5d0e7a21-7\"",
        "\"last\":",
        "\"presence\":",
        "\"key\":",
        "\"encoding\":",
        "\"base64\"",
        "\"@fanfare.x\"",
        "{\"event\":\"fanfare:subscribe\",\"ref\":1,\"data\":[",
        "{\"channel\":\"a\"}",
        "{\"channel\":\"b/c\"}",
        "]}",
    ];
    prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..24).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn any_text_gives_a_command_or_a_fault_that_is_told_in_json(text in prop_oneof![any::<String>(), nearly()]) {
        let faults = match parse(&text, &LIMITS) {
            Ok(Request { command: Command::Subscribe(all), .. }) => all.into_iter().filter_map(Result::err).collect(),
            Ok(Request { command: Command::Unsubscribe(all), .. }) => all.into_iter().filter_map(Result::err).collect(),
            Ok(_) => Vec::new(),
            Err(fault) => vec![fault],
        };
        for fault in faults {
            let error: serde_json::Value = serde_json::from_str(&answer::error(&fault)).unwrap();
            prop_assert_eq!(&error["event"], "fanfare:error");
            prop_assert!(error["data"]["message"].as_str().unwrap().ends_with('.'));
        }
    }
}
