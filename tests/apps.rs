//! Apps as an operator sees them: how they are configured, what is said at the start, and what a SIGHUP does.

#![cfg(unix)] // for its signals
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::fs::{self, File};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::{Value, json};
use support::pusher::{Pusher, sign};
use support::*;
use tempfile::NamedTempFile;

/// Writes the file, sends a SIGHUP and waits for the line with these words. There may be others: a slow machine gives the server
/// the time to see by itself that the file has changed.
fn reload(logged: &Logged, file: &NamedTempFile, text: &str, words: &str) -> String {
    fs::write(file.path(), text).unwrap();
    logged.process.signal("HUP");
    logged.line(words)
}

/// An `[[app]]` table with more lines.
fn table(id: u32, lines: &str) -> String {
    format!("[[app]]\nid = {id}\nkey = \"key-{id}\"\nsecret = \"secret-{id}\"\n{lines}\n")
}

fn config_file(text: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    file
}

fn fanfare_with(file: &NamedTempFile, flags: &[&str]) -> Command {
    fanfare(&[&["--drain", "0s", "--config", file.path().to_str().unwrap()], flags].concat())
}

/// What the binary says when it refuses to start with this file, and how it ends.
fn refusal(text: &str) -> (Option<i32>, String) {
    let output = fanfare_with(&config_file(text), &[]).output().unwrap();
    assert!(output.stdout.is_empty(), "nothing is announced");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_server_with_a_wrong_table_does_not_start_and_says_which_app_and_key_and_what_to_give() {
    for (lines, code, words) in [
        (
            "client_events = true",
            2,
            "[[app]] \"7\": no key is called \"client_events\"; the nearest is \"client-events\"",
        ),
        ("max-event = \"lots\"", 2, "[[app]] \"7\": max-event: give a size"),
        ("max-channels = 0", 1, "[[app]] \"7\": max-channels: 0 would refuse every client"),
        (
            "webhooks = [{ url = \"https://u@a.example\" }]",
            1,
            "[[app]] \"7\": webhooks: \"https://u@a.example\": give a URL such as",
        ),
    ] {
        let (ended, said) = refusal(&table(7, lines));
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("secret-7"), "{said}");
    }
    let (ended, said) = refusal(&[table(7, ""), table(7, "")].concat());
    assert_eq!(ended, Some(1));
    assert!(said.contains("--app or [[app]] \"7\": id: another app has it too"), "{said}");
}

#[test]
fn development_mode_says_the_lines_of_pusher_js_that_reach_its_app() {
    let mut logged = spawn_logged(&mut fanfare(&["--drain", "0s"]));
    let line = logged.line("pusher-js");
    assert!(line.contains("app 1 with key app-key, secret app-secret"), "{line}");
    let lines: Vec<_> = (0..5).map(|_| logged.log.recv_timeout(PATIENCE).unwrap()).collect();
    let port = logged.process.address.port();
    let options = format!(
        "    wsHost: \"127.0.0.1\", wsPort: {port}, httpHost: \"127.0.0.1\", httpPort: {port}, forceTLS: false, cluster: \"\","
    );
    let expected = [
        "  const pusher = new Pusher(\"app-key\", {",
        &options,
        "  });",
        "  const channel = pusher.subscribe(\"prices\");",
        "  channel.bind(\"tick\", (data) => console.log(data));",
    ];
    assert_eq!(lines, expected);
    logged.process.signal("TERM");
    assert!(logged.process.wait().success());
}

#[test]
fn the_lines_of_pusher_js_have_the_key_of_the_first_app_and_never_its_secret() {
    let logged = spawn_logged(&mut fanfare(&["--app", "7:my-key:my-secret,8:other:other"]));
    let line = logged.line("pusher-js");
    assert!(line.contains("app 7 with key my-key;") && !line.contains("my-secret"), "{line}");
    assert!(logged.line("new Pusher").contains("new Pusher(\"my-key\""));
}

