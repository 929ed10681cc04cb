//! What operators ask about channels: the list at `/channels`, and `/channels/{name}/state`.
//!
//! The broker knows what is answered; who may ask is checked before.

use std::fmt::Write;

use crate::http::{self, Request, Response, Status};
use crate::hub::{ChannelName, PublicationId};
use crate::server::api::roads;
use crate::server::apps::Apps;
use crate::server::broker::queries::{Page, PageOf, StateOf};
use crate::server::broker::roads::Road;

/// The channels of a page whose request does not say how many.
const LIMIT_DEFAULT: usize = 100;

/// The most channels of a page: some 100 KiB of JSON.
const LIMIT_MAX: usize = 1000;

/// The page that the request asks for.
///
/// # Errors
/// The limit is none, or there is no such app.
pub fn page_of(request: &Request, apps: &Apps) -> Result<PageOf, Response> {
    let text = |name| http::parameter(request.query(), name).unwrap_or_default();
    let limit = match &*text("limit") {
        "" => LIMIT_DEFAULT,
        limit => limit.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit)).ok_or_else(|| {
            let sentence =
                format!("limit is a number from 1 to {LIMIT_MAX}; ask for the rest with after=NAME.");
            Response::text(Status::BAD_REQUEST, &sentence)
        })?,
    };
    let app = roads::app_of(request, apps)?;
    let space = app.filter(|id| apps.default_app().is_none_or(|app| app.id() != &**id));
    Ok(PageOf { space, prefix: text("prefix"), after: text("after"), limit })
}

/// The answer to a request for a page.
pub fn page(page: &Page) -> Response {
    let mut body = String::from(r#"{"channels":["#);
    for (at, (name, subscribers, last)) in page.channels.iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        let name = quoted(name);
        push(
            &mut body,
            format_args!(r#"{comma}{{"channel":{name},"subscribers":{subscribers},"last":"{last}"}}"#),
        );
    }
    let next = page.channels.last().filter(|_| page.has_more);
    let next = next.map_or_else(|| "null".to_owned(), |(name, ..)| quoted(name));
    push(&mut body, format_args!("],\"next\":{next}}}\n"));
    json(body)
}

/// The answer to a request for the state of a channel.
pub fn state(channel: &ChannelName, state: Option<StateOf>) -> Response {
    let Some(StateOf { roads, elsewhere, first, last, bytes }) = state else {
        let sentence = format!("Channel {} has neither subscribers nor publications now.", channel.local());
        return Response::text(Status::NOT_FOUND, &sentence);
    };
    let mut body = format!(r#"{{"channel":{},"subscribers":{{"#, quoted(channel.local()));
    for (at, road) in Road::ALL.into_iter().enumerate() {
        let comma = if at == 0 { "" } else { "," };
        push(&mut body, format_args!(r#"{comma}"{}":{}"#, road.label(), roads.of(road)));
    }
    if let Some(elsewhere) = elsewhere {
        push(&mut body, format_args!(r#","other_nodes":{elsewhere}"#));
    }
    let first = first.map_or_else(|| "null".to_owned(), |first: PublicationId| format!(r#""{first}""#));
    push(&mut body, format_args!("}},\"first\":{first},\"last\":\"{last}\",\"bytes\":{bytes}}}\n"));
    json(body)
}

fn json(body: String) -> Response {
    Response::json(Status::OK, body).header("Cache-Control", "no-store")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a string takes every write");
}
