//! Messages inward over real sockets: of every length and cut, and what is left of them when they have gone through.
//!
//! Which frames are refused is in `hostile`, what becomes of subscribers that do not read in `slow_subscribers`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use fanfare::ws::{Opcode, encode_frame, encode_masked_frame};
use support::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// On both sides of what is copied and what is written from where it lies, of the read buffer, and of what a loop keeps.
const LENS: [usize; 12] =
    [0, 20, 2047, 2048, 16_383, 16_384, 65_536, 131_058, 131_059, 131_072, 140_000, 300_000];

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|index| b'!' + (index % 89) as u8).collect()
}

/// What a client says and what it hears: each message, and a ping after each.
fn conversation(lens: &[usize]) -> (Vec<u8>, Vec<u8>) {
    let (mut sent, mut expected) = (Vec::new(), Vec::new());
    for &len in lens {
        encode_masked_frame(&mut sent, true, Opcode::Text, KEY, &text(len));
        encode_frame(&mut expected, Opcode::Text, &text(len));
        let name = len.to_string();
        encode_masked_frame(&mut sent, true, Opcode::Ping, KEY, name.as_bytes());
        encode_frame(&mut expected, Opcode::Pong, name.as_bytes());
    }
    (sent, expected)
}

fn assert_received(stream: &mut TcpStream, expected: &[u8], what: &str) {
    let mut received = vec![0; expected.len()];
    stream.read_exact(&mut received).unwrap();
    assert!(received == expected, "{what}: first difference at {:?}", {
        received.iter().zip(expected).position(|(one, other)| one != other)
    });
}

#[test]
fn messages_of_every_length_come_back_in_order_whatever_their_cuts() {
    let server = start(config());
    let (sent, expected) = conversation(&LENS);
    for cut in [1999, 20_011, 65_536, 131_072, sent.len()] {
        let mut stream = raw_websocket(server.address, "/echo");
        let mut writer = stream.try_clone().unwrap();
        thread::scope(|scope| {
            scope.spawn(|| sent.chunks(cut).for_each(|piece| writer.write_all(piece).unwrap()));
            assert_received(&mut stream, &expected, &format!("in pieces of {cut}"));
        });
    }
}

#[test]
fn long_messages_in_fragments_with_pings_between_come_back_whole() {
    let server = start(config());
    let payload = text(200_000);
    let mut sent = Vec::new();
    for (index, piece) in payload.chunks(30_000).enumerate() {
        let opcode = if index == 0 { Opcode::Text } else { Opcode::Continuation };
        encode_masked_frame(&mut sent, index == 6, opcode, KEY, piece);
        if index < 6 {
            encode_masked_frame(&mut sent, true, Opcode::Ping, KEY, b"between");
        }
    }
    let mut expected = Vec::new();
    (0..6).for_each(|_| encode_frame(&mut expected, Opcode::Pong, b"between"));
    encode_frame(&mut expected, Opcode::Text, &payload);
    let mut stream = raw_websocket(server.address, "/echo");
    for _ in 0..3 {
        stream.write_all(&sent).unwrap();
        assert_received(&mut stream, &expected, "seven fragments");
    }
}

#[test]
fn a_long_echo_that_the_socket_takes_in_parts_goes_on_where_it_stopped() {
    let server = start(config());
    let mut stream = connect_narrowly(server.address, 4096);
    assert_eq!(exchange(&mut stream, &upgrade_request("/echo")).status, 101);
    let (sent, expected) = conversation(&[60_000, 20, 20_000, 2500, 300_000].repeat(8));
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(|| writer.write_all(&sent).unwrap());
        assert_received(&mut stream, &expected, "a narrow socket");
    });
}

#[test]
fn a_publisher_of_long_messages_gets_what_it_published() {
    let server = start(config());
    for cut in [20_011, 131_072] {
        let mut stream = raw_websocket(server.address, "/channels/news");
        let mut writer = stream.try_clone().unwrap();
        for len in LENS {
            let (mut sent, mut expected) = (Vec::new(), Vec::new());
            encode_masked_frame(&mut sent, true, Opcode::Text, KEY, &text(len));
            encode_frame(&mut expected, Opcode::Text, &text(len));
            thread::scope(|scope| {
                scope.spawn(|| sent.chunks(cut).for_each(|piece| writer.write_all(piece).unwrap()));
                assert_received(&mut stream, &expected, &format!("{len} bytes in pieces of {cut}"));
            });
        }
    }
}

#[test]
fn a_long_body_by_post_is_published_whatever_its_cuts() {
    let server = start(config());
    let mut subscriber = raw_websocket(server.address, "/channels/news");
    let mut stream = connect(server.address);
    for len in LENS {
        let head =
            format!("POST /channels/news HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len}\r\n\r\n");
        let request = [head.as_bytes(), &text(len)].concat();
        request.chunks(20_011).for_each(|piece| stream.write_all(piece).unwrap());
        assert_eq!(read_answer(&mut stream).status, 200);
        let mut expected = Vec::new();
        encode_frame(&mut expected, Opcode::Binary, &text(len));
        assert_received(&mut subscriber, &expected, &format!("{len} bytes"));
    }
}

#[test]
fn what_a_peer_says_right_before_it_closes_its_half_is_taken_and_then_it_is_gone() {
    let server = start(config());
    let mut subscriber = raw_websocket(server.address, "/channels/news");
    for round in 0..50 {
        let mut publisher = raw_websocket(server.address, "/channels/news");
        let (mut sent, mut expected) = (Vec::new(), Vec::new());
        encode_masked_frame(&mut sent, true, Opcode::Text, KEY, format!("last words {round}").as_bytes());
        encode_frame(&mut expected, Opcode::Text, format!("last words {round}").as_bytes());
        publisher.write_all(&sent).unwrap();
        publisher.shutdown(Shutdown::Write).unwrap();
        assert_received(&mut subscriber, &expected, "a publisher that leaves");
        until("it is gone", || (server.handle.connections_len() == 1).then_some(()));
    }
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn connections_keep_nothing_of_the_long_messages_that_went_through_them() {
    let process = spawn(&mut fanfare(&["--threads", "1"]));
    let mut streams: Vec<_> = (0..400).map(|_| raw_websocket(process.address, "/echo")).collect();
    let before = process.resident_kib();
    let (sent, expected) = conversation(&[65_536]);
    for _ in 0..2 {
        for stream in &mut streams {
            stream.write_all(&sent).unwrap();
            assert_received(stream, &expected, "64 KiB");
        }
    }
    // 25 MiB have come and gone twice. The spare buffers of the loop are 2 MiB, the allocator keeps under one.
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB");
}
