//! Calls, settlements and deadlines of what waits to be published, step by step.
//!
//! All of it together, in any order and against a model of Redis, is in `outgoing_model_tests`.

use super::*;
use crate::server::broker::idempotency::KeyDigest;

const EPOCH: u64 = 0xe;

/// A deadline that is not reached.
const LATE: u64 = 1_000_000;

fn name(channel: &str) -> ChannelName {
    ChannelName::new(channel).unwrap()
}

fn keyed(key: u8, fingerprint: u8) -> Keyed {
    Keyed { digest: KeyDigest::test(key), fingerprint: Fingerprint::test(fingerprint) }
}

fn add(outgoing: &mut Outgoing<u32>, channel: &str, ticket: u32, deadline: u64) {
    let record = Bytes::from(ticket.to_string());
    outgoing.add(name(channel), Item { record, key: None, ticket, deadline: Millis(deadline) });
}

fn add_keyed(outgoing: &mut Outgoing<u32>, channel: &str, ticket: u32, key: Keyed) {
    let record = Bytes::from(ticket.to_string());
    outgoing.add(name(channel), Item { record, key: Some(key), ticket, deadline: Millis(LATE) });
}

/// The channel of the next call, and its records.
fn next(outgoing: &mut Outgoing<u32>) -> Option<(String, Vec<String>)> {
    outgoing.next_call().map(|call| {
        let records = call.records.iter().map(|record| String::from_utf8(record.to_vec()).unwrap());
        (call.channel.as_str().to_owned(), records.collect())
    })
}

fn call(channel: &str, records: &[&str]) -> Option<(String, Vec<String>)> {
    Some((channel.to_owned(), records.iter().map(|&record| record.to_owned()).collect()))
}

fn id(sequence: u64) -> PublicationId {
    PublicationId { epoch: EPOCH, sequence }
}

fn made(ticket: u32, sequence: u64) -> Settled<u32> {
    Settled { ticket, outcome: Ok(Numbered { id: id(sequence), is_replay: false }) }
}

fn failed(ticket: u32, why: NotPublished) -> Settled<u32> {
    Settled { ticket, outcome: Err(why) }
}

/// Nothing is left of anything.
fn assert_empty(outgoing: &mut Outgoing<u32>) {
    assert_eq!((outgoing.bytes(), outgoing.waiting_len(), outgoing.due()), (0, 0, None));
    assert_eq!(next(outgoing), None);
    assert!(outgoing.slots.is_empty() && outgoing.queues.is_empty());
    assert!(outgoing.ready.is_empty() && outgoing.alarms.is_empty());
}

#[test]
fn what_comes_while_a_call_is_in_flight_goes_as_the_next_one_and_each_has_its_number() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, LATE);
    assert_eq!(next(&mut outgoing), call("a", &["1"]));
    add(&mut outgoing, "a", 2, LATE);
    add(&mut outgoing, "a", 3, LATE);
    assert_eq!(next(&mut outgoing), None);
    assert_eq!(outgoing.answered("a", id(7), 7), [made(1, 7)]);
    assert_eq!(next(&mut outgoing), call("a", &["2", "3"]));
    assert_eq!(outgoing.answered("a", id(9), 10), [made(2, 9), made(3, 10)]);
    assert_empty(&mut outgoing);
}

#[test]
fn channels_take_turns_however_much_one_of_them_has() {
    let mut outgoing = Outgoing::default();
    for ticket in 0..300 {
        add(&mut outgoing, "hot", ticket, LATE);
    }
    add(&mut outgoing, "b", 1_000, LATE);
    add(&mut outgoing, "c", 1_001, LATE);
    assert_eq!(next(&mut outgoing).unwrap().0, "hot");
    assert_eq!(outgoing.answered("hot", id(1), 256).len(), 256);
    assert_eq!(next(&mut outgoing), call("b", &["1000"]));
    assert_eq!(next(&mut outgoing), call("c", &["1001"]));
    assert_eq!(next(&mut outgoing).unwrap().0, "hot");
}

