//! A connection for other threads: they send to it, hand its session events, and close it; and jobs on threads of the pool.
//!
//! What they hand over waits in the mailbox of the connection's loop.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use bytes::Bytes;

use crate::app::session::Session;
use crate::app::socket::Socket;
use crate::server::broker::calls::{self, Call, CallKind, Congested};
use crate::server::handlers::failure::Outcome;
use crate::server::handlers::link::Address;
use crate::server::handlers::message::Message;
use crate::ws::CloseCode;

/// What an event counts as besides its own size: its box, and its place in a mailbox.
const PARCEL_LEN: usize = 64;

/// A connection for other threads, from [`Socket::remote`]. Clones are of the same connection; each is 24 bytes, may be used on
/// any thread and inside any async runtime, and keeps nothing alive. Nothing here blocks: what is handed over wakes the loop, and
/// is done there in the order of each thread. To a connection that has ended it is dropped; `closed` has told the session.
///
/// ```
/// use fanfare::app::{Message, Outcome, Remote, Session, Socket};
///
/// struct Clock;
///
/// impl Session for Clock {
///     type Event = u64;
///
///     fn message(&mut self, socket: &mut Socket<'_, Self>, _: Message<'_>) -> Outcome {
///         let remote: Remote<Self> = socket.remote();
///         std::thread::spawn(move || remote.event(42));
///         Ok(())
///     }
///
///     fn event(&mut self, socket: &mut Socket<'_, Self>, event: u64) -> Outcome {
///         socket.send(&format!("it is {event}"));
///         Ok(())
///     }
/// }
/// ```
pub struct Remote<S> {
    address: Address,
    session: PhantomData<fn(&S)>,
}

/// What is handed to a session of this type.
pub(super) enum Parcel<S: Session> {
    /// An event.
    Event(S::Event),
    /// What follows on a job.
    Then(Box<Then<S>>),
}

/// What follows on a job.
type Then<S> = dyn FnOnce(&mut S, &mut Socket<'_, S>) -> Outcome + Send;

impl<S: Session> Parcel<S> {
    /// Hands over the result of a job, of which there are few.
    pub fn deliver(self, address: &Address) {
        let what = CallKind::Parcel(calls::Parcel::new(self), PARCEL_LEN);
        address.door.call_anyway(Call { connection: address.connection, what });
    }
}

impl<S> Remote<S> {
    pub(super) fn new(address: Address) -> Self {
        Self { address, session: PhantomData }
    }

    fn call(&self, what: CallKind) -> Result<(), Congested> {
        self.address.door.call(Call { connection: self.address.connection, what })
    }

    /// Sends a message to the peer, as [`Socket::send`] does; its bytes are copied.
    ///
    /// # Errors
    /// The loop has not taken 4 MiB of earlier messages and events. Nothing was handed over.
    pub fn send<'m>(&self, message: impl Into<Message<'m>>) -> Result<(), Congested> {
        let message = message.into();
        self.call(CallKind::Send(message.kind(), Bytes::copy_from_slice(message.bytes())))
    }

    /// Closes the connection.
    ///
    /// # Errors
    /// As [`Remote::send`].
    pub fn close(&self, code: CloseCode, reason: &str) -> Result<(), Congested> {
        self.call(CallKind::Close(code, reason.to_owned()))
    }
}

impl<S: Session> Remote<S> {
    /// Hands the session an event, for which [`Session::event`] is called on its loop.
    ///
    /// # Errors
    /// As [`Remote::send`]. The event is dropped.
    pub fn event(&self, event: S::Event) -> Result<(), Congested> {
        let len = PARCEL_LEN + size_of::<S::Event>();
        self.call(CallKind::Parcel(calls::Parcel::new(Parcel::<S>::Event(event)), len))
    }
}

impl<S> Clone for Remote<S> {
    fn clone(&self) -> Self {
        Self { address: self.address.clone(), session: PhantomData }
    }
}

impl<S> fmt::Debug for Remote<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({})", self.address.connection)
    }
}

/// Other threads.
impl<S: Session> Socket<'_, S> {
    /// The way in for other threads.
    #[must_use]
    pub fn remote(&self) -> Remote<S> {
        Remote::new(self.link.address())
    }

    /// Runs `job` on a thread of the pool, then `then` here with what it returned, if the connection is still there: for what
    /// would block the loop, such as a query or a file. There are [`Config::workers`](crate::Config::workers) threads. A job that
    /// panics closes the connection, as a handler does.
    ///
    /// # Errors
    /// 1,024 jobs wait for a thread. Both closures come back.
    pub fn work<T, J, R>(&mut self, job: J, then: R) -> Result<(), WorkRefused<J, R>>
    where
        T: Send + 'static,
        J: FnOnce() -> T + Send + 'static,
        R: FnOnce(&mut S, &mut Socket<'_, S>, T) -> Outcome + Send + 'static,
    {
        if !self.link.has_worker() {
            return Err(WorkRefused { job, then });
        }
        let address = self.link.address();
        self.link.work(Box::new(move || {
            let result = catch_unwind(AssertUnwindSafe(job));
            let parcel = Parcel::<S>::Then(Box::new(move |session, socket| match result {
                Ok(result) => then(session, socket, result),
                Err(panic) => resume_unwind(panic),
            }));
            parcel.deliver(&address);
        }));
        Ok(())
    }
}

/// A job that was not taken, since too many wait.
pub struct WorkRefused<J, R> {
    /// The job.
    pub job: J,
    /// What was to be done with its result.
    pub then: R,
}

impl<J, R> fmt::Debug for WorkRefused<J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WorkRefused")
    }
}

impl<J, R> fmt::Display for WorkRefused<J, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too many jobs wait for the workers; try again later, or give the server more of them")
    }
}

impl<J, R> std::error::Error for WorkRefused<J, R> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_is_24_bytes_and_goes_to_other_threads_though_its_session_cannot() {
        fn is_shared<T: Clone + Send + Sync>() {}
        struct Local(#[allow(dead_code)] std::rc::Rc<()>);
        is_shared::<Remote<Local>>();
        assert_eq!(size_of::<Remote<Local>>(), 24);
    }
}
