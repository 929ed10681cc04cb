//! What files come to that are read again: each set by itself, and what is said of a fault.
//!
//! When they are read is `reload`'s.

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;

use tempfile::TempDir;

use super::*;

const APP_1: &str = "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n";

/// A process that was started with these files and flags. `DIR/` in flags and files is their folder.
struct Started {
    folder: TempDir,
    running: Config,
    reload: Reload,
}

impl Started {
    fn with(files: &[(&str, &str)], flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| write(&folder, name, text));
        let words = std::iter::once("fanfare").chain(flags.iter().copied());
        let words: Vec<OsString> = words.map(|word| in_folder(&folder, word).into()).collect();
        let args = Args::parse_from_words(&words).unwrap();
        let reload = args.reload_of(words);
        let running = args.into_config();
        running.check().unwrap();
        Self { folder, running, reload }
    }

    /// What is read after these files have been written.
    fn after(&mut self, files: &[(&str, &str)]) -> Result<Reread, String> {
        files.iter().for_each(|(name, text)| write(&self.folder, name, text));
        self.reload.read(&self.running)
    }
}

fn write(folder: &TempDir, name: &str, text: &str) {
    fs::write(folder.path().join(name), in_folder(folder, text)).unwrap();
}

fn in_folder(folder: &TempDir, text: &str) -> String {
    text.replace("DIR/", &format!("{}/", folder.path().display()))
}

fn started_with(config: &str, flags: &[&str]) -> Started {
    Started::with(&[("c.toml", config)], &[&["--config", "DIR/c.toml"], flags].concat())
}

fn key(name: &str) -> String {
    format!("[[key]]\nname = '{name}'\nsecret = 'hidden-{name}'\npublish = ['*']\n")
}

fn names(config: &Config) -> Vec<&str> {
    config.keys.iter().map(|key| key.name.as_str()).collect()
}

#[test]
fn a_file_that_is_read_again_gives_its_apps_and_names_what_needs_a_restart() {
    let after = format!("max-lag = '2MiB'\nthreads = 3\n{APP_1}");
    let mut started = started_with("max-lag = '1MiB'\nthreads = 3\necho = true\n", &[]);
    let reread = started.after(&[("c.toml", &after)]).unwrap();
    assert_eq!(reread.needs_restart, ["max-lag", "echo"]);
    assert_eq!(reread.apps.unwrap().unwrap(), [App::new("1", "k", "s")]);
    let mut started = started_with("threads = 3\n", &["--app", "2:k:s", "--max-lag", "1MiB"]);
    let reread = started.after(&[("c.toml", &after)]).unwrap();
    assert_eq!(reread.apps.unwrap().unwrap(), [App::new("2", "k", "s")]);
    assert!(reread.needs_restart.is_empty(), "flags override both");
}

#[test]
fn redis_is_that_of_the_start_until_a_restart_and_its_flags_are_named_without_values() {
    let before = "redis = 'redis://:hidden@a'\npublish-key = 'one'\n";
    let after = "redis = 'redis://:hidden@b'\nredis-prefix = 'shop'\npublish-key = 'two'\n";
    let mut started = started_with(before, &[]);
    let reread = started.after(&[("c.toml", after)]).unwrap();
    assert_eq!(reread.needs_restart, ["redis", "redis-prefix"]);
    assert_eq!(reread.access.unwrap().redis, started.running.redis);
    let error = started.after(&[("c.toml", "redis = 'redis://:hidden%@b'\n")]).unwrap_err();
    assert!(error.contains("--redis <URL>") && !error.contains("hidden"), "{error}");
}

#[test]
fn a_file_with_a_fault_is_not_read_again_and_the_fault_is_on_one_line() {
    for (after, words) in [
        ("", "it is empty"),
        ("max-lag = 'lots'\n", "--max-lag"),
        ("thread = 3\n", "no flag is called \"thread\""),
        ("threads = \n", "line 1: "),
    ] {
        let error = started_with(APP_1, &[]).after(&[("c.toml", after)]).unwrap_err();
        assert!(error.contains(words) && !error.contains('\n') && !error.starts_with("error"), "{error}");
    }
    let mut gone = started_with(APP_1, &[]);
    fs::remove_file(gone.folder.path().join("c.toml")).unwrap();
    assert!(gone.after(&[]).unwrap_err().contains("c.toml: it is no regular file any more"));
}

