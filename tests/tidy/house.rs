//! Inside `server`, who imports whom, and in all of `src`: no files that import each other, and no method of the event
//! loop outside its room.

use super::imports::{Imports, circles, imports};
use super::source::{Fault, File, assert_tidy, found, has_word, numbered, tree};

/// Who may import whom inside `server`: a room, which is a folder or a file beside the folders, and the rooms that it
/// names. They stand above it, so that no two import each other.
const SERVER_MAY_IMPORT: [(&str, &[&str]); 31] = [
    ("clock", &[]),
    ("discard", &[]),
    ("excerpt", &[]),
    ("lock", &[]),
    ("waking", &[]),
    ("audit", &["lock"]),
    ("outbound", &[]),
    ("jwks", &["clock", "excerpt", "lock", "outbound"]),
    ("encoder", &["clock"]),
    ("metrics", &["clock", "excerpt"]),
    ("limits", &["clock", "lock", "metrics"]),
    ("broker", &["clock", "discard", "excerpt", "limits", "lock", "waking"]),
    ("hook", &["broker", "clock", "excerpt", "lock", "outbound"]),
    ("apps", &["broker", "clock", "excerpt", "lock", "metrics", "outbound"]),
    ("redis", &["broker", "clock", "excerpt", "lock", "metrics", "outbound", "waking"]),
    ("access", &["clock", "jwks", "limits", "lock"]),
    ("api", &["access", "apps", "broker", "clock", "encoder", "metrics"]),
    ("placement", &[]),
    ("handshakes", &[]),
    ("sessions", &["lock"]),
    ("budget", &["broker", "clock"]),
    ("tls", &["metrics"]),
    ("stopping", &["clock"]),
    (
        "shared",
        &[
            "access",
            "api",
            "apps",
            "audit",
            "broker",
            "budget",
            "clock",
            "handshakes",
            "hook",
            "jwks",
            "limits",
            "lock",
            "metrics",
            "outbound",
            "placement",
            "redis",
            "sessions",
            "stopping",
            "tls",
        ],
    ),
    ("hosting", &["access", "apps", "broker", "clock", "redis", "shared"]),
    ("handle", &["access", "apps", "audit", "broker", "clock", "shared", "stopping", "tls"]),
    ("handlers", &["access", "broker", "clock", "discard", "handle", "lock", "metrics"]),
    (
        "connection",
        &[
            "access", "api", "apps", "audit", "broker", "clock", "discard", "encoder", "handle", "handlers",
            "hook", "limits", "metrics", "shared", "stopping", "tls",
        ],
    ),
    (
        "event_loop",
        &[
            "access",
            "api",
            "apps",
            "broker",
            "clock",
            "connection",
            "discard",
            "handle",
            "handlers",
            "limits",
            "lock",
            "metrics",
            "sessions",
            "shared",
            "stopping",
            "tls",
            "waking",
        ],
    ),
    (
        "start",
        &[
            "audit",
            "broker",
            "clock",
            "event_loop",
            "handle",
            "handlers",
            "hosting",
            "outbound",
            "redis",
            "shared",
            "tls",
        ],
    ),
    ("mod", &[]), // the exports of the server: nobody inside names them
];

/// The only room that has methods of the event loop.
const EVENT_LOOP: &str = "src/server/event_loop";

/// The room of a file of `server`.
pub fn server_room(file: &str) -> Option<&str> {
    let rest = file.strip_prefix("src/server/")?;
    Some(rest.split_once('/').map_or(rest.trim_end_matches(".rs"), |(room, _)| room))
}

/// Each import from one room of `server` to another: the file, its room, the other room.
fn between_rooms(imports: &Imports) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    for (file, others) in imports {
        let Some(room) = server_room(file) else { continue };
        let rooms = others.iter().filter_map(|other| server_room(other)).filter(|other| *other != room);
        found.extend(rooms.map(|other| (file.as_str(), room, other)));
    }
    found
}

fn fault(files: &[File], path: &str, remedy: String) -> Fault {
    let file = files.iter().find(|file| file.path == path).expect("what imports is a file");
    Fault::new(file, 1, remedy)
}

fn imports_between_rooms_of_the_server(files: &[File]) -> Vec<Fault> {
    let imports = imports(files);
    let mut faults = Vec::new();
    for file in imports.keys() {
        let Some(room) = server_room(file) else { continue };
        if SERVER_MAY_IMPORT.iter().all(|(name, _)| *name != room) {
            faults.push(fault(files, file, format!("say in SERVER_MAY_IMPORT what {room} may import")));
        }
    }
    for (file, room, other) in between_rooms(&imports) {
        let table = SERVER_MAY_IMPORT.iter().find(|(name, _)| *name == room);
        if table.is_some_and(|(_, allowed)| !allowed.contains(&other)) {
            faults.push(fault(
                files,
                file,
                format!("{room} does not import {other}: hand it in, or move it"),
            ));
        }
    }
    faults
}

