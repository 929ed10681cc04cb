//! What a request is judged by, and how it is denied.
//!
//! The rules are in `access`; what is answered is decided in `handlers`.

use crate::backend::{Action, Decision, Judged, refusal};
use crate::http::Response;
use crate::hub::ChannelName;
use crate::server::access::{Access, Guard, Refusal, Verdict};
use crate::server::apps::Apps;

/// What a request is judged by.
#[derive(Clone, Copy, Debug)]
pub struct Basis<'a> {
    /// The rules of access.
    pub access: &'a Access,
    /// Which proofs are good.
    pub guard: &'a Guard,
    /// The apps.
    pub apps: &'a Apps,
    /// What the backend has decided for the request.
    pub judged: &'a Judged,
    /// The wall clock's time, in seconds since 1970.
    pub now_s: u64,
}

/// Why a request is not served.
#[derive(Debug)]
pub enum Denied {
    /// With this answer.
    Response(Response),
    /// As one who may not.
    Refusal(Box<Refusal>),
    /// Not yet: the backend is to be asked this.
    Ask(Asking),
}

/// What the backend is to be asked about a request.
#[derive(Debug)]
pub struct Asking {
    /// What the client wants.
    pub action: Action,
    /// Of which channels.
    pub channels: Vec<ChannelName>,
}

impl From<Response> for Denied {
    fn from(response: Response) -> Self {
        Self::Response(response)
    }
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(Box::new(refusal))
    }
}

impl Basis<'_> {
    /// Lets who may go on; `verdict` is about this channel.
    ///
    /// # Errors
    /// It may not, or the backend has not decided yet.
    pub fn check(&self, verdict: Verdict, channel: &ChannelName) -> Result<(), Denied> {
        let action = match verdict {
            Verdict::Yes => return Ok(()),
            Verdict::No(refusal) => return Err(refusal.into()),
            Verdict::Ask(action) => action,
        };
        match self.judged.find(action, channel) {
            Some(decision) => {
                refusal_of(decision, action, channel).map_or(Ok(()), |refusal| Err(refusal.into()))
            }
            None => Err(Denied::Ask(Asking { action, channels: vec![channel.clone()] })),
        }
    }

    /// As [`Basis::check`], where the client wants to see who is in the channel: the backend says that with its yes.
    ///
    /// # Errors
    /// It may not, or the backend has not decided yet.
    pub fn check_sees(&self, verdict: Verdict, channel: &ChannelName) -> Result<(), Denied> {
        let Verdict::Ask(action) = verdict else { return self.check(verdict, channel) };
        match self.judged.find(action, channel) {
            Some(Decision::Yes(grant)) if !grant.sees => {
                let message = "The backend does not let this client see who is there.";
                Err(Refusal::Judged(refusal(Some(message), action, channel)).into())
            }
            _ => self.check(verdict, channel),
        }
    }

    /// As [`Basis::check`], of several channels: what is to be asked about them is asked at once.
    ///
    /// # Errors
    /// The client may not do one of them, or the backend has not decided yet.
    pub fn check_all<'b>(
        &self,
        verdicts: impl Iterator<Item = (Verdict, &'b ChannelName)>,
    ) -> Result<(), Denied> {
        let mut unasked: Option<Asking> = None;
        for (verdict, channel) in verdicts {
            match (self.check(verdict, channel), &mut unasked) {
                (Ok(()), _) => {}
                (Err(Denied::Ask(asking)), Some(earlier)) if earlier.action == asking.action => {
                    earlier.channels.extend(asking.channels);
                }
                (Err(Denied::Ask(asking)), unasked @ None) => *unasked = Some(asking),
                // Another action is for the next question.
                (Err(Denied::Ask(_)), Some(_)) => {}
                (Err(denied @ (Denied::Refusal(_) | Denied::Response(_))), _) => return Err(denied),
            }
        }
        unasked.map_or(Ok(()), |asking| Err(Denied::Ask(asking)))
    }
}

/// What a client is told that the backend does not let in; `None` where it does.
pub fn refusal_of(decision: &Decision, action: Action, channel: &ChannelName) -> Option<Refusal> {
    match decision {
        Decision::Yes(_) => None,
        Decision::No(message) => Some(Refusal::Judged(refusal(message.as_deref(), action, channel))),
        Decision::Fault(fault) => Some(Refusal::Unavailable(*fault)),
    }
}
