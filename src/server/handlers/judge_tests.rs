//! Verdicts of a program, at once and later, without sockets.

use std::panic::resume_unwind;

use mio::{Poll, Token};

use super::*;
use crate::server::broker::mailbox::mailboxes;

fn request() -> Request<'static> {
    Request::test("/channels/a").with_header("Cookie", "sid=1")
}

fn names(names: &[&str]) -> Vec<ChannelName> {
    names.iter().map(|name| ChannelName::new(name).unwrap()).collect()
}

fn asker() -> Asker {
    let poll = Poll::new().unwrap();
    let mailboxes = mailboxes(std::slice::from_ref(&poll), Token(0)).unwrap().into();
    Asker { mailboxes, loop_index: 0, connection: 7, clock: Clock::start() }
}

fn judge(decide: impl Fn(&Request<'_>, Action, &ChannelName) -> Verdict + Send + Sync + 'static) -> Judge {
    Judge::new(Box::new(decide))
}

/// What is decided of a grant at this time.
fn decided(grant: Grant, now_ms: u64) -> backend::Grant {
    match grant.decision(now_ms) {
        Decision::Yes(grant) => grant,
        other => panic!("no yes: {other:?}"),
    }
}

#[test]
fn a_grant_holds_for_a_minute_or_as_long_as_it_says_within_a_second_and_a_day() {
    let ends = |grant: Grant| decided(grant, 5).ends_at_ms - 5;
    assert_eq!(ends(Grant::new()), 60_000);
    assert_eq!(ends(Grant::new().holds(Duration::from_secs(300))), 300_000);
    assert_eq!(ends(Grant::new().holds(Duration::ZERO)), 1_000);
    assert_eq!(ends(Grant::new().holds(Duration::MAX)), 86_400_000);
}

#[test]
fn a_grant_names_a_user_and_what_others_are_told_of_it() {
    let grant = decided(Grant::new().user("u42").info(r#"{ "name": "Ada B" }"#).presence(), 0);
    let person = grant.person.unwrap();
    assert_eq!((person.sub.as_deref(), person.info.as_deref()), (Some("u42"), Some(r#"{"name":"Ada B"}"#)));
    assert!(grant.sees);
    assert_eq!(decided(Grant::new(), 0), backend::Grant { person: None, sees: false, ends_at_ms: 60_000 });
}

#[test]
fn a_user_without_a_name_or_with_one_that_is_too_long_is_a_fault_and_so_is_info_that_is_not_json() {
    let user = |len: usize| Grant::new().user("u".repeat(len)).decision(0);
    assert_eq!([user(0), user(201)], [fault(ProgramFault::User), fault(ProgramFault::User)]);
    assert!(matches!(user(200), Decision::Yes(_)));
    let info = |text: String| Grant::new().info(text).decision(0);
    for bad in ["", "{", "Ada", "{} {}"] {
        assert_eq!(info(bad.to_owned()), fault(ProgramFault::Info), "{bad}");
    }
    assert_eq!(info(format!("\"{}\"", "x".repeat(1_023))), fault(ProgramFault::Info));
    assert!(matches!(info(format!("\"{}\"", "x".repeat(1_022))), Decision::Yes(_)));
}

#[test]
fn what_is_decided_at_once_is_known_in_the_order_of_the_channels_and_a_no_always_has_a_sentence() {
    let judge = judge(|request, action, channel| match (request.cookie("sid"), channel.as_str()) {
        (Some("1"), "a") => Verdict::allow(),
        (_, "b") => Verdict::refuse("By invitation."),
        _ => Verdict::refuse(if action == Action::Publish { " " } else { "" }),
    });
    let ask = |action| match judge
        .ask(&request(), action, &names(&["a", "b", "c"]), asker(), |panic| resume_unwind(panic))
    {
        Asked::Known(decisions) => decisions,
        Asked::Waiting(_) => panic!("it is decided"),
    };
    let [Decision::Yes(_), Decision::No(Some(one)), Decision::No(Some(other))] = &*ask(Action::Subscribe)
    else {
        panic!("as it is decided");
    };
    assert_eq!((&**one, &**other), ("By invitation.", "This client may not subscribe to c."));
    let last = ask(Action::Publish)[2].clone();
    assert_eq!(last, Decision::No(Some("This client may not publish to c.".into())));
}

/// Keeps the replies of all questions.
fn keeping() -> (Judge, Arc<Mutex<Vec<VerdictReply>>>) {
    let kept: Arc<Mutex<Vec<VerdictReply>>> = Arc::default();
    let replies = Arc::clone(&kept);
    let judge = judge(move |_, _, channel| {
        let replies = Arc::clone(&replies);
        match channel.as_str() {
            "now" => Verdict::allow(),
            _ => Verdict::later(move |reply| lock(&replies).push(reply)),
        }
    });
    (judge, kept)
}

#[test]
fn a_question_is_told_once_when_the_last_of_its_channels_is_decided() {
    let (judge, kept) = keeping();
    let asker = asker();
    let channels = names(&["a", "now", "b", "c"]);
    let Asked::Waiting(id) =
        judge.ask(&request(), Action::Subscribe, &channels, asker.clone(), |panic| resume_unwind(panic))
    else {
        panic!("it is not decided");
    };
    let mut replies = std::mem::take(&mut *lock(&kept));
    drop(replies.pop());
    replies.pop().unwrap().refuse("");
    assert!(asker.mailboxes[0].take_verdicts().is_empty(), "one is left");
    replies.pop().unwrap().allow(Grant::new().user("u1"));
    let mut told = asker.mailboxes[0].take_verdicts();
    let mailbox::Verdict { connection, question, decisions } = told.pop().unwrap();
    assert!(told.is_empty());
    assert_eq!((connection, question), (7, id));
    let [Decision::Yes(first), Decision::Yes(second), no, unanswered] = &*decisions else {
        panic!("{decisions:?}");
    };
    assert!(first.person.is_some() && second.person.is_none());
    assert_eq!(*no, Decision::No(Some("This client may not subscribe to b.".into())));
    assert_eq!(*unanswered, fault(ProgramFault::Unanswered));
    assert_eq!(judge.waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn replies_may_come_from_any_thread() {
    let (judge, kept) = keeping();
    let asker = asker();
    let channels = names(&["a", "b", "c", "d"]);
    judge.ask(&request(), Action::Publish, &channels, asker.clone(), |panic| resume_unwind(panic));
    let replies = std::mem::take(&mut *lock(&kept));
    let threads: Vec<_> =
        replies.into_iter().map(|reply| std::thread::spawn(move || reply.allow(Grant::new()))).collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(asker.mailboxes[0].take_verdicts().len(), 1);
}

#[test]
fn above_the_bound_of_awaited_answers_nobody_waits_and_what_is_decided_at_once_counts() {
    let (judge, kept) = keeping();
    judge.waiting.store(QUESTIONS_MAX, Ordering::Relaxed);
    let asked = judge
        .ask(&request(), Action::Subscribe, &names(&["a", "now"]), asker(), |panic| resume_unwind(panic));
    let Asked::Known(decisions) = asked else { panic!("it waits") };
    assert_eq!(decisions[0], fault(ProgramFault::Busy));
    assert!(matches!(decisions[1], Decision::Yes(_)) && lock(&kept).is_empty());
}

#[test]
fn a_question_whose_beginning_panics_waits_no_more() {
    let judge = judge(|_, _, _| Verdict::later(|_| panic!("as asked")));
    let ask = || {
        judge.ask(&request(), Action::Subscribe, &names(&["a", "b"]), asker(), |panic| resume_unwind(panic))
    };
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(ask)).is_err());
    assert_eq!(judge.waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn a_panic_about_one_channel_leaves_what_is_decided_of_the_others() {
    let judge = judge(|_, _, channel| match channel.as_str() {
        "now" => panic!("as asked"),
        "later" => Verdict::later(|_| panic!("as asked")),
        _ => Verdict::allow(),
    });
    let mut panics = 0;
    let mut ask = |channels: &[&str], asker| {
        judge.ask(&request(), Action::Publish, &names(channels), asker, |_| panics += 1)
    };
    let Asked::Known(decisions) = ask(&["a", "now", "b"], asker()) else { panic!("it waits") };
    assert!(matches!(&*decisions, [Decision::Yes(_), Decision::Fault(_), Decision::Yes(_)]), "{decisions:?}");
    let asker = asker();
    assert!(matches!(ask(&["a", "later", "b"], asker.clone()), Asked::Waiting(_)));
    let told = asker.mailboxes[0].take_verdicts().pop().unwrap();
    let [Decision::Yes(_), missing, Decision::Yes(_)] = &*told.decisions else { panic!("{told:?}") };
    assert_eq!(*missing, fault(ProgramFault::Panicked));
    assert_eq!(panics, 2);
}

#[test]
fn a_program_that_names_two_users_for_one_client_has_decided_only_about_the_first() {
    let judge = judge(|_, _, channel| match channel.as_str() {
        "nobody" => Verdict::allow(),
        name => Verdict::Allow(Grant::new().user(name)),
    });
    let channels = names(&["nobody", "u1", "u2", "u1"]);
    let asked = judge.ask(&request(), Action::Subscribe, &channels, asker(), |panic| resume_unwind(panic));
    let Asked::Known(decisions) = asked else { panic!("it waits") };
    let [Decision::Yes(_), Decision::Yes(_), other, Decision::Yes(_)] = &*decisions else {
        panic!("{decisions:?}")
    };
    assert_eq!(*other, fault(ProgramFault::Users));
}
