//! Which settings of access are refused: keys, rules, tokens, the backend, presence, proxies. Each with the remedy.
//!
//! Each function checks the values that it is handed; `access_checked` calls them.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

use super::access::{AccessKey, AuthRule, Backend};
use super::rules::{DeadRule, Glob, find_own, find_unfit, has_one_for_all};
use super::url::{is_url, lacks_tls};

/// The shortest secret of the backend, in bytes: 128 bits, if they are random.
const SECRET_LEN_MIN: usize = 16;

/// What may let a client in.
#[derive(Clone, Copy, Debug)]
pub struct Proofs {
    pub has_keys: bool,
    pub has_token_keys: bool,
    pub has_backend: bool,
}

/// Keys, alone and together.
pub fn check_keys(keys: &[AccessKey]) -> Result<(), AccessFault> {
    let mut digests: HashMap<[u8; 32], &str> = HashMap::new();
    let mut names: HashMap<&str, ()> = HashMap::new();
    for key in keys {
        let name = || key.name.clone();
        if !AccessKey::is_name(&key.name) {
            return Err(AccessFault::KeyName(name()));
        }
        if names.insert(&key.name, ()).is_some() {
            return Err(AccessFault::SameName(name()));
        }
        if let Some(other) = digests.insert(key.digest.0, &key.name) {
            return Err(AccessFault::SameSecret(other.to_owned(), name()));
        }
        if key.publish.is_empty() && key.read.is_empty() && !key.admin {
            return Err(AccessFault::NoRight(name()));
        }
        let dead = find_unfit("publish", &key.publish)
            .or_else(|| find_unfit("read", &key.read))
            .or_else(|| find_own("publish", &key.publish))
            .or_else(|| find_own("read", &key.read));
        if let Some(dead) = dead {
            return Err(AccessFault::KeyGlob(name(), dead));
        }
    }
    Ok(())
}

/// The rules of who may subscribe, with what may let clients in.
pub fn check_rules(auth: &[(Glob, AuthRule)], proofs: Proofs) -> Result<(), AccessFault> {
    let lacking = |rule: AuthRule| match rule {
        AuthRule::Open => false,
        AuthRule::Token => !proofs.has_token_keys,
        // A program may be there to be asked.
        AuthRule::Hook => false,
        AuthRule::Key => !proofs.has_keys,
    };
    if let Some((glob, rule)) = auth.iter().find(|(_, rule)| lacking(*rule)) {
        return Err(AccessFault::Lacking(glob.to_string(), *rule));
    }
    match proofs.has_backend && !is_asked(auth, proofs) {
        true => Err(AccessFault::BackendUnasked),
        false => Ok(()),
    }
}

/// The rules, with whom there is to be asked.
pub fn check_judge(
    auth: &[(Glob, AuthRule)],
    proofs: Proofs,
    program_decides: bool,
) -> Result<(), AccessFault> {
    let first = auth.iter().find(|(_, rule)| *rule == AuthRule::Hook);
    match first {
        Some((glob, rule)) if !proofs.has_backend && !program_decides => {
            Err(AccessFault::Lacking(glob.to_string(), *rule))
        }
        _ if program_decides && !is_asked(auth, proofs) => Err(AccessFault::ProgramUnasked),
        _ => Ok(()),
    }
}

/// Whether a backend, or a program in its place, is asked about any channel.
fn is_asked(auth: &[(Glob, AuthRule)], proofs: Proofs) -> bool {
    let is_by_default = !proofs.has_token_keys && !has_one_for_all(auth);
    is_by_default || auth.iter().any(|(_, rule)| *rule == AuthRule::Hook)
}

/// How tokens are carried and what they need.
pub fn check_tokens(
    has_token_keys: bool,
    audience: Option<&str>,
    cookie: Option<&str>,
    in_query: bool,
    origins: &[String],
) -> Result<(), AccessFault> {
    let given = [
        ("--token-audience", audience.is_some()),
        ("--token-cookie", cookie.is_some()),
        ("--token-in-query", in_query),
    ];
    if let Some((flag, _)) = given.into_iter().find(|(_, is_given)| *is_given && !has_token_keys) {
        return Err(AccessFault::NoTokenKey(flag));
    }
    if audience == Some("") {
        return Err(AccessFault::EmptyAudience);
    }
    let Some(cookie) = cookie else { return Ok(()) };
    if !is_cookie_name(cookie) {
        return Err(AccessFault::CookieName);
    }
    match origins.iter().find(|origin| matches!(origin.as_str(), "*" | "null")) {
        Some(origin) => Err(AccessFault::CookieOrigin(Some(origin.clone()))),
        None if origins.is_empty() => Err(AccessFault::CookieOrigin(None)),
        None => Ok(()),
    }
}

