//! Webhooks of an app that several nodes serve: each event once, whichever node it happens at.

#![allow(clippy::unwrap_used)] // a helper that fails fails its test

mod support;

use std::thread;
use std::time::{Duration, Instant};

use fanfare::config::Config;
use fanfare::pusher::{App, Webhook, WebhookEvent};
use support::fleet::nodes;
use support::nodes::{by_redis, patient, wait_for_readiness};
use support::proxy::Proxy;
use support::pusher::Pusher;
use support::receiver::{OK, Stub};
use support::redis::{Memory, Redis};
use support::*;

/// The receiver is told of these.
fn configured(stub: &Stub, events: &[WebhookEvent]) -> Config {
    let webhook = Webhook { url: stub.url(), events: events.to_vec() };
    let app = App { client_events: true, webhooks: vec![webhook], ..App::new("1", "app-key", "app-secret") };
    Config { apps: vec![app], ..with_key() }
}

fn receiver() -> Stub {
    Stub::answering(&[OK; 30])
}

/// So many events, in the order of their texts where they come from several nodes.
fn next_events(stub: &Stub, count: usize) -> Vec<String> {
    let mut events = Vec::new();
    while events.len() < count {
        events.extend(stub.next().events().1);
    }
    events
}

const ROOM: &str = "presence-room";

/// A member at this node.
fn join(node: &Running, user_id: &str) -> Pusher {
    let mut client = Pusher::connect(node.address);
    client.join(ROOM, user_id);
    client
}

/// Redis knows that so many members are there.
fn expect_members(redis: &Redis, count: usize) {
    until("Redis knows who is there", || {
        let fields: Vec<String> = redis.ask(&format!("HKEYS fanfare:{{{ROOM}}}:u"));
        (fields.iter().filter(|field| field.starts_with('m')).count() == count).then_some(())
    });
}

/// Longer than a departure waits for a return.
const QUIET: Duration = Duration::from_secs(4);

#[test]
fn a_channel_is_occupied_once_and_vacated_once_over_all_nodes() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let [a, b] =
        nodes(&redis, &configured(&stub, &[WebhookEvent::ChannelOccupied, WebhookEvent::ChannelVacated]));
    let mut at_a = Pusher::connect(a.address);
    at_a.subscribe("news");
    assert_eq!(next_events(&stub, 1), ["channel_occupied news"]);
    let mut at_b = Pusher::connect(b.address);
    at_b.subscribe("news");
    // Known at a, so what follows is about the last one.
    let name = fanfare::ChannelName::new("news").unwrap();
    until("both are counted", || (a.handle.subscribers(&name) == 2).then_some(()));
    drop(at_a);
    assert!(stub.is_quiet_for(QUIET), "there is another subscriber");
    drop(at_b);
    assert_eq!(next_events(&stub, 1), ["channel_vacated news"]);
}

#[test]
fn a_member_is_added_once_and_removed_once_over_all_nodes() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let [a, b] = nodes(&redis, &configured(&stub, &[WebhookEvent::MemberAdded, WebhookEvent::MemberRemoved]));
    let at_a = join(&a, "anna");
    assert_eq!(next_events(&stub, 1), ["member_added anna"]);
    let at_b = join(&b, "anna");
    let _bert = join(&b, "bert");
    assert_eq!(next_events(&stub, 1), ["member_added bert"]);
    drop(at_a);
    assert!(stub.is_quiet_for(QUIET), "anna is there by another node");
    drop(at_b);
    assert_eq!(next_events(&stub, 1), ["member_removed anna"]);
}

#[test]
fn who_comes_back_to_another_node_within_the_delay_was_never_gone() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let [a, b] = nodes(&redis, &configured(&stub, &[]));
    let client = join(&a, "anna");
    let mut events = next_events(&stub, 2);
    events.sort();
    assert_eq!(events, [format!("channel_occupied {ROOM}"), "member_added anna".into()]);
    let mut witness = join(&b, "bert");
    assert_eq!(next_events(&stub, 1), ["member_added bert"]);
    drop(client);
    witness.expect("pusher_internal:member_removed");
    let _anna = join(&b, "anna");
    witness.expect("pusher_internal:member_added");
    assert!(stub.is_quiet_for(QUIET));
}

