//! What a connection begins with (section 1): its identifier, and the version of the protocol.

use std::fmt;
use std::str::FromStr;

use crate::pusher::Error;

/// The first half of an identifier is below this: clients may take it for a number, and JavaScript's are exact to here.
const FIRST_END: u64 = 1 << 53;

/// The second half is below this. Together that is 86 random bits: no two connections have the same, and nobody guesses
/// that of another one.
const SECOND_END: u64 = 10_000_000_000;

/// The identifier of a connection: two numbers with a point between, which is all that server libraries take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SocketId {
    first: u64,
    second: u64,
}

impl SocketId {
    /// What an identifier is read as that no connection here can have: with leading zeros, or too large.
    const OF_NONE: Self = Self { first: u64::MAX, second: u64::MAX };

    /// From two random numbers.
    #[must_use]
    pub fn new(first: u64, second: u64) -> Self {
        Self { first: first % FIRST_END, second: second % SECOND_END }
    }
}

impl fmt::Display for SocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.first, self.second)
    }
}

impl FromStr for SocketId {
    type Err = InvalidSocketId;

    /// Reads what matches `^\d+\.\d+$`. What no connection here can have becomes an identifier of no connection.
    fn from_str(text: &str) -> Result<Self, InvalidSocketId> {
        let (first, second) = text.split_once('.').ok_or(InvalidSocketId)?;
        if !is_digits(first) || !is_digits(second) {
            return Err(InvalidSocketId);
        }
        let (Ok(first), Ok(second)) = (first.parse(), second.parse()) else { return Ok(Self::OF_NONE) };
        let id = Self { first, second };
        Ok(if first < FIRST_END && second < SECOND_END && id.to_string() == text {
            id
        } else {
            Self::OF_NONE
        })
    }
}

/// A text that is no identifier of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidSocketId;

impl fmt::Display for InvalidSocketId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a socket_id is two numbers with a point between, like 1234.5678")
    }
}

impl std::error::Error for InvalidSocketId {}

/// The version of the protocol from the parameter `protocol` (1.2): 4 to 7, and 7 without it.
///
/// # Errors
/// It is empty, no number, or none of these versions.
pub fn protocol(parameter: Option<&str>) -> Result<u32, Error> {
    match parameter {
        None => Ok(7),
        Some("") => Err(Error::NoProtocol),
        Some(text) if !is_digits(text) => Err(Error::Version(text.to_owned())),
        Some(text) => match text.parse() {
            Ok(version @ 4..=7) => Ok(version),
            Ok(_) | Err(_) => Err(Error::Protocol(text.to_owned())),
        },
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_id_is_written_as_two_numbers_and_read_again() {
        for (first, second) in [(0, 0), (145_814, 20_211_781), (u64::MAX, u64::MAX)] {
            let id = SocketId::new(first, second);
            assert_eq!(id.to_string().parse(), Ok(id));
        }
        assert_eq!(SocketId::new(145_814, 20_211_781).to_string(), "145814.20211781");
        assert_eq!(SocketId::new(1 << 53, 10_000_000_000).to_string(), "0.0");
    }

    #[test]
    fn a_text_that_is_not_two_numbers_is_no_socket_id() {
        for text in ["", ".", "1", "1.", ".1", "1.2.3", "a.b", "1.2\n", " 1.2", "-1.2", "+1.2", "1,2", "٣.٣"]
        {
            assert_eq!(text.parse::<SocketId>(), Err(InvalidSocketId), "{text:?}");
        }
    }

    #[test]
    fn a_socket_id_that_no_connection_can_have_is_one_of_no_connection() {
        for text in ["01.2", "1.02", "99999999999999999999999.1", "1.99999999999", "9007199254740992.1"] {
            assert_eq!(text.parse(), Ok(SocketId::OF_NONE), "{text}");
        }
        assert_ne!(SocketId::new(u64::MAX, u64::MAX), SocketId::OF_NONE);
    }

    #[test]
    fn a_client_speaks_version_4_to_7_and_7_if_it_does_not_say() {
        assert_eq!(protocol(None), Ok(7));
        for (text, version) in [("4", 4), ("5", 5), ("6", 6), ("7", 7)] {
            assert_eq!(protocol(Some(text)), Ok(version));
        }
    }

    #[test]
    fn a_client_of_another_version_is_told_which_are_spoken() {
        for text in ["0", "1", "3", "8", "99999999999999999999"] {
            let error = protocol(Some(text)).unwrap_err();
            assert_eq!((error.code(), error.clone()), (Some(4007), Error::Protocol(text.into())));
            assert_eq!(
                error.to_string(),
                format!("Unsupported protocol version {text}: supported are 4 to 7")
            );
        }
        for text in ["x", "7.0", "-7", "+7", " 7"] {
            assert_eq!(protocol(Some(text)), Err(Error::Version(text.into())));
        }
        assert_eq!(protocol(Some("")), Err(Error::NoProtocol));
        assert_eq!(Error::Version("x".into()).code(), Some(4006));
        assert_eq!(Error::NoProtocol.code(), Some(4008));
    }
}
