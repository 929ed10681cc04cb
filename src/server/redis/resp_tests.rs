//! Replies and commands as literal bytes, in every cut, and against `redis-protocol`.

use proptest::collection::vec;
use proptest::prelude::*;
use redis_protocol::resp3::decode::complete::decode;
use redis_protocol::resp3::encode::complete::encode;
use redis_protocol::resp3::types::{OwnedFrame, Resp3Frame, VerbatimStringFormat};

use super::*;

const BOUNDS: Bounds = Bounds { text_len_max: 1 << 20, reply_len_max: 1 << 24 };

fn text(text: &str) -> Reply {
    Reply::Text(Bytes::copy_from_slice(text.as_bytes()))
}

/// All replies of the pieces, and how it ended.
fn decoded<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Reply>, Result<(), Malformed>) {
    let (mut decoder, mut buffer, mut replies) = (Decoder::new(BOUNDS), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(malformed) => return (replies, Err(malformed)),
            }
        }
    }
    (replies, Ok(()))
}

/// The replies of these bytes, which are the same whole, byte by byte, and in any two pieces.
fn replies(bytes: &[u8]) -> Vec<Reply> {
    let whole = decoded([bytes]);
    assert_eq!(decoded(bytes.chunks(1)), whole, "byte by byte");
    for (left, right) in (0..bytes.len().min(2_000)).map(|at| bytes.split_at(at)) {
        assert_eq!(decoded([left, right]), whole, "cut at {}", left.len());
    }
    assert_eq!(whole.1, Ok(()));
    whole.0
}

fn reply(bytes: &[u8]) -> Reply {
    let mut replies = replies(bytes);
    assert_eq!(replies.len(), 1, "{replies:?}");
    replies.remove(0)
}

fn fault(bytes: &[u8]) -> Malformed {
    let ended = decoded([bytes]).1;
    assert_eq!(decoded(bytes.chunks(1)).1, ended, "byte by byte");
    ended.expect_err("the bytes are malformed")
}

#[test]
fn each_kind_of_reply_becomes_what_it_says() {
    assert_eq!(reply(b"+OK\r\n"), text("OK"));
    assert_eq!(reply(b"+\r\n"), text(""));
    assert_eq!(reply(b"-ERR unknown command\r\n"), Reply::Error(Bytes::from_static(b"ERR unknown command")));
    assert_eq!(reply(b":42\r\n"), Reply::Number(42));
    assert_eq!(reply(b":-9223372036854775808\r\n"), Reply::Number(i64::MIN));
    assert_eq!(reply(b"$5\r\na\r\nb\0\r\n"), text("a\r\nb\0"));
    assert_eq!(reply(b"$0\r\n\r\n"), text(""));
    assert_eq!(reply(b"=7\r\ntxt:a\r\n\r\n"), text("a\r\n"));
    assert_eq!(reply(b"!10\r\nSYNTAX a\r\n\r\n"), Reply::Error(Bytes::from_static(b"SYNTAX a\r\n")));
    assert_eq!(reply(b",3.25\r\n"), text("3.25"));
    assert_eq!(reply(b",-inf\r\n"), text("-inf"));
    assert_eq!(reply(b",1e+17\r\n"), text("1e+17"));
    assert_eq!(reply(b"#t\r\n"), Reply::Number(1));
    assert_eq!(reply(b"#f\r\n"), Reply::Number(0));
    assert_eq!(
        reply(b"(3492890328409238509324850943850943825024385\r\n"),
        text("3492890328409238509324850943850943825024385")
    );
    assert_eq!(reply(b"*2\r\n:1\r\n$1\r\na\r\n"), Reply::List(vec![Reply::Number(1), text("a")]));
    assert_eq!(reply(b"~2\r\n+a\r\n+a\r\n"), Reply::List(vec![text("a"), text("a")]));
    assert_eq!(reply(b"%1\r\n+proto\r\n:3\r\n"), Reply::Map(vec![(text("proto"), Reply::Number(3))]));
    assert_eq!(
        reply(b">3\r\n+message\r\n$1\r\nc\r\n$1\r\nm\r\n"),
        Reply::Push(vec![text("message"), text("c"), text("m")])
    );
}

