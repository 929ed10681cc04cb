//! Requests as server libraries sent them, from head to call; paths and methods.

#[path = "recorded_tests.rs"]
mod recorded;

use super::*;
use crate::pusher::channel::Name;
use recorded::{EDGE, NODE, PYTHON, PYTHON_OLD, RUST, RUST_RECORDED_AT_S, Recorded};

const KEY: &str = "278d425bdf160c739803";
const NOW_S: u64 = 1_353_088_179;

fn app() -> App {
    App::new("3", KEY, "7ad3773142a6692b25b8")
}

fn head(method: &str, target: &str) -> Option<Result<Head, Refused>> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Head::new(method, path, Some(query))
}

fn call((method, target, body): (&str, &str, &str), now_s: u64) -> Result<Call, Refused> {
    let head = head(method, target).unwrap()?;
    head.authenticate(&app(), now_s)?.call(body.as_bytes(), &app())
}

/// What is asked for, in short.
fn said(recorded: Recorded) -> String {
    said_at(recorded, NOW_S)
}

fn said_at(recorded: Recorded, now_s: u64) -> String {
    let (method, target, body) = recorded;
    let endpoint = head(method, target).unwrap().unwrap().endpoint;
    assert!(body.len() as u64 <= endpoint.body_len_max(&app()), "{} bytes to {target}", body.len());
    let event = |trigger: Trigger| {
        let channels: Vec<_> = trigger.channels.iter().map(Name::as_str).collect();
        let socket_id = trigger.socket_id.map(|id| format!(" but {id}")).unwrap_or_default();
        let info = trigger.info.map(said_info).unwrap_or_default();
        format!("{} {} to {}{socket_id}{info}", trigger.event.as_str(), trigger.data, channels.join(" "))
    };
    match call(recorded, now_s) {
        Ok(Call::Publish(trigger)) => event(trigger),
        Ok(Call::PublishBatch(batch)) => batch.into_iter().map(event).collect::<Vec<_>>().join("; "),
        Ok(Call::Channels { prefix, info }) => format!("channels {prefix:?}{}", said_info(info)),
        Ok(Call::Channel { name, info }) => format!("channel {}{}", name.as_str(), said_info(info)),
        Ok(Call::Users(name)) => format!("users of {}", name.as_str()),
        Ok(Call::Terminate(user)) => format!("terminate {user}"),
        Ok(Call::PublishTo(trigger)) => format!("{}, deprecated", event(trigger)),
        Ok(Call::Stats(name)) => panic!("no library asks for the stats of {name:?}"),
        Err(refused) => format!("{}: {refused}", refused.status()),
    }
}

fn said_info(info: Info) -> String {
    let Info { user_count, subscription_count, cache } = info;
    assert!(!cache);
    format!(
        " with{}{}",
        ["", " users"][usize::from(user_count)],
        ["", " subscribers"][usize::from(subscription_count)]
    )
}

const USER_ID: &str = "400: Invalid user id \"a b\": the identifier of the user holds ' '; allowed are A-Z a-z 0-9 _ - = @ , . ;";

#[test]
fn each_request_of_the_node_library_is_signed_and_understood() {
    assert_eq!(
        NODE.map(said),
        [
            r#"foo {"some":"data"} to project-3"#,
            "foo plain é to a presence-b but 1234.5678 with users subscribers",
            r#"x {"n":1} to a; y t to presence-b but 1.2 with users"#,
            r##"hi {"a":1} to #server-to-user-u1"##,
            USER_ID,
            "400: Invalid user id \"a@é\": the identifier of the user holds 'é'; allowed are A-Z a-z 0-9 _ - = @ , . ;",
            r#"channels "" with"#,
            r#"channels "presence-" with users"#,
            r#"channels "a b+\"c" with"#,
            "channel presence-b with users subscribers",
            "users of presence-b",
            r#"foo {"nonce":"39eMCZJMwMe4wEj8lpoA/vnvtKoO3/4L","ciphertext":"Jv3pq7O4yK1dv54Ko44Ja+6IGM/B23xx+cU54EQ5LA=="} to private-encrypted-x"#,
        ]
    );
}

#[test]
fn each_request_of_the_edge_library_is_signed_and_understood() {
    assert_eq!(
        EDGE.map(said),
        [
            r#"foo {"some":"data"} to project-3"#,
            "foo plain é to a b but 1234.5678 with subscribers",
            r#"x {"n":1} to a"#,
            r##"hi {"a":1} to #server-to-user-u1"##,
            USER_ID,
            r#"channels "presence-" with users"#,
            r#"channels "a b+\"c" with"#,
            "users of presence-b",
        ]
    );
}

#[test]
fn each_request_of_the_python_library_is_signed_and_understood() {
    assert_eq!(
        PYTHON.map(said),
        [
            r#"foo {"some": "data"} to project-3"#,
            "foo plain é to a presence-b but 1234.5678",
            r#"x {"n": 1} to a; y t to b"#,
            r#"channels "" with"#,
            r#"channels "presence-" with users"#,
            r#"channels "a b+\"c" with"#,
            "channel presence-b with users subscribers",
            "users of presence-b",
            "terminate u1@x",
            r##"hi {"a": 1} to #server-to-user-u1"##,
        ]
    );
}

