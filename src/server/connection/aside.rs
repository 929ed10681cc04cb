//! What few WebSockets have beside their protocol: input that is not processed, what a backend lets them, and what waits.
//!
//! In one box, so that all others have one word for it. What is done with it is in the files of the roles.

use super::awaiting::{LateRead, Wish};
use super::grants::Tenure;

/// What few WebSockets have.
#[derive(Debug, Default)]
pub struct Aside {
    /// Input that was read but not processed, since the share of a turn was used up. `protocol` knows how far it got.
    pub rest: Option<Rest>,
    /// What it may by the word of its backend, if that was asked.
    pub tenure: Option<Box<Tenure>>,
    /// What its client wants to be done, and what waits for the backend or for channels. Nothing further is read until then.
    pub wish: Option<Box<Wish>>,
    /// The channels that its session wants to read, and that cannot be joined yet.
    pub late: Vec<LateRead>,
}

impl Aside {
    /// The bytes of memory that it takes.
    pub fn held_len(&self) -> usize {
        let rest_len = self.rest.as_ref().map_or(0, Rest::held_len);
        let wish_len = self.wish.as_ref().map_or(0, |wish| wish.held_len());
        let late_len = self.late.capacity() * size_of::<LateRead>();
        size_of::<Self>()
            + rest_len
            + wish_len
            + late_len
            + self.tenure.as_ref().map_or(0, |tenure| tenure.held_len())
    }

    /// Whether it has nothing.
    pub fn is_empty(&self) -> bool {
        self.rest.is_none() && self.tenure.is_none() && self.wish.is_none() && self.late.is_empty()
    }
}

/// Input that was read but not processed. Boxed, so that a connection without such input spends one word on it.
#[derive(Debug)]
pub struct Rest {
    bytes: Box<[u8]>,
    /// How many of them are processed: at most half.
    start: usize,
}

impl Rest {
    /// A copy of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self { bytes: bytes.into(), start: 0 }
    }

    /// What is not processed.
    pub fn unread(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// All but the last `len` bytes are processed. What is left is moved once the processed bytes are as many, so that each
    /// byte is moved once on average, however often a little of it is processed.
    pub fn keep_last(&mut self, len: usize) {
        self.start = self.bytes.len() - len;
        if self.start > len {
            *self = Self::new(&self.bytes[self.start..]);
        }
    }

    fn held_len(&self) -> usize {
        self.bytes.len()
    }
}
