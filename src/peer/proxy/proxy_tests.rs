//! Headers as proxies write them, and others.

use super::*;

/// What becomes of a connection that begins with these bytes and `GET /`, in pieces of this length: the client that is
/// said, and what is left for the connection.
fn read(header: &[u8], piece_len: usize) -> Result<(Option<String>, Vec<u8>), BadHeader> {
    let bytes = [header, b"GET /"].concat();
    let mut reader = HeaderReader::new();
    for (number, piece) in bytes.chunks(piece_len).enumerate() {
        if let Some(Header { used_len, client }) = reader.receive(piece)? {
            let rest = bytes[number * piece_len + used_len..].to_vec();
            return Ok((client.map(|address| address.to_string()), rest));
        }
        assert!(reader.held.len() <= 107, "{} held", reader.held.len());
    }
    panic!("it waits for more than {bytes:?}");
}

fn client(header: &[u8]) -> Option<String> {
    let (whole, rest) = read(header, usize::MAX).unwrap();
    assert_eq!(rest, b"GET /", "{header:?}");
    for piece_len in 1..=header.len() {
        assert_eq!(read(header, piece_len), Ok((whole.clone(), rest.clone())), "in pieces of {piece_len}");
    }
    whole
}

fn refused(header: &[u8]) -> BadHeader {
    let whole = read(header, usize::MAX).unwrap_err();
    assert_eq!(read(header, 1), Err(whole), "byte by byte");
    whole
}

/// A header of version 2.
fn binary(version_and_command: u8, family: u8, after: &[u8]) -> Vec<u8> {
    let len = u16::try_from(after.len()).unwrap().to_be_bytes();
    [
        b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a".as_slice(),
        &[version_and_command, family],
        &len,
        after,
    ]
    .concat()
}

const V4: &[u8] = b"\xcb\x00\x71\x09\xc0\x00\x02\x01\x04\xd2\x00\x50";

fn v6(client: [u8; 16]) -> Vec<u8> {
    [client.as_slice(), &[0; 15], &[1, 4, 210, 0, 80]].concat()
}

#[test]
fn a_line_of_version_1_says_the_client() {
    assert_eq!(client(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n").as_deref(), Some("192.168.0.1"));
    assert_eq!(
        client(b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n").as_deref(),
        Some("255.255.255.255")
    );
    assert_eq!(client(b"PROXY TCP6 2001:db8::9 ::1 0 443\r\n").as_deref(), Some("2001:db8::9"));
    let longest = b"PROXY TCP6 ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n";
    assert_eq!(refused(longest), BadHeader::Line, "the spec's ellipsis is no address");
    let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY TCP6 {all} {all} 65535 65535\r\n");
    assert_eq!(client(longest.as_bytes()).as_deref(), Some(all));
    assert_eq!(client(b"PROXY TCP6 ::ffff:203.0.113.9 ::1 1 2\r\n").as_deref(), Some("203.0.113.9"));
}

#[test]
fn an_unknown_client_of_version_1_is_the_peer_whatever_the_line_says() {
    assert_eq!(client(b"PROXY UNKNOWN\r\n"), None);
    let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
    let longest = format!("PROXY UNKNOWN {all} {all} 65535 65535\r\n");
    assert_eq!(longest.len(), 107);
    assert_eq!(client(longest.as_bytes()), None);
    assert_eq!(client(b"PROXY UNKNOWN \xff\x00 \n\r x\r\n"), None);
}

#[test]
fn a_line_that_is_too_long_or_has_other_words_is_no_header() {
    assert_eq!(refused(&[b"PROXY UNKNOWN ".as_slice(), &[b'x'; 93]].concat()), BadHeader::LineTooLong);
    let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 92], b"\r\n"].concat();
    assert_eq!((long.len(), refused(&long)), (108, BadHeader::LineTooLong));
    for line in [
        "PROXY \r\n",
        "PROXY  UNKNOWN\r\n",
        "PROXY UNKNOWNS\r\n",
        "PROXY TCP\r\n",
        "PROXY TCP5 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY tcp4 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 1.2.3.4\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 \r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 2 3\r\n",
        "PROXY TCP4 1.2.3.4  5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4\t5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.256 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.04 5.6.7.8 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 5.6.7.8 1 2\r\n",
        "PROXY TCP6 ::1%lo ::1 1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 01 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 -2\r\n",
        "PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n",
    ] {
        assert_eq!(refused(line.as_bytes()), BadHeader::Line, "{line:?}");
    }
}

#[test]
fn what_begins_otherwise_is_refused_at_the_first_byte_that_does() {
    for (bytes, at) in [
        ("GET / HTTP/1.1", 1),
        ("POST /", 2),
        ("PROXYA", 6),
        ("proxy ", 1),
        ("\r\n\r\n\0\r\nQUIX", 11),
        ("\x16\x03\x01", 1),
        ("\r\nGET", 3),
    ] {
        let mut reader = HeaderReader::new();
        assert_eq!(reader.receive(&bytes.as_bytes()[..at - 1]), Ok(None), "{bytes:?}");
        assert_eq!(reader.receive(&bytes.as_bytes()[at - 1..at]), Err(BadHeader::Missing), "{bytes:?}");
    }
}

#[test]
fn a_header_of_version_2_says_the_client() {
    assert_eq!(client(&binary(0x21, 0x11, V4)).as_deref(), Some("203.0.113.9"));
    assert_eq!(client(&binary(0x21, 0x12, V4)).as_deref(), Some("203.0.113.9"));
    let address = [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9];
    assert_eq!(client(&binary(0x21, 0x21, &v6(address))).as_deref(), Some("2001:db8::9"));
    assert_eq!(client(&binary(0x21, 0x22, &v6(address))).as_deref(), Some("2001:db8::9"));
    let mapped = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 203, 0, 113, 9];
    assert_eq!(client(&binary(0x21, 0x21, &v6(mapped))).as_deref(), Some("203.0.113.9"));
}

