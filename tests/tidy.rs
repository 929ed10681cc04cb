//! The style of the source as tests: who imports whom, sizes, banned names, dead files.
//!
//! Each rule is a function from files to faults, a test that the tree has none, and a test that a planted one is
//! found. Nothing is compiled or understood here: files are read as text, with comments and strings told apart.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Who may import whom: the room, and the rooms of ours that it names. A file `src/x.rs` is a room too.
const MAY_IMPORT: [(&str, &[&str]); 11] = [
    ("lib", &[]),
    ("config", &[]),
    ("http", &[]),
    ("ws", &[]),
    ("hub", &[]),
    ("pusher", &["hub"]),
    ("server", &["config", "http", "hub", "pusher", "ws"]),
    ("cli", &["config"]),
    ("heap", &[]),
    ("log", &[]),
    ("main", &["cli", "config", "server"]),
];

/// Bytes and times go in, events and bytes come out: nothing here asks the world.
const PURE_ROOMS: [&str; 4] = ["http", "ws", "hub", "pusher"];

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

const PRAISE: [&str; 16] = [
    "fast",
    "robust",
    "robustly",
    "powerful",
    "seamless",
    "seamlessly",
    "simply",
    "blazing",
    "blazingly",
    "effortless",
    "effortlessly",
    "elegant",
    "high-performance",
    "state-of-the-art",
    "cutting-edge",
    "world-class",
];

/// To fail at the first bad byte is a term of the trade.
const TERMS: [&str; 4] = ["fail fast", "fails fast", "failing fast", "fail-fast"];

// In two halves, so that this file keeps its own rule.
const REGISTRY_HOSTS: [&str; 6] = [
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("debian", ".org"),
];

const CARGO_LOCK_SOURCE: &str =
    concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");

const FILE_LINES_MAX: usize = 500; // what one sitting reads
const FN_LINES_MAX: usize = 70; // one screen
const NAME_WORDS_MIN: usize = 3; // under that it is no sentence

/// A file of the tree: `path` from its root with `/`, and its text.
struct File {
    path: String,
    text: String,
    /// The text without comments and without what is inside quotes; line for line as long.
    code: String,
    /// The comments alone; line for line as long.
    comments: String,
}

impl File {
    fn new(path: &str, text: &str) -> File {
        let (code, comments) = if path.ends_with(".rs") { split(text) } else { Default::default() };
        File { path: path.to_owned(), text: text.to_owned(), code, comments }
    }

    fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(&format!("{folder}/"))
    }

    fn is_test(&self) -> bool {
        self.is_in("tests") || self.path.ends_with("_tests.rs")
    }

    /// `ws` for `src/ws/frame.rs`, `cli` for `src/cli.rs`.
    fn room(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        Some(rest.split_once('/').map_or(rest.trim_end_matches(".rs"), |(room, _)| room))
    }

    fn is_pure(&self) -> bool {
        self.room().is_some_and(|room| PURE_ROOMS.contains(&room))
    }

    /// How many lines come before the tests.
    fn lines_before_tests(&self) -> usize {
        if self.is_test() {
            return 0;
        }
        let lines: Vec<_> = self.code.lines().collect();
        let is_start = |&at: &usize| {
            lines[at] == "#[cfg(test)]"
                && lines.get(at + 1).is_some_and(|line| line.starts_with("mod tests {"))
        };
        (0..lines.len()).find(is_start).unwrap_or(lines.len())
    }

    /// Lines of code with their numbers, those of tests left out.
    fn code_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.code).take(self.lines_before_tests())
    }

    /// What a person reads: the comments of Rust, all of anything else.
    fn prose(&self) -> &str {
        if self.is_rust() { &self.comments } else { &self.text }
    }
}

fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

/// Something to be put right, where it is, and how.
struct Fault {
    path: String,
    line: usize,
    remedy: String,
}

impl Fault {
    fn new(file: &File, line: usize, remedy: impl Into<String>) -> Fault {
        Fault { path: file.path.clone(), line, remedy: remedy.into() }
    }
}

fn assert_tidy(faults: Vec<Fault>) {
    let lines: Vec<_> = faults.iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.remedy)).collect();
    assert!(lines.is_empty(), "{} to put right:\n{}", lines.len(), lines.join("\n"));
}

