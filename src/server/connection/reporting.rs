//! The answers to requests about the server itself and about its channels.
//!
//! What they look like is in `api`.

use super::context::Context;
use crate::http::Response;
use crate::server::api::admin::{self, Report};
use crate::server::api::queries;
use crate::server::stopping::Stop;

/// The answer to a request about the server itself.
pub fn report_on(report: Report, cx: &mut Context) -> Response {
    match report {
        Report::Metrics => {
            cx.put_counters();
            let mut snapshot = cx.shared.snapshot();
            cx.program.report(&mut snapshot);
            admin::metrics(&snapshot, &cx.shared.meters.process.figures())
        }
        Report::Readiness => admin::readiness(cx.shared.stop() != Stop::No, cx.shared.is_redis_away()),
        Report::Presence(channel) => admin::presence(&channel, cx.presence_of(&channel)),
        Report::Channels(asked) => queries::page(&cx.shared.broker.page(&asked)),
        Report::Channel(channel) => queries::state(&channel, cx.shared.broker.state_of(channel.as_str())),
    }
}
