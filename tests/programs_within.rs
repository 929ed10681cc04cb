//! The unit tests that the programs of `examples` have: cargo builds a program either to be run or to be tested.
//!
//! The programs as processes are in the suite `programs`.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

#[path = "../examples/chat.rs"]
#[allow(dead_code)] // its main
mod chat;
#[path = "../examples/game.rs"]
#[allow(dead_code)]
mod game;
#[path = "../examples/ticker.rs"]
#[allow(dead_code)]
mod ticker;