#[test]
fn a_call_has_256_records_and_128_kib_at_most_and_a_longer_record_goes_alone() {
    let mut outgoing = Outgoing::default();
    for ticket in 0..257 {
        add(&mut outgoing, "a", ticket, LATE);
    }
    assert_eq!(next(&mut outgoing).unwrap().1.len(), 256);
    assert_eq!(outgoing.answered("a", id(1), 256).len(), 256);
    for (ticket, len) in [(257, 128 * 1024 - 3), (258, 1), (259, 128 * 1024 + 1), (260, 1)] {
        let item = Item { record: vec![0; len].into(), key: None, ticket, deadline: Millis(LATE) };
        outgoing.add(name("a"), item);
    }
    let mut taken = Vec::new();
    while let Some(call) = outgoing.next_call() {
        taken.push(call.records.iter().map(Bytes::len).collect::<Vec<_>>());
        let last = call.records.len() as u64;
        assert_eq!(outgoing.answered("a", id(1), last).len(), call.records.len());
    }
    assert_eq!(taken, [vec![3, 128 * 1024 - 3], vec![1], vec![128 * 1024 + 1], vec![1]]);
    assert_empty(&mut outgoing);
}

#[test]
fn a_record_with_a_key_goes_alone_and_its_call_says_the_key() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, LATE);
    add_keyed(&mut outgoing, "a", 2, keyed(7, 1));
    add(&mut outgoing, "a", 3, LATE);
    add(&mut outgoing, "a", 4, LATE);
    let first = outgoing.next_call().unwrap();
    assert_eq!((first.key, &first.records[..]), (None, &[Bytes::from("1")][..]));
    let _ = outgoing.answered("a", id(1), 1);
    let second = outgoing.next_call().unwrap();
    assert_eq!((second.key, &second.records[..]), (Some(keyed(7, 1)), &[Bytes::from("2")][..]));
    assert_eq!(outgoing.answered("a", id(2), 2), [made(2, 2)]);
    assert_eq!(next(&mut outgoing), call("a", &["3", "4"]));
}

#[test]
fn a_key_that_redis_knows_from_the_same_publication_is_answered_with_that_and_from_another_refused() {
    let mut outgoing = Outgoing::default();
    for (ticket, fingerprint, outcome) in
        [(1, 5, Ok(Numbered { id: id(3), is_replay: true })), (2, 6, Err(NotPublished::KeyReused))]
    {
        add_keyed(&mut outgoing, "a", ticket, keyed(7, fingerprint));
        assert!(outgoing.next_call().is_some());
        let settled = outgoing.known("a", Fingerprint::test(5), id(3));
        assert_eq!(settled, [Settled { ticket, outcome }]);
    }
    assert_empty(&mut outgoing);
}

#[test]
fn a_call_that_was_not_executed_is_the_same_again_and_later_ones_wait_behind_it() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, LATE);
    assert_eq!(next(&mut outgoing), call("a", &["1"]));
    add(&mut outgoing, "a", 2, LATE);
    outgoing.again("a", Millis(20));
    assert_eq!((next(&mut outgoing), outgoing.due()), (None, Some(Millis(20))));
    assert!(outgoing.expire(Millis(19)).is_empty());
    assert_eq!(next(&mut outgoing), None);
    assert!(outgoing.expire(Millis(20)).is_empty());
    assert_eq!(next(&mut outgoing), call("a", &["1"]));
    outgoing.elsewhere("a");
    assert_eq!(next(&mut outgoing), call("a", &["1"]));
    assert!(outgoing.cut("a", false).is_empty());
    assert_eq!(next(&mut outgoing), call("a", &["1"]));
    assert_eq!(outgoing.answered("a", id(1), 1), [made(1, 1)]);
    assert_eq!(next(&mut outgoing), call("a", &["2"]));
}

#[test]
fn a_call_that_is_refused_for_ever_is_refused_to_all_of_it_and_not_to_what_waits() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, LATE);
    add(&mut outgoing, "a", 2, LATE);
    assert_eq!(next(&mut outgoing), call("a", &["1", "2"]));
    add(&mut outgoing, "a", 3, LATE);
    let refused = [failed(1, NotPublished::Refused), failed(2, NotPublished::Refused)];
    assert_eq!(outgoing.refused("a"), refused);
    assert_eq!((next(&mut outgoing), outgoing.waiting_len()), (call("a", &["3"]), 1));
}

