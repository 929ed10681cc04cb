//! The queue of a receiver, driven by hand.

use super::*;

const TIMING: Timing = Timing::DEFAULT;

fn queue() -> WebhookQueue {
    bounded(Bounds::default())
}

fn bounded(bounds: Bounds) -> WebhookQueue {
    WebhookQueue::new(Kinds::listed(&[]), TIMING, bounds)
}

fn listing(kinds: &[WebhookEvent]) -> WebhookQueue {
    WebhookQueue::new(Kinds::listed(kinds), TIMING, Bounds::default())
}

fn occupied(channel: &str) -> Event {
    Event::ChannelOccupied { channel: channel.into() }
}

fn vacated(channel: &str) -> Event {
    Event::ChannelVacated { channel: channel.into() }
}

fn added(user_id: &str) -> Event {
    Event::MemberAdded { channel: "presence-a".into(), user_id: user_id.into() }
}

fn removed(user_id: &str) -> Event {
    Event::MemberRemoved { channel: "presence-a".into(), user_id: user_id.into() }
}

fn count(channel: &str, subscription_count: u64) -> Event {
    Event::SubscriptionCount { channel: channel.into(), subscription_count }
}

fn miss(channel: &str) -> Event {
    Event::CacheMiss { channel: channel.into() }
}

fn sent(data: &str) -> Event {
    Event::client_event("private-a", "client-x", data, "1.2", None)
}

fn push(queue: &mut WebhookQueue, event: &Event, now_ms: u64) -> Pushed {
    queue.push(event, &event.to_json().into(), now_ms)
}

/// A request with these events.
fn send(events: &[Event]) -> Next {
    Next::Send(events.iter().map(|event| event.to_json().into()).collect())
}

#[test]
fn events_within_a_tenth_of_a_second_share_a_request() {
    let mut queue = queue();
    assert_eq!(push(&mut queue, &occupied("a"), 1_000), Pushed::Waits(1_100));
    assert_eq!(queue.next(1_000), Next::WaitUntil(1_100));
    assert_eq!(push(&mut queue, &occupied("b"), 1_090), Pushed::Waits(1_190));
    assert_eq!(queue.next(1_099), Next::WaitUntil(1_100));
    assert_eq!(queue.next(1_100), send(&[occupied("a"), occupied("b")]));
    assert_eq!(queue.taken(), 2);
    assert_eq!(queue.next(9_000), Next::Wait);
    assert_eq!(queue.counts(), Counts { sent: 2, ..Counts::default() });
}

#[test]
fn a_full_request_does_not_wait() {
    let mut queue = bounded(Bounds { batch_events_max: 2, ..Bounds::default() });
    for data in ["1", "2", "3"] {
        let _ = push(&mut queue, &sent(data), 0);
    }
    assert_eq!(queue.next(0), send(&[sent("1"), sent("2")]));
    queue.taken();
    assert_eq!(queue.next(0), Next::WaitUntil(100));
    assert_eq!(queue.next(100), send(&[sent("3")]));
}

#[test]
fn a_request_holds_a_bounded_number_of_bytes_or_one_event() {
    let event = |c: &str| sent(&format!("\"{}\"", c.repeat(50)));
    let len = event("a").to_json().len();
    let mut queue = bounded(Bounds { batch_len_max: 2 * len, ..Bounds::default() });
    for c in ["a", "b", "c"] {
        let _ = push(&mut queue, &event(c), 0);
    }
    assert_eq!(queue.next(0), send(&[event("a"), event("b")]), "the next one would not fit");
    queue.taken();
    let _ = push(&mut queue, &sent(&format!("\"{}\"", "x".repeat(3 * len))), 1);
    assert_eq!(queue.next(1), send(&[event("c")]));
    queue.taken();
    let Next::Send(long) = queue.next(101) else { panic!("it is due") };
    assert_eq!(long.len(), 1);
}

