//! How long a test waits, and for what: an answer, never a fixed time.

use std::thread;
use std::time::{Duration, Instant};

/// A client that got this far and hears nothing has found a bug.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Asks again until there is an answer, and gives up loudly.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "gave up waiting until {what}");
        thread::yield_now();
    }
}