#[test]
fn outside_development_mode_no_app_is_offered() {
    let logged = spawn_logged(&mut fanfare(&["--publish-key", "secret"]));
    drop(logged.line("started"));
    assert!(logged.log.try_iter().all(|line| !line.contains("Pusher")));
    let mut exposed = fanfare(&["--app", "1:k:s"]);
    let output = exposed.args(["--listen", "0.0.0.0:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "an app is no publish key");
    assert!(String::from_utf8(output.stderr).unwrap().contains("--publish-key KEY"));
}

#[test]
fn a_hangup_reloads_the_apps_of_the_file_and_says_which_have_changed() {
    let file = config_file(&[table(1, ""), table(2, "")].concat());
    let logged = spawn_logged(&mut fanfare_with(&file, &[]));
    let two = [table(2, "client-events = true"), table(3, "")].concat();
    let line = reload(&logged, &file, &(table(1, "") + &two), ": apps: added 3; changed 2");
    assert!(line.ends_with(": apps: added 3; changed 2"), "{line}");
    let line = reload(&logged, &file, &two, ": apps: removed 1");
    assert!(line.ends_with(": apps: removed 1"), "{line}");
    let line = reload(&logged, &file, &two, ": nothing has changed");
    assert!(line.ends_with(": nothing has changed"), "{line}");
    logged.process.signal("HUP");
    let line = logged.line("no app has the channels under /channels/");
    assert!(line.contains("app 1 had them"), "{line}");
}

#[test]
fn a_file_with_a_fault_changes_nothing_until_it_is_right() {
    let file = config_file(&table(1, ""));
    let logged = spawn_logged(&mut fanfare_with(&file, &[]));
    for (text, words) in [
        (
            table(1, "max-conections = 5"),
            "[[app]] \"1\": no key is called \"max-conections\"; the nearest is",
        ),
        (table(1, "max-members = 0"), "[[app]] \"1\": max-members: 0 would refuse every client"),
        ([table(1, ""), table(1, "")].concat(), "id: another app has it too"),
        ("max-lag = \"lots\"\n".to_owned() + &table(1, ""), "--max-lag"),
        (table(1, "secret = \"unfinished"), "line 5: "),
        (String::new(), "it is empty"),
    ] {
        let line = reload(&logged, &file, &text, words);
        assert!(line.contains("not reloaded, ") && !line.contains("secret-1"), "{line}");
    }
    let line = reload(&logged, &file, &[table(1, ""), table(2, "")].concat(), ": apps: added 2");
    assert!(line.ends_with(": apps: added 2"), "{line}");
    fs::remove_file(file.path()).unwrap();
    logged.process.signal("HUP");
    assert!(logged.line("not reloaded").contains("it is no regular file any more"));
    assert_eq!(request(logged.process.address, "GET", "/healthz", "", b"").status, 200);
}

#[test]
fn what_a_reload_cannot_change_is_named() {
    let file = config_file(&format!("max-lag = \"1MiB\"\necho = true\n{}", table(1, "")));
    let logged = spawn_logged(&mut fanfare_with(&file, &["--history", "5"]));
    let line = reload(
        &logged,
        &file,
        &format!("max-lag = \"2MiB\"\nhistory = 7\n{}", table(2, "")),
        ": apps: added 2; removed 1",
    );
    assert!(line.ends_with(": apps: added 2; removed 1"), "{line}");
    let line = logged.line("needs a restart");
    assert!(line.contains(": max-lag, echo changed as well, which needs a restart"), "{line}");
}

#[test]
fn apps_of_the_command_line_stay_whatever_the_file_says() {
    let file = config_file(&table(1, ""));
    let logged = spawn_logged(&mut fanfare_with(&file, &["--app", "7:my-key:my-secret"]));
    assert!(logged.line("pusher-js").contains("app 7 with key my-key"));
    let line = reload(&logged, &file, &table(2, ""), ": nothing has changed");
    assert!(line.ends_with(": nothing has changed"), "{line}");
}

#[test]
fn a_hangup_without_a_file_is_said_to_be_for_nothing_and_ends_no_process() {
    let mut logged = spawn_logged(fanfare(&["--drain", "0s"]).stdin(Stdio::null()));
    logged.process.signal("HUP");
    let line = logged.line("SIGHUP");
    assert!(line.contains("there is nothing to read again"), "{line}");
    logged.process.signal("TERM");
    assert!(logged.process.wait().success());
}

#[test]
fn a_process_of_a_terminal_ends_when_that_is_closed() {
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let path = ptsname(&controller, Vec::new()).unwrap();
    let terminal = File::open(path.to_str().unwrap()).unwrap();
    let mut process = spawn(fanfare(&[]).stdin(terminal));
    process.signal("HUP");
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&process.wait()), Some(1));
}

