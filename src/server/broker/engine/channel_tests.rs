//! What a channel does about one thing at a time, with a pretend clock.

use bytes::Bytes;

use super::leaving::{EMPTY_QUIET_MS, QUIET_MS};
use super::*;
use crate::server::broker::engine::filling::HELD_LEN_MAX;

const RULES: Rules = Rules { keep: 100, renew_ms: 256_000, phase: 127 };
const ROOM: usize = usize::MAX;

/// The serial is 1.
const FIRST_ATTEMPT: u64 = (1 << 32) + 1;

fn id(epoch: u64, sequence: u64) -> PublicationId {
    PublicationId { epoch, sequence }
}

fn record(epoch: u64, sequence: u64) -> Record {
    Record { id: id(epoch, sequence), stored: Bytes::from(format!("{epoch}-{sequence}")) }
}

fn opening(epoch: u64, newest: u64, oldest: u64) -> Opening {
    Opening { newest: id(epoch, newest), oldest }
}

/// An answer that has these of epoch 1, and `None` for 0.
fn reading(oldest: u64, sequences: impl IntoIterator<Item = u64>) -> Reading {
    let stored = |sequence| (sequence > 0).then(|| record(1, sequence).stored);
    Reading { epoch: Some(1), oldest, stored: sequences.into_iter().map(stored).collect() }
}

fn gap(missed: Option<u64>, since: PublicationId) -> Action {
    Action::Gap(Gap { missed }, since)
}

/// A channel and what it has asked for so far: the attempt of the last command.
struct Fixture {
    channel: Channel,
    attempt: u64,
    now: Millis,
}

impl Fixture {
    /// Subscribed, and not answered yet.
    fn joining() -> Self {
        let mut actions = Vec::new();
        let channel = Channel::new(RULES, 1, true, Millis(1_000), &mut actions);
        let open = Action::Open { attempt: FIRST_ATTEMPT, count: 0, known: None };
        assert_eq!(actions, [Action::Subscribe, open]);
        Self { channel, attempt: FIRST_ATTEMPT, now: Millis(1_000) }
    }

    /// At this publication of epoch 1, with nothing missing.
    fn live(sequence: u64) -> Self {
        let mut fixture = Self::joining();
        let begun = fixture.opened(opening(1, sequence, sequence + 1));
        assert_eq!(begun, [Action::Begin(id(1, sequence)), Action::Ready]);
        fixture
    }

    fn take(&mut self, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        self.channel.take(event, self.now, &mut actions);
        for action in &actions {
            if let Action::Open { attempt, .. } | Action::Read { attempt, .. } = action {
                self.attempt = *attempt;
            }
        }
        actions
    }

    fn opened(&mut self, opening: Opening) -> Vec<Action> {
        self.take(Event::Opened(self.attempt, opening))
    }

    fn read(&mut self, reading: Reading) -> Vec<Action> {
        self.take(Event::Read(self.attempt, reading))
    }

    fn pushed(&mut self, epoch: u64, sequence: u64) -> Vec<Action> {
        self.take(Event::Pushed(record(epoch, sequence), ROOM))
    }

    /// Goes to when it is due.
    fn tick(&mut self) -> Vec<Action> {
        self.now = self.channel.due().unwrap();
        self.take(Event::Tick)
    }

    fn open(&self, count: u64, known: Option<PublicationId>) -> Action {
        Action::Open { attempt: self.attempt, count, known }
    }

    fn asks(&self, from: u64, to: u64) -> Action {
        Action::Read { attempt: self.attempt, from, to }
    }
}

fn delivered(sequences: impl IntoIterator<Item = u64>) -> Vec<Action> {
    sequences.into_iter().map(|sequence| Action::Deliver(record(1, sequence))).collect()
}

#[test]
fn a_channel_costs_200_bytes_at_most() {
    assert!(size_of::<Channel>() <= 200, "{}", size_of::<Channel>());
}