#[test]
fn what_follows_the_addresses_is_passed_over_and_not_kept() {
    let with_tlvs = [V4, b"\x04\x00\x03abc\xea\x00\x01x"].concat();
    assert_eq!(client(&binary(0x21, 0x11, &with_tlvs)).as_deref(), Some("203.0.113.9"));
    let longest = binary(0x21, 0x11, &[V4, &vec![7; 65_535 - V4.len()]].concat());
    for piece_len in [1, 1000, usize::MAX] {
        assert_eq!(read(&longest, piece_len), Ok((Some("203.0.113.9".into()), b"GET /".to_vec())));
    }
}

#[test]
fn the_peer_itself_is_meant_by_local_and_by_families_without_ip_addresses() {
    assert_eq!(client(&binary(0x20, 0x00, b"")), None);
    assert_eq!(client(&binary(0x20, 0xff, b"abc")), None, "the family of LOCAL is ignored");
    assert_eq!(client(&binary(0x20, 0x11, V4)), None);
    assert_eq!(client(&binary(0x21, 0x00, b"")), None);
    assert_eq!(client(&binary(0x21, 0x00, b"\x04\x00\x00")), None);
    assert_eq!(client(&binary(0x21, 0x31, &[b'/'; 216])), None);
    assert_eq!(client(&binary(0x21, 0x32, &[b'/'; 220])), None);
}

#[test]
fn a_header_of_version_2_with_what_does_not_exist_is_refused_before_the_rest_comes() {
    for (version_and_command, family, after, fault) in [
        (0x11, 0x11, V4, BadHeader::Version),
        (0x31, 0x11, V4, BadHeader::Version),
        (0x01, 0x11, V4, BadHeader::Version),
        (0x22, 0x11, V4, BadHeader::Command),
        (0x2f, 0x11, V4, BadHeader::Command),
        (0x21, 0x01, V4, BadHeader::Family),
        (0x21, 0x10, V4, BadHeader::Family),
        (0x21, 0x13, V4, BadHeader::Family),
        (0x21, 0x41, V4, BadHeader::Family),
        (0x21, 0x11, &V4[..11], BadHeader::Short),
        (0x21, 0x21, V4, BadHeader::Short),
        (0x21, 0x31, &[0; 215], BadHeader::Short),
    ] {
        let header = binary(version_and_command, family, after);
        assert_eq!(refused(&header), fault, "{header:x?}");
        assert_eq!(HeaderReader::new().receive(&header[..16]), Err(fault), "{header:x?}");
    }
}
