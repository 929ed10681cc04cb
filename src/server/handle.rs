//! The handle of a running server for other threads: they publish through it, and stop the server.
//!
//! Connections and logs cannot be reached from here.

use std::fmt;
use std::sync::Arc;

use crate::config::{Config, ConfigError, Glob, TlsPair};
use crate::hub::{ChannelName, Published};
use crate::pusher::App;
use crate::server::access::KeyChanges;
use crate::server::apps::running::RunningApp;
use crate::server::audit::Audit;
use crate::server::broker::answer::{NotPublished, Publishing, Reply, Waiter};
use crate::server::broker::draft::{Draft, OwnFault};
use crate::server::broker::payload::Payload;
use crate::server::clock;
use crate::server::shared::Shared;
use crate::server::stopping::Stop;
use crate::server::tls::Tls;
use crate::server::tls::fault::CertificateFault;
use crate::server::tls::news::CertificateNews;

/// Publishes to a server's channels, and stops it. Clones are handles of the same server; each may be used from
/// any thread, and none keeps the server running.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) shared: Arc<Shared>,
}

impl Handle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Publishes. When this returns, the publication is in the mailbox of every loop that has a subscriber; whether it has
    /// been written to a socket yet is not known.
    ///
    /// # Errors
    /// The draft is too long, or a loop's mailbox is congested: try again in a millisecond.
    pub fn publish(&self, draft: Draft) -> Result<Published, PublishError> {
        self.admit(&draft)?;
        let reply = Arc::new(Reply::default());
        let waiter = Waiter::Thread(Arc::clone(&reply));
        let receipt = match self.shared.broker.publish(draft, waiter, self.shared.clock.now()) {
            Publishing::Done(receipt) => receipt,
            Publishing::Awaited => reply.wait()?,
        };
        Ok(receipt.published)
    }

    /// Whether a draft is published now. Then it counts as published.
    fn admit(&self, draft: &Draft) -> Result<(), PublishError> {
        let len_max = self.shared.config.publication_len_max();
        if draft.data.len() as u64 > len_max {
            return Err(PublishError::TooLong { len_max });
        }
        if self.shared.broker.is_congested() {
            return Err(PublishError::Congested);
        }
        self.shared.meters.note_published();
        Ok(())
    }

    /// Publishes to a channel without waiting for anything, from any thread: the payload is in the mailbox of every loop that
    /// has a subscriber when this returns, or with an engine of many nodes on its way there.
    ///
    /// # Errors
    /// The payload is too long or has no JSON, the channel is one of the server's own, or a loop's mailbox is congested: try
    /// again in a millisecond.
    pub fn publish_to(&self, channel: &ChannelName, payload: impl Payload) -> Result<(), PublishError> {
        self.publish_unawaited(Draft::of(channel, payload)?)
    }

    /// The same with a draft.
    pub(crate) fn publish_unawaited(&self, draft: Draft) -> Result<(), PublishError> {
        self.admit(&draft)?;
        match self.shared.broker.publish(draft, Waiter::Nobody, self.shared.clock.now()) {
            Publishing::Done(_) | Publishing::Awaited => Ok(()),
        }
    }

    /// Has publications to these channels posted to the first loop too.
    pub(crate) fn tap(&self, glob: Glob) {
        self.shared.broker.tap(glob);
    }

    /// Has the program decide what clients may do, where the rule is `hook`.
    pub(crate) fn ask_program(&self) {
        if self.shared.config.backend.is_some() {
            tracing::warn!("the backend of the configuration is not asked: the program decides in its place");
        }
        self.shared.guard.ask_program();
    }

    /// Checks that there is somebody to ask for each rule that asks, and a rule for whoever is there to be asked.
    pub(super) fn check_judge(&self, is_program_asked: bool) -> Result<(), ConfigError> {
        self.shared.config.check_judge(is_program_asked)
    }

    /// How many subscribers a channel has now, on all loops; with [`Config::redis`] those of other nodes too, as they were up to
    /// two seconds ago, if this node has the channel: after a subscriber of its own, or somebody who asked for its state.
    #[must_use]
    pub fn subscribers(&self, channel: &ChannelName) -> u64 {
        self.shared.broker.subscribers_everywhere(channel.as_str())
    }

    /// Replaces the configured apps, as if the server had been started with these. Connections of an app that is no longer
    /// among them are closed with 4001, those of a disabled one with 4003; all others stay, and what they send from now on
    /// is judged by the new settings. In development mode, none stands for [`Config::development_app`].
    ///
    /// [`Config::development_app`]: crate::config::Config::development_app
    ///
    /// # Errors
    /// A setting is refused. Nothing was replaced.
    pub fn reload_apps(&self, apps: &[App]) -> Result<AppChanges, ConfigError> {
        self.shared.config.check_apps(apps)?;
        let reloaded = self.shared.reload_apps(apps);
        if let Some(id) = self.shared.apps.absent_default() {
            tracing::warn!(
                "no app has the channels under /channels/ now: app {id} had them. It has them again when it is configured \
                 again; after a restart the first app has them"
            );
        }
        let ids = |apps: &[Arc<RunningApp>]| apps.iter().map(|app| app.id().to_owned()).collect();
        Ok(AppChanges {
            added: ids(&reloaded.added),
            removed: ids(&reloaded.removed),
            changed: ids(&reloaded.changed),
        })
    }

    /// Takes who may do what from another configuration: rules, keys, globs, origins and host names. Connections that may
    /// not stay by it end: their subscriptions at once, and themselves over half a minute. The other values of the
    /// configuration stay as they were when the server was started.
    ///
    /// # Errors
    /// A value is refused. Nothing was replaced.
    pub fn reload_access(&self, config: &Config) -> Result<KeyChanges, ConfigError> {
        config.check_for_program()?;
        config.check_judge(self.shared.guard.is_program_asked())?;
        Ok(self.shared.reload_access(config))
    }

    /// Reads these certificates and keys, and gives them to the clients that connect from now on: all of them or none. Nobody
    /// is disconnected. None if they are the same as before, or if no address speaks TLS.
    ///
    /// # Errors
    /// Names the file that is wrong. Nothing was replaced.
    pub fn reload_certificates(
        &self,
        pairs: &[TlsPair],
    ) -> Result<Option<CertificateNews>, CertificateFault> {
        let reload = |tls: &Tls| tls.reload(pairs, clock::unix_ms() / 1000);
        self.shared.tls.as_ref().map_or(Ok(None), reload)
    }

    /// Whether [`Handle::reload_certificates`] would take these, which whoever writes them may have written only in part.
    ///
    /// # Errors
    /// Names the file that is wrong. It is not counted as a reload that failed.
    pub fn check_certificates(&self, pairs: &[TlsPair]) -> Result<(), CertificateFault> {
        self.shared.tls.as_ref().map_or(Ok(()), |tls| tls.check(pairs))
    }

    /// The number of open connections.
    #[must_use]
    pub fn connections_len(&self) -> usize {
        self.shared.placement.len()
    }

    /// Stops the server: after the configured lame duck it accepts no connection and closes the open ones with 1001,
    /// spread over the configured drain; then [`Server::run`] returns.
    ///
    /// [`Server::run`]: super::Server::run
    pub fn shutdown(&self) {
        self.shared.request_shutdown();
    }

    /// Begins the drain now if the server is a lame duck; false if it is not.
    pub fn end_lame_duck(&self) -> bool {
        self.shared.end_lame_duck()
    }

    /// Opens the file of the audit anew, if there is one: what rotates logs has renamed it. Lines of later publications go to the
    /// file that has its name then. Where it cannot be opened, the old one is written on, and an error is logged.
    pub fn reopen_audit(&self) {
        self.shared.audit.iter().for_each(Audit::reopen);
    }

    /// Ends the threads that send webhooks, ask the backend and write the audit: after the loops.
    pub(super) fn stop_callers(&self) {
        // What it answers at last is reported by webhooks.
        self.shared.stop_redis();
        self.shared.stop_webhooks();
        self.shared.stop_hook();
        self.shared.stop_key_url();
        self.shared.stop_audit();
    }

    /// Stops the server at once. Connections are cut.
    pub fn shutdown_now(&self) {
        self.shared.request_stop(Stop::Now);
    }
}

