//! Which channel a request to `/channels/{name}` means where there are apps, and which channels are closed to it.
//!
//! Subscribers of private and presence channels need a signature, which these requests do not have.

use crate::http::{self, Request, Response, Status};
use crate::hub::ChannelName;
use crate::pusher::{Access, Kind, Name};
use crate::server::access::Identity;
use crate::server::api::handlers::Basis;

/// What the request wants of the channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To read it.
    Subscribe,
    /// To publish to it.
    Publish,
}

/// The channel of the default app or of that which `app` names, if it is open to the request. Without apps, the names
/// of channels have no meaning.
///
/// # Errors
/// 404 for an app that there is not, 403 for a channel that is closed.
pub fn channel_of(
    request: &Request,
    name: ChannelName,
    wish: Wish,
    who: Option<&Identity>,
    basis: Basis<'_>,
) -> Result<ChannelName, Response> {
    let Basis { access, apps, .. } = basis;
    let channel = match http::parameter(request.query(), "app") {
        None => name,
        Some(id) => {
            let app = apps.by_id(&id).ok_or_else(no_app)?;
            let name = Name::new(name.as_str());
            app.channel(&name.map_err(|error| Response::error(Status::BAD_REQUEST, &error))?)
        }
    };
    if apps.of_channel(&channel).is_none() || Kind::of(channel.local()).access == Access::Public {
        return Ok(channel);
    }
    match wish {
        // Whoever has the key may publish whatever a server of the app may.
        Wish::Publish if access.has_publishing_key(who, &channel) => Ok(channel),
        Wish::Publish => Err(closed(
            "Publishing to a private or presence channel needs the server's --publish-key as Authorization: Bearer \
             KEY, or a signed request to /apps/{id}/events.",
        )),
        Wish::Subscribe => Err(closed(
            "This channel is private: subscribe by the Pusher protocol, with a signature of the app's server.",
        )),
    }
}

fn no_app() -> Response {
    Response::text(
        Status::NOT_FOUND,
        "There is no app with this identifier; leave app out for the first one.",
    )
}

fn closed(sentence: &str) -> Response {
    Response::text(Status::FORBIDDEN, sentence)
}
