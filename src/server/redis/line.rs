//! A connection that is kept to a place: it is dialled, greeted, watched, and dialled again after a while when it is lost.
//!
//! Which places there are, and what is said once it is greeted, is not known here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use mio::{Registry, Token};

use super::greeting::{self, Identity, Login, Mode, Role, Unfit};
use super::inbox::Inbox;
use super::link::{Asked, Broken, Heard, Link};
use super::loss::Loss;
use super::names::resolve;
use super::place::{Place, Resolved};
use super::resp::{Command, Reply};
use super::socket::Socket;
use crate::server::clock::{Millis, millis};

/// A lost connection is dialled again after this long, then twice as long each time, up to the second, and up to half of it less
/// by chance: nodes do not come back at the same moment.
const DIAL_MS: u64 = 50;
const DIAL_MS_MAX: u64 = 2_000;

/// How often it is asked whether the server is still the master that it was. It is the sign of life as well.
const INFO_MS: u64 = 1_000;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To learn which servers there are.
    Scout,
    /// To publish.
    Publish,
    /// To subscribe, open and read.
    Subscribe,
}

/// What all lines share.
#[derive(Debug)]
pub struct Terms {
    pub login: Login,
    pub database: u32,
    /// The time for connecting, and for one answer.
    pub timeout: Duration,
    /// The token of every master, with `--redis-trust-failover`.
    pub trust: Option<&'static str>,
    /// How TLS is spoken, with `rediss://`.
    #[cfg(feature = "tls")]
    pub tls: Option<Arc<rustls::ClientConfig>>,
    pub script: &'static str,
    pub inbox: Arc<Inbox>,
    pub registry: Registry,
}

impl Terms {
    /// Whether servers are spoken to by TLS.
    pub fn uses_tls(&self) -> bool {
        #[cfg(feature = "tls")]
        return self.tls.is_some();
        #[cfg(not(feature = "tls"))]
        false
    }
}

/// A connection that is kept.
#[derive(Debug)]
pub struct Line {
    purpose: Purpose,
    place: Place,
    token: Token,
    stage: Stage,
    /// How often it was dialled in vain since it was last up.
    failures: u32,
    /// What its name was resolved to, and which of them is next.
    addresses: Vec<SocketAddr>,
}

#[derive(Debug)]
enum Stage {
    /// To be dialled at this time.
    Waiting(Millis),
    /// Its name is being resolved, since then.
    Resolving(Millis),
    /// Being connected and greeted, since then.
    Greeting(Box<Link>, Greeting, Millis),
    /// In use.
    Up(Box<Up>),
}

#[derive(Debug, Default)]
struct Greeting {
    mode: Option<Mode>,
    script: Option<Box<str>>,
    /// Why the user or the password was refused. A Sentinel may have none, though the master has.
    stranger: Option<Unfit>,
}

/// A connection in use.
#[derive(Debug)]
pub struct Up {
    pub link: Link,
    /// Since when it is up.
    since: Millis,
    /// What is there.
    pub mode: Mode,
    /// What the script is called.
    pub script: Box<str>,
    /// The token of the master.
    pub token: Box<str>,
    /// That of the master that it followed before it was promoted, if it was.
    pub followed: Option<Box<str>>,
    /// When INFO was asked, if it is not answered.
    info_since: Option<Millis>,
    info_at: Millis,
}

/// What has become of a line.
#[derive(Debug)]
pub enum Change {
    /// It is up now.
    Up,
    /// It is lost: what was asked and not answered, and whether it was written at least in part.
    Lost(Vec<(Asked, bool)>, Loss),
}

impl Line {
    /// One that is dialled at once. Its events come under `token`, and its name is resolved for the same number.
    pub fn new(purpose: Purpose, place: Place, token: Token, now: Millis) -> Self {
        Self { purpose, place, token, stage: Stage::Waiting(now), failures: 0, addresses: Vec::new() }
    }

    /// What it is for.
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Its events come under this.
    pub fn token(&self) -> Token {
        self.token
    }

    /// Where it leads.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Another connection to its place has come up: it is dialled at once, if it waits for that.
    pub fn hurry(&mut self, now: Millis) {
        if let Stage::Waiting(at) = &mut self.stage {
            *at = now.min(*at);
        }
    }

