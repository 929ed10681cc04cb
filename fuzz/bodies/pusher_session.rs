//! Messages of a Pusher client to a `Session`, compared with the model of `pusher_session_model` where they are whole.
//!
//! Of a message that is cut or spoilt it may be asked for nothing that the app's server has not signed. Whatever comes, the
//! replies are events, no connection is closed but for a sign-in, and the session has the channels that the model has.
//!
//! Input: settings (1 byte: 1, client events; 2, in encrypted channels too; 4, watchlists; 8, at most 2 channels; 16, one
//! client event a second; 32, data is sent as a string of JSON), then operations, each a letter and a byte for each thing
//! that it needs. Of the letters, any other byte stands for one; a digit is its number, any other byte a number too, and a
//! number chooses from the lists of the model.
//!
//! | operation | |
//! |---|---|
//! | `S` channel data | subscribe, as the server signs it |
//! | `W` channel data | subscribe, with a wrong signature |
//! | `U` channel | unsubscribe |
//! | `E` channel event | send a client event |
//! | `I` user | sign in |
//! | `J` user | sign in with a wrong signature |
//! | `P` which | a ping, a pong |
//! | `T` tenths | time passes |
//! | `C` at | cut the next message there |
//! | `X` at byte | replace a byte of the next message |
//! | `R` len text | send this text |

use arbitrary::Unstructured;
use fanfare::pusher::{Command, Session, SocketId};
use serde_json::Value;

use super::input::{byte, up_to};
use super::pusher_session_model::{CHANNELS, DATA, EVENTS, Model, Outcome, USERS, summary};

const LETTERS: &[u8] = b"SWUEIJPTCXR";

/// Enough to come and go in; what one run does is then quick.
const OPERATIONS_MAX: usize = 80;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let model = Model::new(byte(&mut input));
    let session = Session::new(SocketId::new(1234, 1234), 7);
    let mut pair = Pair { session, model, damage: None };
    for _ in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        pair.operate(&mut input);
        pair.check();
    }
    while let Some(channel) = pair.model.joined.keys().next().cloned() {
        let whole = pair.model.unsubscribe(&channel);
        pair.damage = None;
        pair.say(whole, None);
        pair.check();
    }
}

/// What happens to a message on its way.
enum Damage {
    Cut(usize),
    Replace(usize, u8),
}

/// A session and its model, kept alike.
struct Pair {
    session: Session,
    model: Model,
    damage: Option<Damage>,
}

impl Pair {
    fn operate(&mut self, input: &mut Unstructured) {
        let first = byte(input);
        let letter =
            if LETTERS.contains(&first) { first } else { LETTERS[usize::from(first) % LETTERS.len()] };
        match letter {
            b'S' | b'W' => {
                let (channel, data) = (number(input) % CHANNELS.len(), number(input) % DATA.len());
                let whole = self.model.subscribe(channel, data, letter == b'S');
                self.say(whole, (letter == b'S').then_some((channel, data)));
            }
            b'U' => {
                let whole = self.model.unsubscribe(CHANNELS[number(input) % CHANNELS.len()].0);
                self.say(whole, None);
            }
            b'E' => {
                let (channel, event) = (number(input) % CHANNELS.len(), number(input) % EVENTS.len());
                let whole = self.model.client_event(channel, event);
                self.say(whole, None);
            }
            b'I' | b'J' => {
                let whole = self.model.sign_in(number(input) % USERS.len(), letter == b'I');
                self.say(whole, None);
            }
            b'P' => {
                let whole = self.model.ping(number(input) % 2 == 1);
                self.say(whole, None);
            }
            b'T' => self.model.now_ms += 100 * number(input) as u64,
            b'C' => self.damage = Some(Damage::Cut(number(input))),
            b'X' => self.damage = Some(Damage::Replace(number(input), byte(input))),
            b'R' => {
                let len = usize::from(byte(input));
                let text = String::from_utf8_lossy(up_to(input, len)).into_owned();
                self.receive(&text, None, None);
            }
            other => unreachable!("{other} is no operation"),
        }
    }

    /// Sends a message of which it is known what becomes of it, unless it is damaged; `signed` is the subscription that it
    /// has a signature for.
    fn say(&mut self, (text, expected): (String, Outcome), signed: Option<(usize, usize)>) {
        match self.damage.take() {
            None => self.receive(&text, Some(expected), signed),
            Some(damage) => self.receive(&damaged(&text, damage), None, signed),
        }
    }