#[test]
fn null_is_nil_in_all_its_forms_and_an_empty_aggregate_is_not() {
    assert_eq!(
        replies(b"_\r\n$-1\r\n*-1\r\n*0\r\n%0\r\n>0\r\n"),
        [Reply::Nil, Reply::Nil, Reply::Nil, Reply::List(vec![]), Reply::Map(vec![]), Reply::Push(vec![])]
    );
}

#[test]
fn levels_end_together_and_the_next_reply_follows() {
    let bytes = b"*2\r\n*2\r\n*0\r\n*1\r\n:1\r\n%1\r\n+k\r\n*1\r\n_\r\n+next\r\n";
    let inner = Reply::List(vec![Reply::List(vec![]), Reply::List(vec![Reply::Number(1)])]);
    let map = Reply::Map(vec![(text("k"), Reply::List(vec![Reply::Nil]))]);
    assert_eq!(replies(bytes), [Reply::List(vec![inner, map]), text("next")]);
}

#[test]
fn attributes_are_skipped_wherever_they_stand() {
    assert_eq!(replies(b"|1\r\n+ttl\r\n:3600\r\n:7\r\n|0\r\n:8\r\n"), [Reply::Number(7), Reply::Number(8)]);
    let nested = b"*2\r\n|1\r\n+a\r\n|1\r\n+b\r\n*1\r\n:0\r\n:1\r\n:7\r\n|1\r\n+k\r\n+v\r\n:8\r\n";
    assert_eq!(reply(nested), Reply::List(vec![Reply::Number(7), Reply::Number(8)]));
    assert_eq!(reply(b"|1\r\n+a\r\n+b\r\n>1\r\n+c\r\n"), Reply::Push(vec![text("c")]));
}

#[test]
fn an_incomplete_reply_is_waited_for_without_looking_at_it_again() {
    let mut decoder = Decoder::new(BOUNDS);
    let mut buffer = BytesMut::from(&b"*2\r\n$1\r\na\r\n$9\r\n1234"[..]);
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    assert_eq!(&buffer[..], b"1234", "what is complete has been taken");
    buffer.extend_from_slice(b"56789\r");
    assert_eq!(decoder.decode(&mut buffer), Ok(None));
    buffer.extend_from_slice(b"\n");
    assert_eq!(decoder.decode(&mut buffer), Ok(Some(Reply::List(vec![text("a"), text("123456789")]))));
    assert!(buffer.is_empty());
}

/// What grows with the square of the bytes takes hours here.
#[test]
fn the_work_is_linear_in_the_bytes_in_whatever_pieces_they_come() {
    let bounds = Bounds { text_len_max: 1 << 24, reply_len_max: 1 << 25 };
    let one_text = [b"$16777216\r\n".as_slice(), &vec![b'x'; 1 << 24], b"\r\n"].concat();
    let many_elements =
        [format!("*{}\r\n", ELEMENTS_MAX - 1).as_bytes(), &b":1\r\n".repeat(ELEMENTS_MAX - 1)].concat();
    let one_line = [b"+".as_slice(), &vec![b'x'; LINE_LEN_MAX - 2], b"\r\n"].concat();
    for (bytes, piece_len) in [(one_text, 32), (many_elements, 3), (one_line, 1)] {
        let (mut decoder, mut buffer, mut found) = (Decoder::new(bounds), BytesMut::new(), 0);
        for piece in bytes.chunks(piece_len) {
            buffer.extend_from_slice(piece);
            found += usize::from(decoder.decode(&mut buffer).unwrap().is_some());
        }
        assert_eq!((found, buffer.len()), (1, 0));
    }
}

#[test]
fn what_is_announced_is_not_allocated_before_it_arrives() {
    let bounds = Bounds { text_len_max: usize::MAX / 4, reply_len_max: usize::MAX };
    for announced in ["*500000\r\n", "%250000\r\n", ">500000\r\n", "$4000000000000000000\r\n"] {
        let mut decoder = Decoder::new(bounds);
        let mut buffer = BytesMut::from(announced);
        assert_eq!(decoder.decode(&mut buffer), Ok(None), "{announced}");
        assert_eq!(decoder.levels.iter().map(|level| level.elements.capacity()).sum::<usize>(), 0);
        assert!(buffer.capacity() < 100);
    }
}

