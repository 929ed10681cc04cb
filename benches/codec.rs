//! The pure rooms: masking, frames, UTF-8, DEFLATE, the handshake and the log, most beside something to compare with.
//!
//! `cargo bench --bench codec`, with a filter such as `-- unmask` if wanted. No sockets here: those are `fan_out`.

#[path = "support/payload.rs"]
mod payload;

use std::hint::black_box;
use std::io::{self, Cursor, Read, Write};
use std::time::Duration;

use bytes::Bytes;
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use tungstenite::WebSocket;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Role, WebSocketConfig};

use fanfare::http::{Event as HttpEvent, Limits, RequestReader, Upgrade};
use fanfare::hub::{ChannelName, Cursor as LogCursor, Hub, Log, WireForm};
use fanfare::ws::{
    Deflate, Deflater, Event, Inbound, Opcode, Protocol, Utf8Validator, WINDOW_BITS_MAX, encode_frame,
    encode_masked_frame, unmask, unmask_naive,
};

use payload::Payload;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// What one read of the server takes.
const READ_LEN: usize = 64 * 1024;

/// RSV1 in the first byte of a frame: the message is compressed.
const RSV1: u8 = 0x40;

const DEFLATE_LEVELS: [u32; 4] = [1, 4, 6, 9];

/// Payloads one after the other, so that none is met twice in a row.
const PAYLOADS: usize = 64;

const SUBSCRIBERS: u64 = 1000;

const HANDSHAKE: &[u8] = b"GET /channels/news HTTP/1.1\r\n\
    Host: fanfare.example:8080\r\n\
    Connection: Upgrade\r\n\
    Pragma: no-cache\r\n\
    Cache-Control: no-cache\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n\
    Upgrade: websocket\r\n\
    Origin: https://fanfare.example\r\n\
    Sec-WebSocket-Version: 13\r\n\
    Accept-Encoding: gzip, deflate, br\r\n\
    Accept-Language: en-US,en;q=0.5\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .without_plots()
        .configure_from_args();
    bench_unmask(&mut criterion);
    bench_parse(&mut criterion);
    bench_write(&mut criterion);
    bench_utf8(&mut criterion);
    bench_deflate(&mut criterion);
    bench_inflate(&mut criterion);
    bench_handshake(&mut criterion);
    bench_log(&mut criterion);
    bench_hub(&mut criterion);
    criterion.final_summary();
}

fn bench_unmask(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("unmask");
    for len in [16, 125, 1024, 16 * 1024, 256 * 1024] {
        let source = vec![0x5a; len];
        let mut bytes = source.clone();
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("fanfare", len), |bencher| {
            bencher.iter(|| unmask(black_box(&mut bytes), black_box(KEY), black_box(0)));
        });
        group.bench_function(BenchmarkId::new("naive", len), |bencher| {
            bencher.iter(|| unmask_naive(black_box(&mut bytes), black_box(KEY), black_box(0)));
        });
        group.bench_function(BenchmarkId::new("memcpy", len), |bencher| {
            bencher.iter(|| black_box(&mut bytes[..]).copy_from_slice(black_box(&source)));
        });
    }
    group.finish();
}

/// A read of as many text frames as fit, from the copy that stands for the system's `read` to the last message.
/// tungstenite gets the same bytes through a stream, and makes the same copy.
fn bench_parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse");
    for len in [16, 125, 1024, 16 * 1024] {
        let mut frame = Vec::new();
        encode_masked_frame(&mut frame, true, Opcode::Text, KEY, &vec![b'x'; len]);
        let count = READ_LEN / frame.len();
        let run = frame.repeat(count);
        group.throughput(Throughput::Elements(count as u64));
        let mut protocol = Protocol::new(Inbound::Accept { message_len_max: 1 << 20 });
        let (mut buffer, mut outbox) = (run.clone(), Vec::new());
        group.bench_function(BenchmarkId::new("fanfare", len), |bencher| {
            bencher.iter(|| {
                buffer.copy_from_slice(&run);
                assert_eq!(receive_all(&mut protocol, &mut buffer, &mut outbox), count);
            });
        });
        let config = WebSocketConfig::default().read_buffer_size(READ_LEN);
        let mut websocket = WebSocket::from_raw_socket(Replay::new(&run), Role::Server, Some(config));
        group.bench_function(BenchmarkId::new("tungstenite", len), |bencher| {
            bencher.iter(|| {
                for _ in 0..count {
                    black_box(websocket.read().expect("the frames are right"));
                }
            });
        });
    }
    group.finish();
}