#[test]
fn nothing_is_sent_while_a_request_is_under_way() {
    let mut queue = queue();
    let _ = push(&mut queue, &sent("1"), 0);
    assert_eq!(queue.next(100), send(&[sent("1")]));
    let _ = push(&mut queue, &sent("2"), 100);
    assert_eq!(queue.next(5_000), Next::Wait);
    assert_eq!(queue.counts().queued, 2);
    assert_eq!(queue.taken(), 1);
    assert_eq!(queue.next(5_000), send(&[sent("2")]));
}

#[test]
fn a_channel_that_is_occupied_again_within_3_s_was_never_vacated() {
    let mut queue = queue();
    assert_eq!(push(&mut queue, &vacated("a"), 0), Pushed::Waits(3_100));
    assert_eq!(push(&mut queue, &occupied("a"), 2_999), Pushed::Settled);
    assert_eq!(queue.next(99_999), Next::Wait);
    assert_eq!(queue.counts(), Counts::default());
}

#[test]
fn a_channel_that_is_occupied_again_after_3_s_was_vacated() {
    let mut queue = queue();
    let _ = push(&mut queue, &vacated("a"), 0);
    assert_eq!(push(&mut queue, &occupied("a"), 3_000), Pushed::Waits(3_100));
    assert_eq!(queue.next(3_100), send(&[vacated("a"), occupied("a")]));
}

#[test]
fn a_new_channel_that_is_left_at_once_is_reported_twice() {
    let mut queue = queue();
    let _ = push(&mut queue, &occupied("a"), 0);
    let _ = push(&mut queue, &vacated("a"), 0);
    assert_eq!(queue.next(100), send(&[occupied("a")]));
    queue.taken();
    assert_eq!(queue.next(100), Next::WaitUntil(3_100));
    assert_eq!(queue.next(3_100), send(&[vacated("a")]));
}

#[test]
fn a_member_who_is_back_within_3_s_never_left() {
    let mut queue = queue();
    let _ = push(&mut queue, &removed("1"), 0);
    let _ = push(&mut queue, &removed("2"), 1);
    assert_eq!(push(&mut queue, &added("2"), 3_000), Pushed::Settled);
    assert_eq!(push(&mut queue, &added("1"), 3_000), Pushed::Waits(3_100), "that one was too late");
    assert_eq!(queue.next(3_100), send(&[removed("1"), added("1")]));
}

#[test]
fn a_return_cancels_the_departure_of_its_own_channel_and_user_only() {
    let mut queue = queue();
    let _ = push(&mut queue, &vacated("presence-a"), 0);
    let _ = push(&mut queue, &removed("1"), 0);
    let elsewhere = Event::MemberAdded { channel: "presence-b".into(), user_id: "1".into() };
    let others = [occupied("b"), added("2"), elsewhere];
    for event in &others {
        assert_eq!(push(&mut queue, event, 0), Pushed::Waits(100), "{event:?}");
    }
    assert_eq!(queue.next(100), send(&others));
    queue.taken();
    assert_eq!(queue.next(3_100), send(&[vacated("presence-a"), removed("1")]));
}

#[test]
fn a_channel_may_come_and_go_any_number_of_times_within_the_delay() {
    let mut queue = queue();
    for round in 0..1_000 {
        let _ = push(&mut queue, &vacated("a"), round);
        let _ = push(&mut queue, &occupied("a"), round);
    }
    assert_eq!((queue.counts().queued, queue.len, queue.subjects.len()), (0, 0, 0));
    let _ = push(&mut queue, &vacated("a"), 2_000);
    assert_eq!(push(&mut queue, &vacated("a"), 2_001), Pushed::Settled);
    assert_eq!(queue.next(5_100), send(&[vacated("a")]));
}

#[test]
fn a_return_cancels_for_a_receiver_that_is_not_told_of_returns() {
    let mut queue = listing(&[WebhookEvent::ChannelVacated]);
    let _ = push(&mut queue, &vacated("a"), 0);
    assert_eq!(push(&mut queue, &occupied("a"), 1), Pushed::Settled);
    assert_eq!(queue.next(9_000), Next::Wait);
}

