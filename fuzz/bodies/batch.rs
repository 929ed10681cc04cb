//! A batch, read by the server and by `serde_json`.
//!
//! What the server takes is what the JSON says, item by item: the channels, the event, the key, and the data; and it is
//! within the bounds. What it refuses is told in one sentence, which names an item that there is.
//!
//! Input: whether items are on lines (1 byte, odd), then the text.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare::commands::batch::{CHANNELS_MAX, ITEMS_MAX, Item, Layout, PUBLICATIONS_MAX, To, parse};
use fanfare::hub::Content;
use serde_json::Value;

pub fn run(data: &[u8]) {
    let Some((&kind, text)) = data.split_first() else { return };
    let layout = if kind % 2 == 1 { Layout::Lines } else { Layout::List };
    let text = String::from_utf8_lossy(text);
    match parse(&text, layout) {
        Ok(items) => agree(&items, &values(&text, layout)),
        Err(fault) => {
            let sentence = fault.to_string();
            assert!(sentence.len() < 1000 && sentence.ends_with('.'), "{sentence}");
            assert!(fault.channel.is_none() && fault.closes().is_none());
            if let Some(rest) = sentence.strip_prefix("Item ") {
                let (at, _) = rest.split_once(": ").expect("the item has a number");
                assert!(at.parse::<usize>().expect("which is one") < ITEMS_MAX, "{sentence}");
            }
        }
    }
}

/// The items as JSON says them.
fn values(text: &str, layout: Layout) -> Vec<Value> {
    let read = |text: &str| serde_json::from_str(text).expect("what was taken is JSON");
    match layout {
        Layout::List => match read(text) {
            Value::Array(values) => values,
            other => panic!("what was taken is a list, not {other}"),
        },
        Layout::Lines => {
            let lines = text.split('\n').map(|line| line.trim_matches([' ', '\t', '\r']));
            lines.filter(|line| !line.is_empty()).map(read).collect()
        }
    }
}

fn agree(items: &[Item<'_>], values: &[Value]) {
    assert!((1..=ITEMS_MAX).contains(&items.len()));
    assert_eq!(items.len(), values.len());
    let publications: usize = items.iter().map(|item| item.to.channels().len()).sum();
    assert!(publications <= PUBLICATIONS_MAX);
    for (item, value) in items.iter().zip(values) {
        agree_one(item, value);
    }
}

fn agree_one(item: &Item<'_>, value: &Value) {
    let names: Vec<_> = item.to.channels().iter().map(|channel| channel.as_str()).collect();
    match &item.to {
        To::One(_) => assert_eq!(value["channel"], names[0]),
        To::Several(_) => assert_eq!(value["channels"], Value::from(names.clone())),
    }
    assert!((1..=CHANNELS_MAX).contains(&names.len()));
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "none twice");
    assert!(
        item.to.channels().iter().all(|channel| channel.is_public() || channel.as_str().starts_with('#'))
    );
    assert_eq!(value["event"].as_str(), item.event.as_ref().map(|event| event.as_str()));
    assert_eq!(value["key"].as_str(), item.key.as_deref());
    let data = value.get("data").expect("there is data");
    match item.content {
        Content::Text => assert_eq!(data.as_str().map(str::as_bytes), Some(&*item.data)),
        Content::Json => assert_eq!(&serde_json::from_slice::<Value>(&item.data).expect("it is JSON"), data),
        Content::Binary => {
            assert_eq!(value["encoding"], "base64");
            let bytes = STANDARD.decode(data.as_str().expect("it is text")).expect("of Base64");
            assert_eq!(bytes, &*item.data);
        }
    }
}