#[test]
fn a_line_ends_with_both_of_its_bytes_and_has_neither_inside() {
    for bytes in
        [b"+OK\n".as_slice(), b"+a\rb\r\n", b"+OK\r\r\n", b":1\n", b"$1\na\r\n", b"\n", b"$1\r\nab\r\n"]
    {
        assert_eq!(fault(bytes), Malformed::LineEnd, "{bytes:?}");
    }
    assert_eq!(decoded([b"$1\r\na\rx".as_slice()]).1, Err(Malformed::LineEnd));
    assert_eq!(fault(b"$1\r\na\n\r"), Malformed::LineEnd);
}

#[test]
fn what_is_not_resp3_is_refused_by_its_first_byte() {
    for bytes in [b"HTTP/1.1 400 Bad Request\r\n".as_slice(), b"\r\n", b"A\r\n", b"*1\r\n?\r\n", b"\xff\r\n"]
    {
        assert_eq!(fault(bytes), Malformed::Kind, "{bytes:?}");
    }
}

#[test]
fn a_length_is_decimal_digits_that_fit() {
    for length in [
        "",
        "-2",
        "-0",
        "+1",
        " 1",
        "1 ",
        "0x1",
        "1a",
        "9223372036854775808",
        "18446744073709551616",
        "99999999999999999999999999",
    ] {
        for kind in ['$', '*', '!', '=', '%', '~', '>', '|'] {
            assert_eq!(fault(format!("{kind}{length}\r\n").as_bytes()), Malformed::Length, "{kind}{length}");
        }
    }
    for kind in ['!', '=', '%', '~', '>', '|'] {
        assert_eq!(fault(format!("{kind}-1\r\n").as_bytes()), Malformed::Length, "{kind} has no null");
    }
}

#[test]
fn a_number_that_is_none_is_refused() {
    for bytes in [
        ":\r\n",
        ":1.5\r\n",
        ":9223372036854775808\r\n",
        ":-9223372036854775809\r\n",
        ":1 \r\n",
        "#\r\n",
        "#T\r\n",
        "#tt\r\n",
        ",\r\n",
        ",1,5\r\n",
        "(\r\n",
        "(-\r\n",
        "(1.5\r\n",
        "_1\r\n",
    ] {
        assert_eq!(fault(bytes.as_bytes()), Malformed::Number, "{bytes:?}");
    }
    assert_eq!(fault(b"=3\r\ntxt\r\n"), Malformed::Verbatim);
    assert_eq!(fault(b"=4\r\ntext\r\n"), Malformed::Verbatim);
}

#[test]
fn what_is_streamed_is_refused() {
    for bytes in [b"$?\r\n".as_slice(), b"*?\r\n", b"%?\r\n", b"~?\r\n", b";4\r\n", b".\r\n"] {
        assert_eq!(fault(bytes), Malformed::Streamed, "{bytes:?}");
    }
}

#[test]
fn eight_levels_are_read_and_a_depth_bomb_is_refused_at_the_ninth() {
    let mut expected = Reply::Number(1);
    for _ in 0..DEPTH_MAX {
        expected = Reply::List(vec![expected]);
    }
    assert_eq!(reply(&[b"*1\r\n".repeat(DEPTH_MAX).as_slice(), b":1\r\n"].concat()), expected);
    for kind in ["*1\r\n", "%1\r\n", "~1\r\n", "|1\r\n"] {
        assert_eq!(fault(kind.repeat(DEPTH_MAX + 1).as_bytes()), Malformed::TooDeep, "{kind:?}");
        let mut buffer = BytesMut::from(kind.repeat(200_000).as_str());
        assert_eq!(Decoder::new(BOUNDS).decode(&mut buffer), Err(Malformed::TooDeep));
        assert!(buffer.len() > 4 * 199_000, "the rest is not read");
    }
}

