//! Where each session over HTTP requests is: the loop that owns it, and its number there.
//!
//! The sessions themselves belong to one loop each and are not here.

use std::collections::HashMap;
use std::sync::Mutex;

use crate::pusher::fallback::path::SessionName;
use crate::server::lock::lock;

/// The sessions of all loops by their names. One lock: each request of a session takes it once or twice, and holds it for
/// a lookup.
#[derive(Debug, Default)]
pub struct Sessions {
    table: Mutex<HashMap<SessionName, Whereabouts>>,
}

/// Where a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its loop.
    pub loop_index: usize,
    /// Its key there, as a number.
    pub connection: u64,
}

impl Sessions {
    /// Where the session with this name is, if there is one.
    pub fn find(&self, name: &SessionName) -> Option<Whereabouts> {
        lock(&self.table).get(name).copied()
    }

    /// Adds a session; false if there is one with this name.
    #[must_use]
    pub fn add(&self, name: &SessionName, at: Whereabouts) -> bool {
        let mut table = lock(&self.table);
        let is_new = !table.contains_key(name);
        if is_new {
            table.insert(name.clone(), at);
        }
        is_new
    }

    /// Removes the session, if the one with this name is that one.
    pub fn remove(&self, name: &SessionName, at: Whereabouts) {
        let mut table = lock(&self.table);
        if table.get(name) == Some(&at) {
            table.remove(name);
        }
        if table.is_empty() {
            table.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::fallback::path::parse;

    fn name(session: &str) -> SessionName {
        parse(&format!("/app/k/0/{session}/xhr")).unwrap().0
    }

    #[test]
    fn the_first_session_with_a_name_is_found_until_it_is_removed() {
        let sessions = Sessions::default();
        let (here, there) =
            (Whereabouts { loop_index: 0, connection: 7 }, Whereabouts { loop_index: 1, connection: 7 });
        assert_eq!(sessions.find(&name("aaaaaaaa")), None);
        assert!(sessions.add(&name("aaaaaaaa"), here));
        assert!(!sessions.add(&name("aaaaaaaa"), there));
        assert!(sessions.add(&name("bbbbbbbb"), there));
        sessions.remove(&name("aaaaaaaa"), there);
        assert_eq!(sessions.find(&name("aaaaaaaa")), Some(here));
        sessions.remove(&name("aaaaaaaa"), here);
        assert_eq!(sessions.find(&name("aaaaaaaa")), None);
        assert_eq!(sessions.find(&name("bbbbbbbb")), Some(there));
    }
}
