//! Keys of tokens at an `https://` URL, as an identity provider has them: fetched before the server listens, fetched later if
//! the provider is not there yet, and refused with the reason.

#![cfg(feature = "tls")]
#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::KeyPair;
use serde_json::{Value, json};
use support::backend::{Act, Stub, json as answer, text};
use support::ca::Ca;
use support::tls_front::front;
use support::*;

/// A key of ECDSA P-256 that signs tokens.
struct Signer {
    kid: &'static str,
    key: KeyPair,
}

impl Signer {
    fn new(kid: &'static str) -> Self {
        Self { kid, key: KeyPair::generate().unwrap() }
    }

    /// Its public half (RFC 7518 §6.2).
    fn jwk(&self) -> Value {
        let point = self.key.public_key_raw();
        let [x, y] = [&point[1..33], &point[33..]].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        json!({"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": self.kid, "x": x, "y": y})
    }

    /// A token to subscribe to `news`.
    fn token(&self) -> String {
        let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims = json!({"iat": now_s, "exp": now_s + 600, "fanfare": {"subscribe": ["news"]}});
        let header = Header { kid: Some(self.kid.to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &EncodingKey::from_ec_der(self.key.serialized_der())).unwrap()
    }
}

fn set(signers: &[&Signer]) -> Act {
    let keys: Vec<_> = signers.iter().map(|signer| signer.jwk()).collect();
    answer(&json!({ "keys": keys }).to_string())
}

/// An identity provider behind TLS, whose answer a test changes, and a server that has its keys.
struct Scene {
    answer: Arc<Mutex<Act>>,
    logged: Logged,
    _folder: tempfile::TempDir,
}

fn run(act: Act, flags: &[&str]) -> Scene {
    let (ca, folder) = (Ca::new(), tempfile::tempdir().unwrap());
    let file = folder.path().join("ca.pem");
    fs::write(&file, &ca.pem).unwrap();
    let answer = Arc::new(Mutex::new(act));
    let answers = Arc::clone(&answer);
    let stub = Stub::new(move |_| answers.lock().unwrap().clone());
    let port = front(&ca.leaf(&["localhost"]), stub.address).port();
    let url = format!("https://localhost:{port}/.well-known/jwks.json?key=hidden");
    let all = ["--ca-file", file.to_str().unwrap(), "--token-jwks", &url];
    let logged = spawn_logged(&mut fanfare(&[&all, flags].concat()));
    Scene { answer, logged, _folder: folder }
}

impl Scene {
    /// The answer to who polls with a token.
    fn poll(&self, token: &str) -> Answer {
        let fields = format!("Authorization: Bearer {token}\r\n");
        request(self.logged.process.address, "GET", "/channels/news?wait=0", &fields, b"")
    }
}

#[test]
fn keys_are_fetched_before_the_server_listens_and_tokens_of_other_keys_are_refused() {
    let (good, stranger) = (Signer::new("2026"), Signer::new("1999"));
    let secret = json!({"kty": "oct", "kid": "s", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"});
    let scene = run(answer(&json!({"keys": [good.jwk(), secret]}).to_string()), &[]);
    assert_eq!(scene.poll(&good.token()).status, 200);
    let refused = scene.poll(&stranger.token());
    assert_eq!(refused.status, 401);
    assert!(refused.body.contains("kid is 1999, no such key is configured"), "{}", refused.body);
    let without = request(scene.logged.process.address, "GET", "/channels/news?wait=0", "", b"");
    assert_eq!(without.status, 401, "channels are for tokens");
    let line = scene.logged.line("key s is passed over: it is a secret");
    assert!(!line.contains("hidden"), "{line}");
    let line = scene.logged.line("who may subscribe: ");
    assert!(line.contains("everything by token (token keys those of --token-jwks)"), "{line}");
}

#[test]
fn a_server_that_starts_before_its_provider_refuses_tokens_until_the_keys_are_there() {
    let signer = Signer::new("a");
    let scene = run(text(503, "later"), &[]);
    let line = scene.logged.line("the keys are not fetched");
    assert!(line.contains("it answers 503. The next try is in "), "{line}");
    assert!(line.contains("until they are, no token is good"), "{line}");
    assert_eq!(scene.poll(&signer.token()).status, 401);
    *scene.answer.lock().unwrap() = set(&[&signer]);
    let line = scene.logged.line("reloaded --token-jwks");
    assert!(line.ends_with("keys: added a") && !line.contains("hidden"), "{line}");
    assert_eq!(scene.poll(&signer.token()).status, 200);
}

#[test]
fn a_key_in_a_file_goes_before_one_of_its_name_at_the_url_and_a_reload_of_files_keeps_both() {
    let (fetched, folder) = (Signer::new("a"), tempfile::tempdir().unwrap());
    let file = folder.path().join("b.key");
    fs::write(&file, "0123456789abcdef0123456789abcdef").unwrap();
    let scene = run(set(&[&fetched]), &["--token-key", file.to_str().unwrap()]);
    assert_eq!(scene.poll(&fetched.token()).status, 200);
    fs::write(&file, "fedcba9876543210fedcba9876543210").unwrap();
    scene.logged.process.signal("HUP");
    scene.logged.line("keys: added b, removed b");
    assert_eq!(scene.poll(&fetched.token()).status, 200);
}

#[test]
fn a_url_that_cannot_be_called_ends_the_start_and_is_not_quoted() {
    for url in ["ftp://hidden", "https://", "https://u:hidden@a/", "hidden"] {
        let output = fanfare(&["--token-jwks", url]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("--token-jwks: give a URL such as https://"), "{said}");
        assert!(!said.contains("hidden") && !output.status.success(), "{said}");
    }
}
