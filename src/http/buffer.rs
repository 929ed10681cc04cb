//! The bytes that were received and are not yet used. It knows nothing of HTTP.

/// Received bytes, consumed from the front without moving the rest.
///
/// ```text
///   bytes:  GET /a HTTP/1.1 …␍␊␍␊ GET /b HT
///           ^                     ^         ^
///           0                   start      len        unread = bytes[start..]
/// ```
///
/// Invariant: `start < bytes.len()`, or both are 0 and the allocation is given back: a connection that has
/// nothing to say owns no heap memory.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    start: usize,
}

impl Buffer {
    /// Appends bytes to those that are held.
    pub fn append(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.start = 0;
        }
        self.bytes.extend_from_slice(bytes);
        self.check();
    }

    /// The bytes that are not yet used.
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// Forgets the first `len` unread bytes.
    pub fn consume(&mut self, len: usize) {
        self.start += len;
        if self.start == self.bytes.len() {
            *self = Self::default();
        }
        self.check();
    }

    /// Gives the unread bytes away.
    #[must_use]
    pub fn take(&mut self) -> Vec<u8> {
        let mut taken = std::mem::take(self);
        taken.bytes.drain(..taken.start);
        taken.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    fn check(&self) {
        debug_assert!(
            self.start < self.bytes.len() || (self.start == 0 && self.bytes.capacity() == 0),
            "start {} of {} bytes, capacity {}",
            self.start,
            self.bytes.len(),
            self.bytes.capacity(),
        );
    }

    /// What it owns on the heap, in bytes.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consumed_bytes_are_gone_and_the_rest_stays() {
        let mut buffer = Buffer::default();
        buffer.append(b"abcdef");
        buffer.consume(2);
        assert_eq!(buffer.unread(), b"cdef");
        buffer.append(b"g");
        assert_eq!(buffer.unread(), b"cdefg");
        buffer.consume(1);
        assert_eq!(buffer.take(), b"defg");
        assert!(buffer.is_empty());
    }

    #[test]
    fn an_empty_buffer_owns_no_memory() {
        let mut buffer = Buffer::default();
        buffer.append(b"");
        buffer.append(b"abc");
        buffer.consume(3);
        assert_eq!(buffer.capacity(), 0);
    }
}
