//! Who may do what: the proof that a request brings, who it says the client is, and the rules that follow from the
//! configuration.
//!
//! No socket is read or written here, and nothing of a channel or a connection is known.

mod guard;
mod identity;
mod origins;
mod proof;
mod refusal;
mod revoked;
mod rules;
mod usage;

pub use guard::{Asker, Guard, KeyChanges, Pass};
pub use identity::Identity;
pub use refusal::Refusal;
pub use revoked::Whom;
pub use rules::{Access, Verdict};
