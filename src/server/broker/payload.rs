//! What a program publishes: texts, bytes, and values as JSON.
//!
//! Where it is published, and how long it may be, is not known here.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use crate::hub::Content;

/// What can be published: `&str` and `String` as text, `Bytes`, `Vec<u8>` and `&[u8]` as binary, [`Json`] as JSON. `Bytes` are
/// shared, not copied.
pub trait Payload {
    /// What it is, and its bytes: UTF-8 if it is text or JSON.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    #[doc(hidden)]
    fn into_parts(self) -> Result<(Content, Bytes), NotJson>;
}

/// A value to be published as JSON: `Json(&value)`.
#[derive(Clone, Copy, Debug)]
pub struct Json<'a, T: ?Sized>(pub &'a T);

/// A value that has no JSON: a map whose keys are no strings, or one whose own code refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotJson;

impl fmt::Display for NotJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value has no JSON: it has a map whose keys are no strings, or its own code refuses")
    }
}

impl std::error::Error for NotJson {}

impl<T: Serialize + ?Sized> Payload for Json<'_, T> {
    fn into_parts(self) -> Result<(Content, Bytes), NotJson> {
        let json = serde_json::to_vec(self.0).map_err(|_| NotJson)?;
        Ok((Content::Json, json.into()))
    }
}

impl Payload for &str {
    fn into_parts(self) -> Result<(Content, Bytes), NotJson> {
        Ok((Content::Text, Bytes::copy_from_slice(self.as_bytes())))
    }
}

impl Payload for String {
    fn into_parts(self) -> Result<(Content, Bytes), NotJson> {
        Ok((Content::Text, self.into()))
    }
}

impl Payload for &String {
    fn into_parts(self) -> Result<(Content, Bytes), NotJson> {
        self.as_str().into_parts()
    }
}

impl Payload for Bytes {
    fn into_parts(self) -> Result<(Content, Bytes), NotJson> {
        Ok((Content::Binary, self))
    }
}

impl Payload for Vec<u8> {
    fn into_parts(self) -> Result<(Content, Bytes), NotJson> {
        Ok((Content::Binary, self.into()))
    }
}

impl Payload for &[u8] {
    fn into_parts(self) -> Result<(Content, Bytes), NotJson> {
        Ok((Content::Binary, Bytes::copy_from_slice(self)))
    }
}