/// The lines of a planted text at which the rule finds a fault.
fn found(rule: fn(&[File]) -> Vec<Fault>, path: &str, text: &str) -> Vec<usize> {
    rule(&[File::new(path, text)]).iter().map(|fault| fault.line).collect()
}

// ---- Reading the tree ----

/// All files but what `.gitignore` names: build results, installed packages and git's own.
fn tree() -> Vec<File> {
    let mut files = Vec::new();
    read_folder(Path::new(env!("CARGO_MANIFEST_DIR")), "", &mut files);
    assert!(files.iter().any(|file| file.path == "src/lib.rs"), "the tree is read from its root");
    files
}

fn read_folder(root: &Path, folder: &str, files: &mut Vec<File>) {
    let entries = fs::read_dir(root.join(folder)).expect("a folder of the tree is readable");
    for entry in entries {
        let entry = entry.expect("a folder of the tree is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        let kind = entry.file_type().expect("a file of the tree has a type");
        if kind.is_dir() && !is_ignored(&path, &name) {
            read_folder(root, &path, files);
        } else if kind.is_file() {
            // Others may be writing in the tree: what is gone by now is no fault.
            let Ok(bytes) = fs::read(entry.path()) else { continue };
            files.push(File::new(&path, &String::from_utf8_lossy(&bytes)));
        }
    }
}

fn is_ignored(path: &str, name: &str) -> bool {
    matches!(name, ".git" | "target" | "node_modules")
        || matches!(path, "fuzz/artifacts" | "fuzz/coverage")
        || name.starts_with(".venv")
}

/// Code and comments of a Rust text, each with blanks for the other. What is inside quotes is in neither.
fn split(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut comments = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let is_after_name = at > 0 && is_name_char(chars[at - 1]);
        let (len, kind) = if rest.starts_with(&['/', '/']) {
            (rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()), Kind::Comment)
        } else if rest.starts_with(&['/', '*']) {
            (block_comment_len(rest), Kind::Comment)
        } else if let Some(len) = (!is_after_name).then(|| raw_string_len(rest)).flatten() {
            (len, Kind::Quoted)
        } else if rest[0] == '"' {
            (string_len(rest), Kind::Quoted)
        } else {
            char_len(rest).map_or((1, Kind::Code), |len| (len, Kind::Quoted))
        };
        for (i, &c) in rest[..len].iter().enumerate() {
            let is_quote = matches!(c, '"' | '\'') && (i == 0 || i == len - 1);
            let blank = if c == '\n' { '\n' } else { ' ' };
            code.push(if kind == Kind::Code || is_quote { c } else { blank });
            comments.push(if kind == Kind::Comment { c } else { blank });
        }
        at += len;
    }
    (code, comments)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Quoted,
}

fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn block_comment_len(chars: &[char]) -> usize {
    let (mut at, mut depth) = (0, 0);
    while at < chars.len() {
        match (chars[at], chars.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// `r"…"`, `br#"…"#` and the like.
fn raw_string_len(chars: &[char]) -> Option<usize> {
    let prefix = usize::from(matches!(chars, ['b' | 'c', 'r', ..]));
    if chars.get(prefix) != Some(&'r') {
        return None;
    }
    let hashes = chars[prefix + 1..].iter().take_while(|&&c| c == '#').count();
    let start = prefix + 1 + hashes;
    if chars.get(start) != Some(&'"') {
        return None;
    }
    let is_end = |&at: &usize| {
        chars[at] == '"'
            && chars[at + 1..].len() >= hashes
            && chars[at + 1..][..hashes].iter().all(|&c| c == '#')
    };
    let end = (start + 1..chars.len()).find(is_end)?;
    Some(end + 1 + hashes)
}

fn string_len(chars: &[char]) -> usize {
    let mut at = 1;
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

/// `'x'` and `'\u{20}'`; not the lifetime `'x`.
fn char_len(chars: &[char]) -> Option<usize> {
    match chars {
        ['\'', '\\', _, rest @ ..] => Some(3 + rest.iter().position(|&c| c == '\'')? + 1),
        ['\'', _, '\'', ..] => Some(3),
        _ => None,
    }
}

/// Where `word` stands in `line`, not as a part of a longer name.
fn find_word(line: &str, word: &str) -> Option<usize> {
    line.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |outer: Option<char>, inner: Option<char>| {
            outer.is_some_and(is_name_char) && inner.is_some_and(is_name_char)
        };
        !joins(before, word.chars().next()) && !joins(after, word.chars().next_back())
    })
}

fn has_word(line: &str, word: &str) -> bool {
    find_word(line, word).is_some()
}

/// The names that follow `prefix` in a line: `http` of `crate::http::Error`, `{` of `crate::{…}`.
fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(at) = find_word(rest, prefix) {
        rest = &rest[at + prefix.len()..];
        let end = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
        names.push(if end == 0 { "{" } else { &rest[..end] });
    }
    names
}

// ---- Who imports whom ----

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

fn exports_of_the_root(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.path == "src/lib.rs") {
        for (line, _) in numbered(&file.code).filter(|(_, code)| has_word(code, "pub use")) {
            faults.push(Fault::new(file, line, "export it from the room that owns it, and nowhere else"));
        }
    }
    faults
}