/// A token of RFC 9110 §5.6.2, as RFC 6265 §4.1.1 has it for the names of cookies.
fn is_cookie_name(name: &str) -> bool {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(is_token)
}

/// The backend.
pub fn check_backend(backend: &Backend) -> Result<(), AccessFault> {
    if lacks_tls(&backend.url) {
        return Err(AccessFault::BackendTls);
    }
    if !is_url(&backend.url) {
        return Err(AccessFault::BackendUrl);
    }
    match backend.secret.as_ref().map(String::len) {
        Some(len) if len < SECRET_LEN_MIN => Err(AccessFault::BackendSecret(len)),
        _ if backend.timeout.is_zero() => Err(AccessFault::BackendTimeout),
        _ => Ok(()),
    }
}

/// The URL of keys.
pub fn check_key_url(url: &str) -> Result<(), AccessFault> {
    if lacks_tls(url) {
        return Err(AccessFault::KeyUrlTls);
    }
    match is_url(url) {
        true => Ok(()),
        false => Err(AccessFault::KeyUrl),
    }
}

/// How many members may be told, of `most` that are possible.
pub fn check_presence_members(len: usize, most: usize) -> Result<(), AccessFault> {
    match (1..=most).contains(&len) {
        true => Ok(()),
        false => Err(AccessFault::PresenceMembers { most }),
    }
}

/// The addresses at which connections begin with a PROXY header.
pub fn check_proxied(
    proxied: &[SocketAddr],
    listen: &[SocketAddr],
    has_trusted: bool,
) -> Result<(), AccessFault> {
    let Some(&first) = proxied.first() else { return Ok(()) };
    if !has_trusted {
        return Err(AccessFault::NobodyTrusted(first));
    }
    let count = |all: &[SocketAddr], address| all.iter().filter(|other| **other == address).count();
    if let Some(&address) = proxied.iter().find(|&&address| count(listen, address) == 0) {
        return Err(AccessFault::NotListened(address));
    }
    match proxied.iter().find(|&&address| count(listen, address) > count(proxied, address)) {
        Some(&address) => Err(AccessFault::ProxiedTwice(address)),
        None => Ok(()),
    }
}

/// A setting of access that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessFault {
    /// A name that no key can have.
    KeyName(String),
    /// Two keys of this name.
    SameName(String),
    /// Two keys, by their names, have one secret.
    SameSecret(String, String),
    /// The key of this name may do nothing.
    NoRight(String),
    /// A glob of the key of this name can never apply.
    KeyGlob(String, DeadRule),
    /// A rule, by its glob, that nobody can meet.
    Lacking(String, AuthRule),
    /// There is a backend, and no rule that asks it.
    BackendUnasked,
    /// The program decides, and no rule asks it.
    ProgramUnasked,
    /// A flag of tokens, without a key for them.
    NoTokenKey(&'static str),
    /// An audience without a character.
    EmptyAudience,
    /// A name that no cookie can have.
    CookieName,
    /// Any page could use the cookie: of no listed origin, or by this entry of the list.
    CookieOrigin(Option<String>),
    /// A backend over TLS.
    BackendTls,
    /// A URL that cannot be posted to.
    BackendUrl,
    /// A URL of keys that needs TLS, in a program that was built without.
    KeyUrlTls,
    /// A URL of keys that cannot be called.
    KeyUrl,
    /// A secret of the backend, of so many bytes, that can be guessed.
    BackendSecret(usize),
    /// No time for the backend.
    BackendTimeout,
    /// No list of members, or too long a one.
    PresenceMembers {
        /// The longest possible.
        most: usize,
    },
    /// PROXY headers at this address, and nobody whose headers are believed.
    NobodyTrusted(SocketAddr),
    /// PROXY headers at this address, which is not listened on.
    NotListened(SocketAddr),
    /// An address with and without PROXY headers.
    ProxiedTwice(SocketAddr),
    /// A file for publications by key, and no key.
    AuditWithoutKey,
}