#[test]
#[allow(clippy::disallowed_methods)] // who comes back does so at the moment when it is taken for gone
fn whoever_is_there_was_reported_last_to_have_come() {
    const USERS: usize = 40;
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = Stub::answering(&[OK; 500]);
    let [a, b] = nodes(&redis, &configured(&stub, &[WebhookEvent::MemberAdded, WebhookEvent::MemberRemoved]));
    let names: Vec<_> = (0..USERS).map(|at| format!("user-{at}")).collect();
    let clients: Vec<_> = names.iter().map(|name| join(&b, name)).collect();
    next_events(&stub, USERS);
    let left: Vec<_> = clients.into_iter().map(|client| (drop(client), Instant::now()).1).collect();
    let mut back = Vec::new();
    for (at, (name, left)) in names.iter().zip(left).enumerate() {
        let until = left + Duration::from_millis(2_900 + 6 * at as u64);
        thread::sleep(until.saturating_duration_since(Instant::now()));
        back.push(join(&a, name));
    }
    thread::sleep(Duration::from_secs(2));
    let _last = join(&a, "last");
    let mut events = Vec::new();
    while !events.contains(&"member_added last".to_owned()) {
        events.extend(next_events(&stub, 1));
    }
    for name in names {
        let of_user = |event: &&String| event.ends_with(&format!(" {name}"));
        let last = events.iter().rfind(of_user);
        assert!(last.is_none_or(|last| last.starts_with("member_added")), "{name}: {events:?}");
    }
}

#[test]
fn what_a_client_sends_and_a_cache_that_is_empty_are_reported_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let [a, b] = nodes(&redis, &configured(&stub, &[WebhookEvent::ClientEvent, WebhookEvent::CacheMiss]));
    let mut clients = [Pusher::connect(a.address), Pusher::connect(b.address)];
    for client in &mut clients {
        client.subscribe("cache-news");
        client.expect("pusher:cache_miss");
        client.subscribe("private-room");
    }
    assert_eq!(next_events(&stub, 1), ["cache_miss cache-news"]);
    clients[0].send_text(r#"{"event":"client-typing","channel":"private-room","data":{"at":1}}"#);
    clients[1].expect("client-typing");
    assert_eq!(next_events(&stub, 1).len(), 1);
    assert!(stub.is_quiet_for(Duration::from_secs(1)));
}

/// Anna has a connection at each of two nodes, bert one at the second.
fn occupied(nodes: &[Running; 2], stub: &Stub) -> [Pusher; 3] {
    let [a, b] = nodes;
    let clients = [(a, "anna"), (b, "anna"), (b, "bert")].map(|(node, user_id)| join(node, user_id));
    let mut events = next_events(stub, 3);
    events.sort();
    assert_eq!(events, [&format!("channel_occupied {ROOM}"), "member_added anna", "member_added bert"]);
    clients
}

/// All have gone, and that is reported once.
fn is_vacated_once(stub: &Stub) {
    let mut events = next_events(stub, 3);
    events.sort();
    assert_eq!(events, [&format!("channel_vacated {ROOM}"), "member_removed anna", "member_removed bert"]);
    assert!(stub.is_quiet_for(QUIET));
}

#[test]
fn users_that_leave_two_nodes_at_one_moment_are_each_removed_once() {
    const USERS: usize = 30;
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = Stub::answering(&[OK; 200]);
    let nodes: [Running; 2] = nodes(&redis, &configured(&stub, &[WebhookEvent::MemberRemoved]));
    let mut clients = Vec::new();
    for number in 0..USERS {
        for node in &nodes {
            clients.push(join(node, &format!("user-{number:02}")));
        }
    }
    clients
        .chunks_mut(2)
        .for_each(|pair| pair.iter_mut().for_each(|client| client.client.close(None).unwrap()));
    let mut events = next_events(&stub, USERS);
    events.sort();
    let expected: Vec<_> = (0..USERS).map(|number| format!("member_removed user-{number:02}")).collect();
    assert_eq!(events, expected);
    assert!(stub.is_quiet_for(QUIET));
}

