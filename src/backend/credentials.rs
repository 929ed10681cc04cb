//! What a client brings that its backend knows it by: the fields of its request, as they came, and its address.
//!
//! What they mean is the backend's to say.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN};

/// The fields of a request that the backend is shown, as a loop finds them.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    /// `Cookie`; several are one, joined by `; ` (RFC 9113 §8.2.3).
    pub cookie: Option<&'a [u8]>,
    /// `Authorization`.
    pub authorization: Option<&'a [u8]>,
    /// `Origin`.
    pub origin: Option<&'a [u8]>,
    /// `User-Agent`.
    pub user_agent: Option<&'a [u8]>,
}

/// What the backend is shown of a client. Its length is bounded by that of a request head.
#[derive(PartialEq, Eq)]
pub struct Credentials {
    cookie: Option<Box<[u8]>>,
    authorization: Option<Box<[u8]>>,
    origin: Option<Box<[u8]>>,
    user_agent: Option<Box<[u8]>>,
    address: Box<str>,
    digest: CredentialsDigest,
}

/// The SHA-256 of `Cookie`, `Authorization` and `Origin`: what an answer is kept by. Clients without all three are one.
///
/// Browsers send a user's cookie for pages of any origin. A backend that checks `Origin` must be asked about each of them,
/// and no `Origin` is another client than any. `User-Agent` and the address are shown to the backend and do not count: a
/// client that changes its network is not asked about again, and an answer must not depend on them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CredentialsDigest([u8; SHA256_OUTPUT_LEN]);

impl Credentials {
    /// Of a client at this address, as text.
    #[must_use]
    pub fn new(fields: Fields<'_>, address: &str) -> Self {
        let own = |field: Option<&[u8]>| field.map(Into::into);
        Self {
            cookie: own(fields.cookie),
            authorization: own(fields.authorization),
            origin: own(fields.origin),
            user_agent: own(fields.user_agent),
            address: address.into(),
            digest: CredentialsDigest::of([fields.cookie, fields.authorization, fields.origin]),
        }
    }

    /// What answers are kept by.
    #[must_use]
    pub fn digest(&self) -> CredentialsDigest {
        self.digest
    }

    /// The names and values to be sent.
    pub fn fields(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        let named = [
            ("Cookie", &self.cookie),
            ("Authorization", &self.authorization),
            ("Origin", &self.origin),
            ("User-Agent", &self.user_agent),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        named.chain([("X-Forwarded-For", self.address.as_bytes())])
    }

    /// Bytes held for it.
    #[must_use]
    pub fn held_len(&self) -> usize {
        size_of::<Self>() + self.fields().map(|(_, value)| value.len()).sum::<usize>()
    }
}

/// Not the values: they open doors.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({}, {:?})", self.address, self.digest)
    }
}

impl CredentialsDigest {
    /// With the length of each ahead of it, so that no two lists run into the same bytes.
    fn of(values: [Option<&[u8]>; 3]) -> Self {
        let mut context = Context::new(&SHA256);
        for value in values {
            let len = value.map_or(u64::MAX, |value| value.len() as u64);
            context.update(&len.to_be_bytes());
            context.update(value.unwrap_or_default());
        }
        Self(context.finish().as_ref().try_into().expect("a digest of SHA-256 has 32 bytes"))
    }

    /// A number below `max` that is the same for the same credentials, and spread evenly over them.
    pub(super) fn spread(&self, max: u64) -> u64 {
        let first = self.0[..8].try_into().expect("a digest is longer than 8 bytes");
        u64::from_be_bytes(first) % max.max(1)
    }
}

impl fmt::Debug for CredentialsDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, ..] = self.0;
        write!(f, "{a:02x}{b:02x}…")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(cookie: Option<&str>, authorization: Option<&str>) -> CredentialsDigest {
        let fields = Fields {
            cookie: cookie.map(str::as_bytes),
            authorization: authorization.map(str::as_bytes),
            ..Fields::default()
        };
        Credentials::new(fields, "192.0.2.1").digest()
    }

    #[test]
    fn credentials_differ_by_cookie_and_authorization_and_where_one_ends() {
        let all = [
            digest(None, None),
            digest(Some(""), None),
            digest(None, Some("")),
            digest(Some("ab"), None),
            digest(None, Some("ab")),
            digest(Some("a"), Some("b")),
            digest(Some("ab"), Some("")),
            digest(Some(""), Some("ab")),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[at + 1..].iter().all(|other| other != one), "{at}");
        }
        assert_eq!(digest(Some("a"), Some("b")), digest(Some("a"), Some("b")));
    }

    #[test]
    fn a_page_of_another_origin_with_the_same_cookie_is_another_client() {
        let with = |origin: Option<&'static [u8]>| {
            let fields = Fields { cookie: Some(b"sid=1"), origin, ..Fields::default() };
            Credentials::new(fields, "192.0.2.1").digest()
        };
        let origins: [Option<&'static [u8]>; 5] =
            [None, Some(b""), Some(b"null"), Some(b"https://good.example"), Some(b"https://evil.example")];
        for (at, one) in origins.iter().enumerate() {
            assert!(origins[at + 1..].iter().all(|other| with(*other) != with(*one)), "{at}");
            assert_eq!(with(*one), with(*one));
        }
    }

    #[test]
    fn another_browser_or_address_with_the_same_cookie_is_the_same_client() {
        let with = |user_agent: &'static [u8], address| {
            let fields = Fields { cookie: Some(b"sid=1"), user_agent: Some(user_agent), ..Fields::default() };
            Credentials::new(fields, address).digest()
        };
        assert_eq!(with(b"a", "192.0.2.1"), with(b"b", "2001:db8::1"));
    }

    #[test]
    fn fields_are_sent_as_they_came_with_the_address_and_no_others() {
        let fields = Fields { cookie: Some(b"sid=\xff"), origin: Some(b"https://a"), ..Fields::default() };
        let credentials = Credentials::new(fields, "192.0.2.1");
        let sent: Vec<_> = credentials.fields().collect();
        let expected: [(_, &[u8]); 3] =
            [("Cookie", b"sid=\xff"), ("Origin", b"https://a"), ("X-Forwarded-For", b"192.0.2.1")];
        assert_eq!(sent, expected);
        assert!(!format!("{credentials:?}").contains("sid"));
    }
}