#[test]
fn the_root_of_the_library_exports_rooms_only() {
    assert_tidy(exports_of_the_root(&tree()));
}

#[test]
fn a_planted_export_of_the_root_is_found() {
    assert_eq!(found(exports_of_the_root, "src/lib.rs", "//! x\npub mod ws;\npub use ws::Opcode;"), [3]);
}

// ---- Who touches the world ----

fn outside_names_in_pure_rooms(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.is_pure()) {
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
            for name in SOCKET_NAMES.iter().filter(|name| has_word(code, name)) {
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

// ---- What a file and a function look like ----

fn files_without_a_head(files: &[File]) -> Vec<Fault> {
    let headless = files.iter().filter(|file| file.is_rust() && !file.text.starts_with("//! "));
    let remedy = "begin with //! and what the file is and does not do";
    headless.map(|file| Fault::new(file, 1, remedy)).collect()
}

#[test]
fn every_file_begins_with_what_it_is() {
    assert_tidy(files_without_a_head(&tree()));
}

#[test]
fn a_planted_file_without_a_head_is_found() {
    assert_eq!(found(files_without_a_head, "benches/a.rs", "use std::fs;\n//! late"), [1]);
    assert_eq!(found(files_without_a_head, "benches/a.rs", "//! A bench.\nuse std::fs;"), [0; 0]);
}

fn files_too_long(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.lines_before_tests() > FILE_LINES_MAX) {
        let len = file.lines_before_tests();
        let remedy = format!("{len} lines without tests, {FILE_LINES_MAX} at most: find the two files in it");
        faults.push(Fault::new(file, len, remedy));
    }
    faults
}

#[test]
fn no_file_is_longer_than_500_lines_without_its_tests() {
    assert_tidy(files_too_long(&tree()));
}

#[test]
fn a_planted_file_that_is_too_long_is_found() {
    let tests = "\n#[cfg(test)]\nmod tests {\n}\n";
    let long = "x\n".repeat(501);
    assert_eq!(found(files_too_long, "src/a.rs", &format!("{long}{tests}")), [502]);
    assert_eq!(found(files_too_long, "src/a.rs", &format!("{}{tests}{long}", "x\n".repeat(499))), [0; 0]);
    assert_eq!(found(files_too_long, "src/a_tests.rs", &long), [0; 0]);
}

fn functions_too_long(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (line, name, len) in functions(&file.code).filter(|(.., len)| *len > FN_LINES_MAX) {
            let remedy = format!("{name} has {len} lines, {FN_LINES_MAX} at most: give its parts names");
            faults.push(Fault::new(file, line, remedy));
        }
    }
    faults
}

/// Line, name and length of each function that has a body.
fn functions(code: &str) -> impl Iterator<Item = (usize, &str, usize)> {
    numbered(code).filter_map(move |(line, text)| {
        let name = names_after(text, "fn ").first().copied().filter(|name| *name != "{")?;
        let body: Vec<_> = code.lines().skip(line - 1).collect();
        Some((line, name, function_len(&body, find_word(text, "fn ")?)?))
    })
}

