//! What RFC 9112 says of a connection's bytes, by a parser that waits for a whole head and splits it at every
//! CRLF: the oracle of `request`.
//!
//! A fault inside a section that is not whole is none of its business: `End::Cut`. Where the RFC leaves a
//! choice, it takes ours: the stricter.

/// How much is taken, and whose body is wanted.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub head_len_max: usize,
    pub headers_max: usize,
    pub body_len_max: u64,
}

impl Rules {
    pub fn wants_body(self, method: &str, has_body: bool) -> bool {
        method == "POST" || has_body
    }
}

/// What is to be seen of a connection.
#[derive(Debug)]
pub struct Expected {
    pub said: Vec<Said>,
    pub end: End,
}

#[derive(Debug)]
pub enum Said {
    Head(Head),
    Body(Vec<u8>),
}

#[derive(Debug)]
pub struct Head {
    pub method: String,
    pub target: String,
    pub minor_version: u8,
    pub fields: Vec<(String, Vec<u8>)>,
}

/// What is to be said of the bytes after the last event.
#[derive(Debug)]
pub enum End {
    /// There are none.
    Between,
    /// They are a part of a request: it may be refused already, or waited for.
    Cut,
    /// They break this rule, or the last head does.
    Refused(&'static str),
}

/// Where a body ends.
enum BodyLen {
    None,
    Known(u64),
    Chunked,
}

const EMPTY_LINES_MAX: usize = 4;
const CHUNK_LINE_LEN_MAX: usize = 256;

pub fn expected(rules: Rules, bytes: &[u8]) -> Expected {
    let mut said = Vec::new();
    let mut rest = bytes;
    loop {
        if let Err(end) = request(rules, &mut rest, &mut said) {
            return Expected { said, end };
        }
    }
}

/// Takes a request off the front of `rest`: RFC 9112 §2.1.
fn request(rules: Rules, rest: &mut &[u8], said: &mut Vec<Said>) -> Result<(), End> {
    skip_empty_lines(rest)?;
    let head = head(rules, rest)?;
    let body_len = body_len(&head)?;
    check_members(&head, "expect", b"100-continue")?;
    let has_body = !matches!(body_len, BodyLen::None | BodyLen::Known(0));
    let wants_body = rules.wants_body(&head.method, has_body);
    said.push(Said::Head(head));
    if wants_body {
        said.push(Said::Body(body(rules, body_len, rest)?));
    }
    Ok(())
}

fn skip_empty_lines(rest: &mut &[u8]) -> Result<(), End> {
    for _ in 0..EMPTY_LINES_MAX {
        *rest = rest.strip_prefix(b"\r\n").unwrap_or(rest);
    }
    if rest.is_empty() {
        return Err(End::Between);
    }
    refuse_if(rest.starts_with(b"\r\n"), "empty lines before a request")
}

fn head(rules: Rules, rest: &mut &[u8]) -> Result<Head, End> {
    let section = section(rules, rest)?;
    let (line, fields) = section.split_first().ok_or(End::Refused("no request line"))?;
    let line = str::from_utf8(line).map_err(|_| End::Refused("a request line that is not UTF-8"))?;
    let [method, target, version] = line.split(' ').collect::<Vec<_>>()[..] else {
        return Err(End::Refused("three words"));
    };
    refuse_if(!is_token(method.as_bytes()), "method")?;
    let minor_version = match version {
        "HTTP/1.0" => 0,
        "HTTP/1.1" => 1,
        _ => return Err(End::Refused("version")),
    };
    refuse_if(fields.len() > rules.headers_max, "number of fields")?;
    let fields = fields.iter().map(|line| field(line)).collect::<Result<Vec<_>, _>>()?;
    let target = reduce(method, target).ok_or(End::Refused("target"))?;
    let head = Head { method: method.to_owned(), target, minor_version, fields };
    check_host(&head)?;
    Ok(head)
}

/// Takes lines up to an empty one off the front of `rest`, without their ends.
fn section<'a>(rules: Rules, rest: &mut &'a [u8]) -> Result<Vec<&'a [u8]>, End> {
    let mut lines = Vec::new();
    let mut after = *rest;
    loop {
        let Some(line) = line(&mut after) else {
            refuse_if(rest.len() > rules.head_len_max, "length of the section")?;
            return Err(End::Cut);
        };
        refuse_if(line.iter().any(|&byte| byte < 0x20 && byte != b'\t' || byte == 0x7f), "control byte")?;
        if line.is_empty() {
            refuse_if(rest.len() - after.len() > rules.head_len_max, "length of the section")?;
            *rest = after;
            return Ok(lines);
        }
        lines.push(line);
    }
}