#[test]
fn elements_are_counted_over_all_levels_and_from_0_for_each_reply() {
    let half = ELEMENTS_MAX / 2;
    let list = [format!("*{half}\r\n").as_bytes(), &b"_\r\n".repeat(half)].concat();
    let two = [b"*2\r\n".as_slice(), &list, &list].concat();
    assert_eq!(decoded([two.as_slice()]), (vec![], Err(Malformed::TooManyElements)));
    let (replies, ended) = decoded([list.as_slice(), &list, &list]);
    assert_eq!((replies.len(), ended), (3, Ok(())));
    assert_eq!(fault(format!("*{}\r\n", ELEMENTS_MAX + 1).as_bytes()), Malformed::TooManyElements);
    assert_eq!(fault(format!("%{}\r\n", ELEMENTS_MAX / 2 + 1).as_bytes()), Malformed::TooManyElements);
    assert_eq!(fault(b"%9223372036854775807\r\n"), Malformed::TooManyElements);
    assert_eq!(decoded([b"|0\r\n".repeat(ELEMENTS_MAX + 1).as_slice()]).1, Err(Malformed::TooManyElements));
}

#[test]
fn a_text_a_line_and_a_reply_above_their_bounds_are_refused_when_announced() {
    let bounds = Bounds { text_len_max: 10, reply_len_max: 60 };
    let ended = |bytes: &[u8]| {
        let (mut decoder, mut buffer) = (Decoder::new(bounds), BytesMut::from(bytes));
        let first = decoder.decode(&mut buffer);
        (first, decoder.decode(&mut buffer))
    };
    assert_eq!(ended(b"$10\r\n0123456789\r\n").0, Ok(Some(text("0123456789"))));
    assert_eq!(ended(b"$11\r\n"), (Err(Malformed::TextTooLong), Err(Malformed::TextTooLong)));
    assert_eq!(ended(b"!11\r\n").0, Err(Malformed::TextTooLong));
    let three = b"*4\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n0123456789\r\n$10\r\n";
    assert_eq!(ended(three).0, Err(Malformed::ReplyTooLong));
    assert_eq!(ended(&[b"+".as_slice(), &[b'x'; 70], b"\r\n"].concat()).0, Err(Malformed::ReplyTooLong));
    assert_eq!(fault(&[b"+".as_slice(), &[b'x'; LINE_LEN_MAX]].concat()), Malformed::LineTooLong);
    let with_end = [b"+".as_slice(), &[b'x'; LINE_LEN_MAX], b"\r\n"].concat();
    assert_eq!(decoded([with_end.as_slice()]).1, Err(Malformed::LineTooLong));
}

#[test]
fn a_push_is_inside_nothing() {
    assert_eq!(fault(b"*1\r\n>1\r\n+a\r\n"), Malformed::InnerPush);
    assert_eq!(fault(b"*1\r\n>0\r\n"), Malformed::InnerPush);
    assert_eq!(fault(b">1\r\n>1\r\n+a\r\n"), Malformed::InnerPush);
}

#[test]
fn after_a_fault_nothing_is_read() {
    let (mut decoder, mut buffer) = (Decoder::new(BOUNDS), BytesMut::from(&b"?\r\n+OK\r\n"[..]));
    assert_eq!(decoder.decode(&mut buffer), Err(Malformed::Kind));
    assert_eq!(decoder.decode(&mut buffer), Err(Malformed::Kind));
}

#[test]
fn each_fault_has_a_sentence_that_completes_another() {
    for malformed in [Malformed::Kind, Malformed::TooManyElements, Malformed::TooDeep] {
        let words = malformed.to_string();
        assert!(
            words.starts_with("has") || words.starts_with("is") || words.starts_with("begins"),
            "{words}"
        );
    }
    assert!(Malformed::TooManyElements.to_string().contains("524,288") && ELEMENTS_MAX == 524_288);
    assert!(Malformed::TooDeep.to_string().contains('8') && DEPTH_MAX == 8);
    assert!(Malformed::LineTooLong.to_string().contains("64 KiB") && LINE_LEN_MAX == 65_536);
}

