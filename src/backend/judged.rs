//! What the backend has decided for one request so far: a request is decided anew with it, until nothing is left to ask.
//!
//! How long a decision holds is said in its grant.

use std::sync::Arc;

use super::call::Action;
use super::decision::{Decision, Grant, Person};
use crate::hub::ChannelName;

/// Decisions by action and channel: a few, so they are searched from end to end.
#[derive(Debug, Default)]
pub struct Judged(Vec<(Action, ChannelName, Decision)>);

impl Judged {
    /// What is decided, if it is.
    #[must_use]
    pub fn find(&self, action: Action, channel: &ChannelName) -> Option<&Decision> {
        let found = self.0.iter().find(|(of, about, _)| (*of, about) == (action, channel));
        found.map(|(.., decision)| decision)
    }

    /// Adds decisions, in the order of the channels.
    pub fn add(&mut self, action: Action, channels: &[ChannelName], decisions: Box<[Decision]>) {
        debug_assert_eq!(channels.len(), decisions.len());
        self.0.extend(
            channels.iter().zip(decisions).map(|(channel, decision)| (action, channel.clone(), decision)),
        );
    }

    /// Who the client is, if a yes says so.
    #[must_use]
    pub fn person(&self) -> Option<&Arc<Person>> {
        self.grants().find_map(|(.., grant)| grant.person.as_ref())
    }

    /// What is allowed.
    pub fn grants(&self) -> impl Iterator<Item = (Action, &ChannelName, &Grant)> {
        self.0.iter().filter_map(|(action, channel, decision)| match decision {
            Decision::Yes(grant) => Some((*action, channel, grant)),
            Decision::No(_) | Decision::Fault(_) => None,
        })
    }

    /// Bytes held for it, about; what several share is not counted.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.0.capacity() * size_of::<(Action, ChannelName, Decision)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decisions_are_found_by_action_and_channel() {
        let channels = ["a", "b"].map(|name| ChannelName::new(name).unwrap());
        let person = Arc::new(Person { sub: Some("u42".into()), info: None });
        let grant = Grant { person: Some(Arc::clone(&person)), sees: true, ends_at_ms: 9 };
        let mut judged = Judged::default();
        assert!(judged.person().is_none());
        judged.add(Action::Subscribe, &channels, [Decision::No(None), Decision::Yes(grant.clone())].into());
        assert_eq!(judged.find(Action::Subscribe, &channels[0]), Some(&Decision::No(None)));
        assert_eq!(judged.find(Action::Publish, &channels[0]), None);
        assert_eq!(judged.person(), Some(&person));
        assert_eq!(judged.grants().collect::<Vec<_>>(), [(Action::Subscribe, &channels[1], &grant)]);
    }
}
