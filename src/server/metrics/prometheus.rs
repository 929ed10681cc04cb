//! The snapshot in Prometheus's text format, version 0.0.4.
//!
//! Nothing is counted here.

use std::fmt::{self, Display, Write};

use crate::backend;
use crate::pusher::webhook::Counts;
use crate::server::metrics::counters::{
    ApiCall, Counters, Handshakes, POLICIES, TURN_BOUNDS_US, Transport, Turns,
};
use crate::server::metrics::process::ProcessFigures;
use crate::server::metrics::snapshot::{RedisFigures, Snapshot, TlsFigures, VERSION};

/// The media type of the format.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Capacity for a whole answer, which has about 9 KB.
const CAPACITY: usize = 12 * 1024;

const NANOS: f64 = 1e9;
const MICROS: f64 = 1e6;

/// The whole page.
pub fn render(snapshot: &Snapshot, process: &ProcessFigures) -> String {
    let mut page = Page { text: String::with_capacity(CAPACITY) };
    page.connections(snapshot);
    page.traffic(snapshot);
    page.lag(snapshot);
    page.refusals(snapshot);
    page.memory(snapshot);
    page.webhooks(snapshot);
    page.backend(snapshot.backend.unwrap_or_default());
    page.handlers(snapshot);
    let help = "Publications by keys that are missing in --audit: its file was too slow, or took nothing.";
    page.single("fanfare_audit_lost_total", Type::Counter, help, snapshot.audit_lost);
    snapshot.key_fetches.iter().for_each(|fetches| page.key_fetches(*fetches));
    snapshot.redis.iter().for_each(|redis| page.redis(redis));
    if let Some(tls) = &snapshot.tls {
        page.handshakes(snapshot);
        page.certificates(tls);
    }
    page.turns(&snapshot.counters.turns);
    page.build();
    page.process(process);
    page.text
}

/// The type of a family of metrics, for its `TYPE` line.
#[derive(Clone, Copy, Debug)]
enum Type {
    Counter,
    Gauge,
    Histogram,
    Summary,
}

struct Page {
    text: String,
}

impl Page {
    fn handlers(&mut self, snapshot: &Snapshot) {
        let help = "Panics of handlers of the program.";
        self.single("fanfare_handler_panics_total", Type::Counter, help, snapshot.handler_panics);
        let name = "fanfare_handler_seconds";
        self.family(name, Type::Summary, "Time in handlers of the program, and their calls, by route.");
        for (route, calls, took) in &snapshot.handlers {
            self.labelled("fanfare_handler_seconds_sum", "route", route, took.as_secs_f64());
            self.labelled("fanfare_handler_seconds_count", "route", route, *calls);
        }
    }

    fn connections(&mut self, snapshot: &Snapshot) {
        let name = "fanfare_connections";
        self.family(name, Type::Gauge, "Open connections, by transport.");
        let counters = &snapshot.counters;
        let by_transport = || Transport::ALL.iter().zip(counters.connections).zip(counters.tls_connections);
        for ((transport, all), tls) in by_transport() {
            self.labelled(name, "transport", transport.label(), all.saturating_sub(tls));
        }
        for ((transport, _), tls) in by_transport().filter(|_| snapshot.tls.is_some()) {
            self.sample(format_args!("{name}{{transport=\"{}\",tls=\"true\"}}", transport.label()), tls);
        }
        self.single(
            "fanfare_connections_accepted_total",
            Type::Counter,
            "Accepted connections.",
            snapshot.counters.accepted,
        );
        self.single(
            "fanfare_channels",
            Type::Gauge,
            "Known channels: those with subscribers, history or a recent sequence.",
            snapshot.channels,
        );
    }

