//! What other threads hand to a loop: publications, answers to publishers and to those who join, verdicts of the backend,
//! orders to connections and accepted sockets; and the loop's waker.
//!
//! A mailbox keeps the order in which it was filled; the order of publications is the broker's.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mio::Waker;
use mio::net::TcpStream;

use crate::backend::{Decision, QuestionId};
use crate::hub::Publication;
use crate::server::broker::answer::PublishAnswer;
use crate::server::broker::calls::{CALLS_LEN_MAX, Call, Congested};
use crate::server::broker::memory::publication_len;
use crate::server::limits::Seat;
use crate::server::lock::lock;
use crate::server::waking::Alarm;

/// The loop that does what is done once for the whole server: it accepts sockets, removes what has expired from the
/// broker, publishes the dashboard's figures and the demo's prices, and ends after all others.
pub const FIRST_LOOP: usize = 0;

/// Above this many bytes of publications not yet taken, publishers have to wait. It is a turn's worth: 4 MiB are
/// appended in a few milliseconds; more would cost memory and gain nothing.
pub const MAILBOX_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Above this many bytes to be written for publications not yet taken, a payload counted for each subscriber of the loop,
/// publishers have to wait as well: writing them is the longest part of a turn. Loopback takes 32 MiB in 20 to 30 ms;
/// 1,000 subscribers get 32 KiB each in a write.
const FAN_OUT_MAX: u64 = 32 * 1024 * 1024;

/// The bound on the bytes to be written is not less than this for each subscriber. A turn has one write per subscriber
/// however little is in it, and a write of 13 KB takes 1.4 times as long as one of 100 bytes: in four turns, 128 messages
/// of 100 bytes to 10,000 subscribers cost three times as much as in one.
const FAN_OUT_EACH_MIN: u64 = 16 * 1024;

/// The bytes that may be written for publications, the widest of which has this many subscribers.
pub fn fan_out_max(subscribers: u64) -> u64 {
    FAN_OUT_MAX.max(subscribers.saturating_mul(FAN_OUT_EACH_MIN))
}

/// The way into one loop.
#[derive(Debug)]
pub struct Mailbox {
    publications: Mutex<Publications>,
    publication_bytes: AtomicUsize,
    /// Whether more is to be written for the publications than may be. Changed under their lock.
    is_fan_out_past: AtomicBool,
    others: Mutex<Others>,
    /// The bytes of the calls that are not taken.
    call_bytes: AtomicUsize,
    alarm: Alarm,
}

/// The publications not yet taken.
#[derive(Debug, Default)]
struct Publications {
    list: VecDeque<Arc<Publication>>,
    /// The bytes to be written for them.
    fan_out: u64,
    /// The subscribers of the widest that was added since there was none.
    widest: u64,
}

/// What comes less often than publications.
#[derive(Debug, Default)]
struct Others {
    incoming: Vec<Incoming>,
    answers: Vec<PublishAnswer>,
    orders: Vec<Order>,
    calls: Vec<Call>,
    verdicts: Vec<Verdict>,
    prepared: Vec<JoinAnswer>,
}

/// What the backend has decided for a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The connection's key as a number. The connection may have been closed meanwhile.
    pub connection: u64,
    /// Which question this answers. The connection may wait for another one by now, or for none.
    pub question: QuestionId,
    /// What is decided, in the order of the channels asked about.
    pub decisions: Box<[Decision]>,
}

/// A channel cannot be joined: the engine of many nodes cannot be reached, or does not answer in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("The channel cannot be reached at this time; try again in a second.")
    }
}

/// The answer to the question of a connection whether channels can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The connection's key as a number. The connection may have been closed meanwhile.
    pub connection: u64,
    /// Which question this answers. The connection may wait for another one by now, or for none.
    pub question: u64,
    /// Whether all channels were ready, or one of them was refused. Look again: that may have changed.
    pub outcome: Result<(), Unavailable>,
}

/// A socket that has been accepted.
#[derive(Debug)]
pub struct Incoming {
    pub socket: TcpStream,
    /// What it holds under the limit of its address.
    pub seat: Option<Seat>,
    /// What comes first.
    pub opening: Opening,
}

/// What a connection begins with, by the listener that accepted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// A request.
    Request,
    /// The PROXY header, ahead of a request.
    ProxyHeader,
    /// A TLS handshake, ahead of a request.
    Tls,
}

/// What a connection is to do for a thread that is not its loop's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The connection's key as a number. The connection may have been closed meanwhile.
    pub connection: u64,
    /// What it is to do.
    pub what: OrderKind,
}

/// The kinds of orders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderKind {
    /// Send this message to its Pusher client.
    Send(Arc<str>),
    /// Close its Pusher client: the user's connections are terminated.
    Terminate,
    /// Answer its request: by what it revoked, this number of connections has ended.
    Revoked(usize),
}

