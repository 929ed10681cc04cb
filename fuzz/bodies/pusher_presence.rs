//! `Members` against a plain list of the connections: who is a member, who comes and goes, and what a new member is told.
//!
//! Input: operations until it is used up. Each: 1 byte (bit 0: join, or leave; bit 1: with info; bits 2 to 4: the user, of
//! which the last has a name from the input), for that user the length of the name (1 byte) and the name.

use arbitrary::Unstructured;
use fanfare::pusher::event::member_added_data;
use fanfare::pusher::{Joined, Left, Member, Members};
use serde_json::{Map, Value, json};

use super::input::{byte, up_to};

const NAMES: [&str; 7] = ["a", "b", "10", "", "\"", "\u{e9}\n", "__proto__"];

const OPERATIONS_MAX: usize = 200;

pub fn run(data: &[u8]) {
    let mut input = Unstructured::new(data);
    let (mut members, mut connections) = (Members::default(), Vec::new());
    for number in 0..OPERATIONS_MAX {
        if input.is_empty() {
            break;
        }
        let flags = byte(&mut input);
        let user = NAMES.get(usize::from(flags >> 2) % 8).map(|&name| name.to_owned()).unwrap_or_else(|| {
            let len = usize::from(byte(&mut input));
            String::from_utf8_lossy(up_to(&mut input, len)).into_owned()
        });
        if flags & 1 == 1 {
            let info = (flags & 2 == 2).then(|| json!({"number": number, "user": user}));
            join(&mut members, &mut connections, user, info);
        } else {
            leave(&mut members, &mut connections, &user);
        }
        check(&members, &connections);
    }
    while let Some((user, _)) = connections.last().cloned() {
        leave(&mut members, &mut connections, &user);
        check(&members, &connections);
    }
    assert_eq!(members.held_len(), 0);
}

/// A connection: its user, and the info of the user's first one.
type Connection = (String, Option<Value>);

fn join(members: &mut Members, connections: &mut Vec<Connection>, user: String, info: Option<Value>) {
    let user_info = info.as_ref().map(|info| info.to_string().into());
    let member = Member { user_id: user.as_str().into(), user_info };
    let told: Value =
        serde_json::from_str(&member_added_data(&member)).expect("what the others are told is JSON");
    assert_eq!(told, json!({"user_id": user, "user_info": info}));
    let first = connections.iter().find(|(other, _)| *other == user).cloned();
    assert_eq!(members.join(&member), if first.is_some() { Joined::Again } else { Joined::First });
    connections.push(first.unwrap_or((user, info)));
}

fn leave(members: &mut Members, connections: &mut Vec<Connection>, user: &str) {
    let before = connections.iter().filter(|(other, _)| other == user).count();
    assert_eq!(members.leave(user), if before == 1 { Left::Last } else { Left::Stays });
    if let Some(at) = connections.iter().position(|(other, _)| other == user) {
        connections.swap_remove(at);
    }
}

fn check(members: &Members, connections: &[Connection]) {
    let mut ids: Vec<&str> = connections.iter().map(|(user, _)| user.as_str()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(members.ids().collect::<Vec<_>>(), ids);
    assert_eq!((members.len(), members.is_empty()), (ids.len(), ids.is_empty()));
    for (user, info) in connections {
        assert!(members.contains(user) && members.has_room_for(user, 0));
        assert_eq!(members.info(user), info.as_ref().map(Value::to_string).as_deref());
    }
    // Longer than the name of any member.
    let nobody = ids.concat() + ".";
    assert!(members.has_room_for(&nobody, ids.len() + 1) && !members.has_room_for(&nobody, ids.len()));
    let hash: Map<String, Value> =
        connections.iter().map(|(user, info)| (user.clone(), json!(info))).collect();
    let told: Value = serde_json::from_str(&members.to_data()).expect("what a member is told is JSON");
    assert_eq!(told, json!({"presence": {"ids": ids, "hash": hash, "count": ids.len()}}));
}
