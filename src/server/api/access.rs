//! Who may do what: by the publish key, the channels open to clients and the browser origins.
//!
//! No socket is read or written here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::config::{AccessKey, Config, Glob, Host, SecretDigest, normalise_origin};
use crate::http::{Request, Response, Status};
use crate::hub::ChannelName;
use crate::server::api::origins::{Misnamed, Origins, PageAccess, is_same_origin};

/// The rules, as configured.
#[derive(Clone, Debug)]
pub struct Access {
    keys: Vec<AccessKey>,
    client_publish: Vec<Glob>,
    origins: Origins,
    is_development: bool,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The server does not answer to the host name that was asked for.
    Host {
        /// The name; `None` if it is not a host name.
        asked: Option<Host>,
        /// Whether development mode is the reason.
        is_development: bool,
    },
    /// The page that made the request is of an origin that is not served.
    Origin {
        /// Whether development mode is the reason.
        is_development: bool,
    },
    /// The page that made the request has no origin, and may read but not publish.
    NoOrigin,
    /// Publishing needs the key, and the request has none.
    NoKey,
    /// The key of the request is not the server's.
    WrongKey,
    /// Reading the server's state needs the key, and the request does not have it.
    NoReader,
    /// The server's state is not shown, since no key is configured.
    NotShown,
}

