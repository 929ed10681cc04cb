//! What a client of `/channels` is told, as the text of messages.
//!
//! When each is sent, and the publications themselves, are the server's.

use super::{Fault, Reference};
use crate::hub::{ChannelName, Gap, PublicationId, Published};

/// Where a subscription begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Beginning {
    /// The publication before the first that the subscriber gets.
    pub since: PublicationId,
    /// Whether presence was asked for and is not to be had: it is off for the channel, or the client has no right to it.
    pub lacks_presence: bool,
}

/// Why the server ended a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended<'a> {
    /// `lagged`, or the code of a fault: [`FaultKind::code`](super::FaultKind::code).
    pub code: &'a str,
    /// The last publication that the subscriber got: where it goes on if it subscribes again.
    pub since: PublicationId,
}

/// A subscription has begun, and nothing between the position asked for and its beginning is lost.
#[must_use]
pub fn subscribed(channel: &ChannelName, reference: Option<&Reference>, beginning: Beginning) -> String {
    answer("subscribed", Some(channel.local()), reference, Some(&data(beginning)))
}

/// A subscription has begun, and something between the position asked for and its beginning is lost.
#[must_use]
pub fn gap(channel: &ChannelName, reference: Option<&Reference>, gap: Gap, beginning: Beginning) -> String {
    let data = format!(r#"{{"missed":{},{}"#, missed(gap), &data(beginning)[1..]);
    answer("gap", Some(channel.local()), reference, Some(&data))
}

/// A subscription has ended: as the client asked, or because of something.
#[must_use]
pub fn unsubscribed(
    channel: &ChannelName,
    reference: Option<&Reference>,
    because: Option<Ended<'_>>,
) -> String {
    let data = because.map(|Ended { code, since }| format!(r#"{{"code":{},"since":"{since}"}}"#, json(code)));
    answer("unsubscribed", Some(channel.local()), reference, data.as_deref())
}

/// A publication has its identifier and is on its way. Only publishers that gave a `ref` are told.
#[must_use]
pub fn published(reference: &Reference, published: Published) -> String {
    let Published { id, subscribers } = published;
    let data = format!(r#"{{"id":"{id}","subscribers":{subscribers}}}"#);
    answer("published", None, Some(reference), Some(&data))
}

/// What a channel keeps. `elements` are envelopes with a comma ahead of each, as long polls have them; `next` is where to go
/// on; `lost`, whether something after the position asked for is not kept any more.
#[must_use]
pub fn history(
    channel: &ChannelName,
    reference: Option<&Reference>,
    lost: Option<Gap>,
    elements: &str,
    next: PublicationId,
) -> String {
    let lost = lost.map_or_else(String::new, |gap| format!(r#""gap":{{"missed":{}}},"#, missed(gap)));
    let messages = elements.strip_prefix(',').unwrap_or(elements);
    let data = format!(r#"{{{lost}"messages":[{messages}],"next":"{next}"}}"#);
    answer("history", Some(channel.local()), reference, Some(&data))
}

/// Who is in a channel. `data` is one JSON object.
#[must_use]
pub fn presence(channel: &ChannelName, reference: Option<&Reference>, data: &str) -> String {
    answer("presence", Some(channel.local()), reference, Some(data))
}

/// A token is taken: whose it is, if it says so, and the seconds until it expires.
#[must_use]
pub fn authorized(reference: Option<&Reference>, sub: Option<&str>, expires_in_s: u64) -> String {
    let sub = sub.map_or_else(String::new, |sub| format!(r#""sub":{},"#, json(sub)));
    answer("authorized", None, reference, Some(&format!(r#"{{{sub}"expires_in":{expires_in_s}}}"#)))
}

/// The subscriber was too slow, and this number of the channel's publications was skipped.
#[must_use]
pub fn lagged(channel: &ChannelName, skipped: u64) -> String {
    answer("lagged", Some(channel.local()), None, Some(&format!(r#"{{"missed":{skipped}}}"#)))
}

/// What is wrong with a command, or with one channel of it.
#[must_use]
pub fn error(fault: &Fault) -> String {
    let (code, status) = (fault.kind.code(), fault.kind.status());
    let data = format!(r#"{{"code":"{code}","status":{status},"message":{}}}"#, json(&fault.to_string()));
    answer("error", fault.channel.as_deref(), fault.reference.as_ref(), Some(&data))
}

fn answer(name: &str, channel: Option<&str>, reference: Option<&Reference>, data: Option<&str>) -> String {
    let channel = channel.map_or_else(String::new, |channel| format!(r#","channel":{}"#, json(channel)));
    let reference = reference.map_or_else(String::new, |reference| format!(r#","ref":{reference}"#));
    let data = data.map_or_else(String::new, |data| format!(r#","data":{data}"#));
    format!(r#"{{"event":"fanfare:{name}"{channel}{reference}{data}}}"#)
}

fn data(beginning: Beginning) -> String {
    let Beginning { since, lacks_presence } = beginning;
    let presence = if lacks_presence { r#","presence":false"# } else { "" };
    format!(r#"{{"since":"{since}"{presence}}}"#)
}

/// The number of lost publications as JSON; `null` if it is not known.
fn missed(gap: Gap) -> String {
    gap.missed.map_or_else(|| "null".to_owned(), |missed| missed.to_string())
}

/// The text as a JSON string, in quotes.
fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}
