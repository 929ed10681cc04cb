//! Calls of the server to `https://` URLs: the backend that decides and the receivers of webhooks behind TLS, with
//! certificates that are trusted and with such that are not, where the log says why.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::thread;

use support::backend::{Stub, json};
use support::ca::{Ca, Leaf};
use support::tls_front::front;
use support::*;
use tempfile::TempDir;

/// Everybody may subscribe to `a`.
const YES: &str = r#"{"allow":["a"],"sub":"u42","ttl":60}"#;

/// A backend behind TLS with this certificate, and the server that asks it by this name.
struct Scene {
    stub: Stub,
    logged: Logged,
}

/// A file with the certificate of an authority.
fn ca_file(folder: &TempDir, ca: &Ca) -> PathBuf {
    let path = folder.path().join("ca.pem");
    fs::write(&path, &ca.pem).unwrap();
    path
}

fn ask(leaf: &Leaf, host: &str, flags: &[&str]) -> Scene {
    let stub = Stub::new(|_| json(YES));
    let port = front(leaf, stub.address).port();
    let url = format!("https://{host}:{port}/auth?token=hidden");
    let logged = spawn_logged(&mut fanfare(&[&["--auth-url", &url], flags].concat()));
    Scene { stub, logged }
}

impl Scene {
    fn poll(&self) -> u16 {
        poll(&self.logged)
    }
}

/// The status of a poll of a channel that the backend decides about.
fn poll(logged: &Logged) -> u16 {
    request(logged.process.address, "GET", "/channels/a?wait=0", "Cookie: sid=1\r\n", b"").status
}

#[test]
fn a_backend_behind_tls_decides_if_the_file_of_authorities_has_its_own() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let file = ca_file(&folder, &ca);
    for leaf in [ca.leaf(&["localhost", "127.0.0.1"]), ca.rsa(&["localhost", "127.0.0.1"])] {
        for host in ["localhost", "127.0.0.1"] {
            let scene = ask(&leaf, host, &["--ca-file", file.to_str().unwrap()]);
            assert_eq!(scene.poll(), 200);
            assert_eq!(scene.stub.next().field("Cookie"), Some("sid=1"));
        }
    }
}

#[test]
fn the_authorities_of_the_system_are_those_that_ssl_cert_file_names() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let file = ca_file(&folder, &ca);
    let stub = Stub::new(|_| json(YES));
    let port = front(&ca.leaf(&["localhost"]), stub.address).port();
    let url = format!("https://localhost:{port}/auth");
    let logged = spawn_logged(fanfare(&["--auth-url", &url]).env("SSL_CERT_FILE", file));
    assert_eq!(Scene { stub, logged }.poll(), 200);
}

#[test]
fn a_backend_whose_certificate_is_no_good_lets_nobody_in_and_the_log_says_what_is_wrong() {
    let [ca, namesake] = [Ca::named("a"), Ca::named("a")];
    let (other, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let file = ca_file(&folder, &ca);
    for (leaf, words) in [
        (
            other.leaf(&["localhost"]),
            "is not signed by an authority that this machine trusts. Give that of the authority by --ca-file FILE",
        ),
        (namesake.leaf(&["localhost"]), "its certificate is not signed by the authority that it names"),
        (
            ca.leaf_between(&["localhost"], [2020, 2021]),
            "its certificate has expired on 2021-01-01T00:00:00Z",
        ),
        (
            ca.leaf_between(&["localhost"], [2150, 2200]),
            "its certificate is valid from 2150-01-01T00:00:00Z only",
        ),
        (ca.leaf(&["other.test"]), "its certificate is not for localhost, but for other.test"),
        (ca.leaf(&["127.0.0.1"]), "its certificate is not for localhost, but for"),
    ] {
        let scene = ask(&leaf, "localhost", &["--ca-file", file.to_str().unwrap()]);
        assert_eq!(scene.poll(), 503, "{words}");
        let line = scene.logged.line("the backend at https://localhost:");
        assert!(line.contains(words) && !line.contains("hidden"), "{line}");
        assert_eq!(scene.stub.count(), 0, "nothing was sent");
    }
}

#[test]
fn a_backend_that_speaks_no_tls_or_refuses_it_is_said_to() {
    for (answer, words) in [
        (&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], "it does not speak TLS there: is its URL http://"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "it speaks neither TLS 1.2 nor 1.3"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "it refuses TLS: HandshakeFailure"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("https://{}/auth", listener.local_addr().unwrap());
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let _ = client.read(&mut [0; 4096]).and_then(|_| client.write_all(answer));
            }
        });
        let logged = spawn_logged(&mut fanfare(&["--auth-url", &url]));
        assert_eq!(poll(&logged), 503);
        let line = logged.line("does not decide");
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn a_file_of_authorities_that_is_no_good_ends_the_start_with_one_sentence() {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let path = folder.path().join("ca.pem");
    for (content, words) in [
        (None, "No such file"),
        (Some(String::new()), "no certificate is in it. Give the PEM file of the authority"),
        (Some(ca.leaf(&["a.test"]).key), "no certificate is in it."),
        (
            Some("-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n".into()),
            "no certificate is in it.",
        ),
    ] {
        if let Some(content) = content {
            fs::write(&path, content).unwrap();
        }
        let output = fanfare(&["--ca-file", path.to_str().unwrap()]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        let line = said.lines().find(|line| line.contains("--ca-file")).unwrap_or_else(|| panic!("{said}"));
        assert!(line.contains(words) && line.contains("ca.pem: "), "{line}");
        assert!(!output.status.success());
    }
}

#[test]
fn webhooks_are_taken_by_a_receiver_behind_tls_and_one_that_is_not_trusted_is_said_to_be() {
    use support::receiver::{OK, Stub};

    let (ca, other, folder) = (Ca::new(), Ca::new(), tempfile::tempdir().unwrap());
    let file = ca_file(&folder, &ca);
    let (trusted, distrusted) = (Stub::answering(&[OK; 4]), Stub::answering(&[OK; 4]));
    let ports = [
        front(&ca.leaf(&["localhost"]), trusted.address).port(),
        front(&other.leaf(&["localhost"]), distrusted.address).port(),
    ];
    let webhook = |port: u16| format!("{{ url = \"https://localhost:{port}/hook\" }}");
    let config = folder.path().join("fanfare.toml");
    let app = "[[app]]\nid = 1\nkey = \"app-key\"\nsecret = \"app-secret\"\n";
    let webhooks = ports.map(webhook).join(", ");
    fs::write(&config, format!("{app}webhooks = [{webhooks}]\n")).unwrap();
    let flags = ["--config", config.to_str().unwrap(), "--ca-file", file.to_str().unwrap()];
    let logged = spawn_logged(&mut fanfare(&flags));
    let mut client = support::pusher::Pusher::connect(logged.process.address);
    client.subscribe("a");
    assert_eq!(trusted.next().events().1, ["channel_occupied a"]);
    let line = logged.line("are not taken by https://localhost:");
    assert!(line.contains("is not signed by an authority that this machine trusts"), "{line}");
    assert!(line.contains(&ports[1].to_string()), "{line}");
}
