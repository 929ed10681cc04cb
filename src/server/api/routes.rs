//! From a listener and a path to what is served there. What is done with it is in `handlers`.

use crate::http::{self, Request, Response, Status};
use crate::hub::ChannelName;
use crate::pusher::fallback::path::{self, Purpose, SessionName};
use crate::pusher::rest::{Head, Refused};
use crate::server::api::watching::NotOwn;

/// The listener that a connection came in at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// One of `--listen`.
    Public,
    /// That of `--metrics-listen`. Whoever chose its address chose who reaches it: no key, host name or origin is
    /// checked there, no channel is served, and no page may read an answer by CORS.
    Metrics,
}

/// What a path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/`
    Home,
    /// `/healthz`
    Health,
    /// `/readyz`
    Ready,
    /// `/metrics`
    Metrics,
    /// `/dashboard`
    Dashboard,
    /// `/dashboard/figures`
    Figures,
    /// `/fanfare.js`, the client as a plain script.
    Script,
    /// `/fanfare.mjs`, the client as an ES module.
    Module,
    /// `/fanfare.d.mts`, the types of the client.
    Types,
    /// `/echo`
    Echo,
    /// `/revoke`, where tokens are revoked.
    Revoke,
    /// `/channels/{name}`
    Channel(ChannelName),
    /// `/channels/{name}/presence`, who is in a channel.
    Presence(ChannelName),
    /// `/channels/{name}/state`
    State(ChannelName),
    /// `/channels`, for many channels
    Channels,
    /// `/app/{key}`, where clients of the Pusher protocol connect.
    Pusher(String),
    /// A path beside that, where a client of the protocol wants to connect.
    PusherElsewhere,
    /// `/apps/{id}/…`, where servers call the HTTP API of Pusher; or why the request is none of its calls.
    Rest(Box<Result<Head, Refused>>),
    /// `…/app/{key}/{server}/{session}/…`: a request of a session over HTTP.
    Session(SessionName, Purpose),
}

/// What is ahead of the key where Pusher clients connect.
const APP: &str = "/app/";

/// The prefix of every channel's path.
const CHANNELS: &str = "/channels/";

/// Where the figures of the dashboard are subscribed to.
pub const FIGURES_PATH: &str = "/dashboard/figures";

impl Route {
    /// The route of a request, or the answer that there is none.
    pub fn of(door: Door, request: &Request) -> Result<Self, Response> {
        match (door, request.path()) {
            (_, "/healthz") => Ok(Self::Health),
            (_, "/readyz") => Ok(Self::Ready),
            (_, "/metrics") => Ok(Self::Metrics),
            (Door::Metrics, _) => Err(Response::text(
                Status::NOT_FOUND,
                "Only /metrics, /healthz and /readyz are served at this address.",
            )),
            (Door::Public, path) => Self::of_public(path, request),
        }
    }

    fn of_public(path: &str, request: &Request) -> Result<Self, Response> {
        match path {
            "/" => Ok(Self::Home),
            "/dashboard" => Ok(Self::Dashboard),
            FIGURES_PATH => Ok(Self::Figures),
            "/fanfare.js" => Ok(Self::Script),
            "/fanfare.mjs" => Ok(Self::Module),
            "/fanfare.d.mts" => Ok(Self::Types),
            "/echo" => Ok(Self::Echo),
            "/revoke" => Ok(Self::Revoke),
            "/channels" => Ok(Self::Channels),
            path => Self::of_names(path, request),
        }
    }

    /// The route of a path that names something.
    fn of_names(path: &str, request: &Request) -> Result<Self, Response> {
        if let Some(segment) = path.strip_prefix(CHANNELS) {
            // No name has a slash.
            return match segment.split_once('/') {
                Some((segment, "presence")) => channel(segment).map(Self::Presence),
                Some((segment, "state")) => channel(segment).map(Self::State),
                Some(_) | None => channel(segment).map(Self::Channel),
            };
        }
        if let Some(key) = pusher_key(path) {
            return Ok(Self::Pusher(key));
        }
        if let Some((name, purpose)) = Self::session(path) {
            return Ok(Self::Session(name, purpose));
        }
        match Head::new(request.method(), path, request.query()) {
            Some(head) => Ok(Self::Rest(Box::new(head))),
            // A status would have pusher-js try again for ever.
            None if http::is_upgrade(request) && format!("{path}/").contains(APP) => {
                Ok(Self::PusherElsewhere)
            }
            None => Err(Response::text(
                Status::NOT_FOUND,
                "Nothing is here; channels are at /channels/{name}, and the server's state at /healthz.",
            )),
        }
    }

    /// The session that the path of a request names, and what the request is for.
    pub fn session(path: &str) -> Option<(SessionName, Purpose)> {
        let (name, purpose) = path::parse(path)?;
        let key = http::decode_segment(&name.key)?;
        Some((name.with_key(&key), purpose))
    }

