//! Redis, by which several servers share their channels, as it is configured: where it is, what its keys begin with, how long it
//! is waited for.
//!
//! Nothing is connected or resolved here. No password is shown by anything in here.

use std::fmt::{self, Write};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::host::Host;

/// The port of Redis.
const PORT: u16 = 6379;

/// Longer ones take as much memory in Redis as channels have names: each key has the prefix.
const PREFIX_LEN_MAX: usize = 64;

/// What `sockaddr_un` has room for on Linux, but for the 0 at its end.
const PATH_LEN_MAX: usize = 107;

/// Redis, and how it is used.
///
/// ```
/// use fanfare::config::{Config, Redis};
///
/// let seed = "redis://:secret@127.0.0.1:6379/2".parse()?;
/// let config = Config { redis: Some(Redis::new(seed)), ..Config::default() };
/// assert_eq!(config.check(), Ok(()));
/// assert!(!format!("{config:?}").contains("secret"));
/// # Ok::<(), fanfare::config::NoRedisAddress>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    /// Servers that are asked what there is: one server; some or all of a cluster; or sentinels. With several, all have the same
    /// scheme, user, password, database and name of a master.
    pub seeds: Vec<RedisAddress>,
    /// What each key and channel in Redis begins with: 1 to 64 visible ASCII characters, no braces. Two installations on one Redis
    /// take two.
    pub prefix: String,
    /// How long connecting, and one answer, may take, and how long a publisher or a new subscriber is held while Redis is away.
    pub timeout: Duration,
    /// Whether a promoted replica or a restarted server is believed to have everything. If it has not, subscribers are not always
    /// told. Without it, each failover and restart is a gap for all subscribers.
    pub trust_failover: bool,
}

impl Redis {
    /// The prefix of an installation that has a Redis for itself.
    pub const PREFIX: &str = "fanfare";

    /// How long is waited by default. 5 s are longer than a failover by Sentinel with `down-after-milliseconds 3000` takes to
    /// begin, and shorter than people wait.
    pub const TIMEOUT: Duration = Duration::from_secs(5);

    /// One server, sentinel or node of a cluster, with the default prefix and times.
    #[must_use]
    pub fn new(seed: RedisAddress) -> Self {
        Self {
            seeds: vec![seed],
            prefix: Self::PREFIX.to_owned(),
            timeout: Self::TIMEOUT,
            trust_failover: false,
        }
    }

    /// Checks the values, alone and together.
    pub(super) fn check(&self) -> Result<(), RedisFault> {
        let Some((first, others)) = self.seeds.split_first() else { return Err(RedisFault::NoSeed) };
        if let Some(fault) = self.seeds.iter().find_map(|seed| seed.fault()) {
            return Err(RedisFault::Address(fault));
        }
        let lacks_tls = |seed: &RedisAddress| seed.server.scheme() == TLS_SCHEME && !cfg!(feature = "tls");
        if self.seeds.iter().any(lacks_tls) {
            return Err(RedisFault::NotBuilt);
        }
        let differ = |is_same: fn(&RedisAddress, &RedisAddress) -> bool| {
            others.iter().any(|other| !is_same(first, other))
        };
        if differ(|a, b| a.server.scheme() == b.server.scheme()) {
            return Err(RedisFault::Schemes);
        }
        if !others.is_empty() && matches!(first.server, RedisServer::Unix(_)) {
            return Err(RedisFault::Sockets);
        }
        if differ(|a, b| (&a.user, &a.password) == (&b.user, &b.password)) {
            return Err(RedisFault::Passwords);
        }
        if differ(|a, b| a.master == b.master) {
            return Err(RedisFault::Masters);
        }
        if differ(|a, b| a.database == b.database) {
            return Err(RedisFault::Databases);
        }
        if !others.is_empty() && first.database != 0 && first.master.is_none() {
            return Err(RedisFault::Database);
        }
        let is_fit = |byte: u8| byte.is_ascii_graphic() && !b"{}".contains(&byte);
        if !(1..=PREFIX_LEN_MAX).contains(&self.prefix.len()) || !self.prefix.bytes().all(is_fit) {
            return Err(RedisFault::Prefix);
        }
        if self.timeout.is_zero() { Err(RedisFault::Timeout) } else { Ok(()) }
    }
}

