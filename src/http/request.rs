//! One request head: what was asked, of whom, by what means. The body is not here, nor is the meaning of a
//! path.
//!
//! A `Request` exists only if its head broke no rule of RFC 9112 that is checked here or in `scan.rs`,
//! `target.rs` and `length.rs`.

use std::ops::Range;

use super::error::Error;
use super::host::is_host;
use super::length::BodyLength;
use super::target::{self, Target};

/// A request head, owned. Field names are compared without regard to ASCII case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    line: RequestLine,
    /// The field lines as sent; `fields` are ranges of it.
    bytes: Vec<u8>,
    fields: Vec<Field>,
    body_length: BodyLength,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    name: Range<usize>,
    value: Range<usize>,
}

impl Request {
    /// From its line and the bytes of its `field_count` field lines, including the empty line after them.
    pub(super) fn parse(line: RequestLine, bytes: &[u8], field_count: usize) -> Result<Self, Error> {
        let mut headers = vec![httparse::EMPTY_HEADER; field_count];
        let (_, headers) = match httparse::parse_headers(bytes, &mut headers) {
            Ok(httparse::Status::Complete(parsed)) => parsed,
            Ok(httparse::Status::Partial) => unreachable!("the scanner saw the end of the head"),
            Err(_) => return Err(Error::FieldName),
        };
        let fields = headers
            .iter()
            .map(|header| Field {
                name: range_in(bytes, header.name.as_bytes()),
                value: range_in(bytes, header.value),
            })
            .collect();
        let mut request = Self { line, bytes: bytes.to_vec(), fields, body_length: BodyLength::Unannounced };
        request.check_host()?;
        request.body_length = BodyLength::of(
            request.headers("content-length"),
            request.headers("transfer-encoding"),
            request.minor_version(),
        )?;
        request.check_expectation()?;
        Ok(request)
    }

    /// The bytes of memory that it takes beside itself, about.
    pub fn held_len(&self) -> usize {
        self.bytes.len() + self.target().len() + self.fields.len() * size_of::<Field>()
    }

    /// The method, which is case-sensitive: RFC 9110 §9.1.
    pub fn method(&self) -> &str {
        &self.line.method
    }

    /// Path and query as sent, an absolute-form target reduced to them (RFC 9112 §3.2.2); `*` for a
    /// server-wide OPTIONS.
    pub fn target(&self) -> &str {
        &self.line.target.path_and_query
    }

    /// The host that is asked, with its port: that of an absolute-form target, else the field's, if there is one.
    ///
    /// RFC 9112 §3.2.2: "When an origin server receives a request with an absolute-form of request-target, the origin
    /// server MUST ignore the received Host header field (if any) and instead use the host information of the
    /// request-target."
    pub fn host(&self) -> Option<&[u8]> {
        let authority = self.line.target.authority.as_deref().map(str::as_bytes);
        authority.or_else(|| self.header("host"))
    }

    /// The target up to its `?`, not decoded.
    pub fn path(&self) -> &str {
        self.target().split_once('?').map_or(self.target(), |(path, _)| path)
    }

    /// The target after its `?`, not decoded.
    pub fn query(&self) -> Option<&str> {
        self.target().split_once('?').map(|(_, query)| query)
    }

