//! Events of one call of the HTTP API of Pusher that an engine of many nodes has: what became of each publication, and what the app's
//! server is told of all.
//!
//! Nothing is published here. What is said of their channels, if all are published, is up to `rest`.

use std::sync::Arc;

use crate::http::{Response, Status};
use crate::pusher::Name;
use crate::pusher::rest::{Info, Trigger};
use crate::server::api::answers;
use crate::server::apps::running::RunningApp;
use crate::server::broker::answer::{NotPublished, Receipt};
use crate::server::clock;
use crate::server::metrics::counters::ApiCall;

/// What is said of events once they are published.
#[derive(Debug)]
pub enum Told {
    /// Nothing.
    Nothing,
    /// Nothing, and that by the status of the deprecated way.
    Accepted,
    /// This of each channel of an event.
    Channels(Vec<Name>, Info),
    /// This of the channel of each event of a batch, in its order.
    Batch(Vec<Option<(Name, Info)>>),
}

/// Publications of one call that were made at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many there were.
    pub publications: u64,
    /// How many subscribers they had, all together.
    pub subscribers: u64,
}

/// The publications of a call, of which some are awaited.
///
/// Invariant: each is one of `awaited`, `published`, `refused` and `unanswered`.
#[derive(Debug)]
pub struct Events {
    /// The app whose events they are.
    pub app: Arc<RunningApp>,
    /// What was called for.
    pub call: ApiCall,
    /// What is said once all are published.
    pub told: Told,
    awaited: usize,
    published: Tally,
    refused: usize,
    unanswered: usize,
}

/// Why a call was not done.
///
/// The libraries of Pusher that repeat a call do so after any 5xx. After a 503 that publishes it once. After a 504 it may publish
/// an event twice where it was published before: the protocol has no key by which an event that is sent again is known. Coming twice
/// is the lesser harm: after a 200 nobody would send again what was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nothing was published.
    Whole,
    /// Some was published, and the rest was not.
    InPart,
    /// Of some it is not known whether it was published.
    Unknown,
}

impl Told {
    /// What an event wants to be told.
    pub fn of_event(trigger: Trigger) -> Self {
        trigger.info.map_or(Self::Nothing, |info| Self::Channels(trigger.channels, info))
    }

    /// What the events of a batch want to be told, if any does.
    pub fn of_batch(batch: Vec<Trigger>) -> Self {
        if batch.iter().all(|trigger| trigger.info.is_none()) {
            return Self::Nothing;
        }
        // Each is to one channel.
        let asked = |trigger: Trigger| trigger.channels.into_iter().next().zip(trigger.info);
        Self::Batch(batch.into_iter().map(asked).collect())
    }

    fn held_len(&self) -> usize {
        let name_len = |name: &Name| size_of_val(name) + name.as_str().len();
        match self {
            Self::Nothing | Self::Accepted => 0,
            Self::Channels(names, _) => names.iter().map(name_len).sum(),
            Self::Batch(asked) => {
                size_of_val(&**asked) + asked.iter().flatten().map(|(name, _)| name_len(name)).sum::<usize>()
            }
        }
    }
}

impl Events {
    /// Of which these were published at once, and so many are awaited.
    pub fn new(
        app: &Arc<RunningApp>,
        (call, told): (ApiCall, Told),
        awaited: usize,
        published: Tally,
    ) -> Self {
        Self { app: Arc::clone(app), call, told, awaited, published, refused: 0, unanswered: 0 }
    }

    /// One of them was published, or not.
    pub fn settle(&mut self, outcome: Result<Receipt, NotPublished>) {
        self.awaited = self.awaited.saturating_sub(1);
        match outcome {
            Ok(receipt) => {
                self.published.publications += 1;
                self.published.subscribers += receipt.published.subscribers;
            }
            // They have no keys.
            Err(NotPublished::Refused | NotPublished::KeyReused) => self.refused += 1,
            Err(NotPublished::Unanswered) => self.unanswered += 1,
        }
    }

    /// Whether none is awaited.
    pub fn are_settled(&self) -> bool {
        self.awaited == 0
    }

