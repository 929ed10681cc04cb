//! Publications of clients on their way to the broker: those by a key leave a line in the audit.
//!
//! The line is written in `audit`. Whether the client may publish was checked before.

use super::context::Context;
use super::{Connection, audits};
use crate::server::audit::Audited;
use crate::server::broker::answer::Publishing;
use crate::server::broker::draft::Draft;
use crate::server::broker::idempotency::{IdempotencyKey, KeyRefused};
use crate::server::handlers::watching::{Sender, Unfit};
use crate::server::metrics::refusals::Reason;

/// Why a publication of a client was not made.
#[derive(Debug)]
pub enum NotPut {
    /// For what its key was used for, or since there is no room for that.
    Key(KeyRefused),
    /// A filter of the program has not let it pass.
    Program(Unfit),
}

impl Connection {
    /// Publishes what the client sent, once if it has a key for that.
    ///
    /// # Errors
    /// What the key was used for, that there is no room for it, or that the program refuses it.
    pub(super) fn put(
        &mut self,
        draft: Draft,
        key: Option<IdempotencyKey>,
        cx: &mut Context,
    ) -> Result<Publishing, NotPut> {
        let request = cx.audits.draw(1);
        self.put_as(request, draft, key, cx)
    }

    /// The same, by a number that was drawn: if the outcome is awaited, it comes with that.
    ///
    /// # Errors
    /// As [`Connection::put`].
    pub(super) fn put_as(
        &mut self,
        request: u64,
        mut draft: Draft,
        key: Option<IdempotencyKey>,
        cx: &mut Context,
    ) -> Result<Publishing, NotPut> {
        self.filter(&mut draft, cx).map_err(NotPut::Program)?;
        let audited = self.audited(&draft, cx);
        let (broker, waiter) = (&cx.shared.broker, cx.waiter_of(request));
        let publishing = match key {
            None => broker.publish(draft, waiter, cx.now),
            Some(key) => broker
                .publish_once(draft, key, !cx.shared.is_over_memory(), waiter, cx.now)
                .map_err(NotPut::Key)?,
        };
        if let (Some(audited), Some(audit)) = (audited, &cx.shared.audit) {
            match publishing {
                Publishing::Done(receipt) => audits::note(audit, &audited, receipt),
                Publishing::Awaited => {
                    cx.audits.insert(request, audited);
                }
            }
        }
        if matches!(publishing, Publishing::Awaited) {
            self.note_awaited();
        }
        Ok(publishing)
    }

    /// Has the filters of the program look at what a client publishes.
    ///
    /// # Errors
    /// One of them refuses it, has made it too long, or panicked.
    pub(super) fn filter(&self, draft: &mut Draft, cx: &Context) -> Result<(), Unfit> {
        let program = &cx.program;
        if program.watching.filters.is_empty() {
            return Ok(());
        }
        let sender = Sender::new(self.identity.as_deref(), self.client_address(cx));
        program.watching.filter(draft, &sender, program.on_panic, |said| {
            program.note_panic();
            cx.note(Reason::Handler, &format_args!("a publication, whose filter panicked: {said}"));
        })?;
        let (len, len_max) = (draft.data.len() as u64, cx.shared.config.publication_len_max());
        if len > len_max { Err(Unfit::TooLong { len, len_max }) } else { Ok(()) }
    }

    /// What the audit says of a publication of this client, if it says anything. It may take a system call.
    fn audited(&self, draft: &Draft, cx: &Context) -> Option<Audited> {
        cx.shared.audit.as_ref()?;
        let key = self.identity.as_deref()?.key_name()?.into();
        let address = self.client_address(cx);
        Some(Audited { key, channel: draft.channel.clone(), len: draft.data.len(), address })
    }
}
