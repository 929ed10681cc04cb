//! Coming and going: silence, the closing handshake, churn, full descriptors, the stop.

mod support;

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use fanfare::config::Config;
use fanfare::server::Draft;
use support::*;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Error, Message};

/// Long enough for a server that would do something to have done it.
const A_WHILE: Duration = Duration::from_millis(300);

#[test]
fn a_silent_websocket_is_pinged_and_lives_if_it_answers() {
    let server = start(Config { idle_timeout: Duration::from_millis(50), ..config() });
    let mut client = websocket(server.address, "/channels/news");
    for _ in 0..5 {
        assert!(matches!(client.read().unwrap(), Message::Ping(_)));
        client.flush().unwrap();
    }
}

#[test]
fn a_websocket_that_does_not_answer_a_ping_is_closed_and_then_cut() {
    let short = Duration::from_millis(50);
    let server = start(Config { idle_timeout: short, pong_timeout: short, close_timeout: short, ..config() });
    let mut stream = raw_websocket(server.address, "/channels/news");
    let bytes = rest(&mut stream);
    assert_eq!(&bytes[..4], b"\x89\x00\x88\x15", "a Ping frame, then a Close frame");
    assert_eq!(&bytes[4..], b"\x03\xe9no answer to a ping");
    until("it is gone", || (server.handle.connections_len() == 0).then_some(()));
}

#[test]
fn a_close_is_echoed_and_the_server_closes_tcp_first() {
    let server = start(config());
    let mut stream = raw_websocket(server.address, "/channels/news");
    stream.write_all(b"\x88\x82\x00\x00\x00\x00\x0f\xa0").unwrap();
    assert_eq!(rest(&mut stream), b"\x88\x02\x0f\xa0", "the code is echoed, then the end of the stream");
}

#[test]
fn what_comes_after_a_close_is_ignored() {
    let server = start(config());
    let mut watcher = websocket(server.address, "/channels/news");
    let mut stream = raw_websocket(server.address, "/channels/news");
    stream.write_all(b"\x88\x80\x00\x00\x00\x00\x81\x82\x00\x00\x00\x00hi").unwrap();
    assert_eq!(rest(&mut stream), b"\x88\x00");
    publish(server.address, "news", "next");
    assert_eq!(text(&mut watcher), "next");
}

#[test]
fn what_came_before_a_fault_is_echoed_before_the_close_frame() {
    let server = start(config());
    let mut stream = raw_websocket(server.address, "/echo");
    stream.write_all(b"\x81\x82\x00\x00\x00\x00hi\x81\x02no").unwrap();
    let bytes = rest(&mut stream);
    assert_eq!(&bytes[..4], b"\x81\x02hi");
    assert_eq!((bytes[4], &bytes[6..8]), (0x88, &b"\x03\xea"[..]), "1002");
}

#[test]
fn a_peer_that_does_not_close_tcp_after_the_close_frames_is_cut() {
    let server = start(Config { close_timeout: Duration::from_millis(50), ..config() });
    let mut stream = raw_websocket(server.address, "/channels/news");
    stream.write_all(b"\x88\x80\x00\x00\x00\x00").unwrap();
    until("it is gone", || (server.handle.connections_len() == 0).then_some(()));
}

#[test]
fn a_reset_connection_leaves_its_channel() {
    let server = start(config());
    let stream = raw_websocket(server.address, "/channels/news");
    reset(stream);
    until("it is gone", || (server.handle.connections_len() == 0).then_some(()));
    assert!(publish(server.address, "news", "x").body.contains("\"subscribers\":0"));
}

#[cfg(target_os = "linux")] // for its /proc
#[test]
fn five_thousand_connections_come_and_go_and_leave_nothing_behind() {
    let process = spawn(&mut fanfare(&["--threads", "2"]));
    let churn = |rounds: usize| {
        for round in 0..rounds {
            let mut clients: Vec<_> =
                (0..50).map(|_| websocket(process.address, "/channels/churn")).collect();
            clients[0].send(Message::text("x")).unwrap();
            for (index, client) in clients.iter_mut().enumerate() {
                assert_eq!(text(client), "x");
                // Some say goodbye, some are just gone.
                if (round + index) % 2 == 0 {
                    client.close(None).unwrap();
                }
            }
        }
        until("all are gone", || {
            publish(process.address, "churn", "x").body.contains("\"subscribers\":0").then_some(())
        });
    };
    churn(10);
    let descriptors = until_steady(&process);
    let resident = process.resident_kib();
    churn(100);
    until("descriptors are as before", || (process.descriptors() <= descriptors).then_some(()));
    let grown = process.resident_kib().saturating_sub(resident);
    assert!(grown < 1024, "{grown} KiB more than before");
}

