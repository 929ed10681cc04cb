//! TLS in the process, as it is configured: where it is spoken, with which certificates, and what plain listeners say then.
//!
//! The files are read, and sessions are made, by `server::tls`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// TLS at addresses of its own. The default is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Addresses that speak TLS, besides those of [`Config::listen`](super::Config::listen), which are plain. Port 0 takes a
    /// free one.
    pub listen: Vec<SocketAddr>,
    /// The certificates with their keys. A client gets the first whose names fit the one it asks for, else the first.
    pub pairs: Vec<TlsPair>,
    /// Whether the plain listeners answer 308 to `https://` with the port of the first of `listen`, to everything but
    /// `/healthz` and `/readyz`.
    pub redirect_https: bool,
    /// The `max-age` of `Strict-Transport-Security` in answers over TLS. `None`: not sent, since it outlives a mistake in
    /// every browser that has seen it.
    pub hsts: Option<Duration>,
}

/// A certificate and its private key, in files that are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsPair {
    /// The certificate and those up to a root, in this order, as PEM.
    pub cert: PathBuf,
    /// The private key of the first, as PEM, not encrypted. May be the same file.
    pub key: PathBuf,
}

impl Tls {
    /// Checks the values together. `plain` are the addresses that are listened on without TLS.
    pub(super) fn check(&self, plain: &[SocketAddr]) -> Result<(), TlsFault> {
        let asked = [
            ("--tls-listen", !self.listen.is_empty()),
            ("--tls-cert", !self.pairs.is_empty()),
            ("--redirect-https", self.redirect_https),
            ("--hsts", self.hsts.is_some()),
        ];
        let mut asked = asked.into_iter().filter(|(_, is_asked)| *is_asked).map(|(flag, _)| flag);
        let Some(first) = asked.next() else { return Ok(()) };
        if !cfg!(feature = "tls") {
            return Err(TlsFault::NotBuilt(first));
        }
        if self.listen.is_empty() {
            return Err(TlsFault::NoListen(first));
        }
        if self.pairs.is_empty() {
            return Err(TlsFault::NoPair);
        }
        if self.redirect_https && plain.is_empty() {
            return Err(TlsFault::NothingToRedirect);
        }
        let is_both = |address: &&SocketAddr| address.port() != 0 && plain.contains(address);
        match self.listen.iter().find(is_both) {
            Some(&address) => Err(TlsFault::Both(address)),
            None => Ok(()),
        }
    }
}

