//! Peers that mean harm, or behave as if: each test has a crowd of them on one side, and on the other a ticker whose
//! witnesses must not notice. Afterwards the process holds what it held before.
//!
//! Crowds that do nothing wrong but being many are in `nobody_misses_a_message`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::env;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use support::steady::{Steady, next_text, witness};
use support::*;
use tungstenite::Message;

/// Hostile peers of a kind.
const CROWD: usize = 200;

/// Subscribers that must miss nothing.
const WITNESSES: usize = 8;

/// What a process may have grown by when a crowd is gone: README's bound of what a heap keeps, buffers for reuse among it.
const SLACK_KIB: u64 = 6 * 1024;

/// The process, what it held before anybody came, and the ticker.
fn world(flags: &[&str]) -> (Process, Footprint, Steady) {
    let process = spawn(&mut fanfare(&[&["--threads", "2"], flags].concat()));
    let before = Footprint::of(&process);
    let steady = Steady::begin(process.address, "ticks", WITNESSES);
    (process, before, steady)
}

fn crowd(count: usize, one: impl FnMut(usize) -> TcpStream) -> Vec<TcpStream> {
    rlimit::increase_nofile_limit(u64::MAX).unwrap();
    (0..count).map(one).collect()
}

/// The header of a client's frame that declares 2^62 bytes.
fn enormous_frame(first: u8) -> Vec<u8> {
    [&[first, 0xff][..], &(1u64 << 62).to_be_bytes(), &[0; 4]].concat()
}

/// The code of the Close frame with which the bytes end.
fn close_code(bytes: &[u8]) -> Option<u16> {
    (2..126).find_map(|len| {
        let frame = &bytes[bytes.len().checked_sub(2 + len)?..];
        (frame[..2] == [0x88, len as u8]).then(|| u16::from_be_bytes([frame[2], frame[3]]))
    })
}

/// Whether there is something to be read, or the end.
fn is_answered(stream: &TcpStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let is_answered = stream.peek(&mut [0]).is_ok();
    stream.set_nonblocking(false).unwrap();
    is_answered
}

#[test]
fn slow_heads_and_bodies_by_the_hundred_end_with_408() {
    let timeout = Duration::from_secs(2);
    let (process, before, steady) = world(&["--handshake-timeout", "2s", "--body-timeout", "2s"]);
    let begun = Instant::now();
    let mut slow = crowd(2 * CROWD, |number| {
        let mut stream = connect(process.address);
        let what = [
            "GET /channels/ticks HTTP/1.1\r\nX-Slow: ",
            "POST /channels/ticks HTTP/1.1\r\nHost: localhost\r\nContent-Length: 900000\r\n\r\n",
        ][number % 2];
        stream.write_all(what.as_bytes()).unwrap();
        stream
    });
    while !slow.is_empty() {
        steady.more(20);
        let (answered, waiting): (Vec<_>, Vec<_>) = slow.into_iter().partition(is_answered);
        assert!(begun.elapsed() < PATIENCE, "a byte now and then prolongs nothing");
        assert!(answered.is_empty() || begun.elapsed() >= timeout, "not before its time is up");
        for mut stream in answered {
            assert_eq!(read_answer(&mut stream).status, 408);
            assert_eq!(rest(&mut stream), b"");
        }
        slow = waiting;
        slow.iter_mut().for_each(|stream| stream.write_all(b"x").unwrap());
    }
    steady.end();
    before.comes_back(&process, SLACK_KIB);
}

#[test]
fn two_to_the_62_bytes_are_refused_at_the_header_and_take_no_room() {
    let (process, before, steady) = world(&[]);
    let refuse_all = || {
        let heads = [
            enormous_frame(0x82),
            [masked_frame(0x01, b"x"), enormous_frame(0x80)].concat(),
            [enormous_frame(0x81), vec![0; 4096]].concat(),
        ];
        let peers = crowd(CROWD, |number| {
            let path = ["/echo", "/channels/ticks"][number % 2];
            let mut stream = raw_websocket(process.address, path);
            stream.write_all(&heads[number % heads.len()]).unwrap();
            stream
        });
        for mut stream in peers {
            assert_eq!(close_code(&rest(&mut stream)), Some(1009));
        }
        let head = format!(
            "POST /channels/ticks HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            1u64 << 62
        );
        for _ in 0..CROWD {
            assert_eq!(exchange(&mut connect(process.address), head.as_bytes()).status, 413);
        }
    };
    refuse_all();
    let peak = process.resident_peak_kib();
    refuse_all();
    let grown = process.resident_peak_kib().saturating_sub(peak);
    assert!(grown < 1024, "{grown} KiB for {CROWD} times 2^62 bytes");
    steady.end();
    before.comes_back(&process, SLACK_KIB);
}

