//! What holds of `jwk`.
