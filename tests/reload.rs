//! Keys and rules that change while the server runs, as an operator changes them: in files, which are replaced or swapped, and
//! by SIGHUP. What a reload does to connections is in the tests of access.

#![cfg(unix)] // for its signals and links
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use support::*;
use tempfile::TempDir;

/// A `[[key]]` table whose secret is `secret-NAME`.
fn key(name: &str) -> String {
    format!("[[key]]\nname = \"{name}\"\nsecret = \"secret-{name}\"\npublish = [\"*\"]\n")
}

/// Writes a file of a folder and gives its path.
fn write(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, text).unwrap();
    path
}

/// Puts another file into the place of this one, as deployments do.
fn replace(path: &Path, text: &str) {
    let other = path.with_extension("new");
    fs::write(&other, text).unwrap();
    fs::rename(other, path).unwrap();
}

fn spawn_with(flag: &str, path: &Path, more: &[&str]) -> Logged {
    spawn_logged(&mut fanfare(&[&["--drain", "0s", flag, path.to_str().unwrap()], more].concat()))
}

/// The status of a POST by this secret.
fn post(logged: &Logged, secret: &str) -> u16 {
    let fields = format!("Authorization: Bearer {secret}\r\n");
    request(logged.process.address, "POST", "/channels/news", &fields, b"x").status
}

/// Sends a SIGHUP and waits for the line with these words. There may be others: a slow machine gives the server the time to
/// see by itself that a file has changed.
fn hang_up(logged: &Logged, words: &str) -> String {
    logged.process.signal("HUP");
    logged.line(words)
}

#[test]
fn a_file_of_keys_that_is_replaced_is_read_without_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "keys.toml", &key("one"));
    let logged = spawn_with("--publish-keys", &path, &[]);
    assert_eq!((post(&logged, "secret-one"), post(&logged, "secret-two")), (200, 401));
    replace(&path, &key("two"));
    let line = logged.line("reloaded");
    assert!(line.ends_with("keys.toml: keys: added two, removed one"), "{line}");
    assert_eq!((post(&logged, "secret-one"), post(&logged, "secret-two")), (401, 200));
}

#[test]
fn rules_and_apps_of_a_config_file_that_is_replaced_are_read_without_a_signal() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(&folder, "fanfare.toml", "publish-key = \"secret-one\"\n");
    let logged = spawn_with("--config", &config, &[]);
    replace(&config, "publish-key = \"secret-two\"\n[[app]]\nid = 7\nkey = \"k\"\nsecret = \"s\"\n");
    let line = logged.line("reloaded");
    assert!(line.ends_with(": keys: added default, removed default; apps: added 7"), "{line}");
    assert_eq!((post(&logged, "secret-one"), post(&logged, "secret-two")), (401, 200));
}

#[test]
fn a_hangup_for_a_file_that_is_written_ends_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let audit = folder.path().join("audit");
    let mut logged = spawn_with("--audit", &audit, &["--publish-key", "secret-one"]);
    logged.process.signal("HUP");
    assert_eq!(post(&logged, "secret-one"), 200);
    logged.process.signal("TERM");
    assert!(logged.process.wait().success());
}

#[test]
fn links_that_are_swapped_are_another_file_as_in_volumes_of_kubernetes() {
    let folder = tempfile::tempdir().unwrap();
    let in_folder = |name: &str| folder.path().join(name);
    for (version, name) in [("v1", "one"), ("v2", "two")] {
        fs::create_dir(in_folder(version)).unwrap();
        write(&folder, &format!("{version}/keys.toml"), &key(name));
    }
    symlink("v1", in_folder("data")).unwrap();
    symlink("data/keys.toml", in_folder("keys.toml")).unwrap();
    let logged = spawn_with("--publish-keys", &in_folder("keys.toml"), &[]);
    symlink("v2", in_folder("data.new")).unwrap();
    fs::rename(in_folder("data.new"), in_folder("data")).unwrap();
    let line = logged.line("reloaded");
    assert!(line.ends_with("keys: added two, removed one"), "{line}");
    assert_eq!((post(&logged, "secret-one"), post(&logged, "secret-two")), (401, 200));
}

#[test]
fn a_hangup_reads_at_once_and_a_fault_keeps_what_there_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "keys.toml", &key("one"));
    let logged = spawn_with("--publish-keys", &path, &[]);
    for (text, words) in [
        ("[[key]]\nname = \"two\"\nsecret = \"secret-tw".to_owned(), "line 3: "),
        (String::new(), "it has no [[key]]"),
        (key("two") + &key("two"), "two keys have this name"),
        (key("Two"), "[[key]] \"Two\": a name is 1 to 32"),
    ] {
        replace(&path, &text);
        let line = hang_up(&logged, words);
        assert!(line.contains("keys and rules not reloaded, they stay as they are: "), "{line}");
        assert!(!line.contains("secret-"), "{line}");
        assert_eq!((post(&logged, "secret-one"), post(&logged, "secret-two")), (200, 401));
    }
    fs::remove_file(&path).unwrap();
    hang_up(&logged, "it is no regular file any more");
    assert_eq!(post(&logged, "secret-one"), 200);
    replace(&path, &(key("one") + &key("two")));
    let line = hang_up(&logged, ": keys: added two");
    assert!(line.ends_with(": keys: added two"), "{line}");
    assert_eq!((post(&logged, "secret-one"), post(&logged, "secret-two")), (200, 200));
    assert!(hang_up(&logged, "nothing has changed").ends_with("keys.toml: nothing has changed"));
}

