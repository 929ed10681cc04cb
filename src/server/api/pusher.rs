//! How a Pusher client connects: which app it names, which version of the protocol it speaks, and whether its page is
//! served.
//!
//! What is wrong is told after the handshake: a client that is refused by a status tries again for ever.

use std::sync::Arc;

use crate::http::{self, Request};
use crate::pusher::{Error, protocol};
use crate::server::access::Access;
use crate::server::apps::Apps;
use crate::server::apps::running::{Place, RunningApp};

/// What a message may have besides the data of an event: names, signatures, the data of a member or a user with a
/// watchlist of 100 identifiers of 200 bytes.
const MESSAGE_LEN_BASE: usize = 64 * 1024;

/// The longest that JSON makes one byte: `\u0001`.
const ESCAPED_MAX: usize = 6;

/// A client that connects, and what is known of it.
#[derive(Debug)]
pub struct Connecting {
    /// The app with the client's place in it, and the version of the protocol; or why it is refused.
    pub outcome: Result<(Place, u32), Error>,
    /// The app, if there is one, which is told of the refusal.
    pub app: Option<Arc<RunningApp>>,
}

impl Connecting {
    /// A client that connects to a path that names no key.
    pub fn elsewhere() -> Self {
        Self { outcome: Err(Error::Path), app: None }
    }

    /// What becomes of a client that connects with this key.
    pub fn new(request: &Request, key: &str, access: &Access, apps: &Apps) -> Self {
        let app = apps.by_key(key);
        let outcome = match &app {
            None => Err(Error::AppUnknown(key.to_owned())),
            Some(app) => check(request, app, access),
        };
        Self { outcome, app }
    }
}

impl Connecting {
    /// The longest message that the client may send, in bytes.
    pub fn message_len_max(&self) -> u64 {
        message_len_max(self.app.as_deref())
    }
}

/// The longest message that a client of the app may send, in bytes.
pub fn message_len_max(app: Option<&RunningApp>) -> u64 {
    let max_event = app.map_or(0, |app| app.settings().max_event);
    (MESSAGE_LEN_BASE + ESCAPED_MAX * max_event) as u64
}

fn check(request: &Request, app: &Arc<RunningApp>, access: &Access) -> Result<(Place, u32), Error> {
    let settings = app.settings();
    if !settings.is_enabled {
        return Err(Error::AppDisabled);
    }
    let version = protocol(http::parameter(request.query(), "protocol").as_deref())?;
    if !access.is_origin_served(request, &settings.allow_origin) {
        let origin = request.header_str("origin").unwrap_or_default();
        return Err(Error::Unauthorized(format!("pages of the origin {origin} are not served")));
    }
    app.take_place().map(|place| (place, version)).ok_or(Error::OverQuota)
}
