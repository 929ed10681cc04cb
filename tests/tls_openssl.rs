//! The openssl command and curl as clients: what is offered, what is refused, and what a scanner would look for.
//!
//! How sessions behave on the wire is in `tls` and `tls_hostile`.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use support::tls::Authority;
use support::*;

/// A running `openssl s_client`, and its lines of both outputs as they come.
struct Openssl {
    child: Child,
    input: Option<ChildStdin>,
    lines: Receiver<String>,
    /// What has been read of them.
    said: String,
}

impl Openssl {
    fn connect(authority: &Authority, server: &Running, flags: &[&str]) -> Self {
        let mut command = Command::new("openssl");
        command.args(["s_client", "-connect", &server.tls.unwrap().to_string(), "-CAfile"]);
        command.arg(authority.ca_file()).args(["-verify_return_error", "-servername", "localhost"]);
        command.args(flags).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the openssl command is installed");
        let (sender, lines) = channel();
        let outputs: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(child.stdout.take().unwrap()), Box::new(child.stderr.take().unwrap())];
        for output in outputs {
            let sender = sender.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = sender.send(line);
                }
            });
        }
        Self { input: child.stdin.take(), child, lines, said: String::new() }
    }

    fn say(&mut self, bytes: &[u8]) {
        let input = self.input.as_mut().unwrap();
        input.write_all(bytes).unwrap();
        input.flush().unwrap();
    }

    /// Reads until a line has this text.
    fn hear(&mut self, text: &str) {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) => {
                    self.said.push_str(&line);
                    self.said.push('\n');
                    if line.contains(text) {
                        return;
                    }
                }
                Err(error) => panic!("no {text}: {error}\n{}", self.said),
            }
        }
    }

    /// Waits for its end: all that it has said.
    fn end(mut self) -> String {
        drop(self.input.take());
        while let Ok(line) = self.lines.recv_timeout(PATIENCE) {
            self.said.push_str(&line);
            self.said.push('\n');
        }
        self.child.wait().unwrap();
        std::mem::take(&mut self.said)
    }
}

impl Drop for Openssl {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const REQUEST: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";

fn world() -> (Authority, Running) {
    let authority = Authority::new();
    let server = start(authority.tls(config()));
    (authority, server)
}

#[test]
fn both_versions_are_spoken_and_none_before_them() {
    let (authority, server) = world();
    for (flag, name) in [("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")] {
        let mut client = Openssl::connect(&authority, &server, &[flag]);
        client.say(REQUEST);
        client.hear("HTTP/1.1 200 OK");
        let said = client.end();
        assert!(said.contains(name) && said.contains("Verify return code: 0 (ok)"), "{said}");
    }
    for flag in ["-tls1", "-tls1_1"] {
        // Without the level, this openssl would not even offer it.
        let said = Openssl::connect(&authority, &server, &[flag, "-cipher", "DEFAULT:@SECLEVEL=0"]).end();
        assert!(said.contains("SSL alert number") && said.contains("Cipher is (NONE)"), "{said}");
    }
}

#[test]
fn no_suite_without_forward_secrecy_or_authenticated_encryption_is_spoken() {
    let (authority, server) = world();
    let ciphers =
        Command::new("openssl").args(["ciphers", "-tls1_2", "-s", "ALL:@SECLEVEL=0"]).output().unwrap();
    let ciphers = String::from_utf8(ciphers.stdout).unwrap();
    let spoken = |cipher: &&str| {
        let cipher = format!("{cipher}:@SECLEVEL=0");
        let said = Openssl::connect(&authority, &server, &["-tls1_2", "-cipher", &cipher]).end();
        !said.contains("Cipher is (NONE)")
    };
    let mut spoken: Vec<_> = ciphers.trim().split(':').filter(spoken).collect();
    spoken.sort_unstable();
    let expected =
        ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"];
    assert_eq!(spoken, expected, "with an ECDSA key");
}

#[test]
fn http_1_1_is_agreed_and_http_2_alone_is_refused() {
    let (authority, server) = world();
    let said = Openssl::connect(&authority, &server, &["-alpn", "h2,http/1.1"]).end();
    assert!(said.contains("ALPN protocol: http/1.1"), "{said}");
    let said = Openssl::connect(&authority, &server, &["-alpn", "h2"]).end();
    assert!(said.contains("alert no application protocol"), "{said}");
    let said = Openssl::connect(&authority, &server, &[]).end();
    assert!(said.contains("No ALPN negotiated"), "{said}");
}

#[test]
fn a_session_is_resumed_by_its_ticket() {
    let (authority, server) = world();
    let said = Openssl::connect(&authority, &server, &["-tls1_2", "-reconnect"]).end();
    assert_eq!(
        (said.matches("\nNew, TLSv1.2").count(), said.matches("\nReused, TLSv1.2").count()),
        (1, 5),
        "{said}"
    );
}

#[test]
fn a_renegotiation_is_refused_and_the_session_goes_on() {
    let (authority, server) = world();
    let mut client = Openssl::connect(&authority, &server, &["-tls1_2"]);
    client.say(REQUEST);
    client.hear("HTTP/1.1 200 OK");
    client.hear("ok");
    client.say(b"R\n");
    client.hear("RENEGOTIATING");
    client.hear("no renegotiation");
    drop(client);
    // Nobody else notices.
    let mut client = Openssl::connect(&authority, &server, &["-tls1_2"]);
    client.say(REQUEST);
    client.hear("HTTP/1.1 200 OK");
}

#[test]
fn keys_are_renewed_when_the_client_wants_that() {
    let (authority, server) = world();
    let mut client = Openssl::connect(&authority, &server, &["-tls1_3"]);
    for round in 0..40 {
        // K asks for the server's new keys as well, k does not.
        client.say(if round % 2 == 0 { b"K\n" } else { b"k\n" });
        client.hear("KEYUPDATE");
        client.say(REQUEST);
        client.hear("HTTP/1.1 200 OK");
    }
}

#[test]
fn curl_posts_streams_and_polls_over_both_versions() {
    let (authority, server) = world();
    let port = server.tls.unwrap().port();
    let curl = |flags: &[&str], path: &str| {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "20", "--cacert"]).arg(authority.ca_file()).args(flags);
        let output = command.arg(format!("https://localhost:{port}{path}")).output().unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    for version in [&["--tls-max", "1.2"][..], &["--tlsv1.3"]] {
        let (code, said) =
            curl(&[version, &["-H", "Content-Type: text/plain", "-d", "hello"]].concat(), "/channels/c");
        assert!(code == Some(0) && said.contains("\"subscribers\":"), "{said}");
        let (code, said) = curl(version, "/channels/c?wait=0");
        assert!(code == Some(0) && said.contains("\"messages\":"), "{said}");
        let stream = [version, &["-N", "-H", "Accept: text/event-stream", "--max-time", "1"]].concat();
        let (code, said) = curl(&stream, "/channels/c");
        assert!(code == Some(28) && said.contains("retry: 2000"), "until its time is up: {said}");
    }
    let (code, said) = curl(&["--cacert", "/dev/null"], "/healthz");
    assert!(code != Some(0), "who does not know the authority does not trust it: {said}");
}
