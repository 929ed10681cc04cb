//! permessage-deflate over real sockets: what is agreed, what goes compressed, what a bomb comes to.
//!
//! tungstenite does not speak the extension, so the frames are looked at as bytes; npm `ws`, Python `websockets`,
//! Chromium and Autobahn speak it in the suites beside this one.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use fanfare::config::Config;
use fanfare::server::Draft;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use support::*;

const KEY: [u8; 4] = [1, 2, 3, 4];

/// A frame as a server sends it: its first byte and its payload.
fn frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 2];
    stream.read_exact(&mut head).unwrap();
    let len = match head[1] {
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len).unwrap();
            u64::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            stream.read_exact(&mut len).unwrap();
            u64::from_be_bytes(len)
        }
        len => u64::from(len),
    };
    let mut payload = vec![0; len as usize];
    stream.read_exact(&mut payload).unwrap();
    (head[0], payload)
}

/// A masked frame with this first byte.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first, 0x80 | 127];
    out.extend_from_slice(&(payload.len() as u64).to_be_bytes());
    match payload.len() {
        len @ 0..126 => out.splice(1.., [0x80 | len as u8]).for_each(drop),
        len @ 126..65536 => out.splice(1.., [0x80 | 126, (len >> 8) as u8, len as u8]).for_each(drop),
        _ => {}
    }
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    out
}

fn deflate(payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() + 1024);
    Compress::new(Compression::best(), false).compress_vec(payload, &mut out, FlushCompress::Sync).unwrap();
    assert!(out.ends_with(&[0, 0, 0xff, 0xff]));
    out.truncate(out.len() - 4);
    out
}

fn inflate(deflated: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(1 << 20);
    let whole = [deflated, &[0, 0, 0xff, 0xff]].concat();
    Decompress::new(false).decompress_vec(&whole, &mut out, FlushDecompress::Sync).unwrap();
    out
}

/// Offers the extension, and gives the connection and what was agreed.
fn offer(address: SocketAddr, path: &str, extensions: &str) -> (TcpStream, Option<String>) {
    let mut stream = connect(address);
    let handshake = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Extensions: {extensions}\r\n\r\n"
    );
    let answer = exchange(&mut stream, handshake.as_bytes());
    assert_eq!(answer.status, 101, "{answer:?}");
    let agreed = answer.head.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Extensions: "));
    (stream, agreed.map(str::to_owned))
}

fn quote() -> String {
    (0..20).map(|n| format!("{{\"symbol\":\"ACME\",\"bid\":{n}.25,\"ask\":{n}.50}},")).collect()
}

#[test]
fn a_publication_goes_compressed_to_subscribers_that_agreed_and_plain_to_the_others() {
    let server = start(config());
    let (mut compressed, agreed) =
        offer(server.address, "/channels/news", "permessage-deflate; client_max_window_bits");
    let agreed = agreed.unwrap();
    assert_eq!(agreed, "permessage-deflate; server_no_context_takeover; client_no_context_takeover");
    let mut plain = websocket(server.address, "/channels/news");
    for _ in 0..2 {
        publish_draft(&server.handle, &Draft::text("news", quote()).unwrap());
        let (first, payload) = frame(&mut compressed);
        assert_eq!(first, 0xc1);
        assert!(payload.len() < quote().len() / 4);
        assert_eq!(inflate(&payload), quote().as_bytes(), "without the message before it");
        assert_eq!(text(&mut plain), quote());
    }
}

#[test]
fn every_subscriber_that_agreed_reads_the_same_bytes() {
    let server = start(config());
    let mut subscribers: Vec<_> =
        (0..6).map(|_| offer(server.address, "/channels/news", "permessage-deflate").0).collect();
    publish_draft(&server.handle, &Draft::text("news", quote()).unwrap());
    let frames: Vec<_> = subscribers.iter_mut().map(frame).collect();
    assert!(frames.windows(2).all(|pair| pair[0] == pair[1]));
}

#[test]
fn a_small_payload_goes_uncompressed_to_subscribers_that_agreed() {
    let server = start(config());
    let (mut client, _) = offer(server.address, "/channels/news", "permessage-deflate");
    publish_draft(&server.handle, &Draft::text("news", "aaaaaaaaaaaaaaaaaaaa").unwrap());
    assert_eq!(frame(&mut client), (0x81, b"aaaaaaaaaaaaaaaaaaaa".to_vec()));
}

#[test]
fn a_client_with_a_small_window_gets_channels_uncompressed_and_the_echo_in_its_window() {
    let server = start(config());
    let (mut subscriber, agreed) =
        offer(server.address, "/channels/news", "permessage-deflate; server_max_window_bits=9");
    assert!(agreed.unwrap().ends_with("; server_max_window_bits=9"));
    publish_draft(&server.handle, &Draft::text("news", quote()).unwrap());
    assert_eq!(frame(&mut subscriber), (0x81, quote().into_bytes()));
    let (mut echo, _) = offer(server.address, "/echo", "permessage-deflate; server_max_window_bits=9");
    echo.write_all(&masked(0x81, quote().as_bytes())).unwrap();
    let (first, payload) = frame(&mut echo);
    assert_eq!((first, inflate(&payload)), (0xc1, quote().into_bytes()));
}

