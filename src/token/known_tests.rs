//! What is known of tokens: as long as they live, as long as their keys are there, and no more than there is room for.

use super::super::claims::Claims;
use super::super::key::Key;
use super::*;

const IAT: u64 = 1_790_000_000;

fn key(kid: &str, byte: u8) -> Key {
    Key::secret(kid, &[byte; 32]).expect("it is long enough")
}

fn keys<'a>(list: impl IntoIterator<Item = &'a Key>) -> Arc<Keys> {
    let mut keys = Keys::default();
    for key in list {
        keys.push(key.clone()).expect("each has a name of its own");
    }
    Arc::new(keys)
}

/// A token that lives for so many seconds, with so many globs.
fn token(key: &Key, life_s: u64, globs: usize) -> Arc<Token> {
    let globs = vec!["\"chat-*\""; globs].join(",");
    let text = format!(r#"{{"exp":{},"iat":{IAT},"fanfare":{{"subscribe":[{globs}]}}}}"#, IAT + life_s);
    let claims = Claims::parse(text.as_bytes()).expect("it is good");
    Arc::new(Token { claims, key: key.id(), kid: key.kid().into() })
}

fn digest_of(at: usize) -> TokenDigest {
    TokenDigest::of(&at.to_string())
}

/// Keeps a token whose key is there.
fn keep(known: &mut Known, digest: TokenDigest, token: &Arc<Token>, now_s: u64) {
    assert_eq!(known.keep(digest, token, now_s), Ok(()));
}

impl Known {
    fn check(&self) {
        let places: BTreeSet<_> =
            self.tokens.iter().map(|(digest, token)| (token.claims.exp_s, *digest)).collect();
        assert_eq!(places, self.by_expiry);
        assert_eq!(self.held_len, self.tokens.values().map(|token| held_len(token)).sum::<usize>());
        assert!(self.tokens.values().all(|token| self.keys.contains(token.key)));
        assert!(self.len() <= KNOWN_MAX && self.held_len() <= self.held_len_max);
    }
}

#[test]
fn a_token_is_known_from_then_on_by_its_own_digest_only() {
    let key = key("k", 1);
    let mut known = Known::new(keys([&key]));
    assert!(known.is_empty() && known.find(digest_of(1)).is_none());
    let token = token(&key, 3600, 3);
    keep(&mut known, digest_of(1), &token, IAT);
    known.check();
    assert!(known.find(digest_of(1)).is_some_and(|found| Arc::ptr_eq(&found, &token)));
    assert!(known.find(digest_of(2)).is_none());
    // Twice at once, as two clients with one token bring it.
    keep(&mut known, digest_of(1), &token, IAT);
    known.check();
    assert_eq!(known.len(), 1);
    // FIPS 180-2 B.1.
    assert_eq!(TokenDigest::of("abc").0[..4], [0xba, 0x78, 0x16, 0xbf]);
}

#[test]
fn a_token_is_forgotten_30_seconds_after_it_expires() {
    let key = key("k", 1);
    let mut known = Known::new(keys([&key]));
    for (at, life_s) in [60, 600, 60, 3600].into_iter().enumerate() {
        keep(&mut known, digest_of(at), &token(&key, life_s, 0), IAT);
    }
    for (life_s, left) in [(89, 4), (90, 2), (629, 2), (630, 1), (3630, 0)] {
        known.expire(IAT + life_s);
        known.check();
        assert_eq!(known.len(), left, "after {life_s} s");
    }
    assert_eq!(known.held_len(), 0);
    // One that has expired meanwhile, and one that comes when others have.
    keep(&mut known, digest_of(9), &token(&key, 60, 0), IAT + 90);
    assert!(known.is_empty());
    keep(&mut known, digest_of(9), &token(&key, 60, 0), IAT + 89);
    keep(&mut known, digest_of(8), &token(&key, 600, 0), IAT + 90);
    known.check();
    assert_eq!(known.len(), 1);
}

#[test]
fn a_reload_forgets_the_tokens_of_keys_that_are_gone_and_no_others() {
    let (old, kept, changed) = (key("old", 1), key("kept", 2), key("changed", 3));
    let mut known = Known::new(keys([&old, &kept, &changed]));
    for (at, key) in [&old, &kept, &changed, &old, &kept].into_iter().enumerate() {
        keep(&mut known, digest_of(at), &token(key, 3600, 1), IAT);
    }
    let changed_now = key("changed", 4);
    let after = keys([&kept, &changed_now, &key("new", 5)]);
    known.reload(Arc::clone(&after));
    known.check();
    assert!(Arc::ptr_eq(&known.keys(), &after));
    let found: Vec<_> = (0..5).filter(|at| known.find(digest_of(*at)).is_some()).collect();
    assert_eq!(found, [1, 4]);
    // What was verified by the keys before, and comes after the reload.
    for key in [&old, &changed] {
        let refused = known.keep(digest_of(7), &token(key, 3600, 1), IAT);
        assert_eq!(refused, Err(BadToken::KeyRemoved(key.kid().to_owned())));
    }
    known.check();
    assert_eq!(known.len(), 2);
    known.reload(Arc::default());
    assert!(known.is_empty());
}

#[test]
fn where_there_is_no_room_those_that_expire_first_are_forgotten() {
    let key = key("k", 1);
    let mut known = Known::new(keys([&key]));
    let (short, long) = (token(&key, 600, 0), token(&key, 3600, 0));
    for at in 0..KNOWN_MAX {
        keep(&mut known, digest_of(at), if at % 2 == 0 { &short } else { &long }, IAT);
    }
    assert_eq!(known.len(), KNOWN_MAX);
    for at in KNOWN_MAX..KNOWN_MAX + 100 {
        keep(&mut known, digest_of(at), &long, IAT);
    }
    known.check();
    assert_eq!(known.len(), KNOWN_MAX);
    let left = known.tokens.values().filter(|token| token.claims.exp_s == IAT + 600).count();
    assert_eq!(left, KNOWN_MAX / 2 - 100);
}

#[test]
fn the_largest_tokens_are_fewer() {
    let key = key("k", 1);
    let mut known = Known::new(keys([&key]));
    let large = token(&key, 3600, 64);
    for at in 0..KNOWN_MAX {
        keep(&mut known, digest_of(at), &large, IAT);
    }
    known.check();
    assert!(known.len() < KNOWN_MAX && known.held_len() > KNOWN_LEN_MAX * 9 / 10, "{}", known.len());
}

#[test]
fn a_table_with_less_room_forgets_those_that_expire_first_and_sheds_them_when_it_is_asked_to() {
    let key = key("k", 1);
    let mut known = Known::new(keys([&key])).with_len_max(64 * 1024);
    for at in 0..1_000 {
        keep(&mut known, digest_of(at), &token(&key, 600 + at as u64, 3), IAT);
        known.check();
    }
    let (len, held) = (known.len(), known.held_len());
    assert!((50..200).contains(&len) && held > 60 * 1024, "{len} in {held} bytes");
    assert!((1_000 - len..1_000).all(|at| known.find(digest_of(at)).is_some()), "the last ones");
    known.shed(0);
    assert_eq!(known.len(), len);
    known.shed(32 * 1024);
    known.check();
    assert!((held - 34 * 1024..=held - 32 * 1024).contains(&known.held_len()), "{}", known.held_len());
    assert!(known.find(digest_of(999)).is_some() && known.find(digest_of(1_000 - len)).is_none());
    known.shed(usize::MAX);
    assert!(known.is_empty() && known.held_len() == 0);
    let large = Known::new(keys([&key])).with_len_max(usize::MAX);
    assert_eq!(large.held_len_max, KNOWN_LEN_MAX);
}