#[test]
fn rules_keys_globs_origins_and_audience_are_those_of_now_and_the_rest_is_as_at_the_start() {
    let before = "publish-key = 'one'\nmax-lag = '1MiB'\ntoken-key = 'DIR/t'\n";
    let after = "publish-key = ['new=two', 'three']\nclient-publish = 'chat'\nauth = 'news=open'\n\
                 allow-origin = 'https://a.example'\ntoken-audience = 'fanfare'\ntoken-key = 'DIR/t'\nmax-lag = '2MiB'\n";
    let secret = "s".repeat(32);
    let mut started =
        Started::with(&[("c.toml", before), ("t", &secret)], &["--config", "DIR/c.toml", "--insecure"]);
    let reread = started.after(&[("c.toml", after), ("t", &"u".repeat(32))]).unwrap();
    let config = reread.access.unwrap();
    assert_eq!(names(&config), ["new", "default"]);
    assert_eq!((config.client_publish.len(), config.auth.len()), (1, 1));
    assert_eq!(config.allow_origin, ["https://a.example"]);
    assert_eq!(config.token_audience.as_deref(), Some("fanfare"));
    assert_eq!(config.token_keys.without(&started.running.token_keys).count(), 1);
    assert_eq!(config.max_lag, 1024 * 1024);
    assert_eq!(reread.needs_restart, ["max-lag"]);
}

#[test]
fn files_of_keys_are_read_again_without_a_config_file_and_there_are_no_apps_then() {
    let flags = ["--publish-keys", "DIR/k.toml"];
    let mut started = Started::with(&[("k.toml", &key("one"))], &flags);
    assert!(started.reload.obeys_hangups());
    let reread = started.after(&[("k.toml", &(key("one") + &key("two")))]).unwrap();
    assert_eq!(names(&reread.access.unwrap()), ["one", "two"]);
    assert_eq!(reread.apps, Ok(None));
}

#[test]
fn a_fault_in_keys_or_rules_does_not_hold_up_the_apps_and_says_no_secret() {
    let config = "publish-keys = 'DIR/k.toml'\n";
    let files = [("c.toml", config), ("k.toml", &key("one"))];
    let with_app = format!("{config}{APP_1}");
    let bad_rule = format!("auth = 'news=closed'\n{with_app}");
    let dead_rule = format!("auth = 'news=token'\n{with_app}");
    let twice = key("one") + &key("one");
    for (now, words) in [
        (vec![("k.toml", "[[key]]\nname = 'one'\nsecret = 'hidden")], "--publish-keys"),
        (vec![("k.toml", "")], "it has no [[key]]"),
        (vec![("k.toml", twice.as_str())], "two keys have this name"),
        (vec![("c.toml", bad_rule.as_str())], "--auth"),
        (vec![("c.toml", dead_rule.as_str())], "--auth news=token: nobody could subscribe"),
    ] {
        let mut started = Started::with(&files, &["--config", "DIR/c.toml"]);
        let reread = started.after(&[&[("c.toml", with_app.as_str())], now.as_slice()].concat()).unwrap();
        assert_eq!(reread.apps.unwrap().unwrap(), [App::new("1", "k", "s")], "{words}");
        let fault = reread.access.unwrap_err();
        assert!(fault.contains(words) && !fault.contains('\n') && !fault.contains("hidden"), "{fault}");
    }
}

#[test]
fn a_fault_in_an_app_does_not_hold_up_keys_and_rules() {
    let mut started = started_with("publish-key = 'one'\n", &[]);
    let after = "publish-key = ['one', 'new=two']\n[[app]]\nid = 1\n";
    let reread = started.after(&[("c.toml", after)]).unwrap();
    assert_eq!(names(&reread.access.unwrap()), ["default", "new"]);
    let fault = reread.apps.unwrap_err();
    assert!(fault.contains("c.toml: [[app]] \"1\": key: missing"), "{fault}");
}

#[test]
fn a_file_of_keys_that_is_gone_or_a_folder_is_a_fault_of_the_keys() {
    let mut started = Started::with(&[("k.toml", &key("one"))], &["--publish-keys", "DIR/k.toml"]);
    let path = started.folder.path().join("k.toml");
    fs::remove_file(&path).unwrap();
    let fault = started.after(&[]).unwrap().access.unwrap_err();
    assert!(
        fault.starts_with("--publish-keys ") && fault.contains("k.toml: it is no regular file"),
        "{fault}"
    );
    fs::create_dir(&path).unwrap();
    assert!(started.after(&[]).unwrap().access.unwrap_err().contains("k.toml: it is no regular file"));
}

#[test]
fn keys_that_came_by_a_pipe_stay_and_the_others_are_read_again() {
    let (reader, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b's'; 32]).unwrap();
    drop(writer);
    let pipe = format!("/dev/fd/{}", reader.as_raw_fd());
    let flags = ["--publish-keys", "DIR/k.toml", "--token-key", &pipe];
    let mut started = Started::with(&[("k.toml", &key("one"))], &flags);
    drop(reader);
    let config = started.after(&[("k.toml", &key("two"))]).unwrap().access.unwrap();
    assert_eq!(names(&config), ["two"]);
    assert!(!config.token_keys.is_empty());
    assert_eq!(config.token_keys.without(&started.running.token_keys).count(), 0);
}

