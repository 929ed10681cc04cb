//! What is in a file of keys: a JWK set or one JWK, one PEM public key, or one secret.
//!
//! A file says by its content which it is. What could be a public key in another form is never taken for a secret: it is
//! known to everybody, and who knows the secret signs tokens (RFC 8725 §2.1). Files are opened elsewhere.

use std::path::Path;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::jwk::{self, Contents};
use super::key::{Key, Keys, is_der};
use super::key_fault::{KeyFault, KeyFileError};

const PEM_BEGIN: &str = "-----BEGIN ";
const PEM_END: &str = "-----END ";
const PEM_LABEL_END: &str = "-----";

/// Where a PEM block is copied by hand, its padding is lost at times, and nothing else depends on it.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// How texts in UTF-8 and UTF-16 begin that have a byte order mark.
const BYTE_ORDER_MARKS: [&[u8]; 3] = [b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff"];

/// How public keys of OpenSSH begin.
const SSH_BEGINS: [&[u8]; 4] = [b"ssh-rsa ", b"ssh-ed25519 ", b"ecdsa-sha2-", b"---- BEGIN SSH2 "];

/// What files have held.
#[derive(Clone, Debug, Default)]
pub struct KeyFiles {
    /// The keys.
    pub keys: Keys,
    /// A sentence on each key in a JWK set that tokens here are not signed by.
    pub passed_over: Vec<String>,
}

impl KeyFiles {
    /// Reads files, each a path and what is in it. A key without a `kid` has the file's name, without its ending. All files
    /// are good, or none counts.
    ///
    /// # Errors
    /// Names the first file that has a fault, and says what to do about it.
    pub fn read<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, KeyFileError> {
        let mut read = Self::default();
        for (path, bytes) in files {
            let contents = contents(path, bytes)?;
            for key in contents.keys {
                read.keys.push(key).map_err(|fault| of_file(path, fault))?;
            }
            read.passed_over.extend(contents.passed_over);
        }
        Ok(read)
    }
}

fn of_file(path: &str, fault: KeyFault) -> KeyFileError {
    KeyFileError { path: path.to_owned(), kid: None, fault }
}

fn contents(path: &str, bytes: &[u8]) -> Result<Contents, KeyFileError> {
    let kid = Path::new(path).file_stem().unwrap_or_default().to_string_lossy();
    let start = bytes.trim_ascii_start();
    // Whatever begins like a list and is none may be a secret.
    if start.starts_with(b"{") || serde_json::from_slice::<Vec<serde::de::IgnoredAny>>(start).is_ok() {
        return jwk::contents(path, &kid, bytes);
    }
    let key = one(&kid, bytes).map_err(|fault| of_file(path, fault))?;
    Ok(Contents { keys: vec![key], passed_over: Vec::new() })
}

/// The one key of a file that is no JSON.
fn one(kid: &str, bytes: &[u8]) -> Result<Key, KeyFault> {
    let start = bytes.trim_ascii_start();
    if start.is_empty() {
        return Err(KeyFault::Empty);
    }
    if BYTE_ORDER_MARKS.iter().any(|mark| bytes.starts_with(mark)) {
        return Err(KeyFault::ByteOrderMark);
    }
    if let Some(text) = str::from_utf8(bytes).ok().filter(|text| text.contains(PEM_BEGIN)) {
        return Key::from_spki(kid, &from_pem(text)?);
    }
    if SSH_BEGINS.iter().any(|begin| start.starts_with(begin)) {
        return Err(KeyFault::Ssh);
    }
    if is_der(bytes) {
        return Err(KeyFault::Der);
    }
    if from_base64(bytes).is_some_and(|decoded| is_der(&decoded)) {
        return Err(KeyFault::BareBase64);
    }
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\r' | b'\n')).map_or(0, |last| last + 1);
    Key::secret(kid, &bytes[..end])
}

/// The bytes of a PEM block (RFC 7468). Text before and after it does not count.
fn from_pem(text: &str) -> Result<Vec<u8>, KeyFault> {
    if text.matches(PEM_BEGIN).count() > 1 {
        return Err(KeyFault::SeveralPem);
    }
    let block = text.split_once(PEM_BEGIN).and_then(|(_, block)| block.split_once(PEM_LABEL_END));
    let Some((label, block)) = block else { return Err(KeyFault::Pem) };
    match label {
        "PUBLIC KEY" => {}
        "CERTIFICATE" | "TRUSTED CERTIFICATE" => return Err(KeyFault::Certificate),
        "RSA PUBLIC KEY" => return Err(KeyFault::Pkcs1),
        _ if label.ends_with("PRIVATE KEY") => return Err(KeyFault::Private),
        _ => return Err(KeyFault::Label(label.to_owned())),
    }
    let body = block.split_once(PEM_END).filter(|(_, end)| end.starts_with("PUBLIC KEY-----"));
    body.and_then(|(body, _)| from_base64(body.as_bytes())).ok_or(KeyFault::Pem)
}

/// Decodes base64 in lines, of either alphabet.
fn from_base64(bytes: &[u8]) -> Option<Vec<u8>> {
    let characters = bytes.iter().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => *other,
    });
    BASE64.decode(characters.collect::<Vec<_>>()).ok()
}

#[cfg(test)]
#[path = "key_file_tests.rs"]
mod tests;
