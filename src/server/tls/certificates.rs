//! Certificates with their keys, read from files and checked: all of them or none.
//!
//! When they are read is decided by `store`; which names they stand for by `names`.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::SignatureScheme;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::sign::CertifiedKey;
use webpki::{EndEntityCert, KeyUsage};

use super::fault::{CertificateFault, FileFault};
use super::names::Names;
use super::pem;
use crate::config::TlsPair;

/// The longest file. A chain has 5 to 10 KB; a device that is named by mistake may have no end.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// How many names of a certificate a log line has.
const NAMED_MAX: usize = 5;

/// The certificates of a server, of which there is at least one.
#[derive(Debug)]
pub struct Certificates {
    all: Vec<Certificate>,
    names: Names,
}

/// A certificate with its key.
#[derive(Clone, Debug)]
struct Certificate {
    pair: TlsPair,
    certified: Arc<CertifiedKey>,
    /// Those of its subjectAltName that are DNS names. A CN is no name: browsers do not look at it.
    names: Vec<String>,
    validity: Validity,
}

/// From when to when, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Validity {
    not_before_s: u64,
    not_after_s: u64,
}

impl Certificates {
    /// Reads the pairs, of which there is at least one. Those of `before` that are in pipes, which can be read only once,
    /// stay as they are.
    ///
    /// # Errors
    /// Names the first file that is wrong.
    pub fn read(
        pairs: &[TlsPair],
        before: Option<&Self>,
        provider: &CryptoProvider,
    ) -> Result<Self, CertificateFault> {
        let read = pairs.iter().map(|pair| match before.and_then(|before| before.only_once(pair)) {
            Some(kept) => Ok(kept.clone()),
            None => Certificate::read(pair, provider),
        });
        let all = read.collect::<Result<Vec<_>, _>>()?;
        let names = Names::new(all.iter().map(|certificate| certificate.names.as_slice()));
        Ok(Self { all, names })
    }

    fn only_once(&self, pair: &TlsPair) -> Option<&Certificate> {
        let is_regular = |path: &Path| path.metadata().is_ok_and(|metadata| metadata.is_file());
        let is_gone = |path: &Path| path.symlink_metadata().is_err();
        let is_pipe = [&pair.cert, &pair.key].iter().any(|path| !is_regular(path) && !is_gone(path));
        self.all.iter().find(|certificate| is_pipe && certificate.pair == *pair)
    }

