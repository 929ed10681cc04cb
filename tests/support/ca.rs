//! A certificate authority that is made at run time, and certificates of it with their keys, as PEM.
//!
//! Nobody trusts it who was not given its certificate.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, RsaKeySize, date_time_ymd};

/// A certificate authority.
pub struct Ca {
    /// Its certificate.
    pub pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key.
pub struct Leaf {
    pub cert: String,
    pub key: String,
}

/// From when to when a certificate is valid: years, of which the first of January counts.
pub const VALID: [i32; 2] = [2020, 2200];

impl Ca {
    /// One of its own, with a name of its own.
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(1);
        Self::named(&format!("Fanfare test CA {}", COUNT.fetch_add(1, Ordering::Relaxed)))
    }

    /// One of this name, which others may have too.
    pub fn named(name: &str) -> Self {
        let mut params = params(&[], VALID);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate with a key of ECDSA P-256. Names may be addresses.
    pub fn leaf(&self, names: &[&str]) -> Leaf {
        self.sign(&KeyPair::generate().unwrap(), names, VALID)
    }

    /// One that is valid between the beginnings of two years.
    pub fn leaf_between(&self, names: &[&str], years: [i32; 2]) -> Leaf {
        self.sign(&KeyPair::generate().unwrap(), names, years)
    }

    /// One with a key of RSA, 2048 bits.
    pub fn rsa(&self, names: &[&str]) -> Leaf {
        let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        self.sign(&key, names, VALID)
    }

    fn sign(&self, key: &KeyPair, names: &[&str], years: [i32; 2]) -> Leaf {
        let mut params = params(names, years);
        params.distinguished_name.push(DnType::CommonName, "a name that does not count");
        let cert = params.signed_by(key, &self.issuer).unwrap().pem();
        Leaf { cert, key: key.serialize_pem() }
    }
}

fn params(names: &[&str], [from, to]: [i32; 2]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(from, 1, 1);
    params.not_after = date_time_ymd(to, 1, 1);
    params
}

impl Leaf {
    /// Writes the certificate to `NAME.pem` and the key to `NAME.key`.
    pub fn write(&self, folder: &Path, name: &str) -> [PathBuf; 2] {
        let files = [folder.join(format!("{name}.pem")), folder.join(format!("{name}.key"))];
        fs::write(&files[0], &self.cert).unwrap();
        fs::write(&files[1], &self.key).unwrap();
        files
    }
}