    fn traffic(&mut self, snapshot: &Snapshot) {
        let counters = &snapshot.counters;
        let publishes = "Publications by clients and by the program, by key where one was shown.";
        let name = "fanfare_publishes_total";
        self.single(name, Type::Counter, publishes, counters.keyless_publishes);
        for (key, publishes, _) in &snapshot.keys {
            self.labelled(name, "key", key, *publishes);
        }
        if !snapshot.keys.is_empty() {
            let name = "fanfare_key_last_used_seconds";
            self.family(
                name,
                Type::Gauge,
                "When each key was last shown, as time since 1970; 0 if it was not.",
            );
            for (key, _, last_used_s) in &snapshot.keys {
                self.labelled(name, "key", key, *last_used_s);
            }
        }
        let name = "fanfare_pusher_calls_total";
        self.family(name, Type::Counter, "Calls of the HTTP API of Pusher that were done, by call.");
        for (call, count) in ApiCall::ALL.iter().zip(counters.api_calls) {
            self.labelled(name, "call", call.label(), count);
        }
        let name = "fanfare_deliveries_total";
        self.family(name, Type::Counter, "Publications times their subscribers, by transport.");
        for transport in Transport::ALL.into_iter().filter(|&transport| transport != Transport::Http) {
            self.labelled(name, "transport", transport.label(), counters.deliveries_by(transport));
        }
        self.single(
            "fanfare_sent_bytes_total",
            Type::Counter,
            "Bytes written to sockets.",
            counters.bytes_sent,
        );
        self.single(
            "fanfare_received_bytes_total",
            Type::Counter,
            "Bytes read from sockets.",
            counters.bytes_received,
        );
    }

    fn lag(&mut self, snapshot: &Snapshot) {
        let counters = &snapshot.counters;
        let name = "fanfare_lagged_total";
        self.family(
            name,
            Type::Counter,
            "Times that a policy was applied to a subscriber that did not keep up.",
        );
        for ((_, label), count) in POLICIES.iter().zip(counters.lagged) {
            self.labelled(name, "policy", label, count);
        }
        self.single(
            "fanfare_passed_over_publications_total",
            Type::Counter,
            "Publications that subscribers who did not keep up were not sent.",
            counters.passed_over,
        );
        self.single(
            "fanfare_lag_max_bytes",
            Type::Gauge,
            "Bytes kept for the subscriber that is furthest behind.",
            counters.lag_max,
        );
    }

    fn refusals(&mut self, snapshot: &Snapshot) {
        let name = "fanfare_refusals_total";
        self.family(name, Type::Counter, "Refused connections, requests and messages, by reason.");
        for &(label, count) in &snapshot.refusals {
            self.labelled(name, "reason", label, count);
        }
        self.single(
            "fanfare_throttled_total",
            Type::Counter,
            "Times that a connection was not read for a moment, since it had sent more than --client-messages allows.",
            snapshot.counters.throttled,
        );
    }

    fn memory(&mut self, snapshot: &Snapshot) {
        let name = "fanfare_memory_bytes";
        self.family(name, Type::Gauge, "Bytes held for clients, by kind.");
        for (kind, bytes) in snapshot.memory() {
            self.labelled(name, "kind", kind, bytes);
        }
        let help = "The limit on bytes held for clients (--max-memory).";
        self.single("fanfare_memory_max_bytes", Type::Gauge, help, snapshot.memory_max);
        self.single(
            "fanfare_evicted_publications_total",
            Type::Counter,
            "Publications evicted from histories because --max-memory was reached.",
            snapshot.evicted,
        );
    }

    fn webhooks(&mut self, snapshot: &Snapshot) {
        let help = "Events that receivers of webhooks took, by app.";
        self.by_app(snapshot, "fanfare_webhooks_sent_total", Type::Counter, help, |counts| counts.sent);
        let help = "Requests that receivers of webhooks did not take, by app.";
        self.by_app(snapshot, "fanfare_webhooks_failed_total", Type::Counter, help, |counts| counts.failed);
        let help = "Events of webhooks that were given up, by app.";
        self.by_app(snapshot, "fanfare_webhooks_dropped_total", Type::Counter, help, |counts| counts.dropped);
        let help = "Events that wait for receivers of webhooks, by app.";
        self.by_app(snapshot, "fanfare_webhooks_queued", Type::Gauge, help, |counts| counts.queued);
    }

