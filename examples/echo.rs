//! Tornado's echo: a page with a line to type in, and a session that sends each message back.
//!
//! `cargo run --example echo`, then http://127.0.0.1:8080. Another address is the first argument.

#![allow(clippy::print_stdout)] // where it listens, and what happens

use fanfare::app::{Closed, Message, Outcome, Request, Response, Session, Socket};
use fanfare::{Config, Handle, Server};

struct Echo;

impl Session for Echo {
    type Event = ();

    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        println!("{} opened", socket.id());
        Ok(())
    }

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        match message {
            Message::Text(text) => socket.send(&format!("You said: {text}")),
            Message::Binary(_) => socket.send(message),
        }
        Ok(())
    }

    fn closed(self, _: &Handle, closed: Closed<'_>) {
        println!("closed by {:?}", closed.by);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = vec![address.parse()?];
    }
    let mut server = Server::bind(config)?;
    server.get("/", |_: &Request<'_>| Response::html(include_str!("echo.html")))?;
    server.websocket("/echo", |_: &Request<'_>| Ok(Echo))?;
    println!("listening on http://{}", server.local_addrs()[0]);
    Ok(server.run()?)
}