#[test]
fn who_joins_reads_what_is_kept_and_requests_may_join_then() {
    let mut it = Fixture::joining();
    assert!(!it.channel.is_ready());
    assert_eq!(it.opened(opening(1, 4, 3)), [Action::Begin(id(1, 2)), it.asks(3, 4)]);
    assert_eq!(it.read(reading(3, 3..=4)), [delivered(3..=4), vec![Action::Ready]].concat());
    assert!(it.channel.is_ready());
    assert_eq!(it.pushed(1, 5), delivered([5]));
}

#[test]
fn who_joins_a_channel_that_nobody_has_published_to_is_ready_at_once() {
    let mut it = Fixture::live(0);
    assert_eq!(it.pushed(1, 1), delivered([1]));
}

#[test]
fn who_joins_reads_no_more_of_the_past_than_the_node_keeps_and_in_pieces() {
    let mut it = Fixture::joining();
    assert_eq!(it.opened(opening(1, 1_000, 1)), [Action::Begin(id(1, 900)), it.asks(901, 964)]);
    let actions = it.read(reading(1, 901..=964));
    assert_eq!(actions, [delivered(901..=964), vec![it.asks(965, 1_000)]].concat());
    assert_eq!(it.read(reading(1, 965..=1_000)).last(), Some(&Action::Ready));
}

#[test]
fn what_is_trimmed_while_a_joining_node_reads_is_a_later_beginning() {
    let mut it = Fixture::joining();
    it.opened(opening(1, 4, 1));
    let actions = it.read(reading(3, [0, 0, 3, 4]));
    assert_eq!(actions, [vec![Action::Begin(id(1, 2))], delivered(3..=4), vec![Action::Ready]].concat());
}

#[test]
fn what_comes_ahead_of_the_answer_is_a_part_of_it() {
    let mut it = Fixture::joining();
    assert_eq!(it.pushed(1, 1), []);
    assert_eq!(it.pushed(9, 1), []);
    assert_eq!(it.opened(opening(1, 1, 1)), [Action::Begin(id(1, 0)), it.asks(1, 1)]);
}

#[test]
fn a_publication_that_comes_again_is_dropped() {
    let mut it = Fixture::live(3);
    assert_eq!(it.pushed(1, 4), delivered([4]));
    assert_eq!((it.pushed(1, 4), it.pushed(1, 2)), (vec![], vec![]));
}

#[test]
fn what_is_missing_is_read_and_what_comes_meanwhile_waits_its_turn() {
    let mut it = Fixture::live(3);
    assert_eq!(it.pushed(1, 6), [it.asks(4, 5)]);
    assert_eq!((it.pushed(1, 7), it.pushed(1, 6)), (vec![], vec![]));
    assert!(it.channel.held_len() > 0);
    assert_eq!(it.read(reading(1, 4..=5)), delivered(4..=7));
    assert_eq!((it.channel.held_len(), it.pushed(1, 8)), (0, delivered([8])));
}

#[test]
fn a_hole_among_what_waited_is_read_next() {
    let mut it = Fixture::live(3);
    it.pushed(1, 5);
    it.pushed(1, 8);
    assert_eq!(it.read(reading(1, [4])), [delivered(4..=5), vec![it.asks(6, 7)]].concat());
    assert_eq!(it.read(reading(1, 6..=7)), delivered(6..=8));
}

#[test]
fn what_was_trimmed_is_told_with_its_number_and_what_is_held_is_not_part_of_it() {
    let mut it = Fixture::live(3);
    it.pushed(1, 6);
    assert_eq!(it.read(reading(5, [0, 5])), [vec![gap(Some(1), id(1, 4))], delivered(5..=6)].concat());
    it.pushed(1, 9);
    let actions = it.read(reading(50, [0, 0]));
    assert_eq!(actions, [vec![gap(Some(2), id(1, 8))], delivered([9])].concat());
}

