//! By how much a list grows that has an element for each connection, subscriber or deadline.
//!
//! Which list it is, and how it shrinks, is its owner's.

/// A list grows by this part of its length. By doubling, up to half of its room would be unused, which for connections
/// and subscribers is more than they own besides. An element is moved up to 17 times on average while a list grows.
const GROWTH_PARTS: usize = 16;

/// How many places to reserve, exactly, before an element is added to a list of this length and capacity: none while it
/// has room, otherwise a 16th of its length, but at least `min`.
#[must_use]
pub fn growth(len: usize, capacity: usize, min: usize) -> usize {
    if len < capacity { 0 } else { (len / GROWTH_PARTS).max(min) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_grows_by_a_16th_once_it_is_full() {
        assert_eq!([(0, 0), (3, 4), (4, 4)].map(|(len, capacity)| growth(len, capacity, 4)), [4, 0, 4]);
        assert_eq!([63, 64, 1000].map(|len| growth(len, len, 1)), [3, 4, 62]);
    }

    #[test]
    fn an_element_is_moved_up_to_17_times_on_average() {
        let (mut capacity, mut moved) = (0, 0);
        for len in 0..1_000_000 {
            let more = growth(len, capacity, 4);
            if more > 0 {
                moved += len;
                capacity = len + more;
            }
        }
        assert!(moved <= 17 * 1_000_000, "{moved}");
    }
}
