//! Why a connection to Redis was lost or is not to be had, as it is logged and counted.
//!
//! What is done about it is not decided here.

use std::fmt;
use std::io;

use super::greeting::Unfit;
use super::link::Broken;

/// Why a line was lost or could not be had.
#[derive(Debug)]
pub enum Loss {
    /// The connection broke.
    Broken(Broken),
    /// No connection, no answer, within the time.
    Timeout,
    /// It is not a master.
    NotMaster,
    /// It cannot be used.
    Unfit(Unfit),
    /// The name has no address, or there is no thread to resolve it.
    Name(io::Error),
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::Timeout => f.write_str("it did not answer within --redis-timeout"),
            Self::NotMaster => {
                f.write_str("it is no master, or another one than the one that draws the numbers")
            }
            Self::Unfit(unfit) => unfit.fmt(f),
            Self::Name(error) => write!(f, "its name has no address: {error}"),
        }
    }
}

impl Loss {
    /// All names under which losses are counted.
    pub const LABELS: [&str; 6] = ["broken", "protocol", "timeout", "not_master", "refused", "name"];

    /// The name under which it is counted.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Broken(Broken::Io(_)) => "broken",
            Self::Broken(Broken::Malformed(_) | Broken::OutOfStep) => "protocol",
            Self::Timeout => "timeout",
            Self::NotMaster => "not_master",
            Self::Unfit(_) => "refused",
            Self::Name(_) => "name",
        }
    }
}
