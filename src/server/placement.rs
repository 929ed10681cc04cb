//! Which loop a new connection goes to, and how many connections there are.
//!
//! Connections themselves belong to one loop each and are not here.

use std::sync::atomic::{AtomicUsize, Ordering};

/// The number of connections of each loop, shared by all.
#[derive(Debug)]
pub struct Placement {
    /// With those that a loop has been assigned and has not taken yet.
    connections: Vec<AtomicUsize>,
    connections_max: usize,
}

impl Placement {
    /// No connections on any of the loops, and room for `connections_max` in all.
    pub fn new(loops: usize, connections_max: usize) -> Self {
        Self { connections: (0..loops).map(|_| AtomicUsize::new(0)).collect(), connections_max }
    }

    /// The number of connections of all loops.
    pub fn len(&self) -> usize {
        self.connections.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// How many more connections may be taken.
    pub fn room(&self) -> usize {
        self.connections_max.saturating_sub(self.len())
    }

    /// Chooses the loop with the fewest connections, and counts one more for it. Only the first loop calls it.
    pub fn assign(&self) -> usize {
        let counts = self.connections.iter().enumerate();
        let (index, count) = counts
            .min_by_key(|(_, count)| count.load(Ordering::Relaxed))
            .expect("there is at least one loop");
        count.fetch_add(1, Ordering::Relaxed);
        index
    }

    /// Counts one more connection for a loop, which made it itself.
    pub fn add(&self, loop_index: usize) {
        self.connections[loop_index].fetch_add(1, Ordering::Relaxed);
    }

    /// Counts one connection less for a loop.
    pub fn release(&self, loop_index: usize) {
        self.connections[loop_index].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_accepted_socket_goes_to_the_loop_with_the_fewest_connections() {
        let placement = Placement::new(3, 10);
        assert_eq!([placement.assign(), placement.assign(), placement.assign()], [0, 1, 2]);
        placement.release(1);
        assert_eq!(placement.assign(), 1);
    }

    #[test]
    fn a_connection_that_a_loop_makes_itself_counts_like_one_that_was_accepted() {
        let placement = Placement::new(2, 2);
        placement.add(0);
        assert_eq!((placement.len(), placement.assign()), (1, 1));
        assert_eq!(placement.room(), 0);
        placement.release(0);
        assert_eq!(placement.room(), 1);
    }

    #[test]
    fn there_is_room_up_to_the_most_connections() {
        let placement = Placement::new(3, 2);
        assert_eq!(placement.room(), 2);
        let index = placement.assign();
        placement.assign();
        assert_eq!((placement.room(), placement.len()), (0, 2));
        placement.release(index);
        assert_eq!(placement.room(), 1);
    }
}
