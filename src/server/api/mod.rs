//! What is answered to a request: routes, parameters, payloads and built-in files.
//!
//! No socket, no clock and no connection is known here.

pub mod acceptance;
pub mod admin;
pub mod answers;
pub mod assets;
pub mod attendance;
pub mod basis;
pub mod batch;
pub mod events;
pub mod handlers;
pub mod many;
pub mod pages;
pub mod params;
pub mod payload;
pub mod pusher;
pub mod queries;
pub mod redirects;
pub mod rest;
pub mod revoking;
pub mod roads;
pub mod routes;
mod session;
pub mod watching;