    /// Those that were published.
    pub fn published(&self) -> Tally {
        self.published
    }

    /// Whether all were published, once none is awaited. What is not known is worse than what is known not to be.
    ///
    /// # Errors
    /// They were not.
    pub fn outcome(&self) -> Result<(), Failed> {
        match (self.unanswered, self.refused, self.published.publications) {
            (0, 0, _) => Ok(()),
            (0, _, 0) => Err(Failed::Whole),
            (0, _, _) => Err(Failed::InPart),
            (_, _, _) => Err(Failed::Unknown),
        }
    }

    /// The answer to a call that was not done, which is noted with its app.
    pub fn fail(&self, why: Failed) -> Response {
        self.app.note_refused(&why.sentence(), clock::unix_ms());
        why.response()
    }

    /// The bytes of memory that they take.
    pub fn held_len(&self) -> usize {
        size_of::<Self>() + self.told.held_len()
    }
}

impl Failed {
    fn sentence(self) -> &'static str {
        match self {
            Self::Whole => answers::sentence(NotPublished::Refused),
            Self::InPart => "This is published in part; what is sent again comes twice there.",
            Self::Unknown => "This may be published or not; what is sent again may come twice.",
        }
    }

    fn response(self) -> Response {
        match self {
            Self::Whole => answers::not_published(NotPublished::Refused),
            Self::InPart | Self::Unknown => Response::text(Status::GATEWAY_TIMEOUT, self.sentence()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::{PublicationId, Published};
    use crate::pusher::App;
    use crate::server::apps::Apps;

    const REFUSED: Result<Receipt, NotPublished> = Err(NotPublished::Refused);
    const UNANSWERED: Result<Receipt, NotPublished> = Err(NotPublished::Unanswered);
    const PUBLISHED: Result<Receipt, NotPublished> = Ok(Receipt {
        published: Published { id: PublicationId { epoch: 1, sequence: 1 }, subscribers: 2 },
        is_replay: false,
    });

    fn events(awaited: usize, at_once: u64) -> Events {
        let app = Apps::new(&[App::new("1", "k", "s")], 1).default_app().unwrap();
        let published = Tally { publications: at_once, subscribers: 0 };
        Events::new(&app, (ApiCall::Events, Told::Nothing), awaited, published)
    }

    #[test]
    fn the_worst_outcome_of_several_publications_is_that_of_the_call() {
        for (outcomes, expected) in [
            (&[PUBLISHED, PUBLISHED][..], Ok(())),
            (&[REFUSED, REFUSED], Err(Failed::Whole)),
            (&[PUBLISHED, REFUSED], Err(Failed::InPart)),
            (&[REFUSED, PUBLISHED, REFUSED], Err(Failed::InPart)),
            (&[UNANSWERED], Err(Failed::Unknown)),
            (&[REFUSED, UNANSWERED], Err(Failed::Unknown)),
            (&[PUBLISHED, UNANSWERED, REFUSED], Err(Failed::Unknown)),
        ] {
            let mut events = events(outcomes.len(), 0);
            for &outcome in outcomes {
                assert!(!events.are_settled());
                events.settle(outcome);
            }
            assert!(events.are_settled());
            assert_eq!(events.outcome(), expected, "{outcomes:?}");
        }
    }

    #[test]
    fn what_was_published_at_once_counts_as_published() {
        let mut events = events(1, 1);
        events.settle(REFUSED);
        assert_eq!(events.outcome(), Err(Failed::InPart));
    }

    #[test]
    fn only_a_call_of_which_nothing_is_published_is_answered_503_and_when_to_try_again() {
        for (why, status) in [
            (Failed::Whole, Status::SERVICE_UNAVAILABLE),
            (Failed::InPart, Status::GATEWAY_TIMEOUT),
            (Failed::Unknown, Status::GATEWAY_TIMEOUT),
        ] {
            assert_eq!(why.response().status(), status);
        }
        let events = events(1, 0);
        let _ = events.fail(Failed::InPart);
        assert_eq!(&*events.app.refused()[0].sentence, Failed::InPart.sentence());
    }
}
