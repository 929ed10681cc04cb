//! What a request is judged by, and how it is denied.
//!
//! The rules are in `access`; what is answered is decided in `handlers`.

use crate::http::Response;
use crate::server::access::{Access, Guard, Refusal, Verdict};
use crate::server::apps::Apps;

/// What a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The rules of access.
    pub access: &'a Access,
    /// Which proofs are good.
    pub guard: &'a Guard,
    /// The apps.
    pub apps: &'a Apps,
    /// The wall clock's time, in seconds since 1970.
    pub now_s: u64,
}

/// Why a request is not served.
#[derive(Debug)]
pub enum Denied {
    /// With this answer.
    Response(Response),
    /// As one who may not.
    Refusal(Box<Refusal>),
}

impl From<Response> for Denied {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(Box::new(refusal))
    }
}

/// Lets who may go on.
///
/// # Errors
/// It may not.
pub fn decided(verdict: Verdict) -> Result<(), Refusal> {
    match verdict {
        Verdict::Yes => Ok(()),
        Verdict::No(refusal) => Err(refusal),
        Verdict::Ask => Err(Refusal::Unavailable),
    }
}
