//! Who is in a channel at which node, as Redis keeps it: a field for each user, with an entry for each node that it is at.
//!
//! Which calls change it is in `script.lua`; what is told of it to whom, elsewhere.
//!
//! ```text
//!  field:  m USER   a member of a presence channel of Pusher        value:  NODE:CONNECTIONS;NODE:CONNECTIONS; INFO
//!          u USER   a user where it is told who is there
//!          a        those without a name
//! ```

use std::fmt::Write;

/// Whose record it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Whose {
    /// Of a member of a presence channel of Pusher.
    Member(Box<str>),
    /// Of a user where it is told who is there.
    User(Box<str>),
    /// Of those without a name.
    Unnamed,
}

/// What one node has, or all others together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whose it is.
    pub whose: Whose,
    /// The connections, which may be none for one that has left a moment ago, and what others may know: JSON. `None` if it is not
    /// there.
    pub here: Option<(u64, Option<Box<str>>)>,
}

impl Whose {
    /// The name of the field.
    pub fn field(&self) -> String {
        match self {
            Self::Member(user) => format!("m{user}"),
            Self::User(user) => format!("u{user}"),
            Self::Unnamed => "a".to_owned(),
        }
    }

    /// Reads such a name. `None` for the fields that are about the nodes, and for those of a later version.
    pub fn of_field(field: &str) -> Option<Self> {
        match field.split_at_checked(1)? {
            ("m", user) if !user.is_empty() => Some(Self::Member(user.into())),
            ("u", user) if !user.is_empty() => Some(Self::User(user.into())),
            ("a", "") => Some(Self::Unnamed),
            _ => None,
        }
    }
}

impl Record {
    /// The record of all nodes but `own`, by field and value. `None` for another field. What is no entry is passed over.
    pub fn elsewhere(field: &[u8], value: &[u8], own: &str) -> Option<Self> {
        let whose = Whose::of_field(str::from_utf8(field).ok()?)?;
        let value = str::from_utf8(value).ok()?;
        let (nodes, info) = value.split_once(' ').unwrap_or((value, ""));
        let entries = nodes.split_terminator(';').filter_map(|entry| entry.split_once(':'));
        let others = entries.filter(|(node, _)| *node != own);
        let mut counts = others.filter_map(|(_, count)| count.parse::<u64>().ok()).peekable();
        counts.peek()?;
        let connections = counts.fold(0, u64::saturating_add);
        let info = (!info.is_empty()).then(|| info.into());
        Some(Self { whose, here: Some((connections, info)) })
    }

    /// The same, where a field may be gone, or have no entry of another node any more.
    pub fn changed(field: &[u8], value: &[u8], own: &str) -> Option<Self> {
        let whose = Whose::of_field(str::from_utf8(field).ok()?)?;
        Some(Self::elsewhere(field, value, own).unwrap_or(Self { whose, here: None }))
    }
}

/// A field of other records, and its value.
type Field<'a> = (&'a [u8], &'a [u8]);

/// What nodes that have a channel are told of other records: `VERSION ` and then, for each field that has changed, its name and its
/// value, empty if it is gone, each as `LENGTH:BYTES`.
///
/// Returns the version, and the fields with their values. `None` if it is something else.
pub fn read_news(text: &[u8]) -> Option<(u64, Vec<Field<'_>>)> {
    let at = text.iter().position(|&byte| byte == b' ')?;
    let version = str::from_utf8(&text[..at]).ok()?.parse().ok()?;
    let (mut rest, mut fields) = (&text[at + 1..], Vec::new());
    while !rest.is_empty() {
        let (field, after) = read_text(rest)?;
        let (value, after) = read_text(after)?;
        fields.push((field, value));
        rest = after;
    }
    Some((version, fields))
}

fn read_text(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = text.iter().position(|&byte| byte == b':')?;
    let len = str::from_utf8(&text[..at]).ok()?.parse().ok()?;
    text[at + 1..].split_at_checked(len)
}

/// The words of a record as the script takes them: field, connections or nothing, info or nothing, and `known`.
pub fn words(record: &Record, known: &str) -> [String; 4] {
    let (mut connections, mut info) = (String::new(), String::new());
    if let Some((count, known)) = &record.here {
        write!(connections, "{count}").expect("a string takes every write");
        info.extend(known.as_deref());
    }
    [record.whose.field(), connections, info, known.to_owned()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_that_of_the_other_nodes_together() {
        let whose = Whose::User("u 42".into());
        let record = Record::elsewhere(b"uu 42", br#"a:1;b:2;c:0; {"n":"x y"}"#, "a").unwrap();
        assert_eq!(record, Record { whose: whose.clone(), here: Some((2, Some(r#"{"n":"x y"}"#.into()))) });
        assert_eq!(Record::elsewhere(b"uu 42", b"a:1; ", "a"), None, "it is here only");
        assert_eq!(Record::changed(b"uu 42", b"a:1; ", "a"), Some(Record { whose, here: None }));
        let unnamed = Record::elsewhere(b"a", b"b:7; ", "a").unwrap();
        assert_eq!(unnamed, Record { whose: Whose::Unnamed, here: Some((7, None)) });
    }

    #[test]
    fn fields_about_nodes_and_of_later_versions_are_no_records() {
        for field in ["n", "v", "", "m", "u", "ax", "x1", "ü"] {
            assert_eq!(Record::changed(field.as_bytes(), b"a:1; ", "b"), None, "{field}");
        }
        assert_eq!(Record::elsewhere(b"u\xff", b"a:1; ", "b"), None);
        assert_eq!(Record::elsewhere(b"ux", b"a;:;b:x; 1", "b"), None, "no entry is one");
    }

    #[test]
    fn news_have_fields_and_values_with_their_lengths() {
        assert_eq!(
            read_news(b"7 2:mx5:a:1; 2:my0:"),
            Some((7, vec![(&b"mx"[..], &b"a:1; "[..]), (b"my", b"")]))
        );
        assert_eq!(read_news(b"7 "), Some((7, vec![])));
        for text in ["", "7", "x ", "7 2:mx", "7 2:mx9:a", "7 9:mx1:a", "7 :mx1:a", "7 mx"] {
            assert_eq!(read_news(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn the_words_of_a_record_are_empty_where_it_is_gone() {
        let here = Record { whose: Whose::Member("x".into()), here: Some((2, Some("{}".into()))) };
        assert_eq!(words(&here, ""), ["mx", "2", "{}", ""]);
        assert_eq!(words(&Record { here: None, ..here }, "1"), ["mx", "", "", "1"]);
    }
}
