//! What a program does with publications that are not its own sessions': filters, before one has its number, and taps, after.
//!
//! Where each is called is in `connection` and `event_loop`.

use std::fmt;
use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::panics::{OnPanic, Said};
use super::request::Identity;
use crate::config::Glob;
use crate::hub::{self, ChannelName, Content, PublicationId};
use crate::server::access;
use crate::server::broker::draft::Draft;
use crate::server::discard::discard;

/// Looks at what a client publishes: changes it, refuses it, or lets it be.
pub type Filter = Box<dyn Fn(&mut Draft, &Sender<'_>) -> Result<(), Refusal> + Send + Sync>;

/// Is told of publications.
pub type Tap = Box<dyn Fn(&Publication<'_>) + Send + Sync>;

/// Filters and taps, each with the channels that it is for, in the order in which they were added.
#[derive(Default)]
pub struct Watching {
    pub filters: Vec<(Glob, Filter)>,
    pub taps: Vec<(Glob, Tap)>,
}

/// Why a filter refuses a publication, or [`Server::authorize`](crate::Server::authorize) a client: a sentence for that client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal(String);

impl Refusal {
    /// With this sentence.
    #[must_use]
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refusal {}

/// Who publishes something.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    who: Option<&'a access::Identity>,
    peer: Option<IpAddr>,
}

impl<'a> Sender<'a> {
    pub(crate) fn new(who: Option<&'a access::Identity>, peer: Option<IpAddr>) -> Self {
        Self { who, peer }
    }

    /// Who it is, if that was proved by a token, a key or the word of the backend.
    #[must_use]
    pub fn identity(&self) -> Option<Identity<'a>> {
        self.who.map(Identity::of)
    }

    /// The address of the client, behind the proxies that `trust_proxy` names, if it is known.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }
}

/// A publication as a tap is shown it.
#[derive(Clone, Copy, Debug)]
pub struct Publication<'a>(&'a hub::Publication);

impl<'a> Publication<'a> {
    /// The channel.
    #[must_use]
    pub fn channel(&self) -> &'a ChannelName {
        &self.0.channel
    }

    /// Its identifier.
    #[must_use]
    pub fn id(&self) -> PublicationId {
        self.0.id
    }

    /// The name of its event, if it has one.
    #[must_use]
    pub fn event(&self) -> Option<&'a str> {
        self.0.event.as_ref().map(|event| event.as_str())
    }

    /// The text, if it is text or JSON.
    #[must_use]
    pub fn text(&self) -> Option<&'a str> {
        match self.0.content {
            Content::Text | Content::Json => str::from_utf8(&self.0.data).ok(),
            Content::Binary => None,
        }
    }

    /// The bytes of any.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        &self.0.data
    }
}

/// Why what a client published goes no further. `Display` is what the client is told.
#[derive(Debug)]
pub enum Unfit {
    /// A filter refuses it.
    Refused(Refusal),
    /// A filter has made it longer than this.
    TooLong { len: u64, len_max: u64 },
    /// A filter panicked.
    Undecided,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::TooLong { len_max, .. } => write!(f, "A publication has at most {len_max} bytes."),
            Self::Undecided => f.write_str("The server failed to handle this."),
        }
    }
}

impl Watching {
    /// Has the filters of its channel look at a draft, one after the other.
    ///
    /// # Errors
    /// One of them refuses it, or panics, which `noted` is told.
    pub fn filter(
        &self,
        draft: &mut Draft,
        sender: &Sender<'_>,
        on_panic: OnPanic,
        noted: impl Fn(Said<'_>),
    ) -> Result<(), Unfit> {
        for (glob, filter) in &self.filters {
            if !glob.matches(draft.channel_name().local()) {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| filter(draft, sender))) {
                Ok(decided) => decided.map_err(Unfit::Refused)?,
                Err(panic) if on_panic == OnPanic::Stop => resume_unwind(panic),
                Err(panic) => {
                    noted(Said(&*panic));
                    discard(panic);
                    return Err(Unfit::Undecided);
                }
            }
        }
        Ok(())
    }

    /// Tells the taps of its channel of a publication. If one panics, `noted` is told.
    pub fn tap(&self, publication: &hub::Publication, on_panic: OnPanic, noted: impl Fn(Said<'_>)) {
        for (_, tap) in self.taps.iter().filter(|(glob, _)| glob.matches(publication.channel.local())) {
            match catch_unwind(AssertUnwindSafe(|| tap(&Publication(publication)))) {
                Ok(()) => {}
                Err(panic) if on_panic == OnPanic::Stop => resume_unwind(panic),
                Err(panic) => {
                    noted(Said(&*panic));
                    discard(panic);
                }
            }
        }
    }
}

impl fmt::Debug for Watching {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watching({} filters, {} taps)", self.filters.len(), self.taps.len())
    }
}
