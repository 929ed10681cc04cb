//! What holds of `known`.