fn receive_all(protocol: &mut Protocol, mut input: &mut [u8], outbox: &mut Vec<u8>) -> usize {
    let mut messages = 0;
    while let Some(event) = protocol.receive(&mut input, outbox).expect("the frames are right") {
        let Event::Message(message) = event else { unreachable!("there are only messages in the run") };
        black_box(message);
        messages += 1;
    }
    messages
}

/// The same bytes again and again.
struct Replay<'a> {
    run: &'a [u8],
    at: usize,
}

impl<'a> Replay<'a> {
    fn new(run: &'a [u8]) -> Self {
        Self { run, at: 0 }
    }
}

impl Read for Replay<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = (&self.run[self.at..]).read(into)?;
        self.at = (self.at + len) % self.run.len();
        Ok(len)
    }
}

impl Write for Replay<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn bench_write(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("write");
    for len in [16, 125, 1024, 16 * 1024] {
        let payload = Bytes::from(vec![b'x'; len]);
        let mut out = Vec::with_capacity(len + 16);
        group.throughput(Throughput::Bytes(len as u64));
        group.bench_function(BenchmarkId::new("fanfare", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                encode_frame(black_box(&mut out), Opcode::Text, black_box(&payload));
            });
        });
        group.bench_function(BenchmarkId::new("tungstenite", len), |bencher| {
            bencher.iter(|| {
                out.clear();
                let frame = Frame::message(black_box(&payload).clone(), OpCode::Data(Data::Text), true);
                frame.format(black_box(&mut out)).expect("a vector takes every write");
            });
        });
    }
    group.finish();
}

fn bench_utf8(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("utf8");
    for (name, sample) in [("ascii", "The quick brown fox. "), ("mixed", "κόσμε, 世界 and 🎺: ")] {
        let text = sample.repeat(READ_LEN / sample.len());
        let whole = text.as_bytes();
        group.throughput(Throughput::Bytes(whole.len() as u64));
        group.bench_function(BenchmarkId::new("fanfare whole", name), |bencher| {
            bencher.iter(|| validate(black_box(whole), whole.len()));
        });
        group.bench_function(BenchmarkId::new("fanfare in 1 KiB cuts", name), |bencher| {
            bencher.iter(|| validate(black_box(whole), 1024));
        });
        group.bench_function(BenchmarkId::new("std whole", name), |bencher| {
            bencher.iter(|| str::from_utf8(black_box(whole)).expect("the text is UTF-8").len());
        });
    }
    group.finish();
}

fn validate(bytes: &[u8], cut: usize) {
    let mut validator = Utf8Validator::default();
    for piece in bytes.chunks(cut) {
        validator.push(piece).expect("the text is UTF-8");
    }
    validator.finish().expect("the text ends with a character");
}

fn bench_deflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("deflate");
    group.throughput(Throughput::Elements(PAYLOADS as u64));
    for payload in [Payload::Quote, Payload::Tick] {
        let payloads: Vec<_> = (0..PAYLOADS).map(|index| payload.bytes(index)).collect();
        for level in DEFLATE_LEVELS {
            let mut deflater = deflater(level);
            group.bench_function(BenchmarkId::new(format!("{payload}, level"), level), |bencher| {
                bencher.iter(|| {
                    for payload in &payloads {
                        black_box(deflater.deflate(black_box(payload)));
                    }
                });
            });
        }
    }
    group.finish();
}

/// A read of compressed messages, from the copy that stands for the system's `read` to the last message; with context
/// takeover, once a whole window of earlier messages is kept.
fn bench_inflate(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("inflate");
    group.throughput(Throughput::Elements(PAYLOADS as u64));
    for (takeover, name) in [(false, ""), (true, ", takeover")] {
        let deflate =
            Deflate::negotiate(["permessage-deflate"].into_iter(), takeover).expect("this can be agreed on");
        for payload in [Payload::Quote, Payload::Tick] {
            for level in DEFLATE_LEVELS {
                let run = compressed_run(payload, level);
                let inbound = Inbound::Accept { message_len_max: 1 << 20 };
                let mut protocol = Protocol::new(inbound).with_deflate(deflate);
                let (mut buffer, mut outbox) = (run.clone(), Vec::new());
                group.bench_function(BenchmarkId::new(format!("{payload}{name}, level"), level), |bencher| {
                    bencher.iter(|| {
                        buffer.copy_from_slice(&run);
                        assert_eq!(receive_all(&mut protocol, &mut buffer, &mut outbox), PAYLOADS);
                    });
                });
            }
        }
    }
    group.finish();
}

