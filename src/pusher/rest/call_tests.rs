//! Each rule of each endpoint, after the signature.

use super::*;
use crate::pusher::channel::InvalidName;
use crate::pusher::rest::parameters::Plus;

fn app() -> App {
    App::new("3", "key", "secret")
}

fn call(endpoint: Endpoint, query: &str, body: &str) -> Result<Call, Invalid> {
    endpoint.call(&Parameters::new(query, Plus::Plus), body.as_bytes(), &app())
}

fn event(body: &str) -> Result<Trigger, Invalid> {
    match call(Endpoint::Events, "", body)? {
        Call::Publish(trigger) => Ok(trigger),
        other => panic!("{other:?}"),
    }
}

fn names(trigger: &Trigger) -> Vec<&str> {
    trigger.channels.iter().map(Name::as_str).collect()
}

fn name(name: &str) -> Name {
    Name::new(name).unwrap()
}

#[test]
fn an_event_has_a_name_data_and_channels() {
    let trigger = event(r#"{"name":"foo","data":"{\"a\":1}","channels":["a","presence-b"]}"#).unwrap();
    assert_eq!(trigger.event.as_str(), "foo");
    assert_eq!(trigger.data, r#"{"a":1}"#);
    assert_eq!(names(&trigger), ["a", "presence-b"]);
    assert_eq!((trigger.socket_id, trigger.info), (None, None));
    let trigger = event(
        r#"{"name":"e","data":"","channel":"a","socket_id":"1234.5678","info":"user_count, subscription_count"}"#,
    )
    .unwrap();
    assert_eq!((names(&trigger), trigger.data.as_str()), (vec!["a"], ""));
    assert_eq!(trigger.socket_id.map(|id| id.to_string()).as_deref(), Some("1234.5678"));
    assert_eq!(trigger.info, Some(Info { user_count: true, subscription_count: true, cache: false }));
}

#[test]
fn parameters_that_are_null_or_unknown_are_as_if_not_given() {
    let body =
        r#"{"name":"e","data":"x","channel":null,"channels":["a"],"socket_id":null,"info":null,"tags":{}}"#;
    let trigger = event(body).unwrap();
    assert_eq!((names(&trigger), &trigger.socket_id, trigger.info), (vec!["a"], &None, None));
}

#[test]
fn data_that_is_a_json_value_is_published_as_its_text() {
    for (json, text) in [
        (r#"{"a": [1]}"#, r#"{"a": [1]}"#),
        ("[1,2]", "[1,2]"),
        ("1.50", "1.50"),
        ("true", "true"),
        (r#""é\u00e9\n""#, "éé\n"),
    ] {
        let trigger = event(&format!(r#"{{"name":"e","data":{json},"channel":"a"}}"#)).unwrap();
        assert_eq!(trigger.data, text);
    }
}

#[test]
fn parameters_that_the_body_does_not_give_may_be_in_the_query() {
    let query = "name=e&data=x%20y&channels[]=a&channels[]=b&socket_id=1.2&info=subscription_count";
    let Ok(Call::Publish(trigger)) = call(Endpoint::Events, query, "") else { panic!() };
    assert_eq!((names(&trigger), trigger.data.as_str()), (vec!["a", "b"], "x y"));
    assert_eq!(trigger.socket_id.map(|id| id.to_string()).as_deref(), Some("1.2"));
    let body = r#"{"name":"f","data":"z"}"#;
    let Ok(Call::Publish(trigger)) = call(Endpoint::Events, "name=e&channel=c", body) else { panic!() };
    assert_eq!((trigger.event.as_str(), names(&trigger), trigger.data.as_str()), ("f", vec!["c"], "z"));
    assert_eq!(call(Endpoint::Events, "name=e&name=f", ""), Err(Invalid::Twice("name")));
    assert_eq!(call(Endpoint::Events, "name=%ff", ""), Err(Invalid::NotUtf8("name")));
}

#[test]
fn what_an_event_lacks_is_named() {
    assert_eq!(event("{}"), Err(Invalid::Missing("name")));
    assert_eq!(event(r#"{"name":"e","data":"x"}"#), Err(Invalid::Missing("channels")));
    assert_eq!(event(r#"{"name":"e","data":"x","channels":[]}"#), Err(Invalid::Missing("channels")));
    assert_eq!(event(r#"{"name":"e","channel":"a"}"#), Err(Invalid::Missing("data")));
    assert_eq!(event(r#"{"name":"e","channel":"a","data":null}"#), Err(Invalid::Missing("data")));
    let both = r#"{"name":"e","data":"x","channel":"a","channels":["b"]}"#;
    assert_eq!(event(both), Err(Invalid::ChannelAndChannels));
}

#[test]
fn a_body_that_is_not_the_json_of_an_event_is_refused_with_the_place() {
    for body in [
        "x",
        "[]",
        "\"\"",
        r#"{"name":}"#,
        r#"{"name":1}"#,
        r#"{"channels":"a"}"#,
        r#"{"name":"a","name":"b"}"#,
    ] {
        let refused = event(body).unwrap_err();
        assert!(refused.to_string().contains("at line 1 column"), "{refused}");
    }
    assert!(event(r#"{"name":"e","channel":"a","data":"\ud800"}"#).is_err(), "half of a character");
    assert!(event(&"[".repeat(10_000)).is_err());
}

#[test]
fn an_event_goes_to_each_channel_once_and_to_100_at_most() {
    let to = |names: Vec<String>| {
        event(&format!(r#"{{"name":"e","data":"x","channels":{}}}"#, serde_json::to_string(&names).unwrap()))
    };
    let twice = to(vec!["b".into(), "a".into(), "b".into()]).unwrap();
    assert_eq!(names(&twice), ["b", "a"]);
    assert_eq!(to((0..100).map(|n| format!("c{n}")).collect()).unwrap().channels.len(), 100);
    assert_eq!(to(vec!["a".into(); 101]), Err(Invalid::TooManyChannels(101)));
}

#[test]
fn an_event_for_an_encrypted_channel_goes_to_no_other() {
    let to = |names: &str| event(&format!(r#"{{"name":"e","data":"x","channels":[{names}]}}"#));
    assert!(to(r#""private-encrypted-a""#).is_ok());
    assert!(to(r#""private-encrypted-a","private-encrypted-a""#).is_ok(), "it is one channel");
    let refused = to(r#""a","private-encrypted-cache-a""#).unwrap_err();
    assert_eq!(refused, Invalid::Encrypted("private-encrypted-cache-a".into()));
}

#[test]
fn names_that_break_their_rules_are_refused_with_the_rule() {
    let refused = |name: &str, channel: &str| {
        event(&format!(r#"{{"name":"{name}","data":"x","channel":"{channel}"}}"#)).unwrap_err()
    };
    assert_eq!(
        refused("e", "a b").to_string(),
        r#"Invalid channel name "a b": the channel name holds ' '; allowed are A-Z a-z 0-9 _ - = @ , . ;"#
    );
    assert_eq!(
        refused("e", "@fanfare.dashboard"),
        Invalid::Channel { sent: "@fanfare.dashboard".into(), why: InvalidName::Reserved }
    );
    for name in ["pusher:member_added", "pusher_internal:x"] {
        assert_eq!(refused(name, "a"), Invalid::EventReserved(name.into()));
    }
    assert!(matches!(refused(&"e".repeat(201), "a"), Invalid::Event { .. }));
    assert!(matches!(refused("", "a"), Invalid::Event { .. }));
    assert!(event(&format!(r#"{{"name":"{}","data":"x","channel":"a"}}"#, "e".repeat(200))).is_ok());
    assert!(event(r##"{"name":"pusher","data":"x","channel":"#server-to-user-1"}"##).is_ok());
}

#[test]
fn a_socket_id_is_two_numbers_with_a_full_stop_between() {
    let with = |id: &str| event(&format!(r#"{{"name":"e","data":"x","channel":"a","socket_id":"{id}"}}"#));
    assert!(with("1.2").is_ok());
    for id in ["", ".", "1.", ".2", "1.2.3", "a.b", "1:2", " 1.2", "undefined"] {
        assert_eq!(with(id), Err(Invalid::SocketId(id.into())));
    }
}

#[test]
fn data_may_have_as_many_bytes_as_the_app_allows() {
    let with = |data: String| event(&format!(r#"{{"name":"e","data":"{data}","channel":"a"}}"#));
    assert!(with("x".repeat(10_240)).is_ok());
    assert!(with("\\u0000".repeat(10_240)).is_ok(), "escapes are not counted");
    let refused = with("é".repeat(5_121)).unwrap_err();
    assert_eq!((refused.status(), &refused), (413, &Invalid::DataTooLong { len: 10_242, len_max: 10_240 }));
    assert!(
        refused
            .to_string()
            .starts_with("The data content of this event exceeds the allowed maximum (10240 bytes)"),
        "{refused}"
    );
}

#[test]
fn whatever_is_within_the_limits_of_an_app_fits_a_body() {
    let longest = format!(
        r#"{{"name":"{}","data":"{}","channels":{},"socket_id":"{}.1","info":"user_count,subscription_count"}}"#,
        "\\u00e9".repeat(100),
        "\\u0000".repeat(10_240),
        serde_json::to_string(&(0..100).map(|n| format!("{n:0200}")).collect::<Vec<_>>()).unwrap(),
        "1".repeat(20),
    );
    assert!(event(&longest).is_ok());
    assert!(longest.len() as u64 <= Endpoint::Events.body_len_max(&app()), "{}", longest.len());
    assert_eq!(Endpoint::Channels.body_len_max(&app()), 0);
    assert_eq!(Endpoint::Events.body_too_long(&app()).status(), 413);
}

#[test]
fn a_batch_is_up_to_10_events_of_one_channel_each_in_their_order() {
    let of = |count: usize| {
        let events: Vec<_> =
            (0..count).map(|n| format!(r#"{{"name":"e{n}","data":"x","channel":"a"}}"#)).collect();
        call(Endpoint::BatchEvents, "", &format!(r#"{{"batch":[{}]}}"#, events.join(",")))
    };
    let Ok(Call::PublishBatch(batch)) = of(10) else { panic!() };
    let events: Vec<_> = batch.iter().map(|trigger| trigger.event.as_str()).collect();
    assert_eq!(events, ["e0", "e1", "e2", "e3", "e4", "e5", "e6", "e7", "e8", "e9"]);
    assert_eq!(of(0), Ok(Call::PublishBatch(vec![])));
    assert_eq!(of(11), Err(Invalid::TooManyEvents(11)));
    let batch = |event: &str| call(Endpoint::BatchEvents, "", &format!(r#"{{"batch":[{event}]}}"#));
    assert_eq!(batch(r#"{"name":"e","data":"x","channels":["a"]}"#), Err(Invalid::Missing("channel")));
    assert_eq!(
        batch(r#"{"name":"pusher:x","data":"x","channel":"a"}"#),
        Err(Invalid::EventReserved("pusher:x".into()))
    );
    assert!(matches!(call(Endpoint::BatchEvents, "", "{}"), Err(Invalid::Body(_))));
    assert!(matches!(call(Endpoint::BatchEvents, "", ""), Err(Invalid::Body(_))));
}

#[test]
fn an_attribute_that_an_event_or_a_list_does_not_have_is_refused() {
    let refused = event(r#"{"name":"e","data":"x","channel":"a","info":"user_count,cache"}"#).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"Unknown attribute "cache" in info: there are user_count, subscription_count"#
    );
    let refused = call(Endpoint::Channels, "info=cache", "").unwrap_err();
    assert!(matches!(refused, Invalid::Attribute { .. }));
    let refused = call(Endpoint::Channel("a".into()), "info=members", "").unwrap_err();
    assert!(refused.to_string().ends_with("user_count, subscription_count, cache"), "{refused}");
}

#[test]
fn channels_are_listed_by_prefix_and_users_are_counted_in_presence_channels_only() {
    let list = |query: &str| call(Endpoint::Channels, query, "");
    let call = |prefix: &str, info| Ok(Call::Channels { prefix: prefix.into(), info });
    let users = Info { user_count: true, ..Info::default() };
    assert_eq!(list(""), call("", Info::default()));
    assert_eq!(list("filter_by_prefix=presence-&info=user_count"), call("presence-", users));
    assert_eq!(list("filter_by_prefix=presence-a&info[]=user_count"), call("presence-a", users));
    assert_eq!(list("info=user_count"), Err(Invalid::UserCount));
    assert_eq!(list("filter_by_prefix=pres&info=user_count"), Err(Invalid::UserCount));
    assert_eq!(list("filter_by_prefix=a&filter_by_prefix=b"), Err(Invalid::Twice("filter_by_prefix")));
}

#[test]
fn a_channel_is_asked_for_what_its_kind_has() {
    let ask =
        |channel: &str, info: &str| call(Endpoint::Channel(channel.into()), &format!("info={info}"), "");
    let all = Info { user_count: true, subscription_count: true, cache: true };
    let answer = ask("presence-cache-a", "user_count,subscription_count,cache");
    assert_eq!(answer, Ok(Call::Channel { name: name("presence-cache-a"), info: all }));
    assert_eq!(ask("a", ""), Ok(Call::Channel { name: name("a"), info: Info::default() }));
    assert_eq!(ask("a", "user_count"), Err(Invalid::UserCount));
    assert_eq!(ask("a", "cache"), Err(Invalid::NotCache));
    assert!(ask("a", "subscription_count").is_ok());
    assert!(matches!(ask("a/b", ""), Err(Invalid::Channel { .. })));
}

#[test]
fn only_presence_channels_have_users() {
    let users = |channel: &str| call(Endpoint::Users(channel.into()), "", "");
    assert_eq!(users("presence-a"), Ok(Call::Users(name("presence-a"))));
    assert_eq!(users("private-a"), Err(Invalid::NotPresence));
}

#[test]
fn a_user_is_named_in_the_alphabet_of_channels() {
    let terminate = |user: &str| call(Endpoint::Terminate(user.into()), "", "{}");
    assert_eq!(terminate("u1@x"), Ok(Call::Terminate("u1@x".into())));
    let refused = terminate("a b").unwrap_err();
    assert!(
        refused.to_string().starts_with(r#"Invalid user id "a b": the identifier of the user holds ' '"#),
        "{refused}"
    );
}

#[test]
fn the_deprecated_event_has_its_name_in_the_query_and_its_data_as_the_body() {
    let publish = |query: &str, body: &str| call(Endpoint::ChannelEvents("a".into()), query, body);
    let Ok(Call::PublishTo(trigger)) = publish("name=e&socket_id=1.2", "{\"x\":1}") else { panic!() };
    assert_eq!(
        (trigger.event.as_str(), names(&trigger), trigger.data.as_str()),
        ("e", vec!["a"], "{\"x\":1}")
    );
    assert_eq!(trigger.socket_id.map(|id| id.to_string()).as_deref(), Some("1.2"));
    assert_eq!(publish("", "x"), Err(Invalid::Missing("name")));
    let invalid =
        Endpoint::ChannelEvents("a".into()).call(&Parameters::new("name=e", Plus::Plus), b"\xff", &app());
    assert_eq!(invalid, Err(Invalid::NotUtf8("body")));
    assert_eq!(call(Endpoint::Stats("a".into()), "", ""), Ok(Call::Stats(name("a"))));
}