/// What is refused of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFault {
    /// This flag, in a program that was built without TLS.
    NotBuilt(&'static str),
    /// This flag, without an address that speaks TLS.
    NoListen(&'static str),
    /// An address that speaks TLS, without a certificate.
    NoPair,
    /// Plain listeners are to redirect, and there is none.
    NothingToRedirect,
    /// An address that is to be plain as well.
    Both(SocketAddr),
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBuilt(flag) => write!(
                f,
                "{flag}: this program was built without TLS. Build it with the cargo feature `tls`, which is on by default, \
                 or have a proxy speak TLS"
            ),
            Self::NoListen(flag) => write!(
                f,
                "{flag}: no address speaks TLS. Add --tls-listen ADDR, such as --tls-listen 0.0.0.0:443, or leave {flag} out"
            ),
            Self::NoPair => f.write_str(
                "--tls-listen: TLS needs a certificate and its key. Add --tls-cert FILE and --tls-key FILE, both PEM, such as \
                 certbot's fullchain.pem and privkey.pem",
            ),
            Self::NothingToRedirect => f.write_str(
                "--redirect-https: no plain address is listened on that could redirect. Add --listen ADDR, such as --listen \
                 0.0.0.0:80, or leave --redirect-https out",
            ),
            Self::Both(address) => write!(
                f,
                "--tls-listen {address}: --listen has this address too, and one of them can have it. Give another port to \
                 one, such as --listen 127.0.0.1:8080 --tls-listen 0.0.0.0:443"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, ConfigError};

    fn pair() -> TlsPair {
        TlsPair { cert: "c.pem".into(), key: "k.pem".into() }
    }

    fn tls() -> Tls {
        Tls { listen: vec!["127.0.0.1:8443".parse().unwrap()], pairs: vec![pair()], ..Tls::default() }
    }

    fn said(tls: Tls) -> String {
        Config { tls, ..Config::default() }.check().unwrap_err().to_string()
    }

    #[test]
    #[cfg(feature = "tls")]
    fn an_address_with_a_pair_is_right_beside_a_plain_one_and_alone() {
        assert_eq!(Config { tls: tls(), ..Config::default() }.check(), Ok(()));
        assert_eq!(Config { tls: tls(), listen: Vec::new(), ..Config::default() }.check(), Ok(()));
        assert_eq!(Config { listen: Vec::new(), ..Config::default() }.check(), Err(ConfigError::NoListen));
        let with_all = Tls { redirect_https: true, hsts: Some(Duration::ZERO), ..tls() };
        assert_eq!(Config { tls: with_all, ..Config::default() }.check(), Ok(()));
    }

    #[test]
    #[cfg(feature = "tls")]
    fn what_does_nothing_alone_is_refused_with_what_it_needs() {
        let nothing = Tls::default;
        let listen = tls().listen;
        for (tls, start, remedy) in [
            (Tls { listen, ..nothing() }, "--tls-listen: ", "--tls-cert FILE and --tls-key FILE"),
            (Tls { pairs: vec![pair()], ..nothing() }, "--tls-cert: ", "--tls-listen ADDR"),
            (Tls { redirect_https: true, ..nothing() }, "--redirect-https: ", "--tls-listen ADDR"),
            (Tls { hsts: Some(Duration::ZERO), ..nothing() }, "--hsts: ", "--tls-listen ADDR"),
        ] {
            let words = said(tls);
            assert!(words.starts_with(start) && words.contains(remedy), "{words}");
        }
        let redirecting = Tls { redirect_https: true, ..tls() };
        let words = Config { tls: redirecting, listen: Vec::new(), ..Config::default() }.check().unwrap_err();
        assert!(words.to_string().starts_with("--redirect-https: no plain address"), "{words}");
    }

    #[test]
    #[cfg(feature = "tls")]
    fn an_address_cannot_be_plain_and_tls() {
        let words = said(Tls { listen: vec!["127.0.0.1:8080".parse().unwrap()], ..tls() });
        assert!(words.starts_with("--tls-listen 127.0.0.1:8080: --listen has this address too"), "{words}");
        let free = || vec!["127.0.0.1:0".parse().unwrap()];
        let config = Config { listen: free(), tls: Tls { listen: free(), ..tls() }, ..Config::default() };
        assert_eq!(config.check(), Ok(()));
    }

    #[test]
    #[cfg(feature = "tls")]
    fn an_address_beyond_loopback_needs_a_key_with_tls_as_well() {
        let words = said(Tls { listen: vec!["0.0.0.0:443".parse().unwrap()], ..tls() });
        assert!(words.starts_with("--tls-listen 0.0.0.0:443: other machines can reach"), "{words}");
        assert!(words.contains("--publish-key KEY") && words.contains("--insecure"), "{words}");
        let exposed = Tls { listen: vec!["0.0.0.0:443".parse().unwrap()], ..tls() };
        let config = Config { insecure: true, tls: exposed, ..Config::default() };
        assert_eq!((config.check(), config.is_development()), (Ok(()), false));
    }

    #[test]
    #[cfg(not(feature = "tls"))]
    fn a_program_without_tls_says_so_of_each_flag() {
        for (tls, flag) in [
            (tls(), "--tls-listen: "),
            (Tls { listen: Vec::new(), ..tls() }, "--tls-cert: "),
            (Tls { redirect_https: true, ..Tls::default() }, "--redirect-https: "),
            (Tls { hsts: Some(Duration::ZERO), ..Tls::default() }, "--hsts: "),
        ] {
            let words = said(tls);
            assert!(words.starts_with(flag) && words.contains("built without TLS"), "{words}");
        }
        assert_eq!(Config::default().check(), Ok::<(), ConfigError>(()));
    }
}
