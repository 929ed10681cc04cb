//! The parameters of a subscription: its position in the channel, the wait of a long poll, whether it is a stream, and its
//! protocol.
//!
//! What is kept from that position on is known to the broker.

use crate::http::{self, Request, Response, Status};
use crate::hub::{Position, PublicationId};

use crate::server::encoder::ENVELOPE_SUBPROTOCOL;

/// How long a long poll waits for a publication if it does not say.
const WAIT_DEFAULT_S: u64 = 25;

/// The longest wait of a long poll: under the 60 s that nginx and most load balancers give a silent connection.
const WAIT_MAX_S: u64 = 50;

/// The position at which the request begins: `since`, `last`, or now. `None` if it has neither parameter.
pub fn position(request: &Request) -> Result<Option<Position>, Response> {
    let since = http::parameter(request.query(), "since");
    let last = http::parameter(request.query(), "last");
    position_of(since.as_deref(), last.as_deref()).map_err(bad_request)
}

/// The position that the values of `since` and `last` name, of which there may be one.
///
/// # Errors
/// The sentence that says what is wrong.
pub fn position_of(since: Option<&str>, last: Option<&str>) -> Result<Option<Position>, &'static str> {
    match (since, last) {
        (Some(_), Some(_)) => Err("Give since or last, not both."),
        (Some(""), None) => Ok(Some(Position::Now)),
        (Some(id), None) => match id.parse() {
            Ok(id) => Ok(Some(Position::After(id))),
            Err(_) => {
                Err("since is the id of a publication, such as 8c1f5d0e7a21-7, or empty for from now on.")
            }
        },
        (None, Some(count)) => match count.parse() {
            Ok(count) => Ok(Some(Position::Last(count))),
            Err(_) => Err("last is a number of publications."),
        },
        (None, None) => Ok(None),
    }
}

/// The same for an event stream. `Last-Event-ID`, which a browser sends when it reconnects to the same URL, takes
/// precedence over the URL's parameters: it is newer. An identifier that this server did not make is of a channel
/// elsewhere; a browser cannot be kept from sending it.
pub fn stream_position(request: &Request) -> Result<Position, Response> {
    let position = position(request)?.unwrap_or(Position::Now);
    Ok(match request.header_str("last-event-id") {
        Some("") | None => position,
        Some(id) => position_after(id),
    })
}

/// The position after what a client calls the last publication that it got. Text that is no identifier of this server's is
/// one of a channel elsewhere.
pub fn position_after(id: &str) -> Position {
    id.parse::<PublicationId>().map_or(Position::Elsewhere, Position::After)
}

/// How long a long poll waits, in milliseconds.
pub fn wait_ms(request: &Request) -> Result<u64, Response> {
    let Some(wait) = http::parameter(request.query(), "wait") else { return Ok(WAIT_DEFAULT_S * 1000) };
    match wait.parse::<u64>() {
        Ok(seconds) => Ok(seconds.min(WAIT_MAX_S) * 1000),
        Err(_) => Err(bad_request("wait is a number of seconds; more than 50 are taken as 50.")),
    }
}

/// Checks that the answer to the request may be a stream.
///
/// # Errors
/// RFC 9112 §6.1: "A server MUST NOT send a response containing Transfer-Encoding unless the corresponding request indicates
/// HTTP/1.1 (or later minor revisions)."
pub fn check_streams(request: &Request) -> Result<(), Response> {
    if request.minor_version() == 0 {
        return Err(Response::text(
            Status::HTTP_VERSION_NOT_SUPPORTED,
            "An event stream needs HTTP/1.1; in nginx: proxy_http_version 1.1.",
        ));
    }
    Ok(())
}

/// Whether an event stream's data are to be envelopes.
pub fn wants_envelopes(request: &Request) -> Result<bool, Response> {
    match http::parameter(request.query(), "protocol").as_deref() {
        None => Ok(false),
        Some(ENVELOPE_SUBPROTOCOL) => Ok(true),
        Some(_) => Err(bad_request("The only protocol of an event stream is fanfare.v1.json.")),
    }
}

/// Whether the `Accept` field names the media type of event streams.
pub fn accepts_event_stream(request: &Request) -> bool {
    let accepted = request.headers("accept").filter_map(|field| str::from_utf8(field).ok());
    let mut media_types = accepted.flat_map(|field| field.split(','));
    media_types.any(|range| {
        range.split(';').next().is_some_and(|name| name.trim().eq_ignore_ascii_case(http::EVENT_STREAM))
    })
}

fn bad_request(sentence: &str) -> Response {
    Response::text(Status::BAD_REQUEST, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Event, Limits, RequestReader};

    fn request(target: &str, fields: &str) -> Request {
        let mut reader = RequestReader::new(Limits::default());
        reader.receive(format!("GET {target} HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes());
        let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("a complete head") };
        request
    }

    const ID: PublicationId = PublicationId { epoch: 0xbeef, sequence: 7 };

    #[test]
    fn a_position_is_an_identifier_a_number_or_from_now_on() {
        let position = |query| position(&request(&format!("/channels/a{query}"), "")).unwrap();
        assert_eq!(position("?since=beef-7"), Some(Position::After(ID)));
        assert_eq!(position("?since="), Some(Position::Now));
        assert_eq!(position("?last=5"), Some(Position::Last(5)));
        assert_eq!(position(""), None);
    }

    #[test]
    fn what_is_no_position_is_refused_with_400() {
        for query in ["?since=7", "?since=beef", "?last=-1", "?last=", "?last=1&since=beef-7"] {
            let refused = position(&request(&format!("/channels/a{query}"), "")).unwrap_err();
            assert_eq!(refused.status(), Status::BAD_REQUEST, "{query}");
        }
    }

    #[test]
    fn the_last_event_id_counts_more_than_the_address() {
        let position =
            |query, fields| stream_position(&request(&format!("/channels/a{query}"), fields)).unwrap();
        assert_eq!(position("?since=beef-1", "Last-Event-ID: beef-7\r\n"), Position::After(ID));
        assert_eq!(position("?since=beef-7", "Last-Event-ID: \r\n"), Position::After(ID));
        assert_eq!(position("", "Last-Event-ID: of another server\r\n"), Position::Elsewhere);
        assert_eq!(position("", ""), Position::Now);
    }

    #[test]
    fn a_wait_is_in_seconds_and_has_an_end() {
        let wait = |query| wait_ms(&request(&format!("/channels/a{query}"), ""));
        assert_eq!(wait("").unwrap(), 25_000);
        assert_eq!(wait("?wait=0").unwrap(), 0);
        assert_eq!(wait("?wait=3600").unwrap(), 50_000);
        assert_eq!(wait("?wait=soon").unwrap_err().status(), Status::BAD_REQUEST);
    }

    #[test]
    fn an_event_stream_of_envelopes_is_asked_for_by_the_protocols_name() {
        let wants = |query| wants_envelopes(&request(&format!("/channels/a{query}"), ""));
        assert!(!wants("").unwrap());
        assert!(wants("?protocol=fanfare.v1.json").unwrap());
        assert_eq!(wants("?protocol=json").unwrap_err().status(), Status::BAD_REQUEST);
    }
}
