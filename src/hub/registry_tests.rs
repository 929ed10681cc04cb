//! The hub from outside: what subscribers read, what is kept, what is forgotten.

use super::*;

fn name(name: &str) -> ChannelName {
    ChannelName::new(name).unwrap()
}

/// Publishes a text that says its form: `w:` before what the plain form carries, `e:` before an envelope's.
fn publish(hub: &mut Hub, channel: &str, text: &str) {
    hub.append(channel, |form, out| {
        out.extend_from_slice(if form.is_envelope() { b"e:" } else { b"w:" });
        out.extend_from_slice(text.as_bytes());
    });
}

fn unread(hub: &Hub, subscription: Subscription) -> String {
    String::from_utf8(hub.unread(subscription).to_vec()).unwrap()
}

#[test]
fn a_subscriber_can_be_told_how_many_publications_it_has_not_read() {
    let mut hub = Hub::default();
    publish(&mut hub, "a", "before");
    let subscription = hub.subscribe(&name("a"), WireForm::LongPoll, 1);
    assert_eq!(hub.unread_publications(subscription), 0);
    publish(&mut hub, "a", "one");
    publish(&mut hub, "a", "two");
    assert_eq!(hub.unread_publications(subscription), 2);
}

/// As `publish`, to all subscribers but one.
fn publish_excluding(hub: &mut Hub, excluded: Subscription, text: &str) {
    hub.append_excluding("a", Some(excluded), |form, out| {
        out.extend_from_slice(if form.is_envelope() { b"e:" } else { b"w:" });
        out.extend_from_slice(text.as_bytes());
    });
}

/// What the subscriber has to read, its runs divided by a bar.
fn runs(hub: &Hub, subscription: Subscription) -> String {
    let runs: Vec<&str> = hub.unread_runs(subscription).map(|run| str::from_utf8(run).unwrap()).collect();
    runs.join("|")
}

fn dirty_len(hub: &mut Hub) -> usize {
    std::iter::from_fn(|| hub.pop_dirty()).count()
}

#[test]
fn a_subscriber_reads_its_channel_in_its_form_from_now_on() {
    let mut hub = Hub::default();
    publish(&mut hub, "a", "before");
    let plain = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let envelope = hub.subscribe(&name("a"), WireForm::Envelope, 2);
    let other = hub.subscribe(&name("b"), WireForm::WebSocket, 3);
    publish(&mut hub, "a", "1");
    assert_eq!(unread(&hub, plain), "w:1");
    assert_eq!(unread(&hub, envelope), "e:1");
    assert_eq!(unread(&hub, other), "");
}

#[test]
fn a_form_without_subscribers_is_not_encoded() {
    let mut hub = Hub::default();
    let _ = hub.subscribe(&name("a"), WireForm::Envelope, 1);
    let mut asked = Vec::new();
    hub.append("a", |form, out| {
        asked.push(form);
        out.push(0);
    });
    hub.append("nobody", |form, _| panic!("{form:?} of a channel without subscribers"));
    assert_eq!(asked, [WireForm::Envelope]);
}

#[test]
fn a_publication_is_encoded_once_however_many_subscribers_read_it() {
    let mut hub = Hub::default();
    for owner in 0..1000 {
        let _ = hub.subscribe(&name("a"), WireForm::WebSocket, owner);
    }
    let mut times = 0;
    hub.append("a", |_, out| {
        times += 1;
        out.push(0);
    });
    assert_eq!(times, 1);
}

#[test]
fn a_log_is_dirty_once_however_often_it_is_appended_to() {
    let mut hub = Hub::default();
    let _ = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    publish(&mut hub, "a", "1");
    publish(&mut hub, "a", "2");
    assert_eq!(dirty_len(&mut hub), 1);
    assert_eq!(dirty_len(&mut hub), 0);
    publish(&mut hub, "a", "3");
    assert_eq!(dirty_len(&mut hub), 1);
}

#[test]
fn a_publication_that_a_form_cannot_express_leaves_its_log_as_it_was() {
    let mut hub = Hub::default();
    let fast = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let slow = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "12");
    hub.advance(fast, 4);
    assert_eq!(dirty_len(&mut hub), 1);
    hub.append("a", |_, _| {});
    assert_eq!(dirty_len(&mut hub), 0, "nothing is new");
    hub.advance(slow, 4);
    assert_eq!(hub.log_bytes(), 0, "every subscriber has caught up");
}