#[test]
fn a_publication_that_was_deleted_is_told_and_redis_is_told_what_the_node_has() {
    let mut it = Fixture::live(3);
    it.pushed(1, 8);
    let actions = it.read(reading(1, [4, 0, 6, 0]));
    let told =
        [delivered([4]), vec![gap(Some(1), id(1, 5))], delivered([6]), vec![gap(Some(1), id(1, 7))]].concat();
    assert_eq!(actions, [told, vec![it.open(0, Some(id(1, 7)))]].concat());
    assert_eq!(it.opened(opening(1, 8, 1)), [it.asks(8, 8)]);
}

#[test]
fn a_publication_of_another_epoch_has_redis_asked_where_the_channel_is_and_the_gap_told() {
    let mut it = Fixture::live(3);
    assert_eq!(it.pushed(2, 2), [it.open(0, Some(id(1, 3)))]);
    assert_eq!(it.opened(opening(2, 4, 3)), [gap(None, id(2, 2)), it.asks(3, 4)]);
}

#[test]
fn what_waited_of_an_epoch_that_has_ended_is_forgotten() {
    let mut it = Fixture::live(3);
    it.pushed(1, 6);
    let late = it.attempt;
    assert_eq!(it.pushed(2, 1), [it.open(0, Some(id(1, 3)))]);
    assert_eq!(it.take(Event::Read(late, reading(1, 4..=5))), []);
    assert_eq!(it.opened(opening(2, 0, 1)), [gap(None, id(2, 0))]);
    assert_eq!((it.channel.held_len(), it.channel.is_ready()), (0, true));
}

#[test]
fn a_read_that_finds_another_epoch_or_none_delivers_nothing_and_asks_where_the_channel_is() {
    for epoch in [None, Some(2)] {
        let mut it = Fixture::live(3);
        it.pushed(1, 6);
        let actions = it.read(Reading { epoch, ..reading(1, 4..=5) });
        assert_eq!(actions, [it.open(0, Some(id(1, 3)))]);
    }
}

#[test]
fn an_answer_to_a_renewal_that_finds_another_epoch_ends_the_read_that_is_in_flight() {
    let mut it = Fixture::live(3);
    let renewal = it.tick();
    assert_eq!(renewal, [it.open(0, Some(id(1, 3)))]);
    assert_eq!(it.pushed(1, 5), [it.asks(4, 4)]);
    let late = it.attempt;
    assert_eq!(it.opened(opening(2, 9, 9)), [gap(None, id(2, 8)), it.asks(9, 9)]);
    assert_eq!(it.take(Event::Read(late, Reading { epoch: Some(2), ..reading(1, [4]) })), []);
}

#[test]
fn a_node_that_comes_back_reads_on_from_where_it_was() {
    let mut it = Fixture::live(3);
    assert_eq!(it.take(Event::Disconnected), []);
    assert_eq!((it.pushed(1, 4), it.channel.is_ready()), (vec![], true));
    assert_eq!(it.take(Event::Connected), [Action::Subscribe, it.open(0, Some(id(1, 3)))]);
    assert_eq!(it.opened(opening(1, 3, 1)), [], "nobody notices");
    it.take(Event::Disconnected);
    it.take(Event::Connected);
    assert_eq!(it.opened(opening(1, 5, 1)), [it.asks(4, 5)]);
    assert_eq!(it.read(reading(1, 4..=5)), delivered(4..=5));
    it.take(Event::Disconnected);
    it.take(Event::Connected);
    it.opened(opening(1, 9, 8));
    let actions = it.read(reading(8, [0, 0, 8, 9]));
    assert_eq!(actions, [vec![gap(Some(2), id(1, 7))], delivered(8..=9)].concat());
}

#[test]
fn answers_of_a_connection_that_was_lost_are_not_taken_for_those_of_the_next() {
    let mut it = Fixture::live(3);
    it.pushed(1, 6);
    let late = it.attempt;
    it.take(Event::Disconnected);
    assert_eq!(it.take(Event::Read(late, reading(1, 4..=5))), []);
    it.take(Event::Connected);
    assert_eq!(it.take(Event::Opened(late, opening(2, 9, 1))), []);
    assert_eq!(it.take(Event::NotOpened(late)), []);
    assert_eq!(it.take(Event::NotRead(late)), []);
    assert_eq!(it.opened(opening(1, 3, 1)), []);
}