#[cfg(target_os = "linux")]
/// The number of descriptors once the connections that were closed last are gone.
fn until_steady(process: &Process) -> usize {
    let healthz = || request(process.address, "GET", "/healthz", "", b"");
    healthz();
    until("closed connections are gone", || {
        let before = process.descriptors();
        healthz();
        (process.descriptors() <= before.min(30)).then_some(before)
    })
}

#[test]
fn clients_over_the_limit_get_503_and_the_others_do_not_notice() {
    let server = start(Config { max_connections: Some(3), ..config() });
    let mut clients: Vec<_> = (0..3).map(|_| websocket(server.address, "/channels/news")).collect();
    for _ in 0..50 {
        let refused = handshake(server.address, "/channels/news", &[]).unwrap_err();
        assert_eq!(refused.status(), 503);
        assert_eq!(refused.headers()["retry-after"], "5");
    }
    clients[0].send(Message::text("still here")).unwrap();
    for client in &mut clients {
        assert_eq!(text(client), "still here");
    }
    clients.pop();
    until("there is room again", || handshake(server.address, "/channels/news", &[]).ok());
}

#[cfg(target_os = "linux")]
#[test]
fn out_of_descriptors_clients_get_503_and_accepting_resumes_by_itself() {
    const LIMIT: usize = 128;
    let mut shell = Command::new("sh");
    let flags = "--listen 127.0.0.1:0 --threads 1 --max-connections 1000";
    shell.args(["-c", &format!("ulimit -n {LIMIT}; exec {} {flags}", env!("CARGO_BIN_EXE_fanfare"))]);
    let process = spawn(&mut shell);
    let mut clients = Vec::new();
    let status = loop {
        match handshake(process.address, "/channels/news", &[]) {
            Ok((client, _)) => clients.push(client),
            Err(refused) => break refused.status(),
        }
        assert!(clients.len() < LIMIT);
    };
    assert_eq!(status, 503);
    assert!(clients.len() > 20, "{} got in", clients.len());
    // Many more, none of which closes its connection: more than there are spare descriptors.
    let waiting: Vec<_> = (0..100).map(|_| connect(process.address)).collect();
    clients[0].send(Message::text("still here")).unwrap();
    for client in &mut clients {
        assert_eq!(text(client), "still here");
    }
    let told =
        waiting.into_iter().map(|mut stream| read_answer(&mut stream).status).filter(|&status| status == 503);
    assert_eq!(told.count(), 100);
    let ticks = process.cpu_ticks();
    clients[0].get_ref().set_read_timeout(Some(A_WHILE)).unwrap();
    let error = clients[0].read().unwrap_err();
    assert!(matches!(error, Error::Io(error) if error.kind() == ErrorKind::WouldBlock));
    assert!(process.cpu_ticks() - ticks < 10, "the loop does not spin");
    drop(clients);
    until("there is room again", || handshake(process.address, "/channels/news", &[]).ok());
}

#[cfg(target_os = "linux")]
#[test]
fn the_soft_limit_on_descriptors_is_raised_to_the_hard_one() {
    let mut shell = Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_fanfare");
    shell.args(["-c", &format!("ulimit -n 500; ulimit -Sn 100; exec {binary} --listen 127.0.0.1:0")]);
    let process = spawn(&mut shell);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", process.child.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers, ["500", "500"], "soft and hard");
}