/// What [`Handle::reload_apps`] has changed: identifiers of apps, in the order of the configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppChanges {
    /// Those that are new.
    pub added: Vec<String>,
    /// Those that are gone.
    pub removed: Vec<String>,
    /// Those with other settings than before.
    pub changed: Vec<String>,
}

impl fmt::Display for AppChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [("added", &self.added), ("removed", &self.removed), ("changed", &self.changed)];
        let parts = all.iter().filter(|(_, ids)| !ids.is_empty());
        let parts: Vec<_> = parts.map(|(what, ids)| format!("{what} {}", ids.join(", "))).collect();
        match parts.as_slice() {
            [] => f.write_str("no app has changed"),
            parts => write!(f, "apps: {}", parts.join("; ")),
        }
    }
}

/// Why a draft was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// Longer than `len_max` bytes: the smaller of `max_message` and `max_lag`.
    TooLong {
        /// The bound, in bytes.
        len_max: u64,
    },
    /// The mailbox of a loop is full of earlier publications. Nothing was published: try again.
    Congested,
    /// The engine that numbers publications cannot be reached. Nothing was published: try again.
    Refused,
    /// The engine that numbers publications did not answer. It may be published.
    Unanswered,
    /// A channel of the server's own: its name begins with `@fanfare.`.
    Reserved,
    /// The value has no JSON: a map whose keys are no strings, or one whose own code refused.
    NotJson,
}

