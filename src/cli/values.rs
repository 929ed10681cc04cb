//! The values of flags: text to numbers, sizes, times, rules and apps. Each error is the remedy.
//!
//! Which flag has which value is in `cli`.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use bytesize::ByteSize;

use fanfare::config::{AccessKey, Glob, LagPolicy};
use fanfare::pusher::App;

pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "give an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:80 or [::]:80".into())
}

/// A secret that an `Authorization` field can carry.
pub fn parse_key(text: &str) -> Result<AccessKey, String> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the key must have at least one character, all of them visible ASCII without spaces. Give one such as the \
                    output of `openssl rand -hex 32`"
            .into());
    }
    Ok(AccessKey::with_all_rights(AccessKey::DEFAULT_NAME, text))
}

pub fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "give a whole number above 0, or leave the flag out for one per core".into())
}

pub fn parse_size(text: &str) -> Result<u64, String> {
    let size: Result<ByteSize, _> = text.parse();
    size.map(|size| size.as_u64()).map_err(|_| "give a size such as 512, 64KiB or 16MiB".into())
}

pub fn parse_time(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "give a time with its unit, such as 500ms, 30s or 5m".into())
}

pub fn parse_lag_policy(text: &str) -> Result<(Glob, LagPolicy), String> {
    let (glob, policy) = glob_and_value(text);
    let policy = match policy {
        "close" => LagPolicy::Close,
        "skip" => LagPolicy::Skip,
        "latest" => LagPolicy::Latest,
        _ => {
            let remedy = "give close, skip or latest, or a glob before it such as prices*=latest; a comma separates several";
            return Err(remedy.into());
        }
    };
    Ok((glob, policy))
}

pub fn parse_history(text: &str) -> Result<(Glob, usize), String> {
    let (glob, count) = glob_and_value(text);
    let count = count.parse().map_err(|_| {
        "give a number, 0 for none, or a glob before it such as chat*=50; a comma separates several, as in 0,chat*=50"
    })?;
    Ok((glob, count))
}

pub fn parse_history_bytes(text: &str) -> Result<(Glob, u64), String> {
    let (glob, size) = glob_and_value(text);
    Ok((glob, parse_size(size)?))
}

pub fn parse_history_age(text: &str) -> Result<(Glob, Duration), String> {
    let (glob, time) = glob_and_value(text);
    Ok((glob, parse_time(time)?))
}

/// `VALUE` for every channel, or `GLOB=VALUE`. A channel name may contain `=`, so the last one separates.
fn glob_and_value(text: &str) -> (Glob, &str) {
    let (glob, value) = text.rsplit_once('=').unwrap_or(("*", text));
    (Glob::new(glob), value)
}

/// `ID:KEY:SECRET`. What each may be is checked with the rest of the configuration.
pub fn parse_app(text: &str) -> Result<App, String> {
    let mut parts = text.splitn(3, ':');
    let (Some(id), Some(key), Some(secret)) = (parts.next(), parts.next(), parts.next()) else {
        let remedy =
            "give ID:KEY:SECRET, such as 1:my-key:my-secret, with an id of digits; a comma separates several";
        return Err(remedy.into());
    };
    Ok(App::new(id, key, secret))
}