#[test]
fn each_request_of_the_rust_library_is_signed_and_understood() {
    assert_eq!(
        RUST.map(|recorded| said_at(recorded, RUST_RECORDED_AT_S)),
        [
            r#"foo {"some":"data"} to project-3"#,
            "foo plain é to a presence-b but 1234.5678 with users",
            r#"x {"n":1} to a; y t to presence-b with users"#,
            "terminate u1@x",
            r#"channels "" with"#,
            r#"channels "presence-" with users"#,
            r#"channels "a b+\"c" with"#,
            "users of presence-b",
        ]
    );
}

#[test]
fn each_request_of_the_old_python_library_is_signed_and_understood() {
    assert_eq!(
        PYTHON_OLD.map(said),
        [
            r#"foo {"some": "data"} to project-3, deprecated"#,
            r#"foo {"some": "data"} to a,b;c@d=e but 1234.5678, deprecated"#,
        ]
    );
}

#[test]
fn each_recorded_request_is_refused_once_a_byte_of_its_target_or_body_is_another() {
    for (method, target, body) in NODE.into_iter().chain(EDGE).chain(PYTHON).chain(PYTHON_OLD) {
        for (from, to) in
            [("auth_key=2", "auth_key=3"), ("signature=", "signature=0"), ("1353088179", "1353088178")]
        {
            let spoilt = target.replace(from, to);
            let refused = call((method, &spoilt, body), NOW_S);
            assert_eq!(refused.unwrap_err().status(), 401, "{spoilt}");
        }
        let spoilt = format!("{body} ");
        let refused = call((method, target, &spoilt), NOW_S);
        assert_eq!(refused.unwrap_err().status(), 401, "{target} with {spoilt}");
    }
}

#[test]
fn a_path_names_the_app_and_the_endpoint() {
    let named = |method: &str, path: &str| {
        let head = head(method, path).unwrap().unwrap();
        (head.app, head.endpoint)
    };
    let app = AppOf::Id("3".into());
    for (method, path, endpoint) in [
        ("POST", "/apps/3/events", Endpoint::Events),
        ("POST", "/apps/3/batch_events", Endpoint::BatchEvents),
        ("GET", "/apps/3/channels", Endpoint::Channels),
        ("GET", "/apps/3/channels/a%2Cb", Endpoint::Channel("a,b".into())),
        ("GET", "/apps/3/channels/a%2Fusers", Endpoint::Channel("a/users".into())),
        ("GET", "/apps/3/channels/a/users", Endpoint::Users("a".into())),
        ("GET", "/apps/3/channels/a/stats", Endpoint::Stats("a".into())),
        ("POST", "/apps/3/channels/a/events", Endpoint::ChannelEvents("a".into())),
        ("POST", "/apps/3/users/a%20b/terminate_connections", Endpoint::Terminate("a b".into())),
    ] {
        assert_eq!(named(method, path), (app.clone(), endpoint));
    }
    assert_eq!(
        named("POST", "/users/u/terminate_connections?auth_key=k"),
        (AppOf::Key("k".into()), Endpoint::Terminate("u".into()))
    );
}

#[test]
fn what_a_proxy_has_not_removed_ahead_of_a_path_is_passed_over_and_may_be_signed() {
    let (method, target, body) = NODE[0];
    let target = format!("/ws/v1{target}");
    assert_eq!(head(method, &target).unwrap().unwrap().app(), &AppOf::Id("3".into()));
    assert!(call((method, &target, body), NOW_S).is_ok(), "signed without it");
}

#[test]
fn a_path_that_is_not_of_the_api_is_left_to_others() {
    for path in
        ["/", "/apps", "/users", "/users/u", "/users/u/x", "/channels/a", "/application/3", "/app/key", "*"]
    {
        assert_eq!(head("GET", path), None, "{path}");
    }
}

#[test]
fn a_path_or_method_that_names_nothing_is_refused() {
    let refused = |method: &str, path: &str| head(method, path).unwrap().unwrap_err();
    for path in [
        "/apps/",
        "/apps/3",
        "/apps/3/",
        "/apps/3/event",
        "/apps/3/events/",
        "/users/u/x/terminate_connections",
    ] {
        assert_eq!(refused("POST", path), Refused::Path, "{path}");
        assert_eq!(refused("POST", path).status(), 404);
    }
    for (method, path, allow) in [
        ("GET", "/apps/3/events", "POST"),
        ("POST", "/apps/3/channels", "GET"),
        ("PUT", "/apps/3/events", "POST"),
    ] {
        assert_eq!(refused(method, path), Refused::Method(allow));
        assert_eq!(refused(method, path).status(), 405);
    }
    let refused = refused("GET", "/apps/3/channels/%ff");
    assert_eq!((refused.status(), refused.to_string().as_str()), (400, "Invalid path: it is not UTF-8"));
}

#[test]
fn a_disabled_app_is_told_so() {
    let (method, target, _) = NODE[0];
    let disabled = App { is_enabled: false, ..app() };
    let refused = head(method, target).unwrap().unwrap().authenticate(&disabled, NOW_S).unwrap_err();
    assert_eq!((refused.status(), &refused), (403, &Refused::AppDisabled));
}