impl fmt::Display for AccessFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeyName(name) => write!(
                f,
                "--publish-key or [[key]] {name:?}: a name is 1 to {} of a-z 0-9 _ -, such as billing",
                AccessKey::NAME_LEN_MAX
            ),
            Self::SameName(name) => write!(
                f,
                "--publish-key or [[key]] {name:?}: two keys have this name. Give each a name of its own, as in \
                 --publish-key billing=SECRET"
            ),
            Self::SameSecret(one, other) => write!(
                f,
                "--publish-key or [[key]] {other:?}: key {one:?} has the same secret. Give each a secret of its own"
            ),
            Self::NoRight(name) => write!(
                f,
                "[[key]] {name:?}: it has no right. Give it publish = [\"*\"], read = [\"*\"] or admin = true"
            ),
            Self::KeyGlob(name, dead) => write!(f, "[[key]] {name:?}: {dead}"),
            Self::Lacking(glob, rule) => f.write_str(&lacking(glob, *rule)),
            Self::NoTokenKey(flag) => {
                write!(f, "{flag}: without a key no token is good. Add --token-key FILE, or leave {flag} out")
            }
            Self::CookieOrigin(entry) => cookie_origin(entry.as_deref(), f),
            Self::BackendSecret(len) => write!(
                f,
                "--auth-secret: it has {len} bytes, at least {SECRET_LEN_MIN} are needed. Give one such as the output of \
                 `openssl rand -hex 32`"
            ),
            Self::PresenceMembers { most } => {
                write!(f, "--presence-members: give 1 to {most}, or --presence 'GLOB=count' to tell no names")
            }
            Self::NobodyTrusted(address) => write!(f, "--listen {address}{NOBODY_TRUSTED}"),
            Self::NotListened(address) => write!(f, "--listen {address}{NOT_LISTENED}"),
            Self::ProxiedTwice(address) => write!(f, "--listen {address}{PROXIED_TWICE}"),
            Self::EmptyAudience => {
                f.write_str("--token-audience: give what tokens have as aud, such as fanfare")
            }
            Self::CookieName => f.write_str(COOKIE_NAME),
            Self::BackendUnasked => f.write_str(BACKEND_UNASKED),
            Self::ProgramUnasked => f.write_str(PROGRAM_UNASKED),
            Self::BackendTls => f.write_str(BACKEND_TLS),
            Self::BackendUrl => f.write_str(BACKEND_URL),
            Self::KeyUrlTls => f.write_str(KEY_URL_TLS),
            Self::KeyUrl => f.write_str(KEY_URL),
            Self::BackendTimeout => {
                f.write_str("--auth-timeout: 0 would let nobody in. Give a value above 0, such as 2s")
            }
            Self::AuditWithoutKey => f.write_str(AUDIT_WITHOUT_KEY),
        }
    }
}

const NOBODY_TRUSTED: &str =
    ",proxy: no proxy is believed. Add --trust-proxy with the network of yours, such as 10.0.0.0/8";
const NOT_LISTENED: &str = ",proxy: the server does not listen on this address. Give those of the sockets that the supervisor has passed";
const PROXIED_TWICE: &str =
    ": it is given with and without ,proxy, and an address has one of them. Give another port";
const COOKIE_NAME: &str =
    "--token-cookie: give the name of a cookie, such as token: letters, digits and !#$%&'*+-.^_`|~";
const BACKEND_UNASKED: &str = "--auth-url: no rule asks the backend. Add --auth 'GLOB=hook' for the channels that it decides, or leave it out";
const PROGRAM_UNASKED: &str = "authorize: no rule asks the program. Give Config::auth (GLOB, AuthRule::Hook) for the channels that it decides, \
                               or leave authorize out";
const BACKEND_TLS: &str = "--auth-url: this program was built without TLS. Build it with the cargo feature `tls`, which is on by \
                           default, or give an http:// URL";
const BACKEND_URL: &str = "--auth-url: give a URL such as http://127.0.0.1:9000/fanfare/auth: a host, perhaps a port and a \
                           path, without a user and a fragment";
const KEY_URL_TLS: &str = "--token-jwks: this program was built without TLS. Build it with the cargo feature `tls`, which is on by \
                           default, or give an http:// URL of this machine";
const KEY_URL: &str = "--token-jwks: give a URL such as https://login.example.com/.well-known/jwks.json: a host, perhaps a port \
                       and a path, without a user and a fragment";
const AUDIT_WITHOUT_KEY: &str = "--audit: publications by key are written, and there is no key. Add --publish-key KEY or \
                                 --publish-keys FILE, or leave it out";

fn lacking(glob: &str, rule: AuthRule) -> String {
    let (name, why, remedy) = match rule {
        AuthRule::Open => ("open", "everybody meets it", "Leave it"),
        AuthRule::Token => ("token", "without a key no token is good", "Add --token-key FILE"),
        AuthRule::Hook => ("hook", "there is no backend to ask", "Add --auth-url URL"),
        AuthRule::Key => ("key", "there is no key", "Add --publish-key KEY or --publish-keys FILE"),
    };
    format!("--auth {glob}={name}: nobody could subscribe, since {why}. {remedy}, or give another rule")
}

fn cookie_origin(entry: Option<&str>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    match entry {
        Some(entry) => write!(
            f,
            "--token-cookie: browsers send cookies along with requests of any page, and --allow-origin {entry} lets any \
             page in. Name the origins of your pages instead, such as https://example.com"
        ),
        None => f.write_str(
            "--token-cookie: browsers send cookies along with requests of any page. Add --allow-origin with the origins of \
             your pages, such as https://example.com",
        ),
    }
}

#[cfg(test)]
#[path = "access_check_tests.rs"]
mod tests;