    /// The value of the first field called `name`, without the whitespace around it.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.fields.iter().find(|field| self.is_named(field, name)).map(|field| self.value(field))
    }

    /// The values of all fields called `name`, in the order sent.
    pub fn headers<'a>(&'a self, name: &'a str) -> impl DoubleEndedIterator<Item = &'a [u8]> {
        self.fields.iter().filter(move |field| self.is_named(field, name)).map(|field| self.value(field))
    }

    /// All fields in the order sent: names and values.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &[u8])> {
        // A name has been checked to be a token, which is ASCII.
        let name = |field: &Field| str::from_utf8(&self.bytes[field.name.clone()]).unwrap_or_default();
        self.fields.iter().map(move |field| (name(field), self.value(field)))
    }

    /// As [`Request::header`], if it is UTF-8.
    pub fn header_str(&self, name: &str) -> Option<&str> {
        self.header(name).and_then(|value| str::from_utf8(value).ok())
    }

    /// Whether a comma list, over all fields called `name`, holds `token` in any ASCII case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.tokens(name).any(|listed| listed.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// The elements of a comma list, over all fields called `name`: RFC 9110 §5.6.1, where empty ones do
    /// not count.
    pub(super) fn tokens<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.headers(name)
            .flat_map(|value| value.split(|&byte| byte == b','))
            .map(|element| element.trim_ascii())
            .filter(|element| !element.is_empty())
    }

    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub fn minor_version(&self) -> u8 {
        self.line.minor_version
    }

    /// Whether the connection may serve another request after this one: RFC 9112 §9.3.
    pub fn keep_alive(&self) -> bool {
        if self.has_token("connection", "close") {
            return false;
        }
        self.minor_version() == 1 || self.has_token("connection", "keep-alive")
    }

    /// Whether a body was announced: chunked, or a Content-Length over 0.
    pub fn has_body(&self) -> bool {
        self.body_length.announces_body()
    }

    /// Whether the client waits for [`crate::http::CONTINUE`] before it sends its body.
    ///
    /// RFC 9110 §10.1.1: "A server that receives a 100-continue expectation in an HTTP/1.0 request MUST
    /// ignore that expectation."
    pub fn expects_continue(&self) -> bool {
        self.minor_version() == 1 && self.has_body() && self.has_token("expect", "100-continue")
    }

    pub(super) fn body_length(&self) -> BodyLength {
        self.body_length
    }

    /// RFC 9112 §3.2: "A server MUST respond with a 400 (Bad Request) status code to any HTTP/1.1 request
    /// message that lacks a Host header field and to any request message that contains more than one Host
    /// header field line or a Host header field with an invalid field value."
    fn check_host(&self) -> Result<(), Error> {
        let mut hosts = self.headers("host");
        let Some(host) = hosts.next() else {
            return if self.minor_version() == 0 { Ok(()) } else { Err(Error::HostMissing) };
        };
        if hosts.next().is_some() {
            return Err(Error::HostRepeated);
        }
        // Empty where the target has no authority: RFC 9112 §3.2.
        if host.is_empty() || is_host(host) { Ok(()) } else { Err(Error::HostInvalid) }
    }

    /// RFC 9110 §10.1.1: "A server that receives an Expect field value containing a member other than
    /// 100-continue MAY respond with a 417 (Expectation Failed) status code".
    fn check_expectation(&self) -> Result<(), Error> {
        if self.tokens("expect").all(|member| member.eq_ignore_ascii_case(b"100-continue")) {
            Ok(())
        } else {
            Err(Error::Expectation)
        }
    }

    fn is_named(&self, field: &Field, name: &str) -> bool {
        self.bytes[field.name.clone()].eq_ignore_ascii_case(name.as_bytes())
    }

    fn value(&self, field: &Field) -> &[u8] {
        &self.bytes[field.value.clone()]
    }
}

/// The first line of a request, read as soon as it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RequestLine {
    method: String,
    target: Target,
    minor_version: u8,
}

impl RequestLine {
    /// From the bytes of the line, its CRLF included: RFC 9112 §3, `method SP request-target SP
    /// HTTP-version`.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let mut parsed = httparse::Request::new(&mut []);
        // The line alone is a head without its end: what httparse made of it stands in `parsed`.
        match parsed.parse(bytes) {
            Ok(_) => {}
            Err(httparse::Error::Version) if names_version(bytes) => return Err(Error::Version),
            Err(_) => return Err(Error::RequestLine),
        }
        let (Some(method), Some(target), Some(minor_version)) = (parsed.method, parsed.path, parsed.version)
        else {
            return Err(Error::RequestLine);
        };
        Ok(Self { method: method.to_owned(), target: target::parse(method, target)?, minor_version })
    }
}

/// Whether the third of three words names some HTTP version: RFC 9112 §2.3, where the name is case-sensitive.
/// `HTTP/2` without a minor version counts, so that its sender hears 505 and not 400.
fn names_version(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line.trim_ascii_end().split(|&byte| byte == b' ').collect();
    let [_, _, version] = words[..] else {
        return false;
    };
    version
        .strip_prefix(b"HTTP/")
        .is_some_and(|digits| digits.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.'))
}

/// Where in `whole` the subslice `part` lies.
fn range_in(whole: &[u8], part: &[u8]) -> Range<usize> {
    let start = part.as_ptr().addr() - whole.as_ptr().addr();
    start..start + part.len()
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;
