//! RFC 6455 §5.2 in literal bytes: one header, parsed and written.

use proptest::prelude::*;

use super::*;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

fn masked(fin: bool, opcode: Opcode, payload_len: u64) -> FrameHeader {
    FrameHeader { fin, is_compressed: false, opcode, mask: Some(KEY), payload_len }
}

/// Asserts that the bytes are parsed to the header, written from it, and that no beginning of them is enough.
fn assert_header(bytes: &[u8], header: FrameHeader) {
    let mut written = Vec::new();
    header.encode(&mut written);
    assert_eq!(written, bytes);
    let mut followed = bytes.to_vec();
    followed.extend_from_slice(b"payload");
    assert_eq!(FrameHeader::parse(&followed, Extensions::None), Ok(Some((header, bytes.len()))));
    assert_eq!(FrameHeader::parse(bytes, Extensions::None), Ok(Some((header, bytes.len()))));
    for end in 0..bytes.len() {
        assert_eq!(FrameHeader::parse(&bytes[..end], Extensions::None), Ok(None), "{end} bytes");
    }
    assert_read_in_two_at_every_cut(&followed, header, bytes.len());
}

fn assert_read_in_two_at_every_cut(bytes: &[u8], header: FrameHeader, header_len: usize) {
    for cut in 0..=bytes.len() {
        let mut bytes = bytes.to_vec();
        let (mut front, mut back) = bytes.split_at_mut(cut);
        let front_len = front.len();
        let mut partial = PartialHeader::NONE;
        let first = partial.read(&mut front, Extensions::None).unwrap();
        assert_eq!(first, (cut >= header_len).then_some(header));
        if first.is_none() {
            assert!(front.is_empty());
            assert_eq!(partial.read(&mut back, Extensions::None), Ok(Some(header)));
            assert_eq!(back, b"payload");
        } else {
            assert_eq!(front_len - front.len(), header_len);
        }
    }
}

/// Asserts that the bytes are refused by their last byte, whatever follows, and by none before it.
fn assert_refused_by_last_byte(bytes: &[u8], error: Error) {
    for end in 0..bytes.len() {
        assert_eq!(
            FrameHeader::parse(&bytes[..end], Extensions::None),
            Ok(None),
            "{end} bytes of {bytes:02x?}"
        );
    }
    for followed_by in [&b""[..], &[0; 16], &[0xff; 16]] {
        assert_eq!(
            FrameHeader::parse(&[bytes, followed_by].concat(), Extensions::None),
            Err(error),
            "{bytes:02x?}"
        );
    }
}

#[test]
fn a_header_of_up_to_125_bytes_of_payload_has_a_7_bit_length() {
    assert_header(b"\x81\x80\x37\xfa\x21\x3d", masked(true, Opcode::Text, 0));
    assert_header(b"\x81\x85\x37\xfa\x21\x3d", masked(true, Opcode::Text, 5));
    assert_header(b"\x82\xfd\x37\xfa\x21\x3d", masked(true, Opcode::Binary, 125));
}

#[test]
fn a_header_of_126_to_65535_bytes_of_payload_has_a_16_bit_length() {
    assert_header(b"\x82\xfe\x00\x7e\x37\xfa\x21\x3d", masked(true, Opcode::Binary, 126));
    assert_header(b"\x82\xfe\x01\x00\x37\xfa\x21\x3d", masked(true, Opcode::Binary, 256));
    assert_header(b"\x82\xfe\xff\xff\x37\xfa\x21\x3d", masked(true, Opcode::Binary, 0xFFFF));
}

#[test]
fn a_header_of_more_bytes_of_payload_has_a_64_bit_length() {
    assert_header(
        b"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00\x37\xfa\x21\x3d",
        masked(true, Opcode::Binary, 0x1_0000),
    );
    assert_header(
        b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\x37\xfa\x21\x3d",
        masked(true, Opcode::Binary, i64::MAX as u64),
    );
}

#[test]
fn the_longest_header_is_14_bytes() {
    let mut written = Vec::new();
    masked(true, Opcode::Binary, i64::MAX as u64).encode(&mut written);
    assert_eq!(written.len(), HEADER_LEN_MAX);
}

#[test]
fn every_opcode_is_read_and_written() {
    assert_header(b"\x00\x81\x37\xfa\x21\x3d", masked(false, Opcode::Continuation, 1));
    assert_header(b"\x80\x81\x37\xfa\x21\x3d", masked(true, Opcode::Continuation, 1));
    assert_header(b"\x01\x81\x37\xfa\x21\x3d", masked(false, Opcode::Text, 1));
    assert_header(b"\x02\x81\x37\xfa\x21\x3d", masked(false, Opcode::Binary, 1));
    assert_header(b"\x88\x82\x37\xfa\x21\x3d", masked(true, Opcode::Close, 2));
    assert_header(b"\x89\x81\x37\xfa\x21\x3d", masked(true, Opcode::Ping, 1));
    assert_header(b"\x8a\x81\x37\xfa\x21\x3d", masked(true, Opcode::Pong, 1));
}

#[test]
fn close_ping_and_pong_are_control_frames() {
    let control = [Opcode::Close, Opcode::Ping, Opcode::Pong].map(Opcode::is_control);
    let data = [Opcode::Continuation, Opcode::Text, Opcode::Binary].map(Opcode::is_control);
    assert_eq!((control, data), ([true; 3], [false; 3]));
}

#[test]
fn a_reserved_bit_is_refused_at_the_first_byte() {
    for first in [0xc1, 0xa1, 0x91, 0xf1, 0x41, 0xc9, 0xcf] {
        assert_refused_by_last_byte(&[first], Error::ReservedBits);
    }
}

