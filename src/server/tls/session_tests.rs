//! Sessions with a client in memory, and with records made by hand: what breaks a server that drives rustls wrongly.
//!
//! What a connection does with it is tested in `connection`.

use std::io::Write;

use rustls::client::ClientConnection;
use rustls::crypto::aws_lc_rs::cipher_suite;
use rustls::{AlertDescription, ServerConfig};

use super::*;
use crate::server::tls::peer_tests::*;
use crate::server::tls::received::PLAIN_LEN_MAX;

const HANDSHAKE: u8 = 22;
const DATA: u8 = 23;

/// A session and what is left of its input.
struct Server {
    session: Session,
    kept: Vec<u8>,
}

impl Server {
    fn new(config: &Arc<ServerConfig>) -> Self {
        Self { session: Session::new(config).unwrap(), kept: Vec::new() }
    }

    /// Gives it bytes: the plaintext, what it says, and the rest of what came of them.
    fn receive(&mut self, bytes: &[u8]) -> (Vec<u8>, Vec<u8>, Received) {
        self.kept.extend_from_slice(bytes);
        let (mut plain, mut said) = (vec![0; self.kept.len()], Vec::new());
        let received = self.session.receive(&mut self.kept, &mut plain, &mut said);
        self.kept.drain(..received.used_len);
        plain.truncate(received.plain_len);
        (plain, said, received)
    }

    fn seal(&mut self, plain: &[u8]) -> Result<Vec<u8>, NotSealed> {
        let mut record = Vec::new();
        let len = self.session.seal(&mut self.kept, plain, &mut record)?;
        record.truncate(len);
        Ok(record)
    }

    fn close_notify(&mut self) -> Vec<u8> {
        let mut record = Vec::new();
        let len = self.session.close_notify(&mut self.kept, &mut record).unwrap();
        record.truncate(len);
        record
    }
}