    /// The connection, if it is in use.
    pub fn up(&mut self) -> Option<&mut Up> {
        match &mut self.stage {
            Stage::Up(up) => Some(up),
            Stage::Waiting(_) | Stage::Resolving(_) | Stage::Greeting(..) => None,
        }
    }

    /// Whether it is in use.
    pub fn is_up(&self) -> bool {
        matches!(self.stage, Stage::Up(_))
    }

    /// The connection, if there is one.
    fn link(&mut self) -> Option<&mut Link> {
        match &mut self.stage {
            Stage::Greeting(link, ..) => Some(link),
            Stage::Up(up) => Some(&mut up.link),
            Stage::Waiting(_) | Stage::Resolving(_) => None,
        }
    }

    /// When [`Line::tick`] is due.
    pub fn due(&self, terms: &Terms) -> Millis {
        let timeout_ms = millis(terms.timeout);
        match &self.stage {
            Stage::Waiting(at) => *at,
            Stage::Resolving(since) | Stage::Greeting(_, _, since) => Millis(since.0 + timeout_ms),
            Stage::Up(up) => match up.info_since {
                Some(since) => Millis(since.0 + timeout_ms),
                None => up.info_at,
            },
        }
    }

    /// Whether another turn has something to do without an event.
    pub fn is_ready(&mut self) -> bool {
        self.link().is_some_and(|link| link.is_ready())
    }

    /// Dials, asks INFO, or gives up what takes too long.
    pub fn tick(&mut self, terms: &Terms, now: Millis) -> Option<Change> {
        if self.due(terms) > now {
            return None;
        }
        match &mut self.stage {
            Stage::Waiting(_) => self.dial(terms, now),
            Stage::Up(up) if up.info_since.is_none() => {
                up.ask_info(self.purpose, now);
                None
            }
            Stage::Resolving(_) | Stage::Greeting(..) | Stage::Up(_) => {
                Some(self.lose(Loss::Timeout, terms, now))
            }
        }
    }

    fn dial(&mut self, terms: &Terms, now: Millis) -> Option<Change> {
        if let Place::Tcp(host, port) = &self.place
            && self.addresses.is_empty()
        {
            let Some(address) = self.place.address() else {
                self.stage = Stage::Resolving(now);
                let asked = resolve(host, *port, self.token.0, &terms.inbox);
                return asked.err().map(|error| self.lose(Loss::Name(error), terms, now));
            };
            self.addresses.push(address);
        }
        self.connect(terms, now).err().map(|error| self.lose(Loss::Broken(Broken::Io(error)), terms, now))
    }

    /// The outcome of resolving its name.
    pub fn resolved(&mut self, found: Resolved, terms: &Terms, now: Millis) -> Option<Change> {
        if !matches!(self.stage, Stage::Resolving(_)) {
            return None;
        }
        match found {
            Ok(addresses) if !addresses.is_empty() => {
                self.addresses = addresses;
                self.dial(terms, now)
            }
            Ok(_) => Some(self.lose(Loss::Name(io::ErrorKind::NotFound.into()), terms, now)),
            Err(error) => Some(self.lose(Loss::Name(error), terms, now)),
        }
    }

    fn connect(&mut self, terms: &Terms, now: Millis) -> io::Result<()> {
        let socket = match &self.place {
            Place::Unix(path) => Socket::connect_unix(path)?,
            Place::Tcp(host, _) => {
                // The last one first, so that the next attempt takes another.
                let address = self.addresses.pop().ok_or(io::ErrorKind::NotFound)?;
                self.secured(Socket::connect(address)?, host, terms)?
            }
        };
        let mut link = Link::new(socket, &terms.registry, self.token)?;
        link.ask(Asked::Hello, |out| greeting::hello(&terms.login, out));
        self.stage = Stage::Greeting(Box::new(link), Greeting::default(), now);
        Ok(())
    }

    #[cfg(feature = "tls")]
    fn secured(&self, socket: Socket, host: &str, terms: &Terms) -> io::Result<Socket> {
        match &terms.tls {
            Some(config) => socket.secured(host, config),
            None => Ok(socket),
        }
    }

