//! The binary from outside: what it prints, what it refuses, and with which words.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Output, Stdio};

use support::*;

fn run(flags: &[&str]) -> Output {
    std::process::Command::new(env!("CARGO_BIN_EXE_fanfare")).args(flags).output().unwrap()
}

fn refusal(flags: &[&str]) -> (Option<i32>, String) {
    let output = run(flags);
    assert!(output.stdout.is_empty(), "nothing is announced");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn help_names_every_flag_its_default_and_its_variable() {
    let help = String::from_utf8(run(&["--help"]).stdout).unwrap();
    for words in [
        "curl -d hello",
        "--max-lag <SIZE>",
        "[default: 1MiB]",
        "FANFARE_MAX_LAG",
        "Sizes: 512, 64KiB, 16MiB",
    ] {
        assert!(help.contains(words), "{words:?} is not in\n{help}");
    }
}

#[test]
fn a_wrong_value_ends_with_2_the_flag_and_the_remedy() {
    let (code, words) = refusal(&["--max-lag", "lots"]);
    assert_eq!(code, Some(2));
    assert!(words.contains("--max-lag") && words.contains("64KiB"), "{words}");
}

#[test]
fn an_exposed_address_without_a_key_ends_with_the_line_to_add() {
    let (code, words) = refusal(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(1));
    assert!(words.contains("--publish-key KEY"), "{words}");
}

#[test]
fn a_rule_that_can_never_apply_ends_with_the_flag_and_the_remedy() {
    for (rules, glob) in [(["5", "*=6"], "all channels"), (["chat*=5", "chat-1=6"], "chat-1=")] {
        let (code, words) =
            refusal(&["--listen", "127.0.0.1:0", "--history", rules[0], "--history", rules[1]]);
        assert_eq!(code, Some(1));
        assert!(words.contains("--history") && words.contains(glob), "{words}");
    }
}

#[test]
fn a_wrong_setting_of_access_ends_with_the_flag_and_the_remedy_and_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let short = file("short", "hidden");
    let keys = file("keys.toml", "[[key]]\nname = 'a'\nsecret = 'hidden'\nred = 'b'\n");
    let token_key = file("2026-09", &"s".repeat(32));
    let key = "--publish-key=k";
    for (flags, code, words) in [
        (&["--publish-key", "hidden words"][..], 2, "--publish-key <KEY>': the key must have"),
        (&["--publish-key", "a=1", "--publish-key", "a=2"], 1, "\"a\": two keys have this name"),
        (
            &["--publish-key", "a=hidden", "--publish-key", "b=hidden"],
            1,
            "\"b\": key \"a\" has the same secret",
        ),
        (&["--publish-keys", &keys], 2, "[[key]] \"a\": no key is called \"red\"; the nearest is \"read\""),
        (&["--publish-keys", "/nowhere/keys.toml"], 2, "--publish-keys /nowhere/keys.toml: No such file"),
        (&["--token-key", &short], 2, "the secret has 6 bytes, at least 32 are needed"),
        (&["--token-key", "/nowhere/key"], 2, "--token-key /nowhere/key: No such file"),
        (&["--auth", "news=closed"], 2, "give open, token, hook or key"),
        (&["--auth", "news=token"], 1, "--auth news=token: nobody could subscribe"),
        (&["--auth", "news=hook", key], 1, "Add --auth-url URL"),
        (&["--token-audience", "a"], 1, "--token-audience: without a key no token is good"),
        (&["--token-key", &token_key, "--token-cookie", "a"], 1, "Add --allow-origin with the origins"),
        (&["--token-key", &token_key, "--auth-url", "http://a"], 1, "--auth-url: no rule asks the backend"),
        (&["--auth-url", "https://u:hidden@a"], 1, "--auth-url: give a URL such as"),
        (&["--auth-url", "http://u:hidden@a"], 1, "--auth-url: give a URL such as"),
        (
            &["--auth-url", "http://a", "--auth-secret", "hidden"],
            1,
            "--auth-secret: it has 6 bytes, at least 16",
        ),
        (&["--auth-secret", "hidden"], 2, "Add --auth-url URL"),
        (&["--presence", "chat=all"], 2, "give members or count"),
        (&["--presence-members", "1001"], 1, "--presence-members: give 1 to 1000"),
        (&["--audit", "/nowhere/audit"], 1, "--audit: publications by key are written, and there is no key"),
        (&["--listen", "127.0.0.2:0,proxy"], 1, "--listen 127.0.0.2:0,proxy: no proxy is believed"),
        (&["--trust-proxy", "proxy.example"], 2, "give the network of your proxies"),
        (&["--ip-connections", "0"], 1, "--ip-connections: 0 would refuse every client"),
        (&["--ip-handshakes", "50"], 2, "such as 50/s"),
        (&["--user-connections", "0"], 1, "--user-connections: 0 would refuse every client"),
        (&["--client-subscriptions", "0"], 1, "--client-subscriptions: 0 would refuse every client"),
        (&["--client-messages", "off"], 2, "or none for no limit"),
    ] {
        let (ended, said) = refusal(&[&["--listen", "127.0.0.1:0"], flags].concat());
        assert_eq!(ended, Some(code), "{said}");
        assert!(said.contains(words) && !said.contains("hidden"), "{words}: {said}");
    }
}