#[test]
fn a_dirty_log_whose_subscribers_have_left_is_passed_over() {
    let mut hub = Hub::default();
    let a = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    publish(&mut hub, "a", "1");
    hub.unsubscribe(a);
    let b = hub.subscribe(&name("b"), WireForm::WebSocket, 2);
    assert_eq!(dirty_len(&mut hub), 0, "the place is another channel's, and clean");
    publish(&mut hub, "b", "1");
    assert_eq!(dirty_len(&mut hub), 1);
    assert_eq!(unread(&hub, b), "w:1");
}

#[test]
fn the_owners_of_a_log_are_found_by_place_without_holes() {
    let mut hub = Hub::default();
    let kept = hub.subscribe(&name("a"), WireForm::WebSocket, 11);
    let gone = hub.subscribe(&name("a"), WireForm::WebSocket, 12);
    let _ = hub.subscribe(&name("a"), WireForm::WebSocket, 13);
    hub.unsubscribe(gone);
    publish(&mut hub, "a", "1");
    let log = hub.pop_dirty().unwrap();
    let owners: Vec<u64> = (0..hub.readers_len(log)).map(|at| hub.reader_at(log, at).unwrap().1).collect();
    assert_eq!(owners, [11, 13]);
    assert_eq!(hub.reader_at(log, 0), Some((kept, 11)));
    assert_eq!(hub.reader_at(log, 2), None);
}

#[test]
fn a_walk_from_the_last_to_the_first_visits_each_subscriber_once_though_every_second_one_leaves_in_it() {
    let mut hub = Hub::default();
    for owner in 0..100 {
        let _ = hub.subscribe(&name("a"), WireForm::WebSocket, owner);
    }
    publish(&mut hub, "a", "1");
    let log = hub.pop_dirty().unwrap();
    let mut met = Vec::new();
    for place in (0..hub.readers_len(log)).rev() {
        let (subscription, owner) = hub.reader_at(log, place).unwrap();
        met.push(owner);
        if owner % 2 == 0 {
            hub.unsubscribe(subscription);
        }
    }
    met.sort_unstable();
    assert_eq!(met, (0..100).collect::<Vec<_>>());
    assert_eq!(hub.readers_len(log), 50);
}

#[test]
fn a_walk_in_the_order_of_joining_visits_each_subscriber_once_whichever_of_them_leave_in_it() {
    for leaves in [|_| false, |_| true, |owner| owner % 2 == 0, |owner| owner % 2 == 1, |owner| owner > 90] {
        let leaves: fn(u64) -> bool = leaves;
        let mut hub = Hub::default();
        for owner in 0..100 {
            let _ = hub.subscribe(&name("a"), WireForm::WebSocket, owner);
        }
        publish(&mut hub, "a", "1");
        let log = hub.pop_dirty().unwrap();
        let (mut met, mut place) = (Vec::new(), 0);
        while let Some((subscription, owner)) = hub.reader_at(log, place) {
            met.push(owner);
            if leaves(owner) {
                hub.unsubscribe(subscription);
            }
            place = hub.place_after(log, place, subscription);
        }
        let stayed = (0..100).filter(|&owner| !leaves(owner)).count();
        assert_eq!((met.len(), hub.readers_len(log)), (100, stayed));
        met.sort_unstable();
        assert_eq!(met, (0..100).collect::<Vec<_>>());
    }
}

#[test]
fn nothing_is_kept_once_every_subscriber_has_read_it() {
    let mut hub = Hub::default();
    let fast = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let slow = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "12");
    hub.advance(fast, 4);
    assert_eq!(hub.log_bytes(), 4);
    hub.advance(slow, 3);
    assert_eq!((hub.started(slow), hub.log_bytes()), (&b"2"[..], 4));
    hub.advance(slow, 1);
    assert_eq!(hub.log_bytes(), 0);
}

#[test]
fn a_subscriber_that_leaves_takes_what_only_it_had_not_read() {
    let mut hub = Hub::default();
    let fast = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let slow = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "12");
    hub.advance(fast, 4);
    hub.unsubscribe(slow);
    assert_eq!(hub.log_bytes(), 0);
    hub.unsubscribe(fast);
    assert_eq!(hub.channels_len(), 0);
}

