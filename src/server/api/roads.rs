//! Which channel a request to `/channels/{name}` means where there are apps, and which channels are closed to it.
//!
//! Subscribers of private and presence channels need a signature, which these requests do not have.

use crate::http::{self, Request, Response, Status};
use crate::hub::ChannelName;
use crate::pusher::{Access, Kind, Name};
use crate::server::access::Identity;
use crate::server::api::basis::Basis;
use crate::server::apps::Apps;

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
    let app = app_of(request, apps)?;
    let channel = name_in_app(&name, app.as_deref(), apps).ok_or_else(no_app)?;
    check_kind(&channel, wish, access.has_publishing_key(who, &channel), apps)
        .map(|()| channel)
        .map_err(|sentence| Response::text(Status::FORBIDDEN, sentence))
}

/// The app that a request names.
///
/// # Errors
/// There is no such app.
pub fn app_of(request: &Request, apps: &Apps) -> Result<Option<Box<str>>, Response> {
    match http::parameter(request.query(), "app") {
        None => Ok(None),
        Some(id) if apps.by_id(&id).is_some() => Ok(Some(id.into())),
        Some(_) => Err(no_app()),
    }
}

/// The channel that clients of an app call so; of the first if they name none. `None` if there is no such app.
pub fn name_in_app(name: &ChannelName, app: Option<&str>, apps: &Apps) -> Option<ChannelName> {
    let Some(id) = app else { return Some(name.clone()) };
    let name = Name::new(name.as_str()).expect("a client's name of a channel is one in an app too");
    Some(apps.by_id(id)?.channel(&name))
}

/// Checks that the kind of channel is open to who is no client of the app; `has_key` whether a key of the server allows more.
///
/// # Errors
/// Says what it needs.
pub fn check_kind(channel: &ChannelName, wish: Wish, has_key: bool, apps: &Apps) -> Result<(), &'static str> {
    if apps.of_channel(channel).is_none() || Kind::of(channel.local()).access == Access::Public {
        return Ok(());
    }
    match wish {
        // Whoever has the key may publish whatever a server of the app may.
        Wish::Publish if has_key => Ok(()),
        Wish::Publish => Err(
            "Publishing to a private or presence channel needs the server's --publish-key as Authorization: Bearer \
             KEY, or a signed request to /apps/{id}/events.",
        ),
        Wish::Subscribe => Err(
            "This channel is private: subscribe by the Pusher protocol, with a signature of the app's server.",
        ),
    }
}

/// The answer to a request that names an app that there is not.
pub fn no_app() -> Response {
    Response::text(
        Status::NOT_FOUND,
        "There is no app with this identifier; leave app out for the first one.",
    )
}