#[test]
fn no_room_of_the_server_imports_what_the_table_does_not_allow() {
    assert_tidy(imports_between_rooms_of_the_server(&tree()));
}

#[test]
fn a_planted_import_of_another_room_of_the_server_is_found() {
    let texts = [
        ("src/lib.rs", ""),
        ("src/server/mod.rs", ""),
        ("src/server/connection/mod.rs", ""),
        ("src/server/broker/mod.rs", "use crate::server::api::Route;\nuse crate::server::clock::Millis;"),
        ("src/server/api/mod.rs", "use super::broker;\nuse super::connection::table::Table;"),
        ("src/server/connection/table.rs", "use crate::server::event_loop::EventLoop;"),
        ("src/server/event_loop/mod.rs", "use crate::server::connection::table::Table;"),
        ("src/server/clock.rs", "// crate::server::broker::x"),
        ("src/server/attic/mod.rs", ""),
    ];
    let files: Vec<_> = texts.iter().map(|(path, text)| File::new(path, text)).collect();
    let faults: Vec<_> =
        imports_between_rooms_of_the_server(&files).into_iter().map(|fault| fault.path).collect();
    let expected = ["attic/mod.rs", "api/mod.rs", "broker/mod.rs", "connection/table.rs"];
    assert_eq!(faults, expected.map(|path| format!("src/server/{path}")));
}

#[test]
fn a_room_of_the_server_names_only_rooms_above_it() {
    for (at, (room, names)) in SERVER_MAY_IMPORT.iter().enumerate() {
        for name in *names {
            let is_above = SERVER_MAY_IMPORT[..at].iter().any(|(above, _)| above == name);
            assert!(is_above, "{room} names {name}, which does not stand above it in the table");
        }
    }
}

fn circles_of_files(files: &[File]) -> Vec<Fault> {
    let imports = imports(files);
    let remedy = |circle: &[&str]| format!("it imports itself by {}", circle.join(" -> "));
    circles(&imports).iter().map(|circle| fault(files, circle[0], remedy(circle))).collect()
}

#[test]
fn no_files_import_each_other() {
    assert_tidy(circles_of_files(&tree()));
}

#[test]
fn a_planted_circle_of_files_is_found() {
    let texts = [
        // Through a child, which its parent exports and uses.
        ("src/a/mod.rs", "mod b;\npub use b::B;\npub struct A(B);"),
        ("src/a/b.rs", "use super::A;\nfn of(a: A) {}"),
        // A parent that only exports; two of its children through it.
        ("src/c/mod.rs", "mod d;\nmod e;\nmod f;\npub use d::D;\npub use e::E;\npub use f::F;"),
        ("src/c/d.rs", "use super::E;"),
        ("src/c/e.rs", "use super::f::F;"),
        ("src/c/f.rs", "fn f() { crate::c::d::g() }"),
        // No circle: a parent that uses children, of which none names it.
        ("src/g/mod.rs", "mod h;\nmod i;\nuse h::H;\nuse i::I;\npub struct G(H, I);"),
        ("src/g/h.rs", "use super::i::I;"),
        ("src/g/i.rs", "#[cfg(test)]\nmod tests {\nuse super::super::G;"),
    ];
    let files: Vec<_> = texts.iter().map(|(path, text)| File::new(path, text)).collect();
    let faults: Vec<_> = circles_of_files(&files).into_iter().map(|fault| fault.remedy).collect();
    assert_eq!(
        faults,
        [
            "it imports itself by src/a/b.rs -> src/a/mod.rs",
            "it imports itself by src/c/d.rs -> src/c/e.rs -> src/c/f.rs",
        ]
    );
}

pub fn methods_of_the_loop_elsewhere(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_elsewhere = |file: &&File| file.is_rust() && file.is_in("src") && !file.is_in(EVENT_LOOP);
    for file in files.iter().filter(is_elsewhere) {
        let code = numbered(&file.code);
        for (line, _) in code.filter(|(_, code)| has_word(code, "impl") && has_word(code, "EventLoop")) {
            faults.push(Fault::new(file, line, format!("methods of the loop stand in {EVENT_LOOP}")));
        }
    }
    faults
}

#[test]
fn no_method_of_the_loop_is_written_outside_its_room() {
    assert_tidy(methods_of_the_loop_elsewhere(&tree()));
}

#[test]
fn a_planted_method_of_the_loop_outside_its_room_is_found() {
    let rule = methods_of_the_loop_elsewhere;
    assert_eq!(found(rule, "src/server/start.rs", "// impl EventLoop {\nimpl super::EventLoop {"), [2]);
    assert_eq!(found(rule, "src/server/handle.rs", "impl<T> Wake for EventLoop<T> {"), [1]);
    assert_eq!(found(rule, "src/server/event_loop/flush.rs", "impl EventLoop {"), [0; 0]);
    assert_eq!(found(rule, "src/server/start.rs", "let event_loop = EventLoop::new();"), [0; 0]);
}
