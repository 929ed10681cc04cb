//! Tokens that were revoked before they expire: by user, or each by its name.
//!
//! Whose connections end by it is found in the loops.

use std::collections::HashMap;

use crate::token::{Claims, Error, LEEWAY_S, LIFE_MAX_S, RevokedAt};

/// The most revocations that are remembered: 10,000 take about 2 MB. An operator who revokes more in a day removes the key.
pub const REVOKED_MAX: usize = 10_000;

/// How long a revocation is remembered, in seconds: no token that it is about lives longer. One leeway is for when it was
/// issued, one for when it expires, and the second is that which is begun where these have fractions.
const REMEMBERED_S: u64 = LEEWAY_S + LIFE_MAX_S + LEEWAY_S + 1;

/// Whether a token that says it was issued at `iat_s` may have existed at `revoked_at_s`. The issuer's clock may be ahead of
/// this one by the leeway, so one that is issued in the [`LEEWAY_S`] seconds after cannot be told from one that exists.
pub(super) fn is_issued_until(iat_s: u64, revoked_at_s: u64) -> bool {
    iat_s <= revoked_at_s.saturating_add(LEEWAY_S)
}

/// Whose tokens are revoked, or which.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whom {
    /// All tokens of a user that were issued until now, by any clock that is not ahead of this one by more than the leeway.
    /// So those are among them that are issued in the [`LEEWAY_S`] seconds after.
    Sub(Box<str>),
    /// The token of this name.
    Jti(Box<str>),
}

/// The revocations of the last 24 h.
#[derive(Debug, Default)]
pub struct Revoked {
    /// When, in seconds since 1970.
    subs: HashMap<Box<str>, u64>,
    jtis: HashMap<Box<str>, u64>,
    /// Nothing is forgotten before this time.
    forgets_at_s: u64,
}

impl Whom {
    /// Whether a token is one of those.
    pub fn fits(&self, claims: &Claims) -> bool {
        match self {
            Self::Sub(sub) => claims.sub.as_ref() == Some(sub),
            Self::Jti(jti) => claims.jti.as_ref() == Some(jti),
        }
    }
}

impl Revoked {
    /// Remembers a revocation at `now_s`. False if there is no room.
    #[must_use]
    pub fn add(&mut self, whom: &Whom, now_s: u64) -> bool {
        self.expire(now_s);
        let is_full = self.len() >= REVOKED_MAX;
        let (table, name) = match whom {
            Whom::Sub(sub) => (&mut self.subs, sub),
            Whom::Jti(jti) => (&mut self.jtis, jti),
        };
        match table.get_mut(name) {
            Some(at_s) => *at_s = now_s.max(*at_s),
            None if is_full => return false,
            None => {
                table.insert(name.clone(), now_s);
                self.forgets_at_s = self.forgets_at_s.min(now_s + REMEMBERED_S);
            }
        }
        true
    }

    /// Whether this one is known, of that time or a later one.
    pub fn has(&self, whom: &Whom, at_s: u64) -> bool {
        let (table, name) = match whom {
            Whom::Sub(sub) => (&self.subs, sub),
            Whom::Jti(jti) => (&self.jtis, jti),
        };
        table.get(name).is_some_and(|known_s| *known_s >= at_s)
    }

    /// Checks that a token is not revoked. One that is issued in the [`LEEWAY_S`] seconds after a revocation of its user is.
    ///
    /// # Errors
    /// [`Error::Revoked`].
    pub fn check(&self, claims: &Claims) -> Result<(), Error> {
        if self.len() == 0 {
            return Ok(());
        }
        let by_sub = claims.sub.as_ref().and_then(|sub| self.subs.get(sub));
        let by_sub = by_sub.filter(|&&at_s| is_issued_until(claims.iat_s, at_s));
        let by_jti = || claims.jti.as_ref().and_then(|jti| self.jtis.get(jti));
        match by_sub.or_else(by_jti) {
            Some(&at_s) => Err(Error::Revoked(claims.holder(), RevokedAt(at_s))),
            None => Ok(()),
        }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.subs.len() + self.jtis.len()
    }

    /// O(n), and only when one is to be forgotten.
    fn expire(&mut self, now_s: u64) {
        if now_s < self.forgets_at_s {
            return;
        }
        for table in [&mut self.subs, &mut self.jtis] {
            table.retain(|_, at_s| now_s < *at_s + REMEMBERED_S);
        }
        let first = self.subs.values().chain(self.jtis.values()).min();
        self.forgets_at_s = first.map_or(u64::MAX, |at_s| at_s + REMEMBERED_S);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u64 = 1_790_000_000;

    fn claims(sub: &str, jti: &str, iat_s: u64) -> Claims {
        let text =
            format!(r#"{{"sub":"{sub}","jti":"{jti}","iat":{iat_s},"exp":{},"fanfare":{{}}}}"#, iat_s + 60);
        Claims::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_tokens_of_a_user_are_revoked_that_were_issued_until_then_and_no_others() {
        let mut revoked = Revoked::default();
        assert!(revoked.add(&Whom::Sub("u42".into()), NOW_S));
        for iat_s in [NOW_S - 50, NOW_S, NOW_S + LEEWAY_S] {
            let sentence = revoked.check(&claims("u42", "a", iat_s)).unwrap_err().to_string();
            assert_eq!(sentence, "The token of u42 was revoked at 2026-09-21T14:13:20Z.");
        }
        assert_eq!(revoked.check(&claims("u42", "a", NOW_S + LEEWAY_S + 1)), Ok(()));
        assert_eq!(revoked.check(&claims("u7", "u42", NOW_S)), Ok(()));
        assert!(revoked.add(&Whom::Sub("u42".into()), NOW_S + 9));
        assert!(revoked.check(&claims("u42", "a", NOW_S + LEEWAY_S + 5)).is_err(), "the last one counts");
    }

    #[test]
    fn a_token_is_revoked_by_its_name_whenever_it_was_issued() {
        let mut revoked = Revoked::default();
        assert!(revoked.add(&Whom::Jti("9f2c".into()), NOW_S));
        assert!(revoked.check(&claims("u42", "9f2c", NOW_S + LEEWAY_S + 20)).is_err());
        assert_eq!(revoked.check(&claims("9f2c", "other", NOW_S)), Ok(()));
    }

    #[test]
    fn no_more_than_ten_thousand_are_remembered_and_each_for_as_long_as_a_token_may_live() {
        let mut revoked = Revoked::default();
        for number in 0..REVOKED_MAX {
            let whom = format!("u{number}").into_boxed_str();
            let whom = if number % 2 == 0 { Whom::Sub(whom) } else { Whom::Jti(whom) };
            assert!(revoked.add(&whom, NOW_S + number as u64 / 1000));
        }
        assert!(!revoked.add(&Whom::Sub("more".into()), NOW_S + 10));
        assert!(revoked.add(&Whom::Sub("u0".into()), NOW_S + 10), "it is there already");
        let day = NOW_S + LEEWAY_S + LIFE_MAX_S + LEEWAY_S + 1;
        assert!(!revoked.add(&Whom::Sub("more".into()), day - 1));
        assert!(revoked.add(&Whom::Sub("more".into()), day));
        assert_eq!(revoked.len(), REVOKED_MAX - 999 + 1, "all of the first second but the renewed one");
    }
}