    fn backend(&mut self, counts: backend::Counts) {
        let name = "fanfare_auth_calls_total";
        self.family(name, Type::Counter, "Calls of the backend that decides (--auth-url), by outcome.");
        for (outcome, count) in counts.outcomes.named() {
            self.labelled(name, "outcome", outcome, count);
        }
        let help = "Calls of the backend that are being made.";
        self.single("fanfare_auth_calls", Type::Gauge, help, counts.calls);
        let help = "Calls of the backend that wait to be made.";
        self.single("fanfare_auth_calls_waiting", Type::Gauge, help, counts.waiting);
        let help = "Requests, commands and connections that wait for the backend.";
        self.single("fanfare_auth_waiting", Type::Gauge, help, counts.questions);
        let help = "Decisions of the backend that are kept.";
        self.single("fanfare_auth_cache_entries", Type::Gauge, help, counts.kept);
        let help = "Bytes of the decisions of the backend that are kept.";
        self.single("fanfare_auth_cache_bytes", Type::Gauge, help, counts.kept_len);
    }

    fn redis(&mut self, redis: &RedisFigures) {
        let help = "Whether Redis is there and all connections to it are up.";
        self.single("fanfare_redis_up", Type::Gauge, help, u8::from(redis.is_up));
        let name = "fanfare_redis_commands_total";
        self.family(name, Type::Counter, "Publications by way of Redis, by what became of them.");
        redis.commands.iter().for_each(|&(result, count)| self.labelled(name, "result", result, count));
        let name = "fanfare_redis_command_duration_seconds";
        self.family(name, Type::Summary, "The time from a call that publishes to its answer.");
        self.sample(format_args!("{name}_sum"), redis.call_time.as_secs_f64());
        self.sample(format_args!("{name}_count"), redis.calls);
        let name = "fanfare_redis_batch_records";
        self.family(name, Type::Summary, "The publications of a call.");
        self.sample(format_args!("{name}_sum"), redis.records);
        self.sample(format_args!("{name}_count"), redis.calls);
        let name = "fanfare_redis_reconnects_total";
        self.family(name, Type::Counter, "Lost connections to Redis, by what they are for and the reason.");
        for (connection, reason, count) in &redis.reconnects {
            let labels = format_args!("{name}{{connection=\"{connection}\",reason=\"{reason}\"}}");
            self.sample(labels, count);
        }
        let name = "fanfare_redis_resyncs_total";
        let help =
            "Times that publications of a channel were missing, by what was done: read, or told as a gap.";
        self.family(name, Type::Counter, help);
        redis.resyncs.iter().for_each(|&(result, count)| self.labelled(name, "result", result, count));
        let help = "Commands that were sent to another master than they belong to.";
        self.single("fanfare_redis_redirects_total", Type::Counter, help, redis.redirects);
        let help = "Found in Redis, and no publication: skipped.";
        self.single("fanfare_redis_unreadable_total", Type::Counter, help, redis.unreadable);
        let help = "Bytes of publications that wait for Redis.";
        self.single("fanfare_redis_queue_bytes", Type::Gauge, help, redis.queue_bytes);
        let help = "Channels that this node has.";
        self.single("fanfare_redis_channels", Type::Gauge, help, redis.channels);
        let help = "Nodes that live, this one among them.";
        self.single("fanfare_nodes", Type::Gauge, help, redis.nodes);
    }

    fn handshakes(&mut self, snapshot: &Snapshot) {
        let Counters { tls12_handshakes, tls13_handshakes, .. } = snapshot.counters;
        let name = "fanfare_tls_handshakes_total";
        self.family(name, Type::Counter, "Complete TLS handshakes, by version and kind.");
        for (version, Handshakes { full, resumed }) in [("1.2", tls12_handshakes), ("1.3", tls13_handshakes)]
        {
            for (kind, count) in [("full", full), ("resumed", resumed)] {
                self.sample(format_args!("{name}{{version=\"{version}\",kind=\"{kind}\"}}"), count);
            }
        }
        let name = "fanfare_tls_handshake_failures_total";
        self.family(name, Type::Counter, "TLS handshakes that were begun and are not complete, by reason.");
        for &(label, count) in &snapshot.tls_failures {
            self.labelled(name, "reason", label, count);
        }
        let help = "TLS handshakes that wait for their turn.";
        self.single("fanfare_tls_handshakes_waiting", Type::Gauge, help, snapshot.tls_waiting);
    }

