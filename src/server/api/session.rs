//! What a request of a session over HTTP may do: which pages, which clients, and how much they may post.
//!
//! How it is brought to its session is the event loop's to do.

use crate::http::Request;
use crate::pusher::fallback::path::SessionName;
use crate::server::access::Access;
use crate::server::api::handlers::Handlers;
use crate::server::api::pusher::{Connecting, message_len_max};
use crate::server::apps::Apps;

impl Handlers {
    /// What becomes of a client that asks for a new session.
    pub fn connect_session(
        request: &Request,
        session: &SessionName,
        access: &Access,
        apps: &Apps,
    ) -> Connecting {
        Connecting::new(request, &session.key, access, apps)
    }

    /// The longest body that a client of the session may post: a message, each byte of which may be escaped once more.
    pub fn posted_len_max(&self, session: &SessionName, apps: &Apps) -> u64 {
        let app = apps.by_key(&session.key);
        (2 * message_len_max(app.as_deref())).min(self.message_len_max)
    }
}