/// How many lines the function has that begins in the first one; none if it has no body.
fn function_len(lines: &[&str], start: usize) -> Option<usize> {
    let (mut brackets, mut braces) = (0, 0);
    for (at, line) in lines.iter().enumerate() {
        for c in line[if at == 0 { start } else { 0 }..].chars() {
            match c {
                '(' | '[' => brackets += 1,
                ')' | ']' => brackets -= 1,
                '{' => braces += 1,
                '}' => braces -= 1,
                ';' if brackets == 0 && braces == 0 => return None,
                _ => {}
            }
            if c == '}' && braces == 0 {
                return Some(at + 1);
            }
        }
    }
    None
}

#[test]
fn no_function_is_longer_than_70_lines() {
    assert_tidy(functions_too_long(&tree()));
}

#[test]
fn a_planted_function_that_is_too_long_is_found() {
    let of =
        |body_len: usize| format!("fn f(a: [u8; 4])\n{{\n{}}}\nfn g();\n", "if x { '}' }\n".repeat(body_len));
    assert_eq!(found(functions_too_long, "src/a.rs", &of(68)), [1]);
    assert_eq!(found(functions_too_long, "src/a.rs", &of(67)), [0; 0]);
}

// ---- What is not written ----

fn panics_without_a_reason(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.is_in("src")) {
        for (line, code) in file.code_before_tests() {
            if code.contains(".unwrap()") || code.contains(".expect(\"\")") {
                faults.push(Fault::new(
                    file,
                    line,
                    "return an error, or .expect() the reason why it cannot fail",
                ));
            }
        }
    }
    faults
}

#[test]
fn nothing_is_unwrapped_without_a_reason_outside_tests() {
    assert_tidy(panics_without_a_reason(&tree()));
}

#[test]
fn a_planted_unwrap_outside_tests_is_found() {
    let rule = panics_without_a_reason;
    assert_eq!(
        found(rule, "src/a.rs", "//! .unwrap()\na.unwrap();\nb.expect(\"\");\nc.expect(\"it is\");"),
        [2, 3]
    );
    assert_eq!(found(rule, "src/a.rs", "\n#[cfg(test)]\nmod tests {\na.unwrap();\n}"), [0; 0]);
    assert_eq!(found(rule, "src/a.rs", "\n#[cfg(test)]\nmod a_tests;\na.unwrap();\n"), [4]);
    assert_eq!(found(rule, "src/a_tests.rs", "a.unwrap();"), [0; 0]);
}

fn marks_of_unfinished_work(files: &[File]) -> Vec<Fault> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
    let macros = ["dbg!", "todo!", "unimplemented!"];
    let mut faults = Vec::new();
    let is_ours = |file: &&File| !file.is_in("fuzz/corpus") && !file.path.ends_with(".lock");
    for file in files.iter().filter(is_ours) {
        for (line, prose) in numbered(file.prose()) {
            if marks.iter().any(|mark| has_word(prose, mark)) {
                faults.push(Fault::new(file, line, "do it now, or open an issue"));
            }
        }
        for (line, code) in numbered(&file.code) {
            if macros.iter().any(|name| has_word(code, name)) {
                faults.push(Fault::new(file, line, "finish it, or take it out"));
            }
        }
    }
    faults
}

#[test]
fn no_work_is_left_unfinished_in_the_tree() {
    assert_tidy(marks_of_unfinished_work(&tree()));
}

#[test]
fn a_planted_mark_of_unfinished_work_is_found() {
    let rule = marks_of_unfinished_work;
    let mark = concat!("TO", "DO");
    assert_eq!(
        found(rule, "src/a.rs", &format!("//! x\n// {mark}: later\nlet s = \"{mark}\";\ndbg!(s);")),
        [2, 4]
    );
    assert_eq!(found(rule, "tests/a.sh", &format!("set -eu\n# {mark}\n")), [2]);
}

fn prints_of_the_library(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.is_in("src")) {
        // What ends the program before there is a log goes to standard error in `main`.
        let names = ["println!", "print!", "eprintln!", "eprint!"];
        let banned = if file.path == "src/main.rs" { &names[..2] } else { &names[..] };
        for (line, code) in file.code_before_tests() {
            if banned.iter().any(|name| has_word(code, name)) {
                faults.push(Fault::new(
                    file,
                    line,
                    "log it by tracing, or write it to a stream that is handed in",
                ));
            }
        }
    }
    faults
}

