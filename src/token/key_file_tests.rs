//! What holds of `key_file`.
