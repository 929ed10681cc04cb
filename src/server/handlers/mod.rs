//! What a program brings to the server: sessions of its own, answers to requests, and where both are found.
//!
//! How a connection calls them is in `connection`; the types that a program writes are in the room `app`.

pub mod actor;
pub mod actors;
pub mod failure;
pub mod judge;
pub mod link;
pub mod message;
pub mod panics;
pub mod pattern;
pub mod program;
pub mod reply;
pub mod request;
pub mod routes;
pub mod watching;
pub mod workers;