    fn receive(&mut self, text: &str, expected: Option<Outcome>, signed: Option<(usize, usize)>) {
        let mut replies = Vec::new();
        let command = self.session.receive(text, &self.model.app, self.model.now_ms, &mut replies);
        let outcome =
            Outcome { replies: replies.iter().map(|text| reply(text)).collect(), command: summary(&command) };
        if let Some(expected) = &expected {
            assert_eq!(&outcome, expected, "{text}: {replies:?}");
        }
        match &command {
            Command::None => {}
            Command::Refused(error) => {
                assert_eq!(replies.last(), Some(&error.event()), "{command:?}");
                assert!(error.close_code().is_none(), "{command:?}");
            }
            Command::Subscribe { name, member } => {
                let member = member.as_ref();
                self.model.check_admission(name.as_str(), member, signed);
                self.session.joined(name, member.map(|member| &*member.user_id));
                let user_id = member.map(|member| member.user_id.to_string());
                self.model.is_authorized |= name.kind().needs_auth();
                assert_eq!(self.model.joined.insert(name.as_str().to_owned(), user_id), None);
            }
            Command::Unsubscribe { name } => {
                let user_id = self.session.left(name.as_str()).map(String::from);
                assert_eq!(self.model.joined.remove(name.as_str()), Some(user_id));
            }
            Command::Publish(event) => {
                assert!(event.event.as_str().starts_with("client-"), "{command:?}");
                assert!(
                    serde_json::from_str::<&serde_json::value::RawValue>(event.data).is_ok(),
                    "{command:?}"
                );
                let user_id = event.user_id.as_deref().map(str::to_owned);
                assert_eq!(self.model.joined.get(event.name.as_str()), Some(&user_id));
                self.model.count_event();
            }
            Command::SignIn(user) => {
                assert_eq!(self.model.user, None);
                assert!(
                    expected.is_some() || USERS.iter().any(|(data, _)| **data == *user.data),
                    "{command:?}"
                );
                self.session.signed_in(user);
                self.model.is_authorized = true;
                self.model.user = Some((user.id.to_string(), user.info.as_deref().map(str::to_owned)));
            }
            Command::Close(error) => assert_eq!(error.close_code(), Some(4009), "{command:?}"),
        }
    }

    fn check(&self) {
        let joined: Vec<_> = self.session.channels().collect();
        assert_eq!(joined, self.model.joined.keys().collect::<Vec<_>>());
        assert_eq!(self.session.channels_len(), joined.len());
        for (channel, user_id) in &self.model.joined {
            assert_eq!(self.session.user_id_in(channel), user_id.as_deref());
        }
        assert_eq!(self.session.user_id(), self.model.user.as_ref().map(|(id, _)| id.as_str()));
        let is_empty = joined.is_empty() && self.model.user.is_none();
        assert_eq!(self.session.held_len() == 0, is_empty);
        assert_eq!(self.session.is_authorized(), self.model.is_authorized);
    }
}

/// The event of a reply, with the code of an error, or the type of a refused subscription.
fn reply(text: &str) -> String {
    let reply: Value = serde_json::from_str(text).expect("a reply is JSON");
    let event = reply["event"].as_str().expect("a reply has an event");
    match event {
        "pusher:error" => {
            let code = &reply["data"]["code"];
            assert!(code.is_null() || code.is_u64(), "{text}");
            assert!(!reply["data"]["message"].as_str().expect("an error has a sentence").is_empty());
            format!("{event} {code}")
        }
        "pusher:subscription_error" => {
            assert!(reply["channel"].is_string(), "{text}");
            format!("{event} {}", reply["data"]["type"].as_str().expect("a refusal has a type"))
        }
        _ => event.to_owned(),
    }
}

fn damaged(text: &str, damage: Damage) -> String {
    let mut bytes = text.as_bytes().to_vec();
    match damage {
        Damage::Cut(at) => bytes.truncate(at % text.len()),
        Damage::Replace(at, byte) => bytes[at % text.len()] = byte,
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn number(input: &mut Unstructured) -> usize {
    usize::from(byte(input).wrapping_sub(b'0'))
}
