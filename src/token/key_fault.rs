//! What is wrong with a key or a file of keys, as sentences that say what to do about it.
//!
//! The files are read by `key_file`.

use std::fmt;
use std::ops::RangeInclusive;

use super::algorithm::Algorithm;
use super::quote::Quoted;

/// The shortest secret, in bytes: that of the digest (RFC 7518 §3.2). A shorter one can be guessed from a token.
pub const SECRET_LEN_MIN: usize = 32;

/// The sizes of RSA keys, in bits. Below, RFC 7518 §3.3 forbids it; above, one verification takes milliseconds.
pub const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

/// The most keys. Tokens without `kid` are tried with some of them only, and the rest is what a rotation needs.
pub const KEYS_MAX: usize = 256;

/// The longest name of a key, in bytes.
pub const KID_LEN_MAX: usize = 200;

const RSA_BITS_MIN: usize = *RSA_BITS.start();
const RSA_BITS_MAX: usize = *RSA_BITS.end();

/// Of each fault: what it carries, and its sentence.
macro_rules! key_faults {
    ($(
        $(#[$doc:meta])*
        $name:ident $(($($field:ident: $type:ty),+))? $sentence:literal
    )*) => {
        /// Why something is no key. `Display` is a sentence without a full stop.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum KeyFault {
            $($(#[$doc])* $name $(($($type),+))?,)*
        }

        impl fmt::Display for KeyFault {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $(($($field),+))? => {
                        $($(let $field = Quoted($field);)+)?
                        write!(f, $sentence)
                    })*
                }
            }
        }
    };
}

key_faults! {
    /// Nothing is in the file.
    Empty "it is empty. Put a secret into it (openssl rand -hex 32), a PEM public key, or a JWK set"
    /// The secret has so many bytes.
    SecretTooShort(len: usize)
        "the secret has {len} bytes, at least {SECRET_LEN_MIN} are needed. Make another one: openssl rand -hex 32"
    /// The name of a key has so many bytes.
    KidLen(len: usize)
        "the name of the key has {len} bytes, 1 to {KID_LEN_MAX} are possible. Give it another kid, or rename the file"
    /// Two keys have this name.
    Twice(kid: String) "two keys are called {kid}. Give each a kid of its own, or rename one of the files"
    /// There are too many keys.
    TooMany "there are more than {KEYS_MAX} keys. Leave out those that no token is signed by"
    /// An RSA key of another size than [`RSA_BITS`].
    RsaSize "the RSA key has fewer than {RSA_BITS_MIN} bits, or more than {RSA_BITS_MAX}. Make another one: \
        openssl genrsa -out private.pem 2048"
    /// A public key of another kind.
    Kind "the key is none of RSA, P-256 and Ed25519. Make one of these: openssl genpkey -algorithm ed25519 -out private.pem"
    /// A public key whose parts do not fit together.
    Spki "the public key is damaged. Write it anew from the private one: openssl pkey -in private.pem -pubout -out FILE"
    /// A private key, as PEM.
    Private "it has a private key, which is for whoever makes tokens. Put the public one here: openssl pkey -in private.pem \
        -pubout -out FILE"
    /// A private key, as JWK.
    PrivateJwk "it has a private part, which is for whoever makes tokens. Leave out d, p, q, dp, dq and qi"
    /// A certificate, as PEM.
    Certificate "it has a certificate. Take the public key out of it: openssl x509 -in CERTIFICATE -noout -pubkey -out FILE"
    /// An RSA key of PKCS #1, as PEM.
    Pkcs1 "it has BEGIN RSA PUBLIC KEY, not BEGIN PUBLIC KEY. Convert it: openssl rsa -RSAPublicKey_in -in OLD -pubout -out FILE"
    /// A PEM block of this kind.
    Label(label: String) "it has BEGIN {label}, not BEGIN PUBLIC KEY. Write the public key: openssl pkey -in private.pem \
        -pubout -out FILE"
    /// A PEM block that is not one.
    Pem "its PEM block is damaged: base64 between the lines -----BEGIN PUBLIC KEY----- and -----END PUBLIC KEY-----. Copy it \
        again, whole"
    /// More than one PEM block.
    SeveralPem "it has more than one PEM block. Put each key into a file of its own"
    /// Text in UTF-16, or with a byte order mark.
    ByteOrderMark "it begins with a byte order mark. Write it as UTF-8 without one"
    /// A public key without PEM, in bytes.
    Der "it has a public key or a certificate in DER, which is no secret. Convert it: openssl pkey -pubin -inform DER -in OLD \
        -out FILE"
    /// A public key without PEM, in base64.
    BareBase64 "it has a public key without the lines -----BEGIN PUBLIC KEY----- and -----END PUBLIC KEY-----, which is no \
        secret. Put them around it"
    /// A public key as OpenSSH has it.
    Ssh "it has a public key of OpenSSH, which is no secret. Convert it: ssh-keygen -e -m PKCS8 -f OLD"
    /// A file that begins as JSON does, and is none, for this reason.
    Json(why: String) "it begins like JSON, and is no JSON object: {why}. A JWK set is {{\"keys\":[…]}}"
    /// A JSON object that is no JWK set.
    NoSet "it has neither keys, as a JWK set has, nor kty, as a key has. A JWK set is {{\"keys\":[…]}}"
    /// An element of `keys` is no object.
    NoObject "it is no JSON object"
    /// A member of a key is missing or wrong: its name, and what it is to be.
    Member(name: &'static str, is: &'static str) "{name} is {is}"
    /// A key names another algorithm than that of its kind.
    AlgOfKind(alg: String, algorithm: Algorithm) "its alg is {alg}, and a key of its kind is for {algorithm}. Correct alg, or \
        leave it out"
    /// None of the keys in a set is usable here.
    NoneUsable "none of its keys is for HS256, ES256, EdDSA or RS256. Have tokens signed by one of these"
}

impl std::error::Error for KeyFault {}

/// A file of keys that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFileError {
    /// Its path, as it was given.
    pub path: String,
    /// The key in a JWK set that has the fault, by `kid` or by its place, from 1 on.
    pub kid: Option<String>,
    /// What is wrong.
    pub fault: KeyFault,
}

impl fmt::Display for KeyFileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.path)?;
        if let Some(kid) = &self.kid {
            write!(f, "key {}: ", Quoted(kid))?;
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for KeyFileError {}
