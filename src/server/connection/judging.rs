//! What a connection asks of its backend: whether a request may go on, a message is published, a command is carried out.
//!
//! Who is asked, and what is shown of the client, is in `consulting`; what follows when a grant runs out, in `tenure`.

use std::sync::Arc;

use super::awaiting::{Parked, Pending, Wish, Wished};
use super::consulting::note_program_faults;
use super::context::Context;
use super::grants::Tenure;
use super::life::{Expects, Http, Life, Messages, WebSocket};
use super::preparing::Waited;
use super::{Connection, Next};
use crate::backend::{Action, Asked, Decision, Fault, Judged, Person, QuestionId};
use crate::commands::{self, Command, FaultKind, Request};
use crate::http;
use crate::hub::ChannelName;
use crate::server::access::{Identity, Refusal, Verdict};
use crate::server::api::acceptance::{Becoming, MayPublish};
use crate::server::api::basis::{Asking, refusal_of};
use crate::server::api::handlers::Answer;
use crate::server::api::payload::Sent;
use crate::token::Right;
use crate::ws::CloseCode;

/// Requests.
impl Connection {
    /// Asks the backend about a request. If the answer is known, it is decided at once, else when a verdict comes.
    pub(super) fn ask_about(
        &mut self,
        request: &http::Request,
        mut judged: Judged,
        asking: Asking,
        cx: &mut Context,
    ) {
        let Asking { action, channels } = &asking;
        let (asked, credentials) = self.consult_about(request, *action, channels, cx);
        match asked {
            Asked::Known(decisions) => {
                judged.add(*action, channels, decisions);
                self.answer(request, judged, cx);
            }
            Asked::Waiting(question) => {
                let Life::Http(http) = &mut self.life else { return };
                let request = request.clone();
                let pending = Pending::Verdict { question, asking };
                let parked = Parked { request, credentials, judged, pending, since: cx.now };
                http.expects = Expects::GoAhead(Box::new(parked));
            }
        }
    }

    /// What the backend has decided for this connection. It may wait for nothing by now.
    pub fn receive_verdict(
        &mut self,
        question: QuestionId,
        decisions: Box<[Decision]>,
        cx: &mut Context,
    ) -> Next {
        note_program_faults(&decisions, cx);
        if let Some(parked) = self.take_parked(|pending| pending.is_verdict(question)) {
            let Parked { request, mut judged, pending: Pending::Verdict { asking, .. }, .. } = parked else {
                unreachable!("it is what was asked for")
            };
            judged.add(asking.action, &asking.channels, decisions);
            self.deadlines.restart(cx.now);
            self.answer(&request, judged, cx);
            return Next::Read;
        }
        let decisions = match self.decide_batch(question, decisions, cx) {
            Ok(next) => return next,
            Err(decisions) => decisions,
        };
        if let Some(tenure) = self.tenure_mut()
            && let Some(renewal) = tenure.renewal.take_if(|renewal| renewal.question == question)
        {
            return self.renewed(&renewal.channels, &decisions, cx);
        }
        let Some(wish) = self.take_wish(|pending| pending.is_verdict(question)) else { return Next::Wait };
        let Wish { pending: Pending::Verdict { asking, .. }, what, .. } = *wish else { return Next::Wait };
        self.restart_beginning(cx);
        match what {
            Wished::Message(sent) => {
                if let Some(decision) = decisions.first() {
                    self.publish_if(sent, decision, cx);
                }
            }
            Wished::Command(text) => self.carry_out_judged(&text, &asking, decisions, cx),
            Wished::Subscription { .. } => unreachable!("the backend is not asked about Pusher clients"),
        }
        Next::Read
    }

    /// Takes the request that is parked for this.
    pub(super) fn take_parked(&mut self, is_it: impl FnOnce(&Pending) -> bool) -> Option<Parked> {
        let Life::Http(http) = &mut self.life else { return None };
        http.take_expected(|expects| match expects {
            Expects::GoAhead(parked) if is_it(&parked.pending) => Ok(*parked),
            other => Err(other),
        })
    }

