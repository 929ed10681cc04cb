//! The paths of pusher-js' HTTP transports: `…/app/KEY/SERVER/SESSION/REQUEST`. What is ahead of that is `/pusher`, or what
//! the page says with `httpPath`.
//!
//! What is done about a request is not known here.

/// What is ahead of the key of the app.
const APP: &str = "/app/";

/// The length of a session's identifier, which the client draws.
const SESSION_LEN: usize = 8;

/// The most digits of the number that pusher-js calls a server.
const SERVER_LEN_MAX: usize = 3;

/// What names a session. The client draws both parts; the key of the app is sent with every request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SessionName {
    /// The key of the app, as it stands in the path.
    pub key: Box<str>,
    server: u16,
    session: [u8; SESSION_LEN],
}

/// What a request of a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To carry messages to the client.
    Receive(Transport),
    /// To bring messages from the client.
    Send,
}

/// How a request carries messages to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// `xhr_streaming`: a response without an end.
    Streaming,
    /// `xhr`: a response to each batch of messages.
    Polling,
}

impl SessionName {
    /// The same with the key as it is without the escapes of a path.
    #[must_use]
    pub fn with_key(self, key: &str) -> Self {
        Self { key: key.into(), ..self }
    }
}

/// The session that a path names, and what the request is for; `None` if it names none.
#[must_use]
pub fn parse(path: &str) -> Option<(SessionName, Purpose)> {
    let (_, segments) = path.rsplit_once(APP)?;
    let mut segments = segments.split('/');
    let (key, server, session) = (segments.next()?, segments.next()?, segments.next()?);
    let purpose = match segments.next()? {
        "xhr_streaming" => Purpose::Receive(Transport::Streaming),
        "xhr" => Purpose::Receive(Transport::Polling),
        "xhr_send" => Purpose::Send,
        _ => return None,
    };
    let is_server = (1..=SERVER_LEN_MAX).contains(&server.len()) && is_all(server, u8::is_ascii_digit);
    let is_named = !key.is_empty() && is_server && is_all(session, u8::is_ascii_alphanumeric);
    if segments.next().is_some() || !is_named {
        return None;
    }
    let session = session.as_bytes().try_into().ok()?;
    Some((SessionName { key: key.into(), server: server.parse().ok()?, session }, purpose))
}

fn is_all(text: &str, is: fn(&u8) -> bool) -> bool {
    text.bytes().all(|byte| is(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(key: &str, server: u16, session: &[u8; 8]) -> SessionName {
        SessionName { key: key.into(), server, session: *session }
    }

    #[test]
    fn a_path_names_the_session_and_what_the_request_is_for() {
        let session = name("278d", 17, b"a0v9z3k1");
        for (last, purpose) in [
            ("xhr_streaming", Purpose::Receive(Transport::Streaming)),
            ("xhr", Purpose::Receive(Transport::Polling)),
            ("xhr_send", Purpose::Send),
        ] {
            let path = format!("/pusher/app/278d/17/a0v9z3k1/{last}");
            assert_eq!(parse(&path), Some((session.clone(), purpose)));
        }
    }

    #[test]
    fn sessions_of_other_apps_servers_or_identifiers_are_others() {
        let named = |path: &str| parse(path).map(|(name, _)| name);
        let one = named("/app/k/0/aaaaaaaa/xhr");
        assert_eq!(one, named("/app/k/0/aaaaaaaa/xhr_send"));
        for other in ["/app/l/0/aaaaaaaa/xhr", "/app/k/1/aaaaaaaa/xhr", "/app/k/0/aaaaaaab/xhr"] {
            assert_ne!(one, named(other), "{other}");
        }
    }

    #[test]
    fn a_path_of_another_shape_names_no_session() {
        for path in [
            "/pusher/app/k/0/aaaaaaaa",
            "/pusher/app/k/0/aaaaaaaa/",
            "/pusher/app/k/0/aaaaaaaa/xhr/",
            "/pusher/app/k/0/aaaaaaaa/jsonp",
            "/pusher/app/k/0/aaaaaaa/xhr",
            "/pusher/app/k/0/aaaaaaaaa/xhr",
            "/pusher/app/k/0/aaaaaaa%/xhr",
            "/pusher/app/k/1000/aaaaaaaa/xhr",
            "/pusher/app/k/+1/aaaaaaaa/xhr",
            "/pusher/app/k//aaaaaaaa/xhr",
            "/pusher/app//0/aaaaaaaa/xhr",
            "/app/k/0/aaaaaaaa/app/xhr",
            "/pusher/apps/k/0/aaaaaaaa/xhr",
        ] {
            assert_eq!(parse(path), None, "{path}");
        }
    }

    #[test]
    fn anything_may_be_ahead_of_it() {
        let session = name("k", 0, b"aaaaaaaa");
        for prefix in ["", "/pusher", "/a/b", "/app/x"] {
            let path = format!("{prefix}/app/k/0/aaaaaaaa/xhr");
            assert_eq!(parse(&path), Some((session.clone(), Purpose::Receive(Transport::Polling))), "{path}");
        }
    }
}
