//! A PEM file of a certificate with its chain, or of a private key: from its bytes to what rustls takes.
//!
//! No file is opened here, and whether the two belong together is not checked.

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::fault::FileFault;

/// How DER begins: a sequence with a length of several bytes. No PEM file begins so.
const DER_START: u8 = 0x30;

/// How encrypted keys are marked: PKCS #8, and the older form of OpenSSL.
const ENCRYPTED: [&[u8]; 2] = [b"-----BEGIN ENCRYPTED PRIVATE KEY-----", b"Proc-Type: 4,ENCRYPTED"];

/// The certificates of a file, in its order: at least one.
///
/// # Errors
/// What is wrong with the file.
pub fn certificates(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, FileFault> {
    let all: Result<Vec<_>, Error> = CertificateDer::pem_slice_iter(bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) if is_der(bytes) => Err(FileFault::Der),
        Ok(_) => Err(FileFault::NoCertificate),
        Err(_) => Err(FileFault::BrokenPem),
    }
}

/// The first private key of a file.
///
/// # Errors
/// What is wrong with the file.
pub fn private_key(bytes: &[u8]) -> Result<PrivateKeyDer<'static>, FileFault> {
    let fault = match PrivateKeyDer::from_pem_slice(bytes) {
        Ok(key) => return Ok(key),
        Err(Error::NoItemsFound) if is_der(bytes) => FileFault::Der,
        Err(Error::NoItemsFound) => FileFault::NoKey,
        Err(_) => FileFault::BrokenPem,
    };
    let is_encrypted = ENCRYPTED.iter().any(|mark| bytes.windows(mark.len()).any(|part| part == *mark));
    Err(if is_encrypted { FileFault::EncryptedKey } else { fault })
}

fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&DER_START)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    const KEY: &str = "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n";

    #[test]
    fn certificates_come_in_the_order_of_the_file_and_keys_among_them_are_passed_over() {
        let other = CERTIFICATE.replace("AQID", "BAUG");
        let text = format!("subject=/CN=a\n{CERTIFICATE}\n{KEY}{other}");
        let found = certificates(text.as_bytes()).unwrap();
        assert_eq!(found.iter().map(AsRef::as_ref).collect::<Vec<&[u8]>>(), [[1, 2, 3], [4, 5, 6]]);
        assert_eq!(private_key(text.as_bytes()).unwrap().secret_der(), [1, 2, 3]);
    }

    #[test]
    fn a_file_without_what_is_looked_for_is_told_from_a_broken_one() {
        for (text, fault) in [
            ("", FileFault::NoCertificate),
            (KEY, FileFault::NoCertificate),
            ("\x30\u{2}\x01\x01", FileFault::Der),
            ("-----BEGIN CERTIFICATE-----\nAQID\n", FileFault::BrokenPem),
            ("-----BEGIN CERTIFICATE-----\n!!!!\n-----END CERTIFICATE-----\n", FileFault::BrokenPem),
        ] {
            assert_eq!(certificates(text.as_bytes()).unwrap_err(), fault, "{text:?}");
        }
        for (text, fault) in [
            ("", FileFault::NoKey),
            (CERTIFICATE, FileFault::NoKey),
            ("-----BEGIN PUBLIC KEY-----\nAQID\n-----END PUBLIC KEY-----\n", FileFault::NoKey),
            ("\x30\u{2}\x01\x01", FileFault::Der),
            ("-----BEGIN PRIVATE KEY-----\nAQ", FileFault::BrokenPem),
        ] {
            assert_eq!(private_key(text.as_bytes()).unwrap_err(), fault, "{text:?}");
        }
    }

    #[test]
    fn an_encrypted_key_is_called_that_in_both_forms() {
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAQID\n-----END RSA PRIVATE KEY-----\n",
        ] {
            assert_eq!(private_key(text.as_bytes()).unwrap_err(), FileFault::EncryptedKey);
        }
    }
}