#[test]
fn a_message_of_a_million_fragments_is_echoed_whole_while_the_others_are_served() {
    const PEERS: usize = 4;
    const FRAGMENTS: usize = 1_000_000;
    let (process, before, steady) = world(&[]);
    let mut frames: Vec<u8> =
        (0..FRAGMENTS).flat_map(|number| masked_frame(0x00, &[(number % 251) as u8])).collect();
    frames[0] = 0x02;
    let last = frames.len() - 7;
    frames[last] = 0x80;
    let mut peers = crowd(PEERS, |_| raw_websocket(process.address, "/echo"));
    let peak = process.resident_peak_kib();
    for half in frames.chunks(frames.len() / 2) {
        thread::scope(|scope| {
            for stream in &mut peers {
                scope.spawn(|| stream.write_all(half).unwrap());
            }
        });
        steady.more(20);
    }
    for stream in &mut peers {
        let mut echo = vec![0; 10 + FRAGMENTS];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(echo[..10], [&[0x82, 127][..], &(FRAGMENTS as u64).to_be_bytes()].concat());
        assert!(echo[10..].iter().enumerate().all(|(number, &byte)| byte == (number % 251) as u8));
    }
    let grown = process.resident_peak_kib().saturating_sub(peak);
    assert!(
        grown < 4 * 1024 * PEERS as u64,
        "{grown} KiB: the message, its echo, their buffers' room to grow"
    );
    drop(peers);
    steady.end();
    before.comes_back(&process, 2 * SLACK_KIB);
}

#[test]
fn a_hundred_thousand_handshakes_behind_an_upgrade_are_no_subscriptions() {
    const HANDSHAKES: usize = 100_000;
    let (process, before, steady) = world(&[]);
    let mut stream = connect(process.address);
    let requests: Vec<u8> =
        (0..HANDSHAKES).flat_map(|number| upgrade_request(&format!("/channels/piped-{number}"))).collect();
    stream.write_all(&requests).unwrap();
    assert_eq!(read_answer(&mut stream).status, 101, "the first one");
    assert_eq!(close_code(&rest(&mut stream)), Some(1002), "the next is a frame with a reserved bit");
    for number in [0, 1, 2, HANDSHAKES / 2, HANDSHAKES - 1] {
        let answer = publish(process.address, &format!("piped-{number}"), "x");
        assert!(answer.body.contains("\"subscribers\":0"), "{answer:?}");
    }
    steady.more(20);
    drop(stream);
    steady.end();
    before.comes_back(&process, SLACK_KIB);
}

#[test]
fn silent_peers_by_the_hundred_are_pinged_closed_and_cut() {
    let (process, before, steady) = world(&[
        "--handshake-timeout",
        "1s",
        "--idle-timeout",
        "1s",
        "--pong-timeout",
        "500ms",
        "--close-timeout",
        "500ms",
    ]);
    let mute = crowd(CROWD, |_| connect(process.address));
    let silent = crowd(CROWD, |number| {
        raw_websocket(process.address, ["/channels/quiet", "/channels/ticks", "/echo"][number % 3])
    });
    for (number, mut stream) in silent.into_iter().enumerate() {
        let bytes = rest(&mut stream);
        assert_eq!(close_code(&bytes), Some(1001), "{number}");
        assert!(
            number % 3 == 1 || bytes.starts_with(b"\x89\x00\x88"),
            "{number}: a Ping frame, then a Close frame"
        );
    }
    for mut stream in mute {
        assert_eq!(rest(&mut stream), b"", "nothing was asked");
    }
    steady.more(20);
    steady.end();
    before.comes_back(&process, SLACK_KIB);
}

#[test]
fn peers_that_end_without_a_close_by_the_hundred_leave_their_channel() {
    let (process, before, steady) = world(&[]);
    let with_an_end = crowd(CROWD, |_| raw_websocket(process.address, "/channels/left"));
    let with_a_reset = crowd(CROWD, |_| raw_websocket(process.address, "/channels/left"));
    let half = masked_frame(0x81, b"half of this is never sent");
    for mut stream in with_an_end.iter().chain(&with_a_reset) {
        stream.write_all(&half[..half.len() / 2]).unwrap();
    }
    steady.more(20);
    with_a_reset.into_iter().for_each(reset);
    for mut stream in with_an_end {
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(rest(&mut stream), b"", "it is let go at once");
    }
    until("they have left", || {
        publish(process.address, "left", "x").body.contains("\"subscribers\":0").then_some(())
    });
    steady.end();
    before.comes_back(&process, SLACK_KIB);
}

