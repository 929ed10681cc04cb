//! The role of a connection that reads one channel as an event stream: chunks of a response without an end.
//!
//! Events are encoded by `encoder`. What the peer sends is ignored.

use std::slice;

use super::Connection;
use super::awaiting::Streaming;
use super::context::Context;
use super::joining::join;
use super::preparing::Waited;
use crate::http;
use crate::server::api::acceptance::Joining;
use crate::server::broker::engine::waiting::Sought;

impl Connection {
    /// Answers a request with an event stream, of a channel that may not be ready although it was waited for.
    pub(super) fn begin_stream(&mut self, joining: Joining, waited: Waited, cx: &mut Context) {
        let sought = Sought::at(joining.channel.clone(), joining.position);
        if let Some(question) = cx.prepare_sought(slice::from_ref(&sought), waited.is_asked) {
            return self.begin_stream_late(Streaming::One(joining), question, cx);
        }
        let joined = join(&joining, self.present(), cx);
        self.send_stream_head(cx);
        self.become_event_stream(cx.is_leaving(), joining.form.is_envelope(), None, cx.now);
        self.begin(joined, &cx.hub);
        self.expect_acknowledgement(cx);
    }

    /// The reader of a stream sends nothing: TCP acknowledgements are its only sign of life. It has as long for them as a
    /// WebSocket has to be silent and to answer a ping.
    pub(super) fn expect_acknowledgement(&self, cx: &Context) {
        #[cfg(target_os = "linux")]
        {
            let config = &cx.shared.config;
            self.stream.expect_acknowledgement(Some(config.idle_timeout + config.pong_timeout));
        }
        #[cfg(not(target_os = "linux"))]
        let _ = cx;
    }

    /// The socket of a stream does not take all any more: from now on, the bytes that it takes are the sign of life. The
    /// system would count the time since its window was last wide enough for a whole segment, and cut a reader that takes
    /// a little all the time; so it is not asked again before a ping is due and nothing waits.
    pub(super) fn expect_progress(&mut self, cx: &Context) {
        #[cfg(target_os = "linux")]
        self.stream.expect_acknowledgement(None);
        self.deadlines.restart(cx.now);
    }

    /// Ends the stream, with a comment that says why.
    pub(super) fn end_stream(&mut self, reason: &str, cx: &mut Context) {
        http::encode_comment(self.outbox.tail(), reason);
        self.outbox.tail().extend_from_slice(http::LAST_CHUNK);
        self.finish(cx);
    }
}
