//! How a proof travels in a request: the fields and parameters that may carry one.
//!
//! Whether it is good is found in `guard`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::http::{self, Request};
use crate::server::access::refusal::Refusal;

/// What a subprotocol begins with that carries a token. The letters of a JWT are those of a token of HTTP (RFC 9110
/// §5.6.2), so it needs no further encoding.
const SUBPROTOCOL_PREFIX: &str = "bearer.";

/// The parameter of RFC 6750 §2.3.
const PARAMETER: &str = "access_token";

/// What a request offers as proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The credential.
    pub credential: String,
    /// Whether it may be a key: keys come in `Authorization` only.
    pub may_be_key: bool,
}

/// Where a request may carry a token besides `Authorization` and `Sec-WebSocket-Protocol`.
#[derive(Clone, Copy, Debug)]
pub struct Carriers<'a> {
    /// The name of the cookie, where the page that made the request may send it.
    pub cookie: Option<&'a str>,
    /// Whether a parameter of the query counts.
    pub query: bool,
}

impl Proof {
    /// The proof that the request carries, if any. The same one may be there several times.
    ///
    /// # Errors
    /// There are two that differ.
    pub fn of(request: &Request, carriers: Carriers<'_>) -> Result<Option<Self>, Refusal> {
        let texts = |name| request.headers(name).filter_map(|value| str::from_utf8(value).ok());
        let key = |credential: &str| Self { credential: credential.to_owned(), may_be_key: true };
        let token = |credential: &str| Self { credential: credential.to_owned(), may_be_key: false };
        let mut found: Vec<Self> = texts("authorization").filter_map(bearer).map(key).collect();
        if http::is_upgrade(request) {
            let offered = texts("sec-websocket-protocol").flat_map(|list| list.split(',')).map(str::trim);
            found.extend(offered.filter_map(|name| name.strip_prefix(SUBPROTOCOL_PREFIX)).map(token));
        }
        if let Some(name) = carriers.cookie {
            let pairs = texts("cookie").flat_map(|list| list.split(';'));
            found.extend(pairs.filter_map(|pair| cookie_value(pair, name)).map(token));
        }
        if carriers.query {
            let values = http::parameters(request.query()).filter(|(name, _)| name == PARAMETER);
            found.extend(values.map(|(_, value)| token(&value)));
        }
        let mut found = found.into_iter();
        let Some(first) = found.next() else { return Ok(None) };
        match found.all(|other| other.credential == first.credential) {
            true => Ok(Some(first)),
            false => Err(Refusal::TwoProofs),
        }
    }
}

/// RFC 6265 §5.4: pairs with `; ` between. A cookie that was emptied is none, and quotation marks are not of the value.
fn cookie_value<'a>(pair: &'a str, name: &str) -> Option<&'a str> {
    let (own, value) = pair.split_once('=')?;
    let value = value.trim();
    let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    (own.trim() == name && !value.is_empty()).then_some(value)
}

/// RFC 6750 §2.1, the scheme in any case (RFC 9110 §11.1).
pub fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, key) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key.trim_matches(' '))
}

/// RFC 7617 §2: base64 of `name:password`. The name holds no colon.
pub fn basic_password(authorization: &str) -> Option<String> {
    let (scheme, credentials) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(credentials.trim_matches(' ')).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}
