//! URLs that the server calls: those of webhooks, of the backend and of keys.
//!
//! What for is not known here.

use std::num::NonZeroU64;

use super::host::Host;

/// How URLs begin that can be called.
const SCHEMES: [&str; 2] = ["http://", HTTPS];

const HTTPS: &str = "https://";

/// Whether the URL asks for TLS, and the program was built without.
pub fn lacks_tls(url: &str) -> bool {
    url.starts_with(HTTPS) && !cfg!(feature = "tls")
}

/// Whether the server can call this URL: `http://` or `https://`, a host, perhaps a port, a path and a query.
pub fn is_url(url: &str) -> bool {
    let Some(rest) = SCHEMES.iter().find_map(|scheme| url.strip_prefix(scheme)) else { return false };
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
