//! The contestants of one number of subscribers: started when first needed, and asked round by round.
//!
//! How many rounds there are is decided elsewhere.

use std::time::Duration;

use crate::FEED;
use crate::contestants::Contestant;
use crate::rounds::Side;
use crate::table::Pair;

/// Contestants that are up, each with its clients.
pub struct Field {
    subscribers: usize,
    sides: Vec<(Contestant, Side)>,
}

impl Field {
    /// Nobody is started yet.
    pub fn new(subscribers: usize) -> Self {
        Self { subscribers, sides: Vec::new() }
    }

    /// A round of Fanfare and one of the floor.
    pub fn pair(&mut self, messages: usize, floor_first: bool) -> Pair {
        if floor_first {
            let floor = self.round(Contestant::Floor, messages);
            Pair { floor, fanfare: self.round(Contestant::Fanfare, messages) }
        } else {
            let fanfare = self.round(Contestant::Fanfare, messages);
            Pair { floor: self.round(Contestant::Floor, messages), fanfare }
        }
    }

    /// The CPU time of one round: from before the publication until every client has received every byte.
    pub fn round(&mut self, contestant: Contestant, messages: usize) -> Duration {
        let index = self.sides.iter().position(|(side, _)| *side == contestant);
        let index = index.unwrap_or_else(|| {
            let role = format!("{} {}", contestant.role(), self.subscribers);
            let side = Side::start(&role, self.subscribers, FEED, contestant.is_told());
            self.sides.push((contestant, side));
            self.sides.len() - 1
        });
        self.sides[index].1.round(messages)
    }
}