#[test]
fn a_key_is_made_whatever_the_environment_says_and_a_wrong_name_is_refused() {
    let run = |name: &str| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_fanfare"));
        command.env("FANFARE_LISTEN", "127.0.0.1:0").env("FANFARE_CONFIG", "/nowhere/fanfare.toml");
        command.args(["key", name]).output().unwrap()
    };
    let made = run("billing");
    let printed = String::from_utf8(made.stdout).unwrap();
    assert_eq!(made.status.code(), Some(0), "{printed}");
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines[0].starts_with("fk_billing_") && lines[0].len() == "fk_billing_".len() + 32, "{printed}");
    assert_eq!(lines[1..4], ["", "[[key]]", "name = \"billing\""]);
    let refused = run("Billing");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(2), 0));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("a key's name is 1 to 32 of a-z 0-9 _ -"));
}

/// What the binary says if it may have so many open files, and how it ends.
#[cfg(unix)]
fn refusal_with_descriptors(limit: u32, flags: &str) -> (Option<i32>, String) {
    let line =
        format!("ulimit -n {limit}; exec '{}' --listen 127.0.0.1:0 {flags}", env!("CARGO_BIN_EXE_fanfare"));
    let output = std::process::Command::new("sh").args(["-c", &line]).output().unwrap();
    assert!(output.stdout.is_empty(), "nothing is announced");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[cfg(unix)] // for its limits
#[test]
fn too_few_descriptors_for_some_connections_end_with_the_limit_and_the_remedy() {
    // Two loops take 4, a listener 1, and 64 are kept.
    for (limit, flags, needed) in [
        (64, "--threads 2", 101),
        (100, "--threads 2", 101),
        (16, "--threads 1", 99),
        (200, "--threads 100000", 200_097),
        (64, "--threads 2 --max-connections 1", 101),
    ] {
        let (code, words) = refusal_with_descriptors(limit, flags);
        assert_eq!(code, Some(1));
        for part in [format!("open files is {limit}"), format!("ulimit -n {needed}"), "--threads".into()] {
            assert!(words.contains(&part), "{part}: {words}");
        }
    }
}

#[cfg(unix)]
#[test]
fn with_few_descriptors_a_server_that_needs_no_more_serves_and_is_healthy() {
    for (limit, flags) in [(101, ""), (75, "--max-connections 6")] {
        let line = format!(
            "ulimit -n {limit}; exec '{}' --listen 127.0.0.1:0 --threads 2 {flags}",
            env!("CARGO_BIN_EXE_fanfare")
        );
        let process = spawn(std::process::Command::new("sh").args(["-c", &line]));
        for _ in 0..40 {
            assert_eq!(request(process.address, "GET", "/healthz", "", b"").status, 200, "{limit}");
        }
    }
}

#[test]
fn a_glob_or_an_origin_that_can_never_apply_ends_with_the_flag_and_the_remedy() {
    for (flags, words) in [
        (&["--publish-key", "k", "--client-publish", ""][..], "--client-publish: no channel's name fits"),
        (&["--publish-key", "k", "--client-publish", "@fanfare.*"], "--client-publish: the glob"),
        (&["--history", "a b=5"], "--history: no channel's name fits the glob \"a b\""),
        (&["--lag-policy", "é*=skip"], "--lag-policy: no channel's name fits"),
        (
            &["--allow-origin", "https://*.example.com"],
            "--allow-origin <ORIGIN>': give an origin as browsers",
        ),
    ] {
        let (code, said) = refusal(&[&["--listen", "127.0.0.1:0"], flags].concat());
        assert!(matches!(code, Some(1 | 2)) && said.contains(words), "{said}");
    }
}

#[test]
fn an_address_in_use_is_named() {
    let server = start(config());
    let (code, words) = refusal(&["--listen", &server.address.to_string()]);
    assert_eq!(code, Some(1));
    assert!(words.contains(&server.address.to_string()) && words.contains("in use"), "{words}");
}

#[test]
fn every_bound_address_is_printed() {
    let mut process = spawn(&mut fanfare(&["--listen", "127.0.0.1:0"]));
    let second = spawn_line(&mut process);
    let second: std::net::SocketAddr =
        second.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    for address in [process.address, second] {
        assert_ne!(address.port(), 0);
        assert_eq!(request(address, "GET", "/healthz", "", b"").status, 200);
    }
}

/// The next line of the process's output.
fn spawn_line(process: &mut Process) -> String {
    let mut line = String::new();
    process.output.read_line(&mut line).unwrap();
    line
}

#[test]
fn a_flag_beats_the_environment_and_the_environment_the_file() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    writeln!(file, "publish-key = 'file'\nmax-message = 10").unwrap();
    let mut command = fanfare(&["--config", file.path().to_str().unwrap()]);
    let process = spawn(command.env("FANFARE_PUBLISH_KEY", "environment"));
    let post = |address, key: &str, body: &[u8]| {
        request(address, "POST", "/channels/c", &format!("Authorization: Bearer {key}\r\n"), body).status
    };
    assert_eq!(post(process.address, "environment", b"x"), 200);
    assert_eq!(post(process.address, "file", b"x"), 401);
    assert_eq!(post(process.address, "environment", b"more than ten"), 413);
    let mut command = fanfare(&["--publish-key", "flag"]);
    let process = spawn(command.env("FANFARE_PUBLISH_KEY", "environment"));
    assert_eq!(post(process.address, "flag", b"x"), 200);
    assert_eq!(post(process.address, "environment", b"x"), 401);
}