impl Access {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        Self {
            keys: config.keys.clone(),
            client_publish: config.client_publish.clone(),
            origins: Origins::new(config),
            is_development: config.is_development(),
        }
    }

    /// Checks that the server answers to the host name of the request.
    pub fn check_host(&self, request: &Request) -> Result<(), Refusal> {
        let is_development = self.is_development;
        self.origins.check_host(request).map_err(|Misnamed(asked)| Refusal::Host { asked, is_development })
    }

    /// Checks that the page that made the request is served.
    pub fn check_origin(&self, request: &Request) -> Result<(), Refusal> {
        match self.origins.access(request) {
            PageAccess::Refused => Err(Refusal::Origin { is_development: self.is_development }),
            PageAccess::Read | PageAccess::Full => Ok(()),
        }
    }

    /// Whether the page that made the request is of one of the app's origins or, if the app has none of its own, is served
    /// at all.
    pub fn is_origin_served(&self, request: &Request, app_origins: &[String]) -> bool {
        match request.header_str("origin") {
            Some(origin) if !app_origins.is_empty() => {
                let sent = normalise_origin(origin);
                app_origins.iter().any(|served| served == "*" || sent.as_ref() == Ok(served))
            }
            _ => self.check_origin(request).is_ok(),
        }
    }

    /// As [`Access::is_origin_served`], for a request that is answered with a status.
    pub fn check_app_origin(&self, request: &Request, app_origins: &[String]) -> Result<(), Refusal> {
        match self.is_origin_served(request, app_origins) {
            true => Ok(()),
            false => Err(Refusal::Origin { is_development: self.is_development }),
        }
    }

    /// Whether the page that made the request may do what a client outside a browser may.
    pub fn is_fully_served(&self, request: &Request) -> bool {
        self.origins.access(request) == PageAccess::Full
    }

    /// `*` if pages of all origins may read whatever is answered.
    pub fn any_origin(&self) -> Option<&'static str> {
        self.origins.are_all_served().then_some("*")
    }

    /// The origin whose pages may read the answer, `*` for all; `None` if no page made the request. The request passed
    /// [`Access::check_origin`].
    pub fn allow_origin<'a>(&self, request: &'a Request) -> Option<&'a str> {
        let origin = request.header_str("origin")?;
        Some(self.any_origin().unwrap_or(origin))
    }

    /// Whether answers depend on the origin of the page that made the request.
    pub fn varies_by_origin(&self) -> bool {
        !self.origins.are_all_served()
    }

    /// Checks that the request may publish by its key.
    pub fn check_key(&self, request: &Request) -> Result<(), Refusal> {
        if self.keys.is_empty() {
            return Ok(());
        }
        // Basic does not count here: a browser that has been told the key once sends it by itself with whatever any
        // page makes it send, a form to this server among it.
        let sent = request.header_str("authorization").and_then(bearer).ok_or(Refusal::NoKey)?;
        if self.is_key(sent) { Ok(()) } else { Err(Refusal::WrongKey) }
    }

    /// Whether there is a key, and the request has it.
    pub fn has_key(&self, request: &Request) -> bool {
        !self.keys.is_empty() && self.check_key(request).is_ok()
    }

    /// Checks that the request may publish to `channel` by `POST`: by its key or, if it has none, because the channel is
    /// open to clients. A page whose transport is not WebSocket has no other way to publish.
    pub fn check_publish(&self, request: &Request, channel: &str) -> Result<(), Refusal> {
        if !self.is_fully_served(request) {
            return Err(Refusal::NoOrigin);
        }
        match self.check_key(request) {
            Err(Refusal::NoKey) if self.is_open_to_clients(channel) => Ok(()),
            checked => checked,
        }
    }

    /// Checks that the request may read the server's state: its metrics, and the dashboard. In development mode every
    /// request may, else those with the key. Browsers prompt for it and send it as the password of Basic, with any name.
    pub fn check_reader(&self, request: &Request) -> Result<(), Refusal> {
        if self.is_development {
            return Ok(());
        }
        if self.keys.is_empty() {
            return Err(Refusal::NotShown);
        }
        let sent = request.header_str("authorization").unwrap_or("");
        // A page elsewhere can open a WebSocket here, which the browser sends the password with.
        let password = basic_password(sent).filter(|_| is_same_origin(request));
        let is_holder = bearer(sent).is_some_and(|sent| self.is_key(sent))
            || password.is_some_and(|password| self.is_key(&password));
        if is_holder { Ok(()) } else { Err(Refusal::NoReader) }
    }

    /// Whether messages of this WebSocket client are published to `channel`: no key is configured, its handshake had the
    /// key, or the channel is open to clients; and it is not a page that may only read. Messages to the server's own
    /// channels are never published.
    pub fn may_client_publish(&self, request: &Request, channel: &ChannelName) -> bool {
        if channel.is_reserved() || !self.is_fully_served(request) {
            return false;
        }
        self.check_key(request).is_ok() || self.is_open_to_clients(channel.local())
    }

    fn is_key(&self, sent: &str) -> bool {
        let sent = SecretDigest::of(sent);
        self.keys.iter().any(|key| key.digest.fits(&sent))
    }

    fn is_open_to_clients(&self, channel: &str) -> bool {
        self.client_publish.iter().any(|glob| glob.matches(channel))
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Host { asked, is_development } => {
                Response::text(Status::FORBIDDEN, &misnamed(asked, is_development))
            }
            Refusal::Origin { is_development: true } => Response::text(
                Status::FORBIDDEN,
                "This is development mode: it serves pages of this machine, not of other origins; add --allow-origin \
                 ORIGIN, with what this request has in Origin.",
            ),
            Refusal::Origin { is_development: false } => Response::text(
                Status::FORBIDDEN,
                "Pages of this origin are not served here; the server's --allow-origin lists those that are.",
            ),
            Refusal::NoOrigin => Response::text(
                Status::FORBIDDEN,
                "This is development mode: a page without an origin, such as a file, may read and not publish; serve \
                 it from http://localhost, or add --allow-origin null.",
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

/// The answer to a request for a host name that the server does not answer to. The name was parsed, so it has no
/// character that could harm a page.
fn misnamed(asked: Option<Host>, is_development: bool) -> String {
    let rule = match is_development {
        true => "This is development mode: it answers to localhost",
        false => "This server answers to localhost and to the names of its --allow-host",
    };
    match asked {
        Some(host) => format!("{rule}, not to {host}; add --allow-host {host}."),
        None => {
            format!("{rule}, not to what Host is here, which is no host name; --allow-host HOST adds one.")
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

    fn with_key() -> Access {
        let client_publish = vec![Glob::new("chat-*")];
        Access::new(&Config {
            keys: vec![AccessKey::with_all_rights("default", "secret")],
            client_publish,
            ..Config::default()
        })
    }

    fn named(channel: &str) -> ChannelName {
        ChannelName::new(channel).unwrap()
    }

    #[test]
    fn without_a_key_everybody_may_publish() {
        let access = Access::new(&Config::default());
        assert_eq!(access.check_key(&request("")), Ok(()));
        assert!(access.may_client_publish(&request(""), &named("c")));
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
        let may = |fields, channel| with_key().may_client_publish(&request(fields), &named(channel));
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
        assert_eq!(Access::new(&Config::default()).check_reader(&request("")), Ok(()));
        let insecure = Access::new(&Config { insecure: true, ..Config::default() });
        assert_eq!(insecure.check_reader(&request("Authorization: Bearer x\r\n")), Err(Refusal::NotShown));
    }

    #[test]
    fn nobody_publishes_to_a_channel_of_the_servers_own() {
        let access = Access::new(&Config::default());
        assert!(!access.may_client_publish(&request(""), &named("@fanfare.dashboard")));
    }

    #[test]
    fn a_page_without_an_origin_reads_and_does_not_publish_in_development_mode() {
        let access = Access::new(&Config::default());
        let page = request("Origin: null\r\n");
        assert_eq!(access.check_origin(&page), Ok(()));
        assert_eq!(access.allow_origin(&page), Some("null"));
        assert_eq!(access.check_publish(&page, "c"), Err(Refusal::NoOrigin));
        assert!(!access.may_client_publish(&page, &named("c")));
        assert_eq!(with_key().check_publish(&page, "chat-1"), Ok(()), "with a key every origin is served");
    }

    #[test]
    fn a_request_for_another_host_name_is_told_what_to_add() {
        let said = |asked: &str, is_development| misnamed(asked.parse().ok(), is_development);
        assert_eq!(
            said("example.test", true),
            "This is development mode: it answers to localhost, not to example.test; add --allow-host example.test."
        );
        assert!(said("fd00::1", false).ends_with("not to [fd00::1]; add --allow-host [fd00::1]."));
        assert!(said("", true).contains("no host name"));
    }
}
