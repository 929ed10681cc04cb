//! A client of `/channels`: commands and answers as JSON.

use std::net::SocketAddr;

use serde_json::Value;
use tungstenite::Message;

use super::{Client, handshake, text};

/// A WebSocket to `/channels`.
pub fn multiplex(address: SocketAddr) -> Client {
    multiplex_with(address, "/channels", &[])
}

/// The same with a query and header fields besides the usual ones.
pub fn multiplex_with(address: SocketAddr, path: &str, fields: &[(&'static str, &str)]) -> Client {
    let fields = [&[("Sec-WebSocket-Protocol", "fanfare.v1.json")], fields].concat();
    handshake(address, path, &fields).unwrap().0
}

/// Sends a message as it is.
pub fn say(client: &mut Client, message: &str) {
    client.send(Message::text(message)).unwrap();
}

/// The next message.
pub fn next(client: &mut Client) -> Value {
    serde_json::from_str(&text(client)).unwrap()
}

/// Subscribes to one channel: the answer.
pub fn subscribe(client: &mut Client, channel: &str) -> Value {
    say(client, &format!(r#"{{"event":"fanfare:subscribe","data":[{{"channel":"{channel}"}}]}}"#));
    let answer = next(client);
    assert_eq!((&answer["event"], &answer["channel"]), (&"fanfare:subscribed".into(), &channel.into()));
    answer
}

/// What the code and the status of an error are.
pub fn fault(answer: &Value) -> (&str, u64) {
    assert_eq!(answer["event"], "fanfare:error", "{answer}");
    (answer["data"]["code"].as_str().unwrap(), answer["data"]["status"].as_u64().unwrap())
}
