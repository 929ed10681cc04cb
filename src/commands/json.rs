//! JSON as commands have it: what a value is, the values of an object and of a list, and what is refused although it is
//! grammatical.
//!
//! Which names a command has is not known here. Nesting costs no stack: values stay text until they are asked for.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// How deep a message may be nested, its own object included. What is published is passed on at the depth at which it came,
/// and must be readable there: Ruby's reader stops after 100, serde_json's after 127, others later.
pub const DEPTH_MAX: usize = 100;

/// The largest number: a little less than the largest double, which not every reader gets right.
const NUMBER_MAX: f64 = 1.7e308;

/// Under this length, a number without an exponent is not that large.
const NUMBER_LEN_SAFE: usize = 300;

/// What a JSON value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Object,
    List,
    String,
    Number,
    Bool,
    Null,
}

/// What the value is, by its first byte. No white space is ahead of it.
pub fn kind(value: &str) -> Kind {
    match value.as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::List,
        Some(b'"') => Kind::String,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') => Kind::Null,
        Some(_) | None => Kind::Number,
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Object => "an object",
            Self::List => "a list",
            Self::String => "a string",
            Self::Number => "a number",
            Self::Bool => "true or false",
            Self::Null => "null",
        })
    }
}

/// What a string says; borrowed if nothing in it is escaped. `None` if the value is no string.
pub fn text(value: &str) -> Option<Cow<'_, str>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    let Text(text) = serde_json::from_str(value).ok()?;
    Some(text)
}

/// The values that an object has under the names that were asked for: of a name that comes twice, the last.
pub struct Fields<'a, const N: usize> {
    names: [&'static str; N],
    values: [Option<&'a str>; N],
    is_twice: [bool; N],
    /// The first name that is none of them.
    pub unknown: Option<Cow<'a, str>>,
}

impl<'a, const N: usize> Fields<'a, N> {
    /// Reads one object.
    pub fn read(object: &'a str, names: &[&'static str; N]) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(object);
        let fields = ObjectOf(names).deserialize(&mut reader)?;
        reader.end()?;
        Ok(fields)
    }

    /// The values in the order of the names, each as it came; `null` stands for nothing.
    pub fn present(&self) -> [Option<&'a str>; N] {
        self.values.map(|value| value.filter(|value| kind(value) != Kind::Null))
    }

    /// The value under the name of this number, `null` as the value that it is.
    pub fn value(&self, at: usize) -> Option<&'a str> {
        self.values[at]
    }

    /// Whether the name of this number comes twice.
    pub fn is_twice(&self, at: usize) -> bool {
        self.is_twice[at]
    }

    /// The first of the names that comes twice, if one does.
    pub fn twice(&self) -> Option<&'static str> {
        self.names.into_iter().zip(self.is_twice).find(|(_, is_twice)| *is_twice).map(|(name, _)| name)
    }
}

struct ObjectOf<'n, const N: usize>(&'n [&'static str; N]);

impl<'a, const N: usize> DeserializeSeed<'a> for ObjectOf<'_, N> {
    type Value = Fields<'a, N>;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'a, const N: usize> Visitor<'a> for ObjectOf<'_, N> {
    type Value = Fields<'a, N>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'a>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        let mut fields = Fields { names: *self.0, values: [None; N], is_twice: [false; N], unknown: None };
        while let Some(Name(name)) = map.next_key()? {
            let Some(at) = self.0.iter().position(|known| *known == name) else {
                map.next_value::<IgnoredAny>()?;
                fields.unknown.get_or_insert(name);
                continue;
            };
            let value: &RawValue = map.next_value()?;
            fields.is_twice[at] |= fields.values[at].replace(value.get()).is_some();
        }
        Ok(fields)
    }
}

/// The first items of a list, and how many it has.
pub struct Items<'a> {
    pub first: Vec<&'a str>,
    pub len: usize,
}

impl<'a> Items<'a> {
    /// Reads one list, of which at most `max` items are kept.
    pub fn read(list: &'a str, max: usize) -> Result<Self, serde_json::Error> {
        let mut reader = serde_json::Deserializer::from_str(list);
        let items = ListOf(max).deserialize(&mut reader)?;
        reader.end()?;
        Ok(items)
    }
}

struct ListOf(usize);

impl<'a> DeserializeSeed<'a> for ListOf {
    type Value = Items<'a>;

    fn deserialize<D: Deserializer<'a>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_seq(self)
    }
}

impl<'a> Visitor<'a> for ListOf {
    type Value = Items<'a>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'a>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Items { first: Vec::new(), len: 0 };
        while let Some(item) = seq.next_element::<&RawValue>()? {
            items.len += 1;
            if items.first.len() < self.0 {
                items.first.push(item.get());
            }
        }
        Ok(items)
    }
}

/// What is grammatical, and cannot be read by everybody whom it would be passed on to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// Nested deeper than [`DEPTH_MAX`].
    Depth,
    /// An escape `\uD800` to `\uDFFF` without its other half (RFC 8259 §8.2).
    Surrogate,
    /// A number near or beyond the end of the range of doubles (RFC 8259 §6).
    Number,
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Depth => write!(f, "The message is nested deeper than {DEPTH_MAX}"),
            Self::Surrogate => f.write_str(
                "The message has one half of a surrogate pair, which is no character; send both halves",
            ),
            Self::Number => write!(f, "The message has a number beyond {NUMBER_MAX:e}; send it as a string"),
        }
    }
}