#[test]
fn a_call_that_was_written_and_cut_may_be_executed_and_only_one_with_a_key_is_sent_again() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, LATE);
    add_keyed(&mut outgoing, "a", 2, keyed(7, 1));
    assert_eq!(next(&mut outgoing), call("a", &["1"]));
    assert_eq!(outgoing.cut("a", true), [failed(1, NotPublished::Unanswered)]);
    assert_eq!(next(&mut outgoing), call("a", &["2"]));
    assert!(outgoing.cut("a", true).is_empty());
    assert_eq!(next(&mut outgoing), call("a", &["2"]));
    // It had been executed: that is this very publication, and no replay.
    assert_eq!(outgoing.known("a", Fingerprint::test(1), id(2)), [made(2, 2)]);
    assert_empty(&mut outgoing);
}

#[test]
fn a_publication_with_a_key_that_was_written_once_is_never_called_unpublished() {
    type End = fn(&mut Outgoing<u32>) -> Vec<Settled<u32>>;
    let ends: [End; 3] = [
        |outgoing| outgoing.expire(Millis(LATE)),
        |outgoing| {
            assert!(outgoing.next_call().is_some());
            outgoing.refused("a")
        },
        |outgoing| {
            assert!(outgoing.next_call().is_some());
            assert!(outgoing.cut("a", false).is_empty());
            outgoing.expire(Millis(LATE))
        },
    ];
    for end in ends {
        let mut outgoing = Outgoing::default();
        add_keyed(&mut outgoing, "a", 1, keyed(7, 1));
        assert!(outgoing.next_call().is_some());
        assert!(outgoing.cut("a", true).is_empty());
        assert_eq!(end(&mut outgoing), [failed(1, NotPublished::Unanswered)]);
        assert_empty(&mut outgoing);
    }
}

#[test]
fn what_waits_past_its_deadline_is_refused_and_is_not_sent() {
    let mut outgoing = Outgoing::default();
    for (ticket, deadline) in [(1, 10), (2, 20), (3, 15), (4, 30)] {
        add(&mut outgoing, "a", ticket, deadline);
    }
    add(&mut outgoing, "b", 5, 12);
    assert_eq!(outgoing.due(), Some(Millis(10)));
    assert!(outgoing.expire(Millis(9)).is_empty());
    let refused = [failed(1, NotPublished::Refused), failed(5, NotPublished::Refused)];
    assert_eq!(outgoing.expire(Millis(12)), refused);
    // The third waits as long as the second.
    assert_eq!((outgoing.expire(Millis(19)), outgoing.due()), (vec![], Some(Millis(20))));
    assert_eq!(outgoing.expire(Millis(20)).len(), 2);
    assert_eq!(next(&mut outgoing), call("a", &["4"]));
}

#[test]
fn a_call_in_flight_past_its_deadline_is_unanswered_and_holds_its_place_until_the_late_answer() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, 10);
    add(&mut outgoing, "a", 2, 20);
    assert_eq!(next(&mut outgoing), call("a", &["1", "2"]));
    add(&mut outgoing, "a", 3, 20);
    add(&mut outgoing, "a", 4, 30);
    assert_eq!(outgoing.expire(Millis(10)), [failed(1, NotPublished::Unanswered)]);
    assert_eq!(outgoing.due(), Some(Millis(20)));
    let expired = [failed(2, NotPublished::Unanswered), failed(3, NotPublished::Refused)];
    assert_eq!(outgoing.expire(Millis(20)), expired);
    assert_eq!((next(&mut outgoing), outgoing.waiting_len()), (None, 1));
    assert!(outgoing.answered("a", id(1), 2).is_empty(), "nobody waits for it");
    assert_eq!(next(&mut outgoing), call("a", &["4"]));
    assert_eq!(outgoing.answered("a", id(3), 3), [made(4, 3)]);
    assert_empty(&mut outgoing);
}

#[test]
fn what_has_expired_of_a_call_in_flight_is_not_sent_again_and_the_rest_is() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, 10);
    add(&mut outgoing, "a", 2, 20);
    assert_eq!(next(&mut outgoing), call("a", &["1", "2"]));
    assert_eq!(outgoing.expire(Millis(10)), [failed(1, NotPublished::Unanswered)]);
    outgoing.again("a", Millis(15));
    assert!(outgoing.expire(Millis(15)).is_empty());
    assert_eq!(next(&mut outgoing), call("a", &["2"]));
    assert_eq!(outgoing.expire(Millis(20)), [failed(2, NotPublished::Unanswered)]);
    outgoing.again("a", Millis(25));
    assert_empty(&mut outgoing);
}

