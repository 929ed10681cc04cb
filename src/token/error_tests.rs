//! What holds of `error`.
