//! How a connection to Redis begins, and what its first answers and those to INFO say: which kind of server it is, whether it
//! can be used, and which Redis process draws the numbers.
//!
//! What follows from that for other connections is `topology`'s.

use std::fmt;

use bytes::BytesMut;

use super::resp::{Command, Reply};
use crate::server::excerpt::Excerpt;

/// The oldest version that is known to do what is asked: `#!lua`, sharded publish/subscribe.
const MAJOR_MIN: u64 = 7;

/// So much of `master_replid` tells one Redis process's life from another.
const TOKEN_LEN: usize = 16;

/// The first word of a refusal of the user or the password.
const WRONG_PASSWORD: &str = "WRONGPASS";

/// The longest sentence of Redis that is quoted, in bytes.
const QUOTED_LEN_MAX: usize = 200;

/// Who the server is to Redis.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Login {
    /// `default` if only a password is given.
    pub user: Option<Box<str>>,
    pub password: Option<Box<str>>,
}

/// Without the password.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish_non_exhaustive()
    }
}

/// What is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One server, perhaps with replicas.
    Server,
    /// A Sentinel, which knows who the master is.
    Sentinel,
    /// A node of a cluster.
    Cluster,
}

/// A Redis process that draws numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Another with each start and each promotion.
    pub token: Box<str>,
    /// The token of the master that it followed before it was promoted, if it was.
    pub followed: Option<Box<str>>,
}

impl From<&str> for Identity {
    fn from(token: &str) -> Self {
        Self { token: token.into(), followed: None }
    }
}

/// What INFO says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It draws numbers.
    Master(Identity),
    /// It follows another server.
    Replica,
}

/// Why a server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// Not before somebody changes something. The sentence has the remedy.
    ForGood(String),
    /// For now.
    ForNow(String),
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ForGood(sentence) | Self::ForNow(sentence) => f.write_str(sentence),
        }
    }
}

/// Writes HELLO, which begins RESP3 and proves who the server is.
pub fn hello(login: &Login, out: &mut BytesMut) {
    match &login.password {
        None => drop(Command::new(out, 4).word(b"HELLO").word(b"3").word(b"SETNAME").word(b"fanfare")),
        Some(password) => {
            let user = login.user.as_deref().unwrap_or("default");
            let command = Command::new(out, 7).word(b"HELLO").word(b"3").word(b"AUTH").word(user.as_bytes());
            drop(command.word(password.as_bytes()).word(b"SETNAME").word(b"fanfare"));
        }
    }
}

/// Whether HELLO was refused because of the user or the password.
pub fn is_stranger(reply: &Reply) -> bool {
    matches!(reply, Reply::Error(error) if error.starts_with(WRONG_PASSWORD.as_bytes()))
}

/// Reads the answer to HELLO: what is there, and whether it is a master.
///
/// # Errors
/// Why the server cannot be used.
pub fn read_hello(reply: &Reply) -> Result<(Mode, bool), Unfit> {
    if let Reply::Error(error) = reply {
        return Err(refused_hello(error));
    }
    let text = |name: &[u8]| reply.field(name).and_then(Reply::as_text).map(String::from_utf8_lossy);
    let (Some(mode), Some(version)) = (text(b"mode"), text(b"version")) else {
        return Err(Unfit::ForGood("it does not answer HELLO as Redis does. Is it a Redis server?".into()));
    };
    let is_redis = text(b"server").is_none_or(|server| server == "redis");
    let major = version.split('.').next().and_then(|major| major.parse::<u64>().ok());
    if is_redis && major.is_none_or(|major| major < MAJOR_MIN) {
        return Err(Unfit::ForGood(format!(
            "it is Redis {version}, and {MAJOR_MIN}.0 or later is needed. Take a newer one, or Valkey"
        )));
    }
    let mode = match &*mode {
        "standalone" => Mode::Server,
        "sentinel" => Mode::Sentinel,
        "cluster" => Mode::Cluster,
        other => {
            let sentence = format!("it is a Redis in a mode that is not known: {}", quoted(other));
            return Err(Unfit::ForGood(sentence));
        }
    };
    Ok((mode, text(b"role").is_none_or(|role| role == "master")))
}