#[test]
fn numbers_are_taken_from_numbers_and_from_digits_alone() {
    assert_eq!(Reply::Number(7).as_number(), Some(7));
    assert_eq!(text("007").as_number(), Some(7));
    assert_eq!(text("18446744073709551615").as_number(), Some(u64::MAX));
    for other in
        [Reply::Number(-1), Reply::Nil, text(""), text("+7"), text("7 "), text("18446744073709551616")]
    {
        assert_eq!(other.as_number(), None, "{other:?}");
    }
    assert_eq!(Reply::Error(Bytes::from_static(b"7")).as_number(), None);
}

#[test]
fn texts_lists_and_fields_are_taken_from_what_has_them() {
    assert_eq!(text("a").as_text(), Some(b"a".as_slice()));
    assert_eq!(Reply::Error(Bytes::from_static(b"a")).as_text(), None);
    assert_eq!(Reply::List(vec![Reply::Nil]).into_list(), Some(vec![Reply::Nil]));
    assert_eq!(Reply::Push(vec![Reply::Nil]).into_list(), None);
    let map = reply(b"%3\r\n:1\r\n+x\r\n+mode\r\n+cluster\r\n+mode\r\n+late\r\n");
    assert_eq!(map.field(b"mode"), Some(&text("cluster")));
    assert_eq!(map.field(b"version"), None);
    assert_eq!(text("a").field(b"a"), None);
}

#[test]
fn a_command_is_an_array_of_its_words() {
    let mut out = BytesMut::from(&b"before"[..]);
    Command::new(&mut out, 4).word(b"HSET").word(b"fanfare:{news}").number(0).word(b"\r\n\0");
    Command::new(&mut out, 1).word(b"PING");
    let expected =
        b"before*4\r\n$4\r\nHSET\r\n$14\r\nfanfare:{news}\r\n$1\r\n0\r\n$3\r\n\r\n\0\r\n*1\r\n$4\r\nPING\r\n";
    assert_eq!(&out[..], expected);
}

#[test]
#[should_panic(expected = "1 words are missing")]
fn a_command_that_is_too_short_is_a_mistake_of_ours() {
    Command::new(&mut BytesMut::new(), 2).word(b"GET");
}

#[test]
#[should_panic(expected = "a word more than was announced")]
fn a_command_that_is_too_long_is_a_mistake_of_ours() {
    Command::new(&mut BytesMut::new(), 1).word(b"GET").word(b"key");
}

/// Random replies as the oracle has them. Keys of maps and members of sets are what it can hash.
fn frames() -> impl Strategy<Value = OwnedFrame> {
    let bytes = || vec(any::<u8>(), 0..40);
    let leaf = prop_oneof![
        bytes().prop_map(|data| OwnedFrame::BlobString { data, attributes: None }),
        bytes().prop_map(|data| OwnedFrame::BlobError { data, attributes: None }),
        "[ -~]{0,20}".prop_map(|line| OwnedFrame::SimpleString { data: line.into_bytes(), attributes: None }),
        "[ -~]{0,20}".prop_map(|line| OwnedFrame::SimpleError { data: line, attributes: None }),
        any::<i64>().prop_map(|data| OwnedFrame::Number { data, attributes: None }),
        any::<bool>().prop_map(|data| OwnedFrame::Boolean { data, attributes: None }),
        "-?[0-9]{1,40}".prop_map(|line| OwnedFrame::BigNumber { data: line.into_bytes(), attributes: None }),
        any::<f64>().prop_map(|data| OwnedFrame::Double { data, attributes: None }),
        bytes().prop_map(|data| OwnedFrame::VerbatimString {
            data,
            format: VerbatimStringFormat::Text,
            attributes: None
        }),
        Just(OwnedFrame::Null),
    ];
    let key = move || bytes().prop_map(|data| OwnedFrame::BlobString { data, attributes: None });
    let tree = leaf.prop_recursive(5, 40, 6, move |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|data| OwnedFrame::Array { data, attributes: None }),
            vec((key(), inner.clone()), 0..4).prop_map(|entries| {
                OwnedFrame::Map { data: entries.into_iter().collect(), attributes: None }
            }),
            vec(key(), 0..4)
                .prop_map(|data| OwnedFrame::Set { data: data.into_iter().collect(), attributes: None }),
        ]
    });
    let push = vec(tree.clone(), 0..4).prop_map(|mut data| {
        // The oracle wants the name of what is pushed.
        data.insert(0, OwnedFrame::SimpleString { data: b"message".to_vec(), attributes: None });
        OwnedFrame::Push { data, attributes: None }
    });
    prop_oneof![4 => tree, 1 => push]
}

