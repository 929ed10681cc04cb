//! Signed tokens (JWT) that say who a client is and what it may do: the keys, the signature, the claims, the refusals.
//!
//! Bytes and the time go in, verdicts come out: no file, socket or clock is known here. Of the rest of the crate, only the
//! names of channels are used. Signatures are checked by aws-lc-rs; parts, names and times by hand.
//!
//! | RFC | what of it | file |
//! |---|---|---|
//! | 7515, 8725 | three parts, the header, which key | `jwt.rs` |
//! | 7519 | the claims and their times | `claims.rs`, `grants.rs` |
//! | 7517, 7518, 8037 | keys as JSON | `jwk.rs`, `key_url.rs` |
//! | 5280, 7468 | keys as PEM | `key_file.rs`, `key.rs` |
//! | 6750 | the challenge | `error.rs`, `bad.rs` |

mod algorithm;
mod bad;
mod claims;
mod error;
mod grants;
mod json;
mod jwk;
mod jwt;
mod key;
mod key_fault;
mod key_file;
mod key_url;
mod known;
mod quote;
mod refresh;

pub use algorithm::Algorithm;
pub use bad::{BadToken, GLOBS_MAX, INFO_LEN_MAX, LEEWAY_S, LIFE_MAX_S, NAME_LEN_MAX, Part, TOKEN_LEN_MAX};
pub use claims::{Claims, without_space};
pub use error::{Denial, Error, Expiry, Holder, RevokedAt, Right, Subject};
pub use grants::{Globs, Grants};
pub use jwt::{TRIED_MAX, Token, is_token};
pub use key::{Key, KeyId, Keys};
pub use key_fault::{KEYS_MAX, KID_LEN_MAX, KeyFault, KeyFileError, RSA_BITS, SECRET_LEN_MIN};
pub use key_file::KeyFiles;
pub use known::{KNOWN_LEN_MAX, KNOWN_MAX, Known, TokenDigest};
pub use refresh::{Pace, Refresh};
