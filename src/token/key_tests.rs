//! Keys: what each verifies, which are refused, and how they are told apart.

use super::super::json::from_base64url;
use super::*;

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn secret(kid: &str, bytes: &[u8]) -> Key {
    Key::secret(kid, bytes).expect("it is long enough")
}

#[test]
fn a_secret_has_32_bytes_at_least() {
    assert_eq!(Key::secret("k", &[7; 31]).err(), Some(KeyFault::SecretTooShort(31)));
    assert_eq!(secret("k", &[7; 32]).algorithm(), Algorithm::Hs256);
    assert!(Key::secret("k", &[7; 1000]).is_ok());
}

#[test]
fn the_name_of_a_key_has_1_to_200_bytes() {
    for len in [0, 201] {
        assert_eq!(Key::secret(&"k".repeat(len), SECRET).err(), Some(KeyFault::KidLen(len)));
    }
    assert_eq!(secret(&"k".repeat(200), SECRET).kid().len(), 200);
}

#[test]
fn a_point_that_is_not_on_the_curve_is_refused() {
    let x = from_base64url("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU").unwrap().try_into().unwrap();
    let y: [u8; 32] =
        from_base64url("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0").unwrap().try_into().unwrap();
    assert_eq!(Key::p256("k", &x, &y).map(|key| key.algorithm()).ok(), Some(Algorithm::Es256));
    let mut other = y;
    other[31] ^= 1;
    for (x, y) in [(x, other), (y, x), ([0; 32], [0; 32]), ([0xff; 32], y)] {
        assert_eq!(Key::p256("k", &x, &y).err(), Some(KeyFault::Spki));
    }
}

#[test]
fn an_rsa_key_has_2048_to_8192_bits_and_a_proper_exponent() {
    let modulus = |bits: usize| {
        let mut modulus = vec![0xff; bits.div_ceil(8)];
        modulus[0] = 0xff >> (8 * modulus.len() - bits);
        modulus
    };
    for bits in [1024, 2047, 8193] {
        assert_eq!(Key::rsa("k", &modulus(bits), &[1, 0, 1]).err(), Some(KeyFault::RsaSize), "{bits}");
    }
    for bits in [2048, 3072, 4096, 8192] {
        assert!(Key::rsa("k", &modulus(bits), &[1, 0, 1]).is_ok(), "{bits}");
        // A zero in front is not counted.
        assert!(Key::rsa("k", &[&[0], &modulus(bits)[..]].concat(), &[0, 1, 0, 1]).is_ok(), "{bits}");
    }
    for exponent in [&[][..], &[0], &[1], &[2], &[4], &[0xff; 9]] {
        assert!(Key::rsa("k", &modulus(2048), exponent).is_err(), "{exponent:?}");
    }
    assert!(Key::rsa("k", &[], &[1, 0, 1]).is_err());
    let mut even = modulus(2048);
    even[255] = 0xfe;
    assert!(Key::rsa("k", &even, &[1, 0, 1]).is_err());
}

#[test]
fn a_public_key_in_der_is_one_of_three_kinds_and_whole() {
    let ed25519 = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00", &[7; 32][..]].concat();
    assert_eq!(Key::from_spki("k", &ed25519).map(|key| key.algorithm()).ok(), Some(Algorithm::EdDsa));
    for len in 0..ed25519.len() {
        assert!(Key::from_spki("k", &ed25519[..len]).is_err(), "{len} bytes");
    }
    assert!(Key::from_spki("k", &[&ed25519[..], b"\0"].concat()).is_err());
    // X25519, which is for agreeing on keys.
    let x25519 = [b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x6e\x03\x21\x00", &[7; 32][..]].concat();
    assert_eq!(Key::from_spki("k", &x25519).err(), Some(KeyFault::Kind));
    // What the primitives would take as the bare key.
    for raw in [&[7; 32][..], &[4; 65]] {
        assert_eq!(Key::from_spki("k", raw).err(), Some(KeyFault::Spki));
    }
}

#[test]
fn keys_have_different_names() {
    let mut keys = Keys::default();
    assert_eq!(keys.push(secret("a", SECRET)), Ok(()));
    assert_eq!(keys.push(secret("b", SECRET)), Ok(()));
    assert_eq!(keys.push(secret("a", &[1; 32])), Err(KeyFault::Twice("a".to_owned())));
    assert_eq!(keys.iter().map(Key::kid).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(keys.named("b").map(Key::kid), Some("b"));
    assert!(keys.named("c").is_none());
    for at in 2..KEYS_MAX {
        assert_eq!(keys.push(secret(&at.to_string(), SECRET)), Ok(()));
    }
    assert_eq!(keys.push(secret("one more", SECRET)), Err(KeyFault::TooMany));
}

#[test]
fn a_reload_tells_what_was_added_and_what_was_removed() {
    let keys = |list: &[(&str, u8)]| {
        let mut keys = Keys::default();
        for (kid, byte) in list {
            keys.push(secret(kid, &[*byte; 32])).expect("each has a name of its own");
        }
        keys
    };
    let names =
        |keys: &Keys, other: &Keys| keys.without(other).map(|key| key.kid().to_owned()).collect::<Vec<_>>();
    let before = keys(&[("2026-06", 1), ("same", 2), ("changed", 3)]);
    let after = keys(&[("same", 2), ("changed", 4), ("2026-09", 5)]);
    assert_eq!(names(&after, &before), ["changed", "2026-09"]);
    assert_eq!(names(&before, &after), ["2026-06", "changed"]);
    assert_eq!(names(&after, &after.clone()), [""; 0]);
    // The name counts too: tokens that have it as kid are refused from then on.
    assert_ne!(secret("a", SECRET).id(), secret("b", SECRET).id());
}

#[test]
fn what_is_printed_of_a_key_is_not_the_key() {
    assert_eq!(format!("{:?}", secret("2026-09", SECRET)), r#"Key("2026-09", HS256)"#);
    assert_eq!(format!("{:?}", secret("2026-09", SECRET).id()), "KeyId(…)");
}
