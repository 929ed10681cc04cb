//! One TLS session of a server over buffers of its caller: bytes of the wire in, plaintext out, and the other way round.
//!
//! No socket is known here, and no byte is kept: what is left of the input is the caller's. The only file that knows the
//! types of rustls' sessions.
//!
//! How to drive it:
//!
//! 1. [`Session::receive`] gets all that is left of the input and what was read after it. What it did not use comes first in
//!    the next call, as `receive` has left it: records are decrypted in place.
//! 2. [`Session::seal`] and [`Session::close_notify`] get the same rest. The session refers to bytes in it.
//! 3. What `receive` appends to `to_send` and what the other two write goes to the wire in the order of the calls, also after
//!    an error: it may be the alert.

use std::fmt;
use std::sync::Arc;

use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    AppDataRecord, ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
    WriteTraffic,
};
use rustls::{Error, HandshakeKind, ProtocolVersion, ServerConfig, SupportedCipherSuite};

use super::received::{Ending, Fault, FaultKind, Handshake, NotSealed, Received, Version};

/// Under TLS 1.2 a key is good for a number of records, and cannot be renewed. This many of them are kept for the end of the
/// connection: a Close frame, what is ahead of it, and the alert.
const RECORDS_KEPT: u64 = 64;

/// A session with one peer.
pub struct Session {
    connection: UnbufferedServerConnection,
    /// How many more records may be sealed.
    records_left: u64,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("records_left", &self.records_left).finish_non_exhaustive()
    }
}

impl Session {
    /// A session that expects a ClientHello. `None` if rustls refuses the configuration, with which no server starts.
    pub fn new(config: &Arc<ServerConfig>) -> Option<Self> {
        let connection = UnbufferedServerConnection::new(Arc::clone(config)).ok()?;
        Some(Self { connection, records_left: u64::MAX })
    }

    /// Whether the peer's Finished has not come yet, so that nothing can be sealed.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the keys are used up but for what ends the connection.
    pub fn is_spent(&self) -> bool {
        self.records_left <= RECORDS_KEPT
    }

