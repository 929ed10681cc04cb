//! The HTTP API for servers: from the head of a request to the call that its body completes.
//!
//! The signature is `rest_signature`'s, the content `rest_call`'s, answers are `rest_answer`'s. Nothing is published here.

pub mod answer;
mod call;
mod invalid;
mod parameters;
mod quote;
mod refused;
mod signature;
mod unauthorized;

use percent_encoding::percent_decode_str;

use crate::pusher::app::App;
pub use call::{Call, Endpoint, Info, Trigger};
pub use invalid::Invalid;
pub use parameters::Parameters;
pub use refused::Refused;
use signature::key;
pub use signature::{Signed, authenticate, check_body};
pub use unauthorized::Unauthorized;

/// The head of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    method: &'static str,
    path: Box<str>,
    prefix: Box<str>,
    query: Box<str>,
    endpoint: Endpoint,
    app: AppOf,
}

/// A request that is signed, kept until its body is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticated {
    endpoint: Endpoint,
    parameters: Parameters,
}

/// How a request says which app it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppOf {
    /// By its identifier, in the path.
    Id(String),
    /// By its key, in `auth_key`. The Python library does so where it terminates connections.
    Key(String),
}

impl Head {
    /// Takes the head of a request apart: its method, its path and its query, both as sent. `None` if the path is none of
    /// the API's. What a client may be configured to put ahead of paths, and a proxy has not removed, is passed over.
    ///
    /// # Errors
    /// The path is of the API but names nothing, or has another method.
    pub fn new(method: &str, path: &str, query: Option<&str>) -> Option<Result<Self, Refused>> {
        let start = path.rfind("/apps/").or_else(|| path.rfind("/users/"))?;
        let (prefix, path) = path.split_at(start);
        let is_by_key = path.ends_with("/terminate_connections");
        if path.starts_with("/users/") && !is_by_key {
            return None;
        }
        Some(Self::of_api(method, prefix, path, query.unwrap_or_default()))
    }

    fn of_api(method: &str, prefix: &str, path: &str, query: &str) -> Result<Self, Refused> {
        let segments = path.split('/').skip(1).map(segment).collect::<Result<Vec<_>, _>>()?;
        let segments: Vec<_> = segments.iter().map(String::as_str).collect();
        let (app, endpoint) = match &segments[..] {
            ["apps", id, rest @ ..] => (AppOf::Id((*id).to_owned()), endpoint(rest).ok_or(Refused::Path)?),
            ["users", user, "terminate_connections"] => {
                (AppOf::Key(key(query)?), Endpoint::Terminate((*user).to_owned()))
            }
            _ => return Err(Refused::Path),
        };
        let allowed = endpoint.method();
        if method != allowed {
            return Err(Refused::Method(allowed));
        }
        Ok(Self {
            method: allowed,
            path: format!("{prefix}{path}").into(),
            prefix: prefix.into(),
            query: query.into(),
            endpoint,
            app,
        })
    }

    /// Which app it is for. Whether there is one is the server's to say: [`Refused::AppUnknown`] and
    /// [`Unauthorized::KeyUnknown`] if not.
    #[must_use]
    pub fn app(&self) -> &AppOf {
        &self.app
    }

    /// Checks the signature at the time `now_s`, in seconds since 1970: before the body is read, so that nobody else has the
    /// server keep one.
    ///
    /// # Errors
    /// The app is disabled, or says what is wrong with the signature.
    pub fn authenticate(self, app: &App, now_s: u64) -> Result<Authenticated, Refused> {
        if !app.is_enabled {
            return Err(Refused::AppDisabled);
        }
        let signed =
            Signed { method: self.method, path: &self.path, prefix: &self.prefix, query: &self.query };
        let parameters = authenticate(&signed, app, now_s)?;
        Ok(Authenticated { endpoint: self.endpoint, parameters })
    }
}

impl Authenticated {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// What the request asks for with this body, which is empty for a GET.
    ///
    /// # Errors
    /// The body is not the one that was signed, or says which rule of the endpoint the request breaks.
    pub fn call(&self, body: &[u8], app: &App) -> Result<Call, Refused> {
        check_body(&self.parameters, body)?;
        Ok(self.endpoint.call(&self.parameters, body, app)?)
    }
}

impl Endpoint {
    fn method(&self) -> &'static str {
        match self {
            Self::Events | Self::BatchEvents | Self::Terminate(_) | Self::ChannelEvents(_) => "POST",
            Self::Channels | Self::Channel(_) | Self::Users(_) | Self::Stats(_) => "GET",
        }
    }
}

fn endpoint(segments: &[&str]) -> Option<Endpoint> {
    let owned = |text: &str| text.to_owned();
    Some(match *segments {
        ["events"] => Endpoint::Events,
        ["batch_events"] => Endpoint::BatchEvents,
        ["channels"] => Endpoint::Channels,
        ["channels", channel] => Endpoint::Channel(owned(channel)),
        ["channels", channel, "users"] => Endpoint::Users(owned(channel)),
        ["channels", channel, "events"] => Endpoint::ChannelEvents(owned(channel)),
        ["channels", channel, "stats"] => Endpoint::Stats(owned(channel)),
        ["users", user, "terminate_connections"] => Endpoint::Terminate(owned(user)),
        _ => return None,
    })
}

/// One part of a path without its escapes.
fn segment(sent: &str) -> Result<String, Refused> {
    let decoded = percent_decode_str(sent).decode_utf8();
    decoded.map(Into::into).map_err(|_| Invalid::NotUtf8("path").into())
}

#[cfg(test)]
#[path = "rest_tests.rs"]
mod tests;