#[test]
fn development_mode_neither_begins_nor_ends_by_a_reload() {
    let mut started = started_with("echo = true\n", &[]);
    let reread = started.after(&[("c.toml", "publish-key = 'one'\n")]).unwrap();
    assert!(reread.access.unwrap_err().starts_with("development mode begins and ends with a restart"));
    let mut started = started_with("publish-key = 'one'\n", &[]);
    let reread = started.after(&[("c.toml", "echo = true\n")]).unwrap();
    assert!(reread.access.unwrap_err().starts_with("development mode begins and ends with a restart"));
    let mut started = started_with("publish-key = 'one'\nlisten = '0.0.0.0:1'\n", &[]);
    let reread = started.after(&[("c.toml", "listen = '0.0.0.0:1'\n")]).unwrap();
    assert!(reread.access.unwrap_err().contains("without a key everybody could publish"));
}

#[test]
fn the_files_to_look_at_are_those_that_are_named_now() {
    let files =
        [("c.toml", "publish-keys = 'DIR/k.toml'\n"), ("k.toml", &key("one")), ("l.toml", &key("two"))];
    let mut started = Started::with(&files, &["--config", "DIR/c.toml"]);
    let named = |started: &Started| -> Vec<String> {
        let names = started.reload.files().map(|path| path.file_name().unwrap().to_str().unwrap().to_owned());
        names.collect()
    };
    assert_eq!(named(&started), ["c.toml", "k.toml"]);
    let reread = started.after(&[("c.toml", "publish-keys = 'DIR/l.toml'\n")]).unwrap();
    assert_eq!(names(&reread.access.unwrap()), ["two"]);
    assert_eq!(named(&started), ["c.toml", "l.toml"]);
}

#[test]
fn a_hangup_is_obeyed_where_there_is_a_file_for_it() {
    let obeys = |files: &[(&str, &str)], flags: &[&str]| Started::with(files, flags).reload.obeys_hangups();
    assert!(!obeys(&[], &["--publish-key", "one"]));
    assert!(obeys(&[], &["--publish-key", "one", "--audit", "DIR/audit"]));
    assert!(obeys(&[("t", &"s".repeat(32))], &["--token-key", "DIR/t"]));
}

#[test]
#[cfg(feature = "tls")]
fn certificates_are_those_of_now_and_an_address_that_speaks_tls_needs_a_restart() {
    let table = |name: &str| format!("[[tls]]\ncert = '{name}.pem'\nkey = '{name}.key'\n");
    let pair = |name: &str| TlsPair { cert: format!("{name}.pem").into(), key: format!("{name}.key").into() };
    let listen = "tls-listen = '127.0.0.1:0'\n";
    let mut started = started_with(&(listen.to_owned() + &table("a")), &[]);
    assert!(started.reload.obeys_hangups());
    let reread = started.after(&[("c.toml", &(listen.to_owned() + &table("a") + &table("b")))]).unwrap();
    assert_eq!((reread.pairs, reread.needs_restart), (Ok(vec![pair("a"), pair("b")]), vec![]));
    let flags = format!("{listen}tls-cert = 'a.pem'\ntls-key = 'a.key'\n{}", table("b"));
    let reread = started.after(&[("c.toml", &flags)]).unwrap();
    assert_eq!((reread.pairs, reread.needs_restart), (Ok(vec![pair("a"), pair("b")]), vec![]));
    for (now, words) in [
        (listen.to_owned(), "--tls-listen: TLS needs a certificate and its key"),
        (format!("{listen}[[tls]]\ncert = 'a'\n"), "c.toml: [[tls]] number 1: key: missing"),
        (format!("{listen}tls-cert = ['a', 'b']\ntls-key = 'a'\n"), "--tls-cert is given 2 times"),
    ] {
        let reread = started.after(&[("c.toml", &now)]).unwrap();
        let fault = reread.pairs.unwrap_err();
        assert!(fault.contains(words), "{fault}");
        assert!(reread.access.is_ok() && reread.apps.is_ok(), "each set by itself");
    }
    let mut plain = started_with("threads = 3\n", &[]);
    let after = format!("threads = 3\n{listen}tls-cert = 'a'\ntls-key = 'a'\n");
    let reread = plain.after(&[("c.toml", &after)]).unwrap();
    assert_eq!((reread.pairs, reread.needs_restart.len()), (Ok(vec![]), 3));
}
