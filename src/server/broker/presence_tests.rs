//! The table of who is there, with a pretend clock: who counts and for how long, what readers are told and when, and both
//! against plain models.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::server::broker::unnamed::POLL_LINGER_MS;

const MEMBERS: PresenceRule = PresenceRule::Members;

fn table(rule: PresenceRule, list_max: usize) -> Presence {
    Presence::new(rule, list_max, 0xa, 1)
}

fn owner(number: u64) -> Owner {
    Owner { hub: 0, number }
}

fn named(sub: &str) -> Present<'_> {
    Present { sub: Some(sub), info: None, is_poll: false }
}

const NOBODY: Present<'_> = Present { sub: None, info: None, is_poll: false };
const POLL: Present<'_> = Present { is_poll: true, ..NOBODY };

/// What is to be told at this time, after those have left who stayed away.
fn told(table: &mut Presence, now: u64) -> Option<String> {
    table.expire(Millis(now), usize::MAX);
    table.change(Millis(now)).map(|change| change.data)
}

fn state(table: &mut Presence, now: u64) -> String {
    table.expire(Millis(now), usize::MAX);
    table.state()
}

#[test]
fn a_user_is_there_once_whatever_the_number_of_its_connections_and_with_the_latest_info() {
    let mut table = table(MEMBERS, 10);
    table.join(owner(1), Present { info: Some(r#"{"name":"Ada"}"#), ..named("u42") });
    table.join(owner(2), Present { info: Some(r#"{"name":"Ada L."}"#), ..named("u42") });
    table.join(owner(3), NOBODY);
    assert_eq!(
        state(&mut table, 0),
        r#"{"members":[{"sub":"u42","info":{"name":"Ada L."},"connections":2}],"count":1,"anonymous":1}"#
    );
}

#[test]
fn who_loads_a_page_again_within_5_s_was_never_away() {
    let mut table = table(MEMBERS, 10);
    table.join(owner(1), named("u42"));
    table.join(owner(2), NOBODY);
    table.begin_reading(0);
    table.leave(owner(1), false, Millis(0));
    table.leave(owner(2), false, Millis(0));
    assert_eq!(told(&mut table, 4999), None);
    table.join(owner(3), named("u42"));
    table.join(owner(4), NOBODY);
    assert_eq!(told(&mut table, 60_000), None);
    assert_eq!(table.state(), r#"{"members":[{"sub":"u42","connections":1}],"count":1,"anonymous":1}"#);
}

#[test]
fn who_stays_away_has_left_after_5_s_and_a_poller_after_30() {
    let mut table = table(MEMBERS, 10);
    table.begin_reading(0);
    table.join(owner(1), named("page"));
    table.join(owner(2), Present { is_poll: true, ..named("poller") });
    table.join(owner(3), NOBODY);
    table.join(owner(4), POLL);
    let joined = r#"{"joined":[{"sub":"page"},{"sub":"poller"}],"left":[],"count":2,"anonymous":2}"#;
    assert_eq!(told(&mut table, 0).as_deref(), Some(joined));
    for (number, is_poll) in [(1, false), (2, true), (3, false), (4, true)] {
        table.leave(owner(number), is_poll, Millis(0));
    }
    assert_eq!((table.due(), told(&mut table, 4999)), (5000, None));
    let left = r#"{"joined":[],"left":["page"],"count":1,"anonymous":1}"#;
    assert_eq!(told(&mut table, 5000).as_deref(), Some(left));
    assert_eq!((table.due(), told(&mut table, 29_999)), (30_000, None));
    let left = r#"{"joined":[],"left":["poller"],"count":0,"anonymous":0}"#;
    assert_eq!(told(&mut table, 30_000).as_deref(), Some(left));
    table.end_reading(0);
    assert!(table.is_idle());
    assert_eq!(table.due(), UNLISTED);
}

#[test]
fn a_user_stays_as_long_as_any_of_its_connections_would_have_it() {
    let mut table = table(MEMBERS, 10);
    table.join(owner(1), Present { is_poll: true, ..named("u42") });
    table.join(owner(2), named("u42"));
    table.leave(owner(1), true, Millis(0));
    table.leave(owner(2), false, Millis(1000));
    assert_eq!(table.expire(Millis(29_999), usize::MAX), 0);
    assert_eq!(table.expire(Millis(30_000), usize::MAX), 1);
    assert!(table.is_idle());
}

#[test]
fn a_client_that_polls_is_one_however_often_it_asks_and_however_it_is_answered() {
    let mut table = table(MEMBERS, 10);
    for now in (0..100_000).step_by(1000) {
        table.expire(Millis(now), usize::MAX);
        // By a connection of its own each time; some are answered at once.
        if now % 3000 == 0 {
            table.pass(POLL, Millis(now));
            table.pass(Present { is_poll: true, ..named("u42") }, Millis(now));
        } else {
            table.join(owner(now), POLL);
            table.leave(owner(now), true, Millis(now));
        }
        assert_eq!(table.totals(), Totals { count: 1, unnamed: 1 }, "at {now}");
    }
    // Two at a time; one of them stays away.
    table.join(owner(1), POLL);
    table.join(owner(2), POLL);
    table.leave(owner(2), true, Millis(100_000));
    for now in (100_000..129_000).step_by(500) {
        table.expire(Millis(now), usize::MAX);
        table.leave(owner(1), true, Millis(now));
        table.join(owner(1), POLL);
        assert_eq!(table.totals().unnamed, 2, "at {now}");
    }
    table.expire(Millis(130_000), usize::MAX);
    assert_eq!(table.totals().unnamed, 1, "the other has been away for 30 s");
}

#[test]
fn changes_are_collected_for_a_second_and_told_together() {
    let mut table = table(MEMBERS, 10);
    table.begin_reading(0);
    table.join(owner(1), named("a"));
    let first = table.change(Millis(10_000)).unwrap();
    assert_eq!(first.data, r#"{"joined":[{"sub":"a"}],"left":[],"count":1,"anonymous":0}"#);
    table.join(owner(2), named("b"));
    table.join(owner(3), named("c"));
    table.join(owner(4), NOBODY);
    assert_eq!(told(&mut table, 10_500), None);
    assert_eq!(table.due(), 11_000);
    let second = table.change(Millis(11_000)).unwrap();
    assert_eq!(second.data, r#"{"joined":[{"sub":"b"},{"sub":"c"}],"left":[],"count":3,"anonymous":1}"#);
    assert_eq!((first.id.to_string(), second.id.to_string()), ("a-1".to_owned(), "a-2".to_owned()));
    assert_eq!((table.due(), told(&mut table, 20_000)), (UNLISTED, None), "nothing has changed");
}

#[test]
fn above_1000_there_are_5_s_between_changes() {
    let mut table = table(MEMBERS, 10);
    table.begin_reading(0);
    (0..1000).for_each(|number| table.join(owner(number), NOBODY));
    assert!(told(&mut table, 0).is_some());
    table.join(owner(1000), NOBODY);
    assert_eq!((told(&mut table, 999), table.due()), (None, 1000), "1,000 are not above");
    assert!(told(&mut table, 1000).is_some());
    table.join(owner(1001), NOBODY);
    assert_eq!((told(&mut table, 5999), table.due()), (None, 6000));
    assert!(told(&mut table, 6000).is_some());
}

#[test]
fn a_new_reader_gets_the_state_on_which_the_next_change_follows() {
    let mut table = table(MEMBERS, 10);
    table.join(owner(1), named("a"));
    table.join(owner(2), named("b"));
    let first = table.begin_reading(0);
    assert_eq!(
        first.data,
        r#"{"members":[{"sub":"a","connections":1},{"sub":"b","connections":1}],"count":2,"anonymous":0,"since":"a-0"}"#
    );
    table.join(owner(3), named("c"));
    assert!(told(&mut table, 0).is_some());
    table.leave(owner(1), false, Millis(0));
    table.join(owner(4), Present { info: Some("7"), ..named("b") });
    table.join(owner(5), named("d"));
    table.expire(Millis(5000), usize::MAX);
    // The pause is over, but nobody has told yet: `a` has left, `b` has an info, `d` is new.
    let second = table.begin_reading(0);
    assert_eq!(
        second.data,
        r#"{"members":[{"sub":"c","connections":1},{"sub":"a","connections":0},{"sub":"b","connections":2}],"count":3,"anonymous":0,"since":"a-1"}"#
    );
    assert_eq!(
        told(&mut table, 5000).as_deref(),
        Some(r#"{"joined":[{"sub":"b","info":7},{"sub":"d"}],"left":["a"],"count":3,"anonymous":0}"#)
    );
}

#[test]
fn a_channel_with_too_many_members_for_a_list_tells_their_number_and_has_a_list_again_later() {
    let mut table = table(MEMBERS, 2);
    table.begin_reading(0);
    for (number, sub) in ["a", "b", "c"].into_iter().enumerate() {
        table.join(owner(number as u64), named(sub));
    }
    let numbers = r#"{"joined":null,"left":null,"count":3,"anonymous":0}"#;
    assert_eq!(told(&mut table, 0).as_deref(), Some(numbers), "nobody is kept out");
    assert_eq!(table.state(), r#"{"members":null,"count":3,"anonymous":0}"#);
    let began = table.begin_reading(0);
    assert_eq!(began.data, r#"{"members":null,"count":3,"anonymous":0,"since":"a-1"}"#);
    table.leave(owner(1), false, Millis(0));
    let list =
        r#"{"members":[{"sub":"a","connections":1},{"sub":"c","connections":1}],"count":2,"anonymous":0}"#;
    assert_eq!(told(&mut table, 5000).as_deref(), Some(list));
    // A list is long: the next one, and what is between, waits 5 s.
    table.join(owner(5), NOBODY);
    assert_eq!((told(&mut table, 9999), table.due()), (None, 10_000));
    let change = r#"{"joined":[],"left":[],"count":2,"anonymous":1}"#;
    assert_eq!(told(&mut table, 10_000).as_deref(), Some(change));
}

#[test]
fn changes_that_are_longer_than_the_list_are_replaced_by_it() {
    let mut table = table(MEMBERS, 2);
    table.join(owner(1), named("a"));
    table.join(owner(2), named("b"));
    table.begin_reading(0);
    table.leave(owner(1), false, Millis(0));
    table.leave(owner(2), false, Millis(0));
    table.expire(Millis(5000), usize::MAX);
    table.join(owner(3), named("c"));
    let list = r#"{"members":[{"sub":"c","connections":1}],"count":1,"anonymous":0}"#;
    assert_eq!(told(&mut table, 5000).as_deref(), Some(list));
}

#[test]
fn where_only_numbers_are_told_users_still_count_once() {
    let mut table = table(PresenceRule::Count, 10);
    assert_eq!(table.begin_reading(0).data, r#"{"members":null,"count":0,"anonymous":0,"since":"a-0"}"#);
    table.join(owner(1), named("a"));
    table.join(owner(2), named("a"));
    let numbers = r#"{"joined":null,"left":null,"count":1,"anonymous":0}"#;
    assert_eq!(told(&mut table, 0).as_deref(), Some(numbers));
    assert_eq!(table.state(), r#"{"members":null,"count":1,"anonymous":0}"#);
}

#[test]
fn a_connection_that_proves_who_it_is_later_is_that_user_from_then_on() {
    let mut table = table(MEMBERS, 10);
    table.join(owner(1), NOBODY);
    table.begin_reading(0);
    table.identify(owner(1), named("a"), Millis(0));
    let change = r#"{"joined":[{"sub":"a"}],"left":[],"count":1,"anonymous":0}"#;
    assert_eq!(told(&mut table, 0).as_deref(), Some(change));
    table.identify(owner(1), Present { info: Some("1"), ..named("a") }, Millis(2000));
    let change = r#"{"joined":[{"sub":"a","info":1}],"left":[],"count":1,"anonymous":0}"#;
    assert_eq!(told(&mut table, 2000).as_deref(), Some(change));
    table.identify(owner(1), named("b"), Millis(4000));
    let change = r#"{"joined":[{"sub":"b"}],"left":["a"],"count":1,"anonymous":0}"#;
    assert_eq!(told(&mut table, 4000).as_deref(), Some(change));
    table.leave(owner(1), false, Millis(4000));
    assert_eq!(table.expire(Millis(9000), usize::MAX), 1);
}

#[test]
fn those_who_leave_at_once_leave_in_slices() {
    let mut table = table(MEMBERS, 10);
    for number in 0..10 {
        table.join(owner(number), named(&number.to_string()));
        table.join(owner(10 + number), NOBODY);
    }
    (0..20).for_each(|number| table.leave(owner(number), false, Millis(0)));
    let slices: Vec<_> = (0..4).map(|_| table.expire(Millis(5000), 8)).collect();
    assert_eq!(slices, [8, 8, 4, 0]);
    assert!(table.is_idle());
}

#[test]
fn what_a_table_holds_is_counted_until_it_is_dropped() {
    let ledger = Ledger::default();
    let mut table = table(MEMBERS, 10);
    table.recount(&ledger);
    let empty = ledger.bytes();
    table.join(owner(1), Present { info: Some(&"7".repeat(1000)), ..named("u42") });
    table.recount(&ledger);
    assert!(ledger.bytes() > empty + 1003, "{}", ledger.bytes());
    table.leave(owner(1), false, Millis(0));
    table.expire(Millis(5000), usize::MAX);
    table.recount(&ledger);
    assert_eq!(ledger.bytes(), empty);
    drop(table);
    assert_eq!(ledger.bytes(), 0);
}

#[test]
fn who_comes_back_finds_the_same_change_if_nothing_has_happened_and_another_if_something_has() {
    let mut table = table(MEMBERS, 10);
    table.join(owner(1), named("a"));
    assert_eq!(table.begin_reading(0).id.sequence, 0, "nobody was told anything before");
    table.end_reading(0);
    // A poller comes and goes, and so does a page that is loaded again.
    table.pass(POLL, Millis(0));
    assert_eq!(table.begin_following(0).sequence, 1, "somebody is there without a name");
    table.end_reading(0);
    table.pass(POLL, Millis(10));
    table.leave(owner(1), false, Millis(10));
    table.join(owner(2), named("a"));
    assert_eq!(table.begin_following(0).sequence, 1);
    table.join(owner(3), named("b"));
    table.end_reading(0);
    assert_eq!(table.begin_following(0).sequence, 2, "a change that nobody was told of");
    table.end_reading(0);
    table.join(owner(4), Present { info: Some("7"), ..named("a") });
    assert_eq!(table.begin_following(0).sequence, 3, "another info");
    assert!(table.told_state().contains(r#"{"sub":"a","info":7,"#), "{}", table.told_state());
}

/// Whoever reads the changes, and what it makes of them.
#[derive(Debug)]
struct Client {
    members: Option<BTreeMap<String, Option<Value>>>,
    count: Value,
    anonymous: Value,
    /// The sequence of the newest change.
    since: u64,
}

fn listed(members: &Value) -> Option<BTreeMap<String, Option<Value>>> {
    let entry = |member: &Value| (member["sub"].as_str().unwrap().to_owned(), member.get("info").cloned());
    members.as_array().map(|members| members.iter().map(entry).collect())
}

impl Client {
    fn new(change: &Change) -> Self {
        let data: Value = serde_json::from_str(&change.data).unwrap();
        assert_eq!(data["since"], change.id.to_string());
        Self {
            members: listed(&data["members"]),
            count: data["count"].clone(),
            anonymous: data["anonymous"].clone(),
            since: change.id.sequence,
        }
    }

    fn apply(&mut self, change: &Change) {
        assert_eq!(change.id.sequence, self.since + 1, "no hole, and nothing twice");
        self.since = change.id.sequence;
        let data: Value = serde_json::from_str(&change.data).unwrap();
        (self.count, self.anonymous) = (data["count"].clone(), data["anonymous"].clone());
        if data.get("members").is_some() || data["joined"].is_null() {
            self.members = data.get("members").and_then(listed);
            return;
        }
        let members = self.members.as_mut().expect("changes follow on a list");
        for (sub, info) in listed(&data["joined"]).unwrap() {
            members.insert(sub, info);
        }
        for sub in data["left"].as_array().unwrap() {
            members.remove(sub.as_str().unwrap());
        }
    }
}

/// The same by lists of everything that has happened.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    /// Who is subscribed: its number, its user, whether it polls.
    here: Vec<(u64, Option<u8>, bool)>,
    /// Who counts until when.
    until: BTreeMap<u8, u64>,
    infos: BTreeMap<u8, Option<u8>>,
    seats: Vec<(u64, bool)>,
}

impl Model {
    fn is_here(&self, user: u8) -> bool {
        self.here.iter().any(|(_, sub, _)| *sub == Some(user))
    }

    fn pass_time(&mut self, ms: u64) {
        self.now += ms;
        let gone: Vec<u8> = (0..4)
            .filter(|user| {
                !self.is_here(*user) && self.until.get(user).is_none_or(|until| *until <= self.now)
            })
            .collect();
        gone.iter().for_each(|user| _ = self.infos.remove(user));
        self.seats.retain(|(until, _)| *until > self.now);
    }

    fn come(&mut self, number: u64, user: Option<u8>, info: Option<u8>, is_poll: bool) {
        self.here.push((number, user, is_poll));
        match user {
            Some(user) => _ = self.infos.insert(user, info),
            None => {
                let seats = self.seats.iter().enumerate().filter(|(_, (_, of_poll))| *of_poll == is_poll);
                if let Some((latest, _)) = seats.max_by_key(|(_, (until, _))| *until) {
                    self.seats.remove(latest);
                }
            }
        }
    }

    fn go(&mut self, at: usize) -> (u64, bool) {
        let (number, user, is_poll) = self.here.remove(at);
        let until = self.now + if is_poll { 30_000 } else { 5000 };
        match user {
            Some(user) => {
                let longest = self.until.get(&user).map_or(until, |other| until.max(*other));
                self.until.insert(user, longest);
            }
            None => self.seats.push((until, is_poll)),
        }
        (number, is_poll)
    }

    fn anonymous(&self) -> usize {
        self.here.iter().filter(|(_, user, _)| user.is_none()).count() + self.seats.len()
    }

    fn members(&self) -> BTreeMap<String, Option<Value>> {
        let entry = |(user, info): (&u8, &Option<u8>)| (format!("u{user}"), info.map(|info| json!(info)));
        self.infos.iter().map(entry).collect()
    }
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Come { user: Option<u8>, info: Option<u8>, is_poll: bool },
    Go(usize),
    Pass { user: Option<u8>, info: Option<u8> },
    Read,
    EndReading,
    Poll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let user = || prop::option::of(0..4_u8);
    let info = || prop::option::of(0..2_u8);
    let step = prop_oneof![
        3 => prop_oneof![0..3000_u64, Just(5000), Just(30_000)].prop_map(Step::Wait),
        4 => (user(), info(), any::<bool>())
            .prop_map(|(user, info, is_poll)| Step::Come { user, info, is_poll }),
        3 => any::<prop::sample::Index>().prop_map(|index| Step::Go(index.index(1 << 16))),
        1 => (user(), info()).prop_map(|(user, info)| Step::Pass { user, info }),
        1 => Just(Step::Read),
        1 => Just(Step::EndReading),
        2 => Just(Step::Poll),
    ];
    prop::collection::vec(step, 0..80)
}

/// A table beside its model, clients that read the changes, and one that reads until there is one.
struct Bench {
    table: Presence,
    model: Model,
    clients: Vec<Client>,
    poller: Option<Client>,
    is_polling: bool,
    told_at: Option<u64>,
    list_max: usize,
}

impl Bench {
    fn step(&mut self, number: u64, step: &Step) {
        let now = Millis(self.model.now);
        match *step {
            Step::Wait(ms) => {
                self.model.pass_time(ms);
                self.table.expire(Millis(self.model.now), usize::MAX);
            }
            Step::Come { user, info, is_poll } => {
                self.model.come(number, user, info.filter(|_| user.is_some()), is_poll);
                self.with(user, info, is_poll, |table, present| table.join(owner(number), present));
            }
            Step::Go(index) if !self.model.here.is_empty() => {
                let (number, is_poll) = self.model.go(index % self.model.here.len());
                self.table.leave(owner(number), is_poll, now);
            }
            Step::Pass { user, info } => {
                self.model.come(number, user, info.filter(|_| user.is_some()), true);
                self.model.go(self.model.here.len() - 1);
                self.with(user, info, true, |table, present| table.pass(present, now));
            }
            Step::Read => self.clients.push(Client::new(&self.table.begin_reading(0))),
            Step::EndReading if self.clients.pop().is_some() => self.table.end_reading(0),
            Step::Poll if !self.is_polling => self.poll(),
            Step::Go(_) | Step::EndReading | Step::Poll => {}
        }
    }

    /// The poller asks, and waits if it has missed nothing.
    fn poll(&mut self) {
        let id = self.table.begin_following(0);
        let told = Client::new(&Change { id, data: self.table.told_state() });
        match &self.poller {
            Some(poller) if poller.since == id.sequence => {
                // When it has become longer than the list, readers are told of the change by the next list.
                assert!(told.members.is_none() || poller.members == told.members);
                assert_eq!((&poller.count, &poller.anonymous), (&told.count, &told.anonymous));
                self.is_polling = true;
            }
            Some(_) | None => {
                self.poller = Some(told);
                self.table.end_reading(0);
            }
        }
    }

    fn with(
        &mut self,
        user: Option<u8>,
        info: Option<u8>,
        is_poll: bool,
        then: impl FnOnce(&mut Presence, Present<'_>),
    ) {
        let (sub, info) = (user.map(|user| format!("u{user}")), info.map(|info| info.to_string()));
        then(&mut self.table, Present { sub: sub.as_deref(), info: info.as_deref(), is_poll });
    }

    /// Tells the clients, if it is time, and compares them with the model.
    fn tell(&mut self) {
        let now = self.model.now;
        let Some(change) = self.table.change(Millis(now)) else { return };
        assert!(self.told_at.is_none_or(|at| now - at >= PAUSE_MS));
        self.told_at = Some(now);
        self.clients.iter_mut().for_each(|client| client.apply(&change));
        if std::mem::take(&mut self.is_polling) {
            self.poller.as_mut().unwrap().apply(&change);
            self.compare_with_model(self.poller.as_ref().unwrap());
            self.table.end_reading(0);
        }
        self.compare_clients();
    }

    fn compare_clients(&self) {
        self.clients.iter().for_each(|client| self.compare_with_model(client));
    }

    fn compare_with_model(&self, client: &Client) {
        let members = self.model.members();
        assert_eq!(client.members.as_ref(), Some(&members).filter(|members| members.len() <= self.list_max));
        assert_eq!(
            (&client.count, &client.anonymous),
            (&json!(members.len()), &json!(self.model.anonymous()))
        );
    }

    fn compare(&self) {
        let state: Value = serde_json::from_str(&self.table.state()).unwrap();
        let members = self.model.members();
        assert_eq!(listed(&state["members"]), (members.len() <= self.list_max).then(|| members.clone()));
        assert_eq!(state["count"], members.len());
        assert_eq!(state["anonymous"], self.model.anonymous());
        for member in state["members"].as_array().into_iter().flatten() {
            let is_it = |(_, user, _): &&(u64, Option<u8>, bool)| {
                user.is_some_and(|user| member["sub"] == format!("u{user}"))
            };
            assert_eq!(member["connections"], self.model.here.iter().filter(is_it).count());
        }
    }
}

proptest! {
    #[test]
    fn the_table_says_what_lists_of_everything_say_and_changes_sum_up_to_it(
        steps in steps(),
        list_max in 0..5_usize,
    ) {
        let (table, model) = (table(MEMBERS, list_max), Model::default());
        let (clients, poller, is_polling) = (Vec::new(), None, false);
        let mut bench = Bench { table, model, clients, poller, is_polling, told_at: None, list_max };
        for (number, step) in steps.iter().enumerate() {
            bench.step(number as u64, step);
            bench.compare();
            bench.tell();
        }
        // Once the pause is over, every client has the truth.
        bench.step(0, &Step::Wait(LONG_PAUSE_MS));
        bench.tell();
        bench.compare_clients();
        bench.step(0, &Step::Poll);
        bench.compare_with_model(bench.poller.as_ref().unwrap());
        (0..u8::from(std::mem::take(&mut bench.is_polling))).for_each(|_| bench.table.end_reading(0));
        while !bench.model.here.is_empty() {
            bench.step(0, &Step::Go(0));
        }
        bench.clients.iter().for_each(|_| bench.table.end_reading(0));
        bench.step(0, &Step::Wait(POLL_LINGER_MS));
        prop_assert!(bench.table.is_idle());
        prop_assert_eq!((bench.table.text_len, bench.table.owners.len(), bench.table.due()), (0, 0, UNLISTED));
    }
}
