//! What a node tells all others besides publications: as a value, and as the text that they hear.
//!
//! How it gets there, and what follows from it, is not known here.

/// What all nodes are to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tiding {
    /// The tokens of a user are revoked that were issued until this time, in seconds since 1970.
    UserRevoked {
        /// The user.
        sub: Box<str>,
        /// When.
        at_s: u64,
    },
    /// One token is revoked.
    TokenRevoked {
        /// Its name.
        jti: Box<str>,
        /// When.
        at_s: u64,
    },
    /// The connections of a user of a Pusher app are to end that are there.
    Terminate {
        /// When, in milliseconds since 1970: what is told twice is done once.
        at_ms: u64,
        /// The app.
        app: Box<str>,
        /// The user.
        user: Box<str>,
    },
}

/// What is heard with more bytes is none. A user or a token has 200 at most, an app 64.
const LEN_MAX: usize = 512;

const SUB: &str = "revoke-sub";
const JTI: &str = "revoke-jti";
const TERMINATE: &str = "terminate";

impl Tiding {
    /// As text: `revoke-sub AT SUB`, `revoke-jti AT JTI`, `terminate AT APP USER`. Only the last part may have
    /// spaces.
    pub fn to_text(&self) -> String {
        match self {
            Self::UserRevoked { sub, at_s } => format!("{SUB} {at_s} {sub}"),
            Self::TokenRevoked { jti, at_s } => format!("{JTI} {at_s} {jti}"),
            Self::Terminate { at_ms, app, user } => format!("{TERMINATE} {at_ms} {app} {user}"),
        }
    }

    /// Reads such a text. `None` for another one, of a later version of this program perhaps: it is to be passed over.
    pub fn read(text: &str) -> Option<Self> {
        if text.len() > LEN_MAX {
            return None;
        }
        let mut parts = text.splitn(3, ' ');
        let (kind, first, last) = (parts.next()?, parts.next()?, parts.next()?);
        let last = Some(last).filter(|last| !last.is_empty())?;
        match kind {
            SUB => Some(Self::UserRevoked { sub: last.into(), at_s: first.parse().ok()? }),
            JTI => Some(Self::TokenRevoked { jti: last.into(), at_s: first.parse().ok()? }),
            TERMINATE => {
                let (app, user) = last.split_once(' ').filter(|(_, user)| !user.is_empty())?;
                Some(Self::Terminate { at_ms: first.parse().ok()?, app: app.into(), user: user.into() })
            }
            _ => None,
        }
    }

    /// When it was said, in seconds since 1970.
    pub fn at_s(&self) -> u64 {
        match self {
            Self::UserRevoked { at_s, .. } | Self::TokenRevoked { at_s, .. } => *at_s,
            Self::Terminate { at_ms, .. } => at_ms / 1000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_read_back_and_names_may_have_spaces() {
        for (tiding, text) in [
            (Tiding::UserRevoked { sub: "u 42 ends".into(), at_s: 7 }, "revoke-sub 7 u 42 ends"),
            (Tiding::TokenRevoked { jti: "9f2c".into(), at_s: 1_790_000_000 }, "revoke-jti 1790000000 9f2c"),
            (Tiding::Terminate { at_ms: 7, app: "1".into(), user: "a,b c".into() }, "terminate 7 1 a,b c"),
        ] {
            assert_eq!(tiding.to_text(), text);
            assert_eq!(Tiding::read(text), Some(tiding));
        }
    }

    #[test]
    fn what_is_nothing_that_is_told_is_passed_over() {
        for text in [
            "",
            "ends",
            "revoke-sub",
            "revoke-sub 7",
            "revoke-sub 7 ",
            "revoke-sub x u",
            "revoke-all 7 u",
            "terminate 7 1",
            "terminate 7 1 ",
            "terminate x 1 u",
        ] {
            assert_eq!(Tiding::read(text), None, "{text}");
        }
        assert_eq!(Tiding::read(&format!("terminate 7 1 {}", "u".repeat(LEN_MAX))), None);
    }
}
