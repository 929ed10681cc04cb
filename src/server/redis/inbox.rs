//! What other threads hand to the thread that talks to Redis.
//!
//! What is done with it is that thread's.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mio::Waker;

use super::place::Resolved;
use crate::hub::ChannelName;
use crate::server::broker::draft::Draft;
use crate::server::broker::engine::tidings::Tiding;
use crate::server::broker::engine::waiting::JoinWaiter;
use crate::server::broker::engine::{Sequencer, Ticket};
use crate::server::lock::lock;
use crate::server::waking::Alarm;

/// Above this many bytes of publications that wait for Redis, publishers are read no further. A batch of 64 takes a
/// millisecond, so it is more than a Redis that keeps up ever has waiting; one that does not is given so much to remember.
const WAITING_LEN_MAX: usize = 16 * 1024 * 1024;

/// What a publication costs here besides its payload.
const PUBLICATION_LEN: usize = 512;

/// One thing to do.
#[derive(Debug)]
pub enum Order {
    /// Publish.
    Publish(Draft, Ticket),
    /// Have a channel ready, and tell who waits for it.
    Want(ChannelName, JoinWaiter),
    /// A channel has other subscribers than before.
    Count(ChannelName),
    /// Other nodes are to know something of who is in a channel.
    Members(ChannelName),
    /// A cache channel had no event for a new subscriber.
    Missed(ChannelName),
    /// Tell the other nodes.
    Tell(Tiding),
    /// The name of the line with this number was resolved.
    Resolved(usize, Resolved),
    /// Publish what waits, tell the other nodes, and end.
    Stop,
}

/// The way to the thread.
#[derive(Debug)]
pub struct Inbox {
    orders: Mutex<Vec<Order>>,
    /// The bytes of the publications in `orders`.
    len: AtomicUsize,
    /// Those that the thread has taken, and are not answered.
    taken_len: AtomicUsize,
    alarm: Alarm,
    timeout: Duration,
}

impl Inbox {
    /// An empty one of the thread that `waker` wakes. What waits for Redis waits for `timeout` at most.
    pub fn new(waker: Waker, timeout: Duration) -> Self {
        Self {
            orders: Mutex::default(),
            len: AtomicUsize::new(0),
            taken_len: AtomicUsize::new(0),
            alarm: Alarm::new(waker),
            timeout,
        }
    }

    /// How long anybody waits for Redis.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Adds an order and wakes the thread.
    pub fn put(&self, order: Order) {
        self.len.fetch_add(len_of(&order), Ordering::Relaxed);
        lock(&self.orders).push(order);
        self.alarm.wake();
    }

    /// Takes all orders, in the order in which they were put.
    pub fn take(&self) -> Vec<Order> {
        let orders = std::mem::take(&mut *lock(&self.orders));
        let len: usize = orders.iter().map(len_of).sum();
        self.taken_len.fetch_add(len, Ordering::Relaxed);
        self.len.fetch_sub(len, Ordering::Relaxed);
        orders
    }

    /// So many bytes of those that were taken are not answered now.
    pub fn note_taken(&self, taken_len: usize) {
        self.taken_len.store(taken_len, Ordering::Relaxed);
    }

    /// Whether publishers have to wait.
    pub fn is_congested(&self) -> bool {
        self.len.load(Ordering::Relaxed) + self.taken_len.load(Ordering::Relaxed) > WAITING_LEN_MAX
    }

    /// Call before waiting: false if something has been put, and the thread must not wait.
    pub fn may_sleep(&self) -> bool {
        self.alarm.may_sleep();
        lock(&self.orders).is_empty()
    }

    /// Call after waiting.
    pub fn is_up(&self) {
        self.alarm.is_up();
    }
}

fn len_of(order: &Order) -> usize {
    match order {
        Order::Publish(draft, _) => draft.data.len() + PUBLICATION_LEN,
        Order::Want(..)
        | Order::Count(_)
        | Order::Members(_)
        | Order::Missed(_)
        | Order::Tell(_)
        | Order::Resolved(..)
        | Order::Stop => 0,
    }
}

impl Sequencer for Inbox {
    fn sequence(&self, draft: Draft, ticket: Ticket) {
        self.put(Order::Publish(draft, ticket));
    }

    fn want(&self, channel: &ChannelName, waiter: JoinWaiter) {
        self.put(Order::Want(channel.clone(), waiter));
    }

    fn count_changed(&self, channel: &ChannelName) {
        self.put(Order::Count(channel.clone()));
    }

    fn members_changed(&self, channel: &ChannelName) {
        self.put(Order::Members(channel.clone()));
    }

    fn cache_missed(&self, channel: &ChannelName) {
        self.put(Order::Missed(channel.clone()));
    }

    fn tell(&self, tiding: Tiding) {
        self.put(Order::Tell(tiding));
    }

    fn join_timeout(&self) -> Duration {
        self.timeout
    }

    fn is_congested(&self) -> bool {
        Self::is_congested(self)
    }
}
