//! Who imports whom between the rooms of `src`, and who touches the world.
//!
//! Inside `server`, and between files, see `house`.

use super::source::{Fault, File, assert_tidy, found, has_word, names_after, numbered, tree};

/// Who may import whom: the room, and the rooms of ours that it names. A file `src/x.rs` is a room too.
const MAY_IMPORT: [(&str, &[&str]); 17] = [
    ("lib", &["config", "hub", "server"]),
    ("app", &["backend", "config", "http", "hub", "server", "ws"]),
    ("config", &["pusher", "token"]),
    ("http", &[]),
    ("ws", &[]),
    ("hub", &[]),
    ("peer", &[]),
    ("pusher", &["hub"]),
    ("commands", &["hub"]),
    ("token", &["hub"]),
    ("backend", &["hub", "token"]),
    ("server", &["backend", "commands", "config", "http", "hub", "peer", "pusher", "token", "ws"]),
    ("cli", &["config", "pusher", "token"]),
    ("heap", &[]),
    ("log", &[]),
    ("reload", &["cli", "config", "server"]),
    ("main", &["cli", "config", "pusher", "server", "token"]),
];

/// Bytes and times go in, events and bytes come out: nothing here asks the world.
const PURE_ROOMS: [&str; 8] = ["http", "ws", "hub", "peer", "pusher", "commands", "token", "backend"];

const OUTSIDE_NAMES: [&str; 14] = [
    "Instant::now",
    "SystemTime::now",
    "std::net",
    "std::thread",
    "std::fs",
    "std::env",
    "std::process",
    "mio",
    "socket2",
    "libc",
    "rand",
    "getrandom",
    "signal_hook",
    "rlimit",
];

const SOCKET_NAMES: [&str; 6] = ["mio", "socket2", "TcpStream", "TcpListener", "UdpSocket", "UnixStream"];

fn imports_outside_the_table(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_in("src") && file.is_rust()) {
        let room = file.room().unwrap_or_default();
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
            faults.push(Fault::new(file, 1, format!("say in MAY_IMPORT what the room {room} may import")));
            continue;
        };
        for (line, code) in numbered(&file.code) {
            let names = [names_after(code, "crate::"), names_after(code, "fanfare::")].concat();
            for name in names.iter().filter(|&&name| name != room && !allowed.contains(&name)) {
                let remedy = match *name {
                    "{" => "import one room a line, so that it can be checked".to_owned(),
                    name => {
                        format!("{room} does not import {name}: move what it needs, or hand it in as a value")
                    }
                };
                faults.push(Fault::new(file, line, remedy));
            }
        }
    }
    faults
}

#[test]
fn no_room_imports_what_the_table_does_not_allow() {
    assert_tidy(imports_outside_the_table(&tree()));
}

#[test]
fn a_planted_import_of_another_room_is_found() {
    let rule = imports_outside_the_table;
    assert_eq!(
        found(rule, "src/ws/frame.rs", "//! x\nuse crate::ws::Opcode;\nuse crate::http::Error;\n"),
        [3]
    );
    assert_eq!(found(rule, "src/hub/log.rs", "fn f() -> crate::ws::Opcode {}"), [1]);
    assert_eq!(found(rule, "src/http/a/b.rs", "use crate::{http, ws};"), [1]);
    assert_eq!(
        found(rule, "src/pusher/rest.rs", "use crate::hub::ChannelName;\nuse crate::http::Request;"),
        [2]
    );
    assert_eq!(found(rule, "src/config.rs", "use crate::server::Server;"), [1]);
    assert_eq!(found(rule, "src/cli.rs", "use fanfare::config::Config;\nuse fanfare::server::Server;"), [2]);
    assert_eq!(found(rule, "src/newroom/mod.rs", "//! x"), [1]);
    assert_eq!(found(rule, "src/main.rs", "use fanfare::server::Server;"), [0; 0]);
    assert_eq!(found(rule, "src/ws/a.rs", "// crate::http\nlet s = \"crate::http\";"), [0; 0]);
}

fn steps_out_of_a_room(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_in("src") && file.is_rust()) {
        let Some((_, inside)) = file.path["src/".len()..].split_once('/') else { continue };
        // From `src/ws/frame.rs`, one `super` is the room itself; from `mod.rs`, it is outside; in tests, one more.
        let depth = inside.split('/').filter(|name| *name != "mod.rs").count();
        let before_tests = file.lines_before_tests();
        for (line, code) in numbered(&file.code) {
            let allowed = depth + usize::from(line > before_tests);
            if code.contains(&"super::".repeat(allowed + 1)) {
                faults.push(Fault::new(file, line, "name the room with crate::, or stay inside it"));
            }
        }
    }
    faults
}