impl From<OwnFault> for PublishError {
    fn from(fault: OwnFault) -> Self {
        match fault {
            OwnFault::Reserved => Self::Reserved,
            OwnFault::NotJson => Self::NotJson,
        }
    }
}

impl From<NotPublished> for PublishError {
    fn from(why: NotPublished) -> Self {
        match why {
            // What a handle publishes has no key.
            NotPublished::Refused | NotPublished::KeyReused => Self::Refused,
            NotPublished::Unanswered => Self::Unanswered,
        }
    }
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong { len_max } => {
                write!(f, "longer than the {len_max} bytes that a publication may have")
            }
            Self::Congested => f.write_str(
                "an event loop has not taken earlier publications yet; try again in a millisecond",
            ),
            Self::Refused => {
                f.write_str("not published: the engine cannot be reached; try again in a second")
            }
            Self::Unanswered => f.write_str("the engine did not answer: the draft may be published"),
            Self::Reserved => f.write_str("channels whose names begin with @fanfare. are the server's own"),
            Self::NotJson => f.write_str("the value cannot be written as JSON"),
        }
    }
}

impl std::error::Error for PublishError {}

#[cfg(test)]
#[path = "interruption_tests.rs"]
mod interruption_tests;

#[cfg(test)]
mod tests {
    use std::io::{self, Read, Write};
    use std::net::{Shutdown, TcpStream};
    use std::thread::{self, JoinHandle};
    use std::time::{Duration, Instant};

    use super::*;
    use crate::config::{AccessKey, Config};
    use crate::hub::PublicationId;
    use crate::server::Server;
    use crate::server::broker::engine::Engine;
    use crate::server::broker::engine::held::Held;
    use crate::server::clock::Millis;

    const WAIT_MAX: Duration = Duration::from_secs(20);

    struct Running {
        engine: Arc<Held>,
        handle: Handle,
        client: TcpStream,
        serving: JoinHandle<io::Result<()>>,
    }

    /// A server whose engine holds publications, and a client.
    fn start() -> Running {
        start_with(Config::default())
    }

    fn start_with(config: Config) -> Running {
        let engine = Arc::new(Held::default());
        let config = Config { listen: vec!["127.0.0.1:0".parse().unwrap()], ..config };
        let server = Server::bind_with(config, Engine::Remote(engine.clone()), None).unwrap();
        let (address, handle) = (server.local_addrs()[0], server.handle());
        engine.begin(&handle.shared.broker, &ChannelName::new("a").unwrap(), Millis(0));
        // Where it is read, it is read at once.
        handle.shared.broker.engage(&ChannelName::new("a").unwrap());
        let serving = thread::spawn(|| server.run());
        let client = TcpStream::connect(address).unwrap();
        client.set_read_timeout(Some(WAIT_MAX)).unwrap();
        Running { engine, handle, client, serving }
    }

