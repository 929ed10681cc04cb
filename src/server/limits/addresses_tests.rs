//! Addresses that come and go, under a pretend clock.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn source(number: u32) -> Source {
    Source::V4(number.to_be_bytes())
}

fn per_second(count: u32) -> Rate {
    Rate { count: NonZeroU32::new(count).unwrap(), per: Duration::from_secs(1) }
}

#[test]
fn an_address_has_at_most_so_many_connections_and_one_more_when_one_has_left() {
    let addresses = Addresses::new(Some(2), None);
    let enter = |number| addresses.enter(source(number), Counts::Handshake, Millis(0));
    let first = enter(1).unwrap().unwrap();
    enter(1).unwrap().unwrap();
    assert_eq!(enter(1), Err(TooMany::Connections(2)));
    enter(2).unwrap().unwrap();
    addresses.leave(first, Millis(0));
    enter(1).unwrap().unwrap();
    assert_eq!(enter(1), Err(TooMany::Connections(2)));
}

#[test]
fn handshakes_have_a_rate_and_the_wait_for_the_next_is_told() {
    let addresses = Addresses::new(None, Some(per_second(50)));
    let enter = |ms| addresses.enter(source(1), Counts::Handshake, Millis(ms));
    for _ in 0..50 {
        assert_eq!(enter(1000), Ok(None), "no seat: connections are not limited");
    }
    assert_eq!(enter(1000), Err(TooMany::Handshakes(per_second(50), 20)));
    assert_eq!(enter(1019), Err(TooMany::Handshakes(per_second(50), 1)));
    assert_eq!(enter(1020), Ok(None));
    assert_eq!(addresses.enter(source(1), Counts::Stay, Millis(1020)), Ok(None), "it began before");
    assert_eq!(addresses.enter(source(2), Counts::Handshake, Millis(1020)), Ok(None));
}

#[test]
fn who_is_refused_uses_up_no_handshake_and_no_connection() {
    let addresses = Addresses::new(Some(1), Some(per_second(2)));
    let enter = || addresses.enter(source(1), Counts::Handshake, Millis(0));
    let seat = enter().unwrap().unwrap();
    for _ in 0..5 {
        assert_eq!(enter(), Err(TooMany::Connections(1)));
    }
    addresses.leave(seat, Millis(0));
    let seat = enter().unwrap().unwrap();
    addresses.leave(seat, Millis(0));
    assert!(matches!(enter(), Err(TooMany::Handshakes(..))));
}

#[test]
fn an_address_that_says_no_more_is_forgotten() {
    let addresses = Addresses::new(Some(1), Some(per_second(10)));
    let seat = addresses.enter(source(1), Counts::Handshake, Millis(0)).unwrap().unwrap();
    addresses.leave(seat, Millis(99));
    assert_eq!(addresses.len(), 1, "its handshake still counts");
    let seat = addresses.enter(source(1), Counts::Stay, Millis(99)).unwrap().unwrap();
    addresses.leave(seat, Millis(100));
    assert_eq!(addresses.len(), 0);
}

#[test]
fn of_a_full_table_the_address_that_was_idle_longest_is_forgotten() {
    let addresses = Addresses::new(Some(1), Some(Rate { per: Duration::from_secs(86_400), ..per_second(1) }));
    // One shard, so that which is forgotten is certain.
    let mut shard = lock(&addresses.shards[0]);
    for number in 0..SLOTS_PER_SHARD as u32 {
        let now = Millis(1000 + u64::from(number));
        let (slot, entry) = shard.entry(0, source(number), now).unwrap();
        entry.handshakes_used = Pace::new(per_second(1), 1).spend(UsedUntil::default(), Millis(1 << 40));
        shard.settle(slot, now);
    }
    assert_eq!(shard.check(), SLOTS_PER_SHARD);
    let (slot, entry) = shard.entry(0, source(0), Millis(9_000)).unwrap();
    assert!(!entry.handshakes_used.is_past(Millis(9000)));
    shard.settle(slot, Millis(9_000));
    shard.entry(0, source(1 << 30), Millis(9_001)).unwrap().1.connections = 1;
    assert!(shard.slots.contains_key(&source(0)) && !shard.slots.contains_key(&source(1)));
    assert_eq!(shard.entries.len(), SLOTS_PER_SHARD);
}