    /// Notes what the request that begins something lasting was allowed by.
    pub(super) fn begin_tenure(
        &mut self,
        request: &http::Request,
        answer: &Answer,
        judged: &Judged,
        cx: &Context,
    ) {
        self.set_tenure(None);
        let has_judge = cx.shared.hook.is_some() || cx.program.judge.is_some();
        let asks_to_publish = match answer {
            Answer::Upgrade(acceptance) => match &acceptance.becomes {
                Becoming::Subscriber { may_publish, .. } => *may_publish == MayPublish::IfTheBackendSaysSo,
                // It asks by its commands.
                Becoming::Multiplex(_) => has_judge,
                Becoming::Pusher { .. } | Becoming::Refused(_) => return,
            },
            Answer::Stream(_) | Answer::Poll(_) | Answer::ReadMany(_) => false,
            // It asks by its body.
            Answer::ReadBatch(_) => has_judge,
            Answer::Respond(_)
            | Answer::Refuse(_)
            | Answer::Ask(_)
            | Answer::Report(_)
            | Answer::Revoke
            | Answer::ReadBody(_)
            | Answer::Call(_)
            | Answer::Session(..) => return,
        };
        if !asks_to_publish && judged.grants().next().is_none() {
            return;
        }
        let mut tenure = self.begun_tenure(request, cx);
        for (action, channel, grant) in judged.grants() {
            match action {
                Action::Subscribe => tenure.hold(channel, grant, cx.owner),
                Action::Publish => {}
            }
        }
        self.set_tenure(Some(Box::new(tenure)));
    }
}

impl Http {
    /// Takes what it expects, and then it expects the next request. What `take` gives back stays.
    pub fn take_expected<T>(&mut self, take: impl FnOnce(Expects) -> Result<T, Expects>) -> Option<T> {
        take(std::mem::replace(&mut self.expects, Expects::Head)).map_err(|other| self.expects = other).ok()
    }
}

