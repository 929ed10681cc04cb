//! What other nodes are told of the table of who is in a channel, and what they have told.
//!
//! The table is in `presence`. Which node has what is not known here: others are taken together.

use std::sync::Arc;

use crate::server::broker::engine::records::{Record, Whose};
use crate::server::broker::presence::{Info, Member, Presence, text_len};

/// What is told to other nodes, and by them.
impl Presence {
    /// Other nodes are to know who is here.
    pub fn share(&mut self) {
        self.news.get_or_insert_default();
    }

    /// Whether they do not know something.
    pub fn has_news(&self) -> bool {
        self.news.as_ref().is_some_and(|news| news.is_any(self.unnamed.len()))
    }

    /// Whether anybody is here, or was a moment ago.
    pub fn is_anybody_here(&self) -> bool {
        self.unnamed.len() > 0 || self.members.values().any(|member| member.is_here)
    }

    /// What they do not know, or all if they are to be told that: they know it from now on. Each record that is not here any more
    /// is among what is new. Returns whether it is all.
    pub fn take_news(&mut self, is_whole: bool, records: &mut Vec<Record>) -> bool {
        let unnamed = self.unnamed.len();
        let Some(news) = &mut self.news else { return false };
        let is_whole = is_whole || news.is_whole;
        let subs = std::mem::take(&mut news.subs);
        let is_unnamed_new = std::mem::replace(&mut news.unnamed, unnamed) != unnamed || is_whole;
        news.is_whole = false;
        if is_whole {
            records.extend(self.members.values().filter(|member| member.is_here).map(Member::record));
        } else {
            records.extend(subs.iter().map(|sub| match self.members.get(sub) {
                Some(member) if member.is_here => member.record(),
                Some(_) | None => Record { whose: Whose::User((**sub).into()), here: None },
            }));
        }
        if is_unnamed_new && (unnamed > 0 || !is_whole) {
            records.push(Record { whose: Whose::Unnamed, here: (unnamed > 0).then_some((unnamed, None)) });
        }
        is_whole
    }

    /// Who is at other nodes is different.
    pub fn note_elsewhere(&mut self, record: &Record) {
        let Record { whose, here: elsewhere } = record;
        match (whose, elsewhere) {
            (Whose::Unnamed, elsewhere) => {
                self.unnamed_elsewhere = elsewhere.as_ref().map_or(0, |(count, _)| *count);
            }
            (Whose::User(sub), Some((connections, info))) => {
                self.enter_elsewhere(sub, *connections, info.as_deref())
            }
            (Whose::User(sub), None) => self.exit_elsewhere(sub),
            (Whose::Member(_), _) => {}
        }
    }

    fn enter_elsewhere(&mut self, sub: &str, connections: u64, info: Option<&str>) {
        let info: Info = info.map(Into::into);
        let Some(member) = self.members.get_mut(sub) else {
            let sub: Arc<str> = sub.into();
            self.text_len += sub.len() + text_len(&info);
            let mut member = Member::new(Arc::clone(&sub), info);
            member.elsewhere = Some(connections);
            self.members.insert(Arc::clone(&sub), member);
            return self.told.note(sub, None, self.list_max);
        };
        member.elsewhere = Some(connections);
        if member.info != info {
            let before = std::mem::replace(&mut member.info, info);
            self.text_len = self.text_len - text_len(&before) + text_len(&member.info);
            let sub = Arc::clone(&member.sub);
            self.told.note(sub, Some(before), self.list_max);
        }
    }

    fn exit_elsewhere(&mut self, sub: &str) {
        let Some(member) = self.members.get_mut(sub) else { return };
        member.elsewhere = None;
        if !member.is_here {
            let sub = Arc::clone(&member.sub);
            self.remove(&sub);
        }
    }

    /// Whose records other nodes have.
    pub fn elsewhere(&self) -> Vec<Whose> {
        let users = self.members.values().filter(|member| member.elsewhere.is_some());
        let users = users.map(|member| Whose::User((*member.sub).into()));
        users.chain((self.unnamed_elsewhere > 0).then_some(Whose::Unnamed)).collect()
    }
}

impl Member {
    fn record(&self) -> Record {
        let info = self.info.as_deref().map(Into::into);
        Record { whose: Whose::User((*self.sub).into()), here: Some((self.connections, info)) }
    }
}

#[cfg(test)]
#[path = "presence_shared_tests.rs"]
mod tests;