#[test]
fn a_pause_that_ends_after_the_last_deadline_leaves_nothing() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, 10);
    assert!(outgoing.next_call().is_some());
    outgoing.again("a", Millis(50));
    assert_eq!(outgoing.expire(Millis(10)), [failed(1, NotPublished::Refused)]);
    assert_empty(&mut outgoing);
}

#[test]
fn an_answer_that_does_not_fit_the_call_says_nothing_of_what_was_made() {
    let mut outgoing = Outgoing::default();
    for (first, last) in [(1, 1), (1, 3), (5, 4), (0, u64::MAX), (u64::MAX, 0), (u64::MAX, u64::MAX)] {
        add(&mut outgoing, "a", 1, LATE);
        add(&mut outgoing, "a", 2, LATE);
        assert!(outgoing.next_call().is_some());
        let unanswered = [failed(1, NotPublished::Unanswered), failed(2, NotPublished::Unanswered)];
        assert_eq!(outgoing.answered("a", id(first), last), unanswered, "{first} to {last}");
    }
    add(&mut outgoing, "a", 3, LATE);
    assert!(outgoing.next_call().is_some());
    let settled = outgoing.known("a", Fingerprint::test(0), id(1));
    assert_eq!(settled, [failed(3, NotPublished::Unanswered)], "it has no key");
    assert_empty(&mut outgoing);
}

#[test]
fn what_is_said_of_a_channel_without_a_call_in_flight_changes_nothing() {
    let mut outgoing = Outgoing::default();
    add(&mut outgoing, "a", 1, LATE);
    for channel in ["a", "b"] {
        assert!(outgoing.answered(channel, id(1), 1).is_empty());
        assert!(outgoing.known(channel, Fingerprint::test(1), id(1)).is_empty());
        assert!(outgoing.refused(channel).is_empty() && outgoing.cut(channel, true).is_empty());
        outgoing.again(channel, Millis(5));
        outgoing.elsewhere(channel);
    }
    assert_eq!(next(&mut outgoing), call("a", &["1"]));
}

#[test]
fn everything_is_counted_while_it_is_held_and_tables_of_many_channels_are_freed() {
    let mut outgoing = Outgoing::default();
    for ticket in 0..1_000 {
        add(&mut outgoing, &format!("c{ticket}"), ticket, 10 + u64::from(ticket));
    }
    let each = CHANNEL_LEN + size_of::<Entry<u32>>();
    let digits = 10 + 90 * 2 + 900 * 3;
    assert_eq!((outgoing.bytes(), outgoing.waiting_len()), (1_000 * each + digits, 1_000));
    let first = outgoing.next_call().unwrap();
    assert_eq!(first.channel.as_str(), "c0");
    assert_eq!(outgoing.expire(Millis(u64::MAX)).len(), 1_000);
    assert_eq!((outgoing.bytes(), outgoing.waiting_len()), (each, 0), "its answer is still to come");
    assert!(outgoing.answered("c0", id(1), 1).is_empty());
    assert_empty(&mut outgoing);
    assert!(outgoing.queues.capacity() <= KEPT_LEN_MIN && outgoing.slots.capacity() <= KEPT_LEN_MIN);
}

#[test]
fn the_deadline_of_a_call_is_that_of_its_first_record_that_is_not_settled() {
    let mut outgoing = Outgoing::default();
    assert_eq!(outgoing.deadline_of("a"), None);
    let item =
        |ticket, deadline| Item { record: Bytes::new(), key: None, ticket, deadline: Millis(deadline) };
    let channel = || ChannelName::new("a").unwrap();
    outgoing.add(channel(), item(1, 5));
    outgoing.add(channel(), item(2, 9));
    assert_eq!(outgoing.deadline_of("a"), None, "it is not called yet");
    assert!(outgoing.next_call().is_some());
    assert_eq!(outgoing.deadline_of("a"), Some(Millis(5)));
    assert_eq!(outgoing.expire(Millis(5)).len(), 1);
    assert_eq!(outgoing.deadline_of("a"), Some(Millis(9)));
}