fn agrees(reply: &Reply, frame: &OwnedFrame) -> bool {
    let all = |replies: &[Reply], frames: &mut dyn Iterator<Item = &OwnedFrame>| {
        let mut count = 0;
        let pairs = replies.iter().zip(frames.inspect(|_| count += 1));
        pairs.fold(true, |agree, (reply, frame)| agree & agrees(reply, frame)) && count == replies.len()
    };
    match (reply, frame) {
        (Reply::Nil, OwnedFrame::Null) => true,
        (
            Reply::Text(text),
            OwnedFrame::BlobString { data, .. }
            | OwnedFrame::SimpleString { data, .. }
            | OwnedFrame::BigNumber { data, .. }
            | OwnedFrame::VerbatimString { data, .. },
        ) => text == data,
        (Reply::Error(text), OwnedFrame::BlobError { data, .. }) => text == data,
        (Reply::Error(text), OwnedFrame::SimpleError { data, .. }) => text == data.as_bytes(),
        (Reply::Text(text), OwnedFrame::Double { data, .. }) => {
            let number: f64 = str::from_utf8(text).unwrap().parse().unwrap();
            number == *data || number.is_nan() && data.is_nan()
        }
        (Reply::Number(number), OwnedFrame::Number { data, .. }) => number == data,
        (Reply::Number(number), OwnedFrame::Boolean { data, .. }) => *number == i64::from(*data),
        (Reply::List(replies), OwnedFrame::Array { data, .. })
        | (Reply::Push(replies), OwnedFrame::Push { data, .. }) => all(replies, &mut data.iter()),
        (Reply::List(replies), OwnedFrame::Set { data, .. }) => all(replies, &mut data.iter()),
        (Reply::Map(entries), OwnedFrame::Map { data, .. }) => {
            entries.len() == data.len()
                && entries.iter().zip(data).all(|((key, value), (their_key, their_value))| {
                    agrees(key, their_key) && agrees(value, their_value)
                })
        }
        _ => false,
    }
}

proptest! {
    #[test]
    fn random_replies_in_random_pieces_are_what_another_library_wrote(
        frames in vec(frames(), 1..4),
        sizes in vec(1_usize..50, 1..20),
    ) {
        let mut bytes = Vec::new();
        for frame in &frames {
            let len = bytes.len();
            bytes.resize(len + frame.encode_len(false), 0);
            encode(&mut bytes[len..], frame, false).unwrap();
        }
        let (whole, ended) = decoded([&bytes[..]]);
        prop_assert_eq!(ended, Ok(()));
        prop_assert_eq!(whole.len(), frames.len());
        for (reply, frame) in whole.iter().zip(&frames) {
            prop_assert!(agrees(reply, frame), "{:?} for {:?}", reply, frame);
        }
        let (mut pieces, mut rest) = (Vec::new(), &bytes[..]);
        for size in sizes.iter().cycle() {
            let (piece, after) = rest.split_at((*size).min(rest.len()));
            pieces.push(piece);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoded(pieces), (whole.clone(), Ok(())));
        for at in 0..bytes.len() {
            prop_assert_eq!(decoded([&bytes[..at], &bytes[at..]]), (whole.clone(), Ok(())), "cut at {}", at);
        }
    }

    #[test]
    fn random_commands_are_read_by_another_library(words in vec(vec(any::<u8>(), 0..40), 1..10)) {
        let mut out = BytesMut::new();
        words.iter().fold(Command::new(&mut out, words.len()), |command, word| command.word(word));
        let (frame, len) = decode(&out).unwrap().unwrap();
        prop_assert_eq!(len, out.len());
        let OwnedFrame::Array { data, .. } = frame else { panic!("{frame:?}") };
        prop_assert_eq!(data.len(), words.len());
        for (frame, word) in data.iter().zip(&words) {
            let is_word = matches!(frame, OwnedFrame::BlobString { data, .. } if data == word);
            prop_assert!(is_word, "{:?} for {:?}", frame, word);
        }
    }
}
