//! Which names the server answers to, and the pages of which origins it serves.
//!
//! What else a request needs, a key for one, is checked in `rules`.

use crate::config::{Config, Host};
use crate::http::Request;

/// What a page may do, by its origin. In ascending order: of several the lowest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageAccess {
    /// Nothing.
    Refused,
    /// Subscribe, and be answered; not publish.
    Read,
    /// What a client outside a browser may.
    Full,
}

/// The `Host` of a refused request; `None` if it is not a host name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misnamed(pub Option<Host>);

/// The rules, as configured.
#[derive(Clone, Debug)]
pub struct Origins {
    allowed: Vec<String>,
    hosts: Vec<Host>,
    is_development: bool,
}

impl Origins {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            allowed: config.allow_origin.clone(),
            hosts: config.allow_host.clone(),
            is_development: config.is_development(),
        }
    }

    /// Checks that the server answers to the host name of the request. A page whose name is resolved anew to a loopback
    /// address (DNS rebinding) has the origin that it asks, so only the name tells them apart; a browser always sends it.
    /// HTTP/1.0 without a `Host` is not from a browser, and passes.
    pub fn check_host(&self, request: &Request) -> Result<(), Misnamed> {
        let Some(asked) = request.host() else { return Ok(()) };
        if !self.is_development && self.hosts.is_empty() {
            return Ok(());
        }
        let host = str::from_utf8(asked).ok().and_then(Host::of_authority);
        match &host {
            Some(host) if host.is_loopback() || self.hosts.contains(host) => Ok(()),
            _ => Err(Misnamed(host)),
        }
    }

    /// What the page that made the request may do. Clients outside a browser send no `Origin` and may do everything
    /// (RFC 6455 §10.2).
    pub fn access(&self, request: &Request) -> PageAccess {
        request
            .headers("origin")
            .map(|origin| self.access_of(origin, request))
            .min()
            .unwrap_or(PageAccess::Full)
    }

    /// Whether pages of every origin are served, so that no answer depends on the origin.
    pub fn are_all_served(&self) -> bool {
        self.allowed.iter().any(|allowed| allowed == "*") || (self.allowed.is_empty() && !self.is_development)
    }

    /// Whether the page that made the request, if one did, is of an origin that is listed by its name. A page that is
    /// served because all are, or that has no origin, is not.
    pub fn are_listed(&self, request: &Request) -> bool {
        let is_listed = |origin: &[u8]| {
            let named = self.allowed.iter().filter(|allowed| !["*", "null"].contains(&allowed.as_str()));
            named.map(|allowed| allowed.as_bytes()).any(|allowed| allowed.eq_ignore_ascii_case(origin))
        };
        request.headers("origin").all(is_listed)
    }

    fn access_of(&self, origin: &[u8], request: &Request) -> PageAccess {
        let is_allowed =
            || self.allowed.iter().any(|allowed| allowed.as_bytes().eq_ignore_ascii_case(origin));
        if self.are_all_served() || is_allowed() {
            return PageAccess::Full;
        }
        if !self.is_development {
            return PageAccess::Refused;
        }
        // A file on disk has no origin; nor has a sandboxed frame, which any page can make.
        if origin == b"null" {
            return PageAccess::Read;
        }
        let is_own = || is_of_host(origin, request) && self.check_host(request).is_ok();
        if is_of_loopback(origin) || is_own() { PageAccess::Full } else { PageAccess::Refused }
    }
}

/// Whether the request comes from no page, or from one that was served under the same host name.
pub fn is_same_origin(request: &Request) -> bool {
    request.headers("origin").all(|origin| is_of_host(origin, request))
}

/// Whether the origin has the host name and port of the request. A proxy in front of this server may have terminated
/// TLS, so the scheme does not count.
fn is_of_host(origin: &[u8], request: &Request) -> bool {
    let Some(host) = request.host().filter(|host| !host.is_empty()) else { return false };
    let from = str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://"));
    from.is_some_and(|(_, authority)| authority.as_bytes().eq_ignore_ascii_case(host))
}

