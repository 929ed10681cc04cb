//! JSON as tokens and key files need it: an object whose names stand there once each, at every depth; and base64url.
//!
//! Which names there should be is not known here.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// A value. Numbers are rounded to the nearest `f64`.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// The members of an object by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Object(BTreeMap<String, Json>);

impl Object {
    /// The member of this name.
    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.0.get(name)
    }
}

/// Reads an object. Two members of one name are refused, since another reader may take the other one (RFC 8725 §2.4).
///
/// # Errors
/// Says what is wrong, and where.
pub(super) fn object(bytes: &[u8]) -> Result<Object, String> {
    match serde_json::from_slice(bytes) {
        Ok(Json::Object(object)) => Ok(object),
        Ok(Json::Null | Json::Bool(_) | Json::Number(_) | Json::Text(_) | Json::List(_)) => {
            Err("it is another JSON value".to_owned())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// Decodes base64url as RFC 7515 §2 has it: without padding, and nothing that another text would decode to as well.
pub(super) fn from_base64url(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Number(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let mut object = BTreeMap::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom(format!("the name {name} stands there twice")));
            }
            object.insert(name, members.next_value()?);
        }
        Ok(Json::Object(Object(object)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_has_each_name_once_at_every_depth() {
        let read = object(br#" {"a":1,"b":{"a":"x"},"c":[null,true,-1.5,{}]} "#)
            .expect("each name stands there once");
        assert_eq!(read.get("a"), Some(&Json::Number(1.0)));
        let inner = Object(BTreeMap::from([("a".to_owned(), Json::Text("x".to_owned()))]));
        assert_eq!(read.get("b"), Some(&Json::Object(inner)));
        let list = vec![Json::Null, Json::Bool(true), Json::Number(-1.5), Json::Object(Object::default())];
        assert_eq!(read.get("c"), Some(&Json::List(list)));
        for twice in [
            &br#"{"exp":1,"exp":1}"#[..],
            br#"{"exp":1,"e\u0078p":2}"#,
            br#"{"x":{"exp":1,"exp":2}}"#,
            br#"{"x":[[{"exp":1,"iat":1,"exp":2}]]}"#,
        ] {
            let why = object(twice).expect_err("a name stands there twice");
            assert!(why.starts_with("the name exp stands there twice"), "{why}");
        }
    }

    #[test]
    fn what_is_no_object_or_not_wholly_json_is_refused() {
        for text in ["null", "true", "1", "-1", "1.5", "\"{}\"", "[{}]"] {
            assert_eq!(object(text.as_bytes()), Err("it is another JSON value".to_owned()), "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(4000), "]".repeat(4000));
        for text in
            ["", "{", "{}x", "{}{}", "{'a':1}", "{a:1}", "{\"a\":1,}", "{\"a\":01}", "{\"a\":1e999}", &deep]
        {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
        for bytes in [
            &b"{\"a\":\"\xff\"}"[..],
            b"{\"\xc0\x80\":1}",
            b"\xef\xbb\xbf{}",
            br#"{"a":"\ud800"}"#,
            b"{\"a\":\"\n\"}",
        ] {
            assert!(object(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn base64url_is_taken_in_its_one_form() {
        assert_eq!(from_base64url(""), Some(vec![]));
        assert_eq!(from_base64url("_-8"), Some(vec![0xff, 0xef]));
        // RFC 7515 appendix C.
        assert_eq!(from_base64url("A-z_4ME"), Some(vec![3, 236, 255, 224, 193]));
        // Padded, of the other alphabet, with bits that say nothing, cut, with white space.
        for text in ["_-8=", "/+8", "_-9", "_", "_-8 ", "_-\n8", "A-z_4ME=", "_-8é"] {
            assert_eq!(from_base64url(text), None, "{text}");
        }
    }
}
