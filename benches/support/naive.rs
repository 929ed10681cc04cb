//! The naive side of a bench: tungstenite, as a program around it would use it.
//!
//! What is sent and when is the contestant's.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};

use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, Message, WebSocket};

use super::say;

/// Says an address and takes in that many clients, each of whose sockets has what Fanfare gives its own. tungstenite
/// allocates `read_len` bytes for each of them.
pub fn accept(clients: usize, read_len: usize) -> Vec<WebSocket<TcpStream>> {
    let config = WebSocketConfig::default().read_buffer_size(read_len);
    let shake_hands = |socket: TcpStream| {
        let websocket =
            tungstenite::accept_with_config(socket, Some(config)).expect("the handshake is right");
        websocket.get_ref().set_nonblocking(true).expect("a socket need not block");
        websocket
    };
    listen_for(clients).map(shake_hands).collect()
}

/// Says an address, and takes in that many clients that do not begin with a handshake.
pub fn listen_for(clients: usize) -> impl Iterator<Item = TcpStream> {
    let (address, sockets) = listen_at(clients);
    say(&address.to_string());
    sockets
}

/// The same for who says the address in a way of its own.
pub fn listen_at(clients: usize) -> (SocketAddr, impl Iterator<Item = TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port of the loopback interface");
    let address = listener.local_addr().expect("a listener has an address");
    let sockets = (0..clients).map(move |_| {
        let (socket, _) = listener.accept().expect("there are descriptors enough");
        socket.set_nodelay(true).expect("TCP has no delay if told so");
        socket
    });
    (address, sockets)
}

/// Sends a message, and waits for a client that takes no more.
pub fn send(socket: &mut WebSocket<TcpStream>, message: Message) {
    let mut sent = socket.send(message);
    while let Err(error) = sent {
        match error {
            // The message is in tungstenite's buffer: the client is waited for.
            Error::Io(error) if error.kind() == ErrorKind::WouldBlock => sent = wait_and_flush(socket),
            error => unreachable!("the clients stay: {error}"),
        }
    }
}

fn wait_and_flush(socket: &mut WebSocket<TcpStream>) -> Result<(), Error> {
    socket.get_ref().set_nonblocking(false)?;
    socket.flush()?;
    Ok(socket.get_ref().set_nonblocking(true)?)
}
