//! Why a configuration is refused, as a sentence that names the flag and the remedy.
//!
//! What is wrong is found by `Config::check`.

use std::fmt;
use std::net::SocketAddr;

use super::access_check::AccessFault;
use super::apps::AppError;
use super::origin::normalise;
use super::redis::RedisFault;
use super::rules::DeadRule;
use super::tls::TlsFault;

/// Values that are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigError {
    /// No address to listen on.
    NoListen,
    /// An address that other machines can reach, by its flag, without a key: everybody could publish.
    Exposed(&'static str, SocketAddr),
    /// A setting of TLS.
    Tls(TlsFault),
    /// A setting of Redis.
    Redis(RedisFault),
    /// An exception from a key that is not set.
    ClientPublishWithoutKey,
    /// A compression level that does not exist.
    DeflateLevel,
    /// A rule that can never apply.
    DeadRule(DeadRule),
    /// An origin that no browser sends, or not in this form.
    Origin(String),
    /// A limit or timeout of zero.
    Zero(&'static str),
    /// A setting of access.
    Access(AccessFault),
    /// A setting of an app.
    App(AppError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoListen => f.write_str("--listen: give at least one address, such as 127.0.0.1:8080"),
            Self::Tls(fault) => fault.fmt(f),
            Self::Redis(fault) => fault.fmt(f),
            Self::Exposed(flag, address) => write!(
                f,
                "{flag} {address}: other machines can reach this address, and without a key everybody could publish. \
                 Add --publish-key KEY, or --token-key FILE or --auth-url URL if your users have tokens or sessions (or \
                 --insecure if that is what you want)"
            ),
            Self::ClientPublishWithoutKey => f.write_str(
                "--client-publish: without a key every client may publish already. Add --publish-key KEY, or leave \
                 --client-publish out",
            ),
            Self::DeflateLevel => {
                f.write_str("--deflate-level: give 1 (least work) to 9 (smallest), or 0 for no compression")
            }
            Self::DeadRule(dead) => dead.fmt(f),
            Self::Origin(given) => match normalise(given) {
                Ok(sent) => write!(f, "--allow-origin: browsers send {given} as {sent}; give that"),
                Err(no_origin) => write!(f, "--allow-origin {given:?}: {no_origin}"),
            },
            Self::Zero(flag) => write!(f, "{flag}: 0 would refuse every client. Give a value above 0"),
            Self::Access(fault) => fault.fmt(f),
            Self::App(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for ConfigError {}
