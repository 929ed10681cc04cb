//! What a server says of itself: its metrics, and whether it is alive and ready.
//!
//! Which request gets it is decided in `handlers`.

use crate::http::{Response, Status};
use crate::hub::ChannelName;
use crate::server::broker::queries::PageOf;
use crate::server::metrics::process::ProcessFigures;
use crate::server::metrics::prometheus;
use crate::server::metrics::snapshot::Snapshot;

/// What is told besides what the configuration settles: the loop fills it in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Report {
    /// All numbers, for Prometheus: [`metrics`].
    Metrics,
    /// Whether requests are taken or the server is stopping: [`readiness`].
    Readiness,
    /// Who is in the channel: [`presence`].
    Presence(ChannelName),
    /// The channels: [`queries::page`](crate::server::api::queries::page).
    Channels(PageOf),
    /// The state of a channel: [`queries::state`](crate::server::api::queries::state).
    Channel(ChannelName),
}

/// The answer at `/metrics`.
pub fn metrics(snapshot: &Snapshot, process: &ProcessFigures) -> Response {
    Response::new(Status::OK).body(prometheus::CONTENT_TYPE, prometheus::render(snapshot, process))
}

/// The answer at `/readyz`.
pub fn readiness(is_stopping: bool, is_redis_away: bool) -> Response {
    match (is_stopping, is_redis_away) {
        (true, _) => Response::text(Status::SERVICE_UNAVAILABLE, "The server is stopping."),
        (false, true) => Response::text(
            Status::SERVICE_UNAVAILABLE,
            "Redis cannot be reached: nothing is published, and channels that this node does not have cannot be joined.",
        ),
        (false, false) => Response::text(Status::OK, "ready"),
    }
}

/// The answer to who is in a channel: a JSON object; `None` where that is not told.
pub fn presence(channel: &ChannelName, data: Option<String>) -> Response {
    match data {
        Some(data) => Response::json(Status::OK, data + "\n").header("Cache-Control", "no-store"),
        None => Response::text(Status::NOT_FOUND, &not_told(channel)),
    }
}

/// Why nobody is told who is in a channel.
pub fn not_told(channel: &ChannelName) -> String {
    format!("Nobody is told who is in channel {}: no --presence of the server names it.", channel.local())
}

/// The answer at `/healthz`.
pub fn health() -> Response {
    Response::text(Status::OK, "ok")
}