#[test]
fn trimming_keeps_what_the_slowest_has_not_read() {
    let mut hub = Hub::default();
    let fast = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let slow = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    for text in ["1", "2", "3"] {
        publish(&mut hub, "a", text);
    }
    hub.advance(fast, 9);
    hub.advance(slow, 3);
    let log = hub.pop_dirty().unwrap();
    hub.trim(log);
    assert_eq!((hub.log_bytes(), unread(&hub, slow)), (6, "w:2w:3".into()));
}

#[test]
fn skipped_publications_are_counted_until_they_are_reported() {
    let mut hub = Hub::default();
    let slow = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    for text in ["1", "2", "3", "4"] {
        publish(&mut hub, "a", text);
    }
    hub.skip_oldest(slow, 9);
    assert_eq!(unread(&hub, slow), "w:2w:3w:4");
    hub.skip_to_newest(slow, 9);
    assert_eq!(unread(&hub, slow), "w:4");
    assert_eq!((hub.take_missed(slow), hub.take_missed(slow)), (3, 0));
}

#[test]
fn a_subscriber_is_as_many_bytes_behind_as_it_has_not_read() {
    let mut hub = Hub::default();
    let slow = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    assert_eq!(hub.lag(slow), 0);
    publish(&mut hub, "a", "1234");
    hub.advance(slow, 2);
    assert_eq!(hub.lag(slow), 4);
}

#[test]
fn the_longest_log_is_that_of_the_reader_furthest_behind_once_it_is_trimmed() {
    let mut hub = Hub::default();
    let a = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let b = hub.subscribe(&name("b"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "12345678");
    publish(&mut hub, "b", "1234");
    assert_eq!(hub.lag_max(), 0, "a log that has not been flushed yet is not listed");
    hub.trim(hub.log(a));
    hub.trim(hub.log(b));
    assert_eq!(hub.lag_max(), 10);
    publish(&mut hub, "b", "12345678");
    hub.trim(hub.log(b));
    assert_eq!(hub.lag_max(), 16);
    hub.advance(b, 16);
    assert_eq!(hub.lag_max(), 10, "a log that every subscriber has read is not listed");
    hub.unsubscribe(a);
    assert_eq!(hub.lag_max(), 0);
}

#[test]
fn a_delivery_is_a_publication_for_a_subscriber_by_form() {
    let mut hub = Hub::default();
    let _ = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let _ = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    let _ = hub.subscribe(&name("a"), WireForm::Envelope, 3);
    publish(&mut hub, "a", "1");
    publish(&mut hub, "a", "2");
    publish(&mut hub, "nobody", "3");
    assert_eq!(hub.deliveries()[WireForm::WebSocket.index()], 4);
    assert_eq!(hub.deliveries()[WireForm::Envelope.index()], 2);
    assert_eq!(hub.deliveries().iter().sum::<u64>(), 6);
}

#[test]
fn skipped_publications_are_also_counted_in_all() {
    let mut hub = Hub::default();
    let a = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let b = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    for text in ["1", "2", "3"] {
        publish(&mut hub, "a", text);
    }
    hub.skip_to_newest(a, 9);
    hub.skip_oldest(b, 6);
    assert_eq!(hub.passed_over(), 3);
    assert_eq!((hub.take_missed(a), hub.passed_over()), (2, 3), "also when they have been reported");
}

#[test]
fn a_caught_up_subscriber_that_is_excluded_has_nothing_to_read() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let other = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish_excluding(&mut hub, sender, "1");
    assert_eq!((hub.lag(sender), runs(&hub, sender)), (0, String::new()));
    assert_eq!((hub.lag(other), runs(&hub, other)), (3, "w:1".into()));
    hub.advance(other, 3);
    assert_eq!(hub.log_bytes(), 0, "the excluded subscriber does not keep the frame");
    publish(&mut hub, "a", "2");
    assert_eq!((runs(&hub, sender), runs(&hub, other)), ("w:2".into(), "w:2".into()));
}

