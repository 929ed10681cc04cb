//! The style of the source as tests: who imports whom, sizes, banned names, dead files.
//!
//! Each rule is a function from files to faults, a test that the tree has none, and a test that a planted one is
//! found. Nothing is compiled or understood here: files are read as text, with comments and strings told apart. What a
//! lint of the compiler or of clippy can find stands in `Cargo.toml`. The figures of the tree: `tests/house.sh`.

mod figures;
mod house;
mod imports;
mod prose;
mod rooms;
mod shape;
mod source;
