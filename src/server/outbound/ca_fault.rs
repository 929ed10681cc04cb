//! What can be wrong with the file of certificate authorities.
//!
//! It is read by `anchors`.

use std::fmt;

/// What is wrong with the file of `--ca-file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CaFault {
    /// It cannot be read: the words of the system.
    Unreadable(String),
    /// It is longer than so many bytes.
    TooLong(u64),
    /// There is no certificate in it that could be trusted.
    NoCertificate,
}

impl fmt::Display for CaFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "{error}. Give a file that the server may read"),
            Self::TooLong(len_max) => write!(f, "it is longer than {len_max} bytes. Give a PEM file"),
            Self::NoCertificate => f.write_str(
                "no certificate is in it. Give the PEM file of the authority that has signed the certificates of the servers \
                 that are called, with -----BEGIN CERTIFICATE-----",
            ),
        }
    }
}

impl std::error::Error for CaFault {}
