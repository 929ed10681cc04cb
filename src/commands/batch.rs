//! Several publications in one body: a JSON list of items, or a line each.
//!
//! An item is an envelope with one channel or several. Whether each may be published is the server's to say.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::json::{self, Fields, Items, Kind};
use super::reading::{CHANNEL, channel_name, excerpt, payload, publication_key};
use super::{Fault, FaultKind};
use crate::hub::{ChannelName, Content, EventName};

/// The most items of a batch.
pub const ITEMS_MAX: usize = 100;

/// The most channels of one item, and ten times that of a batch in all: each has a place in the answer.
pub const CHANNELS_MAX: usize = 100;

/// The most publications of a batch.
pub const PUBLICATIONS_MAX: usize = 10 * CHANNELS_MAX;

/// The names that mean something in an item. Others are passed over, as in an envelope.
const ITEM: [&str; 6] = ["channel", "channels", "event", "key", "encoding", "data"];

/// The places of those whose `null` is a value, or that are asked for by themselves.
const CHANNELS: usize = 1;
const DATA: usize = 5;

/// How the items are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// As one JSON list.
    List,
    /// As a line each (`application/x-ndjson`); empty lines are none.
    Lines,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item<'a> {
    /// Where it is published.
    pub to: To,
    /// The name of the event, if any.
    pub event: Option<EventName>,
    /// What the data is.
    pub content: Content,
    /// The payload.
    pub data: Cow<'a, [u8]>,
    /// The name under which it may be sent again: 1 to 255 visible ASCII characters.
    pub key: Option<Cow<'a, str>>,
}

/// Where an item is published: none of the server's own channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum To {
    /// To one channel.
    One(ChannelName),
    /// To several, none twice: its result names each.
    Several(Vec<ChannelName>),
}

impl To {
    /// The channels, in their order.
    #[must_use]
    pub fn channels(&self) -> &[ChannelName] {
        match self {
            Self::One(channel) => std::slice::from_ref(channel),
            Self::Several(channels) => channels,
        }
    }
}

/// Reads a batch. Nothing of it is published if any item cannot be read.
///
/// # Errors
/// Says which item is wrong, and what is right.
pub fn parse(text: &str, layout: Layout) -> Result<Vec<Item<'_>>, Fault> {
    let whole = |why: String| Fault { reference: None, channel: None, kind: FaultKind::BadCommand(why) };
    let texts = items(text, layout).map_err(whole)?;
    let mut all = Vec::with_capacity(texts.len());
    let mut publications = 0;
    for (at, text) in texts.into_iter().enumerate() {
        let item = item(text).map_err(|kind| {
            let what = kind.to_string();
            whole(format!("Item {at}: {}", what.trim_end_matches('.')))
        })?;
        publications += item.to.channels().len();
        all.push(item);
    }
    if publications > PUBLICATIONS_MAX {
        return Err(whole(format!(
            "The batch has {publications} publications; {PUBLICATIONS_MAX} at most: send several"
        )));
    }
    Ok(all)
}

fn items(text: &str, layout: Layout) -> Result<Vec<&str>, String> {
    const EXAMPLE: &str = r#"[{"channel":"news","data":"hi"}]"#;
    let (texts, len) = match layout {
        Layout::List => {
            let text = text.trim_matches([' ', '\t', '\n', '\r']);
            if json::kind(text) != Kind::List {
                return Err(format!("The body is no JSON list of items; it looks like {EXAMPLE}"));
            }
            let items = Items::read(text, ITEMS_MAX);
            let Items { first, len } = items.map_err(|error| format!("The body is not JSON: {error}"))?;
            (first, len)
        }
        Layout::Lines => {
            let lines = text.split('\n').map(|line| line.trim_matches([' ', '\t', '\r']));
            let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
            let len = lines.len();
            (lines.into_iter().take(ITEMS_MAX).collect(), len)
        }
    };
    match len {
        0 => Err(format!("The batch has no item; it looks like {EXAMPLE}")),
        1..=ITEMS_MAX => Ok(texts),
        len => Err(format!("The batch has {len} items; {ITEMS_MAX} at most: send several")),
    }
}

fn item(text: &str) -> Result<Item<'_>, FaultKind> {
    let bad = |why: String| FaultKind::BadCommand(why);
    if json::kind(text) != Kind::Object {
        return Err(bad(format!("it is {}, not an object", json::kind(text))));
    }
    let fields = Fields::read(text, &ITEM).map_err(|error| bad(format!("it is not JSON: {error}")))?;
    json::check_readable(text).map_err(|what| bad(what.to_string()))?;
    if let Some(name) = fields.twice() {
        return Err(bad(format!("it has {name} twice")));
    }
    let [channel, channels, event, key, encoding, _] = fields.present();
    let to = match (channel, channels) {
        (Some(_), Some(_)) => return Err(bad("it has channel and channels; give one of them".to_owned())),
        (Some(channel), None) => {
            let name = json::text(channel).ok_or_else(|| bad("channel is a string".to_owned()))?;
            To::One(channel_name(&name)?)
        }
        (None, Some(channels)) => To::Several(several(channels)?),
        (None, None) => return Err(bad(format!("it has neither {} nor {}", ITEM[CHANNEL], ITEM[CHANNELS]))),
    };
    let event = event.map(|event| json::text(event).ok_or_else(|| bad("event is a string".to_owned())));
    let event = event.transpose()?.as_deref().map(EventName::new).transpose().map_err(FaultKind::Event)?;
    let (content, data) = payload(fields.value(DATA), encoding)?;
    Ok(Item { to, event, content, data, key: key.map(publication_key).transpose()? })
}

