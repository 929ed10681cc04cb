//! What holds of `bad`.