#[test]
fn a_receiver_that_is_not_told_of_departures_is_told_of_every_arrival() {
    let mut queue = listing(&[WebhookEvent::ChannelOccupied]);
    assert_eq!(push(&mut queue, &vacated("a"), 0), Pushed::Settled);
    assert_eq!(push(&mut queue, &occupied("a"), 1), Pushed::Waits(101));
    assert_eq!(push(&mut queue, &sent("1"), 1), Pushed::Settled);
    assert_eq!(queue.next(101), send(&[occupied("a")]));
}

#[test]
fn of_several_waiting_counts_of_a_channel_the_newest_is_sent_in_the_place_of_the_first() {
    let mut queue = queue();
    let _ = push(&mut queue, &count("a", 1), 0);
    let _ = push(&mut queue, &sent("1"), 0);
    assert_eq!(push(&mut queue, &count("a", 2), 50), Pushed::Settled);
    let _ = push(&mut queue, &count("b", 9), 50);
    assert_eq!(push(&mut queue, &count("a", 13), 99), Pushed::Settled);
    assert_eq!(queue.next(100), send(&[count("a", 13), sent("1"), count("b", 9)]));
    // One that is being sent keeps its number.
    assert_eq!(push(&mut queue, &count("a", 4), 100), Pushed::Waits(200));
    assert_eq!(push(&mut queue, &count("a", 5), 100), Pushed::Settled);
    queue.taken();
    assert_eq!(queue.next(200), send(&[count("a", 5)]));
    queue.taken();
    assert_eq!(queue.len, 0);
}

#[test]
fn a_cache_miss_is_not_repeated_while_one_waits() {
    let mut queue = queue();
    for _ in 0..3 {
        let _ = push(&mut queue, &miss("cache-a"), 0);
    }
    let _ = push(&mut queue, &miss("cache-b"), 0);
    assert_eq!(queue.next(100), send(&[miss("cache-a"), miss("cache-b")]));
}

#[test]
fn a_failed_request_is_repeated_with_pauses_that_double_to_10_s() {
    let mut queue = queue();
    let _ = push(&mut queue, &sent("1"), 0);
    let mut now_ms = 100;
    for pause_ms in [1_000, 2_000, 4_000, 8_000, 10_000, 10_000] {
        assert_eq!(queue.next(now_ms), send(&[sent("1")]));
        assert_eq!(queue.failed(now_ms), 0);
        assert_eq!(queue.next(now_ms + pause_ms - 1), Next::WaitUntil(now_ms + pause_ms));
        now_ms += pause_ms;
    }
    assert_eq!(queue.next(now_ms), send(&[sent("1")]));
    queue.taken();
    // The next failure begins with the shortest pause.
    let _ = push(&mut queue, &sent("2"), now_ms);
    assert_eq!(queue.next(now_ms + 100), send(&[sent("2")]));
    queue.failed(now_ms + 100);
    assert_eq!(queue.next(now_ms + 100), Next::WaitUntil(now_ms + 1_100));
    assert_eq!(queue.counts(), Counts { queued: 1, sent: 1, failed: 7, dropped: 0 });
}

#[test]
fn what_came_during_a_pause_is_sent_with_what_is_repeated_and_after_it() {
    let mut queue = queue();
    let _ = push(&mut queue, &sent("1"), 0);
    let _ = queue.next(100);
    let _ = push(&mut queue, &sent("2"), 100);
    queue.failed(200);
    assert_eq!(push(&mut queue, &sent("3"), 300), Pushed::Waits(1_200), "the pause ends then");
    assert_eq!(queue.next(1_200), send(&[sent("1"), sent("2"), sent("3")]));
}

