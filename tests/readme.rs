//! The README's words against the program: every command in it runs, every flag and default is the binary's.
//!
//! Commands that build, test or measure are run by `.ci/run`; here it is checked that they are.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use fanfare::config::Config;
use fanfare::pusher::{App, WebhookEvent};
use support::*;

fn readme() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap()
}

fn in_repository(path: &str) -> String {
    fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap_or_default()
}

/// The lines of all blocks of that language.
fn blocks(language: &str) -> Vec<String> {
    let text = readme();
    let mut lines = text.lines();
    let mut found = Vec::new();
    while lines.any(|line| line == format!("```{language}")) {
        found.extend(lines.by_ref().take_while(|line| *line != "```").map(str::to_owned));
    }
    found
}

/// Runs a command line of the README against this server instead of the one on port 8080.
fn run_against(process: &Process, line: &str) -> String {
    let line = line.replace("127.0.0.1:8080", &process.address.to_string());
    let output = Command::new("sh").args(["-c", &format!("{line} -sS --fail-with-body")]).output().unwrap();
    assert!(output.status.success(), "{line}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Whether the clients' suites have one of this name.
fn is_suite(name: &str) -> bool {
    in_repository("tests/clients/run.sh").split_whitespace().any(|word| word == name)
}

#[test]
fn every_command_is_one_that_a_test_runs() {
    for line in blocks("sh") {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            // The tests below, and the suite that opens the page.
            ["curl", ..] | ["cargo", "run", "--release"] | ["cargo", "run", "--release", "--", ..] => {}
            ["npm", "install", package] => {
                assert!(in_repository("tests/package.json").contains(&format!("\"{package}\":")), "{line}");
            }
            // Its text is in the README too; the suite runs it.
            ["node", script] => {
                assert!(in_repository("tests/clients/readme.test.mjs").contains(script), "{line}");
                assert!(is_suite("readme"), "{line}");
            }
            // Below, with the server that it is for.
            ["openssl", "rand" | "req", ..] => {}
            // With the browser that it is for.
            ["certutil", ..] => {
                assert!(in_repository("tests/clients/wss.test.mjs").contains("certutil -d"), "{line}");
                assert!(is_suite("wss"), "{line}");
            }
            // Below, with the nodes that it is for.
            ["redis-server", ..] => {}
            ["cargo", "test"] => assert!(in_repository(".ci/run").contains("cargo test")),
            // Some have parts, which are measured by themselves.
            ["cargo", "bench", "--bench", name] | ["cargo", "bench", "--bench", name, "--", _] => {
                assert!(in_repository("Cargo.toml").contains(&format!("name = \"{name}\"")), "{line}");
                assert!(in_repository(".ci/run").contains("cargo bench --no-run"), "{line}");
            }
            [script, ..] => assert!(in_repository(".ci/run").contains(script), "{line}: not run by .ci/run"),
            [] => {}
        }
    }
}

#[test]
fn the_rust_of_the_readme_is_that_of_the_documentation_which_is_compiled() {
    let front = in_repository("src/lib.rs");
    let lines: BTreeSet<_> = front.lines().filter_map(|line| line.strip_prefix("//! ")).collect();
    let rust = blocks("rust");
    assert!(rust.len() > 20, "{rust:?}");
    for line in rust.iter().filter(|line| !line.is_empty()) {
        assert!(lines.contains(line.as_str()), "not in the documentation: {line}");
    }
}

#[test]
fn the_first_curl_of_the_readme_reaches_a_subscriber() {
    let process = spawn(&mut fanfare(&[]));
    let mut subscriber = websocket(process.address, "/channels/news");
    let line = blocks("sh").into_iter().find(|line| line.starts_with("curl")).unwrap();
    assert!(run_against(&process, &line).contains("\"subscribers\":1"));
    assert_eq!(text(&mut subscriber), "hello");
}

#[test]
fn the_curls_for_the_other_transports_and_for_a_retry_do_what_the_readme_says() {
    let process = spawn(&mut fanfare(&[]));
    let lines = blocks("sh");
    let curl =
        |part: &str| lines.iter().find(|line| line.starts_with("curl") && line.contains(part)).unwrap();
    let stream = curl("text/event-stream").replace("127.0.0.1:8080", &process.address.to_string());
    let mut reading = Command::new("sh")
        .args(["-c", &format!("exec {stream} -sS --max-time 20")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(reading.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(events.next().unwrap(), "retry: 2000");
    let first = run_against(&process, curl("Idempotency-Key"));
    assert_eq!(run_against(&process, curl("Idempotency-Key")), first);
    assert!(events.any(|line| line == "data: hello"));
    reading.kill().unwrap();
    reading.wait().unwrap();
    assert_eq!(run_against(&process, curl("last=10")).matches("\"data\":\"hello\"").count(), 1);
    let is_elsewhere =
        |line: &&String| line.ends_with("/channels/prices") || line.ends_with("/channels/scores");
    let others = lines.iter().filter(|line| line.starts_with("curl") && !is_elsewhere(line));
    assert_eq!(others.count(), 6, "each is run by a test here, that of the prices by tests/clients");
}

#[test]
fn the_server_for_others_starts_with_the_flags_of_the_readme_and_its_curl_publishes() {
    let lines = blocks("sh");
    let line = lines.iter().find_map(|line| line.strip_prefix("cargo run --release -- ")).unwrap();
    let flags = line.replace("--listen 0.0.0.0:8080", "--listen 127.0.0.1:0");
    assert_ne!(line, flags, "loopback only in every test");
    let binary = env!("CARGO_BIN_EXE_fanfare");
    let process = spawn(Command::new("sh").args(["-c", &format!("exec {binary} {flags}")]));
    let mut subscriber = websocket(process.address, "/channels/news");
    let curl = lines.iter().find(|line| line.contains("Bearer SECRET")).unwrap();
    run_against(&process, curl);
    assert_eq!(text(&mut subscriber), "hello");
    assert_eq!(request(process.address, "POST", "/channels/news", "", b"x").status, 401);
}

#[test]
fn the_lines_for_many_nodes_have_a_subscriber_of_one_hear_what_is_published_to_the_other() {
    let lines: Vec<_> =
        blocks("sh").into_iter().skip_while(|line| !line.starts_with("redis-server")).take(5).collect();
    let [server, first, second, subscribe, publish] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(server, "redis-server --port 6379 --save ''", "as support::redis starts it");
    let Some(redis) = support::redis::Redis::start(&[]) else { return };
    let start = |line: &str, port: &str| {
        let flags = line.strip_prefix("cargo run --release -- ").unwrap();
        let flags = flags.replace(port, "0").replace("6379", &redis.port.to_string());
        assert!(flags.starts_with("--listen 127.0.0.1:0 "), "loopback only in every test");
        let binary = env!("CARGO_BIN_EXE_fanfare");
        spawn(Command::new("sh").args(["-c", &format!("exec {binary} {flags}")]))
    };
    let (one, other) = (start(first, "8081"), start(second, "8082"));
    let line = subscribe.replace("127.0.0.1:8081", &one.address.to_string());
    let mut reading = Command::new("sh")
        .args(["-c", &format!("exec {line} -sS --max-time 20")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(reading.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(events.next().unwrap(), "retry: 2000", "it is subscribed");
    // The nodes tell each other of their subscribers within two seconds.
    let line = publish.replace("127.0.0.1:8082", "127.0.0.1:8080");
    let answer = until("the subscriber of the other node is counted", || {
        let answer = run_against(&other, &line);
        answer.contains("\"subscribers\":1").then_some(answer)
    });
    assert!(answer.starts_with("{\"id\":"), "{answer}");
    assert!(events.any(|line| line == "data: 2:1"));
    reading.kill().unwrap();
    reading.wait().unwrap();
}

/// The lines of the section on wss that begin with these words.
#[cfg(feature = "tls")]
fn lines_of_wss(start: &str) -> Vec<String> {
    let readme = readme();
    let section = readme.split("\n### wss\n").nth(1).unwrap().split("\nnginx in front").next().unwrap();
    section.lines().filter(|line| line.starts_with(start)).map(str::to_owned).collect()
}

/// Runs a command line in a folder, with `fanfare` for `cargo run --release --`.
#[cfg(feature = "tls")]
fn in_folder(folder: &tempfile::TempDir, line: &str) -> Command {
    let mut command = Command::new("sh");
    let line = line.replace("cargo run --release --", &format!("exec {}", env!("CARGO_BIN_EXE_fanfare")));
    command.args(["-c", &line]).current_dir(folder.path());
    command
}

/// Reads the line with the address where TLS is spoken.
#[cfg(feature = "tls")]
fn tls_address(process: &mut Process) -> std::net::SocketAddr {
    let mut line = String::new();
    process.output.read_line(&mut line).unwrap();
    line.trim().strip_prefix("listening on https://").unwrap_or_else(|| panic!("{line:?}")).parse().unwrap()
}

#[test]
#[cfg(feature = "tls")]
fn the_lines_for_wss_make_a_server_that_curl_trusts_by_its_authority() {
    let folder = tempfile::tempdir().unwrap();
    for line in lines_of_wss("openssl") {
        let made = in_folder(&folder, &line).output().unwrap();
        assert!(made.status.success(), "{line}: {made:?}");
    }
    let start = lines_of_wss("cargo run")[0].replace("127.0.0.1:8443", "127.0.0.1:0 --listen 127.0.0.1:0");
    let mut process = spawn(&mut in_folder(&folder, &start));
    let address = tls_address(&mut process);
    let mut subscriber = websocket(process.address, "/channels/news");
    let curl = lines_of_wss("curl")[0].replace("localhost:8443", &format!("localhost:{}", address.port()));
    let output = in_folder(&folder, &format!("{curl} -sS --fail-with-body --noproxy '*'")).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&mut subscriber), "hello");
    let distrusting = curl.replace("--cacert ca.pem", "");
    assert!(
        !in_folder(&folder, &format!("{distrusting} -sS --noproxy '*'")).output().unwrap().status.success()
    );
}

#[test]
#[cfg(feature = "tls")]
fn the_line_with_the_files_of_certbot_starts_a_server_that_redirects() {
    let (ca, folder) = (support::ca::Ca::new(), tempfile::tempdir().unwrap());
    let live = folder.path().join("live");
    fs::create_dir(&live).unwrap();
    let leaf = ca.leaf(&["example.com"]);
    fs::write(live.join("fullchain.pem"), format!("{}{}", leaf.cert, ca.pem)).unwrap();
    fs::write(live.join("privkey.pem"), &leaf.key).unwrap();
    let line = lines_of_wss("cargo run")[1].clone();
    let start = line
        .replace("/etc/letsencrypt/live/example.com", "live")
        .replace("0.0.0.0:80 ", "127.0.0.1:0 ")
        .replace("0.0.0.0:443", "127.0.0.1:0");
    assert!(!start.contains("0.0.0.0"), "loopback only in every test");
    let mut process = spawn(&mut in_folder(&folder, &start));
    let port = tls_address(&mut process).port();
    let answer = request(process.address, "GET", "/channels/news?wait=0", "", b"");
    assert_eq!(answer.status, 308);
    assert!(answer.head.contains(&format!(":{port}/channels/news?wait=0\r\n")), "{}", answer.head);
}

#[test]
fn the_page_with_a_token_and_its_backends_are_those_that_a_suite_runs() {
    let readme = readme();
    for name in ["backend.mjs", "backend.py", "page.html"] {
        let text = in_repository(&format!("tests/clients/token_page/{name}"));
        assert!(!text.is_empty() && readme.contains(text.trim_end()), "{name}");
    }
    assert!(in_repository("tests/clients/run.sh").contains(" token_page"), "the suite is run");
}

#[test]
fn the_server_with_a_token_key_starts_with_the_lines_of_the_readme_and_is_open_where_they_say() {
    let lines = blocks("sh");
    let folder = tempfile::tempdir().unwrap();
    let make_key = lines.iter().find(|line| line.starts_with("openssl")).unwrap();
    let made = Command::new("sh").args(["-c", make_key]).current_dir(folder.path()).status().unwrap();
    assert!(made.success());
    let flags =
        lines.iter().find_map(|line| line.strip_prefix("cargo run --release -- --token-key")).unwrap();
    let binary = env!("CARGO_BIN_EXE_fanfare");
    let start = format!("exec {binary} --token-key{flags} --listen 127.0.0.1:0");
    let process = spawn(Command::new("sh").args(["-c", &start]).current_dir(folder.path()));
    let asked =
        |channel: &str| request(process.address, "GET", &format!("/channels/{channel}?wait=0"), "", b"");
    assert_eq!((asked("news").status, asked("chat-7").status), (200, 401));
}

#[test]
fn the_flags_and_defaults_are_the_binarys() {
    let help = String::from_utf8(fanfare(&["--help"]).output().unwrap().stdout).unwrap();
    let readme = readme();
    let mut flags = 0;
    for paragraph in help.split("\n      --").skip(1) {
        let flag = paragraph.split_whitespace().next().unwrap();
        let Some(row) = readme.lines().find(|line| line.starts_with(&format!("| `--{flag}"))) else {
            panic!("--{flag} is not in the README's table");
        };
        flags += 1;
        if let Some(default) = paragraph.split("[default: ").nth(1).and_then(|rest| rest.split(']').next())
            && default.len() < 16
            && !default.contains(' ')
        {
            assert!(row.contains(default), "--{flag}: {default} in --help, {row:?} in the README");
        }
    }
    assert_eq!(flags, readme.lines().filter(|line| line.starts_with("| `--")).count(), "each once");
    assert!(flags > 15);
}

#[test]
fn the_keys_and_defaults_of_an_app_are_the_binarys() {
    // The fault of a wrong key names all that there are.
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[[app]]\nid = 1\nwrong = 1\n").unwrap();
    let output = fanfare(&["--config", file.path().to_str().unwrap()]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let keys = said.lines().find_map(|line| line.rsplit_once(" of ")).unwrap().1;
    let readme = readme();
    let section = readme.split("\n### Apps\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows: Vec<&str> = section.lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let names: Vec<&str> = rows.iter().map(|row| row.split('`').next().unwrap()).collect();
    assert_eq!(names.join(", "), keys);
    let app = App::new("1", "key", "secret");
    for (key, default) in [
        ("enabled", app.is_enabled.to_string()),
        ("client-events", app.client_events.to_string()),
        ("encrypted-client-events", app.encrypted_client_events.to_string()),
        ("subscription-count", app.subscription_count.to_string()),
        ("watchlist", app.watchlist.to_string()),
        ("max-channels", app.max_channels.to_string()),
        ("max-event", format!("{}KiB", app.max_event / 1024)),
        ("max-members", app.max_members.to_string()),
        ("max-user-info", format!("{}KiB", app.max_user_info / 1024)),
        ("client-event-rate", app.client_event_rate.to_string()),
    ] {
        let start = format!("{key}` | `{default}` | ");
        assert!(rows.iter().any(|row| row.starts_with(&start)), "{start}");
    }
    let webhooks = rows.iter().find(|row| row.starts_with("webhooks`")).unwrap();
    assert!(WebhookEvent::ALL.iter().all(|event| webhooks.contains(&format!("`{}`", event.name()))));
}

#[test]
fn the_table_of_an_app_in_the_readme_starts_a_server() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(blocks("toml").join("\n").as_bytes()).unwrap();
    let process = spawn(&mut fanfare(&["--config", file.path().to_str().unwrap()]));
    assert_eq!(request(process.address, "GET", "/healthz", "", b"").status, 200);
}

#[test]
fn the_pages_of_the_readme_have_the_urls_that_the_server_serves() {
    let text = blocks("html").join("\n");
    let pages: Vec<&str> = text.split("<!doctype html>\n").skip(1).collect();
    let urls = [
        "ws://127.0.0.1:8080/channels/news",
        "http://127.0.0.1:8080/fanfare.js",
        "\"127.0.0.1\", wsPort: 8080",
        "http://127.0.0.1:8080/fanfare.js",
    ];
    for (page, url) in pages.iter().zip(urls) {
        assert!(page.contains(url), "{page}");
        assert!(page.lines().count() <= 11, "a page of ten lines: {page}");
    }
    assert_eq!(pages.len(), urls.len());
}

#[test]
fn the_app_of_the_readmes_page_and_publisher_is_that_of_development_mode() {
    let app = Config::development_app();
    let (page, publisher) = (blocks("html").join("\n"), blocks("js").join("\n"));
    assert!(page.contains(&format!("new Pusher(\"{}\"", app.key)));
    let (id, key, secret) = (&app.id, &app.key, &app.secrets[0]);
    assert!(publisher.contains(&format!("appId: \"{id}\", key: \"{key}\", secret: \"{secret}\"")));
}

#[test]
fn every_endpoint_and_every_webhook_of_pusher_is_in_the_readmes_table() {
    let process = spawn(&mut fanfare(&[]));
    let text = readme();
    let section = text.split("\n## Pusher in five lines\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let endpoints: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    assert_eq!(endpoints.len(), 7);
    for endpoint in &endpoints[..6] {
        let (method, path) = endpoint.split_once(' ').unwrap();
        let path = path.replace("{id}", "1").replace("{name}", "presence-room");
        let answer = request(process.address, method, &path, "", b"{}");
        assert_eq!(answer.status, 401, "{endpoint} is there, and wants a signature: {}", answer.body);
    }
    let events = format!("all [{} events](#webhooks)", ["seven"][WebhookEvent::ALL.len() - 7]);
    assert!(section.contains(&events));
}

#[test]
fn the_metrics_of_the_readme_are_those_that_the_server_has() {
    // All that it has: with keys, with TLS, and with a URL and a Redis where nobody listens.
    let mut flags = vec!["--publish-key", "secret", "--token-jwks", "http://127.0.0.1:9/"];
    flags.extend(["--redis", "redis://127.0.0.1:9"]);
    let folder = tempfile::tempdir().unwrap();
    #[cfg(feature = "tls")]
    let files = support::ca::Ca::new().leaf(&["a.test"]).write(folder.path(), "a");
    #[cfg(feature = "tls")]
    flags.extend(["--tls-listen", "127.0.0.1:0", "--tls-cert", files[0].to_str().unwrap()]);
    #[cfg(feature = "tls")]
    flags.extend(["--tls-key", files[1].to_str().unwrap()]);
    let process = spawn(&mut fanfare(&flags));
    drop(folder);
    let scrape = request(process.address, "GET", "/metrics", "Authorization: Bearer secret\r\n", b"").body;
    let served: BTreeSet<&str> = scrape
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE fanfare_"))
        .filter_map(|line| line.split(' ').next())
        .collect();
    let text = readme();
    let rows = text.lines().filter(|line| line.starts_with("| `fanfare_"));
    let names = rows.flat_map(|row| row.split('`').filter_map(|word| word.strip_prefix("fanfare_")));
    assert_eq!(names.collect::<BTreeSet<_>>(), served);
}
