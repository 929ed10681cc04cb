//! Who may do what with channels, where a program decides that in the place of a backend: its verdicts, given at once or later
//! from any thread.
//!
//! When it is asked is in `connection`; which channels are its to decide, in `access`.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::request::Request;
use super::routes::Spent;
use super::watching::Refusal;
use crate::backend::{self, Action, Asked, Decision, Fault, Person, ProgramFault, QuestionId};
use crate::hub::ChannelName;
use crate::server::broker::mailbox::{self, Mailbox};
use crate::server::clock::{Clock, millis};
use crate::server::discard::discard;
use crate::server::lock::lock;
use crate::token::{INFO_LEN_MAX, NAME_LEN_MAX, without_space};

/// Answers that are awaited. A connection waits for one or two at a time, so they are more than a server has connections by
/// default, unless the program keeps replies to clients that have gone.
const QUESTIONS_MAX: usize = 131_072;

/// How long a yes holds unless it says so itself, in milliseconds: as long as that of a backend.
const HOLDS_MS: u64 = 60_000;

/// The bounds of the time that a yes holds, in milliseconds: those of a backend's.
const HOLDS_MS_RANGE: (u64, u64) = (1_000, 86_400_000);

/// Decides whether who made a request may do something with a channel.
pub type Decide = Box<dyn Fn(&Request<'_>, Action, &ChannelName) -> Verdict + Send + Sync>;

/// What a program says of a client that wants to subscribe or publish to a channel.
#[must_use]
pub enum Verdict {
    /// The client may.
    Allow(Grant),
    /// It may not: 403, or its like, with the sentence.
    Refuse(Refusal),
    /// It is said later, by a [`VerdictReply`]; made by [`Verdict::later`]. The client waits.
    Later(Later),
}

/// What is done with a [`VerdictReply`], once there is one.
pub struct Later(Box<dyn FnOnce(VerdictReply)>);

/// What a client is allowed, and as whom. By default as nobody in particular, without seeing who else is there, for a minute:
/// then the program is asked again whether the client may go on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grant {
    user: Option<String>,
    info: Option<String>,
    sees: bool,
    holds: Option<Duration>,
}

/// A verdict that is given later, from any thread. Dropped without one, the client is refused with 503, or its like, and may try
/// again; if the client has gone meanwhile, the verdict is passed over.
#[must_use]
pub struct VerdictReply(Option<Pending>);

/// One channel of a question, which waits for its verdict.
struct Pending {
    question: Arc<Question>,
    /// Which of the question's channels it is.
    at: usize,
    action: Action,
    channel: ChannelName,
}

/// Where a question came from, and its decision goes.
#[derive(Clone, Debug)]
pub struct Asker {
    pub mailboxes: Arc<[Mailbox]>,
    pub loop_index: usize,
    pub connection: u64,
    pub clock: Clock,
}

/// A question that waits for verdicts.
struct Question {
    id: QuestionId,
    asker: Asker,
    /// In the order of its channels. Empty once they were told.
    decisions: Mutex<Vec<Option<Decision>>>,
    /// How many such there are.
    waiting: Arc<AtomicUsize>,
}

/// The program that decides.
pub struct Judge {
    decide: Decide,
    /// What its calls have taken.
    pub spent: Spent,
    asked: AtomicU64,
    waiting: Arc<AtomicUsize>,
}

impl Verdict {
    /// The client may, as nobody in particular.
    pub fn allow() -> Self {
        Self::Allow(Grant::new())
    }

    /// The client may not, for the reason that the sentence gives. Empty: for none.
    pub fn refuse(sentence: impl Into<String>) -> Self {
        Self::Refuse(Refusal::new(sentence))
    }