/// Takes a line off the front of `rest`, without its CRLF.
fn line<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let at = rest.windows(2).position(|two| two == b"\r\n")?;
    let line = &rest[..at];
    *rest = &rest[at + 2..];
    Some(line)
}

/// RFC 9112 §5: `field-name ":" OWS field-value OWS`.
fn field(line: &[u8]) -> Result<(String, Vec<u8>), End> {
    let colon = line.iter().position(|&byte| byte == b':').ok_or(End::Refused("colon"))?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    refuse_if(!is_token(name), "field name")?;
    let name = name.iter().map(|&byte| char::from(byte)).collect();
    Ok((name, trim(value).to_vec()))
}

/// RFC 9112 §3.2: origin-form; absolute-form, cut down to it; `*` for OPTIONS.
fn reduce(method: &str, target: &str) -> Option<String> {
    if target.is_empty() || target.contains(['#', '\t']) {
        return None;
    }
    if target.starts_with('/') || (target, method) == ("*", "OPTIONS") {
        return Some(target.to_owned());
    }
    let colon = target.find("://")?;
    let scheme = target[..colon].to_ascii_lowercase();
    let rest = &target[colon + 3..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !["http", "https", "ws", "wss"].contains(&&scheme[..]) || !has_form_of_host(authority.as_bytes()) {
        return None;
    }
    Some(if path.starts_with('/') { path.to_owned() } else { format!("/{path}") })
}

/// RFC 9112 §3.2: one Host field of allowed bytes; none is needed in HTTP/1.0.
fn check_host(head: &Head) -> Result<(), End> {
    let hosts = values(head, "host");
    refuse_if(hosts.len() > 1 || (hosts.is_empty() && head.minor_version == 1), "number of Host fields")?;
    refuse_if(!hosts.iter().all(|host| host.is_empty() || has_form_of_host(host)), "Host")
}

/// RFC 9110 §7.2: `Host = uri-host [ ":" port ]`, by RFC 3986 §3.2.2 and §3.2.3.
fn has_form_of_host(host: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%:[]".contains(byte);
    if !host.iter().all(is_allowed) {
        return false;
    }
    let text = String::from_utf8_lossy(host);
    let name_len = match text.find(']') {
        Some(end) if text.starts_with('[') => end + 1,
        _ => text.find(':').unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(name_len);
    let is_port = match port.strip_prefix(':') {
        None => port.is_empty(),
        Some(digits) => {
            let value = digits.bytes().try_fold(0_u64, |value, digit| {
                digit.is_ascii_digit().then(|| (10 * value + u64::from(digit - b'0')).min(100_000))
            });
            value.is_some_and(|value| value <= 65_535)
        }
    };
    is_port && !name.is_empty() && has_form_of_name(name)
}

fn has_form_of_name(name: &str) -> bool {
    let is_plain = |text: &str| !text.contains(['%', ':', '[', ']']);
    let Some(literal) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) else {
        let mut parts = name.split('%');
        let first = parts.next().is_some_and(is_plain);
        return first
            && parts.all(|part| {
                is_plain(part) && part.chars().take_while(char::is_ascii_hexdigit).take(2).count() == 2
            });
    };
    if let Some(future) = literal.strip_prefix(['v', 'V']) {
        let (version, address) = future.split_once('.').unwrap_or(("", ""));
        let is_hex = !version.is_empty() && version.chars().all(|digit| digit.is_ascii_hexdigit());
        return is_hex && !address.is_empty() && is_plain(&address.replace(':', ""));
    }
    match literal.split_once('%') {
        Some((address, zone)) => {
            address.parse::<std::net::Ipv6Addr>().is_ok() && !zone.is_empty() && is_plain(zone)
        }
        None => literal.parse::<std::net::Ipv6Addr>().is_ok(),
    }
}

/// RFC 9112 §6.3.
fn body_len(head: &Head) -> Result<BodyLen, End> {
    match (&values(head, "content-length")[..], &values(head, "transfer-encoding")[..]) {
        ([], []) => Ok(BodyLen::None),
        ([digits], []) => {
            refuse_if(digits.is_empty() || !digits.iter().all(u8::is_ascii_digit), "Content-Length")?;
            let digits: String = digits.iter().map(|&digit| char::from(digit)).collect();
            digits.parse().map(BodyLen::Known).map_err(|_| End::Refused("Content-Length over 64 bits"))
        }
        ([], [coding]) if head.minor_version == 1 && coding.eq_ignore_ascii_case(b"chunked") => {
            Ok(BodyLen::Chunked)
        }
        _ => Err(End::Refused("one end of the body, announced once")),
    }
}

/// Whether nothing but `member` is listed.
fn check_members(head: &Head, name: &str, member: &[u8]) -> Result<(), End> {
    let listed = values(head, name).join(&b","[..]);
    let mut members = listed.split(|&byte| byte == b',').map(trim).filter(|listed| !listed.is_empty());
    refuse_if(members.any(|listed| !listed.eq_ignore_ascii_case(member)), "Expect")
}

fn values<'a>(head: &'a Head, name: &str) -> Vec<&'a [u8]> {
    let named = head.fields.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
    named.map(|(_, value)| &value[..]).collect()
}

