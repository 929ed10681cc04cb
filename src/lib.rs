//! Fanfare: a broadcast server. RFC 6455 by hand on a mio event loop; a channel is a byte log, a subscriber an offset.
//!
//! As a program of its own it is `fanfare`, which the README describes. This page is for programs that have the server inside:
//! they publish, handle WebSocket connections themselves, and answer HTTP requests. How it works inside is below, for those who
//! change it.
//!
//! # A first program
//!
//! ```no_run
//! use fanfare::app::{CloseCode, Closed, Failure, Message, Outcome, Request, Response, Session, Socket};
//! use fanfare::{ChannelName, Config, Handle, Server};
//!
//! /// One player's connection; dropped with it.
//! struct Player { nick: String, room: ChannelName, steps: u32 }
//!
//! impl Session for Player {
//!     type Event = ();
//!
//!     fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
//!         socket.subscribe(&self.room)?;
//!         socket.publish(&self.room, format!("{} is here", self.nick))
//!     }
//!
//!     fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
//!         let step @ ("left" | "right") = message.text().unwrap_or("") else {
//!             return Err(Failure::close(CloseCode::POLICY_VIOLATION, "say left or right"));
//!         };
//!         self.steps += 1;
//!         socket.send("ok");
//!         socket.publish(&self.room, format!("{} {step} {}", self.nick, self.steps))
//!     }
//!
//!     fn closed(self, server: &Handle, _: Closed<'_>) {
//!         server.publish_to(&self.room, format!("{} left", self.nick)).ok();
//!     }
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let mut server = Server::bind(Config::default())?;
//!     server.websocket("/rooms/{room}", |request: &Request<'_>| {
//!         let nick = request.query("nick").ok_or_else(|| Response::bad_request("Who are you? Add ?nick=NAME."))?;
//!         Ok(Player { nick, room: ChannelName::new(request.param("room"))?, steps: 0 })
//!     })?;
//!     Ok(server.run()?)
//! }
//! ```
//!
//! `Cargo.toml` has `fanfare` under `[dependencies]`; `cargo run`, and `ws://127.0.0.1:8080/rooms/attic?nick=ada` is served. The
//! channels of a session are the server's: everybody at `/channels/attic`, by WebSocket, event stream or long poll, sees the
//! same game. Where there is no state to keep, a closure is enough:
//!
//! ```no_run
//! # let mut server = fanfare::Server::bind(fanfare::Config::default())?;
//! server.websocket_fn("/echo", |socket, message| socket.send(message))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | for | is |
//! |---|---|
//! | a connection's state, and what its messages do | [`Session`](app::Session), made by the factory of [`Server::websocket`] |
//! | sending, closing, channels, a timer | [`Socket`](app::Socket), which a session is lent |
//! | another thread or an async runtime that has something for one connection | [`Remote`](app::Remote) |
//! | what would block the loop | [`Socket::work`](app::Socket::work) |
//! | publishing from anywhere, and stopping | [`Handle`] |
//! | pages and APIs | [`Server::get`], [`Server::post`], [`Server::post_later`] |
//! | a clock | [`Server::every`] |
//! | who may subscribe and publish | [`Server::authorize`], at once or later |
//! | what clients publish by themselves | [`Server::filter`] before, [`Server::tap`] after |
//! | addresses, keys, tokens, limits | [`Config`]; the default is development mode on 127.0.0.1:8080 |
//! | tests | [`SessionTest`](app::SessionTest) and [`Request::test`](app::Request::test); [`Server::bind`] on port 0 for a whole server |
//!
//! What goes wrong in a handler is kept to its connection: an error, by `?`, and a panic close it with 1011 and leave a log line; a
//! peer that does not read is not read either, and closed with 1013 at last. `examples/` has an echo with a page, a chat with
//! rooms and history, a ticker and a game: `cargo run --example chat`.
//!
//! ## A test without a socket
//!
//! ```
//! use fanfare::ChannelName;
//! use fanfare::app::{Message, Outcome, Session, SessionTest, Socket};
//! # struct Player { nick: String, room: ChannelName, steps: u32 }
//! # impl Session for Player {
//! #     type Event = ();
//! #     fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
//! #         self.steps += 1;
//! #         socket.send("ok");
//! #         socket.publish(&self.room, format!("{} {} {}", self.nick, message.text().unwrap_or(""), self.steps))
//! #     }
//! # }
//!
//! let mut test = SessionTest::new(Player { nick: "ada".into(), room: ChannelName::new("attic")?, steps: 0 });
//! test.message("left");
//! assert_eq!((test.sent(), test.published()), (vec!["ok"], vec![("attic", "ada left 1")]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What follows is the map for those who read or change the server itself: the idea, a turn of a loop, the rooms, the words, and
//! where to begin reading.
//!
//! # The idea
//!
//! Frames that a server sends are not masked, so the frame of a publication is the same for every subscriber. It is
//! encoded once per wire form and appended to the channel's log in that form. A subscriber is an offset into the log, and a
//! flush is one `write(log[offset..head])`: one system call per subscriber, however many publications were appended
//! since the last one. A caught-up subscriber owns no bytes and no queue.
//!
//! ```text
//!  channel "prices", form: WebSocket
//!         tail                                       head
//!          v                                          v
//!  trimmed | 81 05 …  | 81 7e …  | 81 0c …  | 81 05 … |
//!          ^                ^                          ^
//!    B, lagging        C, inside a frame         A, D, E … : caught up, nothing to do
//! ```
//!
//! The rules that follow from it:
//!
//! - A frame that was partly written is finished before anything else goes out on its socket. Private bytes (a handshake, an
//!   answer, a pong, a Close frame) go between frames, ahead of the unsent bytes of the log.
//! - A log keeps its bytes from the offset of its slowest reader to the head. `--max-lag` and the policy of the channel bound
//!   how far that is.
//! - Whoever publishes takes the lock of the channel, draws the next number, and fills the mailbox of every loop that has a
//!   subscriber before letting go: all loops see one order. Each loop has logs of its own.
//!
//! # A turn
//!
//! A thread runs one event loop and owns everything in it: the poll, the connections, the timers and the logs. Nothing of
//! that is locked. A turn is ten calls, in `event_loop/mod.rs`, `EventLoop::turn`:
//!
//! | phase | file in `src/server/event_loop/` | what it does |
//! |---|---|---|
//! | wait | `mod.rs` | polls until an event, a wake or the next deadline; notes which sockets have input or room |
//! | accept | `accept.rs`, `acceptor.rs` | accepts sockets and gives each to the loop with the fewest connections; takes in connections that move here (`exchange.rs`) |
//! | apply | `mod.rs` | takes a slice of the mailbox, encodes it and appends it to the logs; answers publishers that await delivery |
//! | read | `read.rs`, `read_queue.rs` | reads one share of each connection with input, round-robin, within a budget of bytes and time; takes steps of TLS handshakes within a budget of their own (`handshaking.rs`); brings the requests of sessions to them (`sessions.rs`) |
//! | apply | `mod.rs` | the same again: what was just read leaves in this turn |
//! | expire | `expire.rs`, `timers.rs` | does what is due: timeouts from the deadline queue, expired history, a program's ticks (`ticks.rs`), the dashboard's figures (`measure.rs`), the stop (`shutdown.rs`, `drain.rs`) |
//! | flush | `flush.rs` | one write to each reader of a log with new bytes, and to each connection that was touched; what a session writes is given to the request that carries it (`sessions.rs`) |
//! | evict | `eviction.rs`, `burdens.rs` | where `--max-memory` is exceeded: evicts history, then closes the connections that hold most |
//! | reap | `mod.rs` | drops the connections that have ended |
//! | measure | `measure.rs` | puts the counters where other threads read them |
//!
//! Publishing only marks logs as dirty, and only the flush phase writes them: what is published in a turn leaves in one
//! write per subscriber. Sockets are registered once, edge-triggered. A connection is named by index and generation
//! (`connection/table.rs`), so that a stale key cannot reach a new connection.
//!
//! # The rooms
//!
//! - [`ws`], [`http`], [`hub`]: RFC 6455 and 7692, HTTP/1.1, and the channels, as bytes. They know no socket, clock, thread
//!   or random number, and import nothing of each other.
//! - [`pusher`]: the Pusher protocol as text. It imports names from `hub`.
//! - [`commands`]: what clients of `/channels` ask for and are told, as text. It imports names from `hub`.
//! - [`token`]: signed tokens, from their bytes to what they allow. It imports names from `hub`.
//! - [`peer`]: who is at the other end behind proxies, from the headers that these send.
//! - [`backend`]: what a site's backend is asked about channels, what it answers, and how long that is kept. It imports names from
//!   `hub`, and bounds from `token`.
//! - [`config`]: what a server is configured with. It imports the settings of an app from `pusher`.
//! - [`server`]: sockets, time, threads, randomness. It imports the nine above; none of them imports it.
//! - [`app`]: what programs write: sessions, sockets, remotes, and the methods by which a server is told of them. It imports
//!   `server`, which knows sessions by the traits of `server/handlers` only, and names from `backend`, `config`, `http`, `hub`
//!   and `ws`.
//! - The binary is `main` with `cli` (flags, environment, files), `reload` (SIGHUP, and files that have changed), `log` (lines
//!   to standard error) and `heap` (the allocator).
//!
//! Inside `server`, each line imports only from the lines below it:
//!
//! ```text
//!  start                      binds the addresses, makes the loops, runs a thread each
//!  event_loop                 the turn, and all that concerns many connections
//!  connection                 one connection: its life, its outbox and subscriptions, one file a role
//!  handlers                   what a program brings: its routes, sessions behind their types, workers, filters and taps,
//!                             its verdicts on what clients may do
//!  handle                     other threads' way in
//!  shared                     what all loops share: configuration, broker, and the types below
//!  budget, placement,         memory held for clients; connections per loop;
//!  sessions, handshakes,      where each session over HTTP requests is; TLS handshakes that wait;
//!  stopping                   how far the stop has come
//!  api                        requests to answers: routes, payloads, pages
//!  access                     who a client is, by key or token, and what it may do: the rules, each refusal, revocation
//!  hook                       the calls of the backend that decides who may do what
//!  jwks                       the keys of tokens at a URL, fetched again and again
//!  tls                        certificates, and which a client gets; sessions over buffers of their callers
//!  apps                       the running Pusher apps: settings, counters, users, webhooks, reload
//!  redis                      what Redis says and is told, as bytes; which server has which key
//!  broker, encoder            order, history, mailboxes; publications to frames
//!  outbound                   whom calls to https:// URLs trust, and what is said when TLS fails
//!  limits, metrics            connections by address and user, trusted proxies; counters and their formats
//!  clock, excerpt, lock, waking
//! ```
//!
//! No two files import each other. What a line of code may touch, its signature says: a role of a connection gets its own
//! connection and a `Context` (`connection/context.rs`: hub, broker, encoder, counters, configuration, the time), and returns
//! what the loop is to do (`Next`). It cannot reach the table of connections, the poll or a timer. Methods of the loop are
//! written in `event_loop/` only; the life of a connection is one enum (`connection/life.rs`), changed in
//! `connection/mod.rs` only. `tests/tidy` checks what a test can check of this.
//!
//! # The words
//!
//! | word | means |
//! |---|---|
//! | channel | a name that is published to and subscribed to |
//! | message | what a peer sent |
//! | draft | a publication before it has a number |
//! | publication | what a channel stores: payload, content, event name and identifier |
//! | epoch, sequence | the two parts of an identifier; a sequence counts by 1, a channel has a new epoch when the server was restarted or had forgotten it |
//! | wire form | how publications are encoded for a kind of subscriber: plain, envelope, event stream, deflated … ([`hub::WireForm`]) |
//! | log | the frames of one channel in one wire form, as contiguous bytes ([`hub::Log`]) |
//! | offset, cursor | a place in a log; that of one reader ([`hub::Cursor`]) |
//! | reader, owner | a log's view of a subscription; the number of the connection that has it. With its loop ([`hub::Owner`]), it is left out of its own events, and other threads reach it |
//! | subscription | a connection's place in one channel; a connection may have several |
//! | caught up, lagging | has read to the head of the log; has unsent bytes in it |
//! | lagged | lags by more than `--max-lag` allows: the lag policy of the channel applies |
//! | outbox | the private bytes of a connection: handshake, answers, pongs, Close frames |
//! | notice | what the server itself tells a subscriber: subscribed, gap, lagged, alive |
//! | replay | kept publications that a reconnecting subscriber is sent ahead of the log |
//! | gap | publications between a subscriber's position and the kept history that are lost |
//! | positions | the last publication of each channel that a reader of several by one event stream was sent. They are told to it in blocks of its own, since the bytes of a publication are shared (`connection/places.rs`) |
//! | mailbox | what other threads hand to a loop: publications, accepted sockets, answers to publishers |
//! | congested | a mailbox is over its bound: publishers are not read until the loop has caught up |
//! | role | what a connection is at present: HTTP, long poll, WebSocket, event stream, session, carrier |
//! | session | a Pusher client whose WebSocket is blocked: a connection without a socket (`connection/over_http.rs`) |
//! | carrier | the request that carries a session's lines at present, a poll or a stream (`connection/carrier.rs`) |
//! | share, slice | how much of one connection is read in a turn; how much of the mailbox is applied in a turn |
//! | the first loop | loop 0, which accepts sockets and does what is done once for the whole server (`FIRST_LOOP`) |
//! | engine, node | what draws the numbers of publications; one server of several that share an engine |
//! | engaged, ready | a channel whose publications the engine delivers to this node; it can be joined (`broker/readiness.rs`). What joins another waits, as it came, until it is (`connection/preparing.rs`); a session or a begun event stream joins late (`connection/late.rs`) |
//! | filling, held | asking an engine for publications that did not come; those that came after them, which wait (`broker/engine/channel.rs`) |
//! | reply, push | what Redis answers; what it says without being asked (`server/redis/resp.rs`) |
//! | fate | what may be done about a command that Redis has refused (`server/redis/refusal.rs`) |
//! | slot, seed | one of the 16,384 parts of a cluster's keys; a server of Redis that is asked which others there are |
//! | command, fault | what a message of a client of `/channels` asks for; what is wrong with one, or with one channel of it |
//! | app | a name space of channels with a key, secrets, settings and counters ([`pusher::App`], `server/apps/running.rs`) |
//! | default app | the first app configured: its channels are those under `/channels/`. Those of another are in its space, `7/prices` |
//! | client | a connection that speaks the Pusher protocol; its state in that protocol is a [`pusher::Session`] |
//! | place | a client's seat in its app: counted while it is held, given back by dropping it |
//! | user | who a client is signed in as; a user may have several connections |
//! | member | a user in a presence channel, or in a channel of which it is told who is there, with one or several connections |
//! | present, companion | who a subscriber is for the others in a channel; the channel that tells who comes to another and who goes: it has logs in the loops, and its order in the other's table (`broker/presence.rs`) |
//! | change | a publication of a companion: those who have joined and left since the one before |
//! | audience | what a channel keeps for its Pusher clients: members, cached event, when their number is told |
//! | token, claims | a signed JWT that a client brings, and what it says ([`token::Token`], [`token::Claims`]) |
//! | grant, right | a token's globs for subscribing, publishing or seeing who is there; one of the three |
//! | known token | one whose signature was verified, found by its digest until it expires ([`token::Known`]) |
//! | proof, identity | what a request carries to say who made it, a key or a token; what a connection has by it (`server/access/identity.rs`) |
//! | rule, right of a key | how a channel lets clients in without a key; what a key with a name allows ([`config::AuthRule`], [`config::AccessKey`]) |
//! | verdict, refusal | whether a client may do something; why not, with code, status, close code and sentence |
//! | standing, ended | whether a connection may stay when rules, keys or revocations have changed; its identity when it may not and is closed soon |
//! | peer, hop | the other end of a socket; whom a connection came from by the PROXY header of that, else the peer itself |
//! | source | what an address counts as where addresses are limited: an IPv4 address, or the first 64 bits of an IPv6 one ([`peer::Source`]) |
//! | judge, decision | the backend that is asked about channels ([`backend::Desk`]), or the program in its place ([`Server::authorize`]); its yes, no or fault about one |
//! | question, call | what a client waits to have decided; a request to the backend, which answers one or several questions |
//! | seat | what a connection holds under the limit of its client's address, given back when it ends ([`peer::Source`] says what is an address) |
//! | pace, throttled | the rate at which a connection may send messages; is not read, since it has sent more than that |
//! | layer, record | what TLS is between a connection and its socket (`connection/tls.rs`); a run of plaintext, sealed: at most 16 KiB |
//! | handshake | with TLS, what comes ahead of requests; elsewhere, how a WebSocket begins |
//! | program, handler | what has the server inside; a function of it that the server calls |
//! | actor, link | a program's session behind its type; what it may do to its connection while it is called (`server/handlers`) |
//! | call, parcel | what another thread has for one connection of a program; an event or a result among that |
//! | order | what another connection or thread wants done with a connection: a message sent, an end |
//!
//! # Where to begin reading
//!
//! 1. `src/hub/log.rs`, then `feed.rs`: a log, its cursors and its readers. The idea in 500 lines.
//! 2. `src/ws/protocol.rs`: how a WebSocket is driven, bytes in and events out.
//! 3. `src/server/event_loop/mod.rs`: the turn.
//! 4. `src/server/connection/mod.rs` and `life.rs`: what a connection is and becomes.
//! 5. `src/server/broker/mod.rs`: publishing, and joining a channel without a hole.
//! 6. `src/pusher/session/mod.rs`, then `src/server/connection/pusher.rs`: what a Pusher client asks for, and what is done.
//!
//! Then follow one publication from a `POST` to the sockets of its subscribers, through the files in the order in which each
//! is first entered:
//!
//! | | file | what happens |
//! |---|---|---|
//! | 1 | `server/event_loop/read.rs` | the connection has its share of reading (`read`) |
//! | 2 | `server/connection/reading.rs` | bytes are read from the socket and passed to the role (`read_share`, `receive`) |
//! | 3 | `server/connection/http.rs` | drives the parser and does what the API decides (`serve`, `answer`, `take_body`) |
//! | 4 | `http/reader.rs` | bytes become a request head, then its body (`poll`) |
//! | 5 | `server/api/handlers.rs` | route, host, origin and key are checked: read the body (`answer`) |
//! | 6 | `server/api/payload.rs` | the body becomes a draft (`from_body`) |
//! | 7 | `server/broker/mod.rs` | under the channel's lock: the number, the history, the mailboxes (`publish`) |
//! | 8 | `server/broker/mailbox.rs` | waits for the loop of each subscriber, and wakes it (`post`) |
//! | 9 | `server/connection/context.rs` | that loop takes it out in its phase apply (`apply`) |
//! | 10 | `hub/registry.rs` | finds the channel's logs, and marks them as dirty (`append_with`) |
//! | 11 | `server/encoder.rs` | one frame for each wire form that has a log (`publication`) |
//! | 12 | `server/event_loop/flush.rs` | walks the readers of dirty logs (`flush_readers`) |
//! | 13 | `server/connection/sending.rs` | outbox and unread bytes in one write, then lag is judged (`flush`) |
//! | 14 | `server/connection/stream.rs` | the system call (`write`); with TLS, `tls.rs` seals a record ahead of it |

#![deny(missing_docs)]

pub mod app;
#[doc(hidden)]
pub mod backend;
#[doc(hidden)]
pub mod commands;
pub mod config;
#[doc(hidden)]
pub mod http;
#[doc(hidden)]
pub mod hub;
#[doc(hidden)]
pub mod peer;
#[doc(hidden)]
pub mod pusher;
#[doc(hidden)]
pub mod server;
#[doc(hidden)]
pub mod token;
#[doc(hidden)]
pub mod ws;

#[doc(inline)]
pub use config::Config;
#[doc(inline)]
pub use hub::ChannelName;
#[doc(inline)]
pub use server::{Handle, Server};
