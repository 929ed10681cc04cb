//! What the answers about a channel say.
//!
//! What follows from them is in `joins` and `publishing`.

use super::resp::Reply;
use crate::hub::PublicationId;
use crate::server::broker::engine::signal::{Opening, Reading};

/// What an open has found, and Redis's time.
pub fn read_opening(reply: &Reply) -> Option<(Opening, u64)> {
    let Reply::List(parts) = reply else { return None };
    Some((read_place(parts)?, parts.get(3)?.as_number()?))
}

/// Where a channel is, and the token of the master that drew its newest sequence.
pub fn read_peek(reply: &Reply) -> Option<(Opening, &[u8])> {
    let Reply::List(parts) = reply else { return None };
    Some((read_place(parts)?, parts.get(3)?.as_text()?))
}

/// How far a channel is.
pub fn read_newest(reply: &Reply) -> Option<PublicationId> {
    let Reply::List(parts) = reply else { return None };
    read_id(parts)
}

/// What a read has found.
pub fn read_reading(reply: &Reply) -> Option<Reading> {
    let Reply::List(parts) = reply else { return None };
    let epoch = parts.first()?.as_text().and_then(read_epoch);
    let oldest = parts.get(1)?.as_number().unwrap_or(0);
    let stored = parts.get(2..)?.iter().map(|part| match part {
        // A slice of the read buffer, which `stored::read` copies.
        Reply::Text(text) => Some(text.clone()),
        Reply::Error(_) | Reply::Number(_) | Reply::Nil | Reply::List(_) | Reply::Map(_) | Reply::Push(_) => {
            None
        }
    });
    Some(Reading { epoch, oldest, stored: stored.collect() })
}

/// The first identifier and the last sequence.
pub fn read_numbers(parts: &[Reply]) -> Option<(PublicationId, u64)> {
    Some((read_id(parts)?, parts.get(2)?.as_number()?))
}

/// Epoch, newest sequence and oldest one.
fn read_place(parts: &[Reply]) -> Option<Opening> {
    Some(Opening { newest: read_id(parts)?, oldest: parts.get(2)?.as_number()? })
}

/// Epoch and sequence.
fn read_id(parts: &[Reply]) -> Option<PublicationId> {
    let epoch = read_epoch(parts.first()?.as_text()?)?;
    Some(PublicationId { epoch, sequence: parts.get(1)?.as_number()? })
}

/// An epoch, as Redis has it.
fn read_epoch(text: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(text).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &'static str) -> Reply {
        Reply::Text(text.into())
    }

    const ID: PublicationId = PublicationId { epoch: 0xabc, sequence: 7 };

    #[test]
    fn an_open_says_where_the_channel_is_and_when() {
        let parts = vec![text("abc"), Reply::Number(7), Reply::Number(5), text("1700000000000"), text("")];
        let expected = (Opening { newest: ID, oldest: 5 }, 1_700_000_000_000);
        assert_eq!(read_opening(&Reply::List(parts.clone())), Some(expected));
        for at in 0..4 {
            let mut broken = parts.clone();
            broken[at] = Reply::Nil;
            assert_eq!(read_opening(&Reply::List(broken)), None, "{at}");
        }
        assert_eq!(read_opening(&Reply::Error("OOM".into())), None);
    }

    #[test]
    fn where_a_channel_is_is_read_without_opening_it() {
        let parts = vec![text("abc"), text("7"), text("5"), text("token")];
        let peek = Reply::List(parts.clone());
        assert_eq!(read_peek(&peek), Some((Opening { newest: ID, oldest: 5 }, b"token".as_slice())));
        assert_eq!(read_newest(&Reply::List(parts[..2].to_vec())), Some(ID));
        let absent = Reply::List(vec![Reply::Nil; 4]);
        assert_eq!((read_peek(&absent), read_newest(&absent)), (None, None));
    }

    #[test]
    fn a_read_says_what_is_there_and_what_is_not() {
        let reply = Reply::List(vec![text("abc"), text("5"), text("x"), Reply::Nil]);
        let stored = vec![Some("x".into()), None];
        assert_eq!(read_reading(&reply), Some(Reading { epoch: Some(0xabc), oldest: 5, stored }));
        let unknown = Reply::List(vec![Reply::Nil, Reply::Nil, Reply::Nil]);
        assert_eq!(read_reading(&unknown), Some(Reading { epoch: None, oldest: 0, stored: vec![None] }));
        assert_eq!(read_reading(&Reply::Nil), None);
    }

    #[test]
    fn a_call_that_publishes_says_the_first_identifier_and_the_last_sequence() {
        assert_eq!(read_numbers(&[text("abc"), Reply::Number(7), Reply::Number(9)]), Some((ID, 9)));
        assert_eq!(read_numbers(&[text("xyz"), Reply::Number(7), Reply::Number(9)]), None);
        assert_eq!(read_numbers(&[]), None);
    }
}