fn body(rules: Rules, len: BodyLen, rest: &mut &[u8]) -> Result<Vec<u8>, End> {
    match len {
        BodyLen::None => Err(End::Refused("a body that is wanted")),
        BodyLen::Known(len) => {
            refuse_if(len > rules.body_len_max, "length of the body")?;
            take(rest, len)
        }
        BodyLen::Chunked => chunks(rules, rest),
    }
}

/// RFC 9112 §7.1: `*chunk last-chunk trailer-section CRLF`.
fn chunks(rules: Rules, rest: &mut &[u8]) -> Result<Vec<u8>, End> {
    let mut body = Vec::new();
    loop {
        let size = chunk_size(line(rest).ok_or(End::Cut)?)?;
        refuse_if(size > rules.body_len_max - body.len() as u64, "length of the body")?;
        if size == 0 {
            break;
        }
        body.extend(take(rest, size)?);
        refuse_if(take(rest, 2)? != b"\r\n", "end of a chunk")?;
    }
    let trailers = section(rules, rest)?;
    refuse_if(trailers.len() > rules.headers_max, "number of trailers")?;
    trailers.iter().try_for_each(|line| field(line).map(|_| ()))?;
    Ok(body)
}

/// RFC 9112 §7.1.1: `chunk-size *( BWS ";" … )`.
fn chunk_size(line: &[u8]) -> Result<u64, End> {
    refuse_if(line.len() > CHUNK_LINE_LEN_MAX, "length of a chunk's line")?;
    refuse_if(line.iter().any(|&byte| byte < 0x20 && byte != b'\t' || byte == 0x7f), "control byte")?;
    let digits_len = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    let (digits, extension) = line.split_at(digits_len);
    refuse_if(!extension.is_empty() && !trim(extension).starts_with(b";"), "chunk extension")?;
    refuse_if(digits.is_empty() || digits.len() > 16, "chunk size")?;
    let digits: String = digits.iter().map(|&digit| char::from(digit)).collect();
    u64::from_str_radix(&digits, 16).map_err(|_| End::Refused("chunk size over 64 bits"))
}

fn take(rest: &mut &[u8], len: u64) -> Result<Vec<u8>, End> {
    let len = usize::try_from(len).map_err(|_| End::Cut)?;
    let (taken, after) = rest.split_at_checked(len).ok_or(End::Cut)?;
    *rest = after;
    Ok(taken.to_vec())
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', inner @ ..] | [inner @ .., b' ' | b'\t'] = bytes {
        bytes = inner;
    }
    bytes
}

fn is_token(bytes: &[u8]) -> bool {
    let is_tchar = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty() && bytes.iter().all(is_tchar)
}

fn refuse_if(broken: bool, rule: &'static str) -> Result<(), End> {
    if broken { Err(End::Refused(rule)) } else { Ok(()) }
}