    #[cfg(not(feature = "tls"))]
    fn secured(&self, socket: Socket, _: &str, _: &Terms) -> io::Result<Socket> {
        Ok(socket)
    }

    /// An event of its socket.
    pub fn note_event(
        &mut self,
        (is_readable, is_writable): (bool, bool),
        terms: &Terms,
        now: Millis,
    ) -> Option<Change> {
        let noted = self.link()?.note_event(is_readable, is_writable);
        noted.err().map(|broken| self.lose(Loss::Broken(broken), terms, now))
    }

    /// Reads what has arrived.
    pub fn read(&mut self, scratch: &mut [u8]) {
        if let Some(link) = self.link() {
            link.read(scratch);
        }
    }

    /// Writes what waits.
    pub fn write(&mut self, terms: &Terms, now: Millis) -> Option<Change> {
        let written = self.link()?.write();
        written.err().map(|broken| self.lose(Loss::Broken(broken), terms, now))
    }

    /// Takes answers as long as it is greeted. It may be up by that, or lost.
    pub fn greet(&mut self, terms: &Terms, now: Millis) -> Option<Change> {
        loop {
            let Stage::Greeting(link, greeting, _) = &mut self.stage else { return None };
            let heard = match link.next() {
                Ok(Some(Heard::Answer(asked, reply))) => (asked, reply),
                Ok(Some(Heard::Push(_))) => continue,
                Ok(None) => return None,
                Err(broken) => return Some(self.lose(Loss::Broken(broken), terms, now)),
            };
            match greeting.step(self.purpose, heard, link, terms) {
                Ok(None) => {}
                Ok(Some(identity)) => {
                    self.rise(identity, now);
                    return Some(Change::Up);
                }
                Err(loss) => return Some(self.lose(loss, terms, now)),
            }
        }
    }

    fn rise(&mut self, identity: Identity, now: Millis) {
        let Stage::Greeting(link, greeting, _) = std::mem::replace(&mut self.stage, Stage::Waiting(now))
        else {
            unreachable!("it was greeted")
        };
        let Greeting { mode, script, stranger: _ } = greeting;
        self.stage = Stage::Up(Box::new(Up {
            link: *link,
            since: now,
            mode: mode.unwrap_or(Mode::Server),
            script: script.unwrap_or_default(),
            token: identity.token,
            followed: identity.followed,
            info_since: None,
            info_at: Millis(now.0 + INFO_MS),
        }));
    }

    /// Nothing is read of it at present: the answer that it owes may have come.
    pub fn excuse(&mut self, now: Millis) {
        if let Some(Up { info_since: Some(since), .. }) = self.up() {
            *since = now;
        }
    }

    /// The answer to PING of a scout.
    pub fn note_pong(&mut self, now: Millis) {
        if let Some(up) = self.up() {
            up.note_alive(now);
        }
    }

    /// The answer to INFO of a connection in use.
    pub fn note_role(&mut self, reply: &Reply, terms: &Terms, now: Millis) -> Option<Change> {
        let up = self.up()?;
        up.note_alive(now);
        match greeting::read_role(reply, terms.trust) {
            Ok(Role::Master(Identity { token, followed })) => {
                (up.token, up.followed) = (token, followed);
                None
            }
            Ok(Role::Replica) => Some(self.lose(Loss::NotMaster, terms, now)),
            Err(Unfit::ForNow(_)) => None,
            Err(unfit) => Some(self.lose(Loss::Unfit(unfit), terms, now)),
        }
    }

    /// Gives it up for good: what was asked and not answered, and whether it was written at least in part.
    pub fn end(self, terms: &Terms) -> Vec<(Asked, bool)> {
        self.stage.end(terms)
    }

    /// Gives the connection up; it is dialled again after a while.
    pub fn lose(&mut self, loss: Loss, terms: &Terms, now: Millis) -> Change {
        if let Stage::Up(up) = &self.stage
            && now.0 >= up.since.0 + DIAL_MS_MAX
        {
            self.failures = 0;
        }
        let after_ms = DIAL_MS_MAX.min(DIAL_MS << self.failures.min(6));
        self.failures += 1;
        let spread = super::dice::random() % (after_ms / 2 + 1);
        let stage = std::mem::replace(&mut self.stage, Stage::Waiting(Millis(now.0 + after_ms - spread)));
        Change::Lost(stage.end(terms), loss)
    }
}

