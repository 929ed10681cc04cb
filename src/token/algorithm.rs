//! The algorithms by which tokens are signed, and their names. No key is known here.

use std::fmt;

/// How tokens are signed. A key is for one of these and for no other (RFC 8725 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// HMAC with SHA-256, by a secret that whoever makes tokens has too.
    Hs256,
    /// ECDSA on the curve P-256 with SHA-256.
    Es256,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Hs256, Self::Es256, Self::EdDsa, Self::Rs256];

    /// The name in the header of a token.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }

    /// The algorithm of this name. `Ed25519` is the newer one of `EdDSA` with such a key (RFC 9864).
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_algorithm_is_found_by_its_name_and_by_no_other() {
        for algorithm in Algorithm::ALL {
            assert_eq!(Algorithm::named(&algorithm.to_string()), Some(algorithm));
        }
        assert_eq!(Algorithm::named("Ed25519"), Some(Algorithm::EdDsa));
        for name in [
            "", "none", "None", "hs256", "HS384", "HS512", "RS512", "PS256", "ES384", "ES256K", "Ed448",
            "HS256 ",
        ] {
            assert_eq!(Algorithm::named(name), None, "{name}");
        }
    }
}
