//! From a path to what it names. What is done with it, `handlers` says.

use crate::http::{self, Request, Response, Status};
use crate::hub::ChannelName;

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
    /// `/echo`
    Echo,
    /// `/channels/{name}`
    Channel(ChannelName),
}

/// The prefix of every channel's path.
const CHANNELS: &str = "/channels/";

/// Where the figures of the dashboard are subscribed to.
pub const FIGURES_PATH: &str = "/dashboard/figures";

impl Route {
    /// The route of a request, or the answer that there is none.
    pub fn of(request: &Request) -> Result<Self, Response> {
        match request.path() {
            "/" => Ok(Self::Home),
            "/healthz" => Ok(Self::Health),
            "/readyz" => Ok(Self::Ready),
            "/metrics" => Ok(Self::Metrics),
            "/dashboard" => Ok(Self::Dashboard),
            FIGURES_PATH => Ok(Self::Figures),
            "/fanfare.js" => Ok(Self::Script),
            "/fanfare.mjs" => Ok(Self::Module),
            "/echo" => Ok(Self::Echo),
            path => match path.strip_prefix(CHANNELS) {
                Some(segment) => channel(segment).map(Self::Channel),
                None => Err(Response::text(
                    Status::NOT_FOUND,
                    "Nothing is here; channels are at /channels/{name}, and the server's state at /healthz.",
                )),
            },
        }
    }

    /// The methods that the route knows, as the `Allow` field names them.
    pub fn allow(&self) -> &'static str {
        match self {
            Self::Home | Self::Health | Self::Script | Self::Module | Self::Echo => "GET, HEAD, OPTIONS",
            Self::Ready | Self::Metrics | Self::Dashboard | Self::Figures => "GET, HEAD, OPTIONS",
            Self::Channel(_) => "GET, HEAD, POST, OPTIONS",
        }
    }
}

fn channel(segment: &str) -> Result<ChannelName, Response> {
    let Some(name) = http::decode_segment(segment) else {
        return Err(Response::text(
            Status::BAD_REQUEST,
            "The channel name is not UTF-8 when percent-decoded.",
        ));
    };
    let name = ChannelName::new(&name).map_err(|error| Response::error(Status::BAD_REQUEST, &error))?;
    if name.is_reserved() {
        return Err(Response::text(
            Status::FORBIDDEN,
            "Channels whose names begin with @fanfare. are the server's own; the dashboard's figures are at \
             /dashboard/figures.",
        ));
    }
    Ok(name)
}
