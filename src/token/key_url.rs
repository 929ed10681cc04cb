//! What is at a URL of keys: a JWK set of public keys.
//!
//! It is fetched elsewhere. A PEM key or a secret has no place at a URL that others know.

use super::algorithm::Algorithm;
use super::jwk;
use super::key::Keys;
use super::key_fault::{KeyFault, KeyFileError};
use super::key_file::KeyFiles;
use super::quote::Quoted;

/// How a key without a `kid` is called, of which a set may have one.
const NO_KID: &str = "jwks";

impl KeyFiles {
    /// Reads what was at a URL; `place` stands for it in errors. Secrets are passed over: whoever knows the URL could sign
    /// tokens by them.
    ///
    /// # Errors
    /// It is no JWK set, a key of it that is for tokens has a fault, or none is usable.
    pub fn of_url(place: &str, bytes: &[u8]) -> Result<Self, KeyFileError> {
        let error = |fault| KeyFileError { path: place.to_owned(), kid: None, fault };
        let contents = jwk::contents(place, NO_KID, bytes)?;
        let (mut keys, mut passed_over) = (Keys::default(), contents.passed_over);
        for key in contents.keys {
            if key.algorithm() == Algorithm::Hs256 {
                let kid = key.kid().to_owned();
                passed_over.push(format!(
                    "{place}: key {} is passed over: it is a secret, and whoever knows the URL could sign tokens by it",
                    Quoted(&kid)
                ));
                continue;
            }
            keys.push(key).map_err(error)?;
        }
        match keys.is_empty() {
            true => Err(error(KeyFault::NoneUsable)),
            false => Ok(Self { keys, passed_over }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"KID","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const SECRET: &str = r#"{"kty":"oct","kid":"s","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#;

    fn of(keys: &[&str]) -> Result<KeyFiles, KeyFileError> {
        KeyFiles::of_url("https://h/jwks", format!("{{\"keys\":[{}]}}", keys.join(",")).as_bytes())
    }

    fn key(kid: &str) -> String {
        ED25519.replace("KID", kid)
    }

    #[test]
    fn the_public_keys_of_a_set_are_taken_and_its_secrets_are_not() {
        let read = of(&[&key("a"), SECRET, &key("b")]).unwrap();
        assert_eq!(read.keys.iter().map(|key| key.kid()).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read.passed_over.len(), 1);
        assert!(read.passed_over[0].starts_with("https://h/jwks: key s is passed over: it is a secret"));
        assert!(of(&[SECRET]).unwrap_err().to_string().starts_with("https://h/jwks: none of its keys"));
    }

    #[test]
    fn what_is_no_set_is_refused_also_if_a_file_could_hold_it() {
        let pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n";
        for text in
            [pem, "0123456789012345678901234567890123456789", "", "<html>", "[]", "{}", "{\"keys\":[]}"]
        {
            let error = KeyFiles::of_url("https://h/jwks", text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("https://h/jwks: "), "{error}");
        }
        assert!(of(&[&key("a"), &key("a")]).unwrap_err().to_string().contains("two keys are called a"));
    }
}
