//! What the calls to other servers share: whom they trust where an URL is `https://`, and what is said when TLS fails.
//!
//! What is called, when, and what becomes of the answer is not known here.

#[cfg(feature = "tls")]
pub mod anchors;
mod ca_fault;
pub mod trouble;
mod trust;

pub use ca_fault::CaFault;
pub use trust::Trust;
