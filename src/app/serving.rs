//! Where a program says what it serves: the methods of the server that add to it before it runs.
//!
//! How it is served is in the room `server`.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::app::accept::{Accepted, IntoOutcome, IntoResponse, opened};
use crate::app::demo::{Demo, INTERVAL};
use crate::app::session::Session;
use crate::app::socket::Socket;
use crate::backend::Action;
use crate::config::{Config, Glob};
use crate::http::Response;
use crate::hub::ChannelName;
use crate::server::event_loop::ticks::Every;
use crate::server::handlers::failure::Outcome;
use crate::server::handlers::judge::{Judge, Verdict};
use crate::server::handlers::message::Message;
use crate::server::handlers::panics::OnPanic;
use crate::server::handlers::pattern::RouteError;
use crate::server::handlers::reply::Reply;
use crate::server::handlers::request::Request;
use crate::server::handlers::routes::{Handler, Post};
use crate::server::handlers::watching::{Publication, Refusal, Sender};
use crate::server::{Draft, Handle, Server, StartError};

/// What a program serves.
///
/// A route is a pattern of paths: literal segments, `{name}` for one segment, and `{name..}` for what is left. Of those that fit a
/// path, a literal segment beats a name, and a name the rest. `/` and `/echo` can be replaced; what is below `/channels`, `/app`,
/// `/apps`, `/dashboard` and the server's other paths cannot. Origin, host name and limits are checked before anything here is
/// called.
impl Server {
    /// Binds every address of the configuration. The soft limit on descriptors of this process is raised to the hard one.
    ///
    /// # Errors
    /// A value of the configuration is refused, or the system refuses an address or a descriptor.
    pub fn bind(config: Config) -> Result<Self, StartError> {
        Self::bind_bare(config)?.with_own_program()
    }

    /// Serves sockets that something else listens on, instead of the addresses of the configuration: a supervisor that
    /// keeps them while the process is replaced, so that no client is refused meanwhile. `config.listen` becomes what they
    /// are bound to.
    ///
    /// # Errors
    /// As [`Server::bind`]; also if there is no socket.
    pub fn with_listeners(config: Config, sockets: Vec<TcpListener>) -> Result<Self, StartError> {
        Self::with_tls_listeners(config, sockets, Vec::new())
    }

    /// The same with sockets that speak TLS, which take the place of `config.tls.listen`. If there are none, those addresses are
    /// bound.
    ///
    /// # Errors
    /// As [`Server::with_listeners`]; also if there are such sockets and no certificate.
    pub fn with_tls_listeners(
        config: Config,
        sockets: Vec<TcpListener>,
        tls_sockets: Vec<TcpListener>,
    ) -> Result<Self, StartError> {
        Self::with_bare_listeners(config, sockets, tls_sockets)?.with_own_program()
    }

    /// With the echo and the demo of development mode, which are a program. The echo may be replaced.
    fn with_own_program(mut self) -> Result<Self, StartError> {
        if self.serves_demo {
            let mut demo = Demo::new(getrandom::u64().map_err(io::Error::other)?);
            self.every(INTERVAL, move |server| demo.tick(server));
        }
        if self.serves_echo {
            let echo = self.websocket_fn("/echo", |socket, message| socket.send(message));
            echo.expect("a new server has no routes");
            self.program.routes.make_replaceable();
        }
        Ok(self)
    }