#[test]
fn a_redis_that_has_gone_back_is_told_what_the_node_has_and_begins_a_new_epoch() {
    let mut it = Fixture::live(3);
    it.tick();
    it.pushed(1, 4);
    assert_eq!(it.opened(opening(1, 2, 1)), []);
    assert_eq!(it.tick(), [it.open(0, Some(id(1, 4)))]);
    assert_eq!(it.opened(opening(2, 0, 1)), [gap(None, id(2, 0))]);
}

#[test]
fn a_renewal_finds_the_last_publication_that_was_lost() {
    let mut it = Fixture::live(3);
    let joined_at = it.now.0;
    assert_eq!(it.tick(), [it.open(0, Some(id(1, 3)))]);
    assert_eq!(it.now.0 - joined_at, 128_000, "the first is spread");
    assert_eq!(it.channel.due(), None, "while one is in flight there is no other");
    assert_eq!(it.opened(opening(1, 4, 1)), [it.asks(4, 4)]);
    assert_eq!(it.read(reading(1, [4])), delivered([4]));
    assert_eq!(it.channel.due(), Some(Millis(it.now.0 + 256_000)));
}

#[test]
fn telling_the_number_of_subscribers_does_not_put_off_a_renewal_that_is_spread() {
    let mut it = Fixture::live(3);
    let joined_at = it.now.0;
    it.take(Event::Counted(1));
    assert_eq!(it.take(Event::Tick), [it.open(1, Some(id(1, 3)))]);
    it.now.0 += 5;
    assert_eq!(it.opened(opening(1, 3, 1)), []);
    assert_eq!(it.channel.due(), Some(Millis(joined_at + 128_000)));
    assert_eq!(it.tick(), [it.open(1, Some(id(1, 3)))]);
    assert_eq!(it.opened(opening(1, 3, 1)), []);
    assert_eq!(it.channel.due(), Some(Millis(joined_at + 128_000 + 256_000)));
}

#[test]
fn a_changed_number_of_subscribers_is_told_2_s_after_it_was_last_told() {
    let mut it = Fixture::live(3);
    let joined_at = it.now.0;
    it.take(Event::Counted(5));
    assert_eq!(it.take(Event::Tick), [it.open(5, Some(id(1, 3)))], "the first ones at once");
    it.opened(opening(1, 3, 1));
    let told_at = it.now.0;
    it.now.0 += 100;
    it.take(Event::Counted(7));
    assert_eq!(it.tick(), [it.open(7, Some(id(1, 3)))]);
    assert_eq!(it.now.0, told_at + COUNT_MS);
    it.opened(opening(1, 3, 1));
    assert_eq!(it.channel.due(), Some(Millis(joined_at + 128_000)));
}

#[test]
fn what_redis_refuses_is_asked_again_after_50_ms_and_twice_as_long_each_time_up_to_2_s() {
    let mut it = Fixture::joining();
    let pauses = [50, 100, 200, 400, 800, 1_600, 2_000, 2_000];
    for pause_ms in pauses {
        assert_eq!(it.take(Event::NotOpened(it.attempt)), []);
        let refused_at = it.now.0;
        assert_eq!(it.tick(), [it.open(0, None)]);
        assert_eq!(it.now.0 - refused_at, pause_ms);
    }
    it.opened(opening(1, 3, 4));
    it.pushed(1, 5);
    assert_eq!(it.take(Event::NotRead(it.attempt)), []);
    let refused_at = it.now.0;
    it.now = it.channel.due().unwrap();
    assert_eq!(it.now.0 - refused_at, 50);
    assert!(it.take(Event::Tick).contains(&it.asks(4, 4)));
}