#[test]
fn the_library_prints_nothing_of_its_own() {
    assert_tidy(prints_of_the_library(&tree()));
}

#[test]
fn a_planted_print_of_the_library_is_found() {
    let rule = prints_of_the_library;
    assert_eq!(found(rule, "src/ws/a.rs", "println!(\"x\");\neprintln!(\"x\");"), [1, 2]);
    assert_eq!(found(rule, "src/main.rs", "println!(\"x\");\neprintln!(\"x\");\nwriteln!(out);"), [1]);
}

fn unsafe_code(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        for (line, _) in numbered(&file.code).filter(|(_, code)| has_word(code, "unsafe")) {
            faults.push(Fault::new(file, line, "write it in safe Rust"));
        }
    }
    for file in files.iter().filter(|file| file.path == "Cargo.toml") {
        let is_forbidden = file.text.lines().any(|line| line == "unsafe_code = \"forbid\"");
        if !is_forbidden {
            faults.push(Fault::new(file, 1, "put unsafe_code = \"forbid\" under [lints.rust]"));
        }
    }
    faults
}

#[test]
fn unsafe_code_is_forbidden_and_there_is_none() {
    assert_tidy(unsafe_code(&tree()));
}

#[test]
fn planted_unsafe_code_is_found() {
    assert_eq!(
        found(unsafe_code, "benches/a.rs", "// unsafe\nfn f() { unsafe { g() } }\nlet unsafely = 1;"),
        [2]
    );
    assert_eq!(found(unsafe_code, "Cargo.toml", "[lints.rust]\nunsafe_code = \"warn\"\n"), [1]);
}

fn praise(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_read = |file: &&File| [".rs", ".md", ".toml", ".html"].iter().any(|end| file.path.ends_with(end));
    for file in files.iter().filter(is_read) {
        for (line, prose) in numbered(file.prose()) {
            let prose = TERMS.iter().fold(prose.to_lowercase(), |prose, term| prose.replace(term, ""));
            for word in PRAISE.iter().filter(|word| has_word(&prose, word)) {
                faults.push(Fault::new(file, line, format!("give a figure instead of {word:?}")));
            }
        }
    }
    faults
}

#[test]
fn no_sentence_praises_what_it_describes() {
    assert_tidy(praise(&tree()));
}

#[test]
fn a_planted_praise_is_found() {
    assert_eq!(found(praise, "README.md", "# A server\nIt is Fast.\nIt is faster than 3 µs.\n"), [2]);
    assert_eq!(
        found(praise, "src/a.rs", "/// Bad UTF-8 fails fast.\nlet robust = \"robust\";\n/// Simply done."),
        [3]
    );
}

fn registry_hosts(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files {
        for (line, text) in numbered(&file.text) {
            let is_cargos_own = file.path.ends_with("Cargo.lock") && text == CARGO_LOCK_SOURCE;
            if !is_cargos_own && REGISTRY_HOSTS.iter().any(|host| text.contains(host)) {
                faults.push(Fault::new(file, line, "name the package, not the host that it comes from"));
            }
        }
    }
    faults
}

#[test]
fn no_file_names_the_host_of_a_registry() {
    assert_tidy(registry_hosts(&tree()));
}

#[test]
fn a_planted_registry_host_is_found() {
    let host = REGISTRY_HOSTS[1];
    assert_eq!(
        found(registry_hosts, ".ci/run", &format!("set -eu\npip install -i https://{host}/simple x\n")),
        [2]
    );
    assert_eq!(found(registry_hosts, "fuzz/Cargo.lock", &format!("{CARGO_LOCK_SOURCE}\n{host}\n")), [2]);
}

// ---- Tests, errors and modules ----

fn test_names_that_are_no_sentences(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_rust()) {
        let lines: Vec<_> = file.code.lines().collect();
        for at in (0..lines.len()).filter(|&at| lines[at].trim() == "#[test]") {
            // Other attributes may stand between.
            let Some(line) = (at..lines.len()).find(|&line| has_word(lines[line], "fn ")) else { continue };
            for name in names_after(lines[line], "fn ") {
                if name.split('_').count() < NAME_WORDS_MIN {
                    faults.push(Fault::new(file, line + 1, format!("{name}: say in a sentence what holds")));
                }
            }
        }
    }
    faults
}

