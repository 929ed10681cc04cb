//! Why a request of the HTTP API counts as unsigned, as sentences that say what to change where.
//!
//! The comparison is `rest_signature`'s.

use std::fmt;

use super::quote::{Quoted, quote};

/// How much of a signed string is quoted, in characters. Those of the libraries have some 200; nobody is to be sent much
/// more than what they sent.
const SIGNED_QUOTE_LEN_MAX: usize = 2048;

/// How far `auth_timestamp` may be from the time of the server, in seconds: section 5.1 of the protocol.
pub(super) const CLOCK_DISTANCE_MAX_S: u64 = 600;

/// Timestamps from here on are likelier milliseconds than seconds: the year 5138.
const MILLISECONDS_MIN: u64 = 100_000_000_000;

/// The last second of the year 9999; after it no date is written.
const LAST_SECOND: u64 = 253_402_300_799;

/// What is wrong with a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unauthorized {
    /// A parameter that belongs to a signature is not given.
    Missing(&'static str),
    /// A parameter that belongs to a signature is given more than once.
    Twice(&'static str),
    /// `auth_key` is that of no app.
    KeyUnknown(String),
    /// `auth_key` is not that of the app that the path names.
    KeyOfAnother {
        /// What was sent.
        sent: String,
        /// The identifier in the path.
        app: String,
    },
    /// `auth_version` is not 1.0.
    Version(String),
    /// `auth_timestamp` is no number of seconds.
    Timestamp(String),
    /// `auth_timestamp` is too far from the time of the server; both are in seconds since 1970.
    Clock {
        /// What was sent.
        given_s: u64,
        /// The time of the server.
        now_s: u64,
    },
    /// `body_md5` is not the digest of the body.
    BodyMd5 {
        /// What was sent.
        sent: String,
        /// That of the body, in hexadecimal.
        is: String,
    },
    /// `auth_signature` is none of this request.
    Signature {
        /// What is to be signed.
        signed: String,
        /// What was sent.
        sent: String,
    },
}

impl fmt::Display for Unauthorized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing("body_md5") => f.write_str(
                "Missing parameter: body_md5, the hexadecimal MD5 digest of the body, which is not empty",
            ),
            Self::Missing(name) => write!(
                f,
                "Missing parameter: {name}; a request is signed by auth_key, auth_timestamp, auth_version=1.0, body_md5 \
                 and auth_signature in its query"
            ),
            Self::Twice(name) => write!(f, "Parameter given more than once: {name}"),
            Self::KeyUnknown(sent) => write!(f, "Invalid key: no app has the auth_key {}", Quoted(sent)),
            Self::KeyOfAnother { sent, app } => {
                write!(f, "Invalid key: the auth_key {} is not that of app {}", Quoted(sent), Quoted(app))
            }
            Self::Version(sent) => write!(f, "Invalid auth_version {}: it is 1.0", Quoted(sent)),
            Self::Timestamp(sent) => {
                write!(f, "Invalid auth_timestamp {}: it is in seconds since 1970, as digits", Quoted(sent))
            }
            Self::Clock { given_s, now_s } => fmt_clock(f, *given_s, *now_s),
            Self::BodyMd5 { sent, is } => write!(
                f,
                "Invalid body_md5: you should have sent {is}, the digest of the body that arrived, but you sent {}",
                Quoted(sent)
            ),
            Self::Signature { signed, sent } => {
                f.write_str("Invalid signature: you should have sent HmacSHA256Hex(")?;
                quote(f, signed, SIGNED_QUOTE_LEN_MAX)?;
                write!(
                    f,
                    ", your_secret_key), but you sent {}. If this is the string that you signed, the secret is not that \
                     of the app",
                    Quoted(sent)
                )
            }
        }
    }
}

fn fmt_clock(f: &mut fmt::Formatter<'_>, given_s: u64, now_s: u64) -> fmt::Result {
    let (distance, direction) = match given_s < now_s {
        true => (now_s - given_s, "behind"),
        false => (given_s - now_s, "ahead"),
    };
    write!(
        f,
        "Timestamp expired: Given timestamp ({}) not within {CLOCK_DISTANCE_MAX_S}s of server time ({}); it is \
         {distance}s {direction}. ",
        Utc(given_s),
        Utc(now_s)
    )?;
    f.write_str(match given_s >= MILLISECONDS_MIN {
        true => "auth_timestamp is in seconds, not milliseconds",
        false => "Compare the clock of the machine that signs with that of the server, and do not reuse a signed request",
    })
}

/// Seconds since 1970 as ISO 8601 writes them, e.g. `2012-11-16T18:22:59Z`.
struct Utc(u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 > LAST_SECOND {
            return write!(f, "{}", self.0);
        }
        let (days, second) = (self.0 / 86_400, self.0 % 86_400);
        let (year, month, day) = date(days);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
    }
}

/// Year, month and day of a number of days since 1970-01-01, in the Gregorian calendar.
///
/// Counted in years that begin on March 1st, so that a leap day is the last of its year, from 0000-03-01 in eras of 400
/// years, which are all of one length.
fn date(days: u64) -> (u64, u64, u64) {
    const DAYS_BEFORE_1970: u64 = 719_468;
    const DAYS_OF_ERA: u64 = 146_097;
    let days = days + DAYS_BEFORE_1970;
    let (era, day) = (days / DAYS_OF_ERA, days % DAYS_OF_ERA);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // Five months from March have 153 days, and so have the next five.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 9 } else { month + 3 };
    (400 * era + year + u64::from(is_next_year), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_iso_8601_has_it() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_800, "2000-03-01T00:00:00Z"),
            (1_353_088_179, "2012-11-16T17:49:39Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (LAST_SECOND, "9999-12-31T23:59:59Z"),
            (LAST_SECOND + 1, "253402300800"),
        ] {
            assert_eq!(Utc(seconds).to_string(), written);
        }
    }

    #[test]
    fn a_clock_that_is_off_is_told_both_times_and_the_distance() {
        let behind = Unauthorized::Clock { given_s: 1_353_088_179, now_s: 1_353_091_784 }.to_string();
        assert_eq!(
            behind,
            "Timestamp expired: Given timestamp (2012-11-16T17:49:39Z) not within 600s of server time \
             (2012-11-16T18:49:44Z); it is 3605s behind. Compare the clock of the machine that signs with that of the \
             server, and do not reuse a signed request"
        );
        let ahead = Unauthorized::Clock { given_s: 1_353_088_179_000, now_s: 1_353_088_179 }.to_string();
        assert!(ahead.contains("(1353088179000)") && ahead.contains("not milliseconds"), "{ahead}");
    }

    #[test]
    fn a_long_signed_string_is_cut() {
        let signed = "é".repeat(5000);
        let sentence = Unauthorized::Signature { signed, sent: "x".repeat(5000) }.to_string();
        assert!(sentence.len() < 5000, "{} bytes", sentence.len());
        assert!(sentence.contains("é\" (cut, of 10000 bytes)"), "{sentence}");
    }
}