fn refused_hello(error: &[u8]) -> Unfit {
    let text = String::from_utf8_lossy(error);
    let code = text.split(' ').next().unwrap_or_default();
    match code {
        "NOAUTH" => Unfit::ForGood("it asks for a password. Give it as --redis redis://:PASSWORD@HOST".into()),
        WRONG_PASSWORD => Unfit::ForGood(
            "the user or the password is wrong. Give them as --redis redis://USER:PASSWORD@HOST, percent-encoded".into(),
        ),
        "NOPERM" => Unfit::ForGood(format!("its user may not do what is needed: {}", quoted(&text))),
        "NOPROTO" => Unfit::ForGood("it does not speak RESP3. Redis 7.0 or later, or Valkey, is needed".into()),
        _ if text.starts_with("ERR unknown command") => {
            Unfit::ForGood("it does not know HELLO. Redis 7.0 or later, or Valkey, is needed".into())
        }
        // LOADING, BUSY, MASTERDOWN, too many clients.
        _ => Unfit::ForNow(quoted(&text)),
    }
}

/// Reads the answer to `INFO replication`. Where `trust` is given it is the token of every master, and it may be that INFO is
/// forbidden.
///
/// # Errors
/// Why the server cannot be used.
pub fn read_role(reply: &Reply, trust: Option<&str>) -> Result<Role, Unfit> {
    if let Reply::Error(error) = reply {
        let text = String::from_utf8_lossy(error);
        return match (text.starts_with("NOPERM"), trust) {
            (true, Some(token)) => Ok(Role::Master(token.into())),
            (true, None) => Err(no_token(&quoted(&text))),
            (false, _) => Err(Unfit::ForNow(quoted(&text))),
        };
    }
    let info = reply.as_text().map(String::from_utf8_lossy).unwrap_or_default();
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let id = |name: &str| {
        let id = field(name).filter(|id| id.len() >= TOKEN_LEN && is_word(id));
        id.map(|id| Box::from(&id[..TOKEN_LEN]))
    };
    match (field("role"), trust) {
        (Some("slave"), _) => Ok(Role::Replica),
        (_, Some(token)) => Ok(Role::Master(token.into())),
        (Some(_), None) => match id("master_replid") {
            // Of one that followed nobody it is zeros, which no master has.
            Some(token) => Ok(Role::Master(Identity { token, followed: id("master_replid2") })),
            None => Err(no_token("INFO replication has no master_replid")),
        },
        (None, None) => Err(no_token("INFO replication has no role")),
    }
}

fn no_token(why: &str) -> Unfit {
    Unfit::ForGood(format!(
        "it does not tell which process draws the numbers, without which a failover that lost publications looks like one \
         that did not ({why}). Allow INFO, or accept that with --redis-trust-failover"
    ))
}

/// Reads the answer to another command of the beginning, where only a refusal matters.
///
/// # Errors
/// What Redis said.
pub fn read_done(reply: &Reply, what: &str) -> Result<(), Unfit> {
    let Reply::Error(error) = reply else { return Ok(()) };
    let text = String::from_utf8_lossy(error);
    let sentence = format!("it refuses {what}: {}", quoted(&text));
    match text.split(' ').next().unwrap_or_default() {
        "NOPERM" | "ERR" => Err(Unfit::ForGood(sentence)),
        _ => Err(Unfit::ForNow(sentence)),
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn quoted(text: &str) -> String {
    Excerpt { what: &text, len_max: QUOTED_LEN_MAX }.to_string()
}

#[cfg(test)]
#[path = "greeting_tests.rs"]
mod tests;