    /// Opens a session for each WebSocket at a pattern. The factory makes it from the request, on the loop of the connection; its
    /// `Err` is the answer to a client that is refused.
    ///
    /// ```no_run
    /// use fanfare::app::{Message, Outcome, Request, Response, Session, Socket};
    /// use fanfare::{ChannelName, Config, Server};
    ///
    /// struct Guest { room: ChannelName }
    ///
    /// impl Session for Guest {
    ///     type Event = ();
    ///
    ///     fn open(&mut self, socket: &mut Socket<'_, Self>) -> Outcome {
    ///         socket.subscribe(&self.room)
    ///     }
    ///
    ///     fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
    ///         socket.publish(&self.room, message.text().unwrap_or("(bytes)"))
    ///     }
    /// }
    ///
    /// let mut server = Server::bind(Config::default())?;
    /// server.websocket("/rooms/{room}", |request: &Request<'_>| {
    ///     Ok(Guest { room: ChannelName::new(request.param("room"))? })
    /// })?;
    /// server.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The pattern is wrong, the server's own, or taken.
    pub fn websocket<A, F>(&mut self, pattern: &str, factory: F) -> Result<&mut Self, RouteError>
    where
        A: Accepted,
        F: Fn(&Request<'_>) -> Result<A, Response> + Send + Sync + 'static,
    {
        let open = move |request: &Request<'_>| factory(request).map(opened);
        self.add(pattern, Handler::Open(Box::new(open)))
    }

    /// Handles each message of the WebSockets at a pattern by a closure, where there is no state to keep.
    ///
    /// ```no_run
    /// # use fanfare::{Config, Server};
    /// # let mut server = Server::bind(Config::default())?;
    /// server.websocket_fn("/echo", |socket, message| socket.send(message))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Server::websocket`].
    pub fn websocket_fn<R, F>(&mut self, pattern: &str, handle: F) -> Result<&mut Self, RouteError>
    where
        R: IntoOutcome,
        F: Fn(&mut Socket<'_, Stateless>, Message<'_>) -> R + Send + Sync + 'static,
    {
        let handle = Arc::new(handle);
        self.websocket(pattern, move |_: &Request<'_>| Ok(Closure(Arc::clone(&handle))))
    }

    /// Answers each GET and HEAD at a pattern.
    ///
    /// ```no_run
    /// # use fanfare::{Config, Server};
    /// use fanfare::app::Response;
    /// # let mut server = Server::bind(Config::default())?;
    /// server.get("/", |_| Response::html("<h1>Hello</h1>"))?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Server::websocket`].
    pub fn get<R, F>(&mut self, pattern: &str, answer: F) -> Result<&mut Self, RouteError>
    where
        R: IntoResponse,
        F: Fn(&Request<'_>) -> R + Send + Sync + 'static,
    {
        self.add(pattern, Handler::Get(Box::new(move |request| answer(request).into_response())))
    }

    /// Answers each POST at a pattern, once its body is complete: at most [`Config::max_message`] bytes.
    ///
    /// # Errors
    /// As [`Server::websocket`].
    pub fn post<R, F>(&mut self, pattern: &str, answer: F) -> Result<&mut Self, RouteError>
    where
        R: IntoResponse,
        F: Fn(&Request<'_>, Bytes) -> R + Send + Sync + 'static,
    {
        let answer = move |request: &Request<'_>, body| answer(request, body).into_response();
        self.add(pattern, Handler::Post(Post::Now(Box::new(answer))))
    }

    /// The same for answers that come later: the [`Reply`] may be given from any thread. Dropped without an answer, it is 500.
    ///
    /// ```no_run
    /// # use fanfare::{Config, Server};
    /// use fanfare::app::Response;
    /// # let mut server = Server::bind(Config::default())?;
    /// server.post_later("/sum", |_, body, reply| {
    ///     std::thread::spawn(move || {
    ///         let sum: u64 = body.iter().copied().map(u64::from).sum();
    ///         reply.send(Response::html(sum.to_string()));
    ///     });
    /// })?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Server::websocket`].
    pub fn post_later<F>(&mut self, pattern: &str, answer: F) -> Result<&mut Self, RouteError>
    where
        F: Fn(&Request<'_>, Bytes, Reply) + Send + Sync + 'static,
    {
        self.add(pattern, Handler::Post(Post::Later(Box::new(answer))))
    }

    /// Has something done at intervals, on the first loop: a world's tick, say. At least a millisecond; a tick that is late by one
    /// interval or more is skipped.
    ///
    /// ```no_run
    /// # use fanfare::{ChannelName, Config, Server};
    /// # let mut server = Server::bind(Config::default())?;
    /// let (clock, mut seconds) = (ChannelName::new("clock")?, 0);
    /// server.every(std::time::Duration::from_secs(1), move |server| {
    ///     seconds += 1;
    ///     server.publish_to(&clock, seconds.to_string()).ok();
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn every(&mut self, interval: Duration, act: impl FnMut(&Handle) + Send + 'static) -> &mut Self {
        let every_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.ticks.push(Every::new(every_ms, Box::new(act)));
        self
    }

    /// Looks at what clients publish to the channels of a glob before it has its identifier: the filter may change it, or refuse it
    /// with a sentence for its sender. By HTTP that is 403, to speakers of envelopes a fault, and others are closed with 1008. Where
    /// it panics that is 500, `unavailable` and 1011; where it makes a publication too long, 413, `too_large` and 1009. What the program publishes itself is not looked at, nor what comes by the HTTP API of Pusher, which has the app's secret. Several
    /// filters look one after the other.
    ///
    /// ```no_run
    /// # use fanfare::{Config, Server};
    /// use fanfare::app::Refusal;
    /// # let mut server = Server::bind(Config::default())?;
    /// server.filter("chat-*", |draft, sender| {
    ///     let text = draft.as_text().ok_or_else(|| Refusal::new("Texts only."))?;
    ///     let signed = format!("{}: {text}", sender.identity().and_then(|who| who.user).unwrap_or("somebody"));
    ///     draft.set_payload(signed).map_err(|_| Refusal::new("It is text."))
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn filter(
        &mut self,
        channels: &str,
        filter: impl Fn(&mut Draft, &Sender<'_>) -> Result<(), Refusal> + Send + Sync + 'static,
    ) -> &mut Self {
        self.program.watching.filters.push((Glob::new(channels), Box::new(filter)));
        self
    }

    /// Tells the program of each publication to the channels of a glob, whoever made it: once, after it has its identifier, in the
    /// channel's order, on the first loop. Call it before anything is published to them.
    ///
    /// ```no_run
    /// # use fanfare::{Config, Server};
    /// # let mut server = Server::bind(Config::default())?;
    /// server.tap("chat-*", |publication| println!("{} {}", publication.channel(), publication.text().unwrap_or("?")));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn tap(
        &mut self,
        channels: &str,
        tap: impl Fn(&Publication<'_>) + Send + Sync + 'static,
    ) -> &mut Self {
        self.handle().tap(Glob::new(channels));
        self.program.watching.taps.push((Glob::new(channels), Box::new(tap)));
        self
    }

    /// Decides who may subscribe and publish to the channels whose rule is [`AuthRule::Hook`](crate::config::AuthRule::Hook): all that
    /// no rule of [`Config::auth`] names, unless there are keys of tokens. It is asked where a backend would be, once about each
    /// channel: when a client comes by WebSocket, event stream, long poll or POST, with a batch too, when it names a channel at
    /// `/channels`, when it first publishes by a WebSocket, and when a [`Grant`](crate::app::Grant) has ended. `request` is what
    /// the client came with, for all that it asks later too; `Request::param` has nothing. It is called on the loop, and must not
    /// block: [`Verdict::later`].
    ///
    /// ```no_run
    /// # use fanfare::{Config, Server};
    /// use fanfare::app::{Action, Grant, Verdict};
    ///
    /// # fn user_of(sid: &str) -> Option<String> { None }
    /// let mut server = Server::bind(Config::default())?;
    /// server.authorize(|request, action, channel| {
    ///     let Some(user) = request.cookie("sid").and_then(user_of) else { return Verdict::refuse("Sign in first.") };
    ///     match (action, channel.as_str()) {
    ///         (Action::Publish, "news") => Verdict::refuse("News are read only."),
    ///         (Action::Subscribe | Action::Publish, _) => Verdict::Allow(Grant::new().user(user).presence()),
    ///     }
    /// });
    /// server.run()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// A verdict that has not come after 30 s is missing as if its reply were dropped.
    ///
    /// A key still publishes and reads without it. A panic lets nobody in: 503, or its like, until [`OnPanic`] says otherwise. Whoever
    /// is in stays while it panics or replies are dropped, five minutes past the end of the grant. About a batch it is asked once a
    /// channel. It is not asked by speakers of the Pusher protocol, who read no such channel but `private-` ones by their app's
    /// signatures. Where the configuration has a backend, that is not asked. In development mode all else stays as it is: pages of
    /// this machine, the demo. A server that listens beyond loopback without a key says that it asks by its rules:
    /// `auth: vec![(Glob::new("*"), AuthRule::Hook)]`. [`Server::run`] fails if no rule asks it.
    pub fn authorize(
        &mut self,
        decide: impl Fn(&Request<'_>, Action, &ChannelName) -> Verdict + Send + Sync + 'static,
    ) -> &mut Self {
        self.handle().ask_program();
        self.program.judge = Some(Judge::new(Box::new(decide)));
        self
    }

    /// What is done when a handler panics.
    pub fn on_panic(&mut self, on_panic: OnPanic) -> &mut Self {
        self.program.on_panic = on_panic;
        self
    }

    fn add(&mut self, pattern: &str, handler: Handler) -> Result<&mut Self, RouteError> {
        self.program.routes.add(pattern, handler)?;
        Ok(self)
    }
}

/// The session of [`Server::websocket_fn`], which knows nothing.
#[derive(Debug)]
pub enum Stateless {}

/// A closure as a session.
struct Closure<F>(Arc<F>);

impl<R, F> Session for Closure<F>
where
    R: IntoOutcome,
    F: Fn(&mut Socket<'_, Stateless>, Message<'_>) -> R + 'static,
{
    type Event = ();

    fn message(&mut self, socket: &mut Socket<'_, Self>, message: Message<'_>) -> Outcome {
        (self.0)(&mut socket.retyped(), message).into_outcome()
    }
}