/// One server of Redis, and how it is talked to. As text:
///
/// ```text
/// redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE][?master=NAME]       rediss:// is the same by TLS
/// unix:[//[USER]:PASSWORD@]/PATH[?db=DATABASE]
/// ```
///
/// In user, password, path and name, `%` and two hexadecimal digits stand for a byte.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisAddress {
    /// Where it is.
    pub server: RedisServer,
    /// The user. `None`: the default user, or none.
    pub user: Option<String>,
    /// The password. `None`: nobody is signed in.
    pub password: Option<String>,
    /// The number of the database. A cluster has only 0.
    pub database: u32,
    /// If it is a sentinel: the name of the master, as sentinels may watch several.
    pub master: Option<String>,
}

/// Where a server of Redis is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisServer {
    /// At a TCP port.
    Tcp {
        /// A name or an address, an IPv6 one without brackets.
        host: String,
        /// Its port, not 0.
        port: u16,
        /// Whether it speaks TLS.
        tls: bool,
    },
    /// At a Unix socket with this path, from `/`.
    Unix(PathBuf),
}

const PLAIN_SCHEME: &str = "redis://";
const TLS_SCHEME: &str = "rediss://";
const UNIX_SCHEME: &str = "unix:";

impl RedisServer {
    fn scheme(&self) -> &'static str {
        match self {
            Self::Tcp { tls: false, .. } => PLAIN_SCHEME,
            Self::Tcp { tls: true, .. } => TLS_SCHEME,
            Self::Unix(_) => UNIX_SCHEME,
        }
    }
}

impl RedisAddress {
    /// This server without a user, a password and the name of a master, and its database 0.
    #[must_use]
    pub fn new(server: RedisServer) -> Self {
        Self { server, user: None, password: None, database: 0, master: None }
    }

    fn fault(&self) -> Option<NoRedisAddress> {
        let server = match &self.server {
            RedisServer::Tcp { host, port, tls: _ } => {
                let is_host = host.parse::<Host>().is_ok() && !host.contains(['[', ']']);
                (!is_host).then_some(NoRedisAddress::Host).or((*port == 0).then_some(NoRedisAddress::Port))
            }
            RedisServer::Unix(path) => {
                let is_path = path.is_absolute() && path.as_os_str().len() <= PATH_LEN_MAX;
                (!is_path).then_some(NoRedisAddress::Path)
            }
        };
        let is_name = |name: &String| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
        let is_master = self.master.as_ref().is_none_or(is_name);
        let is_nobody = match (&self.user, &self.password) {
            (None, None) => false,
            (None, Some(password)) => password.is_empty(),
            (Some(user), Some(_)) => user.is_empty(),
            (Some(_), None) => true,
        };
        server
            .or(is_nobody.then_some(NoRedisAddress::Password))
            .or((!is_master).then_some(NoRedisAddress::Master))
    }
}

impl fmt::Display for RedisAddress {
    /// The URL without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.server.scheme())?;
        let mut separator = '?';
        match &self.server {
            RedisServer::Tcp { host, port, tls: _ } => {
                if host.contains(':') {
                    write!(f, "[{host}]:{port}")?;
                } else {
                    write!(f, "{host}:{port}")?;
                }
                if self.database != 0 {
                    write!(f, "/{}", self.database)?;
                }
            }
            RedisServer::Unix(path) => {
                path.display().fmt(f)?;
                if self.database != 0 {
                    write!(f, "?db={}", self.database)?;
                    separator = '&';
                }
            }
        }
        match &self.master {
            Some(master) => {
                f.write_char(separator)?;
                write!(f, "master={master}")
            }
            None => Ok(()),
        }
    }
}

impl fmt::Debug for RedisAddress {
    /// As by `Display`: neither the user nor the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisAddress({self})")
    }
}

impl FromStr for RedisAddress {
    type Err = NoRedisAddress;

