//! Certificates of a running server, as an operator changes them: files that are written, replaced or swapped, and SIGHUP.
//! What the server shows to whom is seen by a client that is not ours.

#![cfg(all(unix, feature = "tls"))] // for its signals and links
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use support::ca::{Ca, Leaf};
use support::tls::{TlsStream, ask_over};
use support::*;
use tempfile::TempDir;

/// A server with its log, and the address where it speaks TLS.
struct Scene {
    logged: Logged,
    address: SocketAddr,
}

fn spawn_tls(flags: &[&str]) -> Scene {
    let mut logged = spawn_logged(&mut fanfare(&[&["--tls-listen", "127.0.0.1:0"], flags].concat()));
    let mut line = String::new();
    logged.process.output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on https://").unwrap_or_else(|| panic!("{line:?}"));
    Scene { address: address.parse().unwrap(), logged }
}

fn spawn_with(pair: &[PathBuf; 2], more: &[&str]) -> Scene {
    let [cert, key] = pair.each_ref().map(|path| path.to_str().unwrap());
    spawn_tls(&[&["--tls-cert", cert, "--tls-key", key], more].concat())
}

impl Scene {
    fn connect(&self, ca: &Ca, name: &str) -> TlsStream {
        client_of(self.address, ca, name)
    }

    /// The certificate that it gets.
    fn shown(&self, ca: &Ca, name: &str) -> CertificateDer<'static> {
        self.connect(ca, name).conn.peer_certificates().unwrap()[0].clone().into_owned()
    }

    fn shows(&self, ca: &Ca, name: &str, leaf: &Leaf) {
        assert_eq!(self.shown(ca, name), der(leaf), "{name}");
    }

    /// Sends a SIGHUP and waits for the line with these words.
    fn hang_up(&self, words: &str) -> String {
        self.logged.process.signal("HUP");
        self.logged.line(words)
    }

    /// The value of a metric by the beginning of its line.
    fn metric(&self, start: &str) -> Option<u64> {
        let answer = request(self.logged.process.address, "GET", "/metrics", "", b"");
        let line = answer.body.lines().find_map(|line| line.strip_prefix(start).map(str::to_owned));
        line.map(|rest| rest.trim().parse().unwrap())
    }
}

/// A client that asks for this name and trusts this authority; the handshake is complete.
fn client_of(address: SocketAddr, ca: &Ca, name: &str) -> TlsStream {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.pem.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let mut session = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut socket = connect(address);
    while session.is_handshaking() {
        session.complete_io(&mut socket).unwrap();
    }
    TlsStream::new(session, socket)
}

fn der(leaf: &Leaf) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(leaf.cert.as_bytes()).unwrap()
}

/// Puts another file into the place of this one, as certbot and deployments do.
fn replace(path: &Path, text: &str) {
    let other = path.with_extension("new");
    fs::write(&other, text).unwrap();
    fs::rename(other, path).unwrap();
}

fn folder() -> (Ca, TempDir) {
    (Ca::new(), tempfile::tempdir().unwrap())
}

#[test]
fn the_start_names_certificates_and_ends_and_clients_get_that_of_the_name_they_ask_for() {
    let (ca, folder) = folder();
    let (first, second) = (ca.leaf(&["a.test", "127.0.0.1"]), ca.leaf_between(&["*.b.test"], [2020, 2100]));
    let [pair, other] = [first.write(folder.path(), "a"), second.write(folder.path(), "b")];
    let more = ["--tls-cert", other[0].to_str().unwrap(), "--tls-key", other[1].to_str().unwrap()];
    let scene = spawn_with(&pair, &more);
    let line = scene.logged.line("certificates: ");
    assert!(
        line.ends_with(
            "certificates: a.test until 2200-01-01T00:00:00Z; *.b.test until 2100-01-01T00:00:00Z"
        ),
        "{line}"
    );
    for (name, leaf) in [("a.test", &first), ("127.0.0.1", &first), ("www.b.test", &second)] {
        scene.shows(&ca, name, leaf);
    }
    let end = |name| scene.metric(&format!("fanfare_tls_certificate_expiry_seconds{{name=\"{name}\"}}"));
    assert_eq!(
        (end("a.test"), end("*.b.test"), end("c.test")),
        (Some(7_258_118_400), Some(4_102_444_800), None)
    );
}

