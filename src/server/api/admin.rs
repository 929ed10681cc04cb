//! What is answered at the address of `--metrics-listen`: the state of the server, and no channel.
//!
//! No key is asked for, and no name: who gave the address decides who reaches it, and under what names scrapers do that
//! is not known here. No channel can be read or published to, and no page is let read an answer by CORS.

use crate::http::{Request, Response, Status};
use crate::server::api::handlers::{Answer, Report, health, method_not_allowed};

/// What there is.
const PATHS: &str = "Only /metrics, /healthz and /readyz are served at this address.";

/// The answer to a request whose head is complete.
pub fn answer(request: &Request) -> Answer {
    let answer = match request.path() {
        "/metrics" => Answer::Report(Report::Metrics),
        "/healthz" => Answer::Respond(health()),
        "/readyz" => Answer::Report(Report::Readiness),
        _ => return Answer::Respond(Response::text(Status::NOT_FOUND, PATHS)),
    };
    match request.method() {
        "GET" | "HEAD" => answer,
        method => Answer::Respond(method_not_allowed(method, "GET, HEAD")),
    }
}