impl Mailbox {
    /// An empty mailbox of the loop that `waker` wakes.
    pub fn new(waker: Waker) -> Self {
        Self {
            publications: Mutex::default(),
            publication_bytes: AtomicUsize::new(0),
            is_fan_out_past: AtomicBool::new(false),
            others: Mutex::default(),
            call_bytes: AtomicUsize::new(0),
            alarm: Alarm::new(waker),
        }
    }

    /// Adds a publication for that many subscribers of the loop, and wakes the loop.
    pub fn post(&self, publication: Arc<Publication>, subscribers: u64) {
        self.publication_bytes.fetch_add(publication_len(publication.data.len()), Ordering::Relaxed);
        let fan_out = (publication.data.len() as u64).saturating_mul(subscribers);
        let mut publications = lock(&self.publications);
        publications.list.push_back(publication);
        publications.fan_out = publications.fan_out.saturating_add(fan_out);
        publications.widest = publications.widest.max(subscribers);
        self.is_fan_out_past.store(publications.is_fan_out_past(), Ordering::Relaxed);
        drop(publications);
        self.wake();
    }

    /// Adds an accepted socket and wakes the loop.
    pub fn hand_over(&self, incoming: Incoming) {
        lock(&self.others).incoming.push(incoming);
        self.wake();
    }

    /// Adds the answer to a publication of one of the loop's connections and wakes the loop.
    pub fn answer(&self, answer: PublishAnswer) {
        lock(&self.others).answers.push(answer);
        self.wake();
    }

    /// Adds an order to one of the loop's connections and wakes the loop.
    pub fn order(&self, order: Order) {
        lock(&self.others).orders.push(order);
        self.wake();
    }

    /// Adds a call to one of the loop's connections and wakes the loop.
    ///
    /// # Errors
    /// The loop has not taken earlier calls, and they are too many.
    pub fn call(&self, call: Call) -> Result<(), Congested> {
        if self.call_bytes.load(Ordering::Relaxed) > CALLS_LEN_MAX {
            return Err(Congested);
        }
        self.call_anyway(call);
        Ok(())
    }

    /// The same for what is bounded elsewhere, and must not be lost.
    pub fn call_anyway(&self, call: Call) {
        self.call_bytes.fetch_add(call.held_len(), Ordering::Relaxed);
        lock(&self.others).calls.push(call);
        self.wake();
    }

    /// Adds a verdict for one of the loop's connections and wakes the loop.
    pub fn verdict(&self, verdict: Verdict) {
        lock(&self.others).verdicts.push(verdict);
        self.wake();
    }

    /// Adds the answer to one of the loop's connections whether channels can be joined, and wakes the loop.
    pub fn answer_join(&self, answer: JoinAnswer) {
        lock(&self.others).prepared.push(answer);
        self.wake();
    }

    /// Whether publishers have to wait until the loop has taken what is here.
    pub fn is_congested(&self) -> bool {
        self.publication_bytes.load(Ordering::Relaxed) > MAILBOX_BYTES_MAX
            || self.is_fan_out_past.load(Ordering::Relaxed)
    }

    /// Takes publications from the front, in order, into `into`, which must be empty: those that begin within the first
    /// `len_max` bytes, so at least one if there is one. How many bytes they cost. The loop looks here again before it
    /// waits.
    pub fn take_publications(&self, len_max: usize, into: &mut VecDeque<Arc<Publication>>) -> usize {
        debug_assert!(into.is_empty());
        let mut publications = lock(&self.publications);
        let bytes = publications.take(len_max, into);
        self.is_fan_out_past.store(publications.is_fan_out_past(), Ordering::Relaxed);
        drop(publications);
        self.publication_bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }

    /// Takes the accepted sockets.
    pub fn take_incoming(&self) -> Vec<Incoming> {
        std::mem::take(&mut lock(&self.others).incoming)
    }

    /// Takes the answers to publications of the loop's connections, in the order in which they were added. A connection
    /// may have been closed meanwhile, or wait for another request's answer: key and request number tell.
    pub fn take_answers(&self) -> Vec<PublishAnswer> {
        std::mem::take(&mut lock(&self.others).answers)
    }

    /// Takes the orders to the loop's connections, in the order in which they were added.
    pub fn take_orders(&self) -> Vec<Order> {
        std::mem::take(&mut lock(&self.others).orders)
    }

    /// Takes the calls to the loop's connections, in the order in which they were added.
    pub fn take_calls(&self) -> Vec<Call> {
        let calls = std::mem::take(&mut lock(&self.others).calls);
        let bytes: usize = calls.iter().map(Call::held_len).sum();
        self.call_bytes.fetch_sub(bytes, Ordering::Relaxed);
        calls
    }

    /// Takes the verdicts for the loop's connections, in the order in which they were added.
    pub fn take_verdicts(&self) -> Vec<Verdict> {
        std::mem::take(&mut lock(&self.others).verdicts)
    }

    /// Takes the answers to the loop's connections whether channels can be joined, in the order in which they were added.
    pub fn take_prepared(&self) -> Vec<JoinAnswer> {
        std::mem::take(&mut lock(&self.others).prepared)
    }

    /// Has the loop take another turn.
    pub fn wake(&self) {
        self.alarm.wake();
    }