#[test]
fn a_reserved_opcode_is_refused_at_the_first_byte() {
    for bits in [0x3, 0x4, 0x5, 0x6, 0x7, 0xb, 0xc, 0xd, 0xe, 0xf] {
        assert_refused_by_last_byte(&[0x80 | bits], Error::ReservedOpcode(bits));
        assert_refused_by_last_byte(&[bits], Error::ReservedOpcode(bits));
    }
}

#[test]
fn a_fragmented_control_frame_is_refused_at_the_first_byte() {
    for first in [0x08, 0x09, 0x0a] {
        assert_refused_by_last_byte(&[first], Error::ControlFragmented);
    }
}

#[test]
fn an_unmasked_frame_is_refused_at_the_second_byte() {
    for second in [0x00, 0x05, 0x7d, 0x7e, 0x7f] {
        assert_refused_by_last_byte(&[0x81, second], Error::Unmasked);
        assert_refused_by_last_byte(&[0x89, second], Error::Unmasked);
    }
}

#[test]
fn a_control_frame_over_125_bytes_is_refused_at_the_second_byte() {
    for first in [0x88, 0x89, 0x8a] {
        assert_refused_by_last_byte(&[first, 0xfe], Error::ControlTooLong);
        assert_refused_by_last_byte(&[first, 0xff], Error::ControlTooLong);
    }
}

#[test]
fn a_length_in_more_bytes_than_it_needs_is_refused_at_its_last_byte() {
    assert_refused_by_last_byte(b"\x82\xfe\x00\x00", Error::LengthNotMinimal);
    assert_refused_by_last_byte(b"\x82\xfe\x00\x7d", Error::LengthNotMinimal);
    assert_refused_by_last_byte(b"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x7d", Error::LengthNotMinimal);
    assert_refused_by_last_byte(b"\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff", Error::LengthNotMinimal);
}

#[test]
fn a_64_bit_length_with_its_top_bit_set_is_refused_at_its_last_byte() {
    assert_refused_by_last_byte(b"\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00", Error::LengthTopBit);
    assert_refused_by_last_byte(b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", Error::LengthTopBit);
}

#[test]
fn a_server_sends_hello_unmasked_as_in_rfc_6455_section_5_7() {
    let mut out = b"before".to_vec();
    encode_frame(&mut out, Opcode::Text, b"Hello");
    assert_eq!(out, b"before\x81\x05Hello");
}

#[test]
fn a_server_sends_a_ping_as_in_rfc_6455_section_5_7() {
    let mut out = Vec::new();
    encode_frame(&mut out, Opcode::Ping, b"Hello");
    assert_eq!(out, b"\x89\x05Hello");
}

#[test]
fn a_server_sends_256_bytes_and_64_kib_as_in_rfc_6455_section_5_7() {
    let mut out = Vec::new();
    encode_frame(&mut out, Opcode::Binary, &[b'x'; 256]);
    assert_eq!(out, [&b"\x82\x7e\x01\x00"[..], &[b'x'; 256]].concat());
    out.clear();
    encode_frame(&mut out, Opcode::Binary, &[b'x'; 65_536]);
    assert_eq!(out, [&b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00"[..], &[b'x'; 65_536]].concat());
}

#[test]
fn a_server_writes_fragments_unmasked_as_in_rfc_6455_section_5_7() {
    let mut out = Vec::new();
    FrameHeader { fin: false, is_compressed: false, opcode: Opcode::Text, mask: None, payload_len: 3 }
        .encode(&mut out);
    FrameHeader { fin: true, is_compressed: false, opcode: Opcode::Continuation, mask: None, payload_len: 2 }
        .encode(&mut out);
    assert_eq!(out, b"\x01\x03\x80\x02");
}

#[test]
fn a_client_sends_hello_masked_as_in_rfc_6455_section_5_7() {
    let mut out = Vec::new();
    encode_masked_frame(&mut out, true, Opcode::Text, KEY, b"Hello");
    assert_eq!(out, b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58");
}

#[test]
fn a_header_is_16_bytes_in_memory() {
    assert_eq!(size_of::<FrameHeader>(), 16);
}

fn any_opcode() -> impl Strategy<Value = Opcode> {
    let data = [Opcode::Continuation, Opcode::Text, Opcode::Binary];
    let control = [Opcode::Close, Opcode::Ping, Opcode::Pong];
    prop::sample::select([data, control].concat())
}

proptest! {
    #[test]
    fn any_header_that_is_allowed_is_read_as_it_was_written(
        fin: bool,
        opcode in any_opcode(),
        key: [u8; 4],
        payload_len in prop_oneof![0_u64..126, 126_u64..0x1_0000, 0x1_0000_u64..=i64::MAX as u64],
    ) {
        let fin = fin || opcode.is_control();
        let payload_len = if opcode.is_control() { payload_len % 126 } else { payload_len };
        let header = FrameHeader { fin, is_compressed: false, opcode, mask: Some(key), payload_len };
        let mut written = Vec::new();
        header.encode(&mut written);
        prop_assert_eq!(FrameHeader::parse(&written, Extensions::None), Ok(Some((header, written.len()))));
    }

    #[test]
    fn more_bytes_never_change_what_was_read(bytes: [u8; 16]) {
        for end in 0..bytes.len() {
            let parsed = FrameHeader::parse(&bytes[..end], Extensions::None);
            if parsed != Ok(None) {
                prop_assert_eq!(FrameHeader::parse(&bytes, Extensions::None), parsed);
            }
        }
    }

    #[test]
    fn what_is_read_is_written_in_the_same_bytes(bytes: [u8; 16]) {
        if let Ok(Some((header, header_len))) = FrameHeader::parse(&bytes, Extensions::None) {
            let mut written = Vec::new();
            header.encode(&mut written);
            prop_assert_eq!(written, &bytes[..header_len]);
        }
    }
}
