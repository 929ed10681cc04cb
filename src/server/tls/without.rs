//! In the place of sessions where the feature `tls` is not compiled in: there are none.
//!
//! Nothing is ever called here: a configuration with an address for TLS is refused.

use super::{NotSealed, Received};

/// What a server would offer in handshakes.
#[derive(Clone, Debug)]
pub enum Terms {}

/// A session that cannot be.
#[derive(Debug)]
pub enum Session {}

impl Session {
    /// None.
    pub fn new(terms: &Terms) -> Option<Self> {
        match *terms {}
    }

    /// Never called.
    pub fn is_handshaking(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn is_spent(&self) -> bool {
        match *self {}
    }

    /// Never called.
    pub fn receive(&mut self, _input: &mut [u8], _plain: &mut [u8], _to_send: &mut Vec<u8>) -> Received {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn seal(&mut self, _kept: &mut [u8], _plain: &[u8], _record: &mut Vec<u8>) -> Result<usize, NotSealed> {
        match *self {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn close_notify(&mut self, _kept: &mut [u8], _record: &mut Vec<u8>) -> Result<usize, NotSealed> {
        match *self {}
    }
}
