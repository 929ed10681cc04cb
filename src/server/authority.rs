//! Who may do what: the key, the channels open to clients, the browser origins.
//!
//! Nothing is read from a socket or written to one here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;

use super::figures;
use crate::config::{Config, Glob};
use crate::http::{Request, Response, Status};

/// The rules, as configured.
#[derive(Clone, Debug)]
pub struct Authority {
    publish_key: Option<String>,
    client_publish: Vec<Glob>,
    origins: Vec<String>,
    is_development: bool,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The page that asks is of an origin that is not served.
    Origin,
    /// Publishing needs the key, and none was sent.
    NoKey,
    /// A key was sent, and it is not the one.
    WrongKey,
    /// Reading the server's state needs the key, and it was not sent.
    NoReader,
    /// The server's state is not shown here, since there is no key that could open it.
    NotShown,
}

impl Authority {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            publish_key: config.publish_key.clone(),
            client_publish: config.client_publish.clone(),
            origins: config.allow_origin.clone(),
            is_development: config.is_development(),
        }
    }

    /// Whether a page of this origin is served. Clients that are no browsers send no `Origin` and pass
    /// (RFC 6455 §10.2).
    pub fn check_origin(&self, request: &Request) -> Result<(), Refusal> {
        let mut sent = request.headers("origin");
        if self.origins.is_empty() || sent.all(|origin| self.is_allowed_origin(origin)) {
            return Ok(());
        }
        Err(Refusal::Origin)
    }

    /// The origin whose pages may read the answer, `*` for all; `None` if no page asked. The request passed
    /// [`Authority::check_origin`].
    pub fn allow_origin<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let origin = request.header_str("origin")?;
        let is_open = self.origins.is_empty() || self.origins.iter().any(|allowed| allowed == "*");
        Some(if is_open { "*" } else { origin })
    }

    /// Whether the request may publish by its key.
    pub fn check_key(&self, request: &Request) -> Result<(), Refusal> {
        let Some(key) = &self.publish_key else { return Ok(()) };
        // Basic does not count here: a browser that has been told the key once sends it by itself with whatever any
        // page makes it send, a form to this server among it.
        let sent = request.header_str("authorization").and_then(bearer).ok_or(Refusal::NoKey)?;
        if is_same(sent, key) { Ok(()) } else { Err(Refusal::WrongKey) }
    }

    /// Whether the request may publish to `channel` by `POST`: by its key or, if it sent none, because the channel is
    /// open to clients. A page whose transport is not WebSocket has no other way to say something there.
    pub fn check_publish(&self, request: &Request, channel: &str) -> Result<(), Refusal> {
        match self.check_key(request) {
            Err(Refusal::NoKey) if self.is_open_to_clients(channel) => Ok(()),
            checked => checked,
        }
    }

    /// Whether the request may read the server's state: its metrics, and the dashboard. In development mode everybody
    /// may, else who has the key. Browsers ask for it and send it as the password of Basic, with any name.
    pub fn check_reader(&self, request: &Request) -> Result<(), Refusal> {
        if self.is_development {
            return Ok(());
        }
        let Some(key) = &self.publish_key else { return Err(Refusal::NotShown) };
        let sent = request.header_str("authorization").unwrap_or("");
        // A page elsewhere can open a WebSocket here, which the browser sends the password with.
        let password = basic_password(sent).filter(|_| is_same_origin(request));
        let is_holder = bearer(sent).is_some_and(|sent| is_same(sent, key))
            || password.is_some_and(|password| is_same(&password, key));
        if is_holder { Ok(()) } else { Err(Refusal::NoReader) }
    }

    /// Whether messages of this WebSocket client are published to `channel`: nobody needs a key, it sent the key
    /// with its handshake, or the channel is open to clients. The server's own channels never are.
    pub fn may_client_publish(&self, request: &Request, channel: &str) -> bool {
        if figures::is_own(channel) {
            return false;
        }
        self.check_key(request).is_ok() || self.is_open_to_clients(channel)
    }

    fn is_open_to_clients(&self, channel: &str) -> bool {
        self.client_publish.iter().any(|glob| glob.matches(channel))
    }

    fn is_allowed_origin(&self, origin: &[u8]) -> bool {
        self.origins.iter().any(|allowed| allowed == "*" || allowed.as_bytes().eq_ignore_ascii_case(origin))
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Origin => Response::text(
                Status::FORBIDDEN,
                "Pages of this origin are not served here; the server's --allow-origin lists those that are.",
            ),
            Refusal::NoKey => Response::text(
                Status::UNAUTHORIZED,
                "Publishing needs the key: send Authorization: Bearer KEY, with the server's --publish-key.",
            )
            .header("WWW-Authenticate", "Bearer"),
            Refusal::WrongKey => Response::text(
                Status::UNAUTHORIZED,
                "The key in Authorization: Bearer is not the server's --publish-key.",
            )
            .header("WWW-Authenticate", "Bearer error=\"invalid_token\""),
            Refusal::NoReader => Response::text(
                Status::UNAUTHORIZED,
                "This needs the key: send Authorization: Bearer KEY, or Basic with any name and the key as the \
                 password; it is the server's --publish-key.",
            )
            .header("WWW-Authenticate", "Basic realm=\"Fanfare\""),
            Refusal::NotShown => Response::text(
                Status::FORBIDDEN,
                "The server's state is not shown to everybody: start it with --metrics-listen ADDR for the metrics \
                 at an address of their own, or with --publish-key KEY to open this to holders of the key.",
            ),
        }
    }
}

