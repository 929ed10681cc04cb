//! A desk with a pretend clock, and beside it a plain model of everything but its bounds in bytes.

use proptest::prelude::*;

use super::super::credentials::Fields;
use super::super::decision::Grant;
use super::super::reply::read;
use super::*;

const TTL_MS: u64 = 60_000;

fn client(number: u32) -> Arc<Credentials> {
    let cookie = format!("sid={number}");
    Arc::new(Credentials::new(Fields { cookie: Some(cookie.as_bytes()), ..Fields::default() }, "192.0.2.1"))
}

fn names(numbers: &[u32]) -> Vec<ChannelName> {
    numbers.iter().map(|number| ChannelName::new(&format!("c{number}")).unwrap()).collect()
}

/// An answer that allows these.
fn allow(numbers: &[u32]) -> Reply {
    let body = format!(
        r#"{{"allow":{:?},"ttl":60}}"#,
        names(numbers).iter().map(|name| name.as_str()).collect::<Vec<_>>()
    );
    read(200, None, body.as_bytes()).unwrap()
}

/// A desk, and those who are told, in order.
struct Scene {
    desk: Desk<u32>,
    now_ms: u64,
}

impl Scene {
    fn new() -> Self {
        Self { desk: Desk::new(Bounds::new(2_000)), now_ms: 1_000_000 }
    }

    fn ask(&mut self, by: u32, channels: &[u32]) -> Asked {
        let (action, transport) = (Action::Subscribe, Transport::WebSocket);
        self.desk.ask(&client(by), action, &names(channels), transport, by, self.now_ms)
    }

    fn waits(&mut self, by: u32, channels: &[u32]) -> QuestionId {
        match self.ask(by, channels) {
            Asked::Waiting(id) => id,
            Asked::Known(decisions) => panic!("it is known: {decisions:?}"),
        }
    }

    fn known(&mut self, by: u32, channels: &[u32]) -> Vec<Decision> {
        match self.ask(by, channels) {
            Asked::Known(decisions) => decisions.into(),
            Asked::Waiting(id) => panic!("{id:?} waits"),
        }
    }

    fn take(&mut self) -> Option<Call> {
        match self.desk.take(self.now_ms) {
            (Taken::Call(call), told) => {
                assert!(told.is_empty());
                Some(call)
            }
            (Taken::Wait | Taken::End, _) => None,
        }
    }

    fn settle(&mut self, call: &Call, outcome: Result<Reply, Fault>) -> Vec<Told<u32>> {
        self.desk.settle(call.id, outcome, self.now_ms)
    }
}

fn is_yes(decision: &Decision) -> bool {
    matches!(decision, Decision::Yes(_))
}

