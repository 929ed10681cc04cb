//! Files of keys: each kind, and each fault with what to do about it.

use super::super::algorithm::Algorithm;
use super::*;

const SECRET: &str = "c3f1a3b0d2e84f6e9b7a5c1d0e2f4a68";
const RS256: &str = include_str!("../../tests/tokens/rs256.pub.pem");
const ES256: &str = include_str!("../../tests/tokens/es256.pub.pem");
const EDDSA: &str = include_str!("../../tests/tokens/eddsa.pub.pem");

/// The point of `ES256`, compressed.
const ES256_COMPRESSED: &str = "-----BEGIN PUBLIC KEY-----\n\
    MDkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDIgADf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
    6e8Tus9uPHvRVEU=\n-----END PUBLIC KEY-----\n";

const P384: &str = "-----BEGIN PUBLIC KEY-----\n\
    MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAErZ3dzGXGM/mGCUjMJEBr346JP8HuDOKC\n\
    TOKrgQBC5FzoQM7NlvvBsvg7l0PWRJIrrfmgUp/8PStSaDRzzdciImPCleRGEOhm\n\
    3/Fga0j4UvndF2pnSLRpu9qhvxcpL8fv\n-----END PUBLIC KEY-----\n";

const RSA_1024: &str = "-----BEGIN PUBLIC KEY-----\n\
    MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDFCoAdbctZ0kFVAmAMbMTXblMz\n\
    1UjmVHXtLbrRobfJlAR+8Ujnja7RBjzgNg0SeMtiaW4fbKskcQ1hcLeZtYxRyoFo\n\
    YJvP2YxQ3aw/36XHruHnWoyRmchA8Z/IV07Iqw5oIR7iQpKbP8R8AfPGJoQi8zTf\n\
    fm8rJ+LVLGEaH/sgQQIDAQAB\n-----END PUBLIC KEY-----\n";

fn read(path: &str, bytes: impl AsRef<[u8]>) -> Result<Keys, KeyFileError> {
    KeyFiles::read([(path, bytes.as_ref())]).map(|read| read.keys)
}

/// Name and algorithm of each key.
fn keys(path: &str, bytes: impl AsRef<[u8]>) -> Vec<(String, Algorithm)> {
    let keys = read(path, bytes).expect("it is good");
    keys.iter().map(|key| (key.kid().to_owned(), key.algorithm())).collect()
}

fn fault(bytes: impl AsRef<[u8]>) -> KeyFault {
    let error = read("keys/2026-09.key", bytes).expect_err("it is refused");
    assert_eq!((&*error.path, error.kid), ("keys/2026-09.key", None));
    let sentence = error.fault.to_string();
    assert!(sentence.contains(". ") && !sentence.ends_with('.'), "what is wrong, and what to do: {sentence}");
    error.fault
}

fn pem_bytes(pem: &str) -> Vec<u8> {
    from_pem(pem).expect("it is PEM")
}

#[test]
fn a_key_without_kid_has_the_name_of_its_file_without_the_ending() {
    for (path, name) in [
        ("2026-09.pem", "2026-09"),
        ("/etc/fanfare/2026-09.pem", "2026-09"),
        ("a.b.c", "a.b"),
        ("plain", "plain"),
        (".hidden", ".hidden"),
    ] {
        assert_eq!(keys(path, SECRET), [(name.to_owned(), Algorithm::Hs256)]);
    }
    assert_eq!(read("", SECRET).map_err(|error| error.fault).err(), Some(KeyFault::KidLen(0)));
}

#[test]
fn line_ends_at_the_end_of_a_secret_do_not_count_and_all_else_does() {
    let id = |bytes: &str| read("k", bytes).expect("it is long enough").named("k").map(Key::id);
    for end in ["\n", "\r\n", "\r", "\n\n", "\r\n\r\n"] {
        assert_eq!(id(&format!("{SECRET}{end}")), id(SECRET));
    }
    for other in [format!("{SECRET} "), format!(" {SECRET}"), format!("\n{SECRET}"), format!("{SECRET}\n\t")]
    {
        assert_ne!(id(&other), id(SECRET), "{other:?}");
    }
    assert_eq!(fault(format!("{}\n\n", "x".repeat(31))), KeyFault::SecretTooShort(31));
    assert!(read("k", [0xfe_u8; 32]).is_ok(), "any bytes");
    assert!(read("k", format!("[{SECRET}")).is_ok() && read("k", format!("{SECRET}{{}}")).is_ok());
}

#[test]
fn a_public_key_in_pem_is_for_the_algorithm_of_its_kind() {
    for (pem, algorithm) in [
        (RS256, Algorithm::Rs256),
        (ES256, Algorithm::Es256),
        (ES256_COMPRESSED, Algorithm::Es256),
        (EDDSA, Algorithm::EdDsa),
    ] {
        let commented = format!("The key of September\n\n{pem}\nSee the handbook.\n");
        for text in [pem.to_owned(), pem.replace('\n', "\r\n"), pem.trim_end().to_owned(), commented] {
            assert_eq!(keys("k.pem", text), [("k".to_owned(), algorithm)]);
        }
    }
}

