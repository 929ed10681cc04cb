//! The settings that all clients have.
//!
//! Bounds of time and length are those of each client.

use ureq::Agent;
use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

/// What a server that is called for the server's own sake sees as the sender.
pub const USER_AGENT: &str = concat!("fanfare/", env!("CARGO_PKG_VERSION"));

/// Settings of a client that asks no proxy, since a server is where its URL says, and that follows no redirection: its status
/// is one of those that are told.
pub fn settings() -> ConfigBuilder<AgentScope> {
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
}
