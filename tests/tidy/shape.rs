//! What a file and a function look like: heads, sizes, the names of tests, the mapping of errors, dead files.

use std::collections::BTreeSet;

use super::source::{Fault, File, assert_tidy, find_word, found, has_word, names_after, numbered, tree};

pub const FILE_LINES_MAX: usize = 500; // what one sitting reads
pub const FN_LINES_MAX: usize = 70; // one screen
const NAME_WORDS_MIN: usize = 3; // under that it is no sentence

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
pub fn functions(code: &str) -> impl Iterator<Item = (usize, &str, usize)> {
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
