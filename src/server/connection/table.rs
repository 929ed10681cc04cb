//! The connections of one loop by index and generation: a stale key cannot reach a new connection.
//!
//! Nothing is done with a connection here.

use mio::Token;
use slab::Slab;

use super::Connection;
use crate::hub::growth;

/// A connection's key: its index, and a generation that tells it from earlier connections at that index.
///
/// ```text
///   63        32 31         0
///  | generation |   index    |     as a mio token and as a hub owner
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    generation: u32,
    index: u32,
}

// A token must hold both halves.
const _: () = assert!(usize::BITS >= 64, "fanfare needs a 64-bit target");

/// The generation after which they begin at 0 again. The one above it is for special tokens.
const GENERATION_MAX: u32 = u32::MAX - 1;

impl Key {
    /// The key as a number.
    pub fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// The key that [`Key::to_u64`] gave.
    pub fn from_u64(number: u64) -> Self {
        Self { generation: (number >> 32) as u32, index: number as u32 }
    }

    /// The key as a token.
    pub fn token(self) -> Token {
        Token(self.to_u64() as usize)
    }

    #[cfg(test)]
    pub fn test(index: u32) -> Self {
        Self { generation: 0, index }
    }
}

/// The `index`-th token that is not a connection's.
pub const fn special_token(index: usize) -> Token {
    assert!(index <= u32::MAX as usize, "the upper half says that it is special");
    Token(usize::MAX - index)
}

/// The table grows by this many places at least.
const GROWTH_MIN: usize = 16;

/// Connections, each with a generation.
#[derive(Debug, Default)]
pub struct Table {
    slab: Slab<(u32, Connection)>,
    next_generation: u32,
}

impl Table {
    /// Adds a connection: its key.
    pub fn insert(&mut self, connection: Connection) -> Key {
        let generation = self.next_generation;
        self.next_generation = if generation == GENERATION_MAX { 0 } else { generation + 1 };
        self.slab.reserve_exact(growth(self.slab.len(), self.slab.capacity(), GROWTH_MIN));
        let entry = self.slab.vacant_entry();
        let key = Key { generation, index: entry.key() as u32 };
        entry.insert((generation, connection));
        key
    }

    /// The connection with that key, if it still exists.
    pub fn get(&self, key: Key) -> Option<&Connection> {
        let (generation, connection) = self.slab.get(key.index as usize)?;
        (*generation == key.generation).then_some(connection)
    }

    /// The connection with that key, if it still exists.
    pub fn get_mut(&mut self, key: Key) -> Option<&mut Connection> {
        let (generation, connection) = self.slab.get_mut(key.index as usize)?;
        (*generation == key.generation).then_some(connection)
    }

    /// Removes the connection with that key.
    pub fn remove(&mut self, key: Key) -> Option<Connection> {
        self.get(key)?;
        let (_, connection) = self.slab.remove(key.index as usize);
        if self.slab.is_empty() {
            self.slab.shrink_to_fit();
        }
        Some(connection)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.slab.len()
    }

    /// The keys of all connections.
    pub fn keys(&self) -> impl Iterator<Item = Key> {
        self.slab.iter().map(|(index, (generation, _))| Key { generation: *generation, index: index as u32 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::api::routes::Door;
    use crate::server::clock::Millis;
    use crate::server::connection::stream::Stream;

    fn connection(door: Door) -> Connection {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = mio::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        Connection::new(Stream::new(socket), Millis(0), door)
    }

    #[test]
    fn a_stale_key_does_not_reach_the_next_connection_in_its_place() {
        let mut connections = Table::default();
        let old = connections.insert(connection(Door::Public));
        assert_eq!(connections.remove(old).unwrap().door, Door::Public);
        let new = connections.insert(connection(Door::Metrics));
        assert_eq!(old.index, new.index);
        assert!(connections.get(old).is_none());
        assert!(connections.remove(old).is_none());
        assert_eq!(connections.get(new).unwrap().door, Door::Metrics);
    }

    #[test]
    fn a_key_is_the_same_after_a_trip_through_a_number() {
        let key = Key { generation: 7, index: 9 };
        assert_eq!(Key::from_u64(key.to_u64()), key);
        assert_eq!(key.token(), Token(7 << 32 | 9));
    }

    #[test]
    fn generations_never_make_a_special_token() {
        let mut connections = Table { next_generation: GENERATION_MAX, ..Table::default() };
        let last = connections.insert(connection(Door::Public));
        assert!(last.token() < special_token(u32::MAX as usize));
        assert_eq!(connections.insert(connection(Door::Public)).generation, 0);
    }
}
