//! What a client is told of which there are too many: the sentence, and when to try again.
//!
//! What is counted is in `addresses` and `users`.

use std::fmt;
use std::time::Duration;

use crate::config::Rate;
use crate::http::{Response, Status};
use crate::server::metrics::refusals::Reason;

/// When a client is to try again for whom there is no seat: some other of its connections has to end first.
const SEAT_RETRY_S: u64 = 5;

/// Why a client is not let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TooMany {
    /// Connections of its address: as many as `--ip-connections` are open.
    Connections(usize),
    /// Handshakes of its address: the rate of `--ip-handshakes`, and after how many milliseconds there is room for one.
    Handshakes(Rate, u64),
    /// Connections of its user: as many as `--user-connections` are open.
    OfUser(Box<str>, usize),
}

impl TooMany {
    /// After how many seconds the client is to try again.
    pub fn retry_after_s(&self) -> u64 {
        match self {
            Self::Connections(_) | Self::OfUser(..) => SEAT_RETRY_S,
            Self::Handshakes(_, wait_ms) => wait_ms.div_ceil(1000).max(1),
        }
    }

    /// As which refusal it counts.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Connections(_) | Self::OfUser(..) => Reason::TooMany,
            Self::Handshakes(..) => Reason::Rate,
        }
    }
}

impl fmt::Display for TooMany {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connections(count) => write!(
                f,
                "{} connections from your address are open, the limit of --ip-connections.",
                Grouped(*count)
            ),
            Self::Handshakes(rate, _) => write!(
                f,
                "Your address has begun {} handshakes {}, the limit of --ip-handshakes.",
                Grouped(rate.count.get() as usize),
                Within(rate.per)
            ),
            Self::OfUser(sub, count) => {
                write!(
                    f,
                    "{} connections of {sub} are open, the limit of --user-connections.",
                    Grouped(*count)
                )
            }
        }
    }
}

impl std::error::Error for TooMany {}

impl From<&TooMany> for Response {
    fn from(too_many: &TooMany) -> Self {
        Self::text(Status::TOO_MANY_REQUESTS, &too_many.to_string())
            .header("Retry-After", too_many.retry_after_s().to_string())
    }
}

/// A number with a comma ahead of each three digits: 65,536.
struct Grouped(usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            count @ ..1000 => write!(f, "{count}"),
            count => write!(f, "{},{:03}", Self(count / 1000), count % 1000),
        }
    }
}

/// The time of a rate.
struct Within(Duration);

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_millis() {
            1000 => f.write_str("within a second"),
            60_000 => f.write_str("within a minute"),
            3_600_000 => f.write_str("within an hour"),
            _ => write!(f, "within {:?}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn handshakes(count: u32, per: Duration, wait_ms: u64) -> TooMany {
        TooMany::Handshakes(Rate { count: NonZeroU32::new(count).unwrap(), per }, wait_ms)
    }

    #[test]
    fn each_says_what_there_are_too_many_of_and_by_which_flag() {
        for (too_many, sentence) in [
            (
                TooMany::Connections(1000),
                "1,000 connections from your address are open, the limit of --ip-connections.",
            ),
            (
                TooMany::OfUser("u42".into(), 20),
                "20 connections of u42 are open, the limit of --user-connections.",
            ),
            (
                handshakes(50, Duration::from_secs(1), 20),
                "Your address has begun 50 handshakes within a second, the limit of --ip-handshakes.",
            ),
            (
                handshakes(1_200_000, Duration::from_secs(10), 20),
                "Your address has begun 1,200,000 handshakes within 10s, the limit of --ip-handshakes.",
            ),
        ] {
            assert_eq!(too_many.to_string(), sentence);
        }
    }

    #[test]
    fn the_answer_is_429_and_says_when_to_try_again() {
        for (too_many, retry_after) in [
            (TooMany::Connections(1), "5"),
            (handshakes(50, Duration::from_secs(1), 20), "1"),
            (handshakes(1, Duration::from_secs(60), 42_001), "43"),
        ] {
            let response = Response::from(&too_many);
            assert_eq!(response.status(), Status::TOO_MANY_REQUESTS);
            assert_eq!(too_many.retry_after_s().to_string(), retry_after);
        }
    }
}
