//! What can be wrong with the files of certificates and keys, each as a sentence that names the file and the remedy.
//!
//! Nothing is read here, and nothing of a key is quoted.

use std::fmt;
use std::path::{Path, PathBuf};

/// Why the pairs of `--tls-cert` and `--tls-key` are not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFault {
    /// The file.
    pub file: PathBuf,
    /// Whether it was to hold the key, not the certificate.
    pub is_key: bool,
    /// What is wrong with it.
    pub what: FileFault,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileFault {
    /// It cannot be read: the words of the system.
    Unreadable(String),
    /// It is longer than so many bytes.
    TooLong(u64),
    /// It holds DER, which is bytes, not PEM, which is text.
    Der,
    /// Its PEM is broken.
    BrokenPem,
    /// There is no certificate in it.
    NoCertificate,
    /// One of its certificates cannot be read.
    BadCertificate,
    /// There is no private key in it.
    NoKey,
    /// The private key is encrypted.
    EncryptedKey,
    /// The private key is of a kind or a size that TLS has no use for.
    BadKey,
    /// The key belongs to another certificate than the first in this file.
    Mismatch(PathBuf),
    /// The key belongs to this one of the certificates in this file, counted from 1, and it has to be the first.
    Order(PathBuf, usize),
}

/// Why a server has no TLS that it was to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoTls {
    /// A file is wrong.
    Certificate(CertificateFault),
    /// The library of TLS refuses, in its words.
    Library(String),
}

impl fmt::Display for NoTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(fault) => fault.fmt(f),
            Self::Library(error) => write!(f, "--tls-listen: the library of TLS refuses: {error}"),
        }
    }
}

impl std::error::Error for NoTls {}

#[cfg_attr(not(feature = "tls"), allow(dead_code))]
impl CertificateFault {
    pub(super) fn of_cert(file: &Path, what: FileFault) -> Self {
        Self { file: file.to_owned(), is_key: false, what }
    }

    pub(super) fn of_key(file: &Path, what: FileFault) -> Self {
        Self { file: file.to_owned(), is_key: true, what }
    }
}

impl fmt::Display for CertificateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, flag) = (self.file.display(), if self.is_key { "--tls-key" } else { "--tls-cert" });
        write!(f, "{flag} {file}: ")?;
        match &self.what {
            FileFault::Unreadable(error) => {
                write!(f, "{error}. Give a file that the server may read")
            }
            FileFault::TooLong(len_max) => write!(f, "it is longer than {len_max} bytes. Give a PEM file"),
            FileFault::Der => {
                let kind = if self.is_key { "pkey" } else { "x509" };
                write!(f, "it is DER. Convert it to PEM: openssl {kind} -inform der -in {file}")
            }
            FileFault::BrokenPem => f.write_str(
                "its PEM is broken: between the lines -----BEGIN …----- and -----END …----- is no base64, or one of them is \
                 missing. Copy the file anew",
            ),
            FileFault::NoCertificate => f.write_str(
                "no certificate is in it. Give a PEM file with -----BEGIN CERTIFICATE-----, such as certbot's fullchain.pem",
            ),
            FileFault::BadCertificate => f.write_str(
                "one of its certificates cannot be read. Look at it with openssl x509 -text; it has to be of X.509 version 3",
            ),
            FileFault::NoKey => f.write_str(
                "no private key is in it. Give a PEM file with -----BEGIN PRIVATE KEY-----, such as certbot's privkey.pem",
            ),
            FileFault::EncryptedKey => {
                write!(f, "the private key is encrypted. Decrypt it first: openssl pkey -in {file} -out FILE")
            }
            FileFault::BadKey => f.write_str(
                "the private key cannot be used. Give one that is ECDSA (P-256, P-384, P-521), Ed25519 or RSA of 2048 to \
                 8192 bits",
            ),
            FileFault::Mismatch(cert) => write!(
                f,
                "the private key does not belong to the certificate in {}. Give the two that were made together; the order \
                 of --tls-cert and --tls-key pairs them",
                cert.display()
            ),
            FileFault::Order(cert, number) => write!(
                f,
                "the private key belongs to certificate number {number} in {}, and it has to be the first there",
                cert.display()
            ),
        }
    }
}

impl std::error::Error for CertificateFault {}
