//! What the calls to other servers share: whom they trust where an URL is `https://`, and what is said when TLS fails.
//!
//! What is called, when, and what becomes of the answer is not known here.

#[cfg(feature = "tls")]
pub mod anchors;
pub mod trouble;
mod trust;

pub use trust::{CaFault, Trust};
