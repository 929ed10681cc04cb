//! What is wrong with the beginning of a connection that has to be a PROXY header, in one table with its sentence.
//!
//! Nothing is checked here.

use std::fmt;

macro_rules! bad_headers {
    ($($(#[$doc:meta])* $name:ident $sentence:literal)*) => {
        /// Why a connection has no good PROXY header. `Display` is for the operator's log: the peer is told nothing.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum BadHeader {
            $($(#[$doc])* $name,)*
        }

        impl fmt::Display for BadHeader {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $sentence,)*
                })
            }
        }
    };
}

bad_headers! {
    /// It begins otherwise.
    Missing "it does not begin with a PROXY header"
    /// A line of version 1 without an end.
    LineTooLong "its PROXY line has no end within 107 bytes"
    /// A line of version 1 with another protocol, or with other words or spaces than it has.
    Line "its PROXY line is not TCP4 or TCP6, two addresses and two ports, or UNKNOWN"
    /// A header whose version is not 2 although it has the signature of version 2.
    Version "its PROXY header is not of version 2"
    /// A command that is neither LOCAL nor PROXY.
    Command "the command of its PROXY header is neither LOCAL nor PROXY"
    /// A family or protocol that does not exist.
    Family "the address family of its PROXY header does not exist"
    /// It is shorter than addresses of its family are.
    Short "its PROXY header is too short for the addresses of its family"
}

impl std::error::Error for BadHeader {}
