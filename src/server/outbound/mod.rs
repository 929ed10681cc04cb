//! What the calls to other servers share: the settings of their clients, whom they trust where an URL is `https://`, and what
//! is said of a call that failed on its way.
//!
//! What is called, when, and what becomes of the answer is not known here.

#[cfg(feature = "tls")]
pub mod anchors;
mod ca_fault;
mod client;
mod trouble;
mod trust;

pub use ca_fault::CaFault;
pub use client::{USER_AGENT, settings};
pub use trouble::{Trouble, Words};
pub use trust::Trust;
