//! The publications of a loop whose outcome is awaited: their numbers, and what the audit says of them then.
//!
//! Nothing is published here.

use std::collections::HashMap;

use crate::server::audit::{Audit, Audited};
use crate::server::broker::answer::{NotPublished, Receipt};

/// The numbers under which a loop awaits outcomes, and the audited ones among these publications.
#[derive(Debug, Default)]
pub struct Audits {
    drawn: u64,
    awaited: HashMap<u64, Audited>,
}

impl Audits {
    /// Numbers for this many publications, one after the other: the first of them. None is 0.
    pub fn draw(&mut self, count: u64) -> u64 {
        let first = self.drawn + 1;
        self.drawn += count;
        first
    }

    /// The outcome of a publication is awaited.
    pub fn insert(&mut self, request: u64, audited: Audited) {
        self.awaited.insert(request, audited);
    }

    /// The outcome of a publication has come; its connection may have gone.
    pub fn settle(&mut self, request: u64, outcome: Result<Receipt, NotPublished>, audit: Option<&Audit>) {
        if let Some(audited) = self.awaited.remove(&request)
            && let (Ok(receipt), Some(audit)) = (outcome, audit)
        {
            note(audit, &audited, receipt);
        }
    }
}

/// A publication was made; one that was made before has its line.
pub fn note(audit: &Audit, audited: &Audited, receipt: Receipt) {
    if !receipt.is_replay {
        audit.note(audited, receipt.published.id);
    }
}