    fn key_fetches(&mut self, (fetched, failed): (u64, u64)) {
        let name = "fanfare_token_jwks_fetches_total";
        self.family(name, Type::Counter, "Times that the keys of --token-jwks were fetched, by result.");
        self.labelled(name, "result", "fetched", fetched);
        self.labelled(name, "result", "failed", failed);
    }

    fn certificates(&mut self, tls: &TlsFigures) {
        let name = "fanfare_tls_certificate_expiry_seconds";
        self.family(name, Type::Gauge, "When each certificate ends, as time since 1970, by its first name.");
        for (certificate, end_s) in &tls.ends {
            self.labelled(name, "name", certificate, end_s);
        }
        let name = "fanfare_tls_reloads_total";
        self.family(name, Type::Counter, "Times that certificates were read anew, by result.");
        self.labelled(name, "result", "replaced", tls.reloads);
        self.labelled(name, "result", "failed", tls.failures);
    }

    fn by_app(&mut self, snapshot: &Snapshot, name: &str, kind: Type, help: &str, of: fn(&Counts) -> u64) {
        self.family(name, kind, help);
        for (app, counts) in &snapshot.webhooks {
            self.labelled(name, "app", app, of(counts));
        }
    }

    fn turns(&mut self, turns: &Turns) {
        let name = "fanfare_loop_turn_duration_seconds";
        self.family(name, Type::Histogram, "The busy time of a turn of an event loop.");
        let (bucket, mut count) = (format!("{name}_bucket"), 0);
        for (bound_us, in_bucket) in TURN_BOUNDS_US.iter().zip(turns.buckets) {
            count += in_bucket;
            self.labelled(&bucket, "le", &(*bound_us as f64 / MICROS).to_string(), count);
        }
        count += turns.buckets[TURN_BOUNDS_US.len()];
        self.labelled(&bucket, "le", "+Inf", count);
        self.sample(format_args!("{name}_sum"), turns.busy_ns as f64 / NANOS);
        self.sample(format_args!("{name}_count"), count);
    }

    fn build(&mut self) {
        let name = "fanfare_build_info";
        self.family(name, Type::Gauge, "1, with the version of the program.");
        self.labelled(name, "version", VERSION, 1);
    }

    fn process(&mut self, process: &ProcessFigures) {
        let ProcessFigures { start_seconds, cpu_seconds, resident_bytes, open_fds, max_fds } = *process;
        self.known(
            "process_start_time_seconds",
            Type::Gauge,
            "When the process started, in seconds since 1970.",
            start_seconds,
        );
        self.known(
            "process_cpu_seconds_total",
            Type::Counter,
            "Processor time in user and system mode.",
            cpu_seconds,
        );
        self.known("process_resident_memory_bytes", Type::Gauge, "Resident memory.", resident_bytes);
        self.known("process_open_fds", Type::Gauge, "Open descriptors.", open_fds);
        self.known("process_max_fds", Type::Gauge, "The soft limit on descriptors.", max_fds);
    }

    /// A family of one sample, if its value is known.
    fn known(&mut self, name: &str, kind: Type, help: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.single(name, kind, help, value);
        }
    }

    /// A family of one sample.
    fn single(&mut self, name: &str, kind: Type, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(format_args!("{name}"), value);
    }

    fn family(&mut self, name: &str, kind: Type, help: &str) {
        let kind = match kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
            Type::Summary => "summary",
        };
        self.push(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn labelled(&mut self, name: &str, label: &str, value: &str, number: impl Display) {
        self.sample(format_args!("{name}{{{label}=\"{}\"}}", Escaped(value)), number);
    }

    fn sample(&mut self, name: fmt::Arguments<'_>, number: impl Display) {
        self.push(format_args!("{name} {number}\n"));
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        self.text.write_fmt(text).expect("a string takes every write");
    }
}

/// A label's value: "Backslash, double-quote and line feed are escaped" in the format.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "prometheus_tests.rs"]
mod tests;
