//! The conversation with Redis: replies from bytes, commands to bytes, refusals, and which server has which key.
//!
//! What is asked for, and what becomes of an answer, is the engine's (`broker/engine`).

pub mod refusal;
pub mod resp;
pub mod slots;
