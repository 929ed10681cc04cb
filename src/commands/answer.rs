//! What a client of `/channels` is told, as the text of messages.
//!
//! When each is sent, and the publications themselves, are the server's.

use super::{Fault, FaultKind, Reference};
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
    let data = fault_data(&fault.kind);
    answer("error", fault.channel.as_deref(), fault.reference.as_ref(), Some(&data))
}

/// The same without its envelope: `{"code":…,"status":…,"message":…}`.
#[must_use]
pub fn fault_data(kind: &FaultKind) -> String {
    let (code, status) = (kind.code(), kind.status());
    format!(r#"{{"code":"{code}","status":{status},"message":{}}}"#, json(&kind.to_string()))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{FaultKind, Limits, parse};

    const SINCE: PublicationId = PublicationId { epoch: 0x8c1f_5d0e_7a21, sequence: 7 };
    const AT: Beginning = Beginning { since: SINCE, lacks_presence: false };

    fn name(text: &str) -> ChannelName {
        ChannelName::new(text).unwrap()
    }

    fn reference(json: &str) -> Reference {
        Reference::new(json).unwrap()
    }

    #[test]
    fn a_subscriber_is_told_where_it_begins() {
        assert_eq!(
            subscribed(&name("news"), Some(&reference("1")), AT),
            r#"{"event":"fanfare:subscribed","channel":"news","ref":1,"data":{"since":"8c1f5d0e7a21-7"}}"#
        );
        assert_eq!(
            subscribed(&name("news"), None, Beginning { lacks_presence: true, ..AT }),
            r#"{"event":"fanfare:subscribed","channel":"news","data":{"since":"8c1f5d0e7a21-7","presence":false}}"#
        );
    }

    #[test]
    fn a_subscriber_is_told_that_something_is_lost_and_how_much_if_that_is_known() {
        let since = PublicationId { epoch: 0x8c1f_5d0e_7a22, sequence: 40 };
        let beginning = Beginning { since, ..AT };
        assert_eq!(
            gap(&name("chat-7"), Some(&reference("1")), Gap { missed: None }, beginning),
            r#"{"event":"fanfare:gap","channel":"chat-7","ref":1,"data":{"missed":null,"since":"8c1f5d0e7a22-40"}}"#
        );
        let beginning = Beginning { lacks_presence: true, ..beginning };
        assert_eq!(
            gap(&name("chat-7"), Some(&reference(r#""a""#)), Gap { missed: Some(4) }, beginning),
            r#"{"event":"fanfare:gap","channel":"chat-7","ref":"a","data":{"missed":4,"since":"8c1f5d0e7a22-40","presence":false}}"#
        );
    }

    #[test]
    fn a_client_that_may_not_is_told_so_of_its_channel() {
        let kind =
            FaultKind::Forbidden("The token of u42 subscribes to news, chat-*; not to ops.".to_owned());
        let fault = Fault { reference: Some(reference("1")), channel: Some("ops".to_owned()), kind };
        assert_eq!(
            error(&fault),
            r#"{"event":"fanfare:error","channel":"ops","ref":1,"data":{"code":"forbidden","status":403,"message":"The token of u42 subscribes to news, chat-*; not to ops."}}"#
        );
        let fault = Fault { reference: None, channel: None, kind: FaultKind::Conflict };
        assert_eq!(
            error(&fault),
            r#"{"event":"fanfare:error","data":{"code":"conflict","status":422,"message":"This key was used for another publication within the last minute; give each its own."}}"#
        );
    }

    #[test]
    fn a_publisher_is_told_the_identifier_and_the_number_of_subscribers() {
        let id = PublicationId { epoch: 0x8c1f_5d0e_7a22, sequence: 41 };
        assert_eq!(
            published(&reference("2"), Published { id, subscribers: 3 }),
            r#"{"event":"fanfare:published","ref":2,"data":{"id":"8c1f5d0e7a22-41","subscribers":3}}"#
        );
    }

    #[test]
    fn who_asks_for_history_gets_the_messages_and_where_to_go_on() {
        let next = PublicationId { epoch: 0x8c1f_5d0e_7a21, sequence: 8 };
        let element = r#",{"id":"8c1f5d0e7a21-8","event":"tick","data":{"price":1.5}}"#;
        assert_eq!(
            history(&name("news"), Some(&reference("3")), None, element, next),
            r#"{"event":"fanfare:history","channel":"news","ref":3,"data":{"messages":[{"id":"8c1f5d0e7a21-8","event":"tick","data":{"price":1.5}}],"next":"8c1f5d0e7a21-8"}}"#
        );
        assert_eq!(
            history(&name("news"), None, Some(Gap { missed: Some(2) }), ",1,2", next),
            r#"{"event":"fanfare:history","channel":"news","data":{"gap":{"missed":2},"messages":[1,2],"next":"8c1f5d0e7a21-8"}}"#
        );
        assert_eq!(
            history(&name("news"), None, None, "", next),
            r#"{"event":"fanfare:history","channel":"news","data":{"messages":[],"next":"8c1f5d0e7a21-8"}}"#
        );
    }

    #[test]
    fn a_subscription_ends_as_asked_or_with_a_code_and_where_to_go_on() {
        assert_eq!(
            unsubscribed(&name("news"), Some(&reference("5")), None),
            r#"{"event":"fanfare:unsubscribed","channel":"news","ref":5}"#
        );
        let ended = Ended { code: "lagged", since: SINCE };
        assert_eq!(
            unsubscribed(&name("news"), None, Some(ended)),
            r#"{"event":"fanfare:unsubscribed","channel":"news","data":{"code":"lagged","since":"8c1f5d0e7a21-7"}}"#
        );
    }

    #[test]
    fn a_subscriber_that_lags_is_told_in_which_channel() {
        assert_eq!(
            lagged(&name("news"), 3),
            r#"{"event":"fanfare:lagged","channel":"news","data":{"missed":3}}"#
        );
    }

    #[test]
    fn who_asks_who_is_there_gets_what_it_is_given() {
        assert_eq!(
            presence(&name("chat-7"), Some(&reference("4")), r#"{"members":[],"count":0,"anonymous":4}"#),
            r#"{"event":"fanfare:presence","channel":"chat-7","ref":4,"data":{"members":[],"count":0,"anonymous":4}}"#
        );
    }

    #[test]
    fn who_is_authorized_is_told_who_it_is_and_for_how_long() {
        assert_eq!(
            authorized(None, Some("u42"), 3600),
            r#"{"event":"fanfare:authorized","data":{"sub":"u42","expires_in":3600}}"#
        );
        assert_eq!(
            authorized(Some(&reference("6")), None, 5),
            r#"{"event":"fanfare:authorized","ref":6,"data":{"expires_in":5}}"#
        );
    }

    #[test]
    fn what_a_client_wrote_comes_back_as_json_whatever_it_is() {
        let text =
            r#"{"event":"fanfare:history","ref":"\u0041\"","data":{"channel":"a\"\n\u2028","last":1}}"#;
        let told = error(&parse(text, &Limits { channels_max: 1 }).unwrap_err());
        let beginning = format!(
            r#"{{"event":"fanfare:error","channel":"a\"\n{}","ref":"\u0041\"","data":{{"code":"bad_command","#,
            '\u{2028}'
        );
        assert!(told.starts_with(&beginning), "{told}");
        assert!(serde_json::from_str::<serde_json::Value>(&told).is_ok(), "{told}");
    }
}
