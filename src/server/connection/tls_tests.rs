//! The layer between pretended sockets: what is written in which order, what is kept, and how it ends.
//!
//! The session itself is tested in the room `tls`.

use rustls::client::ClientConnection;

use super::*;
use crate::server::connection::reading::READ_BUFFER_LEN;
use crate::server::tls::peer_tests::*;

/// A socket that gives what the client sent, takes as much as it has room for, and keeps each write.
#[derive(Default)]
struct Socket {
    arrived: Vec<u8>,
    is_at_end: bool,
    room: usize,
    writes: Vec<Vec<u8>>,
}

impl Socket {
    fn wide() -> Self {
        Self { room: usize::MAX, ..Self::default() }
    }

    fn take_written(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.writes).concat()
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.arrived.is_empty() && !self.is_at_end {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = self.arrived.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.arrived[..len]);
        self.arrived.drain(..len);
        Ok(len)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.room);
        if len == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room = self.room.saturating_sub(len);
        self.writes.push(bytes[..len].to_vec());
        Ok(len)
    }

    fn write_vectored(&mut self, runs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.write(&runs.iter().flat_map(|run| run.iter().copied()).collect::<Vec<_>>())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A layer with its client.
struct Pair {
    layer: Box<TlsLayer>,
    socket: Socket,
    client: ClientConnection,
    sealing: Sealing,
    buffer: Vec<u8>,
}

impl Pair {
    fn new() -> Self {
        Self {
            layer: TlsLayer::new(Session::new(&terms()).unwrap()),
            socket: Socket::wide(),
            client: client(&client_config(TLS13)),
            sealing: Sealing::default(),
            buffer: vec![0; READ_BUFFER_LEN],
        }
    }

    fn established() -> Self {
        let mut pair = Self::new();
        while pair.layer.is_handshaking() || pair.client.is_handshaking() {
            pair.read_from_client();
            pair.write(&[]);
            pair.reach_client();
        }
        assert_eq!(pair.layer.held_len(), 0, "an idle connection owns its session and nothing else");
        pair
    }

    /// Reads all that the client has to send: the plaintext, and the last arrival, or the one with which the session ended.
    fn read_from_client(&mut self) -> (Vec<u8>, Option<Arrival>) {
        self.socket.arrived.extend(sent_by(&mut self.client));
        self.read_all()
    }

    fn read_all(&mut self) -> (Vec<u8>, Option<Arrival>) {
        let (mut plain, mut last) = (Vec::new(), None);
        while let Some(arrival) = self.layer.read(&mut self.socket, &mut self.buffer, 1000).unwrap() {
            plain.extend_from_slice(&self.buffer[arrival.bytes.clone()]);
            let is_end = arrival.carried == 0 || arrival.ending.is_some();
            last = Some(arrival);
            if is_end {
                break;
            }
        }
        (plain, last)
    }

    fn write(&mut self, runs: &[&[u8]]) -> Progress {
        let runs: Vec<_> = runs.iter().map(|run| IoSlice::new(run)).collect();
        self.layer.write(&mut self.socket, &runs, &mut self.sealing).unwrap()
    }

    /// Gives the client what was written: its plaintext.
    fn reach_client(&mut self) -> Vec<u8> {
        let written = self.socket.take_written();
        taken_by(&mut self.client, &written).unwrap()
    }
}

/// The lengths of the records in these bytes, without their headers.
fn record_lens(mut bytes: &[u8]) -> Vec<usize> {
    let mut lens = Vec::new();
    while !bytes.is_empty() {
        let len = usize::from(u16::from_be_bytes([bytes[3], bytes[4]]));
        lens.push(len);
        bytes = &bytes[5 + len..];
    }
    lens
}

fn ending(arrival: Option<Arrival>) -> Option<Ending> {
    arrival.and_then(|arrival| arrival.ending)
}

#[test]
fn several_runs_of_a_write_are_one_record_and_a_long_one_is_cut_at_16_kib() {
    let mut pair = Pair::established();
    let progress = pair.write(&[b"started ", b"", b"private ", b"log"]);
    assert_eq!((progress.taken, progress.is_whole), (19, true));
    assert_eq!(record_lens(&pair.socket.writes.concat()), [19 + 17]);
    assert_eq!(pair.reach_client(), b"started private log");
    let log = vec![5; 40_000];
    assert_eq!(pair.write(&[b"x", &log]).taken, 40_001);
    assert_eq!(pair.socket.writes.len(), 3, "one call a record");
    assert_eq!(record_lens(&pair.socket.writes.concat()), [16_384 + 17, 16_384 + 17, 7_233 + 17]);
    assert_eq!(pair.reach_client(), [&b"x"[..], &log].concat());
    assert_eq!(pair.layer.held_len(), 0);
}

#[test]
fn a_record_of_any_runs_is_those_runs_in_order() {
    for first in [0, 1, 16_383, 16_384, 16_385] {
        for second in [0, 1, 16_383, 16_384, 32_768, 32_769] {
            let runs = [vec![1; first], vec![2; second], vec![3; 3]];
            let slices: Vec<_> = runs.iter().map(|run| IoSlice::new(run)).collect();
            let (mut cut, mut gathered, mut whole) =
                (Runs { runs: &slices, at: 0, passed: 0 }, Vec::new(), Vec::new());
            loop {
                let record = cut.next(&mut gathered);
                assert!(record.len() <= PLAIN_LEN_MAX);
                if record.is_empty() {
                    break;
                }
                whole.extend_from_slice(record);
            }
            assert_eq!(whole, runs.concat());
        }
    }
}

#[test]
fn no_more_than_a_record_is_sealed_ahead_of_a_socket_that_takes_nothing() {
    let mut pair = Pair::established();
    pair.socket.room = 100;
    let log = vec![5; 100_000];
    let progress = pair.write(&[&log]);
    assert_eq!(progress, Progress { taken: 16_384, sent: 100, is_whole: false });
    assert!(pair.layer.held_len() <= 16_406, "{}", pair.layer.held_len());
    let mut taken = progress.taken;
    while taken < log.len() {
        // While the rest of a record waits, nothing more is sealed.
        pair.socket.room = 1000;
        let sealed_len = pair.layer.sealed_len();
        let progress = pair.write(&[&log[taken..]]);
        assert_eq!(progress.taken > 0, sealed_len < 1000, "{sealed_len}");
        assert!(pair.layer.sealed_len() <= 16_406);
        taken += progress.taken;
    }
    pair.socket.room = usize::MAX;
    assert!(pair.write(&[]).is_whole);
    assert_eq!((pair.reach_client(), pair.layer.held_len()), (log, 0));
}

#[test]
fn a_handshake_that_the_socket_does_not_take_is_sent_when_it_has_room() {
    let mut pair = Pair::new();
    pair.socket.room = 0;
    pair.read_from_client();
    assert!(pair.layer.sealed_len() > 500, "the certificate");
    let mut calls = 0;
    while pair.layer.sealed_len() > 0 {
        pair.socket.room = 100;
        pair.write(&[b"what is to be said waits for the handshake"]);
        calls += 1;
    }
    assert!(calls > 5);
    assert!(pair.reach_client().is_empty() && !pair.client.is_handshaking());
    pair.read_from_client();
    pair.socket.room = usize::MAX;
    assert_eq!(pair.write(&[b"now"]).taken, 3);
    assert_eq!(pair.reach_client(), b"now");
}

#[test]
fn what_arrives_byte_by_byte_is_kept_until_a_record_is_complete() {
    let mut pair = Pair::established();
    pair.client.writer().write_all(&[8; 500]).unwrap();
    let bytes = sent_by(&mut pair.client);
    for (at, &byte) in bytes.iter().enumerate() {
        pair.socket.arrived.push(byte);
        let arrival = pair.layer.read(&mut pair.socket, &mut pair.buffer, 1000).unwrap().unwrap();
        let is_last = at + 1 == bytes.len();
        assert_eq!((arrival.carried, arrival.bytes.len()), (1, if is_last { 500 } else { 0 }));
        assert_eq!(pair.layer.kept.len(), if is_last { 0 } else { at + 1 });
        // Answers go out meanwhile.
        pair.write(&[b"pong"]);
    }
    assert_eq!(pair.layer.held_len(), 0);
    assert_eq!(pair.reach_client(), b"pong".repeat(bytes.len()));
}

#[test]
fn a_hello_that_does_not_end_is_refused_before_it_is_kept_as_a_whole() {
    let mut pair = Pair::new();
    // A ClientHello of 65,535 bytes, in records of 1,000.
    let mut hello = vec![1, 0, 0xff, 0xff];
    hello.resize(65_539, 0);
    let mut sent = 0;
    let fault = hello.chunks(1000).find_map(|chunk| {
        let len = (chunk.len() as u16).to_be_bytes();
        pair.socket.arrived.extend([&[22, 3, 1, len[0], len[1]][..], chunk].concat());
        sent += chunk.len();
        assert!(pair.layer.held_len() <= 2 * KEPT_LEN_MAX);
        ending(pair.read_all().1)
    });
    assert!(matches!(fault, Some(Ending::Failed(fault)) if fault.kind == FaultKind::Protocol));
    assert!(sent <= KEPT_LEN_MAX + 2000, "{sent}");
    pair.write(&[]);
    assert_eq!(pair.socket.take_written(), DECODE_ERROR);
    assert_eq!(pair.layer.kept.capacity(), 0);
    // From then on it is only read to its end.
    pair.read_all();
    pair.socket.arrived.extend_from_slice(b"more");
    assert_eq!(pair.read_all().0, b"more");
}

#[test]
fn http_without_tls_is_answered_in_clear() {
    let mut pair = Pair::new();
    pair.socket.arrived.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
    let (plain, arrival) = pair.read_all();
    assert!(matches!(ending(arrival), Some(Ending::Failed(fault)) if fault.kind == FaultKind::PlainHttp));
    assert_eq!(plain, b"");
    pair.write(&[b"HTTP/1.1 400 ", b"Bad Request"]);
    assert_eq!(pair.layer.end(&mut pair.socket, &mut pair.sealing).unwrap().sent, 0);
    assert_eq!(pair.socket.take_written(), b"HTTP/1.1 400 Bad Request");
}

#[test]
fn an_end_is_said_behind_what_waits_and_only_once() {
    let mut pair = Pair::established();
    pair.socket.room = 10;
    pair.write(&[b"an answer"]);
    assert!(!pair.layer.end(&mut pair.socket, &mut pair.sealing).unwrap().is_whole);
    pair.socket.room = usize::MAX;
    assert!(pair.layer.end(&mut pair.socket, &mut pair.sealing).unwrap().is_whole);
    let written = pair.socket.take_written();
    assert_eq!(record_lens(&written), [9 + 17, 2 + 17]);
    let mut rest = written.as_slice();
    while !rest.is_empty() {
        pair.client.read_tls(&mut rest).unwrap();
    }
    assert!(pair.client.process_new_packets().unwrap().peer_has_closed());
    assert_eq!(pair.write(&[b"later"]).taken, 0);
}

#[test]
fn the_end_of_the_peer_is_found_at_every_read_and_answers_are_still_written() {
    let mut pair = Pair::established();
    pair.client.writer().write_all(b"request").unwrap();
    pair.client.send_close_notify();
    pair.socket.arrived.extend(sent_by(&mut pair.client));
    // What follows it is ignored.
    pair.socket.arrived.extend_from_slice(b"garbage");
    let arrival = pair.layer.read(&mut pair.socket, &mut pair.buffer, 1000).unwrap().unwrap();
    assert_eq!((&pair.buffer[arrival.bytes], arrival.ending), (&b"request"[..], Some(Ending::PeerDone)));
    assert!(pair.layer.is_open());
    for _ in 0..3 {
        let arrival = pair.layer.read(&mut pair.socket, &mut pair.buffer, 1000).unwrap().unwrap();
        assert_eq!(arrival.carried, 0);
    }
    pair.write(&[b"answer"]);
    assert_eq!(pair.reach_client(), b"answer");
    pair.layer.end(&mut pair.socket, &mut pair.sealing).unwrap();
    assert!(!pair.layer.is_open());
}

#[test]
fn an_end_without_close_notify_is_an_end_of_input() {
    let mut pair = Pair::established();
    pair.client.writer().write_all(b"request").unwrap();
    pair.socket.is_at_end = true;
    let (plain, arrival) = pair.read_from_client();
    assert_eq!((plain.as_slice(), arrival.map(|arrival| arrival.carried)), (&b"request"[..], Some(0)));
}

#[test]
fn a_full_buffer_of_records_gives_all_of_their_plaintext() {
    let mut pair = Pair::established();
    let bytes = vec![3; 200_000];
    let mut all = Vec::new();
    for chunk in bytes.chunks(50_000) {
        pair.client.writer().write_all(chunk).unwrap();
        pair.socket.arrived.extend(sent_by(&mut pair.client));
    }
    while let Some(arrival) = pair.layer.read(&mut pair.socket, &mut pair.buffer, READ_BUFFER_LEN).unwrap() {
        assert_eq!(arrival.is_all, pair.socket.arrived.is_empty());
        all.extend_from_slice(&pair.buffer[arrival.bytes]);
    }
    assert_eq!(all, bytes);
}
