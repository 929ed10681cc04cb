//! Whether a request of the HTTP API is signed by an app's secret: section 5.1 of the protocol, as libraries do it.
//!
//! What the request asks for is not known here.

use std::borrow::Cow;

use md5::{Digest, Md5};
use percent_encoding::percent_decode_str;

use super::parameters::{Parameters, Plus, Twice};
use super::unauthorized::{CLOCK_DISTANCE_MAX_S, Unauthorized};
use crate::pusher::app::App;
use crate::pusher::auth::{hex, is_digest};

/// The head of a request as it came over the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signed<'a> {
    /// The method, in capitals.
    pub method: &'a str,
    /// The path as sent.
    pub path: &'a str,
    /// What stands ahead of the path's own beginning, or nothing. A proxy may have added it after the request was signed.
    pub prefix: &'a str,
    /// The query as sent, without its `?`.
    pub query: &'a str,
}

/// Checks that the request was signed by one of the app's secrets at about the time `now_s`, in seconds since 1970, and
/// returns its parameters as they were signed. The body is signed by its digest, which is one of them: it need not be read
/// before, and [`check_body`] says whether it is the one that was signed.
///
/// The text that is signed is the method, the path and the parameters with a line feed between. Libraries do not agree on the
/// path and on spaces, so each way in which they read them is tried: the path as sent and without its escapes, with the prefix
/// and without; a `+` as itself and as a space. All of them name the same endpoint and the same app.
///
/// # Errors
/// Says which parameter is missing or wrong: both clocks if they differ by more than 600 s, what should have been signed if
/// the signature is another.
pub fn authenticate(request: &Signed<'_>, app: &App, now_s: u64) -> Result<Parameters, Unauthorized> {
    let parameters = Parameters::new(request.query, Plus::Plus);
    check_key(&parameters, app)?;
    check_version(&parameters)?;
    check_timestamp(&parameters, now_s)?;
    one(&parameters, "body_md5")?;
    let sent = required(&parameters, "auth_signature")?;
    let digest = lossy(sent).to_ascii_lowercase();
    let is_signed = |parameters: &Parameters| {
        paths(request).any(|path| is_digest(app, &digest, &text(request, &path, parameters)))
    };
    if is_signed(&parameters) {
        return Ok(parameters);
    }
    if request.query.contains('+') {
        let parameters = Parameters::new(request.query, Plus::Space);
        if is_signed(&parameters) {
            return Ok(parameters);
        }
    }
    let signed = text(request, request.path.as_bytes(), &parameters);
    Err(Unauthorized::Signature { signed: lossy(&signed), sent: lossy(sent) })
}

/// The key of the app that signed, where the path does not name the app.
///
/// # Errors
/// `auth_key` is missing or given twice.
pub fn key(query: &str) -> Result<String, Unauthorized> {
    required(&Parameters::new(query, Plus::Plus), "auth_key").map(lossy)
}

fn check_key(parameters: &Parameters, app: &App) -> Result<(), Unauthorized> {
    let sent = required(parameters, "auth_key")?;
    if sent == app.key.as_bytes() {
        return Ok(());
    }
    Err(Unauthorized::KeyOfAnother { sent: lossy(sent), app: app.id.clone() })
}

fn check_version(parameters: &Parameters) -> Result<(), Unauthorized> {
    match required(parameters, "auth_version")? {
        b"1.0" => Ok(()),
        sent => Err(Unauthorized::Version(lossy(sent))),
    }
}

fn check_timestamp(parameters: &Parameters, now_s: u64) -> Result<(), Unauthorized> {
    let sent = required(parameters, "auth_timestamp")?;
    let is_number = sent.iter().all(u8::is_ascii_digit);
    let given_s = str::from_utf8(sent).ok().filter(|_| is_number).and_then(|digits| digits.parse().ok());
    let Some(given_s) = given_s else { return Err(Unauthorized::Timestamp(lossy(sent))) };
    if now_s.abs_diff(given_s) > CLOCK_DISTANCE_MAX_S {
        return Err(Unauthorized::Clock { given_s, now_s });
    }
    Ok(())
}

/// Checks that the body is the one whose digest is among the signed parameters. An empty one need not be signed; the Python
/// library signs it nevertheless.
///
/// # Errors
/// The digest is another one, or there is none and the body is not empty.
pub fn check_body(parameters: &Parameters, body: &[u8]) -> Result<(), Unauthorized> {
    let sent = match one(parameters, "body_md5")? {
        Some(sent) => sent,
        None if body.is_empty() => return Ok(()),
        None => return Err(Unauthorized::Missing("body_md5")),
    };
    let is = hex(&Md5::digest(body));
    if sent.eq_ignore_ascii_case(is.as_bytes()) {
        return Ok(());
    }
    Err(Unauthorized::BodyMd5 { sent: lossy(sent), is })
}

fn required<'a>(parameters: &'a Parameters, name: &'static str) -> Result<&'a [u8], Unauthorized> {
    one(parameters, name)?.ok_or(Unauthorized::Missing(name))
}

fn one<'a>(parameters: &'a Parameters, name: &'static str) -> Result<Option<&'a [u8]>, Unauthorized> {
    parameters.one(name).map_err(|Twice| Unauthorized::Twice(name))
}

/// The paths that the client may have signed; the likeliest, that which was sent, is the first.
fn paths<'a>(request: &Signed<'a>) -> impl Iterator<Item = Cow<'a, [u8]>> {
    let has_prefix = !request.prefix.is_empty();
    let inner = request.path.strip_prefix(request.prefix).filter(|path| has_prefix && path.starts_with('/'));
    [Some(request.path), inner].into_iter().flatten().flat_map(|path| {
        let decoded = path.contains('%').then(|| percent_decode_str(path).into());
        [Some(Cow::Borrowed(path.as_bytes())), decoded].into_iter().flatten()
    })
}

fn text(request: &Signed<'_>, path: &[u8], parameters: &Parameters) -> Vec<u8> {
    let mut text = [request.method.as_bytes(), b"\n", path, b"\n"].concat();
    parameters.write_signed(&mut text);
    text
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