#[test]
fn a_stop_says_1001_to_everyone_and_ends() {
    let server = start(config());
    let mut clients: Vec<_> = (0..20).map(|_| websocket(server.address, "/channels/news")).collect();
    clients.push(websocket(server.address, "/echo"));
    server.handle.shutdown();
    for client in &mut clients {
        let Some(CloseFrame { code, reason }) = close_frame(client) else { panic!("closed without a code") };
        assert_eq!(code, CloseCode::Away);
        assert!(reason.contains("stopping"), "{reason}");
        while client.read().is_ok() {}
    }
    drop(clients);
    let address = server.address;
    server.join().unwrap();
    assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn a_stop_sends_what_is_owed_before_it_says_goodbye() {
    let server = start(Config { max_lag: 16 * 1024 * 1024, close_timeout: PATIENCE, ..config() });
    let mut client = websocket(server.address, "/channels/news");
    let owed = 400;
    for number in 0..owed {
        let draft = Draft::text("news", format!("{number:06}{}", "x".repeat(30_000))).unwrap();
        publish_draft(&server.handle, &draft);
    }
    server.handle.shutdown();
    for number in 0..owed {
        assert!(text(&mut client).starts_with(&format!("{number:06}")));
    }
    assert_eq!(close_frame(&mut client).unwrap().code, CloseCode::Away);
    drop(client);
    server.join().unwrap();
}

#[test]
fn what_is_published_just_before_a_stop_is_delivered_before_the_goodbye() {
    for _ in 0..200 {
        let server = start(config());
        let mut client = websocket(server.address, "/channels/news");
        for number in 0..20 {
            server.handle.publish(Draft::text("news", number.to_string()).unwrap()).unwrap();
        }
        server.handle.shutdown();
        for number in 0..20 {
            assert_eq!(text(&mut client), number.to_string());
        }
    }
}

#[test]
fn a_stop_is_spread_over_the_drain() {
    let server = start(Config { drain: Duration::from_millis(500), ..config() });
    let mut clients: Vec<_> = (0..10).map(|_| websocket(server.address, "/channels/news")).collect();
    let begun = std::time::Instant::now();
    server.handle.shutdown();
    clients.iter_mut().for_each(|client| drop(close_frame(client)));
    // Two loops with five each: the last of each goes after four fifths of the drain.
    assert!(begun.elapsed() >= Duration::from_millis(390), "{:?}", begun.elapsed());
}

#[test]
fn a_peer_that_ignores_the_goodbye_does_not_keep_the_server() {
    let server = start(Config { close_timeout: Duration::from_millis(50), ..config() });
    let _stream = raw_websocket(server.address, "/channels/news");
    server.handle.shutdown();
    server.join().unwrap();
}

#[test]
fn a_lame_duck_serves_everybody_but_is_not_ready_and_then_drains() {
    let lame_duck = Duration::from_millis(1000);
    let server = start(with_metrics(Config { lame_duck, ..config() }));
    let mut client = websocket(server.address, "/channels/news");
    let ready = |address| request(address, "GET", "/readyz", "", b"").status;
    assert_eq!((ready(server.address), ready(server.metrics.unwrap())), (200, 200));
    let begun = std::time::Instant::now();
    server.handle.shutdown();
    assert_eq!((ready(server.address), ready(server.metrics.unwrap())), (503, 503));
    let mut newcomer = websocket(server.address, "/channels/news");
    assert!(!request(server.address, "GET", "/healthz", "", b"").head.contains("Connection: close"));
    publish(server.address, "news", "still here");
    assert_eq!((text(&mut client), text(&mut newcomer)), ("still here".into(), "still here".into()));
    for mut client in [client, newcomer] {
        assert_eq!(close_frame(&mut client).unwrap().code, CloseCode::Away);
        while client.read().is_ok() {}
    }
    // The server's clock counts whole milliseconds.
    assert!(begun.elapsed() + Duration::from_millis(1) >= lame_duck, "{:?}", begun.elapsed());
    server.join().unwrap();
}

#[test]
fn a_lame_duck_that_is_told_to_end_at_once_does() {
    let server = start(Config { lame_duck: Duration::MAX, ..config() });
    server.handle.shutdown();
    assert_eq!(request(server.address, "GET", "/readyz", "", b"").status, 503);
    server.handle.shutdown_now();
    server.join().unwrap();
}

#[cfg(unix)]
#[test]
fn both_signals_end_the_process_with_0() {
    for signal in ["TERM", "INT"] {
        let mut process = spawn(&mut fanfare(&["--drain", "0s"]));
        let mut client = websocket(process.address, "/channels/news");
        process.signal(signal);
        assert_eq!(close_frame(&mut client).unwrap().code, CloseCode::Away);
        while client.read().is_ok() {}
        drop(client);
        assert_eq!(process.wait().code(), Some(0), "{signal}");
    }
}

/// Asks a process whether it is ready until it says that it is not: it has heard the signal.
#[cfg(unix)]
fn until_not_ready(process: &Process) {
    until("it is not ready", || {
        let status = request(process.address, "GET", "/readyz", "", b"").status;
        (status == 503).then_some(())
    });
}

#[cfg(unix)]
#[test]
fn a_signal_makes_the_process_a_lame_duck_that_serves_newcomers_and_then_ends_with_0() {
    let lame_duck = Duration::from_secs(2);
    let mut process = spawn(&mut fanfare(&["--lame-duck", "2s", "--drain", "0s"]));
    let client = websocket(process.address, "/channels/news");
    let begun = std::time::Instant::now();
    process.signal("TERM");
    until_not_ready(&process);
    let newcomer = websocket(process.address, "/channels/news");
    assert!(publish(process.address, "news", "still here").body.contains("\"subscribers\":2"));
    for mut client in [client, newcomer] {
        assert_eq!(text(&mut client), "still here");
        assert_eq!(close_frame(&mut client).unwrap().code, CloseCode::Away);
        // The server's clock counts whole milliseconds.
        assert!(begun.elapsed() + Duration::from_millis(1) >= lame_duck, "{:?}", begun.elapsed());
        while client.read().is_ok() {}
    }
    assert_eq!(process.wait().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_lame_duck_and_begins_the_drain() {
    let mut process = spawn(&mut fanfare(&["--lame-duck", "10m", "--drain", "0s"]));
    let mut client = websocket(process.address, "/channels/news");
    process.signal("TERM");
    until_not_ready(&process);
    process.signal("TERM");
    assert_eq!(close_frame(&mut client).unwrap().code, CloseCode::Away);
    while client.read().is_ok() {}
    assert_eq!(process.wait().code(), Some(0));
}

#[cfg(unix)]
#[test]
fn a_third_signal_ends_the_drain_of_a_lame_duck_at_once() {
    let mut process = spawn(&mut fanfare(&["--lame-duck", "10m", "--drain", "10m"]));
    let mut clients: Vec<_> = (0..20).map(|_| websocket(process.address, "/channels/news")).collect();
    process.signal("INT");
    until_not_ready(&process);
    process.signal("TERM");
    assert_eq!(close_frame(&mut clients[0]).unwrap().code, CloseCode::Away);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(128 + 15));
}

#[cfg(unix)]
#[test]
fn a_second_signal_ends_the_process_at_once() {
    let mut process = spawn(&mut fanfare(&["--drain", "10m"]));
    let mut clients: Vec<_> = (0..20).map(|_| websocket(process.address, "/channels/news")).collect();
    process.signal("TERM");
    assert_eq!(close_frame(&mut clients[0]).unwrap().code, CloseCode::Away);
    process.signal("TERM");
    assert_eq!(process.wait().code(), Some(128 + 15));
}

/// The binary on a socket that this process keeps, as a supervisor does; its standard output.
fn activated(listener: &TcpListener) -> (Child, BufReader<ChildStdout>) {
    let fanfare = env!("CARGO_BIN_EXE_fanfare");
    // The socket is its standard input, and becomes descriptor 3: sd_listen_fds(3).
    let script = format!("exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec {fanfare} --drain 0s");
    let mut child = Command::new("bash")
        .args(["-c", &script])
        .stdin(OwnedFd::from(listener.try_clone().unwrap()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Asks the process to stop.
fn stop(process: &Child) {
    assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
}

#[test]
fn a_server_that_is_replaced_behind_a_socket_of_its_supervisor_refuses_no_client_meanwhile() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (mut first, mut out) = activated(&listener);
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    assert_eq!(line.trim_end(), format!("listening on http://{address}"));
    assert_eq!(request(address, "GET", "/healthz", "", b"").status, 200);
    stop(&first);
    assert!(first.wait().unwrap().success());
    // Nobody serves: the client is connected by the system, and waits.
    let mut client = connect(address);
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let (mut second, _out) = activated(&listener);
    assert_eq!(read_answer(&mut client).status, 200);
    stop(&second);
    assert!(second.wait().unwrap().success());
}
