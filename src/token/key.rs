//! A key that verifies tokens, bound to one algorithm; and the keys that a server has.
//!
//! How files hold keys is `key_file`'s.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{self, SHA256, SHA256_OUTPUT_LEN};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rsa::PublicEncryptingKey;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents,
};

use super::algorithm::Algorithm;
use super::key_fault::{KEYS_MAX, KID_LEN_MAX, KeyFault, SECRET_LEN_MIN};

/// The object identifiers in a SubjectPublicKeyInfo (RFC 5280 §4.1): rsaEncryption (RFC 8017 A.1), id-ecPublicKey with
/// prime256v1 (RFC 5480 §2.1.1), id-Ed25519 (RFC 8410 §3).
const OID_RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
const OID_P256: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
const OID_ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";

/// Within so many bytes the identifiers stand: two headers of a sequence come before them.
const OID_END_MAX: usize = 32;

/// A key and its name. `Debug` shows nothing of what a secret is.
#[derive(Clone)]
pub struct Key {
    kid: Arc<str>,
    algorithm: Algorithm,
    material: Material,
    id: KeyId,
}

#[derive(Clone)]
enum Material {
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// Tells keys apart, also those of one name before and after a reload: a digest of name, algorithm and key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; SHA256_OUTPUT_LEN]);

/// The keys of a server, with different names.
#[derive(Clone, Debug, Default)]
pub struct Keys(Vec<Key>);

impl Key {
    /// A secret, for HS256.
    ///
    /// # Errors
    /// The secret is shorter than [`SECRET_LEN_MIN`], or the name cannot be one.
    pub fn secret(kid: &str, secret: &[u8]) -> Result<Self, KeyFault> {
        if secret.len() < SECRET_LEN_MIN {
            return Err(KeyFault::SecretTooShort(secret.len()));
        }
        let material = Material::Secret(Box::new(hmac::Key::new(hmac::HMAC_SHA256, secret)));
        Self::new(kid, Algorithm::Hs256, material, secret)
    }

    /// A public key in DER, a SubjectPublicKeyInfo (RFC 5280 §4.1): RSA for RS256, P-256 for ES256, Ed25519 for EdDSA.
    ///
    /// # Errors
    /// Says why it is none of them, or that the name cannot be one.
    pub fn from_spki(kid: &str, der: &[u8]) -> Result<Self, KeyFault> {
        // What is not whole may have the length of a bare key, and would be taken for one.
        if !is_der(der) {
            return Err(KeyFault::Spki);
        }
        let head = &der[..der.len().min(OID_END_MAX)];
        let has = |oid: &[u8]| head.windows(oid.len()).any(|window| window == oid);
        let (algorithm, parsed) = if has(OID_P256) {
            (Algorithm::Es256, ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, der))
        } else if has(OID_ED25519) {
            (Algorithm::EdDsa, ParsedPublicKey::new(&ED25519, der))
        } else if has(OID_RSA) {
            (Algorithm::Rs256, ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der))
        } else {
            return Err(KeyFault::Kind);
        };
        let parsed = parsed.map_err(|_| KeyFault::Spki)?;
        // A key of another size is parsed, and would verify nothing.
        if algorithm == Algorithm::Rs256 && PublicEncryptingKey::from_der(der).is_err() {
            return Err(KeyFault::RsaSize);
        }
        Self::new(kid, algorithm, Material::Public(parsed), der)
    }

    /// A public key of RSA: modulus and exponent, big-endian.
    ///
    /// # Errors
    /// They are no public key, or not of [`RSA_BITS`](super::RSA_BITS).
    pub fn rsa(kid: &str, modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyFault> {
        let components = RsaPublicKeyComponents { n: without_zeros(modulus), e: without_zeros(exponent) };
        let der = components.as_der().map_err(|_| KeyFault::Spki)?;
        Self::from_spki(kid, der.as_ref())
    }

    /// A point on P-256, each coordinate of 32 bytes.
    ///
    /// # Errors
    /// The point is not on the curve.
    pub fn p256(kid: &str, x: &[u8; 32], y: &[u8; 32]) -> Result<Self, KeyFault> {
        let point = [&[4], &x[..], &y[..]].concat();
        let parsed = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &point).map_err(|_| KeyFault::Spki)?;
        Self::new(kid, Algorithm::Es256, Material::Public(parsed), &point)
    }

    /// A public key of Ed25519.
    ///
    /// # Errors
    /// It is none.
    pub fn ed25519(kid: &str, key: &[u8; 32]) -> Result<Self, KeyFault> {
        let parsed = ParsedPublicKey::new(&ED25519, key).map_err(|_| KeyFault::Spki)?;
        Self::new(kid, Algorithm::EdDsa, Material::Public(parsed), key)
    }

    fn new(kid: &str, algorithm: Algorithm, material: Material, bytes: &[u8]) -> Result<Self, KeyFault> {
        if kid.is_empty() || kid.len() > KID_LEN_MAX {
            return Err(KeyFault::KidLen(kid.len()));
        }
        let mut context = digest::Context::new(&SHA256);
        for part in [kid.as_bytes(), b"\0", algorithm.name().as_bytes(), b"\0", bytes] {
            context.update(part);
        }
        Ok(Self { kid: kid.into(), algorithm, material, id: KeyId(sha256(context)) })
    }

    /// Its name: what tokens have as `kid`.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// What it is for.
    #[doc(hidden)]
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Tells it from every other key.
    #[doc(hidden)]
    #[must_use]
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether `signature` is that of `signed` by this key. How long a comparison with a digest takes tells nothing of it.
    #[doc(hidden)]
    #[must_use]
    pub fn verify(&self, signed: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            Material::Public(key) => key.verify_sig(signed, signature).is_ok(),
        }
    }
}

