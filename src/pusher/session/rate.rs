//! How many events a client has sent in the present second.

use std::num::NonZeroU32;

const WINDOW_MS: u64 = 1000;

/// A window of a second, which begins with the first event after the window before.
#[derive(Debug, Default)]
pub struct Window {
    start_ms: u64,
    count: u32,
}

impl Window {
    /// Whether there is room for one more event at this time; if so, it is counted.
    pub fn take(&mut self, count_max: NonZeroU32, now_ms: u64) -> bool {
        if self.count == 0 || now_ms.saturating_sub(self.start_ms) >= WINDOW_MS {
            *self = Self { start_ms: now_ms, count: 0 };
        }
        let has_room = self.count < count_max.get();
        self.count += u32::from(has_room);
        has_room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_has_room_for_so_many_events_and_the_next_one_again() {
        let mut window = Window::default();
        let two = NonZeroU32::new(2).unwrap();
        let taken = [5000, 5500, 5999, 6000, 6999, 6999, 7000].map(|now_ms| window.take(two, now_ms));
        assert_eq!(taken, [true, true, false, true, true, false, true]);
    }

    #[test]
    fn the_first_second_begins_with_the_first_event_too() {
        let mut window = Window::default();
        let taken = [900, 1000, 1899, 1900].map(|now_ms| window.take(NonZeroU32::MIN, now_ms));
        assert_eq!(taken, [true, false, false, true]);
    }
}