#[test]
fn a_server_that_is_stopping_still_obeys_a_hangup_and_a_second_signal() {
    let file = config_file(&table(1, ""));
    let mut logged = spawn_logged(&mut fanfare_with(&file, &["--lame-duck", "10m"]));
    logged.process.signal("TERM");
    drop(logged.line("stopping"));
    let line = reload(&logged, &file, &table(2, ""), ": apps: added 2; removed 1");
    assert!(line.ends_with(": apps: added 2; removed 1"), "{line}");
    // The drain, which has no time: a process that is ended at once has another status.
    logged.process.signal("TERM");
    assert!(logged.process.wait().success());
}

/// A client of the app with this number.
fn client_of(logged: &Logged, id: u32) -> Pusher {
    Pusher::connect_to(logged.process.address, &format!("key-{id}"))
}

/// What a client is told that connects with this key: the message, and what it is closed with.
fn refused(logged: &Logged, key: &str) -> (Value, u16) {
    let mut client = websocket(logged.process.address, &format!("/app/{key}?protocol=7"));
    let message = serde_json::from_str(&text(&mut client)).unwrap();
    (message, close_frame(&mut client).unwrap().code.into())
}

/// Asks for a private channel of app 1, signed with this secret.
fn ask_for(client: &mut Pusher, secret: &str, channel: &str) {
    let auth = sign(secret, &format!("{}:{channel}", client.socket_id));
    client.send("pusher:subscribe", json!({"channel": channel, "auth": format!("key-1:{auth}")}));
}

#[test]
fn the_clients_of_a_removed_app_are_closed_with_4001_those_of_a_disabled_one_with_4003_and_others_stay() {
    let file = config_file(&[table(1, ""), table(2, ""), table(3, "")].concat());
    // Nothing but the reload wakes the loops.
    let flags = ["--threads", "2", "--idle-timeout", "10m", "--handshake-timeout", "10m"];
    let logged = spawn_logged(&mut fanfare_with(&file, &flags));
    let mut clients: Vec<Vec<Pusher>> =
        (1..4).map(|id| (0..4).map(|_| client_of(&logged, id)).collect()).collect();
    reload(
        &logged,
        &file,
        &[table(1, ""), table(3, "enabled = false")].concat(),
        "apps: removed 2; changed 3",
    );
    for (app, code) in [(1, 4001), (2, 4003)] {
        clients[app].iter_mut().for_each(|client| assert_eq!(client.closed().0, code));
    }
    clients[0].iter_mut().for_each(Pusher::has_nothing_more);
    for (key, code) in [("key-2", 4001), ("key-3", 4003)] {
        let (message, closed_with) = refused(&logged, key);
        assert_eq!((&message["event"], &message["data"]["code"]), (&json!("pusher:error"), &json!(code)));
        assert_eq!(closed_with, code);
    }
    reload(&logged, &file, &[table(1, ""), table(2, ""), table(3, "")].concat(), "apps: added 2; changed 3");
    (1..4).for_each(|id| client_of(&logged, id).has_nothing_more());
}

#[test]
fn a_rotated_secret_works_beside_the_new_one_until_it_is_taken_out() {
    let with_secrets = |secrets: &str| format!("[[app]]\nid = 1\nkey = \"key-1\"\nsecrets = {secrets}\n");
    let file = config_file(&with_secrets("[\"old\"]"));
    let logged = spawn_logged(&mut fanfare_with(&file, &[]));
    let mut client = client_of(&logged, 1);
    ask_for(&mut client, "old", "private-a");
    client.expect("pusher_internal:subscription_succeeded");
    reload(&logged, &file, &with_secrets("[\"new\", \"old\"]"), "apps: changed 1");
    for (secret, channel) in [("old", "private-b"), ("new", "private-c")] {
        ask_for(&mut client, secret, channel);
        client.expect("pusher_internal:subscription_succeeded");
    }
    reload(&logged, &file, &with_secrets("[\"new\"]"), "apps: changed 1");
    ask_for(&mut client, "new", "private-d");
    client.expect("pusher_internal:subscription_succeeded");
    ask_for(&mut client, "old", "private-e");
    let (channel, _) = client.expect("pusher:subscription_error");
    assert_eq!(channel, "private-e");
    client.expect("pusher:error");
    client.has_nothing_more();
}

