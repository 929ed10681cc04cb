//! A session driven by literal messages.
use super::*;

#[test]
fn a_session_is_small() {
    assert!(size_of::<Session>() <= 72, "{}", size_of::<Session>());
}
