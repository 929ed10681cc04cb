//! `--max-memory` over real sockets: who goes when it is used up, who is refused, and who does not notice.

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};
use support::*;
use tungstenite::Message;

const PAYLOAD_LEN: usize = 256 * 1024;
const PUBLICATIONS: usize = 48;

/// A subscriber whose kernel takes little, and that does not read.
fn stalled(address: SocketAddr, channel: &str) -> Client {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    socket.connect(&address.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    tungstenite::client(format!("ws://{address}/channels/{channel}"), stream).unwrap().0
}

/// Reads until everything has come, or says with which reason it was closed.
fn read_all(client: &mut Client) -> Result<(), String> {
    for _ in 0..PUBLICATIONS {
        match client.read().unwrap() {
            Message::Text(text) => assert_eq!(text.len(), PAYLOAD_LEN),
            Message::Close(Some(frame)) => {
                assert_eq!(u16::from(frame.code), 1013);
                return Err(frame.reason.to_string());
            }
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// A WebSocket that has sent this much of a message of 4 MiB, and no more.
fn unfinished(address: SocketAddr, len: usize) -> TcpStream {
    let mut stream = raw_websocket(address, "/echo");
    let header = [&[0x82, 0xff][..], &(4u64 << 20).to_be_bytes(), &[0; 4]].concat();
    stream.write_all(&[&header[..], &vec![0; len]].concat()).unwrap();
    stream
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn the_slowest_subscribers_go_first_and_one_that_keeps_up_does_not_notice() {
    let flags = ["--max-memory", "16MiB", "--max-lag", "64MiB", "--threads", "1"];
    let process = spawn(&mut fanfare(&flags));
    let mut healthy = websocket(process.address, "/channels/healthy");
    let channels: Vec<String> = (0..8).map(|n| format!("stalled-{n}")).collect();
    let mut slow: Vec<Client> = channels.iter().map(|channel| stalled(process.address, channel)).collect();
    let before = process.resident_kib();
    // 96 MiB in all, of which the kernel holds a few a connection: several times the budget.
    for number in 0..PUBLICATIONS {
        for channel in &channels {
            publish(process.address, channel, &"x".repeat(PAYLOAD_LEN));
        }
        publish(process.address, "healthy", &format!("{number}"));
        assert_eq!(text(&mut healthy), number.to_string());
    }
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 40 * 1024, "{grown} KiB: the budget, its buffers' room to grow, a turn");
    let ended: Vec<Result<(), String>> = slow.iter_mut().map(read_all).collect();
    let closed: Vec<&String> = ended.iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(!closed.is_empty() && closed.len() < 8, "the slowest, and not everybody: {ended:?}");
    assert!(closed.iter().all(|reason| reason.contains("--max-memory")), "{closed:?}");
    healthy.send(Message::text("still here")).unwrap();
    assert_eq!(text(&mut healthy), "still here");
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn who_has_most_of_a_message_under_way_is_closed_with_1013() {
    let process = spawn(&mut fanfare(&["--max-memory", "8MiB", "--threads", "1"]));
    let mut healthy = websocket(process.address, "/channels/healthy");
    let before = process.resident_kib();
    let mut streams: Vec<TcpStream> =
        (0..16).map(|n| unfinished(process.address, (1 << 20) + n * 4096)).collect();
    let mut closed = 0;
    for stream in &mut streams {
        stream.set_read_timeout(Some(std::time::Duration::from_millis(50))).unwrap();
        let mut head = [0; 4];
        if stream.read_exact(&mut head).is_ok() {
            assert_eq!((head[0], u16::from_be_bytes([head[2], head[3]])), (0x88, 1013));
            closed += 1;
        }
    }
    assert!((8..16).contains(&closed), "{closed} of 16");
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 24 * 1024, "{grown} KiB");
    healthy.send(Message::text("still here")).unwrap();
    assert_eq!(text(&mut healthy), "still here");
}

#[test]
fn when_connections_alone_use_it_up_new_ones_are_refused_with_503() {
    let process = spawn(&mut fanfare(&["--max-memory", "4KiB", "--threads", "1"]));
    let mut clients = Vec::new();
    let refused = loop {
        match handshake(process.address, "/channels/news", &[]) {
            Ok((client, _)) => clients.push(client),
            Err(refused) => break refused,
        }
        assert!(clients.len() < 64);
    };
    assert_eq!(refused.status(), 503);
    clients[0].send(Message::text("still here")).unwrap();
    for client in &mut clients {
        assert_eq!(text(client), "still here");
    }
    clients.truncate(4);
    until("there is room again", || handshake(process.address, "/channels/news", &[]).ok());
}
