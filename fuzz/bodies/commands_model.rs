//! What a message of a client of `/channels` asks for, read slowly: into a tree first, of which each value is looked at.
//!
//! It knows the rules, and none of the sentences.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// What becomes of a message. The first value of each is the `ref`.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Asked(Value, Value),
    Refused(Value, Refusal),
    Closed(u16),
}

/// What is refused: one channel, or all that the message is.
#[derive(Debug, PartialEq)]
pub struct Refusal {
    pub channel: Option<String>,
}

const WHOLE: Refusal = Refusal { channel: None };

/// A JSON value with every name of every object, and its text.
struct Tree<'a> {
    text: &'a str,
    node: Node<'a>,
}

enum Node<'a> {
    Null,
    Bool(bool),
    Number,
    /// `None` if it has half of a surrogate pair.
    Text(Option<String>),
    List(Vec<Tree<'a>>),
    Object(Vec<(Option<String>, Tree<'a>)>),
    /// Nested deeper than is allowed.
    TooDeep,
}

pub fn expected(text: &str, channels_max: usize) -> Outcome {
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else { return Outcome::Closed(1007) };
    let tree = Tree::read(raw.get(), 100);
    let is_known = |name: &Option<String>| {
        let names = ["event", "channel", "ref", "key", "encoding", "data"];
        name.as_deref().is_some_and(|name| names.contains(&name))
    };
    let Node::Object(fields) = &tree.node else { return Outcome::Refused(Value::Null, WHOLE) };
    // A name that cannot be read may be any: nothing of the message can be relied on.
    if fields.iter().any(|(name, _)| name.is_none()) {
        return Outcome::Refused(Value::Null, WHOLE);
    }
    let known: Vec<_> = fields.iter().filter(|(name, _)| is_known(name)).collect();
    let names: BTreeSet<_> = known.iter().map(|(name, _)| name).collect();
    let references = known.iter().filter(|(name, _)| name.as_deref() == Some("ref")).count();
    let reference = match tree.get("ref").filter(|_| references == 1) {
        None => Some(Value::Null),
        Some(reference) => reference.reference(),
    };
    let Some(reference) = reference else { return Outcome::Refused(Value::Null, WHOLE) };
    if !tree.is_readable() || names.len() < known.len() {
        return Outcome::Refused(reference, WHOLE);
    }
    match asked(&tree, channels_max) {
        Ok(asked) => Outcome::Asked(reference, asked),
        Err(refusal) => Outcome::Refused(reference, refusal),
    }
}

fn asked(message: &Tree<'_>, channels_max: usize) -> Result<Value, Refusal> {
    let event = message.get("event").map(|event| event.text().ok_or(WHOLE)).transpose()?;
    let Some(command) = event.as_deref().and_then(|event| event.strip_prefix("fanfare:")) else {
        return publication(message, event);
    };
    let data = message.value("data").ok_or(WHOLE)?;
    match command {
        "subscribe" => Ok(json!({ "subscribe": list(data, channels_max, subscription)? })),
        "unsubscribe" => Ok(json!({ "unsubscribe": list(data, channels_max, |item| {
            let name = item.text().ok_or(WHOLE)?;
            Ok((name.clone(), is_readable(&name).then(|| json!(name))))
        })? })),
        "history" => {
            let channel = channel(data)?;
            let of_channel = || Refusal { channel: Some(channel.clone()) };
            let position = position(data).flatten().filter(|_| data.has_only(&["channel", "since", "last"]));
            let position = position.filter(|_| is_channel(&channel)).ok_or_else(of_channel)?;
            Ok(json!({ "history": [channel, position] }))
        }
        "presence" => {
            let channel = channel(data)?;
            let is_good = is_channel(&channel) && data.has_only(&["channel"]);
            if is_good { Ok(json!({ "presence": channel })) } else { Err(Refusal { channel: Some(channel) }) }
        }
        "authorize" => {
            let token = data.get("token").and_then(Tree::text).filter(|token| !token.is_empty());
            let token = token.filter(|_| data.has_only(&["token"])).ok_or(WHOLE)?;
            Ok(json!({ "authorize": token }))
        }
        _ => Err(WHOLE),
    }
}

fn subscription(item: &Tree<'_>) -> Result<(String, Option<Value>), Refusal> {
    let name = channel(item)?;
    let presence = match item.get("presence").map(|value| &value.node) {
        None => Some(false),
        Some(Node::Bool(presence)) => Some(*presence),
        Some(_) => None,
    };
    let is_good = is_readable(&name) && item.has_only(&["channel", "since", "last", "presence"]);
    let wanted = position(item).zip(presence).filter(|_| is_good);
    Ok((name.clone(), wanted.map(|(position, presence)| json!([name, position, presence]))))
}

/// A list of channels, each with what is asked for, or refused if that is nothing.
fn list<'a>(
    data: &Tree<'a>,
    channels_max: usize,
    read: impl Fn(&Tree<'a>) -> Result<(String, Option<Value>), Refusal>,
) -> Result<Vec<Value>, Refusal> {
    let Node::List(items) = &data.node else { return Err(WHOLE) };
    if !(1..=channels_max).contains(&items.len()) {
        return Err(WHOLE);
    }
    let mut names = BTreeSet::new();
    let mut all = Vec::new();
    for item in items {
        let (name, asked) = read(item)?;
        all.push(asked.unwrap_or_else(|| json!({ "refused": name })));
        if !names.insert(name) {
            return Err(WHOLE);
        }
    }
    Ok(all)
}

fn publication(message: &Tree<'_>, event: Option<String>) -> Result<Value, Refusal> {
    let channel = message.get("channel").and_then(Tree::text).ok_or(WHOLE)?;
    let is_event = |name: &String| {
        let is_reserved = ["fanfare:", "pusher:", "pusher_internal:"].iter().any(|own| name.starts_with(own));
        (1..=200).contains(&name.chars().count()) && !name.chars().any(char::is_control) && !is_reserved
    };
    let is_key = |key: &String| {
        (1..=255).contains(&key.len()) && key.bytes().all(|byte| (b'!'..=b'~').contains(&byte))
    };
    let key = message.get("key").map(|key| key.text().filter(is_key));
    let payload = payload(message);
    if !is_channel(&channel) || !event.as_ref().is_none_or(is_event) || key == Some(None) || payload.is_none()
    {
        return Err(Refusal { channel: Some(channel) });
    }
    let (content, data) = payload.expect("that is checked");
    Ok(json!({ "publish": [channel, event, content, data, key.flatten()] }))
}

/// What the data is, and it: as text, and as base64 if that is what it came as.
fn payload(message: &Tree<'_>) -> Option<(&'static str, String)> {
    let data = message.value("data")?;
    match message.get("encoding") {
        Some(encoding) => {
            let data = data.text().filter(|_| encoding.text().as_deref() == Some("base64"))?;
            STANDARD.decode(&data).ok()?;
            Some(("Binary", data))
        }
        None => Some(data.text().map_or(("Json", data.text.to_owned()), |text| ("Text", text))),
    }
}

/// The channel that an object names, once.
fn channel(object: &Tree<'_>) -> Result<String, Refusal> {
    let Node::Object(fields) = &object.node else { return Err(WHOLE) };
    let channels = fields.iter().filter(|(name, _)| name.as_deref() == Some("channel")).count();
    object.get("channel").filter(|_| channels == 1).and_then(Tree::text).ok_or(WHOLE)
}

/// `None` if it is wrong, `Some(None)` if there is none.
fn position(object: &Tree<'_>) -> Option<Option<Value>> {
    match (object.get("since"), object.get("last")) {
        (None, None) => Some(None),
        (Some(_), Some(_)) => None,
        (Some(since), None) => {
            let since = since.text()?;
            if since.is_empty() {
                return Some(Some(json!("now")));
            }
            let (epoch, sequence) = since.split_once('-')?;
            let (epoch, sequence) = (u64::from_str_radix(epoch, 16).ok()?, sequence.parse::<u64>().ok()?);
            (format!("{epoch:x}-{sequence}") == since).then(|| Some(json!(since)))
        }
        (None, Some(last)) => {
            let is_digits = last.text.bytes().all(|byte| byte.is_ascii_digit());
            let count = last.text.parse::<usize>().ok().filter(|_| is_digits)?;
            Some(Some(json!(count)))
        }
    }
}

fn is_channel(name: &str) -> bool {
    is_name(name) && !name.starts_with("@fanfare.")
}

fn is_name(name: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "_-=@,.;".contains(c);
    (1..=200).contains(&name.len()) && name.chars().all(is_allowed)
}

/// Whether it is the name of what may be read, by operators at least: a channel of the server too, or what one watches, which
/// may be in a name space and a user's.
fn is_readable(name: &str) -> bool {
    let Some(watched) = name.strip_prefix("@fanfare.watch/") else { return is_name(name) };
    let (space, local) =
        watched.split_once('/').map_or((None, watched), |(space, local)| (Some(space), local));
    space.is_none_or(is_name) && is_name(local.strip_prefix("#server-to-user-").unwrap_or(local))
}

impl<'a> Tree<'a> {
    /// One JSON value that has been found to be one.
    fn read(text: &'a str, depth_left: usize) -> Self {
        let text = text.trim_matches([' ', '\t', '\r', '\n']);
        let node = match text.as_bytes()[0] {
            b'n' => Node::Null,
            b't' => Node::Bool(true),
            b'f' => Node::Bool(false),
            b'"' => Node::Text(serde_json::from_str(text).ok()),
            b'[' | b'{' if depth_left == 0 => Node::TooDeep,
            b'[' => {
                let items = parts(text, ',').into_iter();
                Node::List(items.map(|item| Self::read(item, depth_left - 1)).collect())
            }
            b'{' => Node::Object(
                parts(text, ',')
                    .into_iter()
                    .map(|field| {
                        let colon = ends(field, ':')[0];
                        let name = serde_json::from_str(&field[..colon]).ok();
                        (name, Self::read(&field[colon + 1..], depth_left - 1))
                    })
                    .collect(),
            ),
            _ => Node::Number,
        };
        Self { text, node }
    }

    /// The value under a name of an object, unless it is `null`.
    fn get(&self, name: &str) -> Option<&Tree<'a>> {
        self.value(name).filter(|value| !matches!(value.node, Node::Null))
    }

    fn value(&self, name: &str) -> Option<&Tree<'a>> {
        let Node::Object(fields) = &self.node else { return None };
        fields.iter().rfind(|(other, _)| other.as_deref() == Some(name)).map(|(_, value)| value)
    }

    /// Whether it is an object with each of the names at most once, and no other.
    fn has_only(&self, names: &[&str]) -> bool {
        let Node::Object(fields) = &self.node else { return false };
        let all: BTreeSet<_> = fields.iter().map(|(name, _)| name.as_deref()).collect();
        all.len() == fields.len() && all.iter().all(|name| name.is_some_and(|name| names.contains(&name)))
    }

    fn text(&self) -> Option<String> {
        match &self.node {
            Node::Text(text) => text.clone(),
            _ => None,
        }
    }

    fn is_readable(&self) -> bool {
        match &self.node {
            Node::Null | Node::Bool(_) => true,
            Node::Number => self.text.parse::<f64>().expect("it is a number").abs() <= 1.7e308,
            Node::Text(text) => text.is_some(),
            Node::List(items) => items.iter().all(Tree::is_readable),
            Node::Object(fields) => fields.iter().all(|(name, value)| name.is_some() && value.is_readable()),
            Node::TooDeep => false,
        }
    }

    /// The value, if it is a reference.
    fn reference(&self) -> Option<Value> {
        let len = match &self.node {
            Node::Number => self.text.len(),
            Node::Text(Some(text)) => text.len(),
            _ => return None,
        };
        (len <= 64 && self.is_readable()).then(|| serde_json::from_str(self.text).expect("it is JSON"))
    }
}

/// What stands between the brackets of a list or an object, at its commas.
fn parts(text: &str, separator: char) -> Vec<&str> {
    let inside = &text[1..text.len() - 1];
    if inside.trim_matches([' ', '\t', '\r', '\n']).is_empty() {
        return Vec::new();
    }
    let mut begin = 0;
    let mut all = Vec::new();
    for end in ends(inside, separator) {
        all.push(&inside[begin..end]);
        begin = end + 1;
    }
    all
}

/// Where the separator stands outside of strings and brackets, and the end.
fn ends(text: &str, separator: char) -> Vec<usize> {
    let (mut depth, mut is_text, mut is_escaped) = (0, false, false);
    let mut all = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => is_text = !is_text,
            _ if is_text => {}
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            _ if c == separator && depth == 0 => all.push(at),
            _ => {}
        }
    }
    all.push(text.len());
    all
}
