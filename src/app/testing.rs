//! A session without a socket, for the tests of programs: what is done to it is said by the test, and what it does is recorded.
//!
//! A whole server for tests is a [`Server`](crate::Server) on port 0 with one loop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::app::session::Session;
use crate::app::typed::Typed;
use crate::config::Config;
use crate::hub::{ChannelName, PublicationId, Published};
use crate::server::broker::calls::{Call, CallKind, Congested};
use crate::server::broker::draft::Draft;
use crate::server::handlers::actor::Actor;
use crate::server::handlers::failure::Outcome;
use crate::server::handlers::link::{Address, ConnectionId, Door, Form, Link, To};
use crate::server::handlers::message::{Closed, Message};
use crate::server::{Handle, PublishError};
use crate::ws::{CloseCode, MessageKind};

/// A session without a socket. Each method calls the session as a connection would; what that sends, publishes, subscribes to,
/// arms and closes is recorded. Jobs of [`Socket::work`](crate::app::Socket::work) are run at once, and what remotes hand over is
/// handed over after the call. There is no peer and nobody else: nothing is ever congested or refused for want of room,
/// [`Socket::queued`](crate::app::Socket::queued) is 0, and a reason of [`Socket::close`](crate::app::Socket::close) is kept as it
/// was given, where a Close frame has 122 bytes of it. A publication has at most 1 MiB, as with the default of
/// [`Config`](crate::Config).
///
/// ```
/// use fanfare::ChannelName;
/// use fanfare::app::{Message, Outcome, Session, SessionTest, Socket};
///
/// struct Player { nick: &'static str, room: ChannelName, steps: u32 }
///
/// impl Session for Player {
///     type Event = ();
///
///     fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
///         self.steps += 1;
///         socket.send("ok");
///         let step = message.text().unwrap_or("?");
///         socket.publish(&self.room, format!("{} {step} {}", self.nick, self.steps))
///     }
/// }
///
/// let mut test = SessionTest::new(Player { nick: "ada", room: ChannelName::new("attic")?, steps: 0 });
/// test.message("left");
/// assert_eq!((test.sent(), test.published()), (vec!["ok"], vec![("attic", "ada left 1")]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SessionTest<S: Session> {
    /// `None` once it has panicked.
    session: Option<Typed<S>>,
    record: Record,
}

/// What a session has done.
#[derive(Debug, Default)]
struct Record {
    sent: Vec<(MessageKind, Vec<u8>)>,
    published: Vec<(String, String)>,
    subscribed: Vec<ChannelName>,
    timer: Option<Duration>,
    closed: Option<(CloseCode, String)>,
    door: Arc<TestDoor>,
}

/// What remotes and jobs have handed over.
#[derive(Debug, Default)]
struct TestDoor(Mutex<Vec<Call>>);

impl TestDoor {
    fn take(&self) -> Vec<Call> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<S: Session> SessionTest<S> {
    /// A session that has not been opened.
    #[must_use]
    pub fn new(session: S) -> Self {
        Self { session: Some(Typed(session)), record: Record::default() }
    }

    /// Opens it.
    pub fn open(&mut self) -> &mut Self {
        self.call(|session, link| session.open(link))
    }

    /// A message comes.
    pub fn message<'m>(&mut self, message: impl Into<Message<'m>>) -> &mut Self {
        let message = message.into();
        self.call(|session, link| session.message(link, message))
    }

    /// The peer has taken everything.
    pub fn drain(&mut self) -> &mut Self {
        self.call(|session, link| session.drain(link))
    }

    /// Another thread sends an event.
    pub fn event(&mut self, event: S::Event) -> &mut Self {
        self.call(|session, link| session.0.event(&mut crate::app::Socket::new(link), event))
    }

    /// The server stops.
    pub fn stopping(&mut self) -> &mut Self {
        self.call(|session, link| session.stopping(link))
    }

    /// Time passes: the timer is called each time that it is due, with what was left of the time when it set itself again.
    pub fn advance(&mut self, time: Duration) -> &mut Self {
        let mut left = time;
        while let Some(after) = self.record.timer.filter(|after| *after <= left) {
            left -= after;
            self.record.timer = None;
            self.call(|session, link| session.timer(link));
        }
        self.record.timer = self.record.timer.map(|after| after - left);
        self
    }

    /// The connection ends. `server` is what the session is told it by: the handle of a [`Server`](crate::Server) on port 0.
    pub fn closed(self, server: &Handle, closed: Closed<'_>) {
        if let Some(session) = self.session {
            Box::new(session).closed(server, closed);
        }
    }

