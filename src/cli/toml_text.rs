//! Text to TOML, with the faults of its syntax on one line.
//!
//! What the keys mean is not known here.

use toml::Table;

/// The tables of a text.
///
/// # Errors
/// The fault and its line, which is not quoted: it may hold a secret.
pub fn parse_toml(text: &str) -> Result<Table, String> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        format!("line {}: {}", before.matches('\n').count() + 1, error.message().replace('\n', ", "))
    })
}