#[test]
fn who_leaves_while_redis_does_not_answer_is_reported_once() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let nodes = nodes(&redis, &configured(&stub, &[]));
    let clients = occupied(&nodes, &stub);
    redis.signal("STOP");
    drop(clients);
    nodes.iter().for_each(|node| wait_for_readiness(node.address, 503));
    redis.signal("CONT");
    is_vacated_once(&stub);
}

#[test]
fn who_leaves_while_redis_is_restarted_is_reported_once_whether_it_remembers_or_not() {
    for memory in [Memory::Kept, Memory::Lost] {
        let Some(mut redis) = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]) else {
            return;
        };
        let stub = receiver();
        let nodes = nodes(&redis, &configured(&stub, &[]));
        let clients = occupied(&nodes, &stub);
        redis.kill();
        drop(clients);
        nodes.iter().for_each(|node| wait_for_readiness(node.address, 503));
        redis.start_again(memory);
        is_vacated_once(&stub);
    }
}

#[test]
#[allow(clippy::disallowed_methods)] // nothing is to be seen of a departure that becomes due
fn a_departure_that_its_node_cannot_report_is_reported_by_another_unless_it_is_over() {
    let Some(redis) = Redis::start(&[]) else { return };
    let (stub, proxy) = (receiver(), Proxy::to(redis.port));
    let events = [WebhookEvent::MemberAdded, WebhookEvent::MemberRemoved];
    let [a, b] = [by_redis(proxy.address.port()), patient(redis.port)]
        .map(|config| start(Config { redis: config.redis, ..configured(&stub, &events) }));
    let _carl = join(&b, "carl");
    let clients = ["anna", "bert"].map(|user_id| join(&a, user_id));
    next_events(&stub, 3);
    drop(clients);
    expect_members(&redis, 1);
    proxy.stall(true);
    thread::sleep(QUIET);
    let _anna = join(&b, "anna");
    assert_eq!(next_events(&stub, 1), ["member_removed bert"]);
    let _bert = join(&b, "bert");
    assert_eq!(next_events(&stub, 1), ["member_added bert"]);
    proxy.stall(false);
    wait_for_readiness(a.address, 200);
    assert!(stub.is_quiet_for(QUIET));
}

#[test]
fn who_left_before_redis_lost_its_memory_is_reported_though_another_node_speaks_first() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let events = [WebhookEvent::MemberAdded, WebhookEvent::MemberRemoved];
    let [a, b] = nodes(&redis, &configured(&stub, &events));
    let _bert = join(&b, "bert");
    // Several changes, so that it is seen that their number begins anew.
    let anna = join(&a, "anna");
    let mut witness = Pusher::connect(a.address);
    witness.subscribe("news");
    next_events(&stub, 2);
    drop(anna);
    expect_members(&redis, 1);
    let _: String = redis.ask("FLUSHALL");
    let _carl = join(&b, "carl");
    let mut events = next_events(&stub, 2);
    events.sort();
    assert_eq!(events, ["member_added carl", "member_removed anna"]);
    assert!(stub.is_quiet_for(QUIET));
}

#[test]
fn who_comes_back_just_after_redis_lost_its_memory_was_never_gone() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let [a, b] = nodes(&redis, &configured(&stub, &[WebhookEvent::MemberAdded, WebhookEvent::MemberRemoved]));
    let _bert = join(&a, "bert");
    let anna = join(&a, "anna");
    next_events(&stub, 2);
    drop(anna);
    expect_members(&redis, 1);
    let _: String = redis.ask("FLUSHALL");
    // By this the node notices, and says all that it had.
    let _carl = join(&a, "carl");
    until("Redis knows again that anna has left", || {
        redis.ask::<bool>(&format!("HEXISTS fanfare:{{{ROOM}}}:u r")).then_some(())
    });
    let _anna = join(&b, "anna");
    assert_eq!(next_events(&stub, 1), ["member_added carl"]);
    assert!(stub.is_quiet_for(QUIET));
}

