//! What sessions tell of what they received, and of what they cannot seal.
//!
//! Nothing is decrypted or encrypted here.

/// The most plaintext of a record (RFC 8446 §5.1).
pub const PLAIN_LEN_MAX: usize = 16_384;

/// The longest record on the wire: header, plaintext, and what a suite adds to it (RFC 8446 §5.2).
pub const RECORD_LEN_MAX: usize = 5 + PLAIN_LEN_MAX + 256;

/// The first byte of a session: that of a handshake record (RFC 8446 §5.1).
pub const HANDSHAKE: u8 = 0x16;

/// The fatal alert `internal_error`, in clear (RFC 8446 §6): for a peer that is not let in.
pub const INTERNAL_ERROR: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 80];

/// The fatal alert `decode_error`, in clear: for a peer whose handshake message is longer than any has to be.
pub const DECODE_ERROR: [u8; 7] = [0x15, 3, 3, 0, 2, 2, 50];

/// The fatal alert `protocol_version`, in clear: for a peer that speaks TLS where it is not spoken.
pub const PROTOCOL_VERSION: [u8; 7] = [0x15, 3, 1, 0, 2, 2, 70];

/// What came of received bytes.
#[derive(Debug, Default)]
pub struct Received {
    /// How many of them are used up, from the front.
    pub used_len: usize,
    /// How many bytes of plaintext they had.
    pub plain_len: usize,
    /// The handshake that they completed.
    pub established: Option<Handshake>,
    /// Whether the peer sends no more, or nothing more can be read.
    pub ending: Option<Ending>,
}

/// How the input of a session ends.
#[derive(Debug, PartialEq, Eq)]
pub enum Ending {
    /// The peer has said that nothing more follows (`close_notify`). What it is sent it still takes.
    PeerDone,
    /// The session has failed. The alert, if there is one, is the last to be sent.
    Failed(Fault),
}

/// Why a session has failed.
#[derive(Debug, PartialEq, Eq)]
pub struct Fault {
    /// The kind, for counting.
    pub kind: FaultKind,
    /// What is wrong, for a log line.
    pub what: Box<str>,
}

/// The kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The peer speaks HTTP without TLS.
    PlainHttp,
    /// The peer has sent an alert: it does not trust the certificate, say.
    Alert,
    /// What the peer sent is not TLS, not a version or suite that is spoken here, or breaks a rule.
    Protocol,
}

/// A handshake that is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The version that was agreed.
    pub version: Version,
    /// Whether a ticket took the place of keys and signature.
    pub is_resumed: bool,
}

/// The versions of TLS that are spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

/// Why nothing was encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSealed {
    /// The handshake is not complete.
    Handshaking,
    /// Under TLS 1.2 the keys are used up.
    Spent,
    /// The session has failed or ended.
    Over,
}