#[test]
fn pairs_are_named_in_the_config_file_and_by_the_environment_too() {
    let (ca, folder) = folder();
    let leaves = [ca.leaf(&["a.test"]), ca.leaf(&["b.test"])];
    let files = [leaves[0].write(folder.path(), "a"), leaves[1].write(folder.path(), "b")];
    let table = |[cert, key]: &[PathBuf; 2]| format!("[[tls]]\ncert = {cert:?}\nkey = {key:?}\n");
    let config = folder.path().join("fanfare.toml");
    fs::write(&config, format!("{}{}", table(&files[0]), table(&files[1]))).unwrap();
    let scene = spawn_tls(&["--config", config.to_str().unwrap()]);
    scene.shows(&ca, "a.test", &leaves[0]);
    scene.shows(&ca, "b.test", &leaves[1]);

    let list = |at: usize| files.each_ref().map(|pair| pair[at].to_str().unwrap().to_owned()).join(",");
    let mut command = fanfare(&[]);
    command.env("FANFARE_TLS_LISTEN", "127.0.0.1:0").env("FANFARE_TLS_CERT", list(0));
    let mut logged = spawn_logged(command.env("FANFARE_TLS_KEY", list(1)));
    let mut line = String::new();
    logged.process.output.read_line(&mut line).unwrap();
    assert!(line.starts_with("listening on https://127.0.0.1:"), "{line}");
    logged.line("certificates: a.test until 2200-01-01T00:00:00Z; b.test until");
}

#[test]
fn wrong_flags_and_files_end_the_start_with_one_sentence() {
    let (ca, folder) = folder();
    let [cert, key] = ca.leaf(&["a.test"]).write(folder.path(), "a");
    let [other, _] = ca.leaf(&["a.test"]).write(folder.path(), "b");
    let [cert, key, other] = [&cert, &key, &other].map(|path| path.to_str().unwrap());
    let listen = ["--tls-listen", "127.0.0.1:0"];
    for (flags, words) in [
        (
            &[][..],
            "--tls-listen: TLS needs a certificate and its key. Add --tls-cert FILE and --tls-key FILE",
        ),
        (
            &["--tls-cert", cert],
            "--tls-cert is given 1 time and --tls-key 0 times. Give a --tls-key for each --tls-cert",
        ),
        (
            &["--tls-cert", cert, "--tls-key", key, "--tls-key", key],
            "--tls-key is given 2 times and --tls-cert 1 time.",
        ),
        (&["--tls-cert", other, "--tls-key", key], "the private key does not belong to the certificate in "),
        (&["--tls-cert", "/nowhere/c.pem", "--tls-key", key], "--tls-cert /nowhere/c.pem: No such file"),
        (&["--tls-cert", key, "--tls-key", key], "no certificate is in it."),
        (
            &["--tls-cert", cert, "--tls-key", key, "--tls-listen", "0.0.0.0:0"],
            "--tls-listen 0.0.0.0:0: other machines can reach this address, and without a key everybody could publish",
        ),
    ] {
        let output = fanfare(&[&listen, flags].concat()).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(words) && !output.status.success(), "{said}");
        assert!(output.stdout.is_empty(), "nothing is listened on");
    }
}

#[test]
fn a_renewal_is_seen_without_a_signal_and_nobody_is_disconnected() {
    let (ca, folder) = folder();
    let pair = ca.leaf(&["a.test"]).write(folder.path(), "a");
    let scene = spawn_with(&pair, &[]);
    let probe = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut client = scene.connect(&ca, "a.test");
    assert!(ask_over(&mut client, probe).starts_with("HTTP/1.1 200 "));
    let renewed = ca.leaf_between(&["a.test"], [2021, 2190]);
    replace(&pair[0], &renewed.cert);
    replace(&pair[1], &renewed.key);
    let line = scene.logged.line("reloaded certificates: ");
    assert!(line.ends_with("reloaded certificates: a.test until 2190-01-01T00:00:00Z"), "{line}");
    scene.shows(&ca, "a.test", &renewed);
    assert!(ask_over(&mut client, probe).starts_with("HTTP/1.1 200 "));
    assert_eq!(scene.metric("fanfare_tls_certificate_expiry_seconds{name=\"a.test\"}"), Some(6_942_585_600));
    let reloads = ["replaced", "failed"]
        .map(|result| scene.metric(&format!("fanfare_tls_reloads_total{{result=\"{result}\"}}")));
    assert_eq!(reloads, [Some(1), Some(0)]);
}