/// Checks one JSON value for what not all readers take.
pub fn check_readable(json: &str) -> Result<(), Unreadable> {
    let bytes = json.as_bytes();
    let (mut at, mut depth) = (0, 0);
    while let Some(&byte) = bytes.get(at) {
        at += match byte {
            b'"' => string_len(&json[at..])?,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(Unreadable::Depth);
                }
                1
            }
            b'}' | b']' => {
                depth -= 1;
                1
            }
            b'-' | b'0'..=b'9' => {
                let len = number_len(&bytes[at..]);
                if !is_in_range(&json[at..at + len]) {
                    return Err(Unreadable::Number);
                }
                len
            }
            _ => 1,
        };
    }
    Ok(())
}

/// Whether a JSON number is one that every reader takes (RFC 8259 §6).
pub fn is_in_range(number: &str) -> bool {
    let is_short = number.len() < NUMBER_LEN_SAFE && !number.contains(['e', 'E']);
    is_short || number.parse::<f64>().is_ok_and(|number| number.abs() <= NUMBER_MAX)
}

fn number_len(bytes: &[u8]) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    bytes.iter().position(|byte| !is_part(byte)).unwrap_or(bytes.len())
}

/// The length of the string that the text begins with, quotes included.
fn string_len(text: &str) -> Result<usize, Unreadable> {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(run) = bytes.get(at..).and_then(|rest| rest.iter().position(|b| matches!(b, b'"' | b'\\')))
    {
        at += run;
        if bytes[at] == b'"' {
            return Ok(at + 1);
        }
        at += match unit(&bytes[at..]) {
            Some(0xd800..0xdc00) => match unit(&bytes[at + ESCAPE_LEN..]) {
                Some(0xdc00..0xe000) => 2 * ESCAPE_LEN,
                Some(_) | None => return Err(Unreadable::Surrogate),
            },
            Some(0xdc00..0xe000) => return Err(Unreadable::Surrogate),
            Some(_) => ESCAPE_LEN,
            // The character after the backslash may be one itself, or a quote.
            None => 2,
        };
    }
    Ok(bytes.len())
}

/// The length of `\uXXXX`.
const ESCAPE_LEN: usize = 6;

/// The UTF-16 unit of an escape `\uXXXX`, if the bytes begin with one.
fn unit(bytes: &[u8]) -> Option<u16> {
    let digits = bytes.get(..ESCAPE_LEN)?.strip_prefix(br"\u")?;
    let digits = str::from_utf8(digits).ok()?;
    digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then(|| u16::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_a_surrogate_pair_is_found_and_a_whole_one_and_an_escaped_backslash_are_none() {
        for json in
            [r#"{"a":"\ud83d\ude00"}"#, r#"{"a":"\\ud800"}"#, r#"{"a":"\u00e9\n\\"}"#, "{}", r#""\"\\""#]
        {
            assert_eq!(check_readable(json), Ok(()), "{json}");
        }
        for json in [
            r#"{"a":"\ud800"}"#,
            r#""\ude00""#,
            r#"["\ud83d\ud83d"]"#,
            r#""\\\uD800x""#,
            r#"{"\uDBFF":"\uDC00"}"#,
        ] {
            assert_eq!(check_readable(json), Err(Unreadable::Surrogate), "{json}");
        }
    }

    #[test]
    fn brackets_and_digits_inside_strings_are_neither_nesting_nor_numbers() {
        let deep = "[".repeat(DEPTH_MAX + 1);
        assert_eq!(check_readable(&format!(r#"["{deep}","1e999","\"{deep}"]"#)), Ok(()));
        assert_eq!(check_readable(&deep), Err(Unreadable::Depth));
        let side_by_side = "[],".repeat(1000);
        assert_eq!(check_readable(&format!("[{side_by_side}[]]")), Ok(()));
    }

    #[test]
    fn a_number_is_in_range_up_to_nearly_the_largest_double() {
        let (digits, more) = ("1".repeat(309), "2".repeat(309));
        for number in ["0", "-1.5e300", "-1.7e308", "1E-999", digits.as_str(), "0.0000e99999"] {
            assert!(is_in_range(number), "{number}");
        }
        for number in ["1.71e308", "1e309", "-1e309", more.as_str()] {
            assert!(!is_in_range(number), "{number}");
        }
    }

    #[test]
    fn an_object_gives_its_values_by_name_and_says_what_comes_twice_or_is_not_asked_for() {
        let fields = Fields::read(r#"{"b": [1, 2] ,"x":1,"a":null,"y":2,"b":3}"#, &["a", "b", "c"]).unwrap();
        assert_eq!(fields.present(), [None, Some("3"), None]);
        assert_eq!(
            (fields.value(0), fields.twice(), fields.unknown.as_deref()),
            (Some("null"), Some("b"), Some("x"))
        );
        assert!(Fields::read("[1]", &["a"]).is_err());
        assert!(Fields::read(r#"{"a":1} 2"#, &["a"]).is_err());
    }

    #[test]
    fn a_list_keeps_no_more_items_than_it_may_and_counts_the_rest() {
        let Items { first, len } = Items::read(r#"[ {"a":1} , "b",3,[4]]"#, 2).unwrap();
        assert_eq!((first, len), (vec![r#"{"a":1}"#, r#""b""#], 4));
        assert!(Items::read("{}", 2).is_err());
    }
}