#[test]
fn an_answer_about_a_user_who_was_forgotten_meanwhile_is_asked_for_again() {
    let of_user =
        |sub: &str| read(200, None, format!(r#"{{"allow":["c7"],"sub":"{sub}"}}"#).as_bytes()).unwrap();
    let mut scene = Scene::new();
    for by in [1, 2, 3] {
        scene.waits(by, &[7]);
    }
    let calls = [scene.take().unwrap(), scene.take().unwrap()];
    scene.desk.forget_user("u42");
    scene.now_ms += 900;
    assert!(scene.settle(&calls[0], Ok(of_user("u42"))).is_empty());
    assert_eq!(scene.settle(&calls[1], Ok(of_user("u43"))).len(), 1);
    let unasked = scene.take().unwrap();
    assert_eq!(scene.settle(&unasked, Ok(of_user("u42"))).len(), 1, "it was asked after that");
    scene.now_ms += 900;
    let again = scene.take().unwrap();
    assert_eq!(again.id, calls[0].id);
    let told = scene.settle(&again, Err(Fault::Stopped));
    assert!(told.len() == 1 && !is_yes(&told[0].decisions[0]));
}

#[test]
fn a_call_whose_user_is_forgotten_each_time_is_made_three_times_and_then_its_client_is_told() {
    let of_user = || read(200, None, br#"{"allow":["c7"],"sub":"u42"}"#).unwrap();
    let mut scene = Scene::new();
    scene.waits(1, &[7]);
    for time in 1..=3 {
        let call = scene.take().unwrap();
        // Several times in one call count once.
        (0..5).for_each(|_| scene.desk.forget_user("u42"));
        scene.now_ms += 600;
        let told = scene.settle(&call, Ok(of_user()));
        match time {
            1 | 2 => assert!(told.is_empty(), "it is asked again"),
            _ => assert_eq!(*told[0].decisions, [Decision::Fault(Fault::Outdated)]),
        }
    }
    assert!(scene.take().is_none() && scene.desk.counts().questions == 0);
    // Nothing of it is kept: the client that comes back is asked about.
    scene.waits(1, &[7]);
    let call = scene.take().unwrap();
    let told = scene.settle(&call, Ok(of_user()));
    assert!(told.len() == 1 && is_yes(&told[0].decisions[0]));
    // A slow backend is not asked again: nobody waits for longer than twice the time of a call.
    scene.waits(2, &[7]);
    let call = scene.take().unwrap();
    scene.desk.forget_user("u42");
    scene.now_ms += 2_001;
    let told = scene.settle(&call, Ok(of_user()));
    assert_eq!(*told[0].decisions, [Decision::Fault(Fault::Outdated)]);
}

#[test]
fn a_question_is_one_call_and_what_is_known_is_asked_of_nobody() {
    let mut scene = Scene::new();
    let question = scene.waits(1, &[7, 8]);
    let call = scene.take().unwrap();
    assert_eq!(&*call.channels, names(&[7, 8]));
    let told = scene.settle(&call, Ok(allow(&[7])));
    assert_eq!((told.len(), told[0].waiter, told[0].question), (1, 1, question));
    assert!(is_yes(&told[0].decisions[0]) && told[0].decisions[1] == Decision::No(None));
    assert_eq!(scene.known(1, &[8, 7, 8]).iter().map(is_yes).collect::<Vec<_>>(), [false, true, false]);
    assert!(scene.take().is_none());
    scene.waits(1, &[7, 9]);
    assert_eq!(&*scene.take().unwrap().channels, names(&[9]), "the others are known");
}

#[test]
fn ten_thousand_clients_with_one_cookie_are_one_call() {
    let mut scene = Scene::new();
    for _ in 0..10_000 {
        scene.waits(1, &[7]);
    }
    let call = scene.take().unwrap();
    assert!(scene.take().is_none());
    assert_eq!(scene.settle(&call, Ok(allow(&[7]))).len(), 10_000);
    for _ in 0..10_000 {
        assert!(scene.known(1, &[7]).iter().all(is_yes), "also when they come back");
    }
    assert_eq!(scene.desk.counts().questions, 0);
}

#[test]
fn a_channel_that_another_question_asks_about_is_waited_for_and_not_asked_about() {
    let mut scene = Scene::new();
    scene.waits(1, &[1, 2]);
    let first = scene.take().unwrap();
    scene.waits(1, &[2, 3]);
    let second = scene.take().unwrap();
    assert_eq!(&*second.channels, names(&[3]));
    assert!(scene.settle(&second, Ok(allow(&[3]))).is_empty());
    let [a, b] = &scene.settle(&first, Ok(allow(&[1, 2])))[..] else { panic!("two are told") };
    assert!(a.question < b.question && a.decisions.iter().chain(&b.decisions).all(is_yes));
}

#[test]
fn actions_and_clients_are_asked_about_separately() {
    let mut scene = Scene::new();
    scene.waits(1, &[1]);
    scene.waits(2, &[1]);
    let asked = scene.desk.ask(&client(1), Action::Publish, &names(&[1]), Transport::Post, 1, scene.now_ms);
    assert!(matches!(asked, Asked::Waiting(_)));
    assert_eq!(scene.desk.counts().waiting, 3);
}

#[test]
fn a_yes_is_known_for_its_time_give_or_take_a_tenth_and_a_no_for_five_seconds() {
    let mut ends = Vec::new();
    for by in 0..50 {
        let mut scene = Scene::new();
        let began_ms = scene.now_ms;
        scene.waits(by, &[1, 2]);
        let call = scene.take().unwrap();
        scene.settle(&call, Ok(allow(&[1])));
        let [Decision::Yes(Grant { ends_at_ms, .. }), _] = scene.known(by, &[1, 2])[..] else {
            panic!("yes")
        };
        scene.now_ms = began_ms + 4_999;
        scene.known(by, &[2]);
        scene.now_ms += 1;
        scene.waits(by, &[2]);
        scene.now_ms = ends_at_ms - 1;
        scene.known(by, &[1]);
        scene.now_ms += 1;
        scene.waits(by, &[1]);
        ends.push(ends_at_ms - began_ms);
    }
    let bounds = TTL_MS * 9 / 10..=TTL_MS * 11 / 10;
    assert!(ends.iter().all(|end| bounds.contains(end)), "{ends:?}");
    let (first, last) = (ends.iter().min().unwrap(), ends.iter().max().unwrap());
    assert!(last - first > TTL_MS / 10, "they are spread: {ends:?}");
}

#[test]
fn thirty_two_calls_are_made_at_once_and_1024_wait_then_the_client_is_told() {
    let mut scene = Scene::new();
    for by in 0..32 {
        scene.waits(by, &[1]);
        scene.take().unwrap();
    }
    for by in 32..32 + 1_024 {
        scene.waits(by, &[1]);
    }
    assert!(scene.take().is_none() && !scene.desk.has_work());
    assert_eq!(scene.known(2_000, &[1]), [Decision::Fault(Fault::Busy)]);
    scene.waits(1_000, &[1]);
    assert_eq!(scene.desk.counts().questions, 32 + 1_024 + 1, "joining takes no place");
}

#[test]
fn a_client_whose_call_waits_for_longer_than_a_call_may_take_is_told() {
    let mut scene = Scene::new();
    let calls: Vec<_> = (0..32)
        .map(|by| {
            scene.waits(by, &[1]);
            scene.take().unwrap()
        })
        .collect();
    scene.waits(100, &[1]);
    scene.now_ms += 1_000;
    scene.waits(101, &[1]);
    scene.now_ms += 1_001;
    scene.settle(&calls[0], Ok(allow(&[])));
    let (taken, told) = scene.desk.take(scene.now_ms);
    assert!(matches!(taken, Taken::Call(call) if call.credentials == client(101)));
    assert_eq!(told.len(), 1);
    assert_eq!((told[0].waiter, &told[0].decisions[..]), (100, &[Decision::Fault(Fault::Busy)][..]));
}

#[test]
fn a_fault_is_told_to_all_who_wait_and_the_same_is_asked_once_a_second() {
    let mut scene = Scene::new();
    scene.waits(1, &[1]);
    scene.waits(1, &[1]);
    let call = scene.take().unwrap();
    let told = scene.settle(&call, Err(Fault::Status(500)));
    assert_eq!(told.len(), 2);
    let fault = [Decision::Fault(Fault::Status(500))];
    assert!(told.iter().all(|told| *told.decisions == fault));
    assert_eq!(scene.known(1, &[1]), fault);
    scene.waits(2, &[1]);
    scene.now_ms += 1_000;
    scene.waits(1, &[1]);
}

#[test]
fn while_the_backend_is_away_ten_thousand_clients_are_one_call_a_second() {
    let mut scene = Scene::new();
    let mut calls = 0;
    for by in 0..100 {
        scene.waits(by, &[1]);
    }
    while let Some(call) = scene.take() {
        calls += 1;
        scene.settle(&call, Err(Fault::Unreachable));
    }
    assert_eq!((calls, scene.desk.counts().questions), (8, 0), "those that waited are told");
    for by in 0..10_000 {
        scene.now_ms += u64::from(by % 2);
        if let Asked::Waiting(_) = scene.ask(by + 1_000, &[1]) {
            calls += 1;
            let call = scene.take().unwrap();
            scene.settle(&call, Err(Fault::Timeout(2_000)));
        }
    }
    assert!((8 + 4..=8 + 5).contains(&calls), "{calls} in 5 s");
    scene.now_ms += 1_000;
    scene.waits(1, &[1]);
    assert_eq!(scene.known(2, &[1]), [Decision::Fault(Fault::Paused)], "one tries");
    let call = scene.take().unwrap();
    scene.settle(&call, Ok(allow(&[1])));
    scene.waits(2, &[1]);
}

#[test]
fn at_the_stop_all_who_wait_are_told_and_nobody_waits_any_more() {
    let mut scene = Scene::new();
    scene.waits(1, &[1]);
    let call = scene.take().unwrap();
    scene.waits(2, &[1]);
    let told = scene.desk.stop();
    assert_eq!(told.iter().map(|told| told.waiter).collect::<Vec<_>>(), [1, 2]);
    assert!(told.iter().all(|told| *told.decisions == [Decision::Fault(Fault::Stopped)]));
    assert!(scene.settle(&call, Ok(allow(&[1]))).is_empty(), "too late");
    assert!(matches!(scene.desk.take(scene.now_ms), (Taken::End, _)));
    assert_eq!(scene.known(3, &[1]), [Decision::Fault(Fault::Stopped)]);
    let counts = scene.desk.counts();
    assert_eq!((counts.questions, counts.waiting, counts.calls, counts.kept), (0, 0, 0, 0));
}

/// A step of a history.
#[derive(Clone, Debug)]
enum Step {
    Ask {
        by: u32,
        is_publish: bool,
        channels: Vec<u32>,
    },
    Take,
    /// Of the calls being made, which; and what becomes of it.
    Settle {
        which: prop::sample::Index,
        allowed: Option<Vec<u32>>,
        is_away: bool,
    },
    Pass {
        ms: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let channels = || prop::collection::vec(0..5_u32, 1..5);
    let settle = (any::<prop::sample::Index>(), prop::option::weighted(0.6, channels()), any::<bool>());
    prop_oneof![
        6 => (0..4_u32, any::<bool>(), channels())
            .prop_map(|(by, is_publish, channels)| Step::Ask { by, is_publish, channels }),
        4 => Just(Step::Take),
        4 => settle.prop_map(|(which, allowed, is_away)| Step::Settle { which, allowed, is_away }),
        2 => prop_oneof![0..100_u64, 900..1_100_u64, 4_000..6_000_u64, 50_000..70_000_u64]
            .prop_map(|ms| Step::Pass { ms }),
    ]
}

type PlainKey = (u32, Action, u32);

/// The model: lists that are searched from end to end.
struct Model {
    bounds: Bounds,
    now_ms: u64,
    breaker: Breaker,
    /// The newest of a key last.
    known: Vec<(PlainKey, Decision, u64)>,
    /// The keys of each call that is not settled, when it was asked for, and its number once it was taken.
    calls: Vec<(Vec<PlainKey>, u64, Option<CallId>)>,
    questions: Vec<(QuestionId, Vec<PlainKey>, Vec<Option<Decision>>)>,
}

impl Model {
    fn find(&self, key: PlainKey) -> Option<Decision> {
        let newest = self.known.iter().rev().find(|(known, ..)| *known == key)?;
        (self.now_ms < newest.2).then(|| newest.1.clone())
    }

    fn waiting(&self) -> usize {
        self.calls.iter().filter(|(.., id)| id.is_none()).count()
    }

    fn ask(&mut self, keys: &[PlainKey], asked: Asked) {
        let mut decisions: Vec<_> = keys.iter().map(|key| self.find(*key)).collect();
        let is_asked = |key: &PlainKey| self.calls.iter().any(|(keys, ..)| keys.contains(key));
        let mut unasked: Vec<_> =
            keys.iter().zip(&decisions).filter(|(_, known)| known.is_none()).map(|(key, _)| *key).collect();
        unasked.retain(|key| !is_asked(key));
        let fault = if !self.breaker.permits(self.calls.len(), self.now_ms) {
            Some(Fault::Paused)
        } else if self.waiting() >= self.bounds.waiting_max {
            Some(Fault::Busy)
        } else {
            None
        };
        match fault {
            Some(fault) => {
                for (key, decision) in keys.iter().zip(&mut decisions) {
                    if unasked.contains(key) {
                        *decision = Some(Decision::Fault(fault));
                    }
                }
            }
            None if unasked.is_empty() => {}
            None => {
                let mut distinct = Vec::new();
                unasked.into_iter().for_each(|key| {
                    if !distinct.contains(&key) {
                        distinct.push(key);
                    }
                });
                self.calls.push((distinct, self.now_ms, None));
            }
        }
        let is_full = self.questions.len() >= self.bounds.questions_max;
        if is_full {
            decisions.iter_mut().for_each(|decision| {
                decision.get_or_insert(Decision::Fault(Fault::Busy));
            });
        }
        match asked {
            Asked::Known(known) => {
                let expected: Vec<_> =
                    decisions.into_iter().map(|decision| decision.expect("known")).collect();
                assert_eq!(*known, expected);
            }
            Asked::Waiting(id) => {
                assert!(decisions.iter().any(Option::is_none));
                self.questions.push((id, keys.to_vec(), decisions));
            }
        }
    }

    /// Ends a call; `decide` as in the desk. Who is told.
    fn close(
        &mut self,
        at: usize,
        decide: impl Fn(PlainKey) -> (Decision, Option<u64>),
    ) -> Vec<(QuestionId, Vec<Decision>)> {
        let (keys, ..) = self.calls.remove(at);
        for key in keys {
            let (decision, until_ms) = decide(key);
            self.known.extend(until_ms.map(|until_ms| (key, decision.clone(), until_ms)));
            for (_, asked, decisions) in &mut self.questions {
                for (_, slot) in
                    asked.iter().zip(decisions).filter(|(asked, slot)| **asked == key && slot.is_none())
                {
                    *slot = Some(decision.clone());
                }
            }
        }
        let is_told = |(.., decisions): &(QuestionId, Vec<PlainKey>, Vec<Option<Decision>>)| {
            decisions.iter().all(Option::is_some)
        };
        let told = self.questions.iter().filter(|question| is_told(question));
        let told =
            told.map(|(id, _, decisions)| (*id, decisions.iter().flatten().cloned().collect())).collect();
        self.questions.retain(|question| !is_told(question));
        told
    }
}

fn plain(told: Vec<Told<u32>>) -> Vec<(QuestionId, Vec<Decision>)> {
    told.into_iter().map(|told| (told.question, told.decisions.into())).collect()
}

fn follow(steps: Vec<Step>) {
    let bounds =
        Bounds { calls_max: 2, waiting_max: 3, questions_max: 6, wait_max_ms: 2_000, ..Bounds::new(0) };
    let mut desk = Desk::new(bounds);
    let mut model = Model {
        bounds,
        now_ms: 0,
        breaker: Breaker::default(),
        known: Vec::new(),
        calls: Vec::new(),
        questions: Vec::new(),
    };
    for step in steps {
        match step {
            Step::Ask { by, is_publish, channels } => {
                let action = if is_publish { Action::Publish } else { Action::Subscribe };
                let asked =
                    desk.ask(&client(by), action, &names(&channels), Transport::Post, by, model.now_ms);
                let keys: Vec<_> = channels.iter().map(|channel| (by, action, *channel)).collect();
                model.ask(&keys, asked);
            }
            Step::Take => take(&mut desk, &mut model),
            Step::Settle { which, allowed, is_away } => {
                settle(&mut desk, &mut model, which, allowed, is_away)
            }
            Step::Pass { ms } => model.now_ms += ms,
        }
        let counts = desk.counts();
        assert_eq!((counts.questions, counts.waiting), (model.questions.len(), model.waiting()));
        assert_eq!(counts.calls, model.calls.len() - model.waiting());
        assert!(counts.calls <= bounds.calls_max && counts.waiting <= bounds.waiting_max);
    }
    let told = plain(desk.stop());
    assert_eq!(told.len(), model.questions.len(), "everybody is told in the end");
}

fn take(desk: &mut Desk<u32>, model: &mut Model) {
    let (taken, told) = desk.take(model.now_ms);
    let mut expected = Vec::new();
    let next = loop {
        let Some(at) = model.calls.iter().position(|(.., id)| id.is_none()) else { break None };
        if model.now_ms - model.calls[at].1 > model.bounds.wait_max_ms {
            expected.extend(model.close(at, |_| (Decision::Fault(Fault::Busy), None)));
            continue;
        }
        break Some(at).filter(|_| model.calls.len() - model.waiting() < model.bounds.calls_max);
    };
    assert_eq!(plain(told), expected);
    match (taken, next) {
        (Taken::Wait, None) => {}
        (Taken::Call(call), Some(at)) => {
            let channels: Vec<_> = model.calls[at].0.iter().map(|(.., channel)| *channel).collect();
            assert_eq!(*call.channels, names(&channels));
            assert_eq!(call.credentials, client(model.calls[at].0[0].0));
            model.calls[at].2 = Some(call.id);
        }
        (taken, next) => panic!("{taken:?}, and the model has {next:?}"),
    }
}

fn settle(
    desk: &mut Desk<u32>,
    model: &mut Model,
    which: prop::sample::Index,
    allowed: Option<Vec<u32>>,
    is_away: bool,
) {
    let made: Vec<_> = (0..model.calls.len()).filter(|at| model.calls[*at].2.is_some()).collect();
    if made.is_empty() {
        return;
    }
    let at = made[which.index(made.len())];
    let (keys, _, id) = model.calls[at].clone();
    let id = id.expect("it was taken");
    let now_ms = model.now_ms;
    let fault = if is_away { Fault::Unreachable } else { Fault::Status(500) };
    let outcome = allowed.as_deref().map(allow).ok_or(fault);
    let told = plain(desk.settle(id, outcome, now_ms));
    let mut expected = match &allowed {
        Some(allowed) => {
            model.breaker.note_answer();
            let ends_at_ms = now_ms + spread(TTL_MS, client(keys[0].0).digest());
            model.close(at, |(.., channel)| match allowed.contains(&channel) {
                true => (Decision::Yes(Grant { person: None, sees: false, ends_at_ms }), Some(ends_at_ms)),
                false => (Decision::No(None), Some(now_ms + 5_000)),
            })
        }
        None => model.close(at, |_| (Decision::Fault(fault), Some(now_ms + 1_000))),
    };
    if allowed.is_none() && model.breaker.note_fault(fault, now_ms) {
        while let Some(at) = model.calls.iter().position(|(.., id)| id.is_none()) {
            expected.extend(model.close(at, |_| (Decision::Fault(Fault::Paused), None)));
        }
    }
    assert_eq!(told, expected);
}

proptest! {
    #[test]
    fn a_desk_does_what_a_plain_model_does(steps in prop::collection::vec(step(), 0..120)) {
        follow(steps);
    }
}
