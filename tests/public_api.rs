//! What the library shows to programs, by name, as `tests/public_api.txt` has it: nothing is added to it, or taken from it, by chance.
//!
//! It is read from the source: types are not compared, and what is hidden from the documentation does not count.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the types are written that the root, `app` and `config` export.
const PLACES: [&str; 13] = [
    "src/app",
    "src/server/handlers",
    "src/server/broker/calls.rs",
    "src/server/broker/draft.rs",
    "src/server/broker/payload.rs",
    "src/server/handle.rs",
    "src/server/start.rs",
    "src/http/response.rs",
    "src/config.rs",
    "src/config",
    "src/pusher/app.rs",
    "src/token/key.rs",
    "src/token/key_file.rs",
];

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

/// The lines of a file that are code before its tests, each with whether an attribute hides it.
fn lines(text: &str) -> Vec<(bool, &str)> {
    let mut is_hidden = false;
    let mut found = Vec::new();
    for line in text.lines().take_while(|line| *line != "#[cfg(test)]") {
        let code = line.trim_start();
        if code.starts_with("//") || code.is_empty() {
            continue;
        }
        if code.starts_with("#[") {
            is_hidden |= code.starts_with("#[doc(hidden)]");
            continue;
        }
        found.push((std::mem::take(&mut is_hidden), line));
    }
    found
}

/// The names that a `pub use` declaration exports.
fn exported(declaration: &str) -> Vec<&str> {
    let path = declaration.trim_start_matches("pub use ").trim_end_matches(';');
    let names = path
        .split_once('{')
        .map_or_else(|| path.rsplit("::").next().unwrap(), |(_, names)| names.trim_end_matches('}'));
    let names = names.split(',').filter_map(|name| name.rsplit(" as ").next());
    names.map(str::trim).filter(|name| !name.is_empty()).collect()
}

/// What a module exports: its modules that are shown, the names of its `pub use` declarations, and its own types.
fn exports(file: &str) -> BTreeSet<String> {
    let text = read(&root().join(file));
    let mut found = BTreeSet::new();
    let mut declaration = String::new();
    for (is_hidden, line) in lines(&text) {
        if let Some(module) = line.strip_prefix("pub mod ").filter(|_| !is_hidden) {
            found.insert(format!("mod {}", module.trim_end_matches(';')));
        }
        let own = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
        if let Some(name) = own.filter(|_| !is_hidden).and_then(|rest| rest.split([' ', '<', '(']).next()) {
            found.insert(name.to_owned());
        }
        if line.starts_with("pub use ") || !declaration.is_empty() {
            declaration += line.trim();
        }
        if declaration.ends_with(';') {
            found.extend(exported(&declaration).into_iter().map(str::to_owned));
            declaration.clear();
        }
    }
    found
}

/// The type whose inherent methods, or the trait whose methods, begin in this line.
fn head(line: &str) -> Option<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let rest = match line.strip_prefix("pub trait ") {
        Some(rest) => rest,
        None => {
            let rest = line.strip_prefix("impl")?;
            let rest = match rest.strip_prefix('<') {
                Some(generics) => generics.split_once("> ")?.1,
                None => rest.trim_start(),
            };
            if rest.contains(" for ") {
                return None;
            }
            rest
        }
    };
    Some(&rest[..rest.find(|c| !is_name(c)).unwrap_or(rest.len())])
}

/// The methods in a file: `Type::method`.
fn methods(text: &str) -> Vec<String> {
    let (mut owner, mut is_trait, mut found) = (None, false, Vec::new());
    for (is_hidden, line) in lines(text) {
        if !line.starts_with([' ', '}', ')']) {
            (owner, is_trait) = (head(line), line.starts_with("pub trait "));
        }
        let Some(owner) = owner.filter(|_| !is_hidden && line.starts_with("    ")) else { continue };
        let code = &line[4..];
        let declared = if is_trait { code.strip_prefix("fn ") } else { code.strip_prefix("pub fn ") };
        let declared = declared.or_else(|| code.strip_prefix("pub const fn "));
        if let Some(name) = declared.and_then(|rest| rest.split(['(', '<']).next()) {
            found.push(format!("{owner}::{name}"));
        }
    }
    found
}

fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for place in PLACES.map(|place| root().join(place)) {
        match fs::read_dir(&place) {
            Ok(entries) => files.extend(entries.map(|entry| entry.unwrap().path())),
            Err(_) => files.push(place),
        }
    }
    files
}

#[test]
fn the_library_shows_what_its_list_has_and_nothing_else() {
    let (shown, in_app) = (exports("src/lib.rs"), exports("src/app/mod.rs"));
    // The type is one, and at the root it has its methods.
    let in_config = &exports("src/config.rs") - &shown;
    let texts: Vec<_> = files().iter().map(|file| read(file)).collect();
    let methods: BTreeSet<_> = texts.iter().flat_map(|text| methods(text)).collect();
    let mut api: Vec<String> = shown.iter().map(|name| format!("fanfare::{name}")).collect();
    api.extend(in_app.iter().map(|name| format!("fanfare::app::{name}")));
    api.extend(in_config.iter().map(|name| format!("fanfare::config::{name}")));
    let is_of = |method: &str, names: &BTreeSet<String>| names.contains(method.split("::").next().unwrap());
    let place = |method: &String| match () {
        () if is_of(method, &shown) => Some(format!("fanfare::{method}")),
        () if is_of(method, &in_app) => Some(format!("fanfare::app::{method}")),
        () if is_of(method, &in_config) => Some(format!("fanfare::config::{method}")),
        () => None,
    };
    api.extend(methods.iter().filter_map(place));
    api.sort();
    let list = root().join("tests/public_api.txt");
    let expected = read(&list);
    let (now, before): (BTreeSet<&str>, BTreeSet<&str>) =
        (api.iter().map(String::as_str).collect(), expected.lines().collect());
    let added: Vec<_> = now.difference(&before).collect();
    let removed: Vec<_> = before.difference(&now).collect();
    assert!(
        added.is_empty() && removed.is_empty(),
        "added: {added:#?}\nremoved: {removed:#?}\nsee {}",
        list.display()
    );
}

#[test]
fn methods_are_found_by_their_type_and_hidden_ones_and_those_of_other_traits_are_not() {
    let text = "pub trait Session: Sized {\n    /// x\n    fn open(&self);\n}\nimpl<S: Session> Socket<'_, S> {\n    \
                pub fn send<'m>(&mut self) {\n        pub fn x();\n    }\n    #[doc(hidden)]\n    pub fn y();\n}\n\
                impl fmt::Debug for Socket {\n    fn fmt() {}\n}\nimpl Code {\n    pub const fn new() {}\n    fn own() {}\n}\n";
    assert_eq!(methods(text), ["Session::open", "Socket::send", "Code::new"]);
    assert_eq!(exported("pub use crate::a::{B, C};"), ["B", "C"]);
    assert_eq!(exported("pub use b::D;"), ["D"]);
    assert_eq!(exported("pub use b::{C, d as e};"), ["C", "e"]);
}
