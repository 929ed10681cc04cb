//! The files of the tree as text: their code and their comments told apart, and where a word stands in them.
//!
//! What is a fault is each rule's own.

use std::fs;
use std::path::Path;

/// A file of the tree: `path` from its root with `/`, and its text.
pub struct File {
    pub path: String,
    pub text: String,
    /// The text without comments and without what is inside quotes; line for line as long.
    pub code: String,
    /// The comments alone; line for line as long.
    pub comments: String,
}

impl File {
    pub fn new(path: &str, text: &str) -> File {
        let (code, comments) = if path.ends_with(".rs") { split(text) } else { Default::default() };
        File { path: path.to_owned(), text: text.to_owned(), code, comments }
    }

    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    pub fn is_in(&self, folder: &str) -> bool {
        self.path.starts_with(&format!("{folder}/"))
    }

    pub fn is_test(&self) -> bool {
        self.is_in("tests") || self.path.ends_with("_tests.rs")
    }

    /// `ws` for `src/ws/frame.rs`, `cli` for `src/cli.rs`.
    pub fn room(&self) -> Option<&str> {
        let rest = self.path.strip_prefix("src/")?;
        Some(rest.split_once('/').map_or(rest.trim_end_matches(".rs"), |(room, _)| room))
    }

    /// How many lines come before the tests.
    pub fn lines_before_tests(&self) -> usize {
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
    pub fn code_before_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        numbered(&self.code).take(self.lines_before_tests())
    }

    /// What a person reads: the comments of Rust, all of anything else.
    pub fn prose(&self) -> &str {
        if self.is_rust() { &self.comments } else { &self.text }
    }
}

pub fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(at, line)| (at + 1, line))
}

/// Something to be put right, where it is, and how.
pub struct Fault {
    pub path: String,
    pub line: usize,
    pub remedy: String,
}

impl Fault {
    pub fn new(file: &File, line: usize, remedy: impl Into<String>) -> Fault {
        Fault { path: file.path.clone(), line, remedy: remedy.into() }
    }
}

pub fn assert_tidy(faults: Vec<Fault>) {
    let lines: Vec<_> = faults.iter().map(|f| format!("{}:{}: {}", f.path, f.line, f.remedy)).collect();
    assert!(lines.is_empty(), "{} to put right:\n{}", lines.len(), lines.join("\n"));
}

/// The lines of a planted text at which the rule finds a fault.
pub fn found(rule: fn(&[File]) -> Vec<Fault>, path: &str, text: &str) -> Vec<usize> {
    rule(&[File::new(path, text)]).iter().map(|fault| fault.line).collect()
}

/// All files but what `.gitignore` names: build results, installed packages and git's own.
pub fn tree() -> Vec<File> {
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

pub fn is_name_char(c: char) -> bool {
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
pub fn find_word(line: &str, word: &str) -> Option<usize> {
    line.match_indices(word).map(|(at, _)| at).find(|&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let joins = |outer: Option<char>, inner: Option<char>| {
            outer.is_some_and(is_name_char) && inner.is_some_and(is_name_char)
        };
        !joins(before, word.chars().next()) && !joins(after, word.chars().next_back())
    })
}

pub fn has_word(line: &str, word: &str) -> bool {
    find_word(line, word).is_some()
}

/// The names that follow `prefix` in a line: `http` of `crate::http::Error`, `{` of `crate::{…}`.
pub fn names_after<'a>(line: &'a str, prefix: &str) -> Vec<&'a str> {
    let mut names = Vec::new();
    let mut rest = line;
    while let Some(at) = find_word(rest, prefix) {
        rest = &rest[at + prefix.len()..];
        let end = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
        names.push(if end == 0 { "{" } else { &rest[..end] });
    }
    names
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