    /// The certificate for a client that asks for this name and can verify these signatures: of those of the name an ECDSA
    /// one first, since it costs a quarter of RSA to sign with.
    pub fn choose(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Arc<CertifiedKey> {
        let of_name = || self.names.of(name).iter().map(|&number| &self.all[number]);
        let fits = |certificate: &&Certificate| certificate.certified.key.choose_scheme(schemes).is_some();
        // A client without a name gets the first, unless it cannot use it.
        let any = || self.all.iter().find(fits);
        let chosen = of_name().filter(fits).min_by_key(|certificate| !certificate.is_ecdsa()).or_else(any);
        Arc::clone(&chosen.unwrap_or(&self.all[0]).certified)
    }

    /// What is to be said of files that are right: at this time, in seconds since 1970.
    pub fn warnings(&self, now_s: u64) -> Vec<String> {
        let times = self.all.iter().filter_map(|certificate| certificate.what_is_wrong_now(now_s));
        times.chain(self.listed_twice()).collect()
    }

    fn listed_twice(&self) -> impl Iterator<Item = String> {
        let twice = |(name, numbers): (&str, &[usize])| {
            let same = |a: usize, b: usize| self.all[a].is_ecdsa() == self.all[b].is_ecdsa();
            let mut pairs = numbers.iter().enumerate().flat_map(|(at, &a)| {
                let after = numbers[at + 1..].iter();
                after.map(move |&b| (a, b))
            });
            let (used, unused) = pairs.find(|&(a, b)| same(a, b))?;
            let (used, unused) = (self.all[used].file(), self.all[unused].file());
            Some(format!(
                "--tls-cert: {name} is in {used} and in {unused}; clients get the first. Leave one of them out"
            ))
        };
        self.names.all().into_iter().filter_map(twice).collect::<Vec<_>>().into_iter()
    }

    /// Names and ends, for one log line.
    pub fn summary(&self) -> String {
        let one = |certificate: &Certificate| {
            format!("{} until {}", certificate.said_names(), date(certificate.validity.not_after_s))
        };
        self.all.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    /// The first name of each certificate and when it ends, in seconds since 1970; where several have the same, the earliest
    /// end. One without a name goes by its file.
    pub fn ends(&self) -> Vec<(String, u64)> {
        let mut ends: Vec<_> = self
            .all
            .iter()
            .map(|certificate| {
                let name = certificate.names.first().cloned();
                (name.unwrap_or_else(|| certificate.file()), certificate.validity.not_after_s)
            })
            .collect();
        ends.sort();
        ends.dedup_by(|later, earlier| later.0 == earlier.0);
        ends
    }

    /// Whether clients are sent the same as with the others.
    pub fn is_same(&self, other: &Self) -> bool {
        let chain =
            |certificate: &Certificate| (certificate.pair.clone(), certificate.certified.cert.clone());
        self.all.iter().map(chain).eq(other.all.iter().map(chain))
    }
}

impl Certificate {
    fn read(pair: &TlsPair, provider: &CryptoProvider) -> Result<Self, CertificateFault> {
        let of_cert = |what| CertificateFault::of_cert(&pair.cert, what);
        let of_key = |what| CertificateFault::of_key(&pair.key, what);
        let bytes = bytes_of(&pair.cert).map_err(of_cert)?;
        let chain = pem::certificates(&bytes).map_err(of_cert)?;
        let (names, validity) = facts(&chain[0]).ok_or_else(|| of_cert(FileFault::BadCertificate))?;
        // A pipe that holds both can be read only once.
        let bytes = if pair.key == pair.cert { bytes } else { bytes_of(&pair.key).map_err(of_key)? };
        let key = pem::private_key(&bytes).map_err(of_key)?;
        let key = provider.key_provider.load_private_key(key).map_err(|_| of_key(FileFault::BadKey))?;
        let belongs = |to: &CertificateDer<'static>| {
            CertifiedKey::new(vec![to.clone()], Arc::clone(&key)).keys_match().is_ok()
        };
        match chain.iter().position(belongs) {
            Some(0) => {}
            Some(at) => return Err(of_key(FileFault::Order(pair.cert.clone(), at + 1))),
            None => return Err(of_key(FileFault::Mismatch(pair.cert.clone()))),
        }
        let certified = Arc::new(CertifiedKey::new(chain, key));
        Ok(Self { pair: pair.clone(), certified, names, validity })
    }

    fn is_ecdsa(&self) -> bool {
        self.certified.key.algorithm() == rustls::SignatureAlgorithm::ECDSA
    }

    fn file(&self) -> String {
        self.pair.cert.display().to_string()
    }

    fn said_names(&self) -> String {
        let named: Vec<_> = self.names.iter().take(NAMED_MAX).cloned().collect();
        match self.names.len() {
            0 => self.file(),
            len if len > NAMED_MAX => format!("{} and {} more", named.join(", "), len - NAMED_MAX),
            _ => named.join(", "),
        }
    }

    fn what_is_wrong_now(&self, now_s: u64) -> Option<String> {
        let (file, names) = (self.file(), self.said_names());
        let Validity { not_before_s, not_after_s } = self.validity;
        if now_s > not_after_s {
            let end = date(not_after_s);
            return Some(format!(
                "--tls-cert {file}: the certificate of {names} has expired on {end}, and clients refuse it. Renew it"
            ));
        }
        let start = date(not_before_s);
        (now_s < not_before_s).then(|| {
            format!(
                "--tls-cert {file}: the certificate of {names} is valid from {start} only, and clients refuse it until then. \
                 Look at the clock of this machine (it says {})",
                date(now_s)
            )
        })
    }
}

/// The names of a certificate and its time; none if rustls could not read it either.
fn facts(der: &CertificateDer<'_>) -> Option<(Vec<String>, Validity)> {
    let certificate = EndEntityCert::try_from(der).ok()?;
    let names = certificate.valid_dns_names().map(str::to_ascii_lowercase).collect();
    Some((names, validity(&certificate)?))
}

/// When a certificate begins and ends. What checks chains says so of times that are outside: it looks at the time before
/// anything else, so that no chain is needed. None if the end is before the beginning.
fn validity(certificate: &EndEntityCert<'_>) -> Option<Validity> {
    let checked_at = |since_1970: Duration| {
        let time = UnixTime::since_unix_epoch(since_1970);
        let usage = KeyUsage::server_auth();
        certificate.verify_for_usage(&[], &[], &[], time, usage, None, None).err()
    };
    let Some(webpki::Error::CertExpired { not_after, .. }) = checked_at(Duration::MAX) else { return None };
    let not_before_s = match checked_at(Duration::ZERO) {
        Some(webpki::Error::CertNotValidYet { not_before, .. }) => not_before.as_secs(),
        _ => 0,
    };
    Some(Validity { not_before_s, not_after_s: not_after.as_secs() })
}

/// As in `2026-12-01T12:00:00Z`.
fn date(since_1970_s: u64) -> String {
    /// The last second that the form has digits for, and certificates too.
    const LAST_S: u64 = 253_402_300_799;
    let time = UNIX_EPOCH + Duration::from_secs(since_1970_s.min(LAST_S));
    humantime::format_rfc3339_seconds(time).to_string()
}

fn bytes_of(path: &Path) -> Result<Vec<u8>, FileFault> {
    let unreadable = |error: std::io::Error| FileFault::Unreadable(error.to_string());
    let file = File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    match bytes.len() as u64 > FILE_LEN_MAX {
        true => Err(FileFault::TooLong(FILE_LEN_MAX)),
        false => Ok(bytes),
    }
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
mod tests;