#[test]
fn a_connected_client_obeys_the_new_settings_of_its_app() {
    let file = config_file(&table(1, ""));
    let logged = spawn_logged(&mut fanfare_with(&file, &["--threads", "2"]));
    let mut clients = [client_of(&logged, 1), client_of(&logged, 1)];
    for client in &mut clients {
        ask_for(client, "secret-1", "private-a");
        client.expect("pusher_internal:subscription_succeeded");
    }
    let [sender, receiver] = &mut clients;
    let event = json!({"event": "client-x", "channel": "private-a", "data": {"n": 1}}).to_string();
    sender.send_text(&event);
    sender.expect("pusher:error");
    receiver.has_nothing_more();
    reload(&logged, &file, &table(1, "client-events = true"), "apps: changed 1");
    sender.send_text(&event);
    assert_eq!(receiver.expect("client-x"), ("private-a".to_owned(), json!({"n": 1})));
    sender.has_nothing_more();
}

#[test]
fn an_app_with_another_key_is_reached_by_that_one_only_and_its_clients_stay() {
    let file = config_file(&table(1, ""));
    let logged = spawn_logged(&mut fanfare_with(&file, &[]));
    let mut client = client_of(&logged, 1);
    reload(&logged, &file, &table(1, "").replace("key-1", "key-9"), "apps: changed 1");
    client.has_nothing_more();
    assert_eq!(refused(&logged, "key-1").1, 4001);
    client_of(&logged, 9).has_nothing_more();
}

#[test]
fn a_file_with_a_fault_closes_no_client() {
    let file = config_file(&[table(1, ""), table(2, "")].concat());
    let logged = spawn_logged(&mut fanfare_with(&file, &[]));
    let mut client = client_of(&logged, 2);
    let line = reload(&logged, &file, &table(1, "max-members = 0"), "max-members");
    assert!(line.contains("apps not reloaded"), "{line}");
    client.has_nothing_more();
    client_of(&logged, 2).has_nothing_more();
}

#[test]
fn more_clients_than_an_app_may_have_are_refused_with_4004_until_one_has_left() {
    let file = config_file(&table(1, "max-connections = 2"));
    let logged = spawn_logged(&mut fanfare_with(&file, &["--threads", "2"]));
    let clients = [client_of(&logged, 1), client_of(&logged, 1)];
    for _ in 0..3 {
        let (message, code) = refused(&logged, "key-1");
        assert_eq!((message["data"]["code"].as_u64(), code), (Some(4004), 4004));
    }
    drop(clients);
    until("a place is free", || {
        let mut client = websocket(logged.process.address, "/app/key-1?protocol=7");
        text(&mut client).contains("connection_established").then_some(())
    });
}

#[test]
fn channels_of_different_apps_are_different_and_those_of_the_first_are_under_channels() {
    let file = config_file(&[table(1, ""), table(2, "")].concat());
    let logged = spawn_logged(&mut fanfare_with(&file, &[]));
    let mut clients = [client_of(&logged, 1), client_of(&logged, 2)];
    for client in &mut clients {
        client.send("pusher:subscribe", json!({"channel": "prices", "auth": ""}));
        client.expect("pusher_internal:subscription_succeeded");
    }
    publish(logged.process.address, "prices", "hello");
    assert_eq!(clients[0].next()["data"], "hello");
    clients[1].has_nothing_more();
}

#[test]
fn the_app_of_development_mode_is_there_without_flags_and_not_with_a_key() {
    let process = spawn(&mut fanfare(&[]));
    let mut client = Pusher::connect(process.address);
    client.subscribe("private-a");
    client.has_nothing_more();
    let logged = spawn_logged(&mut fanfare(&["--publish-key", "secret"]));
    assert_eq!(refused(&logged, "app-key").1, 4001);
}