fn several(channels: &str) -> Result<Vec<ChannelName>, FaultKind> {
    let bad = |why: String| FaultKind::BadCommand(why);
    let list = Some(channels).filter(|channels| json::kind(channels) == Kind::List);
    let items = list.and_then(|list| Items::read(list, CHANNELS_MAX).ok());
    let Items { first, len } =
        items.ok_or_else(|| bad(r#"channels is a list of names: ["a","b"]"#.to_owned()))?;
    if !(1..=CHANNELS_MAX).contains(&len) {
        return Err(bad(format!("channels has {len} names; 1 to {CHANNELS_MAX} are possible")));
    }
    let mut seen = BTreeSet::new();
    first
        .into_iter()
        .map(|name| {
            let name =
                json::text(name).ok_or_else(|| bad("channels has a name that is no string".to_owned()))?;
            let channel = channel_name(&name)?;
            match seen.insert(channel.clone()) {
                true => Ok(channel),
                false => Err(bad(format!("channel {} is listed twice", excerpt(&name)))),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Result<Vec<Item<'_>>, String> {
        parse(text, Layout::List).map_err(|fault| fault.to_string())
    }

    fn refused(text: &str) -> String {
        list(text).unwrap_err()
    }

    #[test]
    fn an_item_names_one_channel_or_several() {
        let items =
            list(r#" [{"channel":"news","data":"hi"},{"channels":["a","b"],"event":"tick","data":{"p":1},"key":"7f3a"}] "#)
                .unwrap();
        assert!(matches!(&items[0].to, To::One(channel) if channel.as_str() == "news"));
        assert_eq!((items[0].content, &items[0].data[..]), (Content::Text, &b"hi"[..]));
        assert_eq!(items[1].to.channels().iter().map(ChannelName::as_str).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((items[1].content, &items[1].data[..]), (Content::Json, &br#"{"p":1}"#[..]));
        assert_eq!(
            (items[1].event.as_ref().unwrap().as_str(), items[1].key.as_deref()),
            ("tick", Some("7f3a"))
        );
    }

    #[test]
    fn items_may_stand_on_a_line_each() {
        let lines = "{\"channel\":\"a\",\"data\":1}\r\n\n{\"channel\":\"b\",\"data\":null}\n";
        let items = parse(lines, Layout::Lines).unwrap();
        assert_eq!(items.iter().map(|item| &item.data[..]).collect::<Vec<_>>(), [&b"1"[..], b"null"]);
        let fault = parse("{\"channel\":\"a\",\"data\":1}\n[", Layout::Lines).unwrap_err();
        assert!(fault.to_string().starts_with("Item 1: "), "{fault}");
    }

    #[test]
    fn a_batch_with_an_item_that_cannot_be_read_says_which() {
        for (body, what) in [
            ("{}", "The body is no JSON list of items"),
            ("[", "The body is not JSON"),
            ("[]", "The batch has no item"),
            (r#"[{"channel":"a","data":1},2]"#, "Item 1: it is a number, not an object"),
            (r#"[{"data":1}]"#, "Item 0: it has neither channel nor channels"),
            (r#"[{"channel":"a","channels":["b"],"data":1}]"#, "Item 0: it has channel and channels"),
            (r#"[{"channels":["a","a"],"data":1}]"#, "Item 0: channel a is listed twice"),
            (r#"[{"channels":[],"data":1}]"#, "Item 0: channels has 0 names"),
            (r#"[{"channel":"a b","data":1}]"#, "Item 0: This is no name of a channel"),
            (r#"[{"channel":"@fanfare.x","data":1}]"#, "Item 0: Channels whose names begin"),
            (r#"[{"channel":"a"}]"#, "Item 0: The message has no data"),
            (r#"[{"channel":"a","data":1,"data":2}]"#, "Item 0: it has data twice"),
            (r#"[{"channel":"a","data":"\ud800"}]"#, "Item 0: The message has one half"),
            (r#"[{"channel":"a","data":1,"key":""}]"#, "Item 0: key is 1 to 255"),
            (r#"[{"channel":"a","data":1,"event":"fanfare:x"}]"#, "Item 0: This is no name of an event"),
        ] {
            let said = refused(body);
            assert!(said.starts_with(what), "{body}: {said}");
        }
    }

    #[test]
    fn a_batch_has_100_items_and_1000_publications_at_most() {
        let items = |count: usize| format!("[{}]", vec![r#"{"channel":"a","data":1}"#; count].join(","));
        assert_eq!(list(&items(100)).unwrap().len(), 100);
        assert!(refused(&items(101)).starts_with("The batch has 101 items; 100 at most"));
        let names = |count| (0..count).map(|at| format!("\"c{at}\"")).collect::<Vec<_>>().join(",");
        let wide = |count, names: &str| {
            format!("[{}]", vec![format!(r#"{{"channels":[{names}],"data":1}}"#); count].join(","))
        };
        assert_eq!(list(&wide(10, &names(100))).unwrap().len(), 10);
        assert!(refused(&wide(11, &names(100))).starts_with("The batch has 1100 publications; 1000 at most"));
        assert!(refused(&wide(1, &names(101))).starts_with("Item 0: channels has 101 names"));
    }
}
