//! The values of flags: text to numbers, sizes, times, keys, rules and apps. Each error is the remedy, and quotes no secret.
//!
//! Which flag has which value is in `cli`.

use std::net::{IpAddr, SocketAddr};
use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;

use fanfare::config::{AccessKey, AuthRule, Glob, LagPolicy, PresenceRule, Rate};
use fanfare::pusher::App;
use fanfare::token;

/// What follows an address whose connections begin with a PROXY header.
const PROXY: &str = "proxy";

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    pub address: SocketAddr,
    /// Whether connections begin with a PROXY header.
    pub is_proxied: bool,
}

/// The addresses of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<Listen>);

/// `ADDR`, `ADDR,proxy`, or several of them between commas.
pub fn parse_listen(text: &str) -> Result<Addresses, String> {
    let mut all: Vec<Listen> = Vec::new();
    for part in text.split(',') {
        match all.last_mut() {
            Some(last) if part == PROXY && !last.is_proxied => last.is_proxied = true,
            _ => all.push(Listen { address: parse_address(part)?, is_proxied: false }),
        }
    }
    Ok(Addresses(all))
}

pub fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "give an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:80 or [::]:80".into())
}

/// `SECRET`, or `NAME=SECRET` where what precedes the first `=` is a name.
pub fn parse_key(text: &str) -> Result<AccessKey, String> {
    let named = text.split_once('=').filter(|(name, _)| AccessKey::is_name(name));
    let Some((name, secret)) = named else {
        check_secret(text)?;
        return Ok(AccessKey::with_all_rights(AccessKey::DEFAULT_NAME, text));
    };
    // The end of a secret in base64.
    if secret.bytes().all(|byte| byte == b'=') {
        return Err("what precedes the first = is taken for a name, and no secret follows. Give NAME=SECRET; a secret that \
                    looks like that is given as default=SECRET"
            .into());
    }
    check_secret(secret)?;
    Ok(AccessKey::with_all_rights(name, secret))
}

/// Whether an `Authorization` field can carry the secret, as one of a key.
pub fn check_secret(secret: &str) -> Result<(), String> {
    if secret.is_empty() || !secret.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("the key must have at least one character, all of them visible ASCII without spaces. Give one such as the \
                    output of `openssl rand -hex 32`"
            .into());
    }
    match token::is_token(secret) {
        true => Err("the key looks like a token (it begins with eyJ and has two dots), and would be read as one. Give another \
                     one, such as the output of `openssl rand -hex 32`"
            .into()),
        false => Ok(()),
    }
}

/// The name of a key.
pub fn parse_name(text: &str) -> Result<String, String> {
    match AccessKey::is_name(text) {
        true => Ok(text.to_owned()),
        false => Err("a key's name is 1 to 32 of a-z 0-9 _ -, such as billing".into()),
    }
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

pub fn parse_auth(text: &str) -> Result<(Glob, AuthRule), String> {
    let (glob, rule) = glob_and_value(text);
    let rule = match rule {
        "open" => AuthRule::Open,
        "token" => AuthRule::Token,
        "hook" => AuthRule::Hook,
        "key" => AuthRule::Key,
        _ => {
            let remedy = "give open, token, hook or key, or a glob before it such as news-*=open; a comma separates several";
            return Err(remedy.into());
        }
    };
    Ok((glob, rule))
}

pub fn parse_presence(text: &str) -> Result<(Glob, PresenceRule), String> {
    let (glob, what) = glob_and_value(text);
    let what = match what {
        "members" => PresenceRule::Members,
        "count" => PresenceRule::Count,
        _ => {
            let remedy = "give members or count, or a glob before it such as chat-*=members; a comma separates several";
            return Err(remedy.into());
        }
    };
    Ok((glob, what))
}

/// A network in CIDR form, or one address.
pub fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| {
        "give the network of your proxies, such as 10.0.0.0/8, 192.0.2.7 or fd00::/8; a comma separates several".into()
    })
}

pub fn parse_rate(text: &str) -> Result<Rate, String> {
    rate_of(text).ok_or_else(|| "give a whole number above 0 in a time, such as 50/s or 600/m".into())
}

/// A rate, or none: `none`, or 0 in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateOrNone(pub Option<Rate>);

pub fn parse_rate_or_none(text: &str) -> Result<RateOrNone, String> {
    let is_none = text == "none"
        || text.split_once('/').is_some_and(|(count, per)| count == "0" && unit(per).is_some());
    match rate_of(text) {
        Some(rate) => Ok(RateOrNone(Some(rate))),
        None if is_none => Ok(RateOrNone(None)),
        None => Err("give a whole number in a time, such as 100/s or 600/m, or none for no limit".into()),
    }
}

fn rate_of(text: &str) -> Option<Rate> {
    let (count, per) = text.split_once('/')?;
    let is_number = count.bytes().all(|byte| byte.is_ascii_digit());
    let count = count.parse::<NonZeroU32>().ok().filter(|_| is_number)?;
    Some(Rate { count, per: unit(per)? })
}

/// A second, a minute or an hour, or so many of them: `s`, `10s`.
fn unit(text: &str) -> Option<Duration> {
    let seconds = match text {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        text => return humantime::parse_duration(text).ok().filter(|time| !time.is_zero()),
    };
    Some(Duration::from_secs(seconds))
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
