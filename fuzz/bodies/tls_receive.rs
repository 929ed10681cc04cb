//! What a connection keeps between reads of TLS records: any cut of a client's bytes gives the same plaintext, and changed
//! bytes give the beginning of it and an end.
//!
//! May be refused: bytes that were changed on their way, and nothing else.
//!
//! Input: the version (1 byte), cuts, which byte of the wire is changed (2 bytes; 0: none) and how (1 byte), how much the
//! server's socket takes at once (1 byte), then what the client does: 2 bytes each, a kind and a length.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::sync::{Arc, LazyLock};

use arbitrary::Unstructured;
use fanfare::server::bare_tls::{Ending, Sealing, Session, TlsLayer};
use rustls::client::ClientConnection;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};

use super::input::{byte, cuts, pick, pieces};

/// A key and a certificate of `a.test`, which are used nowhere else.
const PEM: &[u8] = include_bytes!("tls_receive.pem");

/// As much as a loop reads at once.
const BUFFER_LEN: usize = 128 * 1024;

/// What a client does that is no plaintext.
const STEPS_MAX: usize = 24;

static SERVER: LazyLock<Arc<ServerConfig>> = LazyLock::new(|| {
    let certificate = CertificateDer::from_pem_slice(PEM).expect("it is one");
    let key = PrivateKeyDer::from_pem_slice(PEM).expect("it is one");
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().expect("both").with_no_client_auth();
    Arc::new(config.with_single_cert(vec![certificate], key).expect("they belong together"))
});

fn client(version: &'static SupportedProtocolVersion) -> ClientConnection {
    static CONFIGS: LazyLock<[Arc<ClientConfig>; 2]> = LazyLock::new(|| {
        [&rustls::version::TLS13, &rustls::version::TLS12].map(|version| {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_slice(PEM).expect("it is one")).expect("it is one");
            let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
            let config = config.with_protocol_versions(&[version]).expect("it is spoken");
            Arc::new(config.with_root_certificates(roots).with_no_client_auth())
        })
    });
    let config = &CONFIGS[usize::from(version == &rustls::version::TLS12)];
    ClientConnection::new(Arc::clone(config), ServerName::try_from("a.test").expect("a name"))
        .expect("it fits")
}

/// The server's socket.
struct Socket {
    arrived: Vec<u8>,
    written: Vec<u8>,
    room: usize,
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.arrived.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let len = self.arrived.len().min(buffer.len());
        buffer[..len].copy_from_slice(&self.arrived[..len]);
        self.arrived.drain(..len);
        Ok(len)
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(self.room);
        if len == 0 {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.room -= len;
        self.written.extend_from_slice(&bytes[..len]);
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Both sides, and what has passed between them.
struct World<'a> {
    layer: Box<TlsLayer>,
    socket: Socket,
    client: ClientConnection,
    buffer: Vec<u8>,
    sealing: Sealing,
    /// In which pieces the client's bytes come.
    sizes: &'a [u8],
    /// Which byte of them is changed, and how.
    change: Option<(usize, u8)>,
    carried: usize,
    sent: Vec<u8>,
    received: Vec<u8>,
    /// What the server wants to say and has said.
    owed: Vec<u8>,
    answered: Vec<u8>,
    is_over: bool,
    room: usize,
}

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let version = pick(&mut input, &[&rustls::version::TLS13, &rustls::version::TLS12]);
    let sizes = cuts(&mut input);
    let at = usize::from(byte(&mut input)) << 8 | usize::from(byte(&mut input));
    let how = byte(&mut input);
    let room = usize::from(byte(&mut input)) * 40;
    let mut world = World {
        layer: TlsLayer::new(Session::new(&SERVER).expect("the configuration is right")),
        socket: Socket { arrived: Vec::new(), written: Vec::new(), room: 0 },
        client: client(version),
        buffer: vec![0; BUFFER_LEN],
        sealing: Sealing::default(),
        sizes,
        change: at.checked_sub(1).filter(|_| how != 0).map(|at| (at, how)),
        carried: 0,
        sent: Vec::new(),
        received: Vec::new(),
        owed: Vec::new(),
        answered: Vec::new(),
        is_over: false,
        room: if room == 0 { usize::MAX } else { room },
    };
    for _ in 0..STEPS_MAX {
        if input.is_empty() || world.is_over {
            break;
        }
        let (kind, len) = (byte(&mut input), usize::from(byte(&mut input)));
        world.step(kind, len);
    }
    world.finish();
}