#[test]
fn the_name_of_every_test_is_a_sentence() {
    assert_tidy(test_names_that_are_no_sentences(&tree()));
}

#[test]
fn a_planted_test_name_that_is_no_sentence_is_found() {
    let rule = test_names_that_are_no_sentences;
    assert_eq!(
        found(rule, "src/a.rs", "    #[test]\n    #[ignore]\n    fn it_works() {}\nfn helper() {}"),
        [3]
    );
    assert_eq!(found(rule, "src/a.rs", "#[test]\nfn a_ping_is_answered() {}"), [0; 0]);
}

/// In `http` an accessor of the response has the mapping's name, so only `ws` is searched for a second one.
fn scattered_error_mappings(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (room, signature) in [("ws", "fn close_code(&self)"), ("http", "fn status(&self)")] {
        let path = format!("src/{room}/error.rs");
        let Some(file) = files.iter().find(|file| file.path == path) else { continue };
        let count = file.code_before_tests().filter(|(_, code)| code.contains(signature)).count();
        if count != 1 {
            faults.push(Fault::new(file, 1, format!("have {signature} once; it is here {count} times")));
        }
        for (line, code) in file.code_before_tests() {
            if has_word(code, "_ =>") || has_word(code, "_ if") {
                faults.push(Fault::new(file, line, "name every variant: a new fault must be decided on"));
            }
        }
    }
    let is_in_ws = |file: &&File| file.is_in("src/ws") && file.path != "src/ws/error.rs";
    for file in files.iter().filter(is_in_ws) {
        for (line, _) in numbered(&file.code).filter(|(_, code)| code.contains("fn close_code(")) {
            faults.push(Fault::new(file, line, "faults are turned into close codes in src/ws/error.rs only"));
        }
    }
    faults
}

#[test]
fn one_exhaustive_match_turns_a_fault_into_what_the_peer_is_told() {
    let tree = tree();
    for path in ["src/ws/error.rs", "src/http/error.rs"] {
        assert!(tree.iter().any(|file| file.path == path), "{path} is where faults are turned into answers");
    }
    assert_tidy(scattered_error_mappings(&tree));
}

#[test]
fn a_planted_second_mapping_of_errors_is_found() {
    let rule = scattered_error_mappings;
    let mapping = "fn close_code(&self) {\n match self {\n  A => 1,\n";
    assert_eq!(found(rule, "src/ws/error.rs", &format!("{mapping}  _ => 2 }} }}")), [4]);
    assert_eq!(found(rule, "src/ws/error.rs", &format!("{mapping} }} }}\n{mapping} }} }}")), [1]);
    assert_eq!(found(rule, "src/ws/error.rs", &format!("{mapping} Error(_) => 2 }} }}")), [0; 0]);
    assert_eq!(found(rule, "src/ws/message.rs", mapping), [1]);
    assert_eq!(found(rule, "src/http/error.rs", "fn other() {}"), [1]);
}

/// Files that no crate root leads to by `mod`.
fn dead_files(files: &[File]) -> Vec<Fault> {
    let rust: Vec<_> = files.iter().filter(|file| file.is_rust()).collect();
    let mut alive = BTreeSet::new();
    let mut waiting: Vec<_> = rust.iter().filter(|file| is_root(&file.path, files)).collect();
    while let Some(file) = waiting.pop() {
        if alive.insert(&file.path) {
            let modules = modules_of(file, is_root(&file.path, files));
            waiting.extend(rust.iter().filter(|other| modules.contains(&other.path)));
        }
    }
    let dead = rust.iter().filter(|file| !alive.contains(&file.path));
    dead.map(|file| Fault::new(file, 1, "no mod leads here: name it in its room, or delete it")).collect()
}

/// Whether cargo compiles the file as a crate of its own.
fn is_root(path: &str, files: &[File]) -> bool {
    if path == "src/lib.rs" || path == "src/main.rs" {
        return true;
    }
    let is_listed = |manifest: &File| {
        let path = path.strip_prefix("fuzz/").unwrap_or(path);
        manifest.text.lines().any(|line| line == format!("path = \"{path}\""))
    };
    if path.starts_with("fuzz/") {
        return files.iter().filter(|file| file.path == "fuzz/Cargo.toml").any(is_listed);
    }
    let below = ["tests/", "benches/", "examples/"].iter().find_map(|folder| path.strip_prefix(folder));
    below.is_some_and(|rest| {
        !rest.contains('/') || rest.split_once('/').is_some_and(|(_, file)| file == "main.rs")
    })
}

