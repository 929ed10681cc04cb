//! One write of a connection: its private bytes and the unsent bytes of its logs, in order, with one system call.
//!
//! What is done before and after is in `sending`.

use std::io::{self, IoSlice};

use super::outbox::Outbox;
use super::stream::{Outlet, Stream};
use super::subscriptions::Several;
use crate::hub::{Hub, Subscription};

/// Runs of bytes in one write of a connection with several subscriptions: enough for one of each of 100 channels, of which a
/// connection may have no more by default. Their vector takes 2 KiB of stack. The system would take 1,024 runs; the rest is
/// for the next write.
const RUNS_MAX: usize = 128;

/// What bytes are written to: a socket, or for a session over HTTP requests the pipe.
pub struct Writer<'a> {
    pub stream: &'a mut Stream,
    pub outlet: Outlet<'a>,
}

impl Writer<'_> {
    fn write(&mut self, runs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.stream.write(runs, &mut self.outlet)
    }

    /// There is no plaintext to be written. What was sealed before still is.
    fn write_sealed(&mut self) -> io::Result<()> {
        if self.stream.sealed_len() == 0 {
            self.stream.forget_refusal();
        } else {
            self.write(&[])?;
        }
        Ok(())
    }
}

/// Writes private bytes. Returns whether there is more.
pub fn write_outbox(writer: &mut Writer<'_>, outbox: &mut Outbox) -> io::Result<bool> {
    let len = outbox.unsent().len();
    if len == 0 {
        writer.write_sealed()?;
        return Ok(false);
    }
    let written = writer.write(&[IoSlice::new(outbox.unsent())])?;
    outbox.consume(written);
    Ok(false)
}

/// Writes private bytes and the log of a single subscription. Returns whether it has more.
pub fn write_one(
    writer: &mut Writer<'_>,
    outbox: &mut Outbox,
    subscription: Subscription,
    hub: &mut Hub,
) -> io::Result<bool> {
    let unread = hub.unread(subscription);
    let outbox_len = outbox.unsent().len();
    let len = outbox_len + unread.len();
    if len == 0 {
        writer.write_sealed()?;
        return Ok(false);
    }
    let (started_len, written) = if outbox_len == 0 {
        (0, writer.write(&[IoSlice::new(unread)])?)
    } else {
        let started_len = hub.started(subscription).len();
        let (started, rest) = unread.split_at(started_len);
        let runs = [started, outbox.unsent(), rest].map(IoSlice::new);
        (started_len, writer.write(&runs)?)
    };
    let from_outbox = written.saturating_sub(started_len).min(outbox_len);
    outbox.consume(from_outbox);
    Ok(hub.advance(subscription, written - from_outbox))
}

/// Writes private bytes and the logs of several subscriptions. Returns whether they have more.
///
/// ```text
///  | rest of the started frame | outbox | log | log | … | rest of its log, if that is last
/// ```
///
/// A log is one run, and one more for each place where the connection steps over frames. The one in which a write ends comes
/// last in the next, so that a channel with many bytes leaves room for the others.
pub fn write_several(
    writer: &mut Writer<'_>,
    outbox: &mut Outbox,
    several: &mut Several,
    hub: &mut Hub,
) -> io::Result<bool> {
    let started = several.started().map_or(&[][..], |entry| hub.started(entry.subscription));
    let mut runs = Runs::new();
    runs.add(started);
    runs.add(outbox.unsent());
    for (at, entry) in several.listed().filter(|(_, entry)| entry.replay.is_none()) {
        let sent_first = if several.is_started(at) { started.len() } else { 0 };
        add_log(&mut runs, entry.subscription, sent_first, hub);
        if runs.is_full() {
            break;
        }
    }
    let mut left = 0;
    if runs.as_slice().is_empty() {
        writer.write_sealed()?;
    } else {
        let started_len = started.len();
        let outbox_len = outbox.unsent().len();
        let written = writer.write(runs.as_slice())?;
        let from_started = written.min(started_len);
        let from_outbox = (written - from_started).min(outbox_len);
        note_started(several, hub, from_started);
        outbox.consume(from_outbox);
        left = written - from_started - from_outbox;
    }
    note_logs(several, hub, left);
    let mut listed = several.listed().filter(|(_, entry)| entry.replay.is_none());
    Ok(listed.any(|(_, entry)| hub.lag(entry.subscription) > 0))
}

/// Adds what a subscriber has yet to read but for the first `sent_first` bytes, which are added already.
fn add_log<'a>(runs: &mut Runs<'a>, subscription: Subscription, sent_first: usize, hub: &'a Hub) {
    // Nearly always one run, without the iterator over several.
    if let Some(run) = hub.unread_whole(subscription) {
        return runs.add(&run[sent_first..]);
    }
    for (at, run) in hub.unread_runs(subscription).enumerate() {
        runs.add(if at == 0 { &run[sent_first..] } else { run });
    }
}

/// What one write offers.
struct Runs<'a> {
    slices: [IoSlice<'a>; RUNS_MAX],
    count: usize,
}

impl<'a> Runs<'a> {
    fn new() -> Self {
        Self { slices: [IoSlice::new(&[]); RUNS_MAX], count: 0 }
    }

    /// Adds a run, unless it is empty or there is no place left: then it is for the next write.
    fn add(&mut self, run: &'a [u8]) {
        if !run.is_empty()
            && let Some(place) = self.slices.get_mut(self.count)
        {
            *place = IoSlice::new(run);
            self.count += 1;
        }
    }

    fn is_full(&self) -> bool {
        self.count == RUNS_MAX
    }

    fn as_slice(&self) -> &[IoSlice<'a>] {
        &self.slices[..self.count]
    }
}

/// Advances the subscription whose frame is started after a write that took `len` bytes of that frame.
fn note_started(several: &mut Several, hub: &mut Hub, len: usize) {
    if let Some(subscription) = several.started().map(|entry| entry.subscription) {
        hub.advance(subscription, len);
        if hub.started(subscription).is_empty() {
            several.finish_started();
        }
    }
}

/// Advances the subscriptions after a write that took `left` bytes of their logs besides the started frame, and takes those
/// that have nothing more to send from the list.
fn note_logs(several: &mut Several, hub: &mut Hub, mut left: usize) {
    for _ in 0..several.listed_len() {
        let Some((at, entry)) = several.listed().next() else { break };
        if entry.replay.is_some() {
            several.put_first_last();
            continue;
        }
        let subscription = entry.subscription;
        let (taken, has_more) = hub.advance_within(subscription, left);
        left -= taken;
        if !has_more {
            several.unlist_first();
            continue;
        }
        if taken > 0 {
            several.note_end(at, !hub.started(subscription).is_empty());
            several.put_first_last();
        }
        break;
    }
    debug_assert_eq!(left, 0, "every written byte belongs to a subscription");
}