#[test]
fn the_run_of_a_lagging_subscriber_ends_before_the_frame_that_excludes_it_and_goes_on_after_it() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let other = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "1");
    publish_excluding(&mut hub, sender, "own");
    publish_excluding(&mut hub, sender, "own");
    publish(&mut hub, "a", "2");
    publish_excluding(&mut hub, sender, "own");
    assert_eq!((unread(&hub, sender), runs(&hub, sender)), ("w:1".into(), "w:1|w:2".into()));
    assert_eq!((hub.unread_publications(sender), hub.unread_publications(other)), (2, 5));
    hub.advance(sender, 1);
    assert_eq!((hub.started(sender), unread(&hub, sender)), (&b":1"[..], ":1".into()));
    hub.advance(sender, 2);
    assert_eq!((unread(&hub, sender), hub.unread_publications(sender)), ("w:2".into(), 1));
    hub.advance(sender, 3);
    assert_eq!((hub.lag(sender), unread(&hub, sender)), (0, String::new()));
    assert_eq!(unread(&hub, other), "w:1w:ownw:ownw:2w:own");
}

#[test]
fn one_write_may_cross_the_frames_that_a_subscriber_steps_over() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let other = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "1");
    publish_excluding(&mut hub, sender, "own");
    publish(&mut hub, "a", "2");
    publish_excluding(&mut hub, sender, "own");
    publish(&mut hub, "a", "3");
    hub.advance(sender, 6);
    assert_eq!((hub.started(sender), runs(&hub, sender)), (&b""[..], "w:3".into()));
    hub.advance(sender, 2);
    assert_eq!(hub.started(sender), b"3");
    hub.advance(sender, 1);
    hub.advance(other, 19);
    assert_eq!((hub.lag(sender), hub.lag(other), hub.log_bytes()), (0, 0, 0));
}

#[test]
fn every_form_but_the_excluded_subscribers_gets_the_publication_as_ever() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::Envelope, 1);
    let [plain, envelope] =
        [WireForm::WebSocket, WireForm::Envelope].map(|form| hub.subscribe(&name("a"), form, 2));
    publish_excluding(&mut hub, sender, "1");
    assert_eq!([sender, plain, envelope].map(|reader| runs(&hub, reader)), ["", "w:1", "e:1"]);
    assert_eq!(hub.deliveries()[WireForm::WebSocket.index()], 1);
    assert_eq!(hub.deliveries()[WireForm::Envelope.index()], 1);
}

#[test]
fn a_form_that_only_the_excluded_subscriber_reads_is_not_encoded() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    hub.append_excluding("a", Some(sender), |form, _| panic!("{form:?} is read by nobody else"));
    assert_eq!((hub.lag(sender), hub.log_bytes(), dirty_len(&mut hub)), (0, 0, 0));
    assert_eq!(hub.deliveries().iter().sum::<u64>(), 0);
}

#[test]
fn publications_that_exclude_a_subscriber_are_not_among_those_that_it_missed() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let other = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "1");
    publish_excluding(&mut hub, sender, "own");
    publish(&mut hub, "a", "2");
    publish_excluding(&mut hub, sender, "own");
    hub.skip_oldest(sender, 9);
    assert_eq!((runs(&hub, sender), hub.take_missed(sender)), ("w:2".into(), 1));
    hub.skip_to_newest(other, 9);
    assert_eq!((runs(&hub, other), hub.take_missed(other)), ("w:own".into(), 3));
    assert_eq!(hub.passed_over(), 4);
}

#[test]
fn the_newest_publication_that_does_not_exclude_a_subscriber_is_not_skipped() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let _other = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "1");
    publish(&mut hub, "a", "newest");
    publish_excluding(&mut hub, sender, "own");
    assert!(hub.is_lagged(sender, 5));
    hub.skip_to_newest(sender, 5);
    assert_eq!((runs(&hub, sender), hub.take_missed(sender)), ("w:newest".into(), 1));
    assert!(!hub.is_lagged(sender, 5), "it has one publication to read");
}

#[test]
fn a_subscriber_that_publishes_and_does_not_read_is_lagged_by_its_own_publications() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let other = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "1");
    for _ in 0..3 {
        publish_excluding(&mut hub, sender, "own");
    }
    hub.advance(other, 18);
    assert_eq!([sender, other].map(|one| hub.other_len(one)), [15, 0]);
    assert!(!hub.is_lagged(sender, 15));
    assert!(hub.is_lagged(sender, 14), "the log keeps 18 bytes for it");
    hub.skip_to_newest(sender, 14);
    assert_eq!((hub.lag(sender), hub.log_bytes(), hub.take_missed(sender)), (0, 0, 1));
}

