//! The settings of access of a configuration, checked one after the other, and whom its rules ask.
//!
//! What is wrong with each is found in `access_check`.

use super::access_check::{self, AccessFault, Proofs};
use super::{Config, ConfigError};

impl Config {
    /// Checks the settings of access.
    pub(super) fn check_access(&self) -> Result<(), AccessFault> {
        let proofs = self.proofs();
        access_check::check_keys(&self.keys)?;
        self.backend.as_ref().map_or(Ok(()), access_check::check_backend)?;
        self.token_jwks.as_deref().map_or(Ok(()), access_check::check_key_url)?;
        access_check::check_rules(&self.auth, proofs)?;
        let (audience, cookie) = (self.token_audience.as_deref(), self.token_cookie.as_deref());
        access_check::check_tokens(
            proofs.has_token_keys,
            audience,
            cookie,
            self.token_in_query,
            &self.allow_origin,
        )?;
        access_check::check_presence_members(self.presence_members, Self::PRESENCE_MEMBERS_MAX)?;
        access_check::check_proxied(&self.proxy_listen, &self.listen, !self.trust_proxy.is_empty())?;
        match self.audit.is_some() && !proofs.has_keys {
            true => Err(AccessFault::AuditWithoutKey),
            false => Ok(()),
        }
    }

    /// Checks that the rules can ask whom they ask: the backend, or the program if that decides. And that it is asked, if it does.
    ///
    /// # Errors
    /// Names the rule and the remedy.
    #[doc(hidden)]
    pub fn check_judge(&self, program_decides: bool) -> Result<(), ConfigError> {
        access_check::check_judge(&self.auth, self.proofs(), program_decides).map_err(ConfigError::Access)
    }

    fn proofs(&self) -> Proofs {
        Proofs {
            has_keys: !self.keys.is_empty(),
            has_token_keys: self.takes_tokens(),
            has_backend: self.backend.is_some(),
        }
    }
}
