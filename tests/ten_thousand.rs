//! Ten thousand subscribers of one channel, and one publication for all of them.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::thread;

use support::*;
use tungstenite::client::{IntoClientRequest, client_with_config};
use tungstenite::protocol::WebSocketConfig;

const SUBSCRIBERS: usize = 10_000;
/// Threads that connect; the machine need not have as many cores.
const CONNECTORS: usize = 4;

/// Clients with small buffers: their usual ones would take 2.5 GB.
fn subscribe(process: &Process, count: usize) -> Vec<Client> {
    let config = WebSocketConfig::default().read_buffer_size(512).write_buffer_size(0);
    let subscribe_one = || {
        let request = format!("ws://{}/channels/news", process.address).into_client_request().unwrap();
        client_with_config(request, connect(process.address), Some(config)).unwrap().0
    };
    (0..count).map(|_| subscribe_one()).collect()
}

#[test]
fn ten_thousand_subscribers_get_what_is_published_once_and_in_order() {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap();
    assert!(
        limit as usize > SUBSCRIBERS + 200,
        "the hard limit on descriptors is {limit}: raise it (ulimit -Hn)"
    );
    let process = spawn(&mut fanfare(&[]));
    let mut clients: Vec<Client> = thread::scope(|scope| {
        let connectors: Vec<_> =
            (0..CONNECTORS).map(|_| scope.spawn(|| subscribe(&process, SUBSCRIBERS / CONNECTORS))).collect();
        connectors.into_iter().flat_map(|connector| connector.join().unwrap()).collect()
    });
    for number in 0..3 {
        let answer = publish(process.address, "news", &format!("hello {number}"));
        assert!(answer.body.contains("\"subscribers\":10000"), "{answer:?}");
    }
    for client in &mut clients {
        for number in 0..3 {
            assert_eq!(text(client), format!("hello {number}"));
        }
    }
}