#[test]
fn who_stays_while_redis_loses_its_memory_is_not_reported_and_who_leaves_then_is() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let nodes = nodes(&redis, &configured(&stub, &[]));
    let [at_a, at_b, bert] = occupied(&nodes, &stub);
    let _: String = redis.ask("FLUSHALL");
    drop(at_a);
    assert!(stub.is_quiet_for(QUIET), "anna is there by another node, which has said so again");
    drop((at_b, bert));
    is_vacated_once(&stub);
}

#[test]
fn who_goes_from_a_node_that_ends_to_another_is_there_after_all_that_is_reported() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let [a, b]: [Running; 2] = nodes(&redis, &configured(&stub, &[]));
    let mut client = join(&a, "anna");
    let mut witness = Pusher::connect(b.address);
    witness.subscribe("news");
    assert_eq!(next_events(&stub, 3).len(), 3);
    // Who does not answer that it is closed is waited for.
    let closed = thread::spawn(move || while client.client.read().is_ok() {});
    a.handle.shutdown();
    a.join().unwrap();
    closed.join().unwrap();
    let _anna = join(&b, "anna");
    let events = next_events(&stub, 4);
    let at = |event: &str| events.iter().position(|found| *found == event).expect(event);
    assert!(at("member_removed anna") < at("member_added anna"));
    assert!(at(&format!("channel_vacated {ROOM}")) < at(&format!("channel_occupied {ROOM}")));
    assert!(stub.is_quiet_for(QUIET));
}

#[test]
fn a_node_that_ends_reports_at_once_who_has_left_it_and_what_is_vacated_by_that() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let [a, b]: [Running; 2] = nodes(&redis, &configured(&stub, &[]));
    let channels: Vec<_> = (0..10).map(|at| format!("news-{at}")).collect();
    let mut client = Pusher::connect(a.address);
    for channel in &channels {
        client.subscribe(channel);
    }
    let mut stays = Pusher::connect(b.address);
    stays.subscribe(&channels[0]);
    let anna = join(&a, "anna");
    next_events(&stub, channels.len() + 2);
    let ended = Instant::now();
    // What these say is not answered when the node is to end.
    drop((client, anna));
    a.handle.shutdown();
    a.join().unwrap();
    let mut events = next_events(&stub, channels.len() + 1);
    assert!(ended.elapsed() < QUIET / 2, "a departure was waited for: {:?}", ended.elapsed());
    events.sort();
    let mut left: Vec<_> = channels[1..].iter().map(|channel| format!("channel_vacated {channel}")).collect();
    left.extend([format!("channel_vacated {ROOM}"), "member_removed anna".into()]);
    assert_eq!(events, left);
    assert!(stub.is_quiet_for(QUIET), "what another node has is not vacated, and nothing is reported twice");
}

#[test]
fn a_node_that_ends_while_what_it_says_is_under_way_reports_what_that_vacates() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let proxy = Proxy::to(redis.port);
    let config = by_redis(proxy.address.port());
    let a = start(Config { redis: config.redis, ..configured(&stub, &[]) });
    wait_for_readiness(a.address, 200);
    proxy.delay(Duration::from_millis(200));
    let mut client = Pusher::connect(a.address);
    client.subscribe("first");
    client.subscribe("second");
    drop(client);
    a.handle.shutdown();
    a.join().unwrap();
    let mut events = next_events(&stub, 4);
    events.sort();
    let expected = ["channel_occupied", "channel_vacated"]
        .map(|event| ["first", "second"].map(|name| format!("{event} {name}")));
    assert_eq!(events, expected.concat());
    assert!(stub.is_quiet_for(QUIET));
}

#[test]
fn who_has_gone_to_another_node_is_not_reported_when_the_one_that_it_left_ends() {
    let Some(redis) = Redis::start(&[]) else { return };
    let stub = receiver();
    let [a, b]: [Running; 2] = nodes(&redis, &configured(&stub, &[]));
    let carl = join(&a, "carl");
    let anna = join(&a, "anna");
    next_events(&stub, 3);
    drop(anna);
    expect_members(&redis, 1);
    let _anna = join(&b, "anna");
    drop(carl);
    a.handle.shutdown();
    a.join().unwrap();
    assert_eq!(next_events(&stub, 1), ["member_removed carl"]);
    assert!(stub.is_quiet_for(QUIET));
}