/// RFC 6750 §2.1, the scheme in any case (RFC 9110 §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, key) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim_matches(' '))
}

/// RFC 7617 §2: base64 of `name:password`. The name holds no colon.
fn basic_password(authorization: &str) -> Option<String> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim_matches(' ')).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

fn is_same(sent: &str, key: &str) -> bool {
    sent.as_bytes().ct_eq(key.as_bytes()).into()
}

/// Whether no page asks, or one that was served under the name that is asked for here. What is in front of this server
/// may have taken TLS off, so the scheme does not count.
fn is_same_origin(request: &Request) -> bool {
    let host = request.header("host").unwrap_or(b"");
    request.headers("origin").all(|origin| {
        let origin = std::str::from_utf8(origin).unwrap_or("");
        origin.split_once("://").is_some_and(|(_, from)| from.as_bytes().eq_ignore_ascii_case(host))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Event, Limits, RequestReader};

    fn request(fields: &str) -> Request {
        let mut reader = RequestReader::new(Limits::default());
        reader.receive(format!("GET /channels/c HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes());
        let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("a complete head") };
        request
    }

    fn with_key() -> Authority {
        let client_publish = vec![Glob::new("chat-*")];
        Authority::new(&Config { publish_key: Some("secret".into()), client_publish, ..Config::default() })
    }

    fn with_origins(origins: &[&str]) -> Authority {
        let allow_origin = origins.iter().map(ToString::to_string).collect();
        Authority::new(&Config { allow_origin, ..Config::default() })
    }

    #[test]
    fn without_a_key_everybody_may_publish() {
        let authority = Authority::new(&Config::default());
        assert_eq!(authority.check_key(&request("")), Ok(()));
        assert!(authority.may_client_publish(&request(""), "c"));
    }

    #[test]
    fn with_a_key_publishing_needs_it() {
        let check = |fields| with_key().check_key(&request(fields));
        assert_eq!(check(""), Err(Refusal::NoKey));
        assert_eq!(check("Authorization: Basic secret\r\n"), Err(Refusal::NoKey));
        assert_eq!(check("Authorization: secret\r\n"), Err(Refusal::NoKey));
        assert_eq!(check("Authorization: Bearer other\r\n"), Err(Refusal::WrongKey));
        assert_eq!(check("Authorization: Bearer secre\r\n"), Err(Refusal::WrongKey));
        assert_eq!(check("Authorization: Bearer secret\r\n"), Ok(()));
        assert_eq!(check("authorization: bearer  secret\r\n"), Ok(()));
    }

    #[test]
    fn with_a_key_a_post_without_it_publishes_where_a_glob_says_so() {
        let check = |fields, channel| with_key().check_publish(&request(fields), channel);
        assert_eq!(check("", "chat-1"), Ok(()));
        assert_eq!(check("", "prices"), Err(Refusal::NoKey));
        assert_eq!(check("Authorization: Bearer wrong\r\n", "chat-1"), Err(Refusal::WrongKey));
        assert_eq!(check("Authorization: Bearer secret\r\n", "prices"), Ok(()));
    }

    #[test]
    fn with_a_key_clients_publish_where_a_glob_says_so_or_with_the_key() {
        let may = |fields, channel| with_key().may_client_publish(&request(fields), channel);
        assert!(may("", "chat-1"));
        assert!(!may("", "prices"));
        assert!(!may("Authorization: Bearer wrong\r\n", "prices"));
        assert!(may("Authorization: Bearer secret\r\n", "prices"));
    }

    #[test]
    fn the_state_is_read_with_the_key_as_bearer_or_as_the_password_of_basic() {
        let check = |fields: &str| with_key().check_reader(&request(fields));
        let basic = |text: &str| format!("Authorization: Basic {}\r\n", STANDARD.encode(text));
        assert_eq!(check("Authorization: Bearer secret\r\n"), Ok(()));
        assert_eq!(check(&basic("anybody:secret")), Ok(()));
        assert_eq!(check(&basic(":secret")), Ok(()));
        assert_eq!(check(&basic("secret")), Err(Refusal::NoReader));
        assert_eq!(check(&basic("secret:")), Err(Refusal::NoReader));
        assert_eq!(check(&basic("a:secret:")), Err(Refusal::NoReader));
        for fields in
            ["", "Authorization: Bearer other\r\n", "Authorization: Basic ?\r\n", "Authorization: secret\r\n"]
        {
            assert_eq!(check(fields), Err(Refusal::NoReader), "{fields}");
        }
    }

    #[test]
    fn a_password_that_a_page_elsewhere_made_the_browser_send_does_not_count() {
        let basic = format!("Authorization: Basic {}\r\n", STANDARD.encode(":secret"));
        let check = |fields: &str| with_key().check_reader(&request(&format!("{basic}{fields}")));
        assert_eq!(check("Origin: http://h\r\n"), Ok(()));
        assert_eq!(check("Origin: https://H\r\n"), Ok(()));
        for origin in ["https://evil.net", "http://h:81", "http://h.evil.net", "null"] {
            assert_eq!(check(&format!("Origin: {origin}\r\n")), Err(Refusal::NoReader), "{origin}");
        }
    }

    #[test]
    fn the_state_is_everybodys_in_development_mode_and_nobodys_without_a_key_elsewhere() {
        assert_eq!(Authority::new(&Config::default()).check_reader(&request("")), Ok(()));
        let insecure = Authority::new(&Config { insecure: true, ..Config::default() });
        assert_eq!(insecure.check_reader(&request("Authorization: Bearer x\r\n")), Err(Refusal::NotShown));
    }

    #[test]
    fn nobody_publishes_to_a_channel_of_the_servers_own() {
        let authority = Authority::new(&Config::default());
        assert!(!authority.may_client_publish(&request(""), "@fanfare.dashboard"));
    }

    #[test]
    fn an_origin_that_is_not_listed_is_refused_and_none_passes() {
        let authority = with_origins(&["https://example.com", "http://localhost:3000"]);
        let check = |fields| authority.check_origin(&request(fields));
        assert_eq!(check(""), Ok(()));
        assert_eq!(check("Origin: https://example.com\r\n"), Ok(()));
        assert_eq!(check("Origin: HTTPS://Example.com\r\n"), Ok(()));
        assert_eq!(check("Origin: http://example.com\r\n"), Err(Refusal::Origin));
        assert_eq!(check("Origin: https://example.com:8443\r\n"), Err(Refusal::Origin));
        assert_eq!(check("Origin: https://example.com.evil.net\r\n"), Err(Refusal::Origin));
        assert_eq!(check("Origin: null\r\n"), Err(Refusal::Origin));
    }

    #[test]
    fn a_second_origin_does_not_hide_behind_an_allowed_one() {
        let authority = with_origins(&["https://example.com"]);
        let both = request("Origin: https://example.com\r\nOrigin: https://evil.net\r\n");
        assert_eq!(authority.check_origin(&both), Err(Refusal::Origin));
    }

    #[test]
    fn without_a_list_or_with_a_star_every_origin_passes() {
        for authority in [with_origins(&[]), with_origins(&["*"])] {
            assert_eq!(authority.check_origin(&request("Origin: https://anything.net\r\n")), Ok(()));
        }
    }
}
