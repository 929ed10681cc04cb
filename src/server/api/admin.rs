//! What a server says of itself: its metrics, and whether it is alive and ready.
//!
//! Which request gets it is decided in `handlers`.

use crate::http::{Response, Status};
use crate::server::metrics::process::ProcessFigures;
use crate::server::metrics::prometheus;
use crate::server::metrics::snapshot::Snapshot;

/// What is told besides what the configuration settles: the loop fills it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// All numbers, for Prometheus: [`metrics`].
    Metrics,
    /// Whether requests are taken or the server is stopping: [`readiness`].
    Readiness,
}

/// The answer at `/metrics`.
pub fn metrics(snapshot: &Snapshot, process: &ProcessFigures) -> Response {
    Response::new(Status::OK).body(prometheus::CONTENT_TYPE, prometheus::render(snapshot, process))
}

/// The answer at `/readyz`.
pub fn readiness(is_stopping: bool) -> Response {
    match is_stopping {
        false => Response::text(Status::OK, "ready"),
        true => Response::text(Status::SERVICE_UNAVAILABLE, "The server is stopping."),
    }
}

/// The answer at `/healthz`.
pub fn health() -> Response {
    Response::text(Status::OK, "ok")
}