#[test]
fn a_file_that_holds_something_else_says_what_to_do() {
    assert_eq!(fault(""), KeyFault::Empty);
    assert_eq!(fault(" \r\n\t\n"), KeyFault::Empty);
    assert_eq!(fault(P384), KeyFault::Kind);
    assert_eq!(fault(RSA_1024), KeyFault::RsaSize);
    assert_eq!(fault(include_str!("../../tests/tokens/rs256.pem")), KeyFault::Private);
    assert_eq!(fault(EDDSA.replace("PUBLIC", "RSA PRIVATE")), KeyFault::Private);
    assert_eq!(fault(EDDSA.replace("PUBLIC", "ENCRYPTED PRIVATE")), KeyFault::Private);
    assert_eq!(fault(EDDSA.replace("PUBLIC KEY", "CERTIFICATE")), KeyFault::Certificate);
    assert_eq!(fault(RS256.replace("PUBLIC KEY", "RSA PUBLIC KEY")), KeyFault::Pkcs1);
    assert_eq!(
        fault(EDDSA.replace("PUBLIC KEY", "EC PARAMETERS")),
        KeyFault::Label("EC PARAMETERS".to_owned())
    );
    assert_eq!(fault(format!("{RS256}{EDDSA}")), KeyFault::SeveralPem);
    assert_eq!(fault(format!("ssh-ed25519 {SECRET} me@example")), KeyFault::Ssh);
    assert_eq!(fault(format!("ecdsa-sha2-nistp256 {SECRET}")), KeyFault::Ssh);
}

#[test]
fn a_damaged_pem_block_is_refused() {
    for text in [
        EDDSA.replace("-----END PUBLIC KEY-----", ""),
        EDDSA.replace("END PUBLIC", "END PRIVATE"),
        EDDSA.replace("MCow", "MC*w"),
        EDDSA.replace("KEY-----\nM", "KEY--\nM"),
        "-----BEGIN PUBLIC KEY-----".to_owned() + SECRET,
    ] {
        assert!(matches!(fault(&text), KeyFault::Pem | KeyFault::Label(_)), "{text}");
    }
    // Characters are lost or swapped: it is base64 still, and no key.
    for text in [
        EDDSA.replace("MCow", ""),
        EDDSA.replace("11qY", ""),
        RS256.replace("AQAB", ""),
        RS256.replace("MIIB", "MIIC"),
    ] {
        assert!(matches!(fault(&text), KeyFault::Pem | KeyFault::Spki | KeyFault::Kind), "{text}");
    }
}

#[test]
fn a_public_key_in_any_form_is_never_taken_for_a_secret() {
    for pem in [RS256, ES256, EDDSA, P384, RSA_1024] {
        let der = pem_bytes(pem);
        assert_eq!(fault(&der), KeyFault::Der);
        let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
        for text in [
            body.clone(),
            format!("{body}\n"),
            body.trim_end_matches('=').to_owned(),
            body.replace('+', "-").replace('/', "_"),
        ] {
            assert_eq!(fault(text), KeyFault::BareBase64);
        }
        // As some shells write it.
        let utf16: Vec<u8> = format!("\u{feff}{pem}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        assert_eq!(fault(utf16), KeyFault::ByteOrderMark);
        assert_eq!(fault(format!("\u{feff}{pem}")), KeyFault::ByteOrderMark);
    }
    // What begins like it and is something else.
    for secret in [format!("MII{SECRET}"), format!("0{SECRET}"), format!("ssh-key-{SECRET}")] {
        assert!(read("k", secret).is_ok());
    }
}

#[test]
fn keys_of_several_files_are_one_set_with_different_names() {
    let read = |files: &[(&'static str, &'static str)]| {
        KeyFiles::read(files.iter().map(|(path, text)| (*path, text.as_bytes())))
    };
    let set = include_str!("../../tests/tokens/keys.json");
    let all = read(&[("a.pem", EDDSA), ("keys.json", set), ("b.secret", SECRET)]).expect("all are good");
    let names: Vec<_> = all.keys.iter().map(Key::kid).collect();
    assert_eq!(names, ["a", "a-hs256", "a-es256", "a-eddsa", "a-rs256", "b"]);
    assert!(all.passed_over.is_empty());
    assert_eq!(read(&[]).map(|read| read.keys.iter().count()), Ok(0));
    let twice = read(&[("x/a.pem", EDDSA), ("y/a.secret", SECRET)]).expect_err("two have one name");
    assert_eq!(
        twice.to_string(),
        "y/a.secret: two keys are called a. Give each a kid of its own, or rename one of the files"
    );
    let second = read(&[("a.pem", EDDSA), ("b.pem", P384)]).expect_err("the second is of another kind");
    assert_eq!((&*second.path, second.fault), ("b.pem", KeyFault::Kind));
}