/// Whether pages of the origin come from this machine, from whatever port.
fn is_of_loopback(origin: &[u8]) -> bool {
    let Some((scheme, authority)) = str::from_utf8(origin).ok().and_then(|origin| origin.split_once("://"))
    else {
        return false;
    };
    ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web))
        && Host::of_authority(authority).is_some_and(|host| host.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Event, Limits, RequestReader};

    fn request(version: &str, fields: &str) -> Request {
        let mut reader = RequestReader::new(Limits::default());
        reader.receive(format!("GET /channels/c HTTP/{version}\r\n{fields}\r\n").as_bytes());
        let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("a complete head: {fields}") };
        request
    }

    fn of(fields: &[&str]) -> Request {
        request("1.1", &fields.iter().map(|field| format!("{field}\r\n")).collect::<String>())
    }

    fn development(allow_origin: &[&str], allow_host: &[&str]) -> Origins {
        Origins::new(&Config {
            allow_origin: allow_origin.iter().map(ToString::to_string).collect(),
            allow_host: allow_host.iter().map(|host| host.parse().unwrap()).collect(),
            ..Config::default()
        })
    }

    fn with_key(allow_origin: &[&str], allow_host: &[&str]) -> Origins {
        Origins { is_development: false, ..development(allow_origin, allow_host) }
    }

    fn access(origins: &Origins, origin: &str) -> PageAccess {
        origins.access(&of(&["Host: 127.0.0.1:8080", &format!("Origin: {origin}")]))
    }

    #[test]
    fn in_development_mode_names_of_this_machine_are_answered_to_and_no_others() {
        let check = |host: &str| development(&[], &[]).check_host(&of(&[&format!("Host: {host}")]));
        for host in
            ["localhost", "LOCALHOST.:8080", "a.localhost:1", "127.0.0.1:8080", "127.9.9.9", "[::1]:80"]
        {
            assert_eq!(check(host), Ok(()), "{host}");
        }
        let named = |host: &str| Err(Misnamed(Some(host.parse().unwrap())));
        assert_eq!(check("evil.example:8080"), named("evil.example"));
        assert_eq!(check("127.0.0.1.evil.net"), named("127.0.0.1.evil.net"));
        assert_eq!(check("localhost.evil.net"), named("localhost.evil.net"));
        assert_eq!(check("0.0.0.0:8080"), named("0.0.0.0"));
        for host in ["", "a..localhost", "%6cocalhost"] {
            assert_eq!(check(host), Err(Misnamed(None)), "{host}");
        }
    }

    #[test]
    fn a_request_without_a_host_is_not_from_a_browser() {
        let origins = development(&[], &[]);
        assert_eq!(origins.check_host(&request("1.0", "")), Ok(()));
        assert!(origins.check_host(&request("1.0", "Host: evil.example\r\n")).is_err());
    }

    #[test]
    fn the_host_of_an_absolute_target_counts_and_not_the_field() {
        let asked = |target: &str, fields: &str| {
            let mut reader = RequestReader::new(Limits::default());
            reader.receive(format!("GET {target} HTTP/1.1\r\n{fields}\r\n").as_bytes());
            let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("a complete head: {target}") };
            request
        };
        let origins = development(&[], &["example.test"]);
        let check = |target, host| origins.check_host(&asked(target, &format!("Host: {host}\r\n")));
        let evil = Err(Misnamed(Some("evil.example".parse().unwrap())));
        assert_eq!(check("http://evil.example/channels/a", "localhost"), evil);
        assert_eq!(check("ws://evil.example:80", "localhost"), evil);
        assert_eq!(check("http://localhost:8080/channels/a", "evil.example"), Ok(()));
        assert_eq!(check("http://example.test/", ""), Ok(()));
        let page = |target| {
            let fields = "Host: example.test:8080\r\nOrigin: http://example.test:8080\r\n";
            origins.access(&asked(target, fields))
        };
        assert_eq!(page("/"), PageAccess::Full);
        assert_eq!(page("http://example.test:8080/"), PageAccess::Full);
        assert_eq!(page("http://example.test:9090/"), PageAccess::Refused);
    }

    #[test]
    fn a_named_host_is_answered_to_besides_loopback_with_and_without_a_key() {
        for origins in
            [development(&[], &["example.test", "fd00::1"]), with_key(&[], &["example.test", "fd00::1"])]
        {
            for host in ["example.test", "Example.Test:8080", "[fd00::1]:80", "localhost", "127.0.0.1:80"] {
                assert_eq!(origins.check_host(&of(&[&format!("Host: {host}")])), Ok(()), "{host}");
            }
            for host in ["a.example.test", "example.test.evil.net", "[fd00::2]"] {
                assert!(origins.check_host(&of(&[&format!("Host: {host}")])).is_err(), "{host}");
            }
        }
    }

    #[test]
    fn with_a_key_and_no_named_host_any_is_answered_to() {
        for host in ["example.com", "", "a:80"] {
            assert_eq!(with_key(&[], &[]).check_host(&of(&[&format!("Host: {host}")])), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_star_for_origins_opens_no_name() {
        assert!(development(&["*"], &[]).check_host(&of(&["Host: evil.example"])).is_err());
    }

    #[test]
    fn in_development_mode_pages_of_this_machine_may_all_and_those_without_an_origin_read() {
        let origins = development(&[], &[]);
        for origin in [
            "http://localhost:5173",
            "https://localhost",
            "http://a.localhost",
            "http://127.0.0.2:1",
            "HTTP://[::1]:80",
        ] {
            assert_eq!(access(&origins, origin), PageAccess::Full, "{origin}");
        }
        assert_eq!(access(&origins, "null"), PageAccess::Read);
        for origin in [
            "https://evil.example",
            "http://127.0.0.1.evil.net",
            "http://localhost.evil.net",
            "http://localhost@evil.net",
            "http://0.0.0.0:8080",
            "chrome-extension://localhost",
            "file://",
            "localhost",
            "NULL",
            "",
            "http://localhost, https://evil.example",
        ] {
            assert_eq!(access(&origins, origin), PageAccess::Refused, "{origin}");
        }
        assert_eq!(origins.access(&of(&["Host: localhost"])), PageAccess::Full, "no browser");
    }

    #[test]
    fn in_development_mode_listed_origins_are_served_besides_those_of_this_machine() {
        let origins = development(&["https://example.com"], &[]);
        assert_eq!(access(&origins, "https://example.com"), PageAccess::Full);
        assert_eq!(access(&origins, "http://localhost:3000"), PageAccess::Full);
        assert_eq!(access(&origins, "http://example.com"), PageAccess::Refused);
        assert_eq!(access(&origins, "null"), PageAccess::Read);
        assert_eq!(access(&development(&["null"], &[]), "null"), PageAccess::Full);
        assert_eq!(access(&development(&["*"], &[]), "null"), PageAccess::Full);
    }

    #[test]
    fn in_development_mode_a_page_under_a_named_host_is_served_by_the_port_that_it_came_from() {
        let origins = development(&[], &["example.test"]);
        let access = |origin| origins.access(&of(&["Host: example.test:8080", origin]));
        assert_eq!(access("Origin: http://example.test:8080"), PageAccess::Full);
        assert_eq!(access("Origin: https://Example.Test:8080"), PageAccess::Full);
        assert_eq!(access("Origin: http://example.test:9090"), PageAccess::Refused);
        let rebound = of(&["Host: evil.example", "Origin: http://evil.example"]);
        assert_eq!(origins.access(&rebound), PageAccess::Refused);
        assert_eq!(
            origins.access(&request("1.0", "Origin: http://\r\n")),
            PageAccess::Refused,
            "no name is no name"
        );
    }

    #[test]
    fn an_origin_that_is_not_listed_is_refused_and_none_passes() {
        let origins = with_key(&["https://example.com", "http://localhost:3000"], &[]);
        assert_eq!(origins.access(&of(&["Host: h"])), PageAccess::Full);
        assert_eq!(access(&origins, "https://example.com"), PageAccess::Full);
        assert_eq!(access(&origins, "HTTPS://Example.com"), PageAccess::Full);
        for origin in [
            "http://example.com",
            "https://example.com:8443",
            "https://example.com.evil.net",
            "http://localhost:3001",
            "null",
        ] {
            assert_eq!(access(&origins, origin), PageAccess::Refused, "{origin}");
        }
    }

    #[test]
    fn a_second_origin_does_not_hide_behind_an_allowed_one() {
        let both = of(&["Host: h", "Origin: https://example.com", "Origin: https://evil.net"]);
        for origins in [with_key(&["https://example.com"], &[]), development(&["https://example.com"], &[])] {
            assert_eq!(origins.access(&both), PageAccess::Refused);
        }
        let with_null = of(&["Host: localhost", "Origin: http://localhost", "Origin: null"]);
        assert_eq!(development(&[], &[]).access(&with_null), PageAccess::Read);
    }

    #[test]
    fn with_a_key_and_no_list_or_with_a_star_every_origin_is_served() {
        for origins in [with_key(&[], &[]), with_key(&["*"], &[]), development(&["*"], &[])] {
            assert_eq!(access(&origins, "https://anything.net"), PageAccess::Full);
            assert!(origins.are_all_served());
        }
        assert!(!development(&[], &[]).are_all_served());
    }
}
