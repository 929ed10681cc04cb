//! Pages of channels: what is on them, and how many names are looked at for one.

use mio::{Poll, Token};

use super::*;
use crate::config::Config;
use crate::hub::ChannelName;
use crate::server::broker::answer::{Publishing, Waiter};
use crate::server::broker::draft::Draft;
use crate::server::broker::engine::Engine;
use crate::server::broker::mailbox::mailboxes;
use crate::server::broker::retention::Retention;
use crate::server::clock::Millis;

/// When channels without history that were published to at the beginning have gone.
const LATER: Millis = Millis(600_000);

fn broker() -> (Broker, Poll) {
    let poll = Poll::new().unwrap();
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap();
    (Broker::new(mailboxes, 100, Retention::new(&Config::default()), Engine::Local), poll)
}

fn publish(broker: &Broker, channel: ChannelName) {
    let draft = Draft { channel, ..Draft::text("a", "x").unwrap() };
    assert!(matches!(broker.publish(draft, Waiter::Nobody, Millis(0)), Publishing::Done(_)));
}

fn name(text: &str) -> ChannelName {
    ChannelName::new(text).unwrap()
}

fn page_of(space: Option<&str>, prefix: &str, after: &str, limit: usize) -> PageOf {
    PageOf { space: space.map(Into::into), prefix: prefix.to_owned(), after: after.to_owned(), limit }
}

fn names(page: &Page) -> Vec<String> {
    page.channels.iter().map(|(name, ..)| name.clone()).collect()
}

#[test]
fn a_page_of_many_channels_looks_at_few_of_them() {
    let (broker, _poll) = broker();
    for number in 0..20_000 {
        publish(&broker, name(&format!("chat-{number:05}")));
        publish(&broker, name(&format!("chat-{number:05}")).in_space("7"));
    }
    for (space, after) in [(None, ""), (Some("7"), ""), (None, "chat-15000"), (None, "chat-19950")] {
        let (page, looked_at) = broker.select(&page_of(space, "chat-1", after, 100));
        let first = after.strip_prefix("chat-").map_or(10_000, |after| after.parse::<usize>().unwrap() + 1);
        let expected: Vec<_> = (first..20_000).take(100).map(|number| format!("chat-{number:05}")).collect();
        assert_eq!(
            (names(&page), page.has_more),
            (expected, first + 100 < 20_000),
            "{space:?} after {after}"
        );
        // A shard has its share of the first 101 among all that were looked at by then: 101 · (1 + 1/2 + … + 1/64), and one
        // more each. The names fall into shards by chance.
        assert!(looked_at < 1_000, "{looked_at}");
    }
}

#[test]
fn pages_have_every_channel_once_whatever_their_length() {
    let (broker, _poll) = broker();
    let mut wanted: Vec<_> = (0..250).map(|number| format!("c{}", number * 7919 % 1000)).collect();
    wanted.iter().for_each(|channel| publish(&broker, name(channel)));
    publish(&broker, name("d"));
    publish(&broker, name("b"));
    wanted.sort_unstable();
    for limit in [1, 2, 7, 249, 250, 251] {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let page = broker.page(&page_of(None, "c", &after, limit));
            assert!(page.channels.len() <= limit);
            found.extend(names(&page));
            if !page.has_more {
                break;
            }
            after = found.last().unwrap().clone();
        }
        assert_eq!(found, wanted, "{limit}");
    }
}

#[test]
fn a_channel_that_has_expired_is_on_no_page() {
    let (broker, _poll) = broker();
    publish(&broker, name("a"));
    assert_eq!(names(&broker.page(&page_of(None, "", "", 10))), ["a"]);
    broker.sweep(LATER);
    assert_eq!(broker.channels_len(), 0);
    assert_eq!(names(&broker.page(&page_of(None, "", "", 10))), [""; 0]);
}