#[test]
fn what_there_is_no_room_to_hold_is_read_when_its_turn_comes() {
    let mut it = Fixture::live(3);
    let asked = it.take(Event::Pushed(record(1, 5), 0));
    assert_eq!((asked, it.channel.held_len()), (vec![it.asks(4, 5)], 0));
    let long = |sequence| Record { stored: Bytes::from(vec![0; HELD_LEN_MAX / 2]), ..record(1, sequence) };
    assert_eq!(it.take(Event::Pushed(long(7), ROOM)), []);
    assert_eq!(it.take(Event::Pushed(long(8), ROOM)), []);
    assert!(it.channel.held_len() <= HELD_LEN_MAX);
    let actions = it.read(reading(1, 4..=5));
    assert_eq!(actions, [delivered(4..=5), vec![it.asks(6, 6)]].concat());
    let actions = it.read(reading(1, [6]));
    assert_eq!(actions, [delivered([6]), vec![Action::Deliver(long(7)), it.asks(8, 8)]].concat());
}

#[test]
fn a_channel_that_nobody_wants_stays_for_a_minute_and_is_given_up_then() {
    let mut it = Fixture::live(3);
    it.take(Event::Counted(1));
    it.tick();
    it.opened(opening(1, 3, 1));
    it.take(Event::Counted(0));
    it.tick();
    it.opened(opening(1, 3, 1));
    let unwanted_at = it.now.0;
    assert_eq!(it.take(Event::Unwanted), []);
    assert_eq!(
        it.tick(),
        [Action::Unsubscribe, Action::Forget],
        "Redis knows that its subscribers have gone"
    );
    assert_eq!((it.now.0 - unwanted_at, it.channel.due()), (QUIET_MS, None));
}

#[test]
fn a_channel_without_publications_is_given_up_a_second_after_its_last_subscriber_and_at_once_while_it_joins()
{
    for (mut it, quiet_ms) in [(Fixture::joining(), 0), (Fixture::live(0), EMPTY_QUIET_MS)] {
        assert_eq!(it.take(Event::Unwanted), [], "somebody may join until it is left");
        it.now.0 += quiet_ms;
        assert_eq!(it.channel.due(), Some(it.now));
        assert_eq!(it.take(Event::Tick), [Action::Unsubscribe, Action::Forget]);
    }
}

#[test]
fn redis_is_told_that_the_subscribers_have_gone_before_the_channel_is_forgotten() {
    let mut it = Fixture::live(3);
    it.take(Event::Counted(5));
    it.tick();
    it.take(Event::Unwanted);
    it.now.0 += QUIET_MS;
    assert_eq!(it.take(Event::Tick), [Action::Unsubscribe, it.open(0, Some(id(1, 3)))]);
    assert_eq!(it.opened(opening(1, 3, 1)), [Action::Forget]);
}

#[test]
fn a_channel_that_is_wanted_again_while_it_is_given_up_goes_on_from_where_it_was() {
    let mut it = Fixture::live(3);
    it.take(Event::Counted(5));
    it.tick();
    it.take(Event::Unwanted);
    it.now.0 += QUIET_MS;
    it.take(Event::Tick);
    let late = it.attempt;
    assert_eq!(it.take(Event::Wanted), [Action::Subscribe, it.open(5, Some(id(1, 3)))]);
    assert_eq!(it.take(Event::Opened(late, opening(1, 3, 1))), []);
    assert_eq!(it.opened(opening(1, 4, 1)), [it.asks(4, 4)]);
}

#[test]
fn a_channel_that_nobody_wants_while_redis_is_away_is_given_up_when_redis_is_back_and_knows() {
    let mut it = Fixture::live(3);
    it.take(Event::Counted(5));
    it.tick();
    it.take(Event::Disconnected);
    it.take(Event::Unwanted);
    it.now.0 += QUIET_MS;
    assert_eq!((it.take(Event::Tick), it.channel.due()), (vec![], None));
    assert_eq!(it.take(Event::Connected), [it.open(0, Some(id(1, 3)))], "it is not subscribed again");
    assert_eq!(it.opened(opening(1, 3, 1)), [Action::Forget]);
}