/// Where it is kept.
impl Connection {
    /// What it may by the word of its backend, if that was asked.
    pub(super) fn tenure(&self) -> Option<&Tenure> {
        match &self.life {
            Life::Http(http) => http.tenure.as_deref(),
            Life::LongPoll(poll) => poll.http.tenure.as_deref(),
            Life::WebSocket(websocket) => websocket.aside.as_ref()?.tenure.as_deref(),
            Life::EventStream(stream) => stream.tenure.as_deref(),
            Life::Carried(_) | Life::Carrier(_) | Life::Finishing | Life::Lingering => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn tenure_mut(&mut self) -> Option<&mut Tenure> {
        match &mut self.life {
            Life::Http(http) => http.tenure.as_deref_mut(),
            Life::LongPoll(poll) => poll.http.tenure.as_deref_mut(),
            Life::WebSocket(websocket) => websocket.aside.as_mut()?.tenure.as_deref_mut(),
            Life::EventStream(stream) => stream.tenure.as_deref_mut(),
            Life::Carried(_) | Life::Carrier(_) | Life::Finishing | Life::Lingering => None,
        }
    }

    /// Takes that of a request, for what the connection becomes by it.
    pub(super) fn take_tenure(&mut self) -> Option<Box<Tenure>> {
        match &mut self.life {
            Life::Http(http) => http.tenure.take(),
            Life::LongPoll(_)
            | Life::WebSocket(_)
            | Life::EventStream(_)
            | Life::Carried(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    pub(super) fn set_tenure(&mut self, tenure: Option<Box<Tenure>>) {
        if let Life::Http(http) = &mut self.life {
            http.tenure = tenure;
        }
    }
}

/// Commands of a client of many channels.
impl Connection {
    /// Carries out a command, once the backend has decided what of it is to be asked. `text` is the command as it came.
    pub(super) fn carry_out_if(&mut self, request: Request<'_>, text: &str, cx: &mut Context) {
        let Some(asking) = self.asking_of(&request.command, cx) else {
            return self.carry_out_when_ready(request, text, Waited::not_yet(cx), cx);
        };
        match self.ask_for(asking.action, &asking.channels, cx) {
            Asked::Known(decisions) => self.carry_out_with((request, text), &asking, decisions, cx),
            Asked::Waiting(question) => {
                let pending = Pending::Verdict { question, asking };
                self.await_wish(Wish { pending, since: cx.now, what: Wished::Command(text.into()) });
            }
        }
    }

    fn carry_out_judged(
        &mut self,
        text: &str,
        asking: &Asking,
        decisions: Box<[Decision]>,
        cx: &mut Context,
    ) {
        if !self.is_open() {
            return;
        }
        match self.parse_command(text, cx) {
            Ok(request) => self.carry_out_with((request, text), asking, decisions, cx),
            Err(fault) => self.refuse_command(&fault, cx),
        }
    }

    fn carry_out_with(
        &mut self,
        (request, text): (Request<'_>, &str),
        asking: &Asking,
        decisions: Box<[Decision]>,
        cx: &mut Context,
    ) {
        if self.ends_as_another(&decisions, cx) {
            return;
        }
        let Some(tenure) = self.tenure_mut() else { return };
        tenure.judged.add(asking.action, &asking.channels, decisions);
        if let Some(person) = tenure.judged.person().cloned() {
            self.adopt(&person, cx);
        }
        self.carry_out_when_ready(request, text, Waited::not_yet(cx), cx);
    }

    /// A command is carried out: what was decided for it holds for no other.
    pub(super) fn forget_judged(&mut self) {
        if let Some(tenure) = self.tenure_mut() {
            tenure.judged = Judged::default();
        }
    }

    /// What the backend is to be asked about a command, if anything.
    fn asking_of(&self, command: &Command<'_>, cx: &Context) -> Option<Asking> {
        let named: Vec<(&ChannelName, Right)> = match command {
            Command::Subscribe(channels) => channels
                .iter()
                .filter_map(|channel| Some((&channel.as_ref().ok()?.channel, Right::Subscribe)))
                .collect(),
            Command::Publish(message) => vec![(&message.channel, Right::Publish)],
            Command::History { channel, .. } => vec![(channel, Right::Subscribe)],
            Command::Presence { channel } => vec![(channel, Right::Subscribe)],
            Command::Unsubscribe(_) | Command::Authorize { .. } => return None,
        };
        let who = self.identity.as_deref();
        let mut asking: Option<Asking> = None;
        for (name, right) in named {
            let Ok(channel) = self.internal_name(name, cx) else { continue };
            let verdict = match right {
                Right::Publish => cx.access.may_publish(who, &channel),
                Right::Subscribe | Right::Presence => cx.access.may_subscribe(who, &channel),
            };
            let Verdict::Ask(action) = verdict else { continue };
            if action == Action::Subscribe && self.holds(&channel, cx) {
                continue;
            }
            let asking = asking.get_or_insert_with(|| Asking { action, channels: Vec::new() });
            if !asking.channels.contains(&channel) {
                asking.channels.push(channel);
            }
        }
        asking
    }

    /// Whether a client of many channels may do something that the backend was asked about for its command.
    ///
    /// # Errors
    /// It may not.
    pub(super) fn check_judged(
        &self,
        action: Action,
        channel: &ChannelName,
        cx: &Context,
    ) -> Result<(), Refusal> {
        let decision = self.tenure().and_then(|tenure| tenure.judged.find(action, channel));
        match decision {
            Some(decision) => refusal_of(decision, action, channel).map_or(Ok(()), Err),
            None if action == Action::Subscribe && self.holds(channel, cx) => Ok(()),
            // The rules were reloaded between the question and the answer.
            None => Err(Refusal::Unavailable(Fault::Paused)),
        }
    }

    /// Whether the client reads a channel by the word of the backend, or may again.
    fn holds(&self, channel: &ChannelName, cx: &Context) -> bool {
        let is_read = self.subscription_to(channel, cx).is_some();
        self.tenure().is_some_and(|tenure| tenure.holds(channel, is_read, cx.now))
    }

    /// Notes that the client reads a channel by the word of the backend, if that was asked for its command.
    pub(super) fn hold_judged(&mut self, channel: &ChannelName, cx: &Context) {
        self.forget_unread(cx);
        let Some(tenure) = self.tenure_mut() else { return };
        if let Some(Decision::Yes(grant)) = tenure.judged.find(Action::Subscribe, channel).cloned() {
            tenure.hold(channel, &grant, cx.owner);
        }
    }

    /// Whether the backend lets the client see who is in a channel.
    pub(super) fn sees_by_backend(&self, channel: &ChannelName) -> bool {
        self.tenure().is_some_and(|tenure| {
            let judged = tenure.judged.find(Action::Subscribe, channel);
            matches!(judged, Some(Decision::Yes(grant)) if grant.sees) || tenure.sees(channel)
        })
    }

    /// The client is who its backend says, unless it has proved who it is, also in the channels that it reads already.
    fn adopt(&mut self, person: &Arc<Person>, cx: &mut Context) {
        if self.identity.is_none() {
            self.identity = Some(Arc::new(Identity::of_person(person)));
            self.attend_anew(cx);
        }
    }
}

/// The user.
impl Connection {
    /// Ends the connection if the backend names another user than it is that of, so that its client comes back as that one:
    /// what it reads and where it is present is the other's no more. True if it ended.
    pub(super) fn ends_as_another(&mut self, decisions: &[Decision], cx: &mut Context) -> bool {
        let Some(who) = self.identity.clone() else { return false };
        if matches!(&self.life, Life::WebSocket(websocket) if !websocket.is_open()) {
            // It is ending already, and nothing may follow its Close frame.
            return false;
        }
        let persons = decisions.iter().filter_map(|decision| match decision {
            Decision::Yes(grant) => grant.person.as_deref(),
            Decision::No(_) | Decision::Fault(_) => None,
        });
        let Some(refusal) = persons.map(|person| who.check_person(person)).find_map(Result::err) else {
            return false;
        };
        cx.note_refusal(&refusal, Some(&who));
        self.end_with(&refusal, cx);
        true
    }
}

/// Messages.
impl Connection {
    /// What the client wants to be done waits, and no further message is read until then.
    pub(super) fn await_wish(&mut self, wish: Wish) {
        match &mut self.life {
            Life::WebSocket(websocket) => {
                websocket.aside.get_or_insert_default().wish = Some(Box::new(wish));
            }
            Life::Carried(session) => session.wish = Some(Box::new(wish)),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::EventStream(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => {}
        }
    }

    /// What the client wants to be done, and what waits.
    pub(super) fn wish(&self) -> Option<&Wish> {
        match &self.life {
            Life::WebSocket(websocket) => websocket.aside.as_ref()?.wish.as_deref(),
            Life::Carried(session) => session.wish.as_deref(),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::EventStream(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    /// Takes what waits for this.
    pub(super) fn take_wish(&mut self, is_it: impl FnOnce(&Pending) -> bool) -> Option<Box<Wish>> {
        match &mut self.life {
            Life::WebSocket(websocket) => websocket.take_wish(|wish| is_it(&wish.pending)),
            Life::Carried(session) => session.wish.take_if(|wish| is_it(&wish.pending)),
            Life::Http(_)
            | Life::LongPoll(_)
            | Life::EventStream(_)
            | Life::Carrier(_)
            | Life::Finishing
            | Life::Lingering => None,
        }
    }

    /// Whether a message or command waits for the backend or for channels, so that no further one is read.
    pub(super) fn awaits_go_ahead(&self) -> bool {
        self.wish().is_some()
    }

    /// Publishes a message of a subscriber, if it need not be asked about; otherwise once the backend has said yes.
    pub(super) fn publish_judged(&mut self, sent: Sent, cx: &mut Context) {
        let is_asked = match &self.life {
            Life::WebSocket(WebSocket {
                messages: Messages::Published(may_publish) | Messages::Enveloped(may_publish),
                ..
            }) => *may_publish == MayPublish::IfTheBackendSaysSo,
            _ => false,
        };
        if !is_asked || self.tenure().is_some_and(|tenure| cx.now < tenure.publishes_until) {
            return self.publish_sent(sent, cx);
        }
        let channel = sent.draft.channel.clone();
        match self.ask_for(Action::Publish, std::slice::from_ref(&channel), cx) {
            Asked::Known(decisions) => {
                if let Some(decision) = decisions.first() {
                    self.publish_if(sent, decision, cx);
                }
            }
            Asked::Waiting(question) => {
                let asking = Asking { action: Action::Publish, channels: vec![channel] };
                let pending = Pending::Verdict { question, asking };
                self.await_wish(Wish { pending, since: cx.now, what: Wished::Message(sent) });
            }
        }
    }

    fn publish_if(&mut self, sent: Sent, decision: &Decision, cx: &mut Context) {
        if self.ends_as_another(std::slice::from_ref(decision), cx) {
            return;
        }
        let channel = sent.draft.channel.clone();
        if let (Decision::Yes(grant), Some(tenure)) = (decision, self.tenure_mut()) {
            tenure.let_publish(grant);
            return self.publish_sent(sent, cx);
        }
        let Some(refusal) = refusal_of(decision, Action::Publish, &channel) else { return };
        if sent.reference.is_some() {
            let (reference, channel) = (sent.reference, Some(channel.local().to_owned()));
            let fault = commands::Fault { reference, channel, kind: FaultKind::from(&refusal) };
            return self.refuse_command(&fault, cx);
        }
        cx.note_refusal(&refusal, self.identity.as_deref());
        let code = match refusal {
            Refusal::Unavailable(_) => CloseCode::TRY_AGAIN_LATER,
            _ => CloseCode::POLICY_VIOLATION,
        };
        self.close(code, &refusal.to_string(), cx);
    }
}
