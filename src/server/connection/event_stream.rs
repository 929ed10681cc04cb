//! The role of a connection that reads one channel as an event stream: chunks of an answer without an end.
//!
//! How an event looks the encoder knows. What the peer sends is ignored.

use super::Connection;
use super::context::Context;
use super::joining::join;
use crate::http;
use crate::server::api::handlers::Joining;

impl Connection {
    /// Answers a request with an event stream.
    pub(super) fn begin_stream(&mut self, joining: &Joining, cx: &mut Context) {
        let joined = join(joining, cx);
        self.send_stream_head(cx);
        // A stream's peer says nothing. It gets the time that a WebSocket has to be silent and to answer a ping.
        #[cfg(target_os = "linux")]
        {
            let config = &cx.shared.config;
            self.stream.expect_acknowledgement(config.idle_timeout + config.pong_timeout);
        }
        self.become_event_stream(cx.is_leaving(), cx.now);
        self.begin(joined);
    }

    /// Ends the stream, with a comment that says why.
    pub(super) fn end_stream(&mut self, reason: &str, cx: &mut Context) {
        http::encode_comment(self.outbox.tail(), reason);
        self.outbox.tail().extend_from_slice(http::LAST_CHUNK);
        self.finish(cx);
    }
}