impl World<'_> {
    fn step(&mut self, kind: u8, len: usize) {
        match kind % 6 {
            0 => self.say(len),
            1 => self.say(len * 300),
            2 if !self.client.is_handshaking() => {
                // TLS 1.2 has no such thing.
                let _ = self.client.refresh_traffic_keys();
            }
            3 => self.owed.extend(std::iter::repeat_n(len as u8, len * 100)),
            2 | 4 => self.carry(),
            _ => self.answer(),
        }
    }

    fn say(&mut self, len: usize) {
        let bytes = vec![len as u8; len];
        // It takes as much as it has room for.
        let taken = self.client.writer().write(&bytes).unwrap_or(0);
        self.sent.extend_from_slice(&bytes[..taken]);
    }

    /// Brings what the client has to send, in pieces, and what the server says to that.
    fn carry(&mut self) {
        let mut bytes = Vec::new();
        while self.client.wants_write() {
            self.client.write_tls(&mut bytes).expect("a vector takes every write");
        }
        if let Some((at, how)) = self.change
            && let Some(byte) = at.checked_sub(self.carried).and_then(|at| bytes.get_mut(at))
        {
            *byte ^= how;
        }
        self.carried += bytes.len();
        for piece in pieces(&bytes, self.sizes) {
            self.socket.arrived.extend_from_slice(piece);
            while !self.socket.arrived.is_empty() {
                self.read();
            }
            self.answer();
        }
    }

    fn read(&mut self) {
        let arrival =
            self.layer.read(&mut self.socket, &mut self.buffer, BUFFER_LEN).expect("the socket is whole");
        let Some(arrival) = arrival else { return };
        if !self.is_over {
            self.received.extend_from_slice(&self.buffer[arrival.bytes]);
        }
        if let Some(ending) = arrival.ending {
            assert!(matches!(ending, Ending::Failed(_)), "the client has not said its end");
            assert!(self.change.is_some(), "{ending:?}: nothing was changed");
            self.is_over = true;
        }
        assert!(self.layer.held_len() <= 4 * 20 * 1024, "{} held", self.layer.held_len());
    }

    fn answer(&mut self) {
        self.socket.room = self.room;
        let progress = self.layer.write(&mut self.socket, &[IoSlice::new(&self.owed)], &mut self.sealing);
        let taken = progress.expect("the session is whole").taken;
        self.owed.drain(..taken);
        let written = std::mem::take(&mut self.socket.written);
        let mut written = written.as_slice();
        while !written.is_empty() && !self.is_over {
            let is_read = self.client.read_tls(&mut written).is_ok_and(|len| len > 0);
            if !is_read || self.client.process_new_packets().is_err() {
                assert!(self.change.is_some(), "the client understands what it is sent");
                self.is_over = true;
                return;
            }
            let mut some = [0; 4096];
            while let Ok(len @ 1..) = self.client.reader().read(&mut some) {
                self.answered.extend_from_slice(&some[..len]);
            }
        }
    }

    fn finish(&mut self) {
        // The handshake is three flights, and a slow socket has each piece of them in time; then what is owed, with its records.
        for _ in 0..4000 + 2 * self.owed.len() / self.room {
            let is_quiet =
                !self.client.wants_write() && !self.client.is_handshaking() && self.owed.is_empty();
            if self.is_over || is_quiet && self.layer.sealed_len() == 0 {
                break;
            }
            self.carry();
            self.answer();
        }
        assert!(self.sent.starts_with(&self.received), "nothing but what was sent, in order");
        if self.change.is_none() {
            assert_eq!(self.received.len(), self.sent.len(), "all of it");
            assert_eq!(self.layer.held_len(), 0, "a complete record is not kept");
            assert!(self.owed.is_empty());
        }
    }
}
