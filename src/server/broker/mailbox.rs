//! What other threads hand to a loop: publications and accepted sockets, and the waking of it.
//!
//! The order of publications is the broker's to keep; a mailbox keeps the order in which it was filled.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use mio::Waker;
use mio::net::TcpStream;

use crate::hub::Publication;
use crate::server::lock::lock;

/// Above this many bytes of publications not yet taken, publishers have to wait. It is a turn's worth: 4 MiB are
/// appended in some milliseconds; more would only be memory.
pub const MAILBOX_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Above this many bytes to be written for publications not yet taken, a payload counted for each subscriber of the loop,
/// publishers have to wait as well: writing them is the longest part of a turn. Loopback takes 32 MiB in 20 to 30 ms;
/// 1,000 subscribers get 32 KiB each in a write.
pub const FAN_OUT_MAX: u64 = 32 * 1024 * 1024;

/// What an entry costs besides its payload: the shared publication, its names, the reference in the mailbox.
const PUBLICATION_OVERHEAD: usize = 160;

/// The way into one loop.
#[derive(Debug)]
pub struct Mailbox {
    publications: Mutex<VecDeque<Arc<Publication>>>,
    publication_bytes: AtomicUsize,
    /// What is to be written for them. Changed under the lock of the publications.
    fan_out: AtomicU64,
    sockets: Mutex<Vec<TcpStream>>,
    /// Whether the loop is at work, or woken already. It is then going to look here before it waits.
    is_awake: AtomicBool,
    waker: Waker,
}

impl Mailbox {
    /// An empty mailbox of the loop that `waker` wakes.
    pub fn new(waker: Waker) -> Self {
        Self {
            publications: Mutex::default(),
            publication_bytes: AtomicUsize::new(0),
            fan_out: AtomicU64::new(0),
            sockets: Mutex::default(),
            is_awake: AtomicBool::new(false),
            waker,
        }
    }

    /// Adds a publication for so many subscribers of the loop, and wakes it.
    pub fn post(&self, publication: Arc<Publication>, subscribers: u64) {
        self.publication_bytes.fetch_add(cost(&publication), Ordering::Relaxed);
        let fan_out = (publication.data.len() as u64).saturating_mul(subscribers);
        let mut publications = lock(&self.publications);
        self.fan_out.fetch_add(fan_out, Ordering::Relaxed);
        publications.push_back(publication);
        drop(publications);
        self.wake();
    }

    /// Adds an accepted socket and wakes the loop.
    pub fn hand_over(&self, socket: TcpStream) {
        lock(&self.sockets).push(socket);
        self.wake();
    }

    /// Whether more is waiting than the loop should be given.
    pub fn is_congested(&self) -> bool {
        self.publication_bytes.load(Ordering::Relaxed) > MAILBOX_BYTES_MAX
            || self.fan_out.load(Ordering::Relaxed) > FAN_OUT_MAX
    }

    /// Takes publications from the front, in order, into `into`, which must be empty: those that begin within the first
    /// `len_max` bytes, so at least one if there is one. How many bytes they cost. The loop looks here again before it waits.
    pub fn take_publications(&self, len_max: usize, into: &mut VecDeque<Arc<Publication>>) -> usize {
        debug_assert!(into.is_empty());
        let mut publications = lock(&self.publications);
        let (mut count, mut bytes) = (0, 0);
        while bytes < len_max
            && let Some(publication) = publications.get(count)
        {
            bytes += cost(publication);
            count += 1;
        }
        let fan_out = self.fan_out.load(Ordering::Relaxed);
        if count == publications.len() {
            self.fan_out.store(0, Ordering::Relaxed);
            std::mem::swap(&mut *publications, into);
        } else {
            // In proportion to the number: what each stands for is not kept.
            let rest = fan_out as u128 * (publications.len() - count) as u128 / publications.len() as u128;
            self.fan_out.store(rest as u64, Ordering::Relaxed);
            into.extend(publications.drain(..count));
        }
        drop(publications);
        self.publication_bytes.fetch_sub(bytes, Ordering::Relaxed);
        bytes
    }

    /// Takes the sockets that are there.
    pub fn take_sockets(&self) -> Vec<TcpStream> {
        std::mem::take(&mut *lock(&self.sockets))
    }

    /// Makes the loop look at everything once more. It is woken at most once a turn.
    pub fn wake(&self) {
        if !self.is_awake.swap(true, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            unreachable!("an eventfd or pipe of our own takes one wake a turn: {error}");
        }
    }

    /// Said by the loop before it waits: from now on it has to be woken. False if something came in meanwhile
    /// and it should not wait.
    pub fn may_sleep(&self) -> bool {
        // A swap, so that the loop sees all that was done before a wake that found it awake.
        self.is_awake.swap(false, Ordering::SeqCst);
        lock(&self.publications).is_empty() && lock(&self.sockets).is_empty()
    }

    /// Said by the loop when it is back from waiting.
    pub fn is_up(&self) {
        self.is_awake.store(true, Ordering::SeqCst);
    }
}

fn cost(publication: &Publication) -> usize {
    publication.data.len() + PUBLICATION_OVERHEAD
}

/// A mailbox for each of `polls`.
pub fn mailboxes(polls: &[mio::Poll], token: mio::Token) -> io::Result<Vec<Mailbox>> {
    polls.iter().map(|poll| Ok(Mailbox::new(Waker::new(poll.registry(), token)?))).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;
    use crate::hub::{ChannelName, Content, Frames, PublicationId};

    fn publication(sequence: u64, len: usize) -> Arc<Publication> {
        Arc::new(Publication {
            channel: ChannelName::new("a").unwrap(),
            id: PublicationId { epoch: 1, sequence },
            event: None,
            content: Content::Binary,
            data: vec![0; len].into(),
            frames: Frames::default(),
        })
    }

    /// How often the loop is woken without waiting.
    fn wakes(poll: &mut Poll) -> usize {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().count()
    }

    #[test]
    fn what_does_not_fit_a_slice_is_taken_next_in_order_and_keeps_the_loop_awake() {
        let poll = Poll::new().unwrap();
        let mailbox = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap().remove(0);
        for sequence in 1..=5 {
            mailbox.post(publication(sequence, 1000 - PUBLICATION_OVERHEAD), 1);
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
    fn a_loop_is_woken_once_a_turn_and_not_while_it_is_at_work() {
        let mut poll = Poll::new().unwrap();
        let mailbox = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap().remove(0);
        assert!(mailbox.may_sleep());
        mailbox.wake();
        mailbox.wake();
        assert_eq!(wakes(&mut poll), 1);
        mailbox.is_up();
        mailbox.wake();
        assert_eq!(wakes(&mut poll), 0, "it looks here before it waits");
        assert!(mailbox.may_sleep());
        mailbox.wake();
        assert_eq!(wakes(&mut poll), 1);
    }
}
