//! The audit: a line of JSON in a file for each publication by a key, written by a thread of its own, so that no event loop
//! waits for a disk.
//!
//! Which publications are by a key is not known here.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::net::IpAddr;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use crate::hub::{ChannelName, PublicationId};
use crate::server::lock::lock;

/// How many bytes of lines may wait to be written. A line has about 150, so a disk may stand still for a second at 25,000
/// publications in it.
const QUEUE_LEN_MAX: usize = 4 * 1024 * 1024;

/// The file has addresses of publishers: its owner writes it and its group may read it.
const MODE: u32 = 0o640;

/// A publication by a key, before it has its identifier.
#[derive(Clone, Debug)]
pub struct Audited {
    /// The name of the key.
    pub key: Box<str>,
    /// Where it is published.
    pub channel: ChannelName,
    /// The bytes of its payload.
    pub len: usize,
    /// The publisher's address, if it is known.
    pub address: Option<IpAddr>,
}

/// The file and the lines that wait to be written to it. When the last of its owners drops it, what waits is written and
/// the thread ends.
#[derive(Debug)]
pub struct Audit {
    lines: Arc<Lines>,
}

#[derive(Debug)]
struct Lines {
    queue: Mutex<Queue>,
    queue_len_max: usize,
    has_work: Condvar,
    is_written: Condvar,
}

/// Invariant: `bytes` are whole lines, at most `queue_len_max`.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// Lines that did not fit or could not be written, since the start.
    lost: u64,
    /// How many of them the file has been told of.
    told: u64,
    /// Whether lines that were taken from here are being written.
    is_writing: bool,
    /// Whether the file is to be opened anew: it was renamed.
    reopens: bool,
    /// Whether nothing comes any more.
    is_over: bool,
}

impl Audit {
    /// Opens the file, which is made if there is none, and starts the thread that appends to it. A named pipe is opened by
    /// that thread: it waits until somebody reads, and the lines in the queue.
    ///
    /// # Errors
    /// The file cannot be opened, or the system has no thread left.
    pub fn open(path: &Path) -> io::Result<Self> {
        let path = path.to_owned();
        if fs::metadata(&path).is_ok_and(|found| found.file_type().is_fifo()) {
            let out = Pipe::new(&path);
            return Self::start(out, move || Ok(Pipe::new(&path)), QUEUE_LEN_MAX);
        }
        let out = appending(&path)?;
        Self::start(out, move || appending(&path), QUEUE_LEN_MAX)
    }

    fn start<W: Write + Send + 'static>(
        mut out: W,
        open: impl Fn() -> io::Result<W> + Send + 'static,
        queue_len_max: usize,
    ) -> io::Result<Self> {
        let lines = Arc::new(Lines {
            queue: Mutex::default(),
            queue_len_max,
            has_work: Condvar::new(),
            is_written: Condvar::new(),
        });
        let written = Arc::clone(&lines);
        thread::Builder::new().name("fanfare-audit".into()).spawn(move || {
            let mut trouble = Trouble::default();
            while let Some(work) = written.take() {
                if work.reopens {
                    match open() {
                        Ok(file) => out = file,
                        Err(error) => {
                            trouble.note("it could not be opened again, and the old one goes on", &error)
                        }
                    }
                }
                let done = trouble.write(&mut out, &work);
                written.put_down(&work, done);
            }
        })?;
        Ok(Self { lines })
    }

    /// Adds the line of a publication. It never waits: a line that does not fit is counted as lost.
    pub fn note(&self, audited: &Audited, id: PublicationId) {
        let line = line(audited, id, SystemTime::now());
        let mut queue = lock(&self.lines.queue);
        match queue.bytes.len() + line.len() > self.lines.queue_len_max {
            true => queue.lost += 1,
            false => queue.bytes.extend_from_slice(line.as_bytes()),
        }
        drop(queue);
        self.lines.has_work.notify_one();
    }

    /// Has the file opened anew by its name, since it was renamed: lines after this call go to the new one.
    pub fn reopen(&self) {
        lock(&self.lines.queue).reopens = true;
        self.lines.has_work.notify_one();
    }

    /// The number of lines that were lost since the start.
    pub fn lost(&self) -> u64 {
        lock(&self.lines.queue).lost
    }

    /// Waits until all lines are written, for at most this time. How many are not.
    pub fn flush(&self, within: Duration) -> usize {
        let is_under_way = |queue: &mut Queue| !queue.bytes.is_empty() || queue.is_writing;
        let waited = self.lines.is_written.wait_timeout_while(lock(&self.lines.queue), within, is_under_way);
        let (queue, _) = waited.unwrap_or_else(PoisonError::into_inner);
        count(&queue.bytes)
    }
}

