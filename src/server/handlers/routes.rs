//! The routes of a program: what is opened or answered at which pattern, and what that has taken.
//!
//! Requests are answered by the connection.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::actor::Actor;
use super::pattern::{Params, Pattern, RouteError};
use super::reply::Reply;
use super::request::Request;
use crate::http::Response;

/// What a factory has made for a handshake.
pub struct Opened {
    pub actor: Box<dyn Actor>,
    /// The subprotocol to answer with, which the client has offered.
    pub subprotocol: Option<String>,
    /// Header fields of the 101.
    pub headers: Vec<(&'static str, String)>,
}

/// Makes the session of a handshake, or refuses that.
pub type Open = Box<dyn Fn(&Request<'_>) -> Result<Opened, Response> + Send + Sync>;

/// Answers a GET.
pub type Get = Box<dyn Fn(&Request<'_>) -> Response + Send + Sync>;

/// Answers a POST at once.
pub type PostNow = Box<dyn Fn(&Request<'_>, Bytes) -> Response + Send + Sync>;

/// Answers a POST by a reply.
pub type PostLater = Box<dyn Fn(&Request<'_>, Bytes, Reply) + Send + Sync>;

/// Answers a POST.
pub enum Post {
    /// At once.
    Now(PostNow),
    /// By a reply that is given later.
    Later(PostLater),
}

/// What is served at a pattern.
pub struct Route {
    pattern: Pattern,
    pub open: Option<Open>,
    pub get: Option<Get>,
    pub post: Option<Post>,
    pub spent: Spent,
    /// Whether the program may replace it: it is the server's.
    is_replaceable: bool,
}

/// What the handlers of a route have taken.
#[derive(Debug, Default)]
pub struct Spent {
    calls: AtomicU64,
    nanos: AtomicU64,
}

impl Spent {
    /// Counts calls, and the time that they took together.
    pub fn note(&self, calls: u64, took: Duration) {
        self.calls.fetch_add(calls, Ordering::Relaxed);
        self.nanos.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The calls so far, and the time that they took together.
    pub fn so_far(&self) -> (u64, Duration) {
        let nanos = self.nanos.load(Ordering::Relaxed);
        (self.calls.load(Ordering::Relaxed), Duration::from_nanos(nanos))
    }
}

/// A handler of one kind, to be added to a route.
pub enum Handler {
    Open(Open),
    Get(Get),
    Post(Post),
}

/// The routes of a program.
#[derive(Default)]
pub struct Routes(Vec<Route>);

impl Route {
    fn new(pattern: Pattern) -> Self {
        let (open, get, post, spent) = (None, None, None, Spent::default());
        Self { pattern, open, get, post, spent, is_replaceable: false }
    }

    /// The pattern as it was written.
    pub fn pattern(&self) -> &str {
        self.pattern.as_str()
    }

    /// Whether it is the server's own, which the program has not replaced.
    pub fn is_servers(&self) -> bool {
        self.is_replaceable
    }

    /// The methods that it knows, as the `Allow` field names them.
    pub fn allow(&self) -> &'static str {
        match (self.open.is_some() || self.get.is_some(), self.post.is_some()) {
            (true, true) => "GET, HEAD, POST, OPTIONS",
            (false, true) => "POST, OPTIONS",
            (_, false) => "GET, HEAD, OPTIONS",
        }
    }
}

impl Routes {
    /// Adds a handler at a pattern.
    ///
    /// # Errors
    /// The pattern is wrong or the server's own, or has such a handler.
    pub fn add(&mut self, pattern: &str, handler: Handler) -> Result<(), RouteError> {
        let pattern = Pattern::new(pattern)?;
        let at = match self.0.iter().position(|route| route.pattern.is_same(&pattern)) {
            // Its names would be those of the other.
            Some(at) if self.0[at].pattern != pattern => {
                return Err(RouteError::Taken(pattern.as_str().to_owned()));
            }
            Some(at) => at,
            None if self.0.len() >= usize::from(u16::MAX) => return Err(RouteError::TooMany),
            None => {
                self.0.push(Route::new(pattern));
                self.0.len() - 1
            }
        };
        let route = &mut self.0[at];
        if route.is_replaceable {
            *route = Route::new(route.pattern.clone());
        }
        let is_free = match handler {
            Handler::Open(open) => fill(&mut route.open, open),
            Handler::Get(get) => fill(&mut route.get, get),
            Handler::Post(post) => fill(&mut route.post, post),
        };
        if is_free { Ok(()) } else { Err(RouteError::Taken(route.pattern().to_owned())) }
    }

    /// Those that are there are the server's, and each may be replaced.
    pub fn make_replaceable(&mut self) {
        self.0.iter_mut().for_each(|route| route.is_replaceable = true);
    }

    /// The number of the route of a path, and what its names stand for. O(routes).
    pub fn find(&self, path: &str) -> Option<(u16, Params)> {
        let fitting = self.0.iter().zip(0_u16..).filter_map(|(route, at)| {
            let params = route.pattern.find(path)?;
            Some((route, at, params))
        });
        let best = fitting.max_by(|(one, ..), (other, ..)| one.pattern.compare(&other.pattern));
        best.map(|(_, at, params)| (at, params))
    }

    /// A route by its number.
    pub fn get(&self, at: u16) -> Option<&Route> {
        self.0.get(usize::from(at))
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter()
    }
}

/// Fills an empty place; false if it is not empty.
fn fill<T>(place: &mut Option<T>, handler: T) -> bool {
    let is_free = place.is_none();
    if is_free {
        *place = Some(handler);
    }
    is_free
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Opened({:?}, {:?})", self.subprotocol, self.headers)
    }
}

impl fmt::Debug for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(Route::pattern)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get() -> Handler {
        Handler::Get(Box::new(|_| Response::html("")))
    }

    #[test]
    fn the_most_particular_route_of_a_path_is_found() {
        let mut routes = Routes::default();
        for pattern in ["/{all..}", "/rooms/{room}", "/rooms/attic"] {
            routes.add(pattern, get()).unwrap();
        }
        let found =
            |path: &str| routes.find(path).map(|(at, _)| routes.get(at).unwrap().pattern().to_owned());
        assert_eq!(found("/rooms/attic").as_deref(), Some("/rooms/attic"));
        assert_eq!(found("/rooms/cellar").as_deref(), Some("/rooms/{room}"));
        assert_eq!(found("/x").as_deref(), Some("/{all..}"));
    }

    #[test]
    fn a_pattern_has_one_handler_of_each_kind_and_one_set_of_names() {
        let mut routes = Routes::default();
        routes.add("/a/{b}", get()).unwrap();
        let post = || Handler::Post(Post::Now(Box::new(|_, _| Response::html(""))));
        routes.add("/a/{b}", post()).unwrap();
        assert_eq!(routes.iter().next().unwrap().allow(), "GET, HEAD, POST, OPTIONS");
        assert!(matches!(routes.add("/a/{b}", get()), Err(RouteError::Taken(_))));
        assert!(matches!(routes.add("/a/{c}", post()), Err(RouteError::Taken(_))));
    }
}