/// The address for the process that is going to be stopped: the same test, run again.
const CHILD_ADDRESS: &str = "FANFARE_TEST_ADDRESS";
const CHILD_IS_READY: &str = "all have subscribed";
const CHILD_CLIENTS: usize = 10;

/// More than a kernel holds for a peer that does not read, by a factor.
const TOLD: usize = 400;
const TOLD_LEN: usize = 32 * 1024;

/// A process that is killed when it goes out of scope, stopped or not.
struct Sleeper(Child);

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Sleeper {
    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([format!("-{name}"), self.0.id().to_string()]).status();
        assert!(kill.unwrap().success());
    }
}

#[test]
fn clients_that_are_stopped_and_woken_have_lost_nothing_or_are_told_what() {
    if let Ok(address) = env::var(CHILD_ADDRESS) {
        return subscribe_and_sleep(address.parse().unwrap());
    }
    let seconds = env::var("FANFARE_TEST_STOP_SECONDS").map_or(3, |seconds| seconds.parse().unwrap());
    let (process, before, steady) =
        world(&["--idle-timeout", "10m", "--lag-grace", "1s", "--lag-policy", "told=skip"]);
    let mut kept = websocket(process.address, "/channels/kept");
    let mut told = websocket(process.address, "/channels/told");
    let name = "clients_that_are_stopped_and_woken_have_lost_nothing_or_are_told_what";
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", name, "--nocapture"]).env(CHILD_ADDRESS, process.address.to_string());
    let mut sleeper = Sleeper(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(sleeper.0.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(CHILD_IS_READY)));
    sleeper.signal("STOP");
    let begun = Instant::now();
    let mut count = 0;
    while count < TOLD || begun.elapsed() < Duration::from_secs(seconds) {
        say(&mut kept, &count.to_string());
        if count < TOLD {
            say(&mut told, &format!("{count:08}{}", "x".repeat(TOLD_LEN)));
        }
        steady.more(1);
        count += 1;
    }
    sleeper.signal("CONT");
    say(&mut kept, "end");
    say(&mut told, "end");
    lines.for_each(drop);
    assert!(sleeper.0.wait().unwrap().success(), "the clients found everything as it should be");
    drop((kept, told));
    steady.end();
    before.comes_back(&process, SLACK_KIB);
}

/// Publishes, and is the one subscriber that keeps up.
fn say(client: &mut Client, text: &str) {
    client.send(Message::text(text)).unwrap();
    assert!(next_text(client) == text);
}

/// The part of the process that is stopped: it need not know when.
#[allow(clippy::print_stdout)] // read by the process that started this one
fn subscribe_and_sleep(address: SocketAddr) {
    let kept: Vec<_> = (0..CHILD_CLIENTS).map(|_| websocket(address, "/channels/kept")).collect();
    let told: Vec<_> = (0..CHILD_CLIENTS).map(|_| envelopes(address, "told")).collect();
    println!("{CHILD_IS_READY}");
    let counts: Vec<_> = kept.into_iter().map(|client| thread::spawn(|| witness(client, |_| ()))).collect();
    let missed: Vec<_> = told.into_iter().map(|client| thread::spawn(|| count_missed(client))).collect();
    for count in counts {
        assert!(count.join().unwrap() >= TOLD);
    }
    for missed in missed {
        assert!(missed.join().unwrap() > 0, "more was said than the kernel holds");
    }
}

/// Reads envelopes to the end: there is no gap that was not told. Returns how many publications were missed.
fn count_missed(mut client: Client) -> usize {
    let (mut expected, mut missed_total) = (1, 0);
    loop {
        let frame: serde_json::Value = serde_json::from_str(&next_text(&mut client)).unwrap();
        if frame["event"] == "fanfare:lagged" {
            let missed = frame["data"]["missed"].as_u64().unwrap() as usize;
            expected += missed;
            missed_total += missed;
            continue;
        }
        let sequence = frame["id"].as_str().unwrap().split('-').nth(1).unwrap();
        assert_eq!(sequence, expected.to_string(), "no gap that was not told");
        expected += 1;
        if frame["data"] == "end" {
            return missed_total;
        }
    }
}