    /// Call before polling: arms the waker. False if something has arrived, and the poll must not wait.
    pub fn may_sleep(&self) -> bool {
        self.alarm.may_sleep();
        lock(&self.publications).list.is_empty() && lock(&self.others).is_empty()
    }

    /// Call after polling: disarms the waker.
    pub fn is_up(&self) {
        self.alarm.is_up();
    }
}

impl Publications {
    fn is_fan_out_past(&self) -> bool {
        self.fan_out > fan_out_max(self.widest)
    }

    /// As [`Mailbox::take_publications`].
    fn take(&mut self, len_max: usize, into: &mut VecDeque<Arc<Publication>>) -> usize {
        let (mut count, mut bytes) = (0, 0);
        while bytes < len_max
            && let Some(publication) = self.list.get(count)
        {
            bytes += publication_len(publication.data.len());
            count += 1;
        }
        if count == self.list.len() {
            std::mem::swap(&mut self.list, into);
            (self.fan_out, self.widest) = (0, 0);
        } else {
            // In proportion to the number: what each stands for is not kept.
            let rest = u128::from(self.fan_out) * (self.list.len() - count) as u128 / self.list.len() as u128;
            self.fan_out = rest as u64;
            into.extend(self.list.drain(..count));
        }
        bytes
    }
}

impl Others {
    fn is_empty(&self) -> bool {
        self.incoming.is_empty()
            && self.answers.is_empty()
            && self.orders.is_empty()
            && self.calls.is_empty()
            && self.verdicts.is_empty()
            && self.prepared.is_empty()
    }
}

/// A mailbox for each of `polls`.
pub fn mailboxes(polls: &[mio::Poll], token: mio::Token) -> io::Result<Vec<Mailbox>> {
    polls.iter().map(|poll| Ok(Mailbox::new(Waker::new(poll.registry(), token)?))).collect()
}

#[cfg(test)]
mod tests {
    use mio::{Poll, Token};

    use super::*;
    use crate::hub::{PublicationId, Published};
    use crate::server::broker::answer::Receipt;
    use crate::server::broker::memory::PUBLICATION_LEN;

    fn publication(sequence: u64, len: usize) -> Arc<Publication> {
        Arc::new(Publication::test(sequence, vec![0; len]))
    }

    #[test]
    fn what_does_not_fit_a_slice_is_taken_next_in_order_and_keeps_the_loop_awake() {
        let poll = Poll::new().unwrap();
        let mailbox = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap().remove(0);
        for sequence in 1..=5 {
            mailbox.post(publication(sequence, 1000 - PUBLICATION_LEN), 1);
        }
        let take = |len_max| {
            let mut taken = VecDeque::new();
            mailbox.take_publications(len_max, &mut taken);
            taken.iter().map(|publication| publication.id.sequence).collect::<Vec<_>>()
        };
        assert_eq!(take(2001), [1, 2, 3], "those that begin within the slice");
        assert!(!mailbox.may_sleep());
        assert_eq!(take(1), [4], "one at least");
        assert_eq!(take(usize::MAX), [5]);
        assert!(take(usize::MAX).is_empty());
        assert!(mailbox.may_sleep());
        assert_eq!(mailbox.publication_bytes.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn publishers_wait_once_more_than_32_mib_and_16_kib_for_each_subscriber_are_to_be_written() {
        let poll = Poll::new().unwrap();
        let mailbox = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap().remove(0);
        let take = |len_max| mailbox.take_publications(len_max, &mut VecDeque::new());
        mailbox.post(publication(1, 100), 1);
        for sequence in 2..=164 {
            mailbox.post(publication(sequence, 100), 10_000);
            assert!(!mailbox.is_congested(), "{} bytes for each", (sequence - 1) * 100);
        }
        mailbox.post(publication(165, 100), 10_000);
        assert!(mailbox.is_congested(), "16,400 bytes for each");
        take(2 * publication_len(100));
        assert!(!mailbox.is_congested(), "of the widest that has come, though some of them are taken");
        take(usize::MAX);
        mailbox.post(publication(166, 16 * 1024), 2048);
        assert!(!mailbox.is_congested(), "32 MiB");
        mailbox.post(publication(167, 1), 1);
        assert!(mailbox.is_congested(), "and a byte; the wider ones are taken");
    }

    #[test]
    fn an_answer_keeps_the_loop_awake_until_it_is_taken_and_answers_are_in_order() {
        let poll = Poll::new().unwrap();
        let mailbox = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap().remove(0);
        let answer = |request| {
            let id = PublicationId { epoch: 1, sequence: request };
            let outcome = Ok(Receipt::of_new(Published { id, subscribers: 0 }));
            PublishAnswer { connection: 7, request, outcome }
        };
        mailbox.answer(answer(1));
        mailbox.answer(answer(2));
        assert!(!mailbox.may_sleep());
        assert_eq!(mailbox.take_answers(), [answer(1), answer(2)]);
        assert!(mailbox.may_sleep());
    }
}
