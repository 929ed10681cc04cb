//! The rules of a signature of Pusher's HTTP API, each as it is said: sort, write in small letters, join, HMAC by hand.
//!
//! What a request asks for is not known here.

use std::collections::BTreeMap;

use md5::Md5;
use sha2::{Digest, Sha256};

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Model<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub prefix: &'a str,
    pub query: &'a str,
    pub body: &'a [u8],
}

impl Model<'_> {
    /// Whether the request is signed by one of the secrets of the app with this key at this time; if not, the rule.
    pub fn is_signed(&self, key: &str, secrets: &[&str], now_s: u64) -> Result<(), &'static str> {
        let parameters = parameters(self.query, false);
        let once = |name: &str| match parameters.get(name.as_bytes()).map(Vec::as_slice) {
            Some([value]) => Ok(value.clone()),
            Some(_) => Err("given twice"),
            None => Err("not given"),
        };
        if once("auth_key")? != key.as_bytes() {
            return Err("another key");
        }
        if once("auth_version")? != b"1.0" {
            return Err("another version");
        }
        let timestamp = String::from_utf8(once("auth_timestamp")?).map_err(|_| "no timestamp")?;
        if timestamp.is_empty() || timestamp.contains(|digit: char| !digit.is_ascii_digit()) {
            return Err("no timestamp");
        }
        let timestamp: i128 = timestamp.parse().map_err(|_| "no timestamp")?;
        if (timestamp - i128::from(now_s)).abs() > 600 {
            return Err("too old or too new");
        }
        match once("body_md5") {
            Err("not given") if self.body.is_empty() => {}
            digest if digest.clone()?.to_ascii_lowercase() == hex_md5(self.body).as_bytes() => {}
            _ => return Err("another body"),
        }
        let signature = once("auth_signature")?.to_ascii_lowercase();
        let texts = self.texts();
        let is_signature =
            |text: &Vec<u8>| secrets.iter().any(|key| hmac_hex(key.as_bytes(), text).as_bytes() == signature);
        if texts.iter().any(is_signature) { Ok(()) } else { Err("another signature") }
    }

    /// Every text that a client may sign.
    pub fn texts(&self) -> Vec<Vec<u8>> {
        let mut paths = vec![self.path.as_bytes().to_vec()];
        if let Some(inner) = self.path.strip_prefix(self.prefix)
            && inner.starts_with('/')
        {
            paths.push(inner.as_bytes().to_vec());
        }
        paths.extend(paths.clone().iter().map(|path| decoded(path, false)));
        let mut texts = Vec::new();
        for plus_is_space in [false, true] {
            let mut pairs = Vec::new();
            for (name, values) in parameters(self.query, plus_is_space) {
                if name != b"auth_signature" {
                    pairs.extend(values.iter().map(|value| [&name[..], b"=", value].concat()));
                }
            }
            let query = pairs.join(&b"&"[..]);
            texts.extend(paths.iter().map(|path| [self.method.as_bytes(), path, &query].join(&b"\n"[..])));
        }
        texts
    }
}

/// What stands ahead of the last `/apps/` or, if there is none, of the last `/users/`.
pub fn prefix_of(path: &str) -> &str {
    ["/apps/", "/users/"].into_iter().find_map(|root| Some(path.rsplit_once(root)?.0)).unwrap_or_default()
}

/// Values by names in small letters, in the order sent.
fn parameters(query: &str, plus_is_space: bool) -> BTreeMap<Vec<u8>, Vec<Vec<u8>>> {
    let mut parameters: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for pair in query.split('&') {
        if pair.is_empty() {
            continue;
        }
        let end = pair.find('=').unwrap_or(pair.len());
        let name = decoded(&pair.as_bytes()[..end], plus_is_space).to_ascii_lowercase();
        let value = decoded(pair.as_bytes().get(end + 1..).unwrap_or_default(), plus_is_space);
        parameters.entry(name).or_default().push(value);
    }
    parameters
}

fn decoded(mut text: &[u8], plus_is_space: bool) -> Vec<u8> {
    let mut out = Vec::new();
    while let [first, rest @ ..] = text {
        let escaped = text.get(1..3).and_then(|digits| str::from_utf8(digits).ok());
        let escaped = escaped.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
        (text, out) = match (first, escaped) {
            (b'%', Some(digits)) => {
                out.push(u8::from_str_radix(digits, 16).expect("two digits are a byte"));
                (&text[3..], out)
            }
            (b'+', _) if plus_is_space => {
                out.push(b' ');
                (rest, out)
            }
            _ => {
                out.push(*first);
                (rest, out)
            }
        };
    }
    out
}

/// RFC 2104: `H(K XOR opad, H(K XOR ipad, text))`; the block of SHA-256 has 64 bytes, and a longer key is hashed.
pub fn hmac_hex(key: &[u8], text: &[u8]) -> String {
    let mut block = [0; 64];
    match key.len() {
        0..=64 => block[..key.len()].copy_from_slice(key),
        _ => block[..32].copy_from_slice(&Sha256::digest(key)),
    }
    let inner = Sha256::digest([&block.map(|byte| byte ^ 0x36)[..], text].concat());
    hex(&Sha256::digest([&block.map(|byte| byte ^ 0x5c)[..], &inner[..]].concat()))
}

pub fn hex_md5(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
