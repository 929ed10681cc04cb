//! WebSocket clients: tungstenite's, and by hand.

use std::net::{SocketAddr, TcpStream};

use tungstenite::client::IntoClientRequest;
use tungstenite::handshake::client::{Request, Response};
use tungstenite::protocol::CloseFrame;
use tungstenite::{Message, WebSocket};

use super::{connect, connect_narrowly, exchange};

/// The answer to a handshake that was not accepted.
pub type Refused = tungstenite::http::Response<Option<Vec<u8>>>;

/// A WebSocket client.
pub type Client = WebSocket<TcpStream>;

/// A handshake with these header fields besides the usual ones.
pub fn handshake(
    address: SocketAddr,
    path: &str,
    fields: &[(&'static str, &str)],
) -> Result<(Client, Response), Box<Refused>> {
    match tungstenite::client(websocket_request(address, path, fields), connect(address)) {
        Ok(accepted) => Ok(accepted),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => Err(response),
        Err(error) => panic!("neither accepted nor refused: {error}"),
    }
}

/// A WebSocket to this path.
pub fn websocket(address: SocketAddr, path: &str) -> Client {
    handshake(address, path, &[]).unwrap().0
}

/// A WebSocket to this path whose kernel takes little, and that does not read by itself.
pub fn stalled(address: SocketAddr, path: &str, fields: &[(&'static str, &str)]) -> Client {
    let stream = connect_narrowly(address, 4096);
    tungstenite::client(websocket_request(address, path, fields), stream).unwrap().0
}

fn websocket_request(address: SocketAddr, path: &str, fields: &[(&'static str, &str)]) -> Request {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in fields {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    request
}

/// A WebSocket to this path by hand: what it says from now on, and whether it answers, is the test's.
pub fn raw_websocket(address: SocketAddr, path: &str) -> TcpStream {
    let mut stream = connect(address);
    assert_eq!(exchange(&mut stream, &upgrade_request(path)).status, 101);
    stream
}

/// The same, whose kernel takes about this many bytes.
pub fn narrow_websocket(address: SocketAddr, path: &str, bytes: usize) -> TcpStream {
    let mut stream = connect_narrowly(address, bytes);
    assert_eq!(exchange(&mut stream, &upgrade_request(path)).status, 101);
    stream
}

/// The handshake as a client writes it.
pub fn upgrade_request(path: &str) -> Vec<u8> {
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    );
    head.into_bytes()
}

/// A frame as a client sends it, under the key 0. `first` is FIN and opcode.
pub fn masked_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126, "a longer one has another header");
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0][..], payload].concat()
}

/// A subscriber of the channel that speaks envelopes.
pub fn envelopes(address: SocketAddr, channel: &str) -> Client {
    let fields = [("Sec-WebSocket-Protocol", "fanfare.v1.json")];
    let (client, response) = handshake(address, &format!("/channels/{channel}"), &fields).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "fanfare.v1.json");
    client
}

/// The next text.
pub fn text(client: &mut Client) -> String {
    match client.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("not a text: {other:?}"),
    }
}

/// What the client is closed with; earlier messages are passed over.
pub fn close_frame(client: &mut Client) -> Option<CloseFrame> {
    loop {
        if let Message::Close(frame) = client.read().unwrap() {
            return frame;
        }
    }
}
