//! Which channel an operator asks to watch on the dashboard.
//!
//! Who may ask is checked before.

use crate::http::{self, Request, Response, Status};
use crate::hub::ChannelName;
use crate::pusher::Name;
use crate::server::apps::Apps;

/// The channel that clients of the app in the parameter `app` know by this name; a channel with a plain name if there is no
/// such parameter.
///
/// # Errors
/// There is no such app.
pub fn watched_channel(request: &Request, name: &Name, apps: &Apps) -> Result<ChannelName, Response> {
    let id = http::parameter(request.query(), "app").unwrap_or_default();
    if id.is_empty() {
        return Ok(name.channel().clone());
    }
    match apps.by_id(&id) {
        Some(app) => Ok(app.channel(name)),
        None => {
            Err(Response::text(Status::NOT_FOUND, "No app has this id; leave app out for the first one."))
        }
    }
}
