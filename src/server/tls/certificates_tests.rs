//! Certificates of a test's own authority, in files: what is read, what is refused with which sentence, and who gets which.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::server::tls::ca::{Ca, Leaf};
use crate::server::tls::config::provider;

const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];

/// In 2026, in seconds since 1970.
const NOW_S: u64 = 1_790_000_000;

/// A folder of pairs, called 0 and so on.
struct Files {
    folder: TempDir,
    pairs: Vec<TlsPair>,
}

impl Files {
    fn of(leaves: &[Leaf]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pairs = leaves.iter().enumerate().map(|(number, leaf)| {
            let [cert, key] = leaf.write(folder.path(), &number.to_string());
            TlsPair { cert, key }
        });
        Self { pairs: pairs.collect(), folder }
    }

    fn read(&self) -> Result<Certificates, CertificateFault> {
        Certificates::read(&self.pairs, None, &provider())
    }

    fn said(&self) -> String {
        let said = self.read().unwrap_err().to_string();
        said.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn certificates(leaves: &[Leaf]) -> Certificates {
    Files::of(leaves).read().unwrap()
}

/// Which of the certificates is chosen.
fn chosen(all: &Certificates, name: Option<&str>, schemes: &[SignatureScheme]) -> usize {
    let chosen = all.choose(name, schemes);
    all.all.iter().position(|certificate| Arc::ptr_eq(&certificate.certified, &chosen)).unwrap()
}

#[test]
fn names_are_those_of_the_subject_alt_name_and_the_end_is_that_of_the_certificate() {
    let ca = Ca::new();
    let leaf = ca.leaf_between(&["www.Example.com", "*.example.com", "192.0.2.1"], [2020, 2030]);
    let all = certificates(&[leaf]);
    assert_eq!(all.all[0].names, ["www.example.com", "*.example.com"]);
    let [from, to] = ["2020-01-01T00:00:00Z", "2030-01-01T00:00:00Z"];
    let Validity { not_before_s, not_after_s } = all.all[0].validity;
    assert_eq!((date(not_before_s), date(not_after_s)), (from.to_owned(), to.to_owned()));
    assert_eq!(all.summary(), format!("www.example.com, *.example.com until {to}"));
    assert_eq!(all.ends(), [("www.example.com".to_owned(), not_after_s)]);
    assert!(all.warnings(NOW_S).is_empty());
}

#[test]
fn the_ends_of_certificates_of_one_name_are_the_earliest_and_one_without_a_name_goes_by_its_file() {
    let ca = Ca::new();
    let leaf = |name: &str, year| ca.leaf_between(&[name], [2020, year]);
    let files = Files::of(&[leaf("b.test", 2040), leaf("192.0.2.1", 2050), leaf("b.test", 2030)]);
    let all = files.read().unwrap();
    let file = files.pairs[1].cert.display().to_string();
    let ends: Vec<_> = all.ends().into_iter().map(|(name, end_s)| (name, date(end_s))).collect();
    let end = |year: &str| format!("{year}-01-01T00:00:00Z");
    assert_eq!(ends, [(file, end("2050")), ("b.test".to_owned(), end("2030"))]);
}

#[test]
fn a_name_with_an_ecdsa_and_an_rsa_certificate_is_served_by_what_the_client_can_verify() {
    let ca = Ca::new();
    let all = certificates(&[ca.leaf(&["x.test"]), ca.rsa(&["a.test"]), ca.leaf(&["a.test"])]);
    let both = [RSA, ECDSA].concat();
    assert_eq!(chosen(&all, Some("a.test"), &both), 2);
    assert_eq!(chosen(&all, Some("a.test"), ECDSA), 2);
    assert_eq!(chosen(&all, Some("a.test"), RSA), 1);
    assert!(all.warnings(NOW_S).is_empty());
}

#[test]
fn a_client_without_a_name_gets_the_first_that_it_can_verify() {
    let ca = Ca::new();
    let all = certificates(&[ca.leaf(&["x.test"]), ca.rsa(&["a.test"])]);
    assert_eq!(chosen(&all, None, &[RSA, ECDSA].concat()), 0);
    assert_eq!(chosen(&all, Some("other.test"), ECDSA), 0);
    assert_eq!(chosen(&all, None, RSA), 1);
    assert_eq!(chosen(&all, Some("x.test"), &[SignatureScheme::ED448]), 0); // which the handshake refuses
}

#[test]
fn the_end_that_has_passed_and_the_beginning_that_is_to_come_are_warnings() {
    let ca = Ca::new();
    let leaf = |years| ca.leaf_between(&["a.test"], years);
    let old = certificates(&[leaf([2020, 2021])]).warnings(NOW_S);
    assert_eq!(old.len(), 1);
    assert!(
        old[0].ends_with(
            "the certificate of a.test has expired on 2021-01-01T00:00:00Z, and clients refuse it. Renew it"
        ),
        "{old:?}"
    );
    let new = certificates(&[leaf([2100, 2200])]).warnings(NOW_S);
    assert_eq!(new.len(), 1);
    assert!(new[0].contains("is valid from 2100-01-01T00:00:00Z only"), "{new:?}");
    assert!(new[0].contains("(it says 2026-09-21T14:13:20Z)"), "{new:?}");
}

#[test]
fn a_name_in_two_certificates_of_one_kind_is_a_warning_that_names_both_files() {
    let ca = Ca::new();
    let files = Files::of(&[ca.leaf(&["a.test", "b.test"]), ca.rsa(&["b.test"]), ca.leaf(&["b.test"])]);
    let warnings = files.read().unwrap().warnings(NOW_S);
    let path = |at: usize| files.pairs[at].cert.display().to_string();
    assert_eq!(
        warnings,
        [format!(
            "--tls-cert: b.test is in {} and in {}; clients get the first. Leave one of them out",
            path(0),
            path(2)
        )]
    );
}

#[test]
fn a_chain_is_sent_as_it_is_and_a_file_may_hold_both() {
    let ca = Ca::new();
    let leaf = ca.leaf(&["a.test"]);
    let mut files =
        Files::of(&[Leaf { cert: format!("{}{}{}", leaf.key, leaf.cert, ca.pem), key: String::new() }]);
    files.pairs[0].key = files.pairs[0].cert.clone();
    assert_eq!(files.read().unwrap().all[0].certified.cert.len(), 2);
}

#[test]
fn each_fault_of_a_file_is_one_sentence_that_names_it_with_the_remedy() {
    let ca = Ca::new();
    let one = || ca.leaf(&["a.test"]);
    let with_cert = |cert: &str| Leaf { cert: cert.to_owned(), ..one() };
    let with_key = |key: &str| Leaf { key: key.to_owned(), ..one() };
    let (leaf, other) = (one(), ca.rsa(&["a.test"]));
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAQID\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let odd_key = "-----BEGIN PRIVATE KEY-----\nAQID\n-----END PRIVATE KEY-----\n";
    let odd_cert = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n";
    for (wrong, words) in [
        (with_cert(""), "--tls-cert 1.pem: no certificate is in it. Give a PEM file"),
        (with_cert(&leaf.key), "--tls-cert 1.pem: no certificate is in it."),
        (with_cert("0\u{2}"), "--tls-cert 1.pem: it is DER. Convert it to PEM: openssl x509"),
        (with_cert(odd_cert), "--tls-cert 1.pem: one of its certificates cannot be read."),
        (with_cert(&leaf.cert[..100]), "--tls-cert 1.pem: its PEM is broken:"),
        (with_key(""), "--tls-key 1.key: no private key is in it. Give a PEM file"),
        (with_key(&leaf.cert), "--tls-key 1.key: no private key is in it."),
        (with_key("0\u{2}"), "--tls-key 1.key: it is DER. Convert it to PEM: openssl pkey"),
        (
            with_key(encrypted),
            "--tls-key 1.key: the private key is encrypted. Decrypt it first: openssl pkey",
        ),
        (with_key(odd_key), "--tls-key 1.key: the private key cannot be used. Give one that is ECDSA"),
        (
            with_key(&other.key),
            "--tls-key 1.key: the private key does not belong to the certificate in 1.pem.",
        ),
        (
            Leaf { cert: format!("{}{}", ca.pem, leaf.cert), key: leaf.key.clone() },
            "--tls-key 1.key: the private key belongs to certificate number 2 in 1.pem, and it has to be the first",
        ),
    ] {
        let said = Files::of(&[one(), wrong]).said();
        assert!(said.starts_with(words), "{said}");
        assert!(!said.contains('\n'), "{said}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let ca = Ca::new();
    let files = Files::of(&[ca.leaf(&["a.test"])]);
    fs::remove_file(&files.pairs[0].key).unwrap();
    assert!(files.said().starts_with("--tls-key 0.key: No such file"), "{}", files.said());
    fs::create_dir(&files.pairs[0].key).unwrap();
    assert!(files.said().starts_with("--tls-key 0.key: Is a directory"), "{}", files.said());
    let endless = TlsPair { cert: "/dev/zero".into(), ..files.pairs[0].clone() };
    let fault = Certificates::read(&[endless], None, &provider()).unwrap_err();
    assert_eq!(fault.to_string(), "--tls-cert /dev/zero: it is longer than 1048576 bytes. Give a PEM file");
}

#[test]
fn what_came_by_a_pipe_stays_as_it_is_when_the_others_are_read_again() {
    let ca = Ca::new();
    let files = Files::of(&[ca.leaf(&["a.test"]), ca.leaf(&["b.test"])]);
    let before = files.read().unwrap();
    // What a pipe was has no content any more.
    fs::remove_file(&files.pairs[0].key).unwrap();
    std::os::unix::net::UnixListener::bind(&files.pairs[0].key).unwrap();
    ca.leaf(&["c.test"]).write(files.folder.path(), "1");
    let after = Certificates::read(&files.pairs, Some(&before), &provider()).unwrap();
    assert_eq!(
        (&after.all[0].names, &after.all[1].names),
        (&vec!["a.test".to_owned()], &vec!["c.test".to_owned()])
    );
    assert!(!after.is_same(&before) && before.is_same(&before));
    // A file that is gone is a fault, not a pipe.
    fs::remove_file(&files.pairs[0].key).unwrap();
    assert!(Certificates::read(&files.pairs, Some(&before), &provider()).is_err());
}