    /// The methods that the route knows at a listener, as the `Allow` field names them.
    pub fn allow(&self, door: Door) -> &'static str {
        match (door, self) {
            (Door::Metrics, _) => "GET, HEAD",
            (Door::Public, Self::Channel(_) | Self::Channels) => "GET, HEAD, POST, OPTIONS",
            (Door::Public, Self::Rest(head)) => match **head {
                Err(Refused::Method("GET")) => "GET, OPTIONS",
                Err(Refused::Method("POST")) => "POST, OPTIONS",
                Ok(_) | Err(_) => "GET, POST, OPTIONS",
            },
            (Door::Public, Self::Session(..) | Self::Revoke) => "POST, OPTIONS",
            (
                Door::Public,
                Self::Home
                | Self::Health
                | Self::Ready
                | Self::Metrics
                | Self::Dashboard
                | Self::Figures
                | Self::Script
                | Self::Module
                | Self::Types
                | Self::Echo
                | Self::Presence(_)
                | Self::State(_)
                | Self::Pusher(_)
                | Self::PusherElsewhere,
            ) => "GET, HEAD, OPTIONS",
        }
    }
}

/// The key in `/app/{key}`. A client may be configured with a prefix (`wsPath`) that a proxy has not removed, and some
/// add a slash.
fn pusher_key(path: &str) -> Option<String> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (_, key) = path.rsplit_once(APP)?;
    if key.is_empty() || key.contains('/') {
        return None;
    }
    http::decode_segment(key)
}

fn decoded(segment: &str) -> Result<String, Response> {
    http::decode_segment(segment).ok_or_else(|| {
        Response::text(Status::BAD_REQUEST, "The channel name is not UTF-8 when percent-decoded.")
    })
}

fn channel(segment: &str) -> Result<ChannelName, Response> {
    checked(&decoded(segment)?)
}

/// The channel of this name, if clients may name it.
///
/// # Errors
/// The name breaks a rule, or is one of the server's own.
pub fn checked(name: &str) -> Result<ChannelName, Response> {
    let name = ChannelName::new(name).map_err(|error| Response::error(Status::BAD_REQUEST, &error))?;
    if name.is_reserved() {
        return Err(NotOwn::Unknown.into());
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Event, Limits, RequestReader};

    fn route(door: Door, path: &str) -> Result<Route, Status> {
        let mut reader = RequestReader::new(Limits::default());
        reader.receive(format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("a complete head") };
        Route::of(door, &request).map_err(|response| response.status())
    }

    #[test]
    fn the_state_of_the_server_is_at_both_listeners_and_everything_else_at_the_public_ones() {
        for (path, named) in
            [("/metrics", Route::Metrics), ("/healthz", Route::Health), ("/readyz", Route::Ready)]
        {
            assert_eq!(route(Door::Public, path), Ok(named.clone()));
            assert_eq!(route(Door::Metrics, path), Ok(named));
        }
        let client = ["/fanfare.js", "/fanfare.mjs", "/fanfare.d.mts"];
        for path in ["/", "/dashboard", FIGURES_PATH, "/echo", "/channels/a"].into_iter().chain(client) {
            assert!(route(Door::Public, path).is_ok(), "{path}");
            assert_eq!(route(Door::Metrics, path), Err(Status::NOT_FOUND), "{path}");
        }
    }

    #[test]
    fn a_channel_of_the_servers_own_is_forbidden_and_a_path_that_names_nothing_is_not_found() {
        assert_eq!(route(Door::Public, "/channels/@fanfare.dashboard"), Err(Status::FORBIDDEN));
        assert_eq!(route(Door::Public, "/channels/%ff"), Err(Status::BAD_REQUEST));
        assert_eq!(route(Door::Public, "/channel/a"), Err(Status::NOT_FOUND));
        assert_eq!(route(Door::Public, "/channels/@fanfare.watch%2Fa"), Err(Status::BAD_REQUEST));
        assert_eq!(route(Door::Public, "/channels/@fanfare.watch/a"), Err(Status::BAD_REQUEST));
    }

    #[test]
    fn who_is_in_a_channel_is_asked_for_beside_it() {
        let named = Route::Presence(ChannelName::new("chat-7").unwrap());
        assert_eq!(route(Door::Public, "/channels/chat-7/presence"), Ok(named));
        assert_eq!(route(Door::Public, "/channels/@fanfare.dashboard/presence"), Err(Status::FORBIDDEN));
        assert_eq!(route(Door::Public, "/channels/chat-7/nothing"), Err(Status::BAD_REQUEST));
    }

    #[test]
    fn the_http_api_of_an_app_is_at_its_identifier_whatever_is_ahead_of_it() {
        for path in ["/apps/1/channels", "/behind/a/proxy/apps/1/channels"] {
            let named = route(Door::Public, path);
            assert!(matches!(&named, Ok(Route::Rest(head)) if head.is_ok()), "{named:?}");
            assert_eq!(route(Door::Metrics, path), Err(Status::NOT_FOUND));
        }
        let Ok(named) = route(Door::Public, "/apps/1/events") else { panic!("a route") };
        assert_eq!(named, Route::Rest(Box::new(Err(Refused::Method("POST")))));
        assert_eq!(named.allow(Door::Public), "POST, OPTIONS");
        assert!(matches!(route(Door::Public, "/app/apps"), Ok(Route::Pusher(_))));
    }

    #[test]
    fn what_may_be_asked_depends_on_the_listener() {
        assert_eq!(Route::Metrics.allow(Door::Metrics), "GET, HEAD");
        assert_eq!(Route::Metrics.allow(Door::Public), "GET, HEAD, OPTIONS");
        let channel = Route::Channel(ChannelName::new("a").unwrap());
        assert_eq!(channel.allow(Door::Public), "GET, HEAD, POST, OPTIONS");
    }
}