impl Stage {
    /// Ends the connection, if there is one: what was asked and not answered, and whether it was written at least in part.
    fn end(self, terms: &Terms) -> Vec<(Asked, bool)> {
        match self {
            Self::Greeting(link, ..) => link.end(&terms.registry).collect(),
            Self::Up(up) => up.link.end(&terms.registry).collect(),
            Self::Waiting(_) | Self::Resolving(_) => Vec::new(),
        }
    }
}

/// Writes SCRIPT LOAD.
pub fn load(script: &str, out: &mut BytesMut) {
    drop(Command::new(out, 3).word(b"SCRIPT").word(b"LOAD").word(script.as_bytes()));
}

impl Up {
    /// Whether INFO was answered.
    pub fn is_answered(&self) -> bool {
        self.info_since.is_none()
    }

    /// A Sentinel has no numbers, and a scout of a cluster draws none.
    fn ask_info(&mut self, purpose: Purpose, now: Millis) {
        self.info_since = Some(now);
        match purpose {
            Purpose::Scout => self.link.ask(Asked::Ping, |out| drop(Command::new(out, 1).word(b"PING"))),
            Purpose::Publish | Purpose::Subscribe => self.link.ask(Asked::Info, info),
        }
    }

    /// The answer to that has come.
    fn note_alive(&mut self, now: Millis) {
        (self.info_since, self.info_at) = (None, Millis(now.0 + INFO_MS));
    }
}

fn info(out: &mut BytesMut) {
    drop(Command::new(out, 2).word(b"INFO").word(b"replication"));
}

impl Greeting {
    /// Takes an answer and asks what is next. Who it is, once all is said; nobody for a scout.
    fn step(
        &mut self,
        purpose: Purpose,
        (asked, reply): (Asked, Reply),
        link: &mut Link,
        terms: &Terms,
    ) -> Result<Option<Identity>, Loss> {
        match asked {
            Asked::Hello => {
                let said = greeting::read_hello(&reply);
                if purpose == Purpose::Scout && self.stranger.is_none() && greeting::is_stranger(&reply) {
                    self.stranger = said.err();
                    link.ask(Asked::Hello, |out| greeting::hello(&Login::default(), out));
                    return Ok(None);
                }
                let (mode, is_master) = match (said, self.stranger.take()) {
                    (Ok((mode, is_master)), None) => (mode, is_master),
                    (Ok((Mode::Sentinel, is_master)), Some(_)) => (Mode::Sentinel, is_master),
                    (_, Some(stranger)) | (Err(stranger), None) => return Err(Loss::Unfit(stranger)),
                };
                self.mode = Some(mode);
                if mode == Mode::Server && !is_master {
                    return Err(Loss::NotMaster);
                }
                if purpose == Purpose::Scout {
                    return Ok(Some(Identity::default()));
                }
                if terms.database > 0 {
                    let database = u64::from(terms.database);
                    link.ask(Asked::Select, |out| {
                        drop(Command::new(out, 2).word(b"SELECT").number(database))
                    });
                }
                link.ask(Asked::Load, |out| load(terms.script, out));
                link.ask(Asked::Info, info);
                Ok(None)
            }
            Asked::Select => {
                greeting::read_done(&reply, "the database").map_err(Loss::Unfit)?;
                Ok(None)
            }
            Asked::Load => {
                greeting::read_done(&reply, "SCRIPT LOAD").map_err(Loss::Unfit)?;
                let name = reply.as_text().and_then(|name| str::from_utf8(name).ok());
                self.script = Some(name.ok_or(Loss::Broken(Broken::OutOfStep))?.into());
                Ok(None)
            }
            Asked::Info => match greeting::read_role(&reply, terms.trust).map_err(Loss::Unfit)? {
                Role::Master(identity) => Ok(Some(identity)),
                Role::Replica => Err(Loss::NotMaster),
            },
            _ => Err(Loss::Broken(Broken::OutOfStep)),
        }
    }
}
