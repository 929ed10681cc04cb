//! How a living connection gets another identity: the client brings a new token.
//!
//! Whether a token is good is found by the guard; what it allows, by the rules.

use super::Connection;
use super::context::Context;
use crate::commands::{Reference, answer};
use crate::server::access::Refusal;

impl Connection {
    /// Takes a token in the place of the client's identity. It has to be of the same user.
    ///
    /// # Errors
    /// It is no good, or of another user, or the user has too many connections. The client is who it was.
    pub(super) fn take_token(&mut self, token: &str, cx: &mut Context) -> Result<(), Refusal> {
        let identity = cx.shared.guard.identify_token(&cx.access, token, cx.unix_s())?;
        if let Some(before) = &self.identity {
            identity.check_replaces(before)?;
        }
        let before = self.identity.replace(identity);
        if let Err(too_many) = self.count_user(cx) {
            self.identity = before;
            return Err(Refusal::TooMany(too_many));
        }
        self.attend_anew(cx);
        Ok(())
    }

    /// Tells the client whose token was taken, and when it is to bring another.
    pub(super) fn tell_authorized(&mut self, reference: Option<&Reference>, cx: &Context) {
        let Some(identity) = &self.identity else { return };
        let Some(expires_in_s) = identity.expires_in_s(cx.unix_s()) else { return };
        let text = answer::authorized(reference, identity.sub(), expires_in_s);
        self.send_message(&text);
    }
}