/// The paths to which the file's `mod` declarations may lead.
fn modules_of(file: &File, is_root: bool) -> BTreeSet<String> {
    let (folder, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
    let own = if is_root || name == "mod.rs" {
        folder.to_owned()
    } else {
        format!("{folder}/{}", name.trim_end_matches(".rs"))
    };
    let mut paths = BTreeSet::new();
    let lines: Vec<_> = file.code.lines().zip(file.text.lines()).collect();
    for (at, (code, _)) in lines.iter().enumerate().filter(|(_, (code, _))| code.trim_end().ends_with(';')) {
        let Some(module) = names_after(code, "mod ").first().copied() else { continue };
        // The path is in quotes, so it is taken from the text.
        let attributes = lines[..at].iter().rev().take_while(|(code, _)| code.trim().starts_with("#["));
        let path =
            attributes.filter_map(|(_, text)| text.trim().strip_prefix("#[path = \"")?.strip_suffix("\"]"));
        match path.last() {
            Some(path) => paths.insert(joined(folder, path)),
            None => {
                paths.insert(format!("{own}/{module}.rs")) | paths.insert(format!("{own}/{module}/mod.rs"))
            }
        };
    }
    paths
}

/// `fuzz/bodies/mod.rs` for `tests` and `../fuzz/bodies/mod.rs`.
fn joined(folder: &str, path: &str) -> String {
    let mut parts: Vec<_> = folder.split('/').collect();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join("/")
}

#[test]
fn a_mod_leads_to_every_file() {
    assert_tidy(dead_files(&tree()));
}

#[test]
fn a_planted_dead_file_is_found() {
    let texts = [
        ("src/lib.rs", "pub mod ws;"),
        ("src/ws/mod.rs", "mod frame;\nmod deep;"),
        ("src/ws/frame.rs", "#[cfg(test)]\n#[path = \"frame_tests.rs\"]\nmod tests;"),
        ("src/ws/frame_tests.rs", ""),
        ("src/ws/deep/mod.rs", "// mod dead;\nmod alive;"),
        ("src/ws/deep/alive.rs", ""),
        ("src/ws/deep/dead.rs", ""),
        ("tests/frames.rs", "mod support;\n#[path = \"../fuzz/bodies/mod.rs\"]\nmod bodies;"),
        ("tests/support/mod.rs", "mod client;"),
        ("tests/support/client.rs", ""),
        ("tests/support/dead.rs", ""),
        ("benches/fan_out/main.rs", "mod floor;"),
        ("benches/fan_out/floor.rs", ""),
        ("fuzz/Cargo.toml", "[[bin]]\npath = \"fuzz_targets/frames.rs\"\n"),
        ("fuzz/fuzz_targets/frames.rs", ""),
        ("fuzz/fuzz_targets/dead.rs", ""),
        ("fuzz/bodies/mod.rs", ""),
    ];
    let files: Vec<_> = texts.iter().map(|(path, text)| File::new(path, text)).collect();
    let dead: Vec<_> = dead_files(&files).into_iter().map(|fault| fault.path).collect();
    assert_eq!(dead, ["src/ws/deep/dead.rs", "tests/support/dead.rs", "fuzz/fuzz_targets/dead.rs"]);
}

#[test]
fn comments_and_quotes_are_told_from_code() {
    let text = "a /* b /* c */ d */ e // f\n\"g \\\" // h\" 'i' '\\'' <'j> r#\"k \" l\"# b\"m\" br\"n\\\" o";
    let (code, comments) = split(text);
    let letters = |text: &str| text.chars().filter(char::is_ascii_lowercase).collect::<String>();
    assert_eq!(letters(&code), "aejbo");
    assert_eq!(letters(&comments), "bcdf");
    assert_eq!(code.chars().count(), text.chars().count());
    assert_eq!(code.lines().count(), 2);
}