    fn from_str(text: &str) -> Result<Self, NoRedisAddress> {
        if text.contains('#') {
            return Err(NoRedisAddress::Fragment);
        }
        let (before_query, query) = text.split_once('?').unwrap_or((text, ""));
        let mut address = if let Some(rest) = before_query.strip_prefix(UNIX_SCHEME) {
            of_unix(rest)?
        } else if let Some(rest) = before_query.strip_prefix(PLAIN_SCHEME) {
            of_tcp(rest, false)?
        } else if let Some(rest) = before_query.strip_prefix(TLS_SCHEME) {
            of_tcp(rest, true)?
        } else {
            return Err(NoRedisAddress::Scheme);
        };
        address.take_query(query)?;
        address.fault().map_or(Ok(address), Err)
    }
}

/// `[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]`
fn of_tcp(text: &str, tls: bool) -> Result<RedisAddress, NoRedisAddress> {
    let (authority, database) = text.split_once('/').unwrap_or((text, ""));
    let (identity, place) = identity_of(authority);
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => rest.split_once(']').ok_or(NoRedisAddress::Host)?,
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let port = match port.strip_prefix(':') {
        Some(digits) => number(digits).ok_or(NoRedisAddress::Port)?,
        None if port.is_empty() => PORT,
        None => return Err(NoRedisAddress::Host),
    };
    // Brackets are for IPv6 addresses alone, which stand in nothing else.
    if place.starts_with('[') && !host.contains(':') {
        return Err(NoRedisAddress::Host);
    }
    let (user, password) = user_and_password(identity)?;
    let database = match database {
        "" => 0,
        digits => number(digits).ok_or(NoRedisAddress::Database)?,
    };
    let server = RedisServer::Tcp { host: host.to_owned(), port, tls };
    Ok(RedisAddress { server, user, password, database, master: None })
}

/// `[//[USER]:PASSWORD@]/PATH`, `///PATH`
fn of_unix(text: &str) -> Result<RedisAddress, NoRedisAddress> {
    let (authority, path) = match text.strip_prefix("//") {
        Some(rest) => rest.split_at(rest.find('/').ok_or(NoRedisAddress::Path)?),
        None => ("", text),
    };
    let (identity, place) = identity_of(authority);
    if !place.is_empty() {
        return Err(NoRedisAddress::Path);
    }
    let (user, password) = user_and_password(identity)?;
    let server = RedisServer::Unix(decoded(path)?.into());
    Ok(RedisAddress { user, password, ..RedisAddress::new(server) })
}

/// What precedes the last `@`, if there is one, and what follows.
fn identity_of(authority: &str) -> (Option<&str>, &str) {
    match authority.rsplit_once('@') {
        Some((identity, place)) => (Some(identity), place),
        None => (None, authority),
    }
}

fn user_and_password(identity: Option<&str>) -> Result<(Option<String>, Option<String>), NoRedisAddress> {
    let Some(identity) = identity else { return Ok((None, None)) };
    let (user, password) = identity.split_once(':').ok_or(NoRedisAddress::Password)?;
    let user = decoded(user)?;
    Ok(((!user.is_empty()).then_some(user), Some(decoded(password)?)))
}

impl RedisAddress {
    fn take_query(&mut self, query: &str) -> Result<(), NoRedisAddress> {
        let mut has_database = false;
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            match parameter.split_once('=') {
                Some(("master", name)) if self.master.is_none() => self.master = Some(decoded(name)?),
                Some(("db", digits)) if self.server.scheme() == UNIX_SCHEME && !has_database => {
                    self.database = number(digits).ok_or(NoRedisAddress::Database)?;
                    has_database = true;
                }
                _ => return Err(NoRedisAddress::Query),
            }
        }
        Ok(())
    }
}

fn number<T: FromStr>(digits: &str) -> Option<T> {
    let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_number)
}

/// The text with `%` and two hexadecimal digits as bytes. A `%` without them is a fault: it would change a password in silence.
fn decoded(text: &str) -> Result<String, NoRedisAddress> {
    let is_code = |part: &str| part.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2;
    if !text.split('%').skip(1).all(is_code) {
        return Err(NoRedisAddress::Percent);
    }
    percent_decode_str(text).decode_utf8().map(Into::into).map_err(|_| NoRedisAddress::Percent)
}

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident $sentence:literal)*) => {
        /// Why a text or a value is no address of Redis. `Display` is the remedy, and quotes nothing of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum NoRedisAddress {
            $($(#[$doc])* $name,)*
        }

        impl fmt::Display for NoRedisAddress {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $sentence,)*
                })
            }
        }
    };
}