#[test]
fn a_fault_in_the_keys_does_not_hold_up_the_apps_nor_one_in_the_apps_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let app = |id: u32| format!("[[app]]\nid = {id}\nkey = \"k{id}\"\nsecret = \"s\"\n");
    let keys = write(&folder, "keys.toml", &key("one"));
    let config = write(&folder, "fanfare.toml", &app(1));
    let logged = spawn_with("--publish-keys", &keys, &["--config", config.to_str().unwrap()]);
    replace(&keys, "");
    replace(&config, &(app(1) + &app(2)));
    hang_up(&logged, "keys and rules not reloaded");
    let line = logged.line("apps: ");
    assert!(line.ends_with(": apps: added 2"), "{line}");
    replace(&keys, &key("two"));
    replace(&config, "[[app]]\nid = 1\n");
    let line = hang_up(&logged, "apps not reloaded");
    assert!(line.contains("key: missing"), "{line}");
    let line = logged.line("added two");
    assert!(line.ends_with(": keys: added two, removed one"), "{line}");
    assert_eq!((post(&logged, "secret-one"), post(&logged, "secret-two")), (401, 200));
}

#[test]
fn rules_and_keys_of_the_config_file_apply_and_what_needs_a_restart_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(&folder, "fanfare.toml", "publish-key = \"one=secret-one\"\n");
    let logged = spawn_with("--config", &config, &[]);
    let read = || request(logged.process.address, "GET", "/channels/ops?last=1&wait=0", "", b"").status;
    assert_eq!(read(), 200);
    let more =
        "publish-key = [\"one=secret-one\", \"two=secret-two\"]\nauth = \"ops=key\"\nmax-lag = \"2MiB\"\n";
    replace(&config, more);
    let line = hang_up(&logged, ": keys: added two; changed auth");
    assert!(line.ends_with(": keys: added two; changed auth"), "{line}");
    assert!(logged.line("needs a restart").contains("fanfare.toml: max-lag changed as well"));
    assert_eq!((read(), post(&logged, "secret-two")), (401, 200));
    replace(&config, "publish-key = \"one=secret-one\"\nauth = \"ops=token\"\n");
    let line = hang_up(&logged, "--auth ops=token: nobody could subscribe");
    assert!(line.contains("--auth ops=token: nobody could subscribe"), "{line}");
    assert_eq!((read(), post(&logged, "secret-two")), (401, 200));
}

#[test]
fn keys_of_tokens_are_read_again_by_their_names() {
    let folder = tempfile::tempdir().unwrap();
    let keys = |kids: &[(&str, &str)]| {
        let keys =
            kids.iter().map(|(kid, k)| format!(r#"{{"kty":"oct","kid":"{kid}","k":"{k}","alg":"HS256"}}"#));
        format!(r#"{{"keys":[{}]}}"#, keys.collect::<Vec<_>>().join(","))
    };
    let (one, other) = ("A".repeat(43), "B".repeat(42) + "A");
    let path = write(&folder, "keys.json", &keys(&[("2026-06", &one)]));
    let logged = spawn_with("--token-key", &path, &[]);
    replace(&path, &keys(&[("2026-09", &other)]));
    let line = hang_up(&logged, ": keys: added 2026-09, removed 2026-06");
    assert!(line.ends_with(": keys: added 2026-09, removed 2026-06"), "{line}");
    replace(&path, "{\"keys\":[");
    let line = hang_up(&logged, "--token-key ");
    assert!(line.contains("--token-key ") && line.contains("it begins like JSON"), "{line}");
}

#[test]
fn development_mode_goes_on_until_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let config = write(&folder, "fanfare.toml", "echo = true\n");
    let logged = spawn_with("--config", &config, &[]);
    replace(&config, "publish-key = \"secret-one\"\n");
    let line = hang_up(&logged, "development mode begins and ends with a restart");
    assert!(line.contains("development mode begins and ends with a restart"), "{line}");
    assert_eq!(post(&logged, "nothing"), 200);
}

#[test]
fn a_key_that_the_binary_makes_publishes_once_its_table_is_in_the_file() {
    let output = Command::new(env!("CARGO_BIN_EXE_fanfare")).args(["key", "billing"]).output().unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let (secret, table) = printed.split_once('\n').unwrap();
    assert!(secret.starts_with("fk_billing_") && !table.contains(secret), "{printed}");
    let folder = tempfile::tempdir().unwrap();
    let path = write(&folder, "keys.toml", table);
    let logged = spawn_with("--publish-keys", &path, &[]);
    assert_eq!((post(&logged, secret), post(&logged, &secret.to_uppercase())), (200, 401));
    let again = Command::new(env!("CARGO_BIN_EXE_fanfare")).args(["key", "billing"]).output().unwrap();
    assert_ne!(String::from_utf8(again.stdout).unwrap().lines().next(), Some(secret));
}

#[test]
fn the_start_says_which_rules_hold_and_which_keys_have_ended() {
    let logged = spawn_logged(&mut fanfare(&["--publish-key", "billing=hidden"]));
    let line = logged.line("everybody may subscribe to everything; --token-key FILE closes it");
    assert!(line.ends_with("Who may publish: with the key billing") && !line.contains("hidden"), "{line}");
    let folder = tempfile::tempdir().unwrap();
    let ended = key("old") + "not-after = 2020-01-01\n" + &key("new");
    let path = write(&folder, "keys.toml", &ended);
    let logged = spawn_with("--publish-keys", &path, &["--auth", "ops=key"]);
    assert!(logged.line("not-after has passed").contains("passed: old."));
    let line = logged.line("who may subscribe");
    assert!(
        line.contains("ops with a key; the rest everybody. Who may publish: with one of 2 keys (old, new)")
    );
    assert_eq!((post(&logged, "secret-old"), post(&logged, "secret-new")), (401, 200));
}
