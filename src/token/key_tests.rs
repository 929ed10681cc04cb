//! What holds of `key`.
