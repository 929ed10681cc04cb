//! URLs that the server posts to: those of webhooks and of the backend.
//!
//! What is posted is not known here.

use std::num::NonZeroU64;

use super::host::Host;

/// Whether the server can post to this URL: `http://`, a host, perhaps a port, a path and a query.
pub fn is_http_url(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let is_port = match authority.rsplit_once(':') {
        Some((_, port)) if !port.contains(']') => {
            port.parse::<NonZeroU64>().is_ok_and(|port| port.get() < 65_536)
        }
        _ => true,
    };
    is_port
        && Host::of_authority(authority).is_some()
        && path.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#')
}