    fn call(&mut self, call: impl FnOnce(&mut Typed<S>, &mut dyn Link) -> Outcome) -> &mut Self {
        self.call_once(call);
        // What is handed over may hand over more.
        loop {
            let calls = self.record.door.take();
            if calls.is_empty() {
                return self;
            }
            calls.into_iter().for_each(|call| self.receive(call.what));
        }
    }

    fn receive(&mut self, what: CallKind) {
        match what {
            CallKind::Send(kind, payload) => self.record.send(kind, &payload),
            CallKind::Close(code, reason) => self.record.close(code, &reason),
            CallKind::Parcel(parcel, _) => {
                self.call_once(|session, link| session.parcel(link, parcel.open()))
            }
            CallKind::Answer(_) => unreachable!("a session has no request to answer"),
        }
    }

    fn call_once(&mut self, call: impl FnOnce(&mut Typed<S>, &mut dyn Link) -> Outcome) {
        let Self { session: place, record } = self;
        let Some(session) = place else { return };
        if record.closed.is_some() {
            return;
        }
        match catch_unwind(AssertUnwindSafe(|| call(session, record))) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                let (code, reason) = failure.told();
                record.close(code, reason);
            }
            Err(_) => {
                *place = None;
                record.close(CloseCode::INTERNAL_ERROR, "a handler panicked");
            }
        }
    }
}

/// What it has done.
impl<S: Session> SessionTest<S> {
    /// The texts that were sent. Binary messages are in [`SessionTest::sent_binary`].
    #[must_use]
    pub fn sent(&self) -> Vec<&str> {
        let texts = self.record.sent.iter().filter(|(kind, _)| *kind == MessageKind::Text);
        texts.filter_map(|(_, payload)| str::from_utf8(payload).ok()).collect()
    }

    /// The binary messages that were sent.
    #[must_use]
    pub fn sent_binary(&self) -> Vec<&[u8]> {
        let binary = self.record.sent.iter().filter(|(kind, _)| *kind == MessageKind::Binary);
        binary.map(|(_, payload)| payload.as_slice()).collect()
    }

    /// What was published: channels and payloads. Of a binary payload what is UTF-8.
    #[must_use]
    pub fn published(&self) -> Vec<(&str, &str)> {
        self.record.published.iter().map(|(channel, payload)| (channel.as_str(), payload.as_str())).collect()
    }

    /// The channels that it reads now.
    #[must_use]
    pub fn subscribed(&self) -> Vec<&str> {
        self.record.subscribed.iter().map(ChannelName::as_str).collect()
    }

    /// In what time its timer is due, if it is set.
    #[must_use]
    pub fn timer(&self) -> Option<Duration> {
        self.record.timer
    }

    /// What it was closed with, by itself, by an error (1011) or by a panic (1011). It is called no more then.
    #[must_use]
    pub fn close(&self) -> Option<(CloseCode, &str)> {
        self.record.closed.as_ref().map(|(code, reason)| (*code, reason.as_str()))
    }

    /// Whether it has panicked.
    #[must_use]
    pub fn panicked(&self) -> bool {
        self.session.is_none()
    }

    /// The session, to look into it; `None` if it has panicked.
    #[must_use]
    pub fn session(&self) -> Option<&S> {
        self.session.as_ref().map(|session| &session.0)
    }

    /// Forgets what was sent and published so far.
    pub fn clear(&mut self) -> &mut Self {
        self.record.sent.clear();
        self.record.published.clear();
        self
    }
}

impl Link for Record {
    fn send(&mut self, kind: MessageKind, payload: &[u8]) {
        if self.closed.is_none() {
            self.sent.push((kind, payload.to_vec()));
        }
    }

    fn write(&mut self, write: &mut dyn FnMut(&mut Vec<u8>) -> Outcome) -> Outcome {
        let mut text = Vec::new();
        write(&mut text)?;
        self.send(MessageKind::Text, &text);
        Ok(())
    }

    fn subscribe(&mut self, channel: &ChannelName, _: Form) -> Outcome {
        if channel.is_reserved() {
            return Err(PublishError::Reserved.into());
        }
        if !self.subscribed.contains(channel) {
            self.subscribed.push(channel.clone());
        }
        Ok(())
    }

    fn unsubscribe(&mut self, channel: &ChannelName) {
        self.subscribed.retain(|known| known != channel);
    }

