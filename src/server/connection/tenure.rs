//! How long a connection may read its channels by the word of its backend: the grants, the question whether they hold on, and
//! the end.
//!
//! How a connection comes by its grants is in `judging`.

use super::context::Context;
use super::grants::{Renewal, spread};
use super::life::Life;
use super::watching::name_of;
use super::{Connection, Next};
use crate::backend::{Action, Asked, Decision};
use crate::config::Backend;
use crate::hub::ChannelName;
use crate::server::access::Refusal;
use crate::server::api::basis::refusal_of;
use crate::server::clock::{Millis, millis};

/// While the backend fails, who is in is asked about again after this long.
const RETRY_MS: u64 = 5_000;

/// How many channels that were left are remembered, besides as many as are read: who comes back soon is not asked about.
const UNREAD_MAX: usize = 16;

/// How long who is in stays while the backend, or the program in its place, fails.
fn grace_ms(cx: &Context) -> u64 {
    match (&cx.shared.config.backend, &cx.program.judge) {
        (_, Some(_)) => millis(Backend::GRACE),
        (Some(backend), None) => millis(backend.grace),
        (None, None) => 0,
    }
}

/// The end of what was allowed.
impl Connection {
    /// When the backend is to be asked again whether the connection may read its channels, if it is to be.
    pub(super) fn renewal_at(&self) -> Option<Millis> {
        let tenure = self.tenure().filter(|tenure| tenure.renewal.is_none())?;
        let is_reading = match &self.life {
            Life::WebSocket(_) => self.is_open(),
            Life::EventStream(_) | Life::LongPoll(_) => true,
            Life::Http(_) | Life::Carried(_) | Life::Carrier(_) | Life::Finishing | Life::Lingering => false,
        };
        (is_reading && tenure.ask_at < Millis(u64::MAX)).then_some(tenure.ask_at)
    }

    /// Asks the backend whether the connection may read on. A long poll is answered: the next one asks.
    pub(super) fn renew(&mut self, cx: &mut Context) -> Next {
        if matches!(self.life, Life::LongPoll(_)) {
            self.answer_poll(cx);
            return Next::Read;
        }
        self.forget_all_unread(cx);
        let Some(tenure) = self.tenure_mut() else { return Next::Wait };
        tenure.ask_at = Millis(u64::MAX);
        let channels: Vec<_> = tenure
            .held
            .iter()
            .filter(|held| held.ends_at <= cx.now)
            .map(|held| held.channel.clone())
            .collect();
        if channels.is_empty() {
            self.set_renewal(cx);
            return Next::Wait;
        }
        match self.ask_for(Action::Subscribe, &channels, cx) {
            Asked::Known(decisions) => self.renewed(&channels, &decisions, cx),
            Asked::Waiting(question) => {
                if let Some(tenure) = self.tenure_mut() {
                    tenure.renewal = Some(Renewal { question, channels, since: cx.now });
                }
                Next::Wait
            }
        }
    }

    /// Forgets channels that were left, once they are more than those that are read, so that who comes and goes takes no
    /// memory.
    pub(super) fn forget_unread(&mut self, cx: &Context) {
        let kept_max = 2 * self.subscriptions.entries().len() + UNREAD_MAX;
        if self.tenure().is_some_and(|tenure| tenure.held.len() >= kept_max) {
            self.forget_all_unread(cx);
        }
    }

    fn forget_all_unread(&mut self, cx: &Context) {
        let entries = self.subscriptions.entries().iter();
        let read: Vec<ChannelName> = entries.map(|entry| name_of(entry.subscription, &cx.hub)).collect();
        if let Some(tenure) = self.tenure_mut() {
            tenure.held.retain(|held| read.contains(&held.channel));
        }
    }

    /// Goes on reading what may be read on, and ends the rest. While the backend fails, the connection stays for
    /// `--auth-grace`.
    pub(super) fn renewed(
        &mut self,
        channels: &[ChannelName],
        decisions: &[Decision],
        cx: &mut Context,
    ) -> Next {
        if self.ends_as_another(decisions, cx) {
            return Next::Wait;
        }
        let grace_ms = grace_ms(cx);
        for (channel, decision) in channels.iter().zip(decisions) {
            let Some(tenure) = self.tenure_mut() else { return Next::Wait };
            let Some(held) = tenure.held.iter_mut().find(|held| held.channel == *channel) else { continue };
            match decision {
                Decision::Yes(grant) => {
                    (held.ends_at, held.sees) = (Millis(grant.ends_at_ms), grant.sees);
                    held.person = grant.person.clone();
                    continue;
                }
                Decision::Fault(_) if cx.now.0 < held.ends_at.0.saturating_add(grace_ms) => continue,
                Decision::Fault(_) | Decision::No(_) => {}
            }
            tenure.held.retain(|held| held.channel != *channel);
            if let Some(refusal) = refusal_of(decision, Action::Subscribe, channel) {
                self.end_judged(channel, &refusal, cx);
            }
        }
        self.set_renewal(cx);
        Next::Wait
    }

    /// Sets the time of the next question: when the first channel runs out, or a while after a fault.
    fn set_renewal(&mut self, cx: &Context) {
        let grace_ms = grace_ms(cx);
        let Some(tenure) = self.tenure_mut() else { return };
        let ends = tenure.held.iter().map(|held| match held.ends_at > cx.now {
            true => held.ends_at,
            false => Millis(held.ends_at.0.saturating_add(grace_ms).min(cx.now.0 + RETRY_MS)),
        });
        tenure.ask_at = ends.min().map_or(Millis(u64::MAX), |at| spread(at, cx.owner));
    }

    /// Ends the subscription of a client of many channels; all others have what they read as a whole, and end.
    fn end_judged(&mut self, channel: &ChannelName, refusal: &Refusal, cx: &mut Context) {
        if self.multiplex().is_some() {
            if let Some(subscription) = self.subscription_to(channel, cx) {
                self.expel(subscription, refusal.code(), cx);
            }
            return;
        }
        cx.note_refusal(refusal, self.identity.as_deref());
        self.end_with(refusal, cx);
    }
}