impl Drop for Audit {
    fn drop(&mut self) {
        lock(&self.lines.queue).is_over = true;
        self.lines.has_work.notify_one();
    }
}

/// What the thread has to do.
struct Work {
    bytes: Vec<u8>,
    /// Lines that were lost and that the file has not been told of.
    untold: u64,
    reopens: bool,
}

impl Lines {
    /// Waits for work. `None` at the end.
    fn take(&self) -> Option<Work> {
        let is_idle = |queue: &mut Queue| queue.bytes.is_empty() && !queue.reopens && !queue.is_over;
        let waited = self.has_work.wait_while(lock(&self.queue), is_idle);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        if queue.bytes.is_empty() && !queue.reopens {
            return None;
        }
        queue.is_writing = true;
        Some(Work {
            bytes: std::mem::take(&mut queue.bytes),
            untold: queue.lost - queue.told,
            reopens: std::mem::take(&mut queue.reopens),
        })
    }

    /// Ends the work.
    fn put_down(&self, work: &Work, written: Written) {
        let mut queue = lock(&self.queue);
        queue.lost += written.lost;
        if written.has_told {
            queue.told += work.untold;
        }
        queue.is_writing = false;
        drop(queue);
        self.is_written.notify_all();
    }
}

/// What came of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Written {
    /// The lines that could not be written.
    lost: u64,
    /// Whether the file has been told of those that were lost before.
    has_told: bool,
}

/// Whether the file takes what is written, and what is logged about that: when it begins to fail, and when it goes on.
#[derive(Debug, Default)]
struct Trouble {
    is_failing: bool,
    /// Whether the file ends in the middle of a line.
    is_torn: bool,
}

impl Trouble {
    fn write(&mut self, out: &mut impl Write, work: &Work) -> Written {
        let mut bytes = Vec::with_capacity(work.bytes.len());
        if self.is_torn {
            bytes.push(b'\n');
        }
        let head_len = bytes.len();
        bytes.extend_from_slice(&work.bytes);
        // After the lines that had room: those came first.
        if work.untold > 0 {
            let now = humantime::format_rfc3339_millis(SystemTime::now());
            bytes.extend_from_slice(format!("{{\"t\":\"{now}\",\"lost\":{}}}\n", work.untold).as_bytes());
        }
        let (written, error) = write_all(out, &bytes);
        let Some(error) = error else {
            if std::mem::take(&mut self.is_failing) {
                tracing::info!("--audit: the file is written again");
            }
            self.is_torn = false;
            return Written { lost: 0, has_told: work.untold > 0 };
        };
        self.note("lines are lost until it is written again", &error);
        if written > 0 {
            self.is_torn = bytes[written - 1] != b'\n';
        }
        let rest = &bytes[written.max(head_len)..];
        Written { lost: (count(rest) - usize::from(work.untold > 0)) as u64, has_told: false }
    }

    fn note(&mut self, what: &str, error: &io::Error) {
        if !std::mem::replace(&mut self.is_failing, true) {
            tracing::error!("--audit: {error}: {what}");
        }
    }
}

/// Writes as much as possible. How many bytes were written, and why not all.
#[allow(clippy::disallowed_methods)] // on the thread of the audit, which has nothing else to do
fn write_all(out: &mut impl Write, bytes: &[u8]) -> (usize, Option<io::Error>) {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => return (written, Some(ErrorKind::WriteZero.into())),
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Some(error)),
        }
    }
    (written, None)
}

/// A named pipe, which is opened when something is to be written.
struct Pipe {
    path: PathBuf,
    file: Option<File>,
}

impl Pipe {
    fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut file = match self.file.take() {
            Some(file) => file,
            None => OpenOptions::new().append(true).open(&self.path)?,
        };
        // Without its reader it is opened anew for the next lines.
        let written = file.write(bytes)?;
        self.file = Some(file);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn appending(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(MODE).open(path)
}

fn count(lines: &[u8]) -> usize {
    lines.iter().filter(|&&byte| byte == b'\n').count()
}

/// The line of a publication. A channel of an app other than the first has the identifier of the app.
fn line(audited: &Audited, id: PublicationId, now: SystemTime) -> String {
    let Audited { key, channel, len, address } = audited;
    let now = humantime::format_rfc3339_millis(now);
    let app = channel.space().map_or_else(String::new, |app| format!(r#","app":{}"#, json(app)));
    let address = address.map_or_else(|| "null".to_owned(), |address| format!(r#""{address}""#));
    format!(
        "{{\"t\":\"{now}\",\"key\":{}{app},\"channel\":{},\"id\":\"{id}\",\"bytes\":{len},\"ip\":{address}}}\n",
        json(key),
        json(channel.local())
    )
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a string is always JSON")
}

#[cfg(test)]
#[path = "audit_tests.rs"]
mod tests;