    fn publish(&mut self, draft: Draft, _: To) -> Result<Option<Published>, PublishError> {
        let len_max = Config::default().publication_len_max();
        if draft.payload().len() as u64 > len_max {
            return Err(PublishError::TooLong { len_max });
        }
        let payload = String::from_utf8_lossy(draft.payload()).into_owned();
        self.published.push((draft.channel_name().as_str().to_owned(), payload));
        let id = PublicationId { epoch: 1, sequence: self.published.len() as u64 };
        Ok(Some(Published { id, subscribers: 0 }))
    }

    fn close(&mut self, code: CloseCode, reason: &str) {
        self.closed.get_or_insert_with(|| (code, reason.to_owned()));
    }

    fn queued(&self) -> usize {
        0
    }

    fn set_timer(&mut self, after: Option<Duration>) {
        self.timer = after.map(|after| after.max(Duration::from_millis(1)));
    }

    fn id(&self) -> ConnectionId {
        ConnectionId { loop_index: 0, connection: 1 }
    }

    fn address(&self) -> Address {
        let door: Arc<dyn Door> = Arc::<TestDoor>::clone(&self.door);
        Address { door, connection: 1 }
    }

    fn has_worker(&self) -> bool {
        true
    }

    fn work(&mut self, job: Box<dyn FnOnce() + Send>) {
        job();
    }
}

impl Door for TestDoor {
    fn call(&self, call: Call) -> Result<(), Congested> {
        self.call_anyway(call);
        Ok(())
    }

    fn call_anyway(&self, call: Call) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::{Failure, Socket};

    /// Ticks every second; does what a test asks for.
    struct Ticker(u32);

    impl Session for Ticker {
        type Event = u32;

        fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
            socket.set_timer(Duration::from_secs(1));
            socket.subscribe(&ChannelName::new("ticks")?)
        }

        fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
            match message.text() {
                Some("job") => socket.work(
                    || 6 * 7,
                    |session, socket, answer| {
                        session.0 = answer;
                        socket.send_json(&answer)
                    },
                )?,
                Some("job that panics") => socket.work(|| panic!("in the job"), |_, _, ()| Ok(()))?,
                Some("remote") => {
                    let remote = socket.remote();
                    std::thread::spawn(move || remote.event(5)).join().expect("it hands over")?;
                }
                Some("refuse") => return Err(Failure::close(CloseCode::POLICY_VIOLATION, "no")),
                Some("panic") => panic!("as asked"),
                Some("long") => socket.publish(&ChannelName::new("ticks")?, vec![b'x'; 1024 * 1024 + 1])?,
                Some(_) | None => socket.send(message),
            }
            Ok(())
        }

        fn timer(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
            self.0 += 1;
            socket.set_timer(Duration::from_secs(1));
            socket.publish(&ChannelName::new("ticks")?, self.0.to_string())
        }

        fn event(&mut self, socket: &mut Socket<'_, Self>, event: u32) -> Outcome {
            socket.send(&format!("event {event}"));
            Ok(())
        }
    }

    fn opened() -> SessionTest<Ticker> {
        let mut test = SessionTest::new(Ticker(0));
        test.open();
        test
    }

    #[test]
    fn a_publication_that_is_too_long_fails_as_it_does_with_a_server() {
        let mut test = opened();
        test.message("long");
        assert!(test.published().is_empty());
        assert_eq!(test.close().map(|(code, _)| code), Some(CloseCode::INTERNAL_ERROR));
    }

    #[test]
    fn a_timer_that_sets_itself_again_is_called_as_often_as_the_time_lasts() {
        let mut test = opened();
        assert_eq!((test.subscribed(), test.timer()), (vec!["ticks"], Some(Duration::from_secs(1))));
        test.advance(Duration::from_millis(2_500));
        assert_eq!(test.published(), [("ticks", "1"), ("ticks", "2")]);
        assert_eq!(test.timer(), Some(Duration::from_millis(500)));
    }

    #[test]
    fn jobs_and_remotes_are_done_after_the_call() {
        let mut test = opened();
        test.message("job").message("remote").event(7).message(b"\x00");
        assert_eq!(test.sent(), ["42", "event 5", "event 7"]);
        assert_eq!((test.sent_binary(), test.session().map(|it| it.0)), (vec![&b"\x00"[..]], Some(42)));
    }

    #[test]
    fn a_session_that_closed_or_panicked_is_called_no_more() {
        let mut test = opened();
        test.message("refuse").message("echo");
        assert_eq!((test.close(), test.sent().len()), (Some((CloseCode::POLICY_VIOLATION, "no")), 0));
        for panic in ["panic", "job that panics"] {
            let mut test = opened();
            test.message(panic).message("echo");
            assert_eq!((test.panicked(), test.sent().len()), (true, 0), "{panic}");
        }
    }
}
