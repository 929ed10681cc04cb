//! How a thread that waits in a poll is woken by others: at most once a wait, and, where a thread says so, not before it has
//! put down all that it has for them.
//!
//! What is put where, and what the woken thread does with it, is not known here.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::Waker;

thread_local! {
    /// Whom this thread wakes when its [`Hold`] ends, if it has one.
    static HELD: RefCell<Option<Vec<Arc<Waker>>>> = const { RefCell::new(None) };
}

/// Wakes the thread of a poll, unless it works or was woken.
///
/// How that thread drives it: 1. [`Alarm::may_sleep`], and a look at what others may have put for it; if there is something, the poll
/// must not wait. 2. The poll. 3. [`Alarm::is_up`].
#[derive(Debug)]
pub struct Alarm {
    /// Whether the thread is working, or was woken. It then looks at what was put for it before it polls.
    is_awake: AtomicBool,
    waker: Arc<Waker>,
}

impl Alarm {
    /// That of a thread which has not waited yet.
    pub fn new(waker: Waker) -> Self {
        Self { is_awake: AtomicBool::new(false), waker: Arc::new(waker) }
    }

    /// Has the thread look at what was put for it. While this thread holds its wakes back, it is woken at the end of that.
    pub fn wake(&self) {
        if self.is_awake.swap(true, Ordering::SeqCst) {
            return;
        }
        let is_held = HELD.with_borrow_mut(|held| match held {
            Some(held) => {
                held.push(Arc::clone(&self.waker));
                true
            }
            None => false,
        });
        if !is_held {
            wake(&self.waker);
        }
    }

    /// From now on the thread is woken by what is put for it.
    pub fn may_sleep(&self) {
        // A swap, so that the thread sees all that was done before a wake that found it awake.
        self.is_awake.swap(false, Ordering::SeqCst);
    }

    /// The thread works.
    pub fn is_up(&self) {
        self.is_awake.store(true, Ordering::SeqCst);
    }
}

/// Holds back the wakes of a thread until it is dropped: who is woken then finds all that was put meanwhile, and does it at once.
/// Within another one it changes nothing.
#[derive(Debug)]
#[must_use]
pub struct Hold {
    is_outer: bool,
}

/// Holds back the wakes of this thread. Not for longer than others may wait.
pub fn hold() -> Hold {
    HELD.with_borrow_mut(|held| {
        let is_outer = held.is_none();
        held.get_or_insert_default();
        Hold { is_outer }
    })
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.is_outer {
            let held = HELD.with_borrow_mut(Option::take);
            held.into_iter().flatten().for_each(|waker| wake(&waker));
        }
    }
}

fn wake(waker: &Waker) {
    if let Err(error) = waker.wake() {
        unreachable!("an eventfd or pipe of our own takes one wake a turn: {error}");
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll, Token};

    use super::*;

    fn alarm() -> (Poll, Alarm) {
        let poll = Poll::new().unwrap();
        let alarm = Alarm::new(Waker::new(poll.registry(), Token(0)).unwrap());
        (poll, alarm)
    }

    /// How often the thread is woken without waiting.
    fn wakes(poll: &mut Poll) -> usize {
        let mut events = Events::with_capacity(8);
        poll.poll(&mut events, Some(Duration::ZERO)).unwrap();
        events.iter().count()
    }

    #[test]
    fn a_thread_is_woken_once_a_wait_and_not_while_it_is_at_work() {
        let (mut poll, alarm) = alarm();
        alarm.may_sleep();
        alarm.wake();
        alarm.wake();
        assert_eq!(wakes(&mut poll), 1);
        alarm.is_up();
        alarm.wake();
        assert_eq!(wakes(&mut poll), 0, "it looks before it waits");
        alarm.may_sleep();
        alarm.wake();
        assert_eq!(wakes(&mut poll), 1);
    }

    #[test]
    fn what_is_held_back_wakes_at_the_end_of_the_outer_hold() {
        let (mut poll, alarm) = alarm();
        alarm.may_sleep();
        let outer = hold();
        let inner = hold();
        alarm.wake();
        drop(inner);
        assert_eq!(wakes(&mut poll), 0);
        drop(outer);
        assert_eq!(wakes(&mut poll), 1);
        alarm.may_sleep();
        alarm.wake();
        assert_eq!(wakes(&mut poll), 1, "nothing is held back any more");
    }

    #[test]
    fn a_thread_that_holds_back_keeps_no_other_from_waking() {
        let (mut poll, alarm) = alarm();
        alarm.may_sleep();
        let _hold = hold();
        std::thread::scope(|scope| drop(scope.spawn(|| alarm.wake())));
        assert_eq!(wakes(&mut poll), 1);
    }
}
