//! The request that revokes tokens: what it says, and its answer.
//!
//! Whose connections end by it is found in the loops.

use serde::Deserialize;

use crate::http::{Response, Status};
use crate::server::access::Whom;
use crate::token::NAME_LEN_MAX;

/// The longest body, in bytes: a name of 200 bytes, each of which JSON may write with six.
pub const BODY_LEN_MAX: u64 = 2048;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    sub: Option<String>,
    jti: Option<String>,
}

/// Whose tokens the body revokes, or which.
pub fn whom(body: &[u8]) -> Result<Whom, Response> {
    let bad = |sentence: &str| Err(Response::text(Status::BAD_REQUEST, sentence));
    let whom = match serde_json::from_slice(body) {
        Ok(Body { sub: Some(sub), jti: None }) => Whom::Sub(sub.into()),
        Ok(Body { sub: None, jti: Some(jti) }) => Whom::Jti(jti.into()),
        Ok(_) | Err(_) => {
            return bad(
                r#"The body is one of {"sub":"u42"}, for the tokens of a user, and {"jti":"9f2c"}, for one token."#,
            );
        }
    };
    let (Whom::Sub(name) | Whom::Jti(name)) = &whom;
    match name.len() {
        1..=NAME_LEN_MAX => Ok(whom),
        _ => bad("sub and jti are 1 to 200 bytes, as in tokens."),
    }
}

/// The answer: this number of connections has ended.
pub fn revoked(ended: usize) -> Response {
    Response::json(Status::OK, format!(r#"{{"revoked":{ended}}}"#))
}

/// The answer to a body that is longer than [`BODY_LEN_MAX`].
pub fn too_long() -> Response {
    Response::text(Status::CONTENT_TOO_LARGE, "What is revoked takes at most 2,048 bytes.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_names_a_user_or_a_token() {
        assert_eq!(whom(br#"{"sub":"u42"}"#).unwrap(), Whom::Sub("u42".into()));
        assert_eq!(whom(br#"{"jti":"\u0039f2c"}"#).unwrap(), Whom::Jti("9f2c".into()));
    }

    #[test]
    fn a_body_that_names_neither_or_both_is_told_what_is_right() {
        let long = format!(r#"{{"sub":"{}"}}"#, "u".repeat(201));
        for body in [
            "",
            "u42",
            "{}",
            "[]",
            r#"{"sub":1}"#,
            r#"{"sub":""}"#,
            r#"{"sub":"a","jti":"b"}"#,
            r#"{"user":"a"}"#,
            &*long,
        ] {
            assert_eq!(whom(body.as_bytes()).unwrap_err().status(), Status::BAD_REQUEST, "{body}");
        }
    }
}
