//! A chat with rooms and history: each room is a channel, so it can be read by curl too, and what was said is kept for newcomers.
//!
//! `cargo run --example chat`, then http://127.0.0.1:8080/?room=attic&nick=ada in two windows. Another address is the first
//! argument.

#![allow(clippy::print_stdout)] // where it listens

use std::time::Duration;

use fanfare::app::{
    CloseCode, Closed, Failure, Form, Json, Message, Outcome, Request, Response, Session, Socket,
};
use fanfare::{ChannelName, Config, Handle, Server};

/// The longest line, in bytes.
const LINE_LEN_MAX: usize = 1000;

/// A guest who says nothing for this long is shown out.
const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// One guest in one room.
struct Guest {
    nick: String,
    room: ChannelName,
}

/// What is published in a room.
#[derive(serde::Serialize)]
struct Line<'a> {
    nick: &'a str,
    text: &'a str,
}

impl Guest {
    fn line<'a>(&'a self, text: &'a str) -> Line<'a> {
        Line { nick: &self.nick, text }
    }
}

impl Session for Guest {
    type Event = ();

    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        // With identifiers, by which the page tells what it has from the history already.
        socket.subscribe_as(&self.room, Form::Envelope)?;
        socket.set_timer(PATIENCE);
        socket.publish(&self.room, Json(&self.line("has come in")))
    }

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        let Some(text) = message.text().map(str::trim).filter(|text| !text.is_empty()) else { return Ok(()) };
        if text.len() > LINE_LEN_MAX {
            return Err(Failure::close(CloseCode::MESSAGE_TOO_BIG, "at most 1000 bytes a line"));
        }
        socket.set_timer(PATIENCE);
        socket.publish(&self.room, Json(&self.line(text)))
    }

    fn timer(&mut self, _: &mut Socket<'_, Self>) -> Outcome {
        Err(Failure::close(CloseCode::NORMAL, "you have said nothing for a quarter of an hour"))
    }

    fn closed(self, server: &Handle, _: Closed<'_>) {
        server.publish_to(&self.room, Json(&self.line("has left"))).ok();
    }
}

/// Who comes in, and where; or why not.
fn come_in(request: &Request<'_>) -> Result<Guest, Response> {
    let nick = request.query("nick").filter(|nick| !nick.is_empty() && nick.len() <= 40);
    let nick = nick.ok_or_else(|| Response::bad_request("Who are you? Add ?nick=NAME, at most 40 bytes."))?;
    Ok(Guest { nick, room: ChannelName::new(&format!("room-{}", request.param("room")))? })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = vec![address.parse()?];
    }
    let mut server = Server::bind(config)?;
    server.get("/", |_: &Request<'_>| Response::html(include_str!("chat.html")))?;
    server.websocket("/rooms/{room}", come_in)?;
    println!("listening on http://{}", server.local_addrs()[0]);
    Ok(server.run()?)
}

#[cfg(test)]
mod tests {
    use fanfare::app::SessionTest;

    use super::*;

    #[test]
    fn a_guest_is_heard_and_who_says_nothing_is_shown_out() {
        let guest = come_in(&Request::test("/rooms/attic?nick=ada").at("/rooms/{room}").unwrap()).unwrap();
        let mut test = SessionTest::new(guest);
        test.open().message(" hello ").message("   ");
        let said = [r#"{"nick":"ada","text":"has come in"}"#, r#"{"nick":"ada","text":"hello"}"#];
        assert_eq!(test.published(), said.map(|line| ("room-attic", line)));
        test.advance(PATIENCE);
        assert_eq!(test.close().map(|(code, _)| code), Some(CloseCode::NORMAL));
    }
}
