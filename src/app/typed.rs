//! A session behind its type: what a connection calls is passed to the session that the program has written.
//!
//! Nothing is decided here.

use std::any::Any;

use crate::app::remote::Parcel;
use crate::app::session::Session;
use crate::app::socket::Socket;
use crate::server::Handle;
use crate::server::handlers::actor::Actor;
use crate::server::handlers::failure::Outcome;
use crate::server::handlers::link::Link;
use crate::server::handlers::message::{Closed, Message};

/// A session behind its type.
#[derive(Debug)]
pub(super) struct Typed<S>(pub S);

impl<S: Session> Actor for Typed<S> {
    fn open(&mut self, link: &mut dyn Link) -> Outcome {
        self.0.open(&mut Socket::new(link))
    }

    fn message(&mut self, link: &mut dyn Link, message: Message<'_>) -> Outcome {
        self.0.message(&mut Socket::new(link), message)
    }

    fn drain(&mut self, link: &mut dyn Link) -> Outcome {
        self.0.drain(&mut Socket::new(link))
    }

    fn timer(&mut self, link: &mut dyn Link) -> Outcome {
        self.0.timer(&mut Socket::new(link))
    }

    fn parcel(&mut self, link: &mut dyn Link, parcel: Box<dyn Any + Send>) -> Outcome {
        let Ok(parcel) = parcel.downcast::<Parcel<S>>() else {
            unreachable!("only remotes of this session's type reach it")
        };
        match *parcel {
            Parcel::Event(event) => self.0.event(&mut Socket::new(link), event),
            Parcel::Then(then) => then(&mut self.0, &mut Socket::new(link)),
        }
    }

    fn stopping(&mut self, link: &mut dyn Link) -> Outcome {
        self.0.stopping(&mut Socket::new(link))
    }

    fn closed(self: Box<Self>, server: &Handle, closed: Closed<'_>) {
        self.0.closed(server, closed);
    }
}
