//! Who is at the other end of a connection that proxies have passed on: from `X-Forwarded-For` and from PROXY headers, as bytes.
//!
//! No socket is asked here, and nothing is counted or refused. A header is believed if the one who hands it in says that
//! it came from a trusted proxy.

mod forwarded;
mod networks;
pub mod proxy;
mod source;

pub use forwarded::client_behind;
pub use networks::Networks;
pub use source::Source;