#[test]
fn a_new_subscriber_in_the_slot_of_an_excluded_one_reads_everything() {
    let mut hub = Hub::default();
    let sender = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
    let _other = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish(&mut hub, "a", "1");
    publish_excluding(&mut hub, sender, "own");
    hub.unsubscribe(sender);
    let newcomer = hub.subscribe(&name("a"), WireForm::WebSocket, 3);
    assert_eq!(newcomer, sender, "the slot is used again");
    publish(&mut hub, "a", "2");
    publish(&mut hub, "a", "3");
    assert_eq!(runs(&hub, newcomer), "w:2w:3");
}

#[test]
#[should_panic(expected = "an excluded subscription is one of the channel")]
fn a_subscriber_of_another_channel_cannot_be_excluded() {
    let mut hub = Hub::default();
    let elsewhere = hub.subscribe(&name("b"), WireForm::WebSocket, 1);
    let _ = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
    publish_excluding(&mut hub, elsewhere, "1");
}

#[test]
fn an_owner_is_met_once_for_each_of_its_subscriptions() {
    let mut hub = Hub::default();
    let a = hub.subscribe(&name("a"), WireForm::WebSocket, 7);
    let b = hub.subscribe(&name("b"), WireForm::WebSocket, 7);
    let again = hub.subscribe(&name("a"), WireForm::WebSocket, 7);
    publish(&mut hub, "a", "1");
    publish(&mut hub, "b", "2");
    let mut met = Vec::new();
    while let Some(log) = hub.pop_dirty() {
        met.extend((0..hub.readers_len(log)).filter_map(|place| hub.reader_at(log, place)));
    }
    met.sort_by_key(|(subscription, _)| (hub.log(*subscription), subscription.slot));
    assert_eq!(met, [(a, 7), (again, 7), (b, 7)]);
    hub.unsubscribe(a);
    assert_eq!((runs(&hub, again), runs(&hub, b)), ("w:1".into(), "w:2".into()));
}

#[test]
fn a_subscriber_is_after_what_it_has_begun_skipped_or_found() {
    let id = |sequence| PublicationId { epoch: 7, sequence };
    let mut hub = Hub::default();
    let reader = hub.subscribe(&name("a"), WireForm::NamedEnvelope, 1);
    assert_eq!(hub.position(reader), None);
    hub.note_newest(reader, id(4));
    for sequence in 5..=8 {
        let sending = Sending { says: Says::Publication(Some(id(sequence))), ..Sending::default() };
        hub.append_with("a", sending, |_, out| out.extend_from_slice(b"xy"));
    }
    assert_eq!(hub.position(reader), Some(id(4)));
    hub.advance(reader, 1);
    assert_eq!(hub.position(reader), Some(id(5)));
    hub.advance(reader, 1);
    hub.skip_to_newest(reader, 1);
    assert_eq!(hub.position(reader), Some(id(7)));
    hub.advance(reader, 2);
    let newcomer = hub.subscribe(&name("a"), WireForm::NamedEnvelope, 2);
    assert_eq!((hub.position(reader), hub.position(newcomer)), (Some(id(8)), Some(id(8))));
}

#[test]
fn a_subscriber_advances_by_what_there_is_at_most_and_over_what_excludes_it() {
    for is_excluded in [false, true] {
        for len_max in 0..12 {
            let mut hub = Hub::default();
            let subscriber = hub.subscribe(&name("a"), WireForm::WebSocket, 1);
            let _other = hub.subscribe(&name("a"), WireForm::WebSocket, 2);
            publish(&mut hub, "a", "1");
            let excluded = is_excluded.then_some(subscriber);
            hub.append_excluding("a", excluded, |_, out| out.extend_from_slice(b"own"));
            publish(&mut hub, "a", "2");
            let all: Vec<u8> = hub.unread_runs(subscriber).flatten().copied().collect();
            let taken = len_max.min(all.len());
            assert_eq!(hub.advance_within(subscriber, len_max), (taken, taken < all.len()));
            let left: Vec<u8> = hub.unread_runs(subscriber).flatten().copied().collect();
            assert_eq!(left, all[taken..]);
            assert_eq!(hub.lag(subscriber) > 0, taken < all.len());
        }
    }
}