/// Fails every attempt until the queue is empty; returns when the last one began.
fn fail_until_dropped(queue: &mut WebhookQueue, attempt_ms: u64) -> u64 {
    let (mut now_ms, mut began_ms) = (0, 0);
    loop {
        match queue.next(now_ms) {
            Next::Send(_) => {
                began_ms = now_ms;
                now_ms += attempt_ms;
                queue.failed(now_ms);
            }
            Next::WaitUntil(at_ms) => now_ms = at_ms,
            Next::Wait => return began_ms,
        }
    }
}

#[test]
fn an_event_is_dropped_after_an_attempt_that_began_between_280_and_300_s_failed() {
    for attempt_ms in [0, 5_000, 10_000] {
        let mut queue = queue();
        let _ = push(&mut queue, &sent("1"), 0);
        let began_ms = fail_until_dropped(&mut queue, attempt_ms);
        assert!((280_000..300_000).contains(&began_ms), "{began_ms}");
        assert_eq!((queue.counts().dropped, queue.len), (1, 0));
    }
}

#[test]
fn each_event_of_a_request_has_its_own_time_of_retries() {
    let mut queue = queue();
    let _ = push(&mut queue, &sent("old"), 0);
    let _ = queue.next(100);
    queue.failed(100);
    let _ = push(&mut queue, &sent("young"), 50_000);
    assert_eq!(queue.next(280_099), send(&[sent("old"), sent("young")]));
    assert_eq!(queue.failed(280_099), 0);
    assert_eq!(queue.next(290_000), send(&[sent("old"), sent("young")]));
    assert_eq!(queue.failed(290_000), 1);
    assert_eq!(queue.next(300_000), send(&[sent("young")]));
    assert_eq!(queue.failed(300_000), 0);
    assert_eq!(queue.next(330_000), send(&[sent("young")]));
    assert_eq!(queue.failed(330_000), 1);
}

#[test]
fn an_event_that_waited_behind_others_for_the_time_of_retries_is_retried_as_well() {
    let mut queue = bounded(Bounds { batch_events_max: 1, ..Bounds::default() });
    let _ = push(&mut queue, &sent("1"), 0);
    let _ = push(&mut queue, &sent("2"), 0);
    let _ = queue.next(0);
    queue.taken();
    assert_eq!(queue.next(400_000), send(&[sent("2")]));
    assert_eq!(queue.failed(400_000), 0, "the receiver has failed once");
    assert_eq!(queue.next(401_000), send(&[sent("2")]));
    queue.taken();
    assert_eq!(queue.counts(), Counts { sent: 2, failed: 1, ..Counts::default() });
}

#[test]
fn what_does_not_fit_is_dropped_and_counted() {
    let mut queue = bounded(Bounds { events_max: 2, ..Bounds::default() });
    let _ = push(&mut queue, &vacated("a"), 0);
    let _ = push(&mut queue, &sent("1"), 0);
    assert_eq!(push(&mut queue, &sent("2"), 0), Pushed::Dropped);
    assert_eq!(push(&mut queue, &occupied("a"), 0), Pushed::Settled, "what needs no room is not refused");
    assert_eq!(push(&mut queue, &sent("3"), 0), Pushed::Waits(100));
    assert_eq!(queue.next(100), send(&[sent("1"), sent("3")]));
    assert_eq!(queue.counts(), Counts { queued: 2, dropped: 1, ..Counts::default() });
}

#[test]
fn the_bytes_that_wait_are_bounded() {
    let long = sent(&format!("\"{}\"", "x".repeat(10_000)));
    let mut queue = bounded(Bounds { len_max: 25_000, ..Bounds::default() });
    assert_eq!(push(&mut queue, &long, 0), Pushed::Waits(100));
    assert_eq!(push(&mut queue, &long, 0), Pushed::Waits(100));
    assert_eq!(push(&mut queue, &long, 0), Pushed::Dropped);
    assert_eq!(push(&mut queue, &sent("1"), 0), Pushed::Waits(100));
}

