//! The query of a request of the HTTP API as a list of parameters, and as the text that its signature covers.
//!
//! Everything is bytes: what a library signs need not be UTF-8. What a parameter means is not known here.

use percent_encoding::percent_decode;

/// What a `+` in a query stands for. Libraries differ in how they write a space: most as `%20`, and leave a `+` as it is;
/// some as forms do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plus {
    /// Itself.
    Plus,
    /// A space.
    Space,
}

/// Decoded parameters, their names in small letters, sorted by name; those of one name are in the order sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters(Vec<(Vec<u8>, Vec<u8>)>);

/// A parameter that is given more than once where one value is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Twice;

/// The parameter that is no part of what it signs.
const SIGNATURE: &[u8] = b"auth_signature";

impl Parameters {
    /// From a query as sent, without its `?`.
    pub(super) fn new(query: &str, plus: Plus) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut parameters: Vec<_> = pairs
            .map(|pair| {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                let mut name = decoded(name, plus);
                name.make_ascii_lowercase();
                (name, decoded(value, plus))
            })
            .collect();
        parameters.sort_by(|(name, _), (other, _)| name.cmp(other));
        Self(parameters)
    }

    /// The value of a parameter; `None` if it is not given.
    pub(super) fn one(&self, name: &str) -> Result<Option<&[u8]>, Twice> {
        let mut values = self.named(name);
        let first = values.next();
        if values.next().is_some() { Err(Twice) } else { Ok(first) }
    }

    /// The values of a parameter, as often as it is given, also as an array: `name` and then `name[]`.
    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.named(name).chain(self.0.iter().filter_map(move |(other, value)| {
            let is_element = other.strip_suffix(b"[]").is_some_and(|other| other == name.as_bytes());
            is_element.then_some(&value[..])
        }))
    }

    /// Appends the text that a signature covers: `name=value`, joined by `&`, not escaped, without the signature itself.
    pub(super) fn write_signed(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for (name, value) in self.0.iter().filter(|(name, _)| name != SIGNATURE) {
            if out.len() > start {
                out.push(b'&');
            }
            out.extend_from_slice(name);
            out.push(b'=');
            out.extend_from_slice(value);
        }
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.0.iter().filter(move |(other, _)| other == name.as_bytes()).map(|(_, value)| &value[..])
    }
}

/// A part of a path or a query without its escapes. A `%` without two hexadecimal digits stays as it is.
fn decoded(text: &str, plus: Plus) -> Vec<u8> {
    let mut bytes: Vec<u8> = text.into();
    if plus == Plus::Space {
        for byte in bytes.iter_mut().filter(|byte| **byte == b'+') {
            *byte = b' ';
        }
    }
    if bytes.contains(&b'%') { percent_decode(&bytes).collect() } else { bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(query: &str, plus: Plus) -> String {
        let mut out = b"GET\n/\n".to_vec();
        Parameters::new(query, plus).write_signed(&mut out);
        String::from_utf8(out).unwrap().split_off(6)
    }

    #[test]
    fn names_are_in_small_letters_and_sorted_and_values_are_not_escaped() {
        assert_eq!(
            signed("auth_key=foo&Name=Something%20else&auth_signature=x", Plus::Plus),
            "auth_key=foo&name=Something else"
        );
        assert_eq!(signed("b=1&A=2&&c&auth_signature=x&AUTH_SIGNATURE=y", Plus::Plus), "a=2&b=1&c=");
        assert_eq!(signed("a=100%&b=%zz&c=%2", Plus::Plus), "a=100%&b=%zz&c=%2");
        assert_eq!(signed("", Plus::Plus), "");
    }

    #[test]
    fn values_of_one_name_stay_in_the_order_sent() {
        assert_eq!(
            signed("x=1&channels[]=b&channels%5B%5D=a&a=0", Plus::Plus),
            "a=0&channels[]=b&channels[]=a&x=1"
        );
    }

    #[test]
    fn a_plus_is_itself_or_a_space_and_an_escaped_one_is_always_itself() {
        assert_eq!(signed("a=1+2%2B3", Plus::Plus), "a=1+2+3");
        assert_eq!(signed("a=1+2%2B3", Plus::Space), "a=1 2+3");
    }

    #[test]
    fn a_parameter_that_is_wanted_once_is_not_given_twice() {
        let parameters = Parameters::new("a=1&b=2&B=3&c", Plus::Plus);
        assert_eq!(parameters.one("a"), Ok(Some(&b"1"[..])));
        assert_eq!(parameters.one("b"), Err(Twice));
        assert_eq!(parameters.one("c"), Ok(Some(&b""[..])));
        assert_eq!(parameters.one("d"), Ok(None));
    }

    #[test]
    fn an_array_is_its_elements() {
        let parameters = Parameters::new("info[]=a&info=b&info[]=c&info[0]=d", Plus::Plus);
        assert_eq!(parameters.all("info").collect::<Vec<_>>(), [b"b", b"a", b"c"]);
    }
}
