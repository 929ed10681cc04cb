//! The text of a scrape, literally.

use std::time::Duration;

use super::*;
use crate::backend::Outcomes;
use crate::hub::WireForm;
use crate::server::metrics::counters::Counters;

/// Numbers of which no two in one family are the same.
fn snapshot() -> Snapshot {
    let mut deliveries = [0; WireForm::ALL.len()];
    deliveries[WireForm::WebSocket.index()] = 30;
    deliveries[WireForm::EnvelopeDeflate.index()] = 4;
    deliveries[WireForm::EventStream.index()] = 5;
    let mut replayed = [0; WireForm::ALL.len()];
    replayed[WireForm::LongPoll.index()] = 6;
    let mut turns = Turns { busy_ns: 1_250_000_000, ..Turns::default() };
    (turns.buckets[0], turns.buckets[4], turns.buckets[14]) = (7, 2, 1);
    let counters = Counters {
        connections: [1, 9, 3, 4, 5, 6],
        tls_connections: [0, 7, 0, 0, 0, 0],
        tls12_handshakes: Handshakes { full: 62, resumed: 63 },
        tls13_handshakes: Handshakes { full: 64, resumed: 65 },
        accepted: 20,
        publishes: 15,
        keyless_publishes: 12,
        api_calls: [14, 15, 16, 17, 18, 19],
        deliveries,
        replayed,
        bytes_sent: 1000,
        bytes_received: 200,
        lagged: [1, 2, 3],
        throttled: 42,
        passed_over: 40,
        log_bytes: 8,
        private_bytes: 9,
        connection_bytes: 10,
        lag_max: 7,
        turns,
    };
    Snapshot {
        audit_lost: 5,
        handler_panics: 60,
        handlers: vec![("/rooms/{room}".to_owned(), 61, Duration::from_millis(62_500))],
        counters,
        keys: vec![("billing".to_owned(), 3, 1_790_000_000), ("default".to_owned(), 0, 0)],
        refusals: vec![("bad_request", 3), ("silent", 0)],
        publication_bytes: 11,
        token_bytes: 12,
        evicted: 13,
        memory_max: 1024,
        channels: 5,
        webhooks: vec![
            ("1".into(), Counts { queued: 4, sent: 3, failed: 2, dropped: 1 }),
            ("22".into(), Counts::default()),
        ],
        backend: Some(backend::Counts {
            questions: 50,
            waiting: 51,
            calls: 52,
            kept: 53,
            kept_len: 54,
            outcomes: Outcomes { allowed: 55, refused: 56, timeout: 57, unreachable: 58, bad_answer: 59 },
        }),
        key_fetches: Some((68, 69)),
        redis: Some(redis_figures()),
        tls: Some(TlsFigures {
            ends: vec![("a.test".to_owned(), 1_800_000_000), ("b\"c".to_owned(), 1_800_000_001)],
            reloads: 60,
            failures: 61,
        }),
        tls_failures: vec![("timeout", 66), ("alert", 0)],
        tls_waiting: 67,
        uptime: std::time::Duration::ZERO,
    }
}

fn redis_figures() -> RedisFigures {
    RedisFigures {
        is_up: true,
        commands: vec![("ok", 70), ("refused", 71)],
        reconnects: vec![("publish", "broken", 72)],
        resyncs: vec![("gap", 73)],
        calls: 74,
        records: 75,
        call_time: Duration::from_millis(76_500),
        redirects: 77,
        unreadable: 78,
        queue_bytes: 79,
        channels: 80,
        nodes: 81,
    }
}

#[test]
fn everything_is_told_in_the_text_format() {
    let process = ProcessFigures {
        start_seconds: Some(1_763_700_000.25),
        cpu_seconds: Some(1.5),
        resident_bytes: Some(3_399_680),
        open_fds: Some(30),
        max_fds: Some(1024),
    };
    let expected = include_str!("prometheus_expected.txt").replace("VERSION", VERSION);
    assert_eq!(render(&snapshot(), &process), expected);
}

#[test]
fn what_the_system_does_not_tell_is_left_out() {
    let text = render(&snapshot(), &ProcessFigures::default());
    assert!(text.contains("fanfare_build_info") && !text.contains("process_"), "{text}");
}

#[test]
fn a_label_is_escaped() {
    let mut page = Page { text: String::new() };
    page.labelled("m", "l", "a\\b\"c\nd", 1);
    assert_eq!(page.text, "m{l=\"a\\\\b\\\"c\\nd\"} 1\n");
}
