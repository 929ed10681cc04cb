//! What factories and handlers return: a session, alone or with what its handshake is answered with, an outcome, an answer.
//!
//! Where they are registered is in `serving`.

use crate::app::session::Session;
use crate::app::typed::Typed;
use crate::http::Response;
use crate::server::handlers::failure::Outcome;
use crate::server::handlers::routes::Opened;

/// A session with what its handshake is answered with, where the session alone is not enough.
///
/// ```
/// use fanfare::app::{Accept, Message, Outcome, Session, Socket};
/// # struct Player;
/// # impl Session for Player {
/// #     type Event = ();
/// #     fn message(&mut self, _: &mut Socket<'_, Self>, _: Message<'_>) -> Outcome { Ok(()) }
/// # }
/// let accept = Accept::new(Player).subprotocol("game.v2").header("Set-Cookie", "seat=7; HttpOnly");
/// ```
#[derive(Debug)]
pub struct Accept<S> {
    session: S,
    subprotocol: Option<String>,
    headers: Vec<(&'static str, String)>,
}

impl<S: Session> Accept<S> {
    /// Nothing but the session.
    #[must_use]
    pub fn new(session: S) -> Self {
        Self { session, subprotocol: None, headers: Vec::new() }
    }

    /// With a subprotocol. It is answered if the client has offered it; a client that has not would have to fail the connection
    /// (RFC 6455 §4.1).
    #[must_use]
    pub fn subprotocol(self, name: impl Into<String>) -> Self {
        Self { subprotocol: Some(name.into()), ..self }
    }

    /// With one header field more.
    ///
    /// # Panics
    /// The value holds CR, LF or NUL, which would split the answer. The client is answered with 500 then.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        assert!(!value.contains(['\r', '\n', '\0']), "the value of {name} would split the answer: {value:?}");
        self.headers.push((name, value));
        self
    }
}

/// What a factory returns for a handshake that it accepts: a [`Session`], or an [`Accept`] with one.
pub trait Accepted {
    /// The type of the session.
    type Session: Session;

    /// The session with what its handshake is answered with.
    fn into_accept(self) -> Accept<Self::Session>;
}

impl<S: Session> Accepted for S {
    type Session = S;

    fn into_accept(self) -> Accept<S> {
        Accept::new(self)
    }
}

impl<S: Session> Accepted for Accept<S> {
    type Session = S;

    fn into_accept(self) -> Self {
        self
    }
}

/// A session behind its type, with what its handshake is answered with.
pub(super) fn opened(accepted: impl Accepted) -> Opened {
    let Accept { session, subprotocol, headers } = accepted.into_accept();
    Opened { actor: Box::new(Typed(session)), subprotocol, headers }
}

/// What the closure of [`Server::websocket_fn`](crate::Server::websocket_fn) returns: nothing, or an [`Outcome`].
pub trait IntoOutcome {
    /// As an outcome.
    ///
    /// # Errors
    /// Closes the connection.
    fn into_outcome(self) -> Outcome;
}

impl IntoOutcome for () {
    fn into_outcome(self) -> Outcome {
        Ok(())
    }
}

impl IntoOutcome for Outcome {
    fn into_outcome(self) -> Outcome {
        self
    }
}

/// What answers a request: a [`Response`], or a result of which both sides are one, for handlers that use `?`.
pub trait IntoResponse {
    /// As a response.
    fn into_response(self) -> Response;
}

impl IntoResponse for Response {
    fn into_response(self) -> Response {
        self
    }
}

impl IntoResponse for Result<Response, Response> {
    fn into_response(self) -> Response {
        self.unwrap_or_else(|response| response)
    }
}