#[test]
fn nothing_steps_out_of_its_room_by_super() {
    assert_tidy(steps_out_of_a_room(&tree()));
}

#[test]
fn a_planted_step_out_of_a_room_is_found() {
    let rule = steps_out_of_a_room;
    assert_eq!(
        found(rule, "src/ws/frame.rs", "use super::mask::unmask;\nuse super::super::http::Error;"),
        [2]
    );
    assert_eq!(found(rule, "src/ws/mod.rs", "use super::http::Error;"), [1]);
    let tests = "use super::mask;\n#[cfg(test)]\nmod tests {\n use super::super::mask;\n use super::super::super::http;";
    assert_eq!(found(rule, "src/ws/frame.rs", tests), [5]);
    assert_eq!(found(rule, "src/ws/frame_tests.rs", "use super::super::mask;"), [0; 0]);
}

/// What every program needs, and names first.
const ROOT_EXPORTS: [&str; 3] =
    ["pub use config::Config;", "pub use hub::ChannelName;", "pub use server::{Handle, Server};"];

fn exports_of_the_root(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path == "src/lib.rs") {
        let is_other = |code: &str| has_word(code, "pub use") && !ROOT_EXPORTS.contains(&code);
        for (line, _) in numbered(&file.code).filter(|(_, code)| is_other(code)) {
            faults.push(Fault::new(file, line, "export it from the room that owns it, and nowhere else"));
        }
    }
    faults
}

#[test]
fn the_root_of_the_library_exports_rooms_and_what_every_program_names() {
    assert_tidy(exports_of_the_root(&tree()));
}

#[test]
fn a_planted_export_of_the_root_is_found() {
    assert_eq!(found(exports_of_the_root, "src/lib.rs", "//! x\npub mod ws;\npub use ws::Opcode;"), [3]);
}

fn outside_names_in_pure_rooms(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files
        .iter()
        .filter(|file| file.is_rust() && file.room().is_some_and(|room| PURE_ROOMS.contains(&room)))
    {
        for (line, code) in numbered(&file.code) {
            for name in OUTSIDE_NAMES.iter().filter(|name| has_word(code, name)) {
                let remedy = format!("{name} is the server's: have it hand in what is needed");
                faults.push(Fault::new(file, line, remedy));
            }
        }
    }
    faults
}

#[test]
fn pure_rooms_know_no_clock_no_socket_no_thread_and_no_dice() {
    assert_tidy(outside_names_in_pure_rooms(&tree()));
}

#[test]
fn a_planted_clock_in_a_pure_room_is_found() {
    let rule = outside_names_in_pure_rooms;
    assert_eq!(found(rule, "src/ws/a.rs", "//! Instant::now\nlet now = Instant::now();"), [2]);
    assert_eq!(found(rule, "src/http/a.rs", "use std::net::TcpStream;\nuse operand::x;"), [1]);
    assert_eq!(
        found(rule, "src/hub/a.rs", "use mio::Token;\nlet x = rand::random();\nlibc::write();"),
        [1, 2, 3]
    );
    assert_eq!(found(rule, "src/server/a.rs", "use std::time::Instant;\nInstant::now();"), [0; 0]);
}

fn sockets_outside_the_server(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_elsewhere = |file: &&File| file.is_rust() && file.is_in("src") && file.room() != Some("server");
    for file in files.iter().filter(is_elsewhere) {
        for (line, code) in numbered(&file.code) {
            // It hands over the sockets that a supervisor listens on.
            let is_handed_over = |name: &str| file.path == "src/app/serving.rs" && name == "TcpListener";
            let named = SOCKET_NAMES.iter().filter(|name| has_word(code, name) && !is_handed_over(name));
            for name in named {
                faults.push(Fault::new(file, line, format!("{name} belongs in src/server")));
            }
        }
    }
    faults
}

#[test]
fn sockets_are_in_the_server_only() {
    assert_tidy(sockets_outside_the_server(&tree()));
}

#[test]
fn a_planted_socket_outside_the_server_is_found() {
    let rule = sockets_outside_the_server;
    assert_eq!(found(rule, "src/main.rs", "use std::net::SocketAddr;\nuse std::net::TcpListener;"), [2]);
    assert_eq!(found(rule, "src/hub/log.rs", "use mio::Token;"), [1]);
    assert_eq!(found(rule, "src/server/start.rs", "use mio::net::TcpListener;"), [0; 0]);
}
