//! The publications that a reconnected subscriber missed, which are sent ahead of the log.
//!
//! They are shared with the channel's history; only as many as the next write takes are encoded.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::hub::{Publication, PublicationId, WireForm};
use crate::server::connection::outbox::Outbox;
use crate::server::encoder::Encoder;

/// Missed publications, oldest first. The bytes of the log follow after the last of them.
///
/// Invariant: there is at least one.
#[derive(Debug)]
pub struct Replay(VecDeque<Arc<Publication>>);

impl Replay {
    /// The publications that were missed; `None` if there are none.
    pub fn new(publications: VecDeque<Arc<Publication>>) -> Option<Box<Self>> {
        (!publications.is_empty()).then(|| Box::new(Self(publications)))
    }

    /// Appends publications until the outbox is high. True if none is left.
    #[must_use]
    pub fn refill(&mut self, form: WireForm, encoder: &mut Encoder, outbox: &mut Outbox) -> bool {
        while !outbox.is_high()
            && let Some(publication) = self.0.pop_front()
        {
            encoder.publication(&publication, form, outbox.tail());
        }
        self.0.is_empty()
    }

    /// The publication before the first that is left.
    pub fn position(&self) -> Option<PublicationId> {
        let PublicationId { epoch, sequence } = self.0.front()?.id;
        Some(PublicationId { epoch, sequence: sequence - 1 })
    }

    /// The bytes of memory that the list itself takes.
    pub fn held_len(&self) -> usize {
        self.0.capacity() * size_of::<Arc<Publication>>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::server::connection::outbox::OUTBOX_HIGH;

    fn publications(count: u64, len: usize) -> VecDeque<Arc<Publication>> {
        (1..=count).map(|sequence| Arc::new(Publication::test(sequence, vec![0; len]))).collect()
    }

    #[test]
    fn only_what_the_next_write_takes_is_encoded() {
        let mut encoder = Encoder::new(&Config::default());
        let (mut outbox, mut sent) = (Outbox::default(), 0);
        let mut replay = Replay::new(publications(20, 20_000)).unwrap();
        while !replay.refill(WireForm::WebSocket, &mut encoder, &mut outbox) {
            let len = outbox.unsent().len();
            assert!(len > OUTBOX_HIGH && len < OUTBOX_HIGH + 20_004, "{len}");
            outbox.consume(len);
            sent += len;
        }
        assert_eq!(sent + outbox.unsent().len(), 20 * 20_004);
    }

    #[test]
    fn a_subscriber_that_missed_nothing_has_no_replay() {
        assert!(Replay::new(publications(0, 0)).is_none());
    }
}