    fn until(what: &str, is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < WAIT_MAX, "not in time: {what}");
            thread::yield_now();
        }
    }

    impl Running {
        fn post(&mut self, fields: &str) {
            let head =
                format!("POST /channels/a HTTP/1.1\r\nHost: localhost\r\n{fields}Content-Length: 1\r\n\r\nx");
            self.client.write_all(head.as_bytes()).unwrap();
        }

        fn until_held(&self, count: usize) {
            until("the engine has it", || self.engine.len() >= count);
        }

        fn release(&self) {
            self.engine.release(&self.handle.shared.broker, Millis(0));
        }

        /// What the server sends up to and with `end`.
        fn read_until(&mut self, end: &str) -> String {
            let (mut text, mut byte) = (String::new(), [0]);
            while self.client.read(&mut byte).unwrap() > 0 {
                text.push(char::from(byte[0]));
                if text.ends_with(end) {
                    return text;
                }
            }
            panic!("the server closed after {text:?}");
        }

        fn stop(self) {
            self.handle.shutdown_now();
            self.serving.join().unwrap().unwrap();
        }
    }

    #[test]
    fn a_post_is_answered_when_the_engine_has_delivered_it_and_the_request_after_it_is_answered_then() {
        let mut running = start();
        running.post("");
        running.client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        running.until_held(1);
        running.release();
        let answer = running.read_until("\"subscribers\":0}\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("{\"id\":\"e-1\""), "{answer}");
        let answer = running.read_until("ok");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        running.stop();
    }

    #[test]
    fn a_message_of_a_websocket_is_delivered_and_counted_when_the_engine_has_delivered_it() {
        let mut running = start();
        let handshake = "GET /channels/a HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
        running.client.write_all(handshake.as_bytes()).unwrap();
        running.read_until("\r\n\r\n");
        running.client.write_all(b"\x81\x81\0\0\0\0x").unwrap();
        running.until_held(1);
        let shared = Arc::clone(&running.handle.shared);
        assert_eq!(shared.snapshot().counters.publishes, 0);
        running.release();
        let mut frame = [0; 3];
        running.client.read_exact(&mut frame).unwrap();
        assert_eq!(&frame, b"\x81\x01x");
        until("it is counted", || shared.snapshot().counters.publishes == 1);
        running.stop();
    }

    #[test]
    fn a_command_after_a_publication_is_carried_out_when_the_engine_has_delivered_that_or_has_failed() {
        let mut running = start();
        let handshake = "GET /channels HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
                         Sec-WebSocket-Protocol: fanfare.v1.json\r\n\r\n";
        running.client.write_all(handshake.as_bytes()).unwrap();
        running.read_until("\r\n\r\n");
        let send = |client: &mut TcpStream, message: &str| {
            let header = [0x81, 0x80 | message.len() as u8, 0, 0, 0, 0];
            client.write_all(&[&header[..], message.as_bytes()].concat()).unwrap();
        };
        for (reference, outcome) in
            [(1, "\"id\":\"e-1\""), (3, "\"status\":503"), (5, "\"status\":504"), (7, "\"status\":422")]
        {
            send(&mut running.client, &format!(r#"{{"channel":"a","ref":{reference},"data":1}}"#));
            let next = reference + 1;
            send(
                &mut running.client,
                &format!(r#"{{"event":"fanfare:unsubscribe","ref":{next},"data":["b"]}}"#),
            );
            running.until_held(1);
            match reference {
                1 => running.release(),
                3 => running.engine.fail(&running.handle.shared.broker, NotPublished::Refused),
                5 => running.engine.fail(&running.handle.shared.broker, NotPublished::Unanswered),
                _ => running.engine.fail(&running.handle.shared.broker, NotPublished::KeyReused),
            }
            let answers = running.read_until(&format!("\"ref\":{next}}}"));
            let at = |what: &str| answers.find(what).unwrap_or_else(|| panic!("{what} in {answers}"));
            assert!(at(outcome) < at("fanfare:unsubscribed"), "{answers}");
        }
        running.stop();
    }

    #[test]
    fn a_batch_is_answered_when_the_engine_has_delivered_or_failed_all_of_it() {
        let mut running = start();
        let body = r#"[{"channel":"a","data":1},{"channels":["b","c","d"],"data":2}]"#;
        let head = format!(
            "POST /channels HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        running.client.write_all(head.as_bytes()).unwrap();
        running.client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        running.until_held(4);
        running.release();
        running.engine.fail(&running.handle.shared.broker, NotPublished::Refused);
        running.engine.fail(&running.handle.shared.broker, NotPublished::Unanswered);
        running.engine.fail(&running.handle.shared.broker, NotPublished::KeyReused);
        let answer = running.read_until("]}\n");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        for part in [
            r#"{"results":[{"id":"e-1","subscribers":0},{"b":{"error":{"code":"unavailable","status":503,"#,
            r#""c":{"error":{"code":"unavailable","status":504,"#,
            r#""d":{"error":{"code":"conflict","status":422,"#,
        ] {
            assert!(answer.contains(part), "{answer}");
        }
        running.read_until("ok");
        running.stop();
    }

    #[test]
    fn what_an_engine_delivers_has_its_line_in_the_audit_then_and_what_it_fails_has_none() {
        let path = std::env::temp_dir().join(format!("fanfare-audit-held-{}", std::process::id()));
        let key = AccessKey::with_all_rights("billing", "secret");
        let mut running =
            start_with(Config { audit: Some(path.clone()), keys: vec![key], ..Config::default() });
        running.post("Authorization: Bearer secret\r\n");
        running.until_held(1);
        running.engine.fail(&running.handle.shared.broker, NotPublished::Refused);
        running.read_until("try again");
        running.read_until("\n");
        running.post("Authorization: Bearer secret\r\n");
        running.until_held(1);
        // Its connection is gone when it is delivered.
        let handle = running.handle.clone();
        let other = TcpStream::connect(running.client.peer_addr().unwrap()).unwrap();
        until("the other is there", || handle.connections_len() == 2);
        let gone = std::mem::replace(&mut running.client, other);
        socket2::SockRef::from(&gone).set_linger(Some(Duration::ZERO)).unwrap();
        drop(gone);
        until("the connection is gone", || handle.connections_len() == 1);
        running.release();
        let lines = || std::fs::read_to_string(&path).unwrap();
        until("the line is there", || lines().ends_with('\n'));
        let text = lines();
        assert!(
            text.contains(r#""key":"billing","channel":"a","id":"e-"#) && text.lines().count() == 1,
            "{text}"
        );
        running.stop();
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_client_that_has_closed_its_half_still_gets_the_awaited_answer() {
        let mut running = start();
        running.post("");
        running.client.shutdown(Shutdown::Write).unwrap();
        running.until_held(1);
        running.release();
        let mut answer = String::new();
        running.client.read_to_string(&mut answer).unwrap();
        assert!(answer.contains("{\"id\":\"e-1\""), "{answer:?}");
        running.stop();
    }

    #[test]
    fn the_time_for_a_body_does_not_run_while_its_publication_is_awaited() {
        let mut running = start_with(Config { body_timeout: Duration::from_millis(50), ..Config::default() });
        running.post("");
        running.until_held(1);
        // The body of this request never comes, and its time ends after that of the first.
        let mut late = TcpStream::connect(running.client.peer_addr().unwrap()).unwrap();
        late.write_all(b"POST /channels/a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n").unwrap();
        let mut answer = String::new();
        late.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        running.release();
        let answer = running.read_until("}\n");
        assert!(answer.contains("{\"id\":\"e-1\""), "{answer}");
        running.stop();
    }

    #[test]
    fn a_post_that_the_engine_fails_is_answered_with_503_or_504_and_can_be_repeated() {
        let mut running = start();
        for (why, status) in [(NotPublished::Refused, "503"), (NotPublished::Unanswered, "504")] {
            running.post("Idempotency-Key: k\r\n");
            running.until_held(1);
            running.engine.fail(&running.handle.shared.broker, why);
            let answer = running.read_until("try again");
            assert!(answer.contains(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
        running.post("Idempotency-Key: k\r\n");
        running.until_held(1);
        running.release();
        let answer = running.read_until("\"subscribers\":0}\n");
        assert!(answer.contains("{\"id\":\"e-1\"") && !answer.contains("Replayed"), "{answer}");
        running.stop();
    }

    #[test]
    fn a_post_whose_key_the_engine_knows_is_answered_with_the_earlier_one_or_with_422() {
        let mut running = start();
        let shared = Arc::clone(&running.handle.shared);
        running.post("Idempotency-Key: k\r\n");
        running.until_held(1);
        running.engine.fail(&shared.broker, NotPublished::KeyReused);
        let answer = running.read_until("give each its own.");
        assert!(answer.contains("HTTP/1.1 422 "), "{answer}");
        running.read_until("\n");
        running.post("Idempotency-Key: k\r\n");
        running.until_held(1);
        let id = PublicationId { epoch: 0xf, sequence: 7 };
        running.engine.know(&shared.broker, Published { id, subscribers: 3 });
        let answer = running.read_until("}\n");
        assert!(answer.contains("Idempotent-Replayed: true\r\n"), "{answer}");
        assert!(answer.ends_with("{\"id\":\"f-7\",\"subscribers\":3}\n"), "{answer}");
        assert_eq!(shared.snapshot().counters.publishes, 0, "nothing was published now");
        running.stop();
    }

    #[test]
    fn a_handle_replaces_the_apps_and_says_which_have_changed() {
        let app = |id: &str, key: &str| App::new(id, key, "secret");
        let config = Config { apps: vec![app("1", "a"), app("2", "b")], ..Config::default() };
        let running = start_with(config);
        let changes = running.handle.reload_apps(&[app("1", "other"), app("3", "c")]).unwrap();
        assert_eq!(changes.to_string(), "apps: added 3; removed 2; changed 1");
        let again = running.handle.reload_apps(&[app("1", "other"), app("3", "c")]).unwrap();
        assert_eq!((again.to_string().as_str(), again), ("no app has changed", AppChanges::default()));
        running.stop();
    }

    #[test]
    fn apps_with_a_fault_replace_nothing() {
        let running = start_with(Config { apps: vec![App::new("1", "a", "s")], ..Config::default() });
        let twice = [App::new("2", "b", "s"), App::new("3", "b", "s")];
        let error = running.handle.reload_apps(&twice).unwrap_err();
        assert!(error.to_string().contains("key: app \"2\" has it too"), "{error}");
        let apps = &running.handle.shared.apps;
        assert!(apps.by_key("a").is_some() && apps.by_key("b").is_none());
        running.stop();
    }

    #[test]
    fn development_mode_gives_its_app_up_for_configured_ones_and_has_it_again_without() {
        let running = start();
        let development = || running.handle.shared.apps.by_key("app-key");
        assert!(development().is_some());
        let changes = running.handle.reload_apps(&[App::new("2", "b", "s")]).unwrap();
        assert_eq!(changes.to_string(), "apps: added 2; removed 1");
        assert!(development().is_none());
        running.handle.reload_apps(&[]).unwrap();
        assert!(development().is_some_and(|app| app.id() == "1"));
        running.stop();
    }

    #[test]
    fn a_handle_waits_until_the_engine_has_delivered_and_tells_why_it_has_not() {
        let running = start();
        let publish = || {
            let handle = running.handle.clone();
            let publishing = thread::spawn(move || handle.publish(Draft::text("a", "x").unwrap()));
            running.until_held(1);
            publishing
        };
        let publishing = publish();
        running.release();
        assert_eq!(publishing.join().unwrap().unwrap().id.sequence, 1);
        for (why, error) in [
            (NotPublished::Refused, PublishError::Refused),
            (NotPublished::Unanswered, PublishError::Unanswered),
        ] {
            let publishing = publish();
            running.engine.fail(&running.handle.shared.broker, why);
            assert_eq!(publishing.join().unwrap(), Err(error));
        }
        running.stop();
    }
}
