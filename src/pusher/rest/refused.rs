//! Why a request of the HTTP API is refused: the status, and the sentence that libraries print as they get it.
//!
//! Which rule a request breaks is found elsewhere: in its signature by `rest_signature`, in its content by `rest_call`.

use std::fmt;

use super::invalid::Invalid;
use super::quote::Quoted;
use super::unauthorized::Unauthorized;

/// Why a request is refused. [`Refused::status`] is the status, `Display` the body: section 5.2 of the protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A path of the API that names nothing.
    Path,
    /// A method that the endpoint does not have; what it has, as the field `Allow` says it.
    Method(&'static str),
    /// No app has this identifier.
    AppUnknown(String),
    /// The app is disabled.
    AppDisabled,
    /// The app has published as many events as it may.
    Rate {
        /// How many it may publish in a second.
        rate: u32,
        /// In how many seconds it may publish the next one.
        retry_s: u64,
    },
    /// The signature is missing, or is none of this request.
    Unauthorized(Unauthorized),
    /// The path, the parameters or the body break a rule of the endpoint.
    Invalid(Invalid),
}

impl Refused {
    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Unauthorized(_) => 401,
            Self::AppDisabled => 403,
            Self::Path | Self::AppUnknown(_) => 404,
            Self::Method(_) => 405,
            Self::Rate { .. } => 429,
            Self::Invalid(invalid) => invalid.status(),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path => f.write_str(
                "No such endpoint: an app has /apps/ID/events, /apps/ID/batch_events, /apps/ID/channels, \
                 /apps/ID/channels/NAME, /apps/ID/channels/NAME/users and /apps/ID/users/USER/terminate_connections",
            ),
            Self::Method(allow) => write!(f, "This endpoint takes {allow}"),
            Self::AppUnknown(id) => write!(f, "Unknown app: none has the id {}", Quoted(id)),
            Self::AppDisabled => f.write_str("The app is disabled by the configuration of the server"),
            Self::Rate { rate, retry_s } => write!(
                f,
                "Too many events: this app may publish {rate} a second; try again in {retry_s} s (event-rate in the \
                 configuration of the server)"
            ),
            Self::Unauthorized(unauthorized) => unauthorized.fmt(f),
            Self::Invalid(invalid) => invalid.fmt(f),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Unauthorized> for Refused {
    fn from(unauthorized: Unauthorized) -> Self {
        Self::Unauthorized(unauthorized)
    }
}

impl From<Invalid> for Refused {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}
