//! Signatures of the app's server that clients hand in (4.3): what is signed, and whether it was.
//!
//! Signatures of HTTP requests are `rest`'s; the digest is shared with it and with webhooks.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::App;

/// Why a text `KEY:DIGEST` is no signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The key is not the app's; the whole text if it has no colon.
    Key(String),
    /// The digest is not that of the signed text by any secret.
    Digest(String),
}

/// What is signed for a subscription: the channel, and the `channel_data` as it came.
#[must_use]
pub fn of_subscription(socket_id: impl fmt::Display, channel: &str, channel_data: Option<&str>) -> String {
    match channel_data {
        Some(data) => format!("{socket_id}:{channel}:{data}"),
        None => format!("{socket_id}:{channel}"),
    }
}

/// What is signed for a sign-in: the `user_data` as it came. No channel has an empty name, so it is never what is signed
/// for a subscription.
#[must_use]
pub fn of_user(socket_id: impl fmt::Display, user_data: &str) -> String {
    format!("{socket_id}::user::{user_data}")
}

/// Checks that `auth` is the app's key, a colon and the digest of `signed` by one of its secrets. How long that takes tells
/// nothing of the digest, nor which secret it was.
///
/// # Errors
/// Says which half is wrong.
pub fn verify(app: &App, auth: &str, signed: &str) -> Result<(), Fault> {
    let Some((key, digest)) = auth.split_once(':') else { return Err(Fault::Key(auth.to_owned())) };
    if !bool::from(key.as_bytes().ct_eq(app.key.as_bytes())) {
        return Err(Fault::Key(key.to_owned()));
    }
    if is_digest(app, digest, signed.as_bytes()) { Ok(()) } else { Err(Fault::Digest(digest.to_owned())) }
}

/// Whether `digest` is the lower-case hexadecimal HMAC-SHA256 of `signed` by one of the app's secrets, in constant time for
/// digests of one length.
#[must_use]
pub fn is_digest(app: &App, digest: &str, signed: &[u8]) -> bool {
    // No short cut: each secret is tried.
    let matches =
        app.secrets.iter().map(|secret| hmac_hex(secret, signed).as_bytes().ct_eq(digest.as_bytes()));
    matches.fold(false, |any, one| any | bool::from(one))
}

/// The HMAC-SHA256 of `text` by `secret`, in lower-case hexadecimal.
#[must_use]
pub fn hmac_hex(secret: &str, text: &[u8]) -> String {
    let mut hmac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    hmac.update(text);
    hex(&hmac.finalize().into_bytes())
}

/// Lower-case hexadecimal, without the formatter: every request is checked with two digests.
pub(super) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 0xF])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOCKET: &str = "1234.1234";

    fn app() -> App {
        App::new("3", "278d425bdf160c739803", "7ad3773142a6692b25b8")
    }

    /// The digest of a vector: `verify` takes it, and only it.
    fn assert_digest(signed: &str, digest: &str) {
        assert_eq!(hmac_hex(&app().secrets[0], signed.as_bytes()), digest);
        assert_eq!(verify(&app(), &format!("278d425bdf160c739803:{digest}"), signed), Ok(()));
        let mut other = digest.to_owned();
        let last = if other.pop() == Some('0') { '1' } else { '0' };
        other.push(last);
        let refused = verify(&app(), &format!("278d425bdf160c739803:{other}"), signed);
        assert_eq!(refused, Err(Fault::Digest(other)));
    }

    #[test]
    fn a_private_channel_is_signed_as_the_vector_says() {
        let signed = of_subscription(SOCKET, "private-foobar", None);
        assert_eq!(signed, "1234.1234:private-foobar");
        assert_digest(&signed, "58df8b0c36d6982b82c3ecf6b4662e34fe8c25bba48f5369f135bf843651c3a4");
    }

    #[test]
    fn a_presence_channel_is_signed_with_its_data_as_the_vectors_say() {
        let signed = |name: &str| {
            let data = format!(r#"{{"user_id":10,"user_info":{{"name":"{name}"}}}}"#);
            of_subscription(SOCKET, "presence-foobar", Some(&data))
        };
        assert_eq!(
            signed("Mr. Pusher"),
            r#"1234.1234:presence-foobar:{"user_id":10,"user_info":{"name":"Mr. Pusher"}}"#
        );
        assert_digest(
            &signed("Mr. Channels"),
            "31935e7d86dba64c2a90aed31fdc61869f9b22ba9d8863bba239c03ca481bc80",
        );
        assert_digest(
            &signed("Mr. Pusher"),
            "afaed3695da2ffd16931f457e338e6c9f2921fa133ce7dac49f529792be6304c",
        );
    }

    #[test]
    fn a_user_is_signed_as_the_vector_says() {
        let signed = of_user(SOCKET, r#"{"id":"12345"}"#);
        assert_eq!(signed, r#"1234.1234::user::{"id":"12345"}"#);
        assert_digest(&signed, "4708d583dada6a56435fb8bc611c77c359a31eebde13337c16ab43aa6de336ba");
    }

    #[test]
    fn both_halves_of_a_signature_are_checked() {
        let digest = hmac_hex(&app().secrets[0], b"x");
        let key = |key: &str| Err(Fault::Key(key.to_owned()));
        assert_eq!(verify(&app(), &format!("other:{digest}"), "x"), key("other"));
        assert_eq!(verify(&app(), &format!(":{digest}"), "x"), key(""));
        assert_eq!(verify(&app(), &digest, "x"), key(&digest));
        assert_eq!(verify(&app(), "", "x"), key(""));
        for wrong in [String::new(), digest.to_uppercase(), format!("{digest}0"), digest[1..].to_owned()] {
            let auth = format!("278d425bdf160c739803:{wrong}");
            assert_eq!(verify(&app(), &auth, "x"), Err(Fault::Digest(wrong)));
        }
    }

    #[test]
    fn every_secret_of_an_app_verifies() {
        let mut app = app();
        app.secrets = vec!["new".to_owned(), "old".to_owned(), "oldest".to_owned()];
        for secret in &app.secrets {
            assert_eq!(verify(&app, &format!("{}:{}", app.key, hmac_hex(secret, b"x")), "x"), Ok(()));
        }
        assert!(verify(&app, &format!("{}:{}", app.key, hmac_hex("none", b"x")), "x").is_err());
    }
}
