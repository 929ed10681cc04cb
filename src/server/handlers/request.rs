//! A request as a program sees it: its head, what its path stands for, and who made it.
//!
//! The body of a POST is handed over beside it.

use std::borrow::Cow;
use std::net::IpAddr;

use super::pattern::{Params, Pattern, RouteError};
use crate::http::{self, Event, Limits, RequestReader, Response, Status};
use crate::hub::InvalidChannelName;
use crate::server::access;

/// A request for one of the program's routes. Its `Host` and `Origin`, what proved who made it, and the limits of its address
/// have been checked.
///
/// ```
/// use fanfare::app::Request;
///
/// let request = Request::test("/rooms/attic?nick=ada").at("/rooms/{room}")?.with_header("Cookie", "theme=dark");
/// assert_eq!((request.method(), request.path()), ("GET", "/rooms/attic"));
/// assert_eq!((request.param("room"), request.query("nick").as_deref()), ("attic", Some("ada")));
/// assert_eq!(request.cookie("theme"), Some("dark"));
/// # Ok::<(), fanfare::app::RouteError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request<'a> {
    head: Cow<'a, http::Request>,
    /// The pattern, for the message of a panic.
    pattern: &'a str,
    params: Cow<'a, Params>,
    peer: Option<IpAddr>,
    identity: Option<&'a access::Identity>,
}

/// Who made a request, by a token, a key or the word of the backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// The user: the `sub` of a token, or whom the backend named.
    pub user: Option<&'a str>,
    /// What others are told of the user: JSON.
    pub info: Option<&'a str>,
    /// The name of the key that was shown.
    pub key: Option<&'a str>,
}

impl<'a> Identity<'a> {
    pub(super) fn of(who: &'a access::Identity) -> Self {
        Self { user: who.sub(), info: who.info(), key: who.key_name() }
    }
}

impl<'a> Request<'a> {
    pub(crate) fn new(
        head: &'a http::Request,
        (pattern, params): (&'a str, &'a Params),
        peer: Option<IpAddr>,
        identity: Option<&'a access::Identity>,
    ) -> Self {
        Self { head: Cow::Borrowed(head), pattern, params: Cow::Borrowed(params), peer, identity }
    }

    /// That of a client of the server's own paths, which have no pattern of the program.
    pub(crate) fn of_client(
        head: &'a http::Request,
        peer: Option<IpAddr>,
        identity: Option<&'a access::Identity>,
    ) -> Self {
        let params = Cow::Owned(Params::default());
        Self { head: Cow::Borrowed(head), pattern: "", params, peer, identity }
    }

    /// The method: `GET`, `HEAD` or `POST`.
    #[must_use]
    pub fn method(&self) -> &str {
        self.head.method()
    }

    /// The path as it was sent, not decoded and without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.head.path()
    }

    /// What `{name}` or `{name..}` of the route's pattern stands for, decoded.
    ///
    /// # Panics
    /// The pattern has no such name. The request is answered with 500 then, and a line is logged.
    #[must_use]
    pub fn param(&self, name: &str) -> &str {
        match self.params.get(name) {
            Some(value) => value,
            None => panic!("the pattern {:?} of this request has no {{{name}}}", self.pattern),
        }
    }

    /// The first parameter of the query of this name, decoded. Empty if it has no `=`.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        http::parameter(self.head.query(), name)
    }

    /// The first header field of this name, if it is UTF-8. Case does not matter in names.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.header_str(name)
    }

    /// The cookie of this name.
    #[must_use]
    pub fn cookie(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.headers("cookie").filter_map(|field| str::from_utf8(field).ok());
        fields.find_map(|field| {
            let mut pairs = field.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
        })
    }

    /// The address of the client, behind the proxies that `trust_proxy` names. `None` if its socket has ended meanwhile, and in
    /// tests.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Who made the request, if it proved that by a token or a key of the configuration.
    #[must_use]
    pub fn identity(&self) -> Option<Identity<'_>> {
        self.identity.map(Identity::of)
    }

    /// The subprotocols that a WebSocket client offers, in its order.
    pub fn subprotocols(&self) -> impl Iterator<Item = &str> {
        let fields =
            self.head.headers("sec-websocket-protocol").filter_map(|field| str::from_utf8(field).ok());
        fields.flat_map(|field| field.split(',')).map(str::trim).filter(|name| !name.is_empty())
    }
}

/// For tests.
impl Request<'static> {
    /// A GET for this path and query, to call a factory with in a test. [`Request::at`] says by which pattern it came.
    ///
    /// # Panics
    /// The target is not one.
    #[must_use]
    pub fn test(target: &str) -> Self {
        Self {
            head: Cow::Owned(head(&format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n"))),
            pattern: "",
            params: Cow::Owned(Params::default()),
            peer: None,
            identity: None,
        }
    }

    /// The same as it comes by this pattern, which gives names to parts of its path.
    ///
    /// # Errors
    /// The pattern is wrong.
    ///
    /// # Panics
    /// The path does not fit it.
    pub fn at(mut self, pattern: &'static str) -> Result<Self, RouteError> {
        let params = Pattern::new(pattern)?.find(self.path());
        self.params =
            Cow::Owned(params.expect("the path of a test's request fits the pattern that it is for"));
        self.pattern = pattern;
        Ok(self)
    }

    /// The same with one header field more.
    ///
    /// # Panics
    /// It is not a header field.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        let mut text =
            format!("{} {} HTTP/1.1\r\nHost: localhost\r\n", self.head.method(), self.head.target());
        for (name, value) in self.head.fields().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
            text.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value)));
        }
        text.push_str(&format!("{name}: {value}\r\n"));
        self.head = Cow::Owned(head(&text));
        self
    }
}

/// The request of a test, from its lines.
fn head(lines: &str) -> http::Request {
    let mut reader = RequestReader::new(Limits::default());
    reader.receive(format!("{lines}\r\n").as_bytes());
    match reader.poll() {
        Ok(Some(Event::Head(request))) => request,
        Ok(_) | Err(_) => panic!("not the head of a request: {lines:?}"),
    }
}

/// 400: so that a name from the request can become a channel by a question mark.
impl From<InvalidChannelName> for Response {
    fn from(error: InvalidChannelName) -> Self {
        Self::error(Status::BAD_REQUEST, &error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_several_and_by_its_whole_name() {
        let request =
            Request::test("/").with_header("Cookie", "ab=1; a=2;b=3").with_header("Cookie", "c=4=5");
        let found = ["a", "b", "ab", "c", "d"].map(|name| request.cookie(name));
        assert_eq!(found, [Some("2"), Some("3"), Some("1"), Some("4=5"), None]);
    }

    #[test]
    fn subprotocols_come_in_the_clients_order_over_all_fields() {
        let request = Request::test("/")
            .with_header("Sec-WebSocket-Protocol", "b, a,,")
            .with_header("Sec-WebSocket-Protocol", "c");
        assert_eq!(request.subprotocols().collect::<Vec<_>>(), ["b", "a", "c"]);
    }

    #[test]
    #[should_panic(expected = "has no {seat}")]
    fn a_name_that_the_pattern_does_not_have_is_the_programs_fault() {
        let request = Request::test("/rooms/attic").at("/rooms/{room}").unwrap();
        let _ = request.param("seat");
    }

    #[test]
    fn a_bad_channel_name_is_answered_with_400_and_why() {
        let answer = Response::from(crate::hub::ChannelName::new("a b").unwrap_err());
        assert_eq!(answer.status(), Status::BAD_REQUEST);
        assert!(String::from_utf8_lossy(answer.body_bytes()).contains("' '"), "{answer:?}");
    }
}
