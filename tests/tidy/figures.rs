//! The figures of the tree: how long its files and functions are, how much of it is prose, who imports whom.
//!
//! `tests/house.sh` prints them. What must hold of them is a rule of its own; here they are only counted.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::house::{methods_of_the_loop_elsewhere, server_room};
use super::imports::{Imports, circles, imports};
use super::shape::{FILE_LINES_MAX, FN_LINES_MAX, functions};
use super::source::{File, tree};

// The limits are for the few that cannot be cut; the middle is what a reader meets.
const FILE_LEN_MEDIAN_MAX: usize = 200;
const FN_LEN_P90_MAX: usize = 28;
const FN_LEN_P99_MAX: usize = 60;

/// Middle, nine of ten, 99 of 100, largest.
struct Spread([usize; 4]);

impl Spread {
    fn of(mut lens: Vec<usize>) -> Spread {
        lens.sort_unstable();
        let at = |percent: usize| lens[(lens.len() * percent / 100).min(lens.len() - 1)];
        Spread([at(50), at(90), at(99), at(100)])
    }
}

/// The figures as lines, one a measure.
fn figures(files: &[File]) -> String {
    let lens = file_lens(files);
    let too_long = lens.iter().filter(|len| **len > FILE_LINES_MAX).count();
    let function_lens = function_lens(files);
    let functions_too_long = function_lens.iter().filter(|len| **len > FN_LINES_MAX).count();
    let prose: usize = production(files).map(prose_lines).sum();
    let imports = imports(files);
    let pairs = imports.iter().flat_map(|(file, others)| others.iter().map(move |other| (file, other)));
    let mutual = pairs.filter(|(file, other)| file < other && imports[*other].contains(*file)).count();

    let mut out = String::new();
    let mut line = |name: &str, value: String| writeln!(out, "{name:<58} {value}").expect("a text takes it");
    line("production files (src without tests)", lens.len().to_string());
    let all: usize = lens.iter().sum();
    line("lines in them, without tests", all.to_string());
    let Spread([median, .., max]) = Spread::of(lens);
    line("file length without tests: median / max", format!("{median} / {max}"));
    line(&format!("files over {FILE_LINES_MAX} lines"), too_long.to_string());
    line("functions", function_lens.len().to_string());
    let Spread([median, p90, p99, max]) = Spread::of(function_lens);
    line("function length: median / p90 / p99 / max", format!("{median} / {p90} / {p99} / {max}"));
    line(&format!("functions over {FN_LINES_MAX} lines"), functions_too_long.to_string());
    line("doc share of the lines", format!("{} %", prose * 100 / all));
    line("pairs of files that import each other", mutual.to_string());
    let circles = circles(&imports);
    line("circles of files", circles.len().to_string());
    for circle in circles {
        line("", circle.join(" -> "));
    }
    line(
        "impl EventLoop outside src/server/event_loop",
        methods_of_the_loop_elsewhere(files).len().to_string(),
    );
    for (room, others) in between_all_rooms(&imports) {
        line(&format!("{room} imports"), Vec::from_iter(others).join(" "));
    }
    out
}

fn production(files: &[File]) -> impl Iterator<Item = &File> {
    files.iter().filter(|file| file.is_rust() && file.is_in("src") && !file.is_test())
}

fn file_lens(files: &[File]) -> Vec<usize> {
    production(files).map(File::lines_before_tests).collect()
}

fn function_lens(files: &[File]) -> Vec<usize> {
    let of_a_file = |file: &File| {
        let before_tests = functions(&file.code).take_while(|(line, ..)| *line <= file.lines_before_tests());
        before_tests.map(|(.., len)| len).collect::<Vec<_>>()
    };
    production(files).flat_map(of_a_file).collect()
}

/// The rooms of `src`, those of `server` one by one, and which others each imports.
fn between_all_rooms(imports: &Imports) -> BTreeMap<String, BTreeSet<String>> {
    let room = |file: &str| match server_room(file) {
        Some(room) => format!("server/{room}"),
        None => File::new(file, "").room().unwrap_or_default().to_owned(),
    };
    let mut rooms: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for (file, others) in imports {
        let others = others.iter().map(|other| room(other)).filter(|other| *other != room(file));
        rooms.entry(room(file)).or_default().extend(others);
    }
    rooms.retain(|_, others| !others.is_empty());
    rooms
}

/// Lines before the tests that have a comment and no code.
fn prose_lines(file: &File) -> usize {
    let lines = file.code.lines().zip(file.comments.lines()).take(file.lines_before_tests());
    lines.filter(|(code, comment)| code.trim().is_empty() && !comment.trim().is_empty()).count()
}

#[test]
fn half_of_the_files_and_nearly_all_functions_are_far_from_the_limits() {
    let files = tree();
    print!("{}", figures(&files));
    let Spread([median, ..]) = Spread::of(file_lens(&files));
    assert!(median < FILE_LEN_MEDIAN_MAX, "{median} lines");
    let Spread([_, p90, p99, _]) = Spread::of(function_lens(&files));
    assert!(p90 <= FN_LEN_P90_MAX && p99 <= FN_LEN_P99_MAX, "{p90} and {p99} lines");
}

#[test]
fn the_figures_of_a_planted_tree_are_as_counted_by_hand() {
    let texts = [
        ("src/lib.rs", "//! A tree.\n//!\nmod a;\nmod b;\nfn f() {\n}\n"),
        ("src/a.rs", "/// Says x.\nuse crate::b;\n\n#[cfg(test)]\nmod tests {\n    fn g() {}\n}\n"),
        ("src/b.rs", "use crate::a;\nimpl EventLoop {\n    fn h() {}\n}\n"),
    ];
    let files: Vec<_> = texts.iter().map(|(path, text)| File::new(path, text)).collect();
    let figures = figures(&files);
    let value = |name: &str| {
        let line = figures.lines().find(|line| line.starts_with(name)).expect("the measure is printed");
        line[name.len()..].trim().to_owned()
    };
    assert_eq!(value("production files (src without tests)"), "3");
    assert_eq!(value("lines in them, without tests"), "13");
    assert_eq!(value("file length without tests: median / max"), "4 / 6");
    assert_eq!(value("function length: median / p90 / p99 / max"), "2 / 2 / 2 / 2");
    assert_eq!(value("doc share of the lines"), "23 %");
    assert_eq!(value("pairs of files that import each other"), "1");
    assert_eq!(value("circles of files"), "1");
    assert_eq!((value("a imports"), value("b imports")), ("b".to_owned(), "a".to_owned()));
    assert_eq!(value("impl EventLoop outside src/server/event_loop"), "1");
}