fn established(versions: &[&'static rustls::SupportedProtocolVersion]) -> (Server, ClientConnection) {
    let mut server = Server::new(&terms());
    let mut client = client(&client_config(versions));
    shake_hands(&mut server.session, &mut client);
    (server, client)
}

fn failed(received: &Received) -> &Fault {
    match &received.ending {
        Some(Ending::Failed(fault)) => fault,
        other => panic!("it has not failed: {other:?}"),
    }
}

#[test]
fn both_versions_carry_both_ways_and_say_what_was_agreed() {
    for (versions, version) in [(TLS13, Version::Tls13), (TLS12, Version::Tls12)] {
        let (config, client_config) = (terms(), client_config(versions));
        for is_resumed in [false, true] {
            let (mut server, mut client) = (Server::new(&config), client(&client_config));
            let mut handshake = None;
            while client.is_handshaking() || server.session.is_handshaking() {
                let (_, said, received) = server.receive(&sent_by(&mut client));
                handshake = handshake.or(received.established);
                taken_by(&mut client, &said).unwrap();
            }
            assert_eq!(handshake, Some(Handshake { version, is_resumed }));
            client.writer().write_all(b"ask").unwrap();
            let (plain, said, _) = server.receive(&sent_by(&mut client));
            assert_eq!((plain.as_slice(), said.as_slice()), (&b"ask"[..], &b""[..]));
            let record = server.seal(b"answer").unwrap();
            assert_eq!(taken_by(&mut client, &record).unwrap(), b"answer");
        }
    }
}

#[test]
fn any_cut_of_a_clients_bytes_gives_the_same_plaintext() {
    for versions in [TLS13, TLS12] {
        for cut in [1, 2, 3, 5, 22, 23, 100, 1000] {
            let (mut server, mut client) = (Server::new(&terms()), client(&client_config(versions)));
            let mut plain = Vec::new();
            // The first request comes with the end of the handshake.
            client.writer().write_all(&[7; 20_000]).unwrap();
            while client.wants_write() {
                let bytes = sent_by(&mut client);
                for piece in bytes.chunks(cut) {
                    let (some, said, received) = server.receive(piece);
                    assert_eq!(received.ending, None);
                    plain.extend(some);
                    taken_by(&mut client, &said).unwrap();
                }
                assert_eq!(server.kept, b"", "a complete record is never left");
            }
            assert_eq!(plain, [7; 20_000], "in pieces of {cut} bytes");
        }
    }
}

#[test]
fn a_part_of_a_handshake_message_in_a_record_of_its_own_does_not_keep_the_server_from_writing() {
    let (mut server, client) = established(TLS13);
    let mut forger = Forger::of(client);
    // The first 3 of the 5 bytes of a KeyUpdate (RFC 8446 §4.6.3).
    let record = forger.record(HANDSHAKE, &[24, 0, 0]);
    assert_eq!(record.len(), 25);
    let (plain, said, received) = server.receive(&record);
    assert_eq!((plain.as_slice(), said.as_slice(), received.ending), (&b""[..], &b""[..], None));
    assert_eq!(server.kept.len(), 25, "the session refers to it");
    for _ in 0..3 {
        assert_eq!(server.seal(b"in between").unwrap().len(), 10 + 22);
    }
    let (_, said, received) = server.receive(&forger.record(HANDSHAKE, &[1, 0]));
    assert_eq!((said.as_slice(), received.ending), (&b""[..], None));
    assert_eq!(server.kept, b"");
    // From here on the client would have other keys.
    let (_, _, received) = server.receive(&forger.record(DATA, b"under the old key"));
    assert_eq!(failed(&received).kind, FaultKind::Protocol);
}

#[test]
fn the_alert_of_an_error_is_fetched_once_and_nothing_follows_it() {
    let (mut server, mut client) = established(TLS13);
    client.writer().write_all(b"good").unwrap();
    let good = sent_by(&mut client);
    client.writer().write_all(b"bad").unwrap();
    let mut bad = sent_by(&mut client);
    *bad.last_mut().unwrap() ^= 1;
    let (plain, said, received) = server.receive(&[good, bad].concat());
    assert_eq!(plain, b"good", "what came before it is good");
    assert_eq!(failed(&received).kind, FaultKind::Protocol);
    let told = taken_by(&mut client, &said).unwrap_err();
    assert_eq!(told, Error::AlertReceived(AlertDescription::BadRecordMac));
}

#[test]
fn what_is_no_tls_is_told_by_an_alert() {
    // A record with a ClientHello of TLS 1.0: random, no session, one suite, no compression, no extension.
    let hello = [&[22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 1][..], &[0; 32], &[0, 0, 2, 0, 47, 1, 0]].concat();
    for (bytes, alert) in [(&[0; 8][..], [21, 3, 3, 0, 2, 2, 50]), (&hello, [21, 3, 3, 0, 2, 2, 40])] {
        let (_, said, received) = Server::new(&terms()).receive(bytes);
        assert_eq!(failed(&received).kind, FaultKind::Protocol, "{}", failed(&received).what);
        assert_eq!(said, alert, "{}", failed(&received).what);
    }
}

#[test]
fn an_alert_of_the_client_is_an_end_of_its_own_kind() {
    let mut server = Server::new(&terms());
    let mut client = client(&client_config(TLS13));
    server.receive(&sent_by(&mut client));
    // bad_certificate, in clear.
    let (_, said, received) = server.receive(&[21, 3, 3, 0, 2, 2, 42]);
    assert_eq!((failed(&received).kind, said.as_slice()), (FaultKind::Alert, &b""[..]));
}

#[test]
fn nothing_is_sealed_before_the_handshake_is_complete() {
    let mut server = Server::new(&terms());
    assert_eq!(server.seal(b"early"), Err(NotSealed::Handshaking));
    server.receive(&sent_by(&mut client(&client_config(TLS13))));
    assert_eq!(server.seal(b"early"), Err(NotSealed::Handshaking));
}

#[test]
fn the_answer_to_a_key_update_goes_out_with_the_next_record_and_not_before() {
    let (mut server, mut client) = established(TLS13);
    for round in 0..40_u8 {
        client.refresh_traffic_keys().unwrap();
        client.writer().write_all(&[round]).unwrap();
        let (plain, said, received) = server.receive(&sent_by(&mut client));
        assert_eq!((plain, said.as_slice(), received.ending), (vec![round], &b""[..], None));
        // The buffer is too short at first: the KeyUpdate (27 bytes) and the record (22 more than its plaintext).
        let record = server.seal(b"answer").unwrap();
        assert_eq!(record.len(), 27 + 6 + 22);
        assert_eq!(taken_by(&mut client, &record).unwrap(), b"answer");
    }
}

#[test]
fn a_flood_of_key_updates_without_data_ends_the_session() {
    let (mut server, mut client) = established(TLS13);
    let ended = (0..100).find_map(|round| {
        client.refresh_traffic_keys().unwrap();
        let (_, said, received) = server.receive(&sent_by(&mut client));
        assert_eq!((said.as_slice(), server.kept.len()), (&b""[..], 0));
        received.ending.map(|_| round)
    });
    assert!(ended.is_some_and(|round| round <= 33), "{ended:?}");
}

#[test]
fn a_flood_of_empty_records_ends_the_session() {
    let (mut server, client) = established(TLS13);
    let mut forger = Forger::of(client);
    let ended = (0..100).find(|_| server.receive(&forger.record(DATA, b"")).2.ending.is_some());
    assert!(ended.is_some_and(|round| round <= 33), "{ended:?}");
}

#[test]
fn a_run_of_the_longest_record_and_one_of_a_byte_are_one_record_each() {
    let (mut server, mut client) = established(TLS13);
    for len in [1, PLAIN_LEN_MAX] {
        let record = server.seal(&vec![9; len]).unwrap();
        assert_eq!(record.len(), len + 22);
        assert_eq!(taken_by(&mut client, &record).unwrap(), vec![9; len]);
    }
}

#[test]
fn close_notify_of_the_client_comes_once_behind_its_data_and_answers_are_still_sealed() {
    for versions in [TLS13, TLS12] {
        let (mut server, mut client) = established(versions);
        client.writer().write_all(b"last").unwrap();
        client.send_close_notify();
        let (plain, _, received) = server.receive(&sent_by(&mut client));
        assert_eq!((plain.as_slice(), received.ending), (&b"last"[..], Some(Ending::PeerDone)));
        let record = server.seal(b"answer").unwrap();
        let end = server.close_notify();
        assert_eq!(taken_by(&mut client, &[record, end].concat()).unwrap(), b"answer");
    }
}

#[test]
fn a_session_of_tls_1_3_renews_its_keys_before_they_are_used_up() {
    let config = short_lived(cipher_suite::TLS13_AES_128_GCM_SHA256, 100);
    let (mut server, mut client) = (Server::new(&config), client(&client_config(TLS13)));
    shake_hands(&mut server.session, &mut client);
    for round in 0..1000_u32 {
        let record = server.seal(&round.to_be_bytes()).unwrap();
        assert_eq!(taken_by(&mut client, &record).unwrap(), round.to_be_bytes());
        assert!(!server.session.is_spent());
        // The client answers each renewal.
        let (_, _, received) = server.receive(&sent_by(&mut client));
        assert_eq!(received.ending, None);
        client.writer().write_all(b"x").unwrap();
        server.receive(&sent_by(&mut client));
    }
}

#[test]
fn a_session_of_tls_1_2_says_in_time_that_its_keys_are_used_up() {
    let config = short_lived(cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, 100);
    let (mut server, mut client) = (Server::new(&config), client(&client_config(TLS12)));
    shake_hands(&mut server.session, &mut client);
    let mut sealed = 0;
    while !server.session.is_spent() {
        let record = server.seal(b"x").unwrap();
        taken_by(&mut client, &record).unwrap();
        sealed += 1;
    }
    assert_eq!(sealed, 36, "the others are for the end");
    while let Ok(record) = server.seal(b"x") {
        assert_eq!(taken_by(&mut client, &record).unwrap(), b"x");
        sealed += 1;
    }
    assert!((98..=100).contains(&sealed), "{sealed}");
    assert_eq!(server.seal(b"x"), Err(NotSealed::Spent));
}
