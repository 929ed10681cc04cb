//! A text message of a client of `/channels`, read by the server and by the model of `commands_model`.
//!
//! Both ask for the same, or both refuse: the same channel, with the same `ref`; and what is refused is told in JSON with a
//! sentence. A connection ends for what is no JSON, and for nothing else.
//!
//! Input: the most channels in a list (1 byte, the rest of its division by 8), then the text.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fanfare::commands::{Command, Fault, Limits, Reference, Request, answer, parse};
use fanfare::hub::{ChannelName, Content, Position};
use serde_json::{Value, json};

use super::commands_model::{Outcome, Refusal, expected};

pub fn run(data: &[u8]) {
    let Some((&max, text)) = data.split_first() else { return };
    let channels_max = usize::from(max) % 8;
    let text = String::from_utf8_lossy(text);
    let outcome = outcome(parse(&text, &Limits { channels_max }));
    assert_eq!(outcome, expected(&text, channels_max), "{text}");
}

fn outcome(read: Result<Request<'_>, Fault>) -> Outcome {
    match read {
        Ok(Request { reference, command }) => Outcome::Asked(value(reference.as_ref()), asked(&command)),
        Err(fault) => {
            let reference = value(fault.reference.as_ref());
            match (fault.closes(), told(&fault)) {
                (Some(code), _) => Outcome::Closed(code),
                (None, channel) => Outcome::Refused(reference, Refusal { channel }),
            }
        }
    }
}

/// The channel that an error is about, if it is about one.
fn told(fault: &Fault) -> Option<String> {
    let error: Value = serde_json::from_str(&answer::error(fault)).expect("an error is JSON");
    assert_eq!(error["event"], "fanfare:error");
    assert_eq!(error["channel"].as_str(), fault.channel.as_deref());
    assert_eq!(error.get("ref").cloned().unwrap_or(Value::Null), value(fault.reference.as_ref()));
    let data = &error["data"];
    assert!(data["status"].is_u64() && data["code"].is_string(), "{error}");
    let sentence = data["message"].as_str().expect("an error has a sentence");
    assert!(sentence.len() < 1000 && sentence.ends_with('.'), "{sentence}");
    fault.channel.clone()
}

/// The value of a reference; `null` if there is none.
fn value(reference: Option<&Reference>) -> Value {
    let json = reference.map_or("null", Reference::as_json);
    serde_json::from_str(json).expect("a reference is JSON")
}

fn asked(command: &Command<'_>) -> Value {
    match command {
        Command::Subscribe(all) => {
            let all = all.iter().map(|one| {
                each(one, |wanted| {
                    json!([wanted.channel.as_str(), wanted.position.map(position), wanted.presence,])
                })
            });
            json!({ "subscribe": all.collect::<Vec<_>>() })
        }
        Command::Unsubscribe(all) => {
            json!({ "unsubscribe": all.iter().map(|one| each(one, |channel| json!(channel.as_str()))).collect::<Vec<_>>() })
        }
        Command::Publish(message) => {
            let data = match message.content {
                Content::Text | Content::Json => {
                    String::from_utf8(message.data.to_vec()).expect("it is text")
                }
                Content::Binary => STANDARD.encode(&message.data),
            };
            let event = message.event.as_ref().map(|event| event.as_str());
            json!({ "publish": [name(&message.channel), event, format!("{:?}", message.content), data, message.key] })
        }
        Command::History { channel, position: from } => {
            json!({ "history": [name(channel), position(*from)] })
        }
        Command::Presence { channel } => json!({ "presence": name(channel) }),
        Command::Authorize { token } => json!({ "authorize": token }),
    }
}

/// One of a list: what is asked for, or the channel that is refused.
fn each<T>(one: &Result<T, Fault>, asked: impl Fn(&T) -> Value) -> Value {
    match one {
        Ok(one) => asked(one),
        Err(fault) => json!({ "refused": told(fault).expect("it is of a channel") }),
    }
}

fn name(channel: &ChannelName) -> &str {
    assert!(!channel.is_reserved() && channel.space().is_none());
    channel.as_str()
}

fn position(position: Position) -> Value {
    match position {
        Position::Now => json!("now"),
        Position::Last(count) => json!(count),
        Position::After(id) => json!(id.to_string()),
        Position::Elsewhere => unreachable!("a client does not ask for that"),
    }
}
