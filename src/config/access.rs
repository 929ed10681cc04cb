//! Who may do what, as it is configured: rules by channel, keys with names and rights, what is asked of the backend, and the
//! limits of an address, a user and a connection.
//!
//! What a request proves, and what follows from it, is decided by `server::access`.

use std::fmt;
use std::num::NonZeroU32;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, SHA256_OUTPUT_LEN, digest};

use super::Glob;

/// How a client comes to be let in to a channel without a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthRule {
    /// Everybody is.
    Open,
    /// By a signed token that names the channel.
    Token,
    /// By the backend at [`Backend::url`], or by the program that has the server inside.
    Hook,
    /// Not at all: the channel is for holders of a key.
    Key,
}

/// The SHA-256 of a key's secret. It is not the secret, and opens nothing.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest(pub [u8; SHA256_OUTPUT_LEN]);

/// A key with a name and rights.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessKey {
    /// What logs, metrics and the audit call it: 1 to 32 of `a-z 0-9 _ -`.
    pub name: String,
    /// Of its secret.
    pub digest: SecretDigest,
    /// The channels that its holder may publish to.
    pub publish: Vec<Glob>,
    /// The channels that its holder may subscribe to, whatever their rule.
    pub read: Vec<Glob>,
    /// Whether its holder may list and inspect channels, revoke tokens, and read metrics and the dashboard.
    pub admin: bool,
    /// From when on it is refused, in seconds since 1970.
    pub not_after_s: Option<u64>,
}

impl SecretDigest {
    /// That of a secret.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        let digest = digest(&SHA256, secret.as_bytes());
        Self(digest.as_ref().try_into().expect("a digest of SHA-256 has 32 bytes"))
    }

    /// Compares in constant time.
    #[must_use]
    pub fn fits(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}

impl AccessKey {
    /// The name of a key that was given without one.
    pub const DEFAULT_NAME: &str = "default";

    /// The longest name, in bytes. It is a label of metrics and a word of log lines.
    pub const NAME_LEN_MAX: usize = 32;

    /// Whether a text can be the name of a key: 1 to 32 of `a-z 0-9 _ -`.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        let is_of_names =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        (1..=Self::NAME_LEN_MAX).contains(&text.len()) && text.bytes().all(is_of_names)
    }

    /// A key with all rights.
    #[must_use]
    pub fn with_all_rights(name: &str, secret: &str) -> Self {
        let all = vec![Glob::new("*")];
        Self {
            name: name.to_owned(),
            digest: SecretDigest::of(secret),
            publish: all.clone(),
            read: all,
            admin: true,
            not_after_s: None,
        }
    }
}

/// The backend that is asked where the rule is [`AuthRule::Hook`].
#[derive(Clone, PartialEq)]
pub struct Backend {
    /// Where it is asked, by POST: `http://…`.
    pub url: String,
    /// The secret of the signature of each call. `None`: calls are not signed.
    pub secret: Option<String>,
    /// How long an answer may take. 2 s: a client waits meanwhile.
    pub timeout: Duration,
    /// How long who is in stays past the time that the answer gave, while the backend fails.
    pub grace: Duration,
}

impl Backend {
    /// How long who is in stays by default while the backend fails, and how long while a program in its place does.
    pub const GRACE: Duration = Duration::from_secs(300);

    /// A backend with the default times.
    #[must_use]
    pub fn new(url: &str) -> Self {
        Self { url: url.to_owned(), secret: None, timeout: Duration::from_secs(2), grace: Self::GRACE }
    }
}

impl fmt::Debug for Backend {
    /// Shows neither the URL, which may have a password, nor the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("timeout", &self.timeout)
            .field("grace", &self.grace)
            .finish_non_exhaustive()
    }
}

/// A number of something in a time: `50/s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In this time.
    pub per: Duration,
}

/// What is told of those who are in a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PresenceRule {
    /// Who they are, and how many.
    Members,
    /// How many they are.
    Count,
}