#[test]
fn a_channel_whose_last_word_to_redis_was_lost_or_refused_is_not_forgotten_before_it_is_said_again() {
    let mut it = Fixture::live(3);
    it.take(Event::Counted(5));
    it.tick();
    it.opened(opening(1, 3, 1));
    it.take(Event::Unwanted);
    it.now.0 += QUIET_MS;
    it.take(Event::Tick);
    assert_eq!(it.take(Event::Disconnected), []);
    assert_eq!(it.take(Event::Connected), [it.open(0, Some(id(1, 3)))]);
    for _ in 0..DOUBLINGS_MAX {
        assert_eq!(it.take(Event::NotOpened(it.attempt)), []);
        assert_eq!(it.tick(), [it.open(0, Some(id(1, 3)))]);
    }
    assert_eq!(it.take(Event::NotOpened(it.attempt)), [Action::Forget], "about 3 s later");
}

#[test]
fn a_number_that_redis_may_have_heard_is_taken_back_before_the_channel_is_forgotten() {
    let mut it = Fixture::joining();
    it.take(Event::Counted(1));
    it.take(Event::Disconnected);
    it.take(Event::Connected);
    it.take(Event::Counted(0));
    it.take(Event::Unwanted);
    let actions = it.take(Event::Tick);
    assert_eq!(actions, [Action::Unsubscribe, it.open(0, None)]);
    assert_eq!(it.opened(opening(1, 0, 1)), [Action::Forget]);
}

#[test]
fn a_channel_that_is_wanted_while_redis_is_away_joins_when_it_is_back() {
    let mut actions = Vec::new();
    let mut channel = Channel::new(RULES, 7, false, Millis(0), &mut actions);
    assert_eq!((actions.as_slice(), channel.due()), ([].as_slice(), None));
    channel.take(Event::Connected, Millis(9), &mut actions);
    assert_eq!(actions[0], Action::Subscribe);
    actions.clear();
    channel.take(Event::Disconnected, Millis(9), &mut actions);
    channel.take(Event::Unwanted, Millis(9), &mut actions);
    channel.take(Event::Tick, Millis(9), &mut actions);
    assert_eq!(actions, [Action::Forget]);
}

#[test]
fn a_channel_that_somebody_may_be_about_to_join_is_kept_as_long_as_one_with_a_past() {
    let mut it = Fixture::live(0);
    it.take(Event::Unwanted);
    assert_eq!(it.take(Event::Expected), []);
    assert_eq!(it.take(Event::Tick), []);
    assert_eq!(it.channel.due(), Some(Millis(it.now.0 + QUIET_MS)));
    assert_eq!(it.tick(), [Action::Unsubscribe, Action::Forget]);
}

#[test]
fn what_redis_has_and_was_not_pushed_is_read() {
    let mut it = Fixture::live(3);
    assert_eq!(it.take(Event::Known(id(1, 3))), [], "nothing is missing");
    assert_eq!(it.take(Event::Known(id(1, 5))), [it.asks(4, 5)]);
    assert!(!it.channel.is_live());
    let mut it = Fixture::live(3);
    let known = Some(id(1, 3));
    assert_eq!(it.take(Event::Known(id(2, 1))), [it.open(0, known)], "another epoch");
}

#[test]
fn large_publications_are_read_in_smaller_pieces_and_so_are_those_that_cost_the_connection() {
    let mut it = Fixture::live(0);
    assert_eq!(it.take(Event::Known(id(1, 500))), [it.asks(1, 64)]);
    let large = vec![Some(Bytes::from(vec![0; 64 * 1024])); 64];
    let actions = it.read(Reading { epoch: Some(1), oldest: 1, stored: large });
    assert_eq!(actions.last(), Some(&it.asks(65, 72)), "512 KiB");
    it.take(Event::Disconnected);
    it.take(Event::Connected);
    assert_eq!(it.opened(opening(1, 500, 1)), [it.asks(65, 66)], "a quarter of that");
    it.take(Event::Disconnected);
    it.take(Event::Connected);
    assert_eq!(it.opened(opening(1, 500, 1)), [it.asks(65, 65)], "one at least");
    assert_eq!(it.read(reading(1, 65..=65)).last(), Some(&it.asks(66, 129)), "these are small");
}
