//! What each fuzz target asserts, as functions from bytes to nothing: they return, or they panic.
//!
//! Shared by the targets in `fuzz_targets/`, where libFuzzer makes up the bytes, and by `tests/fuzz.rs`,
//! which goes through the checked-in corpus and a few thousand random inputs. How a run is started is
//! `run.sh`'s.

// A target calls one body of these.
#![allow(dead_code)]

pub mod batch;
pub mod commands;
pub mod deflated;
pub mod event_stream;
pub mod extension;
pub mod forwarded;
pub mod frames;
pub mod hub;
pub mod mask;
pub mod proxy_header;
pub mod pusher_fallback;
pub mod pusher_presence;
pub mod pusher_rest;
pub mod pusher_session;
pub mod redis_reply;
pub mod request;
pub mod stored_record;
#[cfg(feature = "tls")]
pub mod tls_receive;
pub mod token;
pub mod upgrade;
pub mod utf8;

mod commands_model;
mod deflated_plan;
mod driving;
mod expected;
mod extension_model;
mod frames_model;
mod frames_plan;
mod hub_model;
mod hub_subscriber;
mod input;
mod pusher_rest_model;
mod pusher_session_model;
mod request_model;
mod token_model;
