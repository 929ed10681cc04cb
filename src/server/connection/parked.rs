//! A request that waits for the backend, as long as it waits.
//!
//! When it is answered is known to `judging`.

use std::sync::Arc;

use crate::backend::{Credentials, Judged, QuestionId};
use crate::http;
use crate::server::api::basis::Asking;

/// A request that waits for the backend. Nothing that follows it is read meanwhile.
#[derive(Debug)]
pub struct Parked {
    pub request: http::Request,
    pub credentials: Arc<Credentials>,
    pub judged: Judged,
    pub asking: Asking,
    pub question: QuestionId,
}

impl Parked {
    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        size_of::<Self>() + self.request.held_len() + self.credentials.held_len() + self.judged.held_len()
    }
}
