//! Where a session without a socket writes: a buffer of whole lines, which the event loop takes after each flush and hands
//! to the request that carries the session.
//!
//! Which request that is, is not known here.

use std::io::IoSlice;

use crate::pusher::fallback::session::cut;

/// The lines of one flush, shared by all sessions of a loop.
#[derive(Debug, Default)]
pub struct Pipe {
    lines: Vec<u8>,
    room: usize,
}

impl Pipe {
    /// Opens it for one session: the lines that begin within `room` bytes are taken.
    pub fn open(&mut self, room: usize) {
        debug_assert!(self.lines.is_empty(), "the lines of the last flush were taken");
        self.room = room;
    }

    /// Takes whole lines, as a socket takes bytes. Returns how many bytes were taken.
    pub fn write(&mut self, runs: &[IoSlice<'_>]) -> usize {
        let len_before = self.lines.len();
        for run in runs {
            let taken = cut(run, self.room);
            self.lines.extend_from_slice(&run[..taken]);
            self.room = self.room.saturating_sub(taken);
            if taken < run.len() {
                break;
            }
        }
        self.lines.len() - len_before
    }

    /// Whether nothing was written since the lines were taken.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Takes the lines.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.lines)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_taken_whole_over_all_runs_until_the_room_is_used_up() {
        let mut pipe = Pipe::default();
        pipe.open(6);
        let runs: [&[u8]; 4] = [b"", b"aa\nbb\n", b"cc\n", b"dd\n"];
        assert_eq!(pipe.write(&runs.map(IoSlice::new)), 6);
        assert_eq!(pipe.write(&[IoSlice::new(b"ee\n")]), 0);
        assert_eq!(pipe.take(), b"aa\nbb\n");
        assert!(pipe.is_empty());
        pipe.open(7);
        assert_eq!(pipe.write(&runs.map(IoSlice::new)), 9, "the line that begins within the room");
    }

    #[test]
    fn a_closed_pipe_takes_nothing() {
        let mut pipe = Pipe::default();
        assert_eq!(pipe.write(&[IoSlice::new(b"a\n")]), 0);
        pipe.open(0);
        assert_eq!(pipe.write(&[IoSlice::new(b"a\n")]), 0);
        assert!(pipe.is_empty());
    }
}
