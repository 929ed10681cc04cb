//! The sessions of one loop, each found by the number that its connection has.
//!
//! They are beside the connections, so that a connection without one spends nothing on it, and a connection can be called by
//! the session that it has.

use std::num::NonZeroU32;

use slab::Slab;

use super::actor::Actor;
use super::message::ClosedBy;
use crate::hub::growth;
use crate::server::clock::Millis;
use crate::ws::CloseCode;

/// The table grows by this many places at least.
const GROWTH_MIN: usize = 16;

/// The number of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActorId(NonZeroU32);

/// The sessions of one loop.
///
/// Invariant: a place is empty (`actor` is `None`) only while its session is called, and at most one is: a session reaches no
/// other. `ended` is how that one's connection has ended meanwhile.
#[derive(Default)]
pub struct Actors {
    places: Slab<Place>,
    ended: Option<Ended>,
}

/// A session and what goes with it.
struct Place {
    actor: Option<Box<dyn Actor>>,
    /// When its timer is due.
    timer_at: Millis,
    /// The bytes of the newest message that was sent; above 4 GiB they count as that.
    newest_len: u32,
    /// The route that it came by.
    route: u16,
    /// Whether its peer had too much to take, and it is told once all is taken.
    awaits_drain: bool,
}

/// How a connection ended, kept until its session can be told.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<CloseCode>,
    pub reason: String,
    pub by: ClosedBy,
}

/// No timer is set.
const NEVER: Millis = Millis(u64::MAX);

impl Actors {
    /// Takes in the session of a connection that came by this route.
    pub fn insert(&mut self, actor: Box<dyn Actor>, route: u16) -> ActorId {
        self.places.reserve_exact(growth(self.places.len(), self.places.capacity(), GROWTH_MIN));
        let place = Place { actor: Some(actor), timer_at: NEVER, newest_len: 0, route, awaits_drain: false };
        let index = self.places.insert(place);
        let number = u32::try_from(index + 1).expect("a loop has fewer than 4 billion connections");
        ActorId(NonZeroU32::new(number).expect("it is one more than an index"))
    }

    /// Takes a session out, to call it. It is put back after that.
    pub fn take(&mut self, id: ActorId) -> Option<Box<dyn Actor>> {
        debug_assert!(self.ended.is_none(), "one session is called at a time");
        self.places.get_mut(index(id))?.actor.take()
    }

    /// Puts a session back that was called; or gives it back with how its connection has ended meanwhile.
    pub fn put_back(&mut self, id: ActorId, actor: Box<dyn Actor>) -> Option<(Box<dyn Actor>, Ended)> {
        match self.ended.take() {
            Some(ended) => {
                self.places.try_remove(index(id));
                Some((actor, ended))
            }
            None => {
                self.places.get_mut(index(id)).expect("its place is kept").actor = Some(actor);
                None
            }
        }
    }

    /// Frees the place of a session that is not put back.
    pub fn forget(&mut self, id: ActorId) {
        self.places.try_remove(index(id));
        self.ended = None;
    }

    /// The connection of a session has ended. The session comes back to be told, unless it is being called: then it is told
    /// after that.
    pub fn end(&mut self, id: ActorId, ended: Ended) -> Option<(Box<dyn Actor>, Ended)> {
        match self.places.get_mut(index(id))?.actor.take() {
            Some(actor) => {
                self.places.remove(index(id));
                Some((actor, ended))
            }
            None => {
                self.ended = Some(ended);
                None
            }
        }
    }

    /// The route by which a session came.
    pub fn route(&self, id: ActorId) -> u16 {
        self.places.get(index(id)).map_or(0, |place| place.route)
    }

    /// When its timer is due.
    pub fn timer_at(&self, id: ActorId) -> Option<Millis> {
        self.places.get(index(id)).map(|place| place.timer_at).filter(|at| *at != NEVER)
    }

    /// Sets its timer. `None`: there is none.
    pub fn set_timer(&mut self, id: ActorId, at: Option<Millis>) {
        if let Some(place) = self.places.get_mut(index(id)) {
            place.timer_at = at.unwrap_or(NEVER);
        }
    }

    /// Notes the length of a message that was sent.
    pub fn note_sent(&mut self, id: ActorId, len: usize) {
        if let Some(place) = self.places.get_mut(index(id)) {
            place.newest_len = u32::try_from(len).unwrap_or(u32::MAX);
        }
    }

    /// The length of the newest message that was sent.
    pub fn newest_len(&self, id: ActorId) -> u64 {
        self.places.get(index(id)).map_or(0, |place| u64::from(place.newest_len))
    }

    /// Whether it is to be told when its peer has taken everything.
    pub fn awaits_drain(&self, id: ActorId) -> bool {
        self.places.get(index(id)).is_some_and(|place| place.awaits_drain)
    }

    /// It is to be told that, or has been told.
    pub fn await_drain(&mut self, id: ActorId, awaits_drain: bool) {
        if let Some(place) = self.places.get_mut(index(id)) {
            place.awaits_drain = awaits_drain;
        }
    }
}

fn index(id: ActorId) -> usize {
    id.0.get() as usize - 1
}

impl std::fmt::Debug for Actors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Actors({})", self.places.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_takes_32_bytes_beside_its_session() {
        assert_eq!(size_of::<Place>(), 32);
        assert_eq!(size_of::<Option<ActorId>>(), 4);
    }
}