#[test]
fn a_socket_of_a_supervisor_that_is_called_https_speaks_tls_and_the_others_are_plain() {
    let (ca, folder) = folder();
    let leaf = ca.leaf(&["a.test"]);
    let [cert, key] = leaf.write(folder.path(), "a").map(|path| path.to_str().unwrap().to_owned());
    let [plain, secured] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let fanfare = env!("CARGO_BIN_EXE_fanfare");
    // The sockets are its standard input and error, and become descriptors 3 and 4: sd_listen_fds(3).
    let script = format!(
        "exec 3<&0 4<&2 0</dev/null 2>/dev/null; LISTEN_FDS=2 LISTEN_FDNAMES=http:https LISTEN_PID=$$ \
         exec {fanfare} --drain 0s --tls-cert {cert} --tls-key {key}"
    );
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .stdin(OwnedFd::from(plain.try_clone().unwrap()))
        .stderr(OwnedFd::from(secured.try_clone().unwrap()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let [plain, secured] = [plain, secured].map(|listener| listener.local_addr().unwrap());
    assert_eq!(lines.next().unwrap(), format!("listening on http://{plain}"));
    assert_eq!(lines.next().unwrap(), format!("listening on https://{secured}"));
    assert_eq!(request(plain, "GET", "/healthz", "", b"").status, 200);
    let client = client_of(secured, &ca, "a.test");
    assert_eq!(client.conn.peer_certificates().unwrap()[0], der(&leaf));
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn strict_transport_security_is_sent_over_tls_alone_and_only_if_it_is_asked_for() {
    let (ca, folder) = folder();
    let pair = ca.leaf(&["a.test"]).write(folder.path(), "a");
    let field = "\r\nStrict-Transport-Security: max-age=300\r\n";
    for (flags, is_sent) in [(&["--hsts", "5m"][..], true), (&[], false)] {
        let scene = spawn_with(&pair, flags);
        for path in ["/healthz", "/channels/news?wait=0", "/nowhere"] {
            let probe = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
            let answer = ask_over(&mut scene.connect(&ca, "a.test"), probe.as_bytes());
            assert_eq!(answer.contains(field), is_sent, "{answer}");
            let plain = ask_over(&mut connect(scene.logged.process.address), probe.as_bytes());
            assert!(!plain.contains("Strict-Transport"), "{plain}");
        }
    }
}

#[test]
fn links_that_are_swapped_are_another_certificate_as_in_volumes_of_kubernetes() {
    let (ca, folder) = folder();
    let at = |name: &str| folder.path().join(name);
    let leaves = [ca.leaf(&["a.test"]), ca.leaf_between(&["a.test"], [2020, 2150])];
    for (version, leaf) in ["..v1", "..v2"].iter().zip(&leaves) {
        fs::create_dir(at(version)).unwrap();
        leaf.write(&at(version), "tls");
    }
    symlink("..v1", at("..data")).unwrap();
    for name in ["tls.pem", "tls.key"] {
        symlink(Path::new("..data").join(name), at(name)).unwrap();
    }
    let scene = spawn_with(&[at("tls.pem"), at("tls.key")], &[]);
    scene.shows(&ca, "a.test", &leaves[0]);
    symlink("..v2", at("..new")).unwrap();
    fs::rename(at("..new"), at("..data")).unwrap();
    fs::remove_dir_all(at("..v1")).unwrap();
    scene.logged.line("reloaded certificates: a.test until 2150-01-01T00:00:00Z");
    scene.shows(&ca, "a.test", &leaves[1]);
}

#[test]
fn half_a_renewal_is_told_at_the_second_look_and_the_old_pair_serves_until_the_other_half_comes() {
    let (ca, folder) = folder();
    let [first, second] = [ca.leaf(&["a.test"]), ca.leaf_between(&["a.test"], [2020, 2150])];
    let pair = first.write(folder.path(), "a");
    let scene = spawn_with(&pair, &[]);
    replace(&pair[0], &second.cert);
    let line = scene.logged.line("not reloaded");
    assert!(line.contains("certificates not reloaded, they stay as they are: --tls-key "), "{line}");
    assert!(line.contains("a.key: the private key does not belong to the certificate in "), "{line}");
    assert!(line.contains("a.pem. Give the two that were made together"), "{line}");
    scene.shows(&ca, "a.test", &first);
    assert_eq!(scene.metric("fanfare_tls_reloads_total{result=\"failed\"}"), Some(1));
    replace(&pair[1], &second.key);
    scene.logged.line("reloaded certificates: a.test until 2150-01-01T00:00:00Z");
    scene.shows(&ca, "a.test", &second);
}

#[test]
fn a_hangup_tells_each_fault_at_once_and_takes_all_pairs_or_none() {
    let (ca, folder) = folder();
    let [first, second] = [ca.leaf(&["a.test"]), ca.leaf(&["b.test"])];
    let pair = first.write(folder.path(), "a");
    let other = second.write(folder.path(), "b");
    let more = ["--tls-cert", other[0].to_str().unwrap(), "--tls-key", other[1].to_str().unwrap()];
    let scene = spawn_with(&pair, &more);
    scene.hang_up("reloaded certificates: nothing has changed");
    let renewed = ca.leaf_between(&["a.test"], [2020, 2150]);
    renewed.write(folder.path(), "a");
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (file, text, words) in [
        (1, String::new(), "b.key: no private key is in it"),
        (1, ca.leaf(&["b.test"]).key, "b.key: the private key does not belong to the certificate in "),
        (1, encrypted.to_owned(), "b.key: the private key is encrypted"),
        (0, second.cert[..200].to_owned(), "b.pem: its PEM is broken"),
    ] {
        second.write(folder.path(), "b");
        fs::write(&other[file], text).unwrap();
        let line = scene.hang_up(words);
        assert!(line.contains("certificates not reloaded, they stay as they are: --tls-"), "{line}");
        scene.shows(&ca, "a.test", &first);
        scene.shows(&ca, "b.test", &second);
    }
    second.write(folder.path(), "b");
    scene.hang_up(
        "reloaded certificates: a.test until 2150-01-01T00:00:00Z; b.test until 2200-01-01T00:00:00Z",
    );
    scene.shows(&ca, "a.test", &renewed);
}

#[test]
fn an_expired_certificate_and_a_name_listed_twice_are_served_with_a_warning() {
    let (ca, folder) = folder();
    let pair = ca.leaf_between(&["a.test"], [2020, 2021]).write(folder.path(), "a");
    let other = ca.leaf(&["a.test"]).write(folder.path(), "b");
    let more = ["--tls-cert", other[0].to_str().unwrap(), "--tls-key", other[1].to_str().unwrap()];
    let scene = spawn_with(&pair, &more);
    scene.logged.line(
        "the certificate of a.test has expired on 2021-01-01T00:00:00Z, and clients refuse it. Renew it",
    );
    let line = scene.logged.line("--tls-cert: a.test is in ");
    assert!(line.ends_with("b.pem; clients get the first. Leave one of them out"), "{line}");
    ca.leaf(&["a.test"]).write(folder.path(), "a");
    scene.hang_up("reloaded certificates: a.test until 2200-01-01T00:00:00Z; a.test");
}

#[test]
fn a_pair_that_the_config_file_gains_is_served_without_a_restart() {
    let (ca, folder) = folder();
    let leaves = [ca.leaf(&["a.test"]), ca.leaf(&["b.test"])];
    let files = [leaves[0].write(folder.path(), "a"), leaves[1].write(folder.path(), "b")];
    let table = |[cert, key]: &[PathBuf; 2]| format!("[[tls]]\ncert = {cert:?}\nkey = {key:?}\n");
    let config = folder.path().join("fanfare.toml");
    fs::write(&config, table(&files[0])).unwrap();
    let scene = spawn_tls(&["--config", config.to_str().unwrap()]);
    scene.shows(&ca, "a.test", &leaves[0]);
    replace(&config, &format!("{}{}", table(&files[0]), table(&files[1])));
    scene.hang_up("reloaded certificates: a.test until 2200-01-01T00:00:00Z; b.test until");
    scene.shows(&ca, "b.test", &leaves[1]);
    // A fault of it does not hold up the rest, nor the other way round.
    replace(&config, "[[tls]]\ncert = 'c'\n[[app]]\nid = 7\nkey = 'k'\nsecret = 's'\n");
    scene.hang_up("certificates not reloaded, they stay as they are: --config ");
    scene.logged.line("apps: added 7");
    replace(&config, "[[app]]\nid = 7\nkey = 'k'\nsecret = 's'\n");
    scene.hang_up("certificates not reloaded, they stay as they are: --tls-listen: TLS needs a certificate");
    scene.shows(&ca, "b.test", &leaves[1]);
}

#[test]
fn certificates_that_are_reloaded_all_the_time_are_always_whole() {
    let (ca, folder) = folder();
    let leaves = [ca.leaf(&["a.test"]), ca.leaf_between(&["a.test"], [2020, 2150])];
    let pair = leaves[0].write(folder.path(), "a");
    let scene = spawn_with(&pair, &[]);
    for round in 0..20 {
        let (now, before) = (&leaves[(round + 1) % 2], &leaves[round % 2]);
        replace(&pair[0], &now.cert);
        scene.hang_up("does not belong");
        scene.shows(&ca, "a.test", before);
        replace(&pair[1], &now.key);
        scene.hang_up("reloaded certificates: a.test");
        scene.shows(&ca, "a.test", now);
    }
}