/// As a client sends them.
fn compressed_run(payload: Payload, level: u32) -> Vec<u8> {
    let (mut deflater, mut run) = (deflater(level), Vec::new());
    for index in 0..PAYLOADS {
        let start = run.len();
        let payload = payload.bytes(index);
        let deflated = deflater.deflate(&payload).expect("both payloads shrink at every level");
        encode_masked_frame(&mut run, true, Opcode::Text, KEY, deflated);
        run[start] |= RSV1;
    }
    run
}

fn deflater(level: u32) -> Deflater {
    Deflater::new(level, WINDOW_BITS_MAX).expect("the library has the largest window")
}

fn bench_handshake(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("handshake");
    group.throughput(Throughput::Elements(1));
    group.bench_function("fanfare", |bencher| {
        bencher.iter(|| {
            let mut reader = RequestReader::new(Limits::default());
            reader.receive(black_box(HANDSHAKE));
            let Ok(Some(HttpEvent::Head(request))) = reader.poll() else { unreachable!("the head is whole") };
            let upgrade = Upgrade::from_request(&request).expect("the handshake is right");
            let mut response = Vec::new();
            upgrade.encode_response(&mut response, None, None);
            response
        });
    });
    let config = WebSocketConfig::default().read_buffer_size(4096);
    group.bench_function("tungstenite", |bencher| {
        bencher.iter(|| {
            let stream = Memory { input: Cursor::new(black_box(HANDSHAKE)), output: Vec::new() };
            let websocket = tungstenite::accept_with_config(stream, Some(config));
            websocket.expect("the handshake is right").into_inner().output
        });
    });
    group.finish();
}

/// A stream in memory: one side to read, one to write.
struct Memory<'a> {
    input: Cursor<&'a [u8]>,
    output: Vec<u8>,
}

impl Read for Memory<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.input.read(into)
    }
}

impl Write for Memory<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One log without readers: what a frame costs to append and to forget, and what it costs to read it.
fn bench_log(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("log");
    group.throughput(Throughput::Elements(128));
    group.bench_function("append 128 frames of 100 bytes, trim", |bencher| {
        let mut log = Log::default();
        bencher.iter(|| {
            append_128(&mut log);
            log.trim(log.head());
        });
    });
    group.bench_function("read 128 frames of 100 bytes one by one", |bencher| {
        bencher.iter_batched_ref(
            || {
                let mut log = Log::default();
                append_128(&mut log);
                log
            },
            |log| {
                let mut cursor = LogCursor::default();
                while log.lag(cursor) > 0 {
                    cursor = log.advance(cursor, black_box(log.unread(cursor)).len().min(102));
                }
            },
            BatchSize::SmallInput,
        );
    });
    group.finish();
}

fn append_128(log: &mut Log) {
    for _ in 0..128 {
        log.append(|out| encode_frame(out, Opcode::Text, black_box(&[b'x'; 100])));
    }
}

/// A turn without its system calls: frames appended, then everything read by 1,000 subscribers, as the flush does it.
fn bench_hub(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("hub, 1000 subscribers");
    let name = ChannelName::new("news").expect("this is a channel name");
    for messages in [1, 16, 128] {
        let mut hub = Hub::default();
        for owner in 0..SUBSCRIBERS {
            let _ = hub.subscribe(&name, WireForm::WebSocket, owner);
        }
        group.throughput(Throughput::Elements(SUBSCRIBERS * messages));
        group.bench_function(BenchmarkId::new("turn of messages", messages), |bencher| {
            bencher.iter(|| {
                for _ in 0..messages {
                    hub.append(name.as_str(), |_, out| encode_frame(out, Opcode::Text, &[b'x'; 100]));
                }
                assert_eq!(read_all(&mut hub), 102 * (SUBSCRIBERS * messages) as usize);
            });
        });
    }
    group.finish();
}

fn read_all(hub: &mut Hub) -> usize {
    let mut read = 0;
    while let Some(log) = hub.pop_dirty() {
        let mut place = 0;
        while let Some((subscription, _)) = hub.reader_at(log, place) {
            let len = black_box(hub.unread(subscription)).len();
            hub.advance(subscription, len);
            read += len;
            place = hub.place_after(log, place, subscription);
        }
        hub.trim(log);
    }
    read
}
