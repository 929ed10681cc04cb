//! Where plain requests are sent when TLS is to be used: to the same target with `https://`.
//!
//! Which connections are plain is the connection's to know.

use crate::http::{Request, Response, Status};

/// The port of `https://` where none is named.
const HTTPS_PORT: u16 = 443;

/// Paths that are answered as they are: probes of a load balancer, which follow no redirect.
const PROBES: [&str; 2] = ["/healthz", "/readyz"];

/// The answer that sends a request to `https://` at this port: 308, so that the method and body stay (RFC 9110 §15.4.9).
/// `None` for a probe; 400 without a Host field, since there is nothing to send it to then.
pub fn to_https(request: &Request, port: u16) -> Option<Response> {
    if PROBES.contains(&request.path()) {
        return None;
    }
    let Some(host) =
        request.host().and_then(|host| str::from_utf8(host).ok()).filter(|host| !host.is_empty())
    else {
        return Some(Response::text(
            Status::BAD_REQUEST,
            "This port redirects to https://, and without a Host field it does not know where to.",
        ));
    };
    let location = location(host, port, request);
    let sentence = format!("Use {location}, or wss:// where you use a WebSocket, which follows no redirect.");
    Some(Response::text(Status::PERMANENT_REDIRECT, &sentence).header("Location", location))
}

/// The name of `Host`, the port, and the target as it is.
fn location(host: &str, port: u16, request: &Request) -> String {
    let name = match host.rsplit_once(':') {
        // The colons of an address in brackets belong to it.
        Some((name, port)) if !port.ends_with(']') => name,
        Some(_) | None => host,
    };
    let port = if port == HTTPS_PORT { String::new() } else { format!(":{port}") };
    // A server-wide OPTIONS has no path.
    let target = if request.target().starts_with('/') { request.target() } else { "/" };
    format!("https://{name}{port}{target}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Event, Framing, Limits, RequestReader};

    fn answer(head: &str, port: u16) -> Option<String> {
        let mut reader = RequestReader::new(Limits::default());
        reader.receive(head.as_bytes());
        let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("not a head: {head}") };
        let response = to_https(&request, port)?;
        let framing = Framing {
            date: "D",
            keep_alive: true,
            head_only: true,
            allow_origin: None,
            allows_credentials: false,
            varies_by_origin: false,
            hsts_s: None,
        };
        let mut out = Vec::new();
        response.encode(&mut out, framing);
        Some(String::from_utf8(out).unwrap())
    }

    fn location_of(target: &str, host: &str, port: u16) -> String {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = answer(&head, port).unwrap();
        assert!(answer.starts_with("HTTP/1.1 308 Permanent Redirect\r\n"), "{answer}");
        let line = answer.lines().find_map(|line| line.strip_prefix("Location: ")).unwrap();
        line.to_owned()
    }

    #[test]
    fn a_request_is_sent_to_the_same_target_with_the_port_of_https() {
        assert_eq!(location_of("/", "example.org", 443), "https://example.org/");
        assert_eq!(location_of("/a/b?c=d&e", "example.org:80", 8443), "https://example.org:8443/a/b?c=d&e");
        assert_eq!(location_of("/a", "[::1]", 8443), "https://[::1]:8443/a");
        assert_eq!(location_of("/a", "[::1]:8080", 443), "https://[::1]/a");
        assert_eq!(location_of("/%2F%0D?%0A", "a", 443), "https://a/%2F%0D?%0A");
    }

    #[test]
    fn a_probe_is_not_redirected() {
        for path in ["/healthz", "/readyz"] {
            assert_eq!(answer(&format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n"), 443), None);
        }
    }

    #[test]
    fn a_request_that_does_not_say_its_host_cannot_be_redirected() {
        let answer = answer("GET /a HTTP/1.0\r\n\r\n", 443).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    }
}
