//! The contestants of one number of subscribers: started when first needed, and asked round by round.
//!
//! How many rounds there are is decided elsewhere.

use std::time::Duration;

use crate::contestants::Contestant;
use crate::support::Worker;
use crate::table::Pair;

/// Contestants that are up, each with its clients.
pub struct Field {
    subscribers: usize,
    sides: Vec<Side>,
}

struct Side {
    contestant: Contestant,
    server: Worker,
    clients: Worker,
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
        let index = self.sides.iter().position(|side| side.contestant == contestant);
        let index = index.unwrap_or_else(|| {
            self.sides.push(Side::start(contestant, self.subscribers));
            self.sides.len() - 1
        });
        self.sides[index].round(messages)
    }
}

impl Side {
    fn start(contestant: Contestant, subscribers: usize) -> Self {
        let mut server = Worker::start(&format!("{} {subscribers}", contestant.role()));
        let address = server.hear();
        let clients = Worker::start_clients(&address, subscribers);
        Self { contestant, server, clients }
    }

    fn round(&mut self, messages: usize) -> Duration {
        self.server.tell(&format!("begin {messages}"));
        assert_eq!(self.server.hear(), "begun");
        if self.contestant.is_told() {
            self.clients.tell(&format!("expect {messages}"));
            self.server.tell("go");
        } else {
            self.clients.tell(&format!("publish {messages}"));
        }
        assert_eq!(self.clients.hear(), "done");
        self.server.tell("end");
        Duration::from_nanos(self.server.hear().parse().expect("`end` is answered with nanoseconds"))
    }
}