#[test]
fn a_closed_queue_sends_what_waits_once_and_takes_nothing() {
    let mut queue = bounded(Bounds { batch_events_max: 2, ..Bounds::default() });
    let _ = push(&mut queue, &sent("1"), 0);
    let _ = queue.next(100);
    queue.failed(100);
    for event in [sent("2"), sent("3"), vacated("a")] {
        let _ = push(&mut queue, &event, 100);
    }
    queue.close();
    assert!(queue.is_closed());
    assert_eq!(push(&mut queue, &sent("late"), 100), Pushed::Dropped);
    assert_eq!(queue.next(100), send(&[sent("1"), sent("2")]), "without the rest of the pause");
    assert_eq!(queue.failed(100), 2);
    assert_eq!(queue.next(100), send(&[sent("3"), vacated("a")]), "without the delay");
    queue.taken();
    assert_eq!(queue.next(100), Next::Wait);
    assert_eq!(queue.counts(), Counts { queued: 0, sent: 2, failed: 2, dropped: 3 });
}

#[test]
fn an_abandoned_queue_counts_what_it_had_as_dropped() {
    let mut queue = queue();
    let _ = push(&mut queue, &sent("1"), 0);
    let _ = push(&mut queue, &count("a", 1), 0);
    let _ = queue.next(100);
    assert_eq!(queue.abandon(), 2);
    assert_eq!((queue.taken(), queue.next(9_000)), (0, Next::Wait));
    assert_eq!(queue.counts(), Counts { dropped: 2, ..Counts::default() });
}

#[test]
fn a_receiver_may_be_told_of_other_kinds_from_now_on() {
    let mut queue = listing(&[WebhookEvent::ChannelOccupied]);
    let _ = push(&mut queue, &occupied("a"), 0);
    queue.set_kinds(Kinds::listed(&[WebhookEvent::ClientEvent]));
    assert_eq!(push(&mut queue, &occupied("b"), 0), Pushed::Settled);
    let _ = push(&mut queue, &sent("1"), 0);
    assert_eq!(queue.next(100), send(&[occupied("a"), sent("1")]));
}

#[test]
fn a_clock_that_was_read_earlier_does_not_change_the_order() {
    let mut queue = queue();
    let _ = push(&mut queue, &sent("1"), 1_000);
    let _ = push(&mut queue, &sent("2"), 990);
    assert_eq!(queue.next(1_100), send(&[sent("1"), sent("2")]));
}

#[test]
fn of_several_servers_that_report_of_one_channel_departures_go_ahead_of_arrivals() {
    let timing = Timing { delay_ms: 0, arrival_ms: 300, ..TIMING };
    let mut queue = WebhookQueue::new(Kinds::listed(&[]), timing, Bounds::default());
    for event in [added("a"), occupied("x")] {
        assert_eq!(push(&mut queue, &event, 1_000), Pushed::Waits(1_400));
    }
    for event in [removed("b"), vacated("y")] {
        assert_eq!(push(&mut queue, &event, 1_050), Pushed::Waits(1_150));
    }
    assert_eq!(queue.next(1_150), send(&[removed("b"), vacated("y")]));
    assert_eq!(queue.taken(), 2);
    assert_eq!(
        (queue.next(1_399), queue.next(1_400)),
        (Next::WaitUntil(1_400), send(&[added("a"), occupied("x")]))
    );
}

#[test]
fn who_goes_before_it_was_reported_to_come_is_reported_to_go_after_that() {
    let timing = Timing { delay_ms: 0, arrival_ms: 300, ..TIMING };
    let mut queue = WebhookQueue::new(Kinds::listed(&[]), timing, Bounds::default());
    for event in [added("a"), occupied("x"), removed("a"), vacated("x")] {
        assert_eq!(push(&mut queue, &event, 1_000), Pushed::Waits(1_400));
    }
    queue.close();
    assert_eq!(queue.next(1_000), send(&[added("a"), occupied("x"), removed("a"), vacated("x")]));
}