    /// Takes every complete record of `input`. `plain` gets the plaintext and is no shorter than `input`; `to_send` gets what
    /// the session itself has to say: handshake, tickets, alerts.
    pub fn receive(&mut self, input: &mut [u8], plain: &mut [u8], to_send: &mut Vec<u8>) -> Received {
        let was_handshaking = self.is_handshaking();
        let mut received = Received::default();
        let failed = loop {
            let rest = &mut input[received.used_len..];
            let UnbufferedStatus { mut discard, state } = self.connection.process_tls_records(rest);
            let is_done = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(AppDataRecord { discard: more, payload })) = traffic.next_record() {
                        plain[received.plain_len..][..payload.len()].copy_from_slice(payload);
                        received.plain_len += payload.len();
                        discard += more;
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(to_send, |room| data.encode(room).map_err(required));
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    received.ending = Some(Ending::PeerDone);
                    false
                }
                Ok(_) => true,
                Err(error) => {
                    received.used_len += discard;
                    break Some(error);
                }
            };
            received.used_len += discard;
            if is_done {
                break None;
            }
        };
        if was_handshaking && !self.is_handshaking() {
            received.established = self.begin();
        }
        if let Some(error) = failed {
            self.fetch_alert(&mut input[received.used_len..], to_send);
            received.ending = Some(Ending::Failed(fault(&error)));
        }
        received
    }

    /// Encrypts `plain`, at most [`PLAIN_LEN_MAX`](super::received::PLAIN_LEN_MAX) bytes of it as one record, into the front of
    /// `record`, which grows if it is too short. Returns how many bytes of it are to be sent. `kept` is what is left of the
    /// input.
    ///
    /// # Errors
    /// The handshake is not complete, or the keys are used up, or the session has failed. Then nothing was encrypted.
    pub fn seal(&mut self, kept: &mut [u8], plain: &[u8], record: &mut Vec<u8>) -> Result<usize, NotSealed> {
        let len = self.write_traffic(kept, record, |traffic, room| traffic.encrypt(plain, room))?;
        self.records_left = self.records_left.saturating_sub(1);
        Ok(len)
    }

    /// Says that nothing more follows, unless an alert has said so already: as [`Session::seal`] does.
    ///
    /// # Errors
    /// As there.
    pub fn close_notify(&mut self, kept: &mut [u8], record: &mut Vec<u8>) -> Result<usize, NotSealed> {
        self.write_traffic(kept, record, |traffic, room| traffic.queue_close_notify(room))
    }

    /// Brings the session to where it encrypts, and calls `write` there, again with more room if it asks for that.
    fn write_traffic(
        &mut self,
        kept: &mut [u8],
        record: &mut Vec<u8>,
        mut write: impl FnMut(
            &mut WriteTraffic<'_, ServerConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<usize, NotSealed> {
        let mut len = 0;
        loop {
            // `kept` has no complete record, so nothing of it is used up. Without it, rustls 0.23.46 panics where the peer
            // has sent a part of a handshake message.
            match self.connection.process_tls_records(kept).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    len += fit(record, len, |room| data.encode(room).map_err(required))
                        .map_err(|_| NotSealed::Over)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let written =
                        fit(record, len, |room| write(&mut traffic, room).map_err(required_to_seal));
                    return written.map(|written| len + written).map_err(|_| NotSealed::Spent);
                }
                Ok(ConnectionState::BlockedHandshake) => return Err(NotSealed::Handshaking),
                Ok(_) | Err(_) => return Err(NotSealed::Over),
            }
        }
    }

    /// The handshake is complete.
    fn begin(&mut self) -> Option<Handshake> {
        if let Some(SupportedCipherSuite::Tls12(suite)) = self.connection.negotiated_cipher_suite() {
            self.records_left = suite.common.confidentiality_limit;
        }
        let version = match self.connection.protocol_version()? {
            ProtocolVersion::TLSv1_2 => Version::Tls12,
            // rustls has no other.
            _ => Version::Tls13,
        };
        let is_resumed = self.connection.handshake_kind() == Some(HandshakeKind::Resumed);
        Some(Handshake { version, is_resumed })
    }

    /// After an error the session still has the alert. Called once more than that, it would process the input again.
    fn fetch_alert(&mut self, rest: &mut [u8], to_send: &mut Vec<u8>) {
        while self.connection.wants_write() {
            let Ok(ConnectionState::EncodeTlsData(mut data)) =
                self.connection.process_tls_records(rest).state
            else {
                return;
            };
            append(to_send, |room| data.encode(room).map_err(required));
        }
    }
}

/// Appends what `write` writes, once it says how long that is.
fn append(out: &mut Vec<u8>, write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) {
    let at = out.len();
    // The other error, that it was written before, cannot come: each is written once.
    let len = fit(out, at, write).unwrap_or(0);
    out.truncate(at + len);
}

/// Has `write` write to `out` behind the first `at` bytes, again with more room if it asks for that.
///
/// # Errors
/// It cannot, whatever the room.
fn fit(
    out: &mut Vec<u8>,
    at: usize,
    mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>,
) -> Result<usize, ()> {
    loop {
        match write(&mut out[at..]) {
            Ok(len) => return Ok(len),
            Err(Some(required)) => out.resize(at + required, 0),
            Err(None) => return Err(()),
        }
    }
}

/// How much room there has to be.
fn required(error: EncodeError) -> Option<usize> {
    match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncodeError::AlreadyEncoded => None,
    }
}

fn required_to_seal(error: EncryptError) -> Option<usize> {
    match error {
        EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => Some(required_size),
        EncryptError::EncryptExhausted => None,
    }
}

fn fault(error: &Error) -> Fault {
    let kind = match error {
        Error::AlertReceived(_) => FaultKind::Alert,
        _ => FaultKind::Protocol,
    };
    Fault { kind, what: error.to_string().into() }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