faults! {
    /// It begins otherwise.
    Scheme "give a URL such as redis://127.0.0.1:6379, rediss://redis.example.com or unix:/run/redis.sock; a comma separates several, and in a password it is %2C"
    /// A host that is none.
    Host "give a host name or an address, an IPv6 one in brackets, such as redis://[::1]:6379; in a password, / is %2F, ? is %3F and @ is %40"
    /// A port that is none.
    Port "give a port from 1 to 65535, or none for 6379; in a password, / is %2F and ? is %3F"
    /// A socket whose path is relative or too long, or one at another host.
    Path "give the path of a socket on this machine from /, at most 107 bytes, such as unix:/run/redis.sock or unix://:PASSWORD@/run/redis.sock"
    /// A user without a password, or neither.
    Password "give USER:PASSWORD or :PASSWORD before the @, such as redis://:PASSWORD@127.0.0.1:6379"
    /// A database that is no number.
    Database "give the number of a database, such as redis://127.0.0.1:6379/2 or unix:/run/redis.sock?db=2"
    /// An empty name of a master, or one with spaces or other characters than those of ASCII.
    Master "give the name of a master as Sentinel has it, such as ?master=mymaster"
    /// A parameter that does not exist, or is there twice.
    Query "give no parameter but ?master=NAME, and ?db=NUMBER after the path of a socket, each once; in a password, ? is %3F"
    /// A `%` without two hexadecimal digits, or bytes that are not UTF-8.
    Percent "write % in a user, password, path or name as %25; a % and two hexadecimal digits stand for a byte of UTF-8"
    /// A `#`.
    Fragment "write # in a password as %23"
}

impl std::error::Error for NoRedisAddress {}

/// What is refused of Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RedisFault {
    /// No seed.
    NoSeed,
    /// A seed that is no address.
    Address(NoRedisAddress),
    /// TLS, in a program that was built without.
    NotBuilt,
    /// Seeds of different schemes.
    Schemes,
    /// A Unix socket among several seeds.
    Sockets,
    /// Seeds with different users or passwords.
    Passwords,
    /// Seeds that name different masters.
    Masters,
    /// Seeds with different databases.
    Databases,
    /// A database of a cluster.
    Database,
    /// A prefix that keys cannot have.
    Prefix,
    /// No time to answer.
    Timeout,
}

impl fmt::Display for RedisFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Address(fault) => return write!(f, "--redis: {fault}"),
            Self::NoSeed => "--redis: give at least one address, such as redis://127.0.0.1:6379",
            Self::NotBuilt => {
                "--redis: this program was built without TLS. Build it with the cargo feature `tls`, which is on by default, or \
                 give redis:// or unix:"
            }
            Self::Schemes => {
                "--redis: several addresses are seeds of one cluster, or its sentinels, and are reached in one way. Give all of \
                 them with redis://, or all with rediss://"
            }
            Self::Sockets => {
                "--redis: several addresses are seeds of one cluster, or its sentinels, which are on several machines. Give one \
                 address with unix:, or all with redis://"
            }
            Self::Passwords => {
                "--redis: several addresses have one user and password, which servers that are found by them are given too. Give \
                 each the same"
            }
            Self::Masters => "--redis: sentinels are asked for one master. Give each address the same ?master=NAME",
            Self::Databases => {
                "--redis: several addresses lead to one database. Give each the same number, or leave it out"
            }
            Self::Database => {
                "--redis: several addresses are those of a cluster, which has only the database 0. Leave the number out, or give \
                 each ?master=NAME if they are sentinels"
            }
            Self::Prefix => {
                "--redis-prefix: give 1 to 64 visible ASCII characters without spaces, { and }, such as fanfare"
            }
            Self::Timeout => "--redis-timeout: 0 leaves Redis no time to answer. Give a value above 0, such as 5s",
        })
    }
}

impl std::error::Error for RedisFault {}

#[cfg(test)]
#[path = "redis_tests.rs"]
mod tests;
