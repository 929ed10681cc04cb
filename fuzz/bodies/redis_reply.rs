//! The decoder of Redis's replies in any cut, against a model that has all bytes at once, and recurses.
//!
//! May be refused: what is not RESP3, and what exceeds a bound, which the model reads again. All of it must be.
//!
//! Input: the bounds (1 byte: even, wide; odd, narrow), cuts, then the bytes of a connection.

use arbitrary::Unstructured;
use bytes::{Bytes, BytesMut};
use fanfare::server::bare_redis::{Bounds, Decoder, Reply};

use super::input::{byte, cuts, pieces, up_to};

/// Longer inputs are not read byte by byte.
const BY_BYTE_LEN_MAX: usize = 512;

/// Longer inputs would reach the longest line, at which whether it is refused depends on the cut.
const LEN_MAX: usize = 60_000;

const WIDE: Bounds = Bounds { text_len_max: 1 << 20, reply_len_max: 1 << 24 };
const NARROW: Bounds = Bounds { text_len_max: 16, reply_len_max: 100 };

const DEPTH_MAX: usize = 8;
const ELEMENTS_MAX: usize = 524_288;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let bounds = if byte(&mut input).is_multiple_of(2) { WIDE } else { NARROW };
    let sizes = cuts(&mut input);
    let bytes = up_to(&mut input, LEN_MAX);
    let whole = seen(bounds, &[bytes]);
    assert_eq!(seen(bounds, &pieces(bytes, sizes)), whole, "in pieces of {sizes:?}");
    if bytes.len() <= BY_BYTE_LEN_MAX {
        assert_eq!(seen(bounds, &bytes.chunks(1).collect::<Vec<_>>()), whole, "byte by byte");
    }
    assert_eq!(whole, expected(bounds, bytes), "{:?}", bytes.escape_ascii().to_string());
}

/// The replies, and whether more bytes may follow.
fn seen(bounds: Bounds, pieces: &[&[u8]]) -> (Vec<Reply>, bool) {
    let (mut decoder, mut buffer, mut replies) = (Decoder::new(bounds), BytesMut::new(), Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(reply)) => replies.push(reply),
                Ok(None) => break,
                Err(malformed) => {
                    assert_eq!(decoder.decode(&mut buffer), Err(malformed), "it stays so");
                    return (replies, false);
                }
            }
        }
    }
    (replies, true)
}

fn expected(bounds: Bounds, bytes: &[u8]) -> (Vec<Reply>, bool) {
    let (mut rest, mut replies) = (bytes, Vec::new());
    loop {
        let mut model = Model { bounds, rest, len: 0, elements: 0 };
        match model.reply(0) {
            Ok(reply) => replies.push(reply),
            Err(Stop::Waits) => return (replies, true),
            Err(Stop::Refused) => return (replies, false),
        }
        rest = model.rest;
    }
}

enum Stop {
    Waits,
    Refused,
}

struct Model<'a> {
    bounds: Bounds,
    rest: &'a [u8],
    /// Of the reply so far.
    len: usize,
    elements: usize,
}

impl<'a> Model<'a> {
    fn line(&mut self) -> Result<&'a str, Stop> {
        let end = self.rest.iter().position(|&byte| byte == b'\n').ok_or(Stop::Waits)?;
        let (line, rest) = self.rest.split_at(end + 1);
        self.rest = rest;
        let line = line.strip_suffix(b"\r\n").ok_or(Stop::Refused)?;
        self.count(line.len() + 2)?;
        self.elements += 1;
        if line.contains(&b'\r') || self.elements > ELEMENTS_MAX {
            return Err(Stop::Refused);
        }
        // Only texts may have other bytes than those of ASCII; they are taken from the input again.
        Ok(str::from_utf8(line).unwrap_or_else(|_| match line[0] {
            b'+' => "+",
            b'-' => "-",
            _ => "not text",
        }))
    }

    fn count(&mut self, len: usize) -> Result<(), Stop> {
        self.len = self.len.saturating_add(len);
        if self.len > self.bounds.reply_len_max { Err(Stop::Refused) } else { Ok(()) }
    }

    fn reply(&mut self, depth: usize) -> Result<Reply, Stop> {
        loop {
            let before = self.rest;
            let line = self.line()?;
            let Some(kind) = line.chars().next().filter(char::is_ascii) else { return Err(Stop::Refused) };
            let said = &line[1..];
            let text = || Bytes::copy_from_slice(&before[1..before.len() - self.rest.len() - 2]);
            return match (kind, said) {
                ('+', _) => Ok(Reply::Text(text())),
                ('-', _) => Ok(Reply::Error(text())),
                (':', _) => said.parse().map(Reply::Number).map_err(|_| Stop::Refused),
                ('#', "t") => Ok(Reply::Number(1)),
                ('#', "f") => Ok(Reply::Number(0)),
                ('_', "") | ('$' | '*', "-1") => Ok(Reply::Nil),
                (',', _) => said.parse::<f64>().map(|_| Reply::Text(text())).map_err(|_| Stop::Refused),
                ('(', _) => {
                    let digits = said.strip_prefix(['-', '+']).unwrap_or(said);
                    let is_number = !digits.is_empty() && digits.chars().all(|digit| digit.is_ascii_digit());
                    if is_number { Ok(Reply::Text(text())) } else { Err(Stop::Refused) }
                }
                ('$', _) => self.bulk(said).map(Reply::Text),
                ('!', _) => self.bulk(said).map(Reply::Error),
                ('=', _) => {
                    let text = self.bulk(said)?;
                    if text.get(3) == Some(&b':') {
                        Ok(Reply::Text(text.slice(4..)))
                    } else {
                        Err(Stop::Refused)
                    }
                }
                ('*' | '~', _) => self.elements(said, 1, depth).map(Reply::List),
                ('>', _) if depth == 0 => self.elements(said, 1, depth).map(Reply::Push),
                ('%', _) => {
                    let elements = self.elements(said, 2, depth)?;
                    Ok(Reply::Map(
                        elements.chunks(2).map(|entry| (entry[0].clone(), entry[1].clone())).collect(),
                    ))
                }
                ('|', _) => {
                    self.elements(said, 2, depth)?;
                    continue;
                }
                _ => Err(Stop::Refused),
            };
        }
    }

    fn bulk(&mut self, said: &str) -> Result<Bytes, Stop> {
        let len = length(said)?;
        if len > self.bounds.text_len_max {
            return Err(Stop::Refused);
        }
        self.count(len + 2)?;
        if self.rest.len() < len + 2 {
            return Err(Stop::Waits);
        }
        let (text, rest) = self.rest.split_at(len);
        self.rest = rest.strip_prefix(b"\r\n").ok_or(Stop::Refused)?;
        Ok(Bytes::copy_from_slice(text))
    }

    fn elements(&mut self, said: &str, each: usize, depth: usize) -> Result<Vec<Reply>, Stop> {
        let count =
            length(said)?.checked_mul(each).filter(|&count| count <= ELEMENTS_MAX).ok_or(Stop::Refused)?;
        if count > 0 && depth == DEPTH_MAX {
            return Err(Stop::Refused);
        }
        (0..count).map(|_| self.reply(depth + 1)).collect()
    }
}

fn length(said: &str) -> Result<usize, Stop> {
    let is_length = !said.is_empty() && said.chars().all(|digit| digit.is_ascii_digit());
    let len = said.parse().ok().filter(|&len: &usize| is_length && len <= usize::MAX / 2);
    len.ok_or(Stop::Refused)
}