#[test]
fn a_table_that_is_full_of_connections_lets_others_in_uncounted() {
    let addresses = Addresses::new(Some(1), None);
    let mut seats = Vec::new();
    // More than all places, so that every shard is full.
    let mut number = 0;
    while seats.len() < SHARDS * SLOTS_PER_SHARD - 1 {
        seats.extend(addresses.enter(source(number), Counts::Handshake, Millis(0)).unwrap());
        number += 1;
        assert!(number < 1 << 20, "{} seats", seats.len());
    }
    for other in number..number + 100 {
        assert_eq!(addresses.enter(source(other), Counts::Handshake, Millis(0)), Ok(None));
        assert_eq!(addresses.enter(source(other), Counts::Handshake, Millis(0)), Ok(None));
    }
    for seat in seats {
        addresses.leave(seat, Millis(0));
    }
    assert_eq!(addresses.len(), 0);
}

#[test]
fn a_seat_is_two_bytes_and_none_costs_nothing_more() {
    assert_eq!(size_of::<Option<Seat>>(), 2);
    assert_eq!(Seat::new(0, 0).unwrap().place(), (0, 0));
    assert_eq!(Seat::new(15, 4094).unwrap().place(), (15, 4094));
    assert_eq!(Seat::new(15, 4095), None);
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u32, bool),
    Leave(prop::sample::Index),
    Wait(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..5u32, any::<bool>()).prop_map(|(number, stays)| Step::Enter(number, stays)),
        3 => any::<prop::sample::Index>().prop_map(Step::Leave),
        1 => (0..700u64).prop_map(Step::Wait),
    ]
}

/// What the table is to say, by lists of all that happened.
#[derive(Default)]
struct Model {
    connections: BTreeMap<u32, usize>,
    /// By address, the times of handshakes, as a bucket of tokens in thousandths: when it was last filled, and how full it
    /// was.
    buckets: BTreeMap<u32, (u64, u64)>,
}

const CONNECTIONS_MAX: usize = 3;
const HANDSHAKES: u32 = 4;

impl Model {
    fn enter(&mut self, number: u32, counts: Counts, now: u64) -> bool {
        let count = self.connections.entry(number).or_default();
        if *count == CONNECTIONS_MAX {
            return false;
        }
        let full = u64::from(HANDSHAKES) * 1000;
        let (filled_at, tokens) = self.buckets.entry(number).or_insert((now, full));
        *tokens = (*tokens + (now - *filled_at) * u64::from(HANDSHAKES)).min(full);
        *filled_at = now;
        if counts == Counts::Handshake {
            if *tokens < 1000 {
                return false;
            }
            *tokens -= 1000;
        }
        *count += 1;
        true
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn addresses_are_let_in_as_the_model_says(steps in prop::collection::vec(step(), 0..120)) {
        let addresses = Addresses::new(Some(CONNECTIONS_MAX), Some(per_second(HANDSHAKES)));
        let (mut model, mut seats, mut now) = (Model::default(), Vec::new(), 0);
        for step in steps {
            match step {
                Step::Enter(number, stays) => {
                    let counts = if stays { Counts::Stay } else { Counts::Handshake };
                    let entered = addresses.enter(source(number), counts, Millis(now));
                    prop_assert_eq!(entered.is_ok(), model.enter(number, counts, now), "{:?}", entered);
                    if let Ok(seat) = entered {
                        seats.push((number, seat.expect("connections are limited")));
                    }
                }
                Step::Leave(index) if !seats.is_empty() => {
                    let (number, seat) = seats.swap_remove(index.index(seats.len()));
                    addresses.leave(seat, Millis(now));
                    *model.connections.get_mut(&number).expect("it came") -= 1;
                }
                Step::Leave(_) => {}
                Step::Wait(ms) => now += ms,
            }
            addresses.len();
        }
    }
}