#[test]
fn a_compressed_message_is_published_and_echoed() {
    let server = start(config());
    let mut plain = websocket(server.address, "/channels/news");
    let (mut client, _) = offer(server.address, "/channels/news", "permessage-deflate");
    client.write_all(&masked(0xc1, &deflate(quote().as_bytes()))).unwrap();
    assert_eq!(text(&mut plain), quote());
    assert_eq!(frame(&mut client).0, 0xc1);
    let (mut echo, _) = offer(server.address, "/echo", "permessage-deflate");
    echo.write_all(&masked(0xc2, &deflate(&[7; 100_000]))).unwrap();
    let (first, payload) = frame(&mut echo);
    assert_eq!((first, inflate(&payload)), (0xc2, vec![7; 100_000]));
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn a_bomb_is_refused_with_1009_before_its_memory_is_taken() {
    let mut process = spawn(&mut fanfare(&["--threads", "1", "--max-message", "1MiB", "--drain", "0s"]));
    let bomb = masked(0xc2, &deflate(&vec![0; 16 * 1024 * 1024]));
    let before = process.resident_kib();
    for _ in 0..20 {
        let (mut echo, _) = offer(process.address, "/echo", "permessage-deflate");
        echo.write_all(&bomb).unwrap();
        let (first, payload) = frame(&mut echo);
        assert_eq!((first, &payload[..2]), (0x88, &1009u16.to_be_bytes()[..]));
    }
    let grown = process.resident_kib().saturating_sub(before);
    assert!(grown < 4 * 1024, "{grown} KiB");
    process.signal("TERM");
    assert!(process.wait().success());
}

#[test]
fn what_is_no_deflate_is_closed_with_1007_and_rsv1_without_agreement_with_1002() {
    let server = start(config());
    let (mut echo, _) = offer(server.address, "/echo", "permessage-deflate");
    echo.write_all(&masked(0xc1, b"\xff\xff\xff")).unwrap();
    assert_eq!(frame(&mut echo).1[..2], 1007u16.to_be_bytes());
    let (mut echo, agreed) = offer(server.address, "/echo", "permessage-deflate; unknown");
    assert_eq!(agreed, None, "the offer is declined, the handshake is not");
    echo.write_all(&masked(0xc1, &deflate(b"hello"))).unwrap();
    assert_eq!(frame(&mut echo).1[..2], 1002u16.to_be_bytes());
}

#[test]
fn a_message_whose_stream_ends_inside_a_block_is_closed_with_1007_and_never_published() {
    let server = start(config());
    let mut subscriber = websocket(server.address, "/channels/news");
    let whole = deflate(quote().as_bytes());
    for cut in [1, 2, whole.len() / 2, whole.len() - 1] {
        let (mut client, _) = offer(server.address, "/channels/news", "permessage-deflate");
        client.write_all(&masked(0xc1, &whole[..whole.len() - cut])).unwrap();
        let (first, payload) = frame(&mut client);
        assert_eq!((first, &payload[..2]), (0x88, &1007u16.to_be_bytes()[..]), "{cut}");
        assert_eq!(&payload[2..], b"the compressed message is not valid DEFLATE");
    }
    let (mut client, _) = offer(server.address, "/channels/news", "permessage-deflate");
    client.write_all(&masked(0xc1, &whole)).unwrap();
    assert_eq!(text(&mut subscriber), quote(), "and nothing before it");
}

#[test]
fn text_that_inflates_to_no_utf8_is_closed_with_1007_at_its_first_bad_byte() {
    let server = start(config());
    let (mut echo, _) = offer(server.address, "/echo", "permessage-deflate");
    // The first of two fragments; the second never comes.
    let deflated = deflate(&[&b"good "[..], b"\xff", &[b'x'; 1000]].concat());
    echo.write_all(&masked(0x41, &deflated)).unwrap();
    assert_eq!(frame(&mut echo).1[..2], 1007u16.to_be_bytes());
}

#[test]
fn level_0_declines_every_offer() {
    let server = start(Config { deflate_level: 0, ..config() });
    assert_eq!(offer(server.address, "/channels/news", "permessage-deflate").1, None);
}

#[test]
fn with_the_flag_a_client_may_refer_back_to_its_earlier_messages() {
    let server = start(Config { deflate_context_takeover: true, ..config() });
    let (mut echo, agreed) = offer(server.address, "/echo", "permessage-deflate");
    assert_eq!(agreed.unwrap(), "permessage-deflate; server_no_context_takeover");
    let mut compress = Compress::new(Compression::best(), false);
    for _ in 0..3 {
        let mut deflated = Vec::with_capacity(4096);
        compress.compress_vec(quote().as_bytes(), &mut deflated, FlushCompress::Sync).unwrap();
        deflated.truncate(deflated.len() - 4);
        echo.write_all(&masked(0xc1, &deflated)).unwrap();
        assert_eq!(inflate(&frame(&mut echo).1), quote().as_bytes());
    }
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn messages_that_inflate_to_much_are_taken_no_quicker_than_their_answers() {
    const MESSAGES: usize = 32;
    let mut process = spawn(&mut fanfare(&["--threads", "1", "--drain", "0s"]));
    // What the echo cannot make small: the client takes a window of 256 bytes, in which the server has no compressor.
    let (mut echo, _) = offer(process.address, "/echo", "permessage-deflate; server_max_window_bits=8");
    let before = process.resident_peak_kib();
    // All in one read: 64 KiB, which come to 32 MiB.
    let messages = masked(0xc2, &deflate(&vec![7; 1 << 20])).repeat(MESSAGES);
    assert!(messages.len() < 64 * 1024, "{}", messages.len());
    echo.write_all(&messages).unwrap();
    let mut payloads = Vec::new();
    for _ in 0..MESSAGES {
        let (first, payload) = frame(&mut echo);
        assert_eq!(first, 0x82);
        payloads.push(payload);
    }
    assert!(payloads.iter().all(|payload| *payload == vec![7; 1 << 20]));
    let grown = process.resident_peak_kib() - before;
    assert!(grown < 12 * 1024, "{grown} KiB: a message and its echo, and their buffers' room to grow");
    process.signal("TERM");
    assert!(process.wait().success());
}