    /// The verdict comes later. `begin` is called at once, on the loop, and must not block: it hands the reply to whoever finds
    /// out.
    ///
    /// ```no_run
    /// use fanfare::app::{Grant, Refusal, Verdict};
    /// # use fanfare::{Config, Server};
    /// # fn user_of(sid: &str) -> Option<String> { None }
    /// # let mut server = Server::bind(Config::default())?;
    /// server.authorize(|request, _, _| {
    ///     let Some(sid) = request.cookie("sid").map(str::to_owned) else { return Verdict::refuse("Sign in first.") };
    ///     Verdict::later(|reply| {
    ///         std::thread::spawn(move || match user_of(&sid) {
    ///             Some(user) => reply.allow(Grant::new().user(user)),
    ///             None => reply.refuse("The session has ended."),
    ///         });
    ///     })
    /// });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn later(begin: impl FnOnce(VerdictReply) + 'static) -> Self {
        Self::Later(Later(Box::new(begin)))
    }
}

impl Grant {
    /// To nobody in particular.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// As this user, of 1 to 200 bytes: who is there for the others in channels with presence, who can be revoked, and whom
    /// `Request::identity` and `Sender::identity` name. A client that is known as another ends with an error. A longer name, or
    /// none, refuses the client with 503, and a line is logged.
    #[must_use]
    pub fn user(self, user: impl Into<String>) -> Self {
        Self { user: Some(user.into()), ..self }
    }

    /// What the others in channels with presence are told of the user: JSON, of at most 1 KiB without white space. What is not
    /// refuses the client with 503, and a line is logged.
    #[must_use]
    pub fn info(self, json: impl Into<String>) -> Self {
        Self { info: Some(json.into()), ..self }
    }

    /// The client may see who is there, where that is told to anybody (`Config::presence`).
    #[must_use]
    pub fn presence(self) -> Self {
        Self { sees: true, ..self }
    }

    /// How long it holds: from a second to a day.
    #[must_use]
    pub fn holds(self, time: Duration) -> Self {
        Self { holds: Some(time), ..self }
    }

    fn decision(self, now_ms: u64) -> Decision {
        let Self { user, info, sees, holds } = self;
        if user.as_ref().is_some_and(|user| !(1..=NAME_LEN_MAX).contains(&user.len())) {
            return fault(ProgramFault::User);
        }
        let info = match info.map(|info| json(&info)) {
            None => None,
            Some(Some(info)) => Some(info),
            Some(None) => return fault(ProgramFault::Info),
        };
        let person = Person { sub: user.map(Into::into), info };
        let person = (person != Person::default()).then(|| Arc::new(person));
        let holds_ms = holds.map_or(HOLDS_MS, millis).clamp(HOLDS_MS_RANGE.0, HOLDS_MS_RANGE.1);
        Decision::Yes(backend::Grant { person, sees, ends_at_ms: now_ms + holds_ms })
    }
}

/// A JSON text without white space, if it is one and not too long.
fn json(text: &str) -> Option<Box<str>> {
    serde_json::from_str::<serde::de::IgnoredAny>(text).ok()?;
    let json = without_space(text);
    (json.len() <= INFO_LEN_MAX).then(|| json.into())
}

fn fault(fault: ProgramFault) -> Decision {
    Decision::Fault(Fault::Program(fault))
}

fn refusal(refusal: &Refusal, action: Action, channel: &ChannelName) -> Decision {
    let sentence = refusal.to_string();
    if !sentence.trim().is_empty() {
        return Decision::No(Some(sentence.into()));
    }
    let what = match action {
        Action::Subscribe => "subscribe",
        Action::Publish => "publish",
    };
    Decision::No(Some(format!("This client may not {what} to {channel}.").into()))
}

impl VerdictReply {
    /// The client may.
    pub fn allow(mut self, grant: Grant) {
        let Some(pending) = self.0.take() else { return };
        let now_ms = pending.question.asker.clock.now().0;
        pending.put(grant.decision(now_ms));
    }

    /// The client may not, for the reason that the sentence gives. Empty: for none.
    pub fn refuse(mut self, sentence: impl Into<String>) {
        let Some(pending) = self.0.take() else { return };
        let decision = refusal(&Refusal::new(sentence), pending.action, &pending.channel);
        pending.put(decision);
    }
}

impl Drop for VerdictReply {
    fn drop(&mut self) {
        if let Some(pending) = self.0.take() {
            let is_panic = thread::panicking();
            pending.put(fault(if is_panic { ProgramFault::Panicked } else { ProgramFault::Unanswered }));
        }
    }
}

