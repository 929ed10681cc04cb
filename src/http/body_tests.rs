//! Chunked bodies and bodies by length, alone; with the reader around them in `reader_tests.rs`.

use super::*;

fn chunked(input: &[u8], len_max: u64) -> Result<(Vec<u8>, usize, bool), Error> {
    let mut body = Body::chunked(len_max, Limits::default());
    let (used, complete) = body.decode(input)?;
    Ok((body.into_bytes(), used, complete))
}

#[test]
fn a_body_by_length_ends_where_it_says() {
    let mut body = Body::known(5, 5, Limits::default());
    assert_eq!(body.decode(b"hel"), Ok((3, false)));
    assert_eq!(body.decode(b"loGET"), Ok((2, true)));
    assert_eq!(body.into_bytes(), b"hello");
}

#[test]
fn a_body_of_length_zero_is_complete_at_once() {
    assert_eq!(Body::known(0, 0, Limits::default()).decode(b"GET"), Ok((0, true)));
}

#[test]
fn chunks_are_joined_and_what_follows_is_left() {
    let input = b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\nGET";
    assert_eq!(chunked(input, 11), Ok((b"hello world".to_vec(), input.len() - 3, true)));
}

#[test]
fn size_digits_may_be_of_either_case_and_have_leading_zeros() {
    assert_eq!(chunked(b"00A\r\n0123456789\r\n0\r\n\r\n", 99).unwrap().0, b"0123456789");
    assert_eq!(chunked(b"a\r\n0123456789\r\n0000000000000000\r\n\r\n", 99).unwrap().0, b"0123456789");
}

#[test]
fn extensions_and_trailers_are_skipped() {
    let input = b"2;a=b;c=\"d;e\"\r\nhi\r\n0 ;x\r\nDigest: y\r\nB:\r\n\r\n";
    assert_eq!(chunked(input, 2), Ok((b"hi".to_vec(), input.len(), true)));
}

#[test]
fn a_malformed_chunk_is_refused() {
    let refused: &[(&[u8], Error)] = &[
        (b"\r\n", Error::ChunkSize),
        (b"g\r\n", Error::ChunkSize),
        (b";a\r\n", Error::ChunkSize),
        (b" 5\r\n", Error::ChunkSize),
        (b"+5\r\n", Error::ChunkSize),
        (b"-5\r\n", Error::ChunkSize),
        (b"0x5\r\n", Error::ChunkSize),
        (b"5 \r\n", Error::ChunkSize),
        (b"5 5\r\n", Error::ChunkSize),
        (b"5_\r\n", Error::ChunkSize),
        (b"5\n", Error::BareLf),
        (b"5;a\n", Error::BareLf),
        (b"5\rx", Error::BareCr),
        (b"5;a\0", Error::ChunkSize),
        (b"2\r\nhi\n", Error::ChunkEnd),
        (b"2\r\nhi\rx", Error::ChunkEnd),
        (b"2\r\nhi!", Error::ChunkEnd),
        (b"0\r\n\n", Error::BareLf),
        (b"0\r\nA: b\n", Error::BareLf),
        (b"0\r\n A: b", Error::Fold),
        (b"0\r\nA : b", Error::SpaceBeforeColon),
        (b"0\r\n\rx", Error::BareCr),
    ];
    for (input, error) in refused {
        assert_eq!(chunked(input, 99), Err(*error), "{}", input.escape_ascii());
    }
}

#[test]
fn seventeen_digits_are_refused_whatever_their_value() {
    assert_eq!(chunked(b"00000000000000001", 99), Err(Error::ChunkSize));
    assert_eq!(chunked(b"10000000000000000", u64::MAX), Err(Error::ChunkSize));
}

#[test]
fn a_chunk_over_the_limit_is_refused_before_its_data() {
    let too_large = Err(Error::BodyTooLarge { len_max: 10 });
    assert_eq!(chunked(b"b", 10), too_large);
    assert_eq!(chunked(b"ffffffffffffffff", 10), too_large);
    assert_eq!(chunked(b"5\r\nhello\r\n6", 10), too_large);
    assert_eq!(chunked(b"1\r\na\r\nffffffffffffffff", u64::MAX).unwrap_err().status().code(), 413);
    assert!(chunked(b"5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n", 10).unwrap().2);
}

#[test]
fn a_size_line_over_the_limit_is_refused() {
    let line = |extension_len: usize| [b"1;".to_vec(), vec![b'x'; extension_len], b"\r\n".to_vec()].concat();
    assert!(chunked(&line(254), 99).is_ok());
    assert_eq!(chunked(&line(255), 99), Err(Error::ChunkLineTooLong));
}

#[test]
fn trailers_over_the_head_limit_are_refused() {
    let limits = Limits { head_len_max: 8, headers_max: 1 };
    let mut body = Body::chunked(9, limits);
    assert_eq!(body.decode(b"0\r\nA: b\r\n\r\n"), Ok((11, true)));
    let mut body = Body::chunked(9, limits);
    assert_eq!(body.decode(b"0\r\nA: bc\r\n\r\n"), Err(Error::HeadTooLong { len_max: 8 }));
    let mut body = Body::chunked(9, limits);
    assert_eq!(body.decode(b"0\r\nA:\r\nB"), Err(Error::TooManyHeaders { headers_max: 1 }));
}

#[test]
fn a_body_of_which_a_fourth_came_gets_its_room_at_once() {
    let mut body = Body::known(1000, 1000, Limits::default());
    assert_eq!(body.decode(&[0; 250]), Ok((250, false)));
    assert_eq!(body.capacity(), 1000);
    assert_eq!(body.decode(&[0; 750]), Ok((750, true)));
    assert_eq!(body.capacity(), 1000);
}

#[test]
fn a_body_of_which_little_came_gets_little_room() {
    for announced in [100, 1000, 1 << 30, u64::MAX] {
        let mut body = Body::known(announced, u64::MAX, Limits::default());
        for _ in 0..9 {
            assert_eq!(body.decode(&[0; 10]), Ok((10, false)));
            assert!(body.capacity() <= ROOM_AHEAD * body.bytes().len(), "{announced}");
            assert!(body.capacity() as u64 <= announced);
        }
    }
}

#[test]
fn the_bytes_of_a_body_in_many_chunks_are_moved_twice_at_most_on_average() {
    let mut body = Body::chunked(1 << 20, Limits::default());
    let (mut moved_len, mut capacity) = (0, 0);
    for _ in 0..1000 {
        for input in [&b"64\r\n"[..], &[0; 90], &[0; 10], b"\r\n"] {
            assert_eq!(body.decode(input), Ok((input.len(), false)));
            if body.capacity() > capacity {
                moved_len += capacity;
                capacity = body.capacity();
            }
        }
    }
    assert!(moved_len <= 2 * body.bytes().len(), "{moved_len}");
}