#[test]
fn the_log_has_a_line_for_the_start_the_limit_and_the_stop_and_none_for_messages() {
    let mut process =
        fanfare(&["--drain", "0s"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    for _ in 0..20 {
        publish(address, "news", "x");
        assert_eq!(request(address, "GET", "/nowhere", "", b"").status, 404);
    }
    std::process::Command::new("kill").arg(process.id().to_string()).status().unwrap();
    let output = process.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let log = String::from_utf8(output.stderr).unwrap();
    for words in ["development mode", "the descriptor limit allows", "started", "stopping", "stopped"] {
        assert_eq!(log.matches(words).count(), 1, "{words}:\n{log}");
    }
    assert_eq!(log.matches("refused").count(), 1, "twenty refusals, one line:\n{log}");
    assert!(log.lines().count() < 16, "{log}");
}

#[cfg(unix)] // for its signals
#[test]
fn a_server_whose_log_nobody_reads_any_more_goes_on_and_stops_when_told() {
    let mut child =
        fanfare(&["--drain", "0s"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    drop(child.stderr.take());
    let mut process = Process { child, address, output };
    // Each is worth a line in the log.
    assert_eq!(request(address, "GET", "/nowhere", "", b"").status, 404);
    assert_eq!(request(address, "GET", "/healthz", "", b"").status, 200);
    process.signal("TERM");
    assert!(process.wait().success());
}

/// A standard error that is full: nothing can be written until the other end is read.
#[cfg(unix)]
fn full_pipe() -> (std::os::unix::net::UnixStream, Stdio) {
    let (reader, mut writer) = std::os::unix::net::UnixStream::pair().unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    writer.set_nonblocking(true).unwrap();
    for chunk in [&[b'#'; 4096][..], b"#"] {
        while writer.write(chunk).is_ok() {}
    }
    writer.set_nonblocking(false).unwrap();
    (reader, std::os::fd::OwnedFd::from(writer).into())
}

/// The binary with a standard error that is full, and its other end.
#[cfg(unix)]
fn spawn_unread(flags: &[&str]) -> (Process, std::os::unix::net::UnixStream) {
    let (reader, stderr) = full_pipe();
    let mut child = fanfare(flags).stdout(Stdio::piped()).stderr(stderr).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    (Process { child, address, output }, reader)
}

#[cfg(unix)]
#[test]
fn a_full_standard_error_stops_nobody_and_has_its_lines_once_it_is_read() {
    let (mut process, reader) = spawn_unread(&["--drain", "0s"]);
    for _ in 0..4 {
        assert_eq!(request(process.address, "GET", "/nowhere", "", b"").status, 404);
        assert_eq!(request(process.address, "PATCH", "/", "", b"").status, 405);
        assert_eq!(request(process.address, "GET", "/healthz", "", b"").status, 200);
    }
    let mut log = BufReader::new(reader).lines().map(Result::unwrap);
    for words in ["descriptor limit", "with 404", "with 405"] {
        assert!(log.any(|line| line.contains(words)), "{words}");
    }
    process.signal("TERM");
    assert!(process.wait().success());
    assert!(log.any(|line| line.contains("stopped")));
}

#[cfg(unix)]
#[test]
fn a_full_standard_error_does_not_keep_a_process_that_is_to_end() {
    let (mut process, _reader) = spawn_unread(&["--drain", "0s"]);
    process.signal("TERM");
    assert!(process.wait().success());
    let (mut process, _reader) = spawn_unread(&["--drain", "10m"]);
    let mut clients: Vec<_> = (0..20).map(|_| websocket(process.address, "/channels/news")).collect();
    process.signal("TERM");
    assert!(close_frame(&mut clients[0]).is_some());
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(128 + 15));
}