impl Pending {
    fn put(self, decision: Decision) {
        let mut decisions = lock(&self.question.decisions);
        decisions[self.at] = Some(decision);
        let Some(complete) = decisions.iter().cloned().collect::<Option<Box<[Decision]>>>() else { return };
        drop(decisions);
        let Asker { mailboxes, loop_index, connection, .. } = &self.question.asker;
        mailboxes[*loop_index].verdict(mailbox::Verdict {
            connection: *connection,
            question: self.question.id,
            decisions: of_one_user(complete),
        });
    }
}

/// Who asks is one user: a yes that names another than the first that names one is a fault of the program.
fn of_one_user(mut decisions: Box<[Decision]>) -> Box<[Decision]> {
    let first = decisions.iter().find_map(user_of).map(str::to_owned);
    for decision in &mut decisions {
        if user_of(decision).is_some_and(|user| Some(user) != first.as_deref()) {
            *decision = fault(ProgramFault::Users);
        }
    }
    decisions
}

fn user_of(decision: &Decision) -> Option<&str> {
    match decision {
        Decision::Yes(grant) => grant.person.as_ref()?.sub.as_deref(),
        Decision::No(_) | Decision::Fault(_) => None,
    }
}

impl Drop for Question {
    fn drop(&mut self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Judge {
    /// By this function.
    pub fn new(decide: Decide) -> Self {
        Self { decide, spent: Spent::default(), asked: AtomicU64::new(0), waiting: Arc::default() }
    }

    /// Asks about channels, one after the other. What is not decided at once comes by the mailbox of the asker's loop. A panic about
    /// one is handed to `panicked`, and leaves that one undecided.
    pub fn ask(
        &self,
        request: &Request<'_>,
        action: Action,
        channels: &[ChannelName],
        asker: Asker,
        mut panicked: impl FnMut(Box<dyn Any + Send>),
    ) -> Asked {
        let now_ms = asker.clock.now().0;
        let (mut decisions, mut later) = (Vec::with_capacity(channels.len()), Vec::new());
        for (at, channel) in channels.iter().enumerate() {
            let verdict = catch_unwind(AssertUnwindSafe(|| (self.decide)(request, action, channel)));
            decisions.push(match verdict {
                Ok(Verdict::Allow(grant)) => Some(grant.decision(now_ms)),
                Ok(Verdict::Refuse(why)) => Some(refusal(&why, action, channel)),
                Ok(Verdict::Later(begin)) => {
                    later.push((at, channel, begin));
                    None
                }
                Err(panic) => {
                    panicked(panic);
                    Some(fault(ProgramFault::Panicked))
                }
            });
        }
        let is_busy = self.waiting.load(Ordering::Relaxed) >= QUESTIONS_MAX;
        if later.is_empty() || is_busy {
            discard(later);
            let busy = |decision: Option<Decision>| decision.unwrap_or_else(|| fault(ProgramFault::Busy));
            return Asked::Known(of_one_user(decisions.into_iter().map(busy).collect()));
        }
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let question = Arc::new(Question {
            id: QuestionId::new(self.asked.fetch_add(1, Ordering::Relaxed)),
            asker,
            decisions: Mutex::new(decisions),
            waiting: Arc::clone(&self.waiting),
        });
        for (at, channel, Later(begin)) in later {
            let question = Arc::clone(&question);
            let reply = VerdictReply(Some(Pending { question, at, action, channel: channel.clone() }));
            // A panic drops the reply, which answers for it.
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| begin(reply))) {
                panicked(panic);
            }
        }
        Asked::Waiting(question.id)
    }
}

impl fmt::Debug for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow(grant) => f.debug_tuple("Allow").field(grant).finish(),
            Self::Refuse(refusal) => f.debug_tuple("Refuse").field(refusal).finish(),
            Self::Later(later) => later.fmt(f),
        }
    }
}

impl fmt::Debug for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Later")
    }
}

impl fmt::Debug for VerdictReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = self.0.as_ref().map(|pending| (pending.action, &pending.channel));
        f.debug_tuple("VerdictReply").field(&about).finish()
    }
}

impl fmt::Debug for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Judge({} answers awaited)", self.waiting.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
#[path = "judge_tests.rs"]
mod tests;
