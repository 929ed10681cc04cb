//! Reloading: when a SIGHUP asks for it, and when one of the files has changed.
//!
//! What the files say is read by `cli`, and what follows from it is the server's.

mod certificates;
mod marks;

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fanfare::config::Config;
use fanfare::server::Handle;

use crate::cli::{Reload, Reread, changes};
use certificates::Certificates;
use marks::{Look, Marks, Watch};

/// How often the files are looked at. A key that was stolen is gone as soon as its file is replaced, and a look costs a
/// system call a file.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A file that has changed is read when it has stayed the same for this long: what writes it may not be done.
const SETTLES_IN: Duration = Duration::from_secs(1);

/// Asks for a reload.
pub struct Hangups(SyncSender<()>);

impl Hangups {
    /// Has everything read again, soon. Several requests that come before it happens are one.
    pub fn ask(&self) {
        // Where one is waiting already, or the thread is gone, there is nothing to add.
        let _ = self.0.try_send(());
    }
}

/// Begins to look at the files, on a thread of its own, so that a slow disk holds nothing else. `running` is the configuration
/// of the server, with the addresses that it listens on.
pub fn begin(reload: Reload, running: Config, handle: Handle) -> io::Result<Hangups> {
    let (sender, receiver) = sync_channel(1);
    let access = running.clone();
    // Nothing is known of the files since they were read: they are read once more, in case they have changed since then.
    let watch = Watch::new(Marks::default());
    let (warned, said) = (reload.warnings().to_vec(), Vec::new());
    let certificates = Certificates::new(running.tls.pairs.clone(), handle.clone());
    let mut files = Files { reload, running, access, handle, watch, certificates, warned, said };
    thread::Builder::new().name("fanfare-files".into()).spawn(move || files.run(&receiver))?;
    Ok(Hangups(sender))
}

/// Says which keys are refused since they have ended. That is no fault: time makes it so.
pub fn warn_of_ended_keys(config: &Config) {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ended: Vec<_> = config.ended_keys(since_1970.as_secs()).collect();
    if !ended.is_empty() {
        let names = ended.join(", ");
        tracing::warn!(
            "refused, since their not-after has passed: {names}. Remove them, or give another date"
        );
    }
}

/// The files, and the server that they configure.
struct Files {
    reload: Reload,
    /// What the server was started with.
    running: Config,
    /// The same with the rules and keys that hold at present.
    access: Config,
    handle: Handle,
    watch: Watch,
    /// Those of TLS, a set by themselves.
    certificates: Certificates,
    /// What was said last of files that are right.
    warned: Vec<String>,
    /// Which keys need a restart, as it was said last.
    said: Vec<String>,
}

impl Files {
    fn run(&mut self, hangups: &Receiver<()>) {
        let mut wait = LOOK_EVERY;
        loop {
            let is_asked = match hangups.recv_timeout(wait) {
                Ok(()) => true,
                Err(RecvTimeoutError::Timeout) => false,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if is_asked {
                self.handle.reopen_audit();
            }
            let is_unsettled =
                [self.look(is_asked), self.certificates.look(is_asked)].contains(&Look::Unsettled);
            wait = if is_unsettled { SETTLES_IN } else { LOOK_EVERY };
        }
    }

    /// Looks at the files, and reads them if they have changed or somebody has asked for it.
    fn look(&mut self, is_asked: bool) -> Look {
        // Before they are read: what changes while they are read is read at the next look.
        let marks = Marks::of(self.reload.files());
        let look = if is_asked { Look::Read } else { self.watch.look(&marks) };
        if look == Look::Read {
            self.watch = Watch::new(marks);
            self.read(is_asked);
        }
        look
    }

    /// Reads the files, and applies what is right in them.
    fn read(&mut self, is_asked: bool) {
        if self.reload.files().next().is_none() {
            return;
        }
        let reread = match self.reload.read(&self.running) {
            Ok(reread) => reread,
            Err(fault) => return tracing::error!("not reloaded, everything stays as it is: {fault}"),
        };
        let news = reread.warnings.iter().filter(|warning| is_asked || !self.warned.contains(warning));
        news.for_each(|warning| tracing::warn!("{warning}"));
        let (changes, faults) = self.apply(&reread);
        faults.iter().for_each(|fault| tracing::error!("{fault}"));
        let paths: Vec<_> = self.reload.files().map(|path| path.display().to_string()).collect();
        let paths = paths.join(", ");
        if !changes.is_empty() {
            tracing::info!("reloaded {paths}: {}", changes.join("; "));
        } else if is_asked && faults.is_empty() {
            tracing::info!("reloaded {paths}: nothing has changed");
        }
        if !reread.needs_restart.is_empty() && (is_asked || self.said != reread.needs_restart) {
            let keys = reread.needs_restart.join(", ");
            tracing::warn!("{paths}: {keys} changed as well, which needs a restart");
        }
        (self.warned, self.said) = (reread.warnings, reread.needs_restart);
    }

    /// Applies each set that is right. Returns what has changed, and the faults. Certificates have a line of their own.
    fn apply(&mut self, reread: &Reread) -> (Vec<String>, Vec<String>) {
        let (mut changes, mut faults) = (Vec::new(), Vec::new());
        let access = reread.access.as_ref().map_err(Clone::clone);
        match access.and_then(|access| self.apply_access(access)) {
            Ok(access) => changes.extend(access),
            Err(fault) => faults.push(format!("keys and rules not reloaded, they stay as they are: {fault}")),
        }
        match &reread.pairs {
            Ok(pairs) => self.certificates.take(pairs),
            Err(fault) => faults.push(format!("certificates not reloaded, they stay as they are: {fault}")),
        }
        let apps = match &reread.apps {
            Ok(Some(apps)) => self.handle.reload_apps(apps).map_err(|fault| fault.to_string()),
            Ok(None) => Ok(Default::default()),
            Err(fault) => Err(fault.clone()),
        };
        match apps {
            Ok(apps) if apps == Default::default() => {}
            Ok(apps) => changes.push(apps.to_string()),
            Err(fault) => faults.push(format!("apps not reloaded, they stay as they are: {fault}")),
        }
        (changes, faults)
    }

    /// Has the server take keys and rules, if they are not those that hold.
    fn apply_access(&mut self, access: &Config) -> Result<Vec<String>, String> {
        let changes = changes(&self.access, access);
        if !changes.is_empty() {
            self.handle.reload_access(access).map_err(|fault| fault.to_string())?;
            self.access = access.clone();
            warn_of_ended_keys(access);
        }
        Ok(changes)
    }
}
