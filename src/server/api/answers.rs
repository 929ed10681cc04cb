//! The answers to publications, and those that say that something is too long or that there is no room.
//!
//! When each is given is decided by the handlers and the connection.

use crate::http::{Response, Status};
use crate::hub::Published;
use crate::server::broker::answer::{NotPublished, Receipt};
use crate::server::broker::mailbox::Unavailable;

/// The answer to a publication: `{"id":…,"subscribers":N}`.
pub fn published(receipt: Receipt) -> Response {
    let Receipt { published: Published { id, subscribers }, is_replay } = receipt;
    let body = format!("{{\"id\":\"{id}\",\"subscribers\":{subscribers}}}\n");
    let response = Response::json(Status::OK, body);
    if is_replay { response.header("Idempotent-Replayed", "true") } else { response }
}

/// The answer to a publication that was not delivered, or of which nothing is known.
pub fn not_published(why: NotPublished) -> Response {
    match why {
        NotPublished::Refused => {
            Response::text(Status::SERVICE_UNAVAILABLE, sentence(why)).header("Retry-After", "1")
        }
        NotPublished::Unanswered => Response::text(Status::GATEWAY_TIMEOUT, sentence(why)),
        NotPublished::KeyReused => key_reused(),
    }
}

/// The same, as a sentence.
pub fn sentence(why: NotPublished) -> &'static str {
    match why {
        NotPublished::Refused => "This is not published; try again in a second.",
        NotPublished::Unanswered => "This may be published or not; try again with the same Idempotency-Key.",
        NotPublished::KeyReused => KEY_REUSED,
    }
}

/// The answer to a request whose channel cannot be joined at this time.
pub fn unready(unavailable: Unavailable) -> Response {
    Response::text(Status::SERVICE_UNAVAILABLE, &unavailable.to_string()).header("Retry-After", "1")
}

const KEY_REUSED: &str =
    "This Idempotency-Key was used for another publication within the last minute; give each its own.";

/// The answer to a key that was used for another publication.
pub fn key_reused() -> Response {
    Response::text(Status::UNPROCESSABLE_CONTENT, KEY_REUSED)
}

/// The answer to a body that is too long to be published.
pub fn too_long(len_max: u64) -> Response {
    let sentence = format!(
        "A publication has at most {len_max} bytes: the smaller of the server's --max-message and --max-lag."
    );
    Response::text(Status::CONTENT_TOO_LARGE, &sentence)
}

/// The answer to a post of a session over HTTP that is too long.
pub fn post_too_long(len_max: u64) -> Response {
    let sentence =
        format!("The messages of one request have at most {len_max} bytes here; send them one by one.");
    Response::text(Status::CONTENT_TOO_LARGE, &sentence)
}

/// The answer where the echo would be.
pub fn no_echo() -> Response {
    const WHERE: &str = "The echo is served in development mode only, or with the server's --echo.";
    Response::text(Status::NOT_FOUND, WHERE)
}

/// The answer to a body that is too long for a route of the program.
pub fn body_too_long(len_max: u64) -> Response {
    let sentence = format!("A body has at most {len_max} bytes here: the server's --max-message.");
    Response::text(Status::CONTENT_TOO_LARGE, &sentence)
}

/// The answer when there is no room for a connection. Also sent before anything has been read.
pub fn over_capacity() -> Response {
    let sentence = "No more connections can be taken now; try again in a few seconds.";
    Response::text(Status::SERVICE_UNAVAILABLE, sentence).header("Retry-After", "5")
}

/// The answer to a request without TLS where TLS is spoken. There is no redirect: a WebSocket does not follow one.
pub fn speaks_tls() -> Response {
    Response::text(Status::BAD_REQUEST, "This port speaks TLS: use https:// or wss://.")
}

/// What a publisher is told whose new key cannot be kept, since memory is short.
pub const NO_ROOM_FOR_KEY: &str =
    "There is no memory to remember an Idempotency-Key with now; try again in a few seconds.";

/// What a publisher is told whose new key cannot be kept, since those of all have used up their share.
pub const KEYS_SHARE_USED: &str = "The idempotency keys of the last minute take their share, an eighth of --max-memory; try \
                                   again in a few seconds, or publish without a key.";

/// The answer to a publication with a new key that cannot be kept.
pub fn no_room_for_key(sentence: &str) -> Response {
    Response::text(Status::SERVICE_UNAVAILABLE, sentence).header("Retry-After", "5")
}
