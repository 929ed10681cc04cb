//! Why Redis refused a command, from its error reply, and what may be done about it.
//!
//! When it is done, and how often, is not decided here.

use std::fmt;

use crate::server::excerpt::Excerpt;
use crate::server::redis::slots::{Address, SLOTS};

/// How much of an error reply is kept for logs.
const EXCERPT_LEN_MAX: usize = 160;

/// What Redis appends to an error that a script has raised while it ran.
const RAISED_BY_SCRIPT: &str = " script: ";

/// An error reply: what it is, and the beginning of its text. `Display` is that text, on one line: it may quote what was
/// sent, never a password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What it is.
    pub reason: Reason,
    excerpt: Box<str>,
}

/// What may be done about a refused command. In each case but [`Fate::Unknown`] it was not executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The script has to be loaded, then it is sent again.
    LoadScript,
    /// It is sent again after a while.
    Again,
    /// The same, and who is the master is asked anew.
    AgainAtMaster,
    /// It is sent to another server.
    Elsewhere,
    /// It would be refused again, until somebody changes something at Redis or here.
    Never,
    /// It had begun, so that a part of it may have happened. Sent again, it might happen twice.
    Unknown,
}

/// Of each reason: what it carries, the first word of its replies, its fate.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident $($word:literal)? $fate:ident)*) => {
        /// Why a command was refused.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
            /// The slot belongs to another master, for good: the map of slots is old.
            Moved(Redirect),
            /// The slot moves to another master, and has no such key here any more: this command goes there, after `ASKING`.
            Ask(Redirect),
        }

        impl Reason {
            fn of_word(word: &str) -> Self {
                match word {
                    $($($word => Self::$name,)?)*
                    _ => Self::Other,
                }
            }

            /// What may be done about it.
            pub fn fate(&self) -> Fate {
                match self {
                    $(Self::$name => Fate::$fate,)*
                    Self::Moved(_) | Self::Ask(_) => Fate::Elsewhere,
                }
            }
        }
    };
}

reasons! {
    /// The server does not have the script: it was restarted, or its scripts were flushed.
    NoScript "NOSCRIPT" LoadScript
    /// Of the keys of a slot that moves, some are here and some are not.
    TryAgain "TRYAGAIN" Again
    /// It reads its data into memory.
    Loading "LOADING" Again
    /// Another script has run for longer than `busy-reply-threshold`.
    Busy "BUSY" Again
    /// The cluster does not cover all slots, or elects a master.
    ClusterDown "CLUSTERDOWN" Again
    /// Fewer replicas than `min-replicas-to-write` are connected.
    NoReplicas "NOREPLICAS" Again
    /// It is a replica, perhaps since a moment ago.
    ReadOnly "READONLY" AgainAtMaster
    /// It is a replica that has lost its master, and does not serve what it has.
    MasterDown "MASTERDOWN" AgainAtMaster
    /// `maxmemory` is reached, and nothing may be evicted.
    OutOfMemory "OOM" Never
    /// The disk of the server is full or broken, and it takes no writes until a snapshot succeeds.
    Misconfigured "MISCONF" Never
    /// The user may not do this, or not with this key or channel.
    NoPermission "NOPERM" Never
    /// The key has a value of another kind: something else uses the prefix.
    WrongType "WRONGTYPE" Never
    /// The keys of the command are in several slots.
    CrossSlot "CROSSSLOT" Never
    /// A transaction that had a fault in one of its commands.
    ExecAborted "EXECABORT" Never
    /// The server wants a user or a password first.
    NoAuth "NOAUTH" Never
    /// The user or the password is wrong.
    WrongPassword "WRONGPASS" Never
    /// It does not speak RESP3: it is older than Redis 6.
    NoProtocol "NOPROTO" Never
    /// Raised by a script, which had begun.
    RaisedByScript Unknown
    /// Anything else. Redis checks a command before it begins, so it was not executed.
    Other Never
}

/// Where a command belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The slot of its key.
    pub slot: u16,
    /// The server that has the slot.
    pub address: Address,
}

impl Refusal {
    /// From the text of an error reply of the server at `asked_host`, which a redirect without a host stands for.
    pub fn of(text: &[u8], asked_host: &str) -> Self {
        let text = String::from_utf8_lossy(text);
        let excerpt = Excerpt { what: &text, len_max: EXCERPT_LEN_MAX }.to_string().into();
        Self { reason: reason(&text, asked_host), excerpt }
    }

    /// What may be done about it.
    pub fn fate(&self) -> Fate {
        self.reason.fate()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.excerpt)
    }
}

fn reason(text: &str, asked_host: &str) -> Reason {
    let (word, rest) = text.split_once(' ').unwrap_or((text, ""));
    // `WRONGTYPE Operation against … script: 3376…, on @user_script:2.`: the words of the command that failed come first.
    if rest.rfind(RAISED_BY_SCRIPT).is_some_and(|at| rest[at..].contains(", on ")) {
        return Reason::RaisedByScript;
    }
    match word {
        "MOVED" => redirect(rest, asked_host).map_or(Reason::Other, Reason::Moved),
        "ASK" => redirect(rest, asked_host).map_or(Reason::Other, Reason::Ask),
        _ => Reason::of_word(word),
    }
}

/// `3999 127.0.0.1:6381`, `3999 ::1:6381`, `3999 :6381` for the host that was asked.
fn redirect(text: &str, asked_host: &str) -> Option<Redirect> {
    let (slot, address) = text.split_once(' ')?;
    let slot = slot.parse().ok().filter(|&slot| slot < SLOTS)?;
    let (host, port) = address.trim_end().rsplit_once(':')?;
    let address = Address::said(Some(host), port.parse().ok()?, asked_host)?;
    Some(Redirect { slot, address })
}

#[cfg(test)]
#[path = "refusal_tests.rs"]
mod tests;
