//! What RFC 6455 §9.1 and RFC 7692 §7.1 say of a list of extensions, by a parser that goes from character to
//! character: the oracle of `extension`.
//!
//! It reads the grammar rule by rule, and knows no separator apart from where a rule has one.

/// The parameters of permessage-deflate, of an offer or of an answer.
#[derive(Debug, Default)]
pub struct Offer {
    pub server_no_context_takeover: bool,
    pub client_no_context_takeover: bool,
    pub server_max_window_bits: Option<u8>,
    /// There; and its value, if it has one.
    pub client_max_window_bits: Option<Option<u8>>,
}

/// An extension as the grammar has it: its name and its parameters.
#[derive(Debug)]
struct Extension {
    name: String,
    parameters: Vec<(String, Option<String>)>,
}

/// The first offer over all fields that a server can take: one that breaks the grammar is passed over.
pub fn first_to_take(fields: &[&str]) -> Option<Offer> {
    fields.iter().flat_map(|field| elements(field)).find_map(|element| offer(&extension(&element)?))
}

/// What a server answered to the offer, or why it must not.
pub fn answer(said: &str, offered: &Offer) -> Result<Offer, &'static str> {
    let [element] = &elements(said)[..] else { return Err("one extension is agreed") };
    let extension = extension(element).ok_or("no extension by the grammar")?;
    let answer = offer(&extension).ok_or("not permessage-deflate with parameters that are defined")?;
    // RFC 7692 §7.1.1.1: "A server accepts an extension negotiation offer that includes the
    // "server_no_context_takeover" extension parameter by including it in the response.
    if offered.server_no_context_takeover && !answer.server_no_context_takeover {
        return Err("§7.1.1.1: server_no_context_takeover is left out");
    }
    // RFC 7692 §7.1.2.1: accepted "by including the "server_max_window_bits" parameter with the same or smaller
    // value as the offer".
    if let Some(bits) = offered.server_max_window_bits
        && answer.server_max_window_bits.is_none_or(|answered| answered > bits)
    {
        return Err("§7.1.2.1: the server's window is not bounded as was asked");
    }
    // RFC 7692 §7.1.2.2: "If a received extension negotiation offer doesn't have the "client_max_window_bits"
    // extension parameter, the corresponding extension negotiation response to the offer MUST NOT include" it.
    match (answer.client_max_window_bits, offered.client_max_window_bits) {
        (None, _) => {}
        (Some(_), None) => return Err("§7.1.2.2: client_max_window_bits was not offered"),
        (Some(None), Some(_)) => return Err("§7.1.2.2: client_max_window_bits has no value"),
        (Some(Some(answered)), Some(bits)) if bits.is_some_and(|bits| answered > bits) => {
            return Err("§7.1.2.2: the client's window is larger than it offered");
        }
        (Some(Some(_)), Some(_)) => {}
    }
    Ok(answer)
}

/// RFC 7692 §7.1: `None` for what a server must decline.
fn offer(extension: &Extension) -> Option<Offer> {
    let mut offer = Offer::default();
    let mut seen: Vec<&str> = Vec::new();
    for (name, value) in &extension.parameters {
        if seen.contains(&&name[..]) {
            return None;
        }
        seen.push(name);
        match (&name[..], value.as_deref()) {
            ("server_no_context_takeover", None) => offer.server_no_context_takeover = true,
            ("client_no_context_takeover", None) => offer.client_no_context_takeover = true,
            ("server_max_window_bits", Some(value)) => offer.server_max_window_bits = Some(bits(value)?),
            ("client_max_window_bits", None) => offer.client_max_window_bits = Some(None),
            ("client_max_window_bits", Some(value)) => {
                offer.client_max_window_bits = Some(Some(bits(value)?))
            }
            _ => return None,
        }
    }
    (extension.name == "permessage-deflate").then_some(offer)
}

/// RFC 7692 §7.1.2: "a decimal integer value without leading zeroes between 8 to 15, inclusive".
fn bits(value: &str) -> Option<u8> {
    let values = ["8", "9", "10", "11", "12", "13", "14", "15"];
    values.iter().position(|&other| other == value).map(|at| at as u8 + 8)
}

/// The elements of the list: they end at a comma that no quoted-string holds, whether or not they are in order.
fn elements(field: &str) -> Vec<String> {
    let mut elements = vec![String::new()];
    let mut rest: Vec<char> = field.chars().rev().collect();
    while let Some(character) = rest.pop() {
        if character == ',' {
            elements.push(String::new());
            continue;
        }
        let element = elements.last_mut().expect("there is always one");
        element.push(character);
        if character == '"' {
            while let Some(quoted) = rest.pop() {
                element.push(quoted);
                match quoted {
                    '"' => break,
                    '\\' => element.extend(rest.pop()),
                    _ => {}
                }
            }
        }
    }
    // RFC 2616 §2.1, #rule: "null elements are allowed, but do not contribute to the count of elements present".
    elements.retain(|element| !element.trim_matches([' ', '\t']).is_empty());
    elements
}

/// `extension = extension-token *( ";" extension-param )`, with white space between any two (RFC 2616 §2.1,
/// implied *LWS).
fn extension(element: &str) -> Option<Extension> {
    let mut rest: Vec<char> = element.chars().rev().collect();
    skip_space(&mut rest);
    let mut extension = Extension { name: token(&mut rest)?, parameters: Vec::new() };
    skip_space(&mut rest);
    while !rest.is_empty() {
        eat(&mut rest, ';').then_some(())?;
        skip_space(&mut rest);
        let name = token(&mut rest)?;
        skip_space(&mut rest);
        let mut value = None;
        if eat(&mut rest, '=') {
            skip_space(&mut rest);
            value = Some(if eat(&mut rest, '"') { quoted(&mut rest)? } else { token(&mut rest)? });
            skip_space(&mut rest);
        }
        extension.parameters.push((name, value));
    }
    Some(extension)
}

/// RFC 2616 §2.2: what is no separator and no control character, one or more.
fn token(rest: &mut Vec<char>) -> Option<String> {
    let mut token = String::new();
    while let Some(&character) = rest.last()
        && character.is_ascii_graphic()
        && !"()<>@,;:\\\"/[]?={}".contains(character)
    {
        token.push(character);
        rest.pop();
    }
    (!token.is_empty()).then_some(token)
}

/// What is after the first quote, to the last. RFC 6455 §9.1: "When using the quoted-string syntax variant, the
/// value after quoted-string unescaping MUST conform to the 'token' ABNF."
fn quoted(rest: &mut Vec<char>) -> Option<String> {
    let mut text = Vec::new();
    loop {
        match rest.pop()? {
            '"' => break,
            '\\' => text.push(rest.pop()?),
            other => text.push(other),
        }
    }
    text.reverse();
    let token = token(&mut text)?;
    text.is_empty().then_some(token)
}

fn eat(rest: &mut Vec<char>, character: char) -> bool {
    rest.pop_if(|next| *next == character).is_some()
}

fn skip_space(rest: &mut Vec<char>) {
    while eat(rest, ' ') || eat(rest, '\t') {}
}
