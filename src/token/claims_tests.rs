//! What holds of `claims`.
