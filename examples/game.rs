//! A tiny game on a timer: every player is a dot that goes on in the direction that its player said last, ten steps a second.
//!
//! `cargo run --example game`, then http://127.0.0.1:8080 in two windows. Another address is the first argument.

#![allow(clippy::print_stdout)] // where it listens

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fanfare::app::{
    CloseCode, Closed, ConnectionId, Failure, Json, Message, Outcome, Request, Response, Session, Socket,
};
use fanfare::{ChannelName, Config, Handle, Server};

/// The board is a square of this many fields, whose edges meet.
const SIDE: i32 = 40;

/// One step.
const TICK: Duration = Duration::from_millis(100);

/// Where everybody is. Loops are threads: what their sessions share is behind a lock.
type World = Arc<Mutex<BTreeMap<String, Dot>>>;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
struct Dot {
    x: i32,
    y: i32,
    #[serde(skip)]
    heading: (i32, i32),
}

impl Dot {
    fn step(&mut self) {
        self.x = (self.x + self.heading.0).rem_euclid(SIDE);
        self.y = (self.y + self.heading.1).rem_euclid(SIDE);
    }
}

/// One player's connection.
struct Player {
    world: World,
    board: ChannelName,
    id: Option<ConnectionId>,
}

impl Session for Player {
    type Event = ();

    fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
        self.id = Some(socket.id());
        self.world.lock()?.insert(socket.id().to_string(), Dot::default());
        socket.send(&socket.id().to_string());
        socket.subscribe(&self.board)
    }

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        let heading = match message.text() {
            Some("left") => (-1, 0),
            Some("right") => (1, 0),
            Some("up") => (0, -1),
            Some("down") => (0, 1),
            Some(_) | None => {
                return Err(Failure::close(CloseCode::POLICY_VIOLATION, "say left, right, up or down"));
            }
        };
        if let Some(dot) = self.world.lock()?.get_mut(&socket.id().to_string()) {
            dot.heading = heading;
        }
        Ok(())
    }

    fn closed(self, _: &Handle, _: Closed<'_>) {
        if let (Some(id), Ok(mut world)) = (self.id, self.world.lock()) {
            world.remove(&id.to_string());
        }
    }
}

/// Moves everybody, and shows everybody where everybody is.
fn tick(world: &World, board: &ChannelName, server: &Handle) {
    let Ok(mut world) = world.lock() else { return };
    world.values_mut().for_each(Dot::step);
    if !world.is_empty() {
        server.publish_to(board, Json(&*world)).ok();
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config = Config::default();
    if let Some(address) = std::env::args().nth(1) {
        config.listen = vec![address.parse()?];
    }
    // The world as it is: who is behind skips to the newest.
    config.lag_policy = vec![(fanfare::config::Glob::new("board"), fanfare::config::LagPolicy::Latest)];
    let (world, board) = (World::default(), ChannelName::new("board")?);
    let mut server = Server::bind(config)?;
    server.get("/", |_: &Request<'_>| Response::html(include_str!("game.html")))?;
    server.websocket("/play", {
        let (world, board) = (World::clone(&world), board.clone());
        move |_: &Request<'_>| Ok(Player { world: World::clone(&world), board: board.clone(), id: None })
    })?;
    server.every(TICK, move |server| tick(&world, &board, server));
    println!("listening on http://{}", server.local_addrs()[0]);
    Ok(server.run()?)
}

#[cfg(test)]
mod tests {
    use fanfare::app::SessionTest;

    use super::*;

    #[test]
    fn a_player_goes_where_it_says_and_over_the_edge() {
        let (world, board) = (World::default(), ChannelName::new("board").unwrap());
        let mut test = SessionTest::new(Player { world: World::clone(&world), board, id: None });
        test.open().message("left");
        let id = test.sent()[0].to_owned();
        let mut dot = world.lock().unwrap()[&id];
        dot.step();
        assert_eq!((dot.x, dot.y), (SIDE - 1, 0));
        test.message("sideways");
        assert_eq!(test.close().map(|(code, _)| code), Some(CloseCode::POLICY_VIOLATION));
    }
}
