//! What is written in comments and documents, and what is not.

use super::source::{Fault, File, assert_tidy, found, has_word, numbered, tree};

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

fn panics_without_a_reason(files: &[File]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| file.is_rust() && file.is_in("src")) {
        for (line, code) in file.code_before_tests() {
            if code.contains(".expect(\"\")") {
                faults.push(Fault::new(file, line, "return an error, or say why it cannot fail"));
            }
        }
    }
    faults
}

#[test]
fn nothing_is_expected_without_a_reason_outside_tests() {
    assert_tidy(panics_without_a_reason(&tree()));
}

#[test]
fn a_planted_expectation_without_a_reason_is_found() {
    let rule = panics_without_a_reason;
    assert_eq!(found(rule, "src/a.rs", "//! .expect(\"\")\nb.expect(\"\");\nc.expect(\"it is\");"), [2]);
    assert_eq!(found(rule, "src/a.rs", "\n#[cfg(test)]\nmod tests {\na.expect(\"\");\n}"), [0; 0]);
    assert_eq!(found(rule, "src/a.rs", "\n#[cfg(test)]\nmod a_tests;\na.expect(\"\");\n"), [4]);
    assert_eq!(found(rule, "src/a_tests.rs", "a.expect(\"\");"), [0; 0]);
}

fn marks_of_unfinished_work(files: &[File]) -> Vec<Fault> {
    let marks = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("HA", "CK")];
    let mut faults = Vec::new();
    let is_ours = |file: &&File| !file.is_in("fuzz/corpus") && !file.path.ends_with(".lock");
    for file in files.iter().filter(is_ours) {
        for (line, prose) in numbered(file.prose()) {
            if marks.iter().any(|mark| has_word(prose, mark)) {
                faults.push(Fault::new(file, line, "do it now, or open an issue"));
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
    assert_eq!(found(rule, "src/a.rs", &format!("//! x\n// {mark}: later\nlet s = \"{mark}\";")), [2]);
    assert_eq!(found(rule, "tests/a.sh", &format!("set -eu\n# {mark}\n")), [2]);
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
