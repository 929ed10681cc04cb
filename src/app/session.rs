//! A session: what a program does with one connection, behind the trait that it implements.
//!
//! What it may do to the connection is in `socket`.

use crate::app::socket::Socket;
use crate::server::Handle;
use crate::server::handlers::failure::Outcome;
use crate::server::handlers::message::{Closed, Message};

/// What a program does with one WebSocket connection, and what it knows of it: the type is the connection's state.
///
/// A session is made from the request by the factory of [`Server::websocket`], belongs to the connection, and stays on its event
/// loop until it ends, so it need not be `Send`. Its methods are called one at a time: `open`, then `message` for each message in
/// order, with `timer`, `event` and `drain` between them, then `closed`. They must not block, since the loop serves nobody else
/// meanwhile: [`Socket::work`] is for that. What returns an `Err` closes the connection: with 1011 and a log line if it is an
/// error, or as [`Failure::close`] says. A panic closes it with 1011 too; the session is dropped then without `closed`.
///
/// ```
/// use fanfare::app::{Message, Outcome, Session, Socket};
///
/// /// Sends back how many messages have come.
/// struct Counter(u64);
///
/// impl Session for Counter {
///     type Event = ();
///
///     fn message(&mut self, socket: &mut Socket<'_, Self>, _: Message<'_>) -> Outcome {
///         self.0 += 1;
///         socket.send(&self.0.to_string());
///         Ok(())
///     }
/// }
///
/// # use fanfare::app::SessionTest;
/// let mut test = SessionTest::new(Counter(0));
/// test.message("a").message("b");
/// assert_eq!(test.sent(), ["1", "2"]);
/// ```
///
/// [`Server::websocket`]: crate::Server::websocket
/// [`Failure::close`]: crate::app::Failure::close
pub trait Session: Sized + 'static {
    /// What other threads send to the session by [`Remote::event`](crate::app::Remote::event). `()` for a session that is sent
    /// nothing.
    type Event: Send + 'static;

    /// The handshake has been answered.
    ///
    /// # Errors
    /// Closes the connection.
    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        let _ = socket;
        Ok(())
    }

    /// A message has come: whole, and at most [`Config::max_message`](crate::Config::max_message) bytes.
    ///
    /// # Errors
    /// Closes the connection.
    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome;

    /// The peer has taken everything, after more than 64 KiB had waited for it and it was not read.
    ///
    /// # Errors
    /// Closes the connection.
    fn drain(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        let _ = socket;
        Ok(())
    }

    /// The time is over that [`Socket::set_timer`] has set.
    ///
    /// # Errors
    /// Closes the connection.
    fn timer(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        let _ = socket;
        Ok(())
    }

    /// Another thread has sent an event.
    ///
    /// # Errors
    /// Closes the connection.
    fn event(&mut self, socket: &mut Socket<'_, Self>, event: Self::Event) -> Outcome {
        let _ = (socket, event);
        Ok(())
    }

    /// The server stops: what is sent here is sent before the connection is closed with 1001.
    ///
    /// # Errors
    /// Means nothing: the connection is closed in any case.
    fn stopping(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        let _ = socket;
        Ok(())
    }

    /// The connection has ended, whatever ended it: called exactly once after `open`, unless a handler has panicked. Nothing can
    /// be sent to it any more.
    fn closed(self, server: &Handle, closed: Closed<'_>) {
        let _ = (server, closed);
    }
}
