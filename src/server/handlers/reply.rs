//! The answer to a request that is given later, from any thread.
//!
//! How the connection waits for it is in `connection`.

use super::link::Address;
use crate::http::{Response, Status};
use crate::server::broker::calls::{Call, CallKind};

/// The answer to one request, which waits for it. It may be given from any thread; if it is dropped, the answer is 500. If the
/// client has gone meanwhile, the answer is passed over.
#[derive(Debug)]
pub struct Reply(Option<Address>);

impl Reply {
    pub(crate) fn new(address: Address) -> Self {
        Self(Some(address))
    }

    /// Answers.
    pub fn send(mut self, response: Response) {
        self.put(response);
    }

    /// There is at most one answer for each request that waits, so it needs no bound of its own.
    fn put(&mut self, response: Response) {
        if let Some(Address { door, connection }) = self.0.take() {
            door.call_anyway(Call { connection, what: CallKind::Answer(response) });
        }
    }
}

impl Drop for Reply {
    fn drop(&mut self) {
        self.put(unanswered());
    }
}

fn unanswered() -> Response {
    Response::text(Status::INTERNAL_SERVER_ERROR, "The program did not answer this request.")
}