impl Keys {
    /// Adds a key.
    ///
    /// # Errors
    /// There is one of its name, or there are [`KEYS_MAX`].
    pub fn push(&mut self, key: Key) -> Result<(), KeyFault> {
        if self.named(key.kid()).is_some() {
            return Err(KeyFault::Twice(key.kid().to_owned()));
        }
        if self.0.len() == KEYS_MAX {
            return Err(KeyFault::TooMany);
        }
        self.0.push(key);
        Ok(())
    }

    /// The key of this name.
    #[must_use]
    pub fn named(&self, kid: &str) -> Option<&Key> {
        self.0.iter().find(|key| key.kid() == kid)
    }

    /// The keys for this algorithm, in their order.
    #[doc(hidden)]
    pub fn of(&self, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        self.0.iter().filter(move |key| key.algorithm == algorithm)
    }

    /// All of them, in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether the key is one of these.
    #[doc(hidden)]
    #[must_use]
    pub fn contains(&self, id: KeyId) -> bool {
        self.0.iter().any(|key| key.id == id)
    }

    /// The keys that are here and not in `other`: what a reload has added, or removed if it is asked of the keys before.
    #[doc(hidden)]
    pub fn without<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|key| !other.contains(key.id))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({:?}, {})", self.kid, self.algorithm)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyId(…)")
    }
}

/// Whether the bytes are one sequence of DER to their end (X.690 §8.1), as keys and certificates are: such a length at such a
/// place is no secret's by chance.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    let len = match *bytes {
        [0x30, len @ ..=0x7f, ..] => 2 + usize::from(len),
        [0x30, 0x81, len, ..] => 3 + usize::from(len),
        [0x30, 0x82, high, low, ..] => 4 + usize::from(u16::from_be_bytes([high, low])),
        _ => return false,
    };
    bytes.len() == len
}

fn sha256(context: digest::Context) -> [u8; SHA256_OUTPUT_LEN] {
    let digest = context.finish();
    digest.as_ref().try_into().expect("a digest of SHA-256 has 32 bytes")
}

/// RFC 7518 §6.3.1.1: some encoders put a zero in front.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
