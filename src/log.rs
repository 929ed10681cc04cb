//! The log: lines to standard error, written by a thread of its own, so that no event loop waits for the reader of standard
//! error.
//!
//! What a line says is not here. Why not `tracing-appender`: its queue counts lines of any length, it does not log how
//! many it dropped, and it reports on standard output when it could not finish.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};

/// The longest line. Ours have about 300 bytes; a longer one is a panic whose message quotes something.
const LINE_LEN_MAX: usize = 4 * 1024;

/// How many bytes of lines may wait to be written: as many as a pipe of Linux holds. A line for every reason of refusal in
/// ten seconds fills it in about four minutes.
const QUEUE_LEN_MAX: usize = 64 * 1024;

/// How long the end of the process waits for lines to be written: on a machine so busy that the writer gets no turn for a
/// while, a refused start still says why.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(2);

/// How long the writer waits before it tries again, if standard error is a non-blocking descriptor and full.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// The mark where a line was cut.
const CUT: &str = "…";

/// The lines that wait to be written. Adding a line never waits: one that does not fit is counted as lost.
#[derive(Debug)]
pub struct Lines {
    queue: Mutex<Queue>,
    queue_len_max: usize,
    has_lines: Condvar,
    is_written: Condvar,
}

/// Invariant: `bytes` are whole lines, at most `queue_len_max`.
#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// The number of lines that did not fit or could not be written, since the last line that reported such a number.
    lost: u64,
    /// Whether lines that were taken from here are being written.
    is_writing: bool,
}

/// Starts the log of this process: events and panics become lines on standard error.
///
/// # Errors
/// The system has no thread left.
pub fn begin() -> io::Result<Arc<Lines>> {
    let lines = start(io::stderr())?;
    tracing_subscriber::fmt()
        .with_writer(Arc::clone(&lines))
        .with_ansi(io::stderr().is_terminal())
        // It would write to standard error itself.
        .log_internal_errors(false)
        .init();
    std::panic::set_hook(Box::new(note_panic));
    Ok(lines)
}

/// Starts the thread that writes to `out`, which may block for any time.
fn start(out: impl Write + Send + 'static) -> io::Result<Arc<Lines>> {
    start_bounded(out, QUEUE_LEN_MAX)
}

fn start_bounded(mut out: impl Write + Send + 'static, queue_len_max: usize) -> io::Result<Arc<Lines>> {
    let lines = Arc::new(Lines {
        queue: Mutex::default(),
        queue_len_max,
        has_lines: Condvar::new(),
        is_written: Condvar::new(),
    });
    let written = Arc::clone(&lines);
    thread::Builder::new().name("fanfare-log".into()).spawn(move || {
        let mut batch = Vec::new();
        loop {
            let lost = written.take(&mut batch);
            let unwritten = write_batch(&mut out, &mut batch, lost);
            written.put_down(unwritten);
        }
    })?;
    Ok(lines)
}

impl Lines {
    /// Adds a line that is not a tracing event.
    pub fn say(&self, text: &str) {
        self.push(text.as_bytes());
    }

    /// Waits until all lines are written, for at most [`FLUSH_TIME_MAX`].
    pub fn flush(&self) {
        let is_under_way = |queue: &mut Queue| !queue.bytes.is_empty() || queue.is_writing;
        let _ = self.is_written.wait_timeout_while(self.lock(), FLUSH_TIME_MAX, is_under_way);
    }

    /// Adds a line, or counts it as lost.
    fn push(&self, text: &[u8]) {
        let mut queue = self.lock();
        let len = queue.bytes.len();
        append_line(&mut queue.bytes, &String::from_utf8_lossy(text));
        if queue.bytes.len() > self.queue_len_max {
            queue.bytes.truncate(len);
            queue.lost += 1;
        }
        drop(queue);
        self.has_lines.notify_one();
    }

    /// Waits for lines and takes all of them. Returns how many lines were lost after them.
    fn take(&self, batch: &mut Vec<u8>) -> u64 {
        let queue = self.lock();
        let is_empty = |queue: &mut Queue| queue.bytes.is_empty();
        let mut queue = self.has_lines.wait_while(queue, is_empty).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut queue.bytes, batch);
        queue.is_writing = true;
        std::mem::take(&mut queue.lost)
    }

    /// Ends the writing of what was taken. `unwritten` lines of it could not be written.
    fn put_down(&self, unwritten: u64) {
        let mut queue = self.lock();
        queue.lost += unwritten;
        queue.is_writing = false;
        drop(queue);
        self.is_written.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The formatter writes an event in one call, including its line feed.
impl Write for &Lines {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.push(event);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Flushes the log when it goes out of scope, also when the thread panics.
#[derive(Debug)]
pub struct FlushAtEnd(pub Arc<Lines>);

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Logs a panic. The standard library would write it to standard error itself, and the stop of the other loops would wait
/// until standard error is read.
fn note_panic(panic: &PanicHookInfo<'_>) {
    let thread = thread::current();
    let what = panic.to_string().replace('\n', " ");
    tracing::error!("thread {:?} {what}", thread.name().unwrap_or("without a name"));
    let backtrace = Backtrace::capture();
    if backtrace.status() == BacktraceStatus::Captured {
        backtrace.to_string().lines().for_each(|line| tracing::error!("{line}"));
    }
}

/// Appends one line of at most `LINE_LEN_MAX` bytes, whatever `text` holds.
fn append_line(lines: &mut Vec<u8>, text: &str) {
    let room = LINE_LEN_MAX - CUT.len() - 1;
    let start = lines.len();
    for c in text.trim_end_matches('\n').chars() {
        let len = lines.len();
        match c {
            // ESC begins the formatter's own colours. It escapes an ESC in a message.
            '\t' | '\x1b' => lines.push(c as u8),
            c if c.is_control() => lines.extend(c.escape_default().map(|c| c as u8)),
            c => lines.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        if lines.len() - start > room {
            lines.truncate(len);
            lines.extend_from_slice(CUT.as_bytes());
            break;
        }
    }
    lines.push(b'\n');
}

/// Writes the lines, then a line with how many were lost after them. Returns how many lines could not be written.
fn write_batch(out: &mut impl Write, batch: &mut Vec<u8>, lost: u64) -> u64 {
    if lost > 0 {
        let mut now = String::new();
        let _ = SystemTime.format_time(&mut Writer::new(&mut now));
        append_line(
            batch,
            &format!("{now}  WARN fanfare: {lost} log lines were lost: standard error did not take them"),
        );
    }
    let written = write_all(out, batch);
    let unwritten = batch[written..].iter().filter(|&&byte| byte == b'\n').count() as u64;
    batch.clear();
    match lost {
        // The last line, which reports the lost ones, is among those that were not written.
        1.. if unwritten > 0 => lost + unwritten - 1,
        _ => unwritten,
    }
}

/// Writes as much as possible. Returns how many bytes were written.
#[allow(clippy::disallowed_methods)] // on the thread of the log, which has nothing else to do
fn write_all(out: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_AFTER),
            // It is closed, or its disk is full. The next line tries again.
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::env;
    use std::process::Command;
    use std::sync::mpsc;

    use super::*;

    /// Standard error with a reader: it takes what the other end allows.
    struct Gate {
        allowed: mpsc::Receiver<io::Result<()>>,
        written: mpsc::Sender<String>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // Without the other end it takes all.
            self.allowed.recv().unwrap_or(Ok(()))?;
            let _ = self.written.send(String::from_utf8(bytes.to_vec()).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gate() -> (Gate, mpsc::Sender<io::Result<()>>, mpsc::Receiver<String>) {
        let (allow, allowed) = mpsc::channel();
        let (written, read) = mpsc::channel();
        (Gate { allowed, written }, allow, read)
    }

    fn line(text: &str) -> String {
        let mut lines = Vec::new();
        append_line(&mut lines, text);
        String::from_utf8(lines).unwrap()
    }

    #[test]
    fn lines_that_do_not_fit_are_counted_and_the_count_is_logged_when_there_is_room() {
        let (gate, allow, read) = gate();
        let lines = start_bounded(gate, 100).unwrap();
        lines.push(b"first\n");
        // The writer has it, and is blocked.
        while !lines.lock().is_writing {
            thread::yield_now();
        }
        for number in 0..50 {
            lines.push(format!("line {number:04}\n").as_bytes());
        }
        allow.send(Ok(())).unwrap();
        assert_eq!(read.recv().unwrap(), "first\n");
        allow.send(Ok(())).unwrap();
        let batch = read.recv().unwrap();
        let mut batch: VecDeque<&str> = batch.lines().collect();
        let notice = batch.pop_back().unwrap();
        assert_eq!(
            (batch.len(), batch[0], batch[9]),
            (10, "line 0000", "line 0009"),
            "what has room in 100 bytes"
        );
        assert!(
            notice.ends_with(" WARN fanfare: 40 log lines were lost: standard error did not take them"),
            "{notice}"
        );
        lines.push(b"last\n");
        allow.send(Ok(())).unwrap();
        assert_eq!(read.recv().unwrap(), "last\n", "said once");
    }

    #[test]
    fn lines_that_could_not_be_written_are_reported_with_the_next_line_that_could() {
        let (gate, allow, read) = gate();
        let lines = start(gate).unwrap();
        lines.push(b"one\ntwo");
        allow.send(Err(ErrorKind::StorageFull.into())).unwrap();
        while lines.lock().lost == 0 {
            thread::yield_now();
        }
        lines.push(b"three");
        allow.send(Ok(())).unwrap();
        let batch = read.recv().unwrap();
        assert!(batch.starts_with("three\n") && batch.contains(" 1 log lines were lost"), "{batch}");
    }

    #[test]
    fn a_non_blocking_descriptor_that_is_full_is_tried_again() {
        let (gate, allow, read) = gate();
        let lines = start(gate).unwrap();
        allow.send(Err(ErrorKind::WouldBlock.into())).unwrap();
        allow.send(Err(ErrorKind::Interrupted.into())).unwrap();
        allow.send(Ok(())).unwrap();
        lines.push(b"one");
        assert_eq!(read.recv().unwrap(), "one\n");
    }

    #[test]
    fn the_end_of_the_process_waits_for_queued_lines_but_not_for_a_reader_that_does_not_read() {
        let (gate, allow, read) = gate();
        let lines = start(gate).unwrap();
        lines.push(b"one");
        let begun = std::time::Instant::now();
        lines.flush();
        assert!(begun.elapsed() >= FLUSH_TIME_MAX, "it is blocked");
        drop(allow);
        lines.push(b"two");
        FlushAtEnd(Arc::clone(&lines));
        assert_eq!(read.try_iter().collect::<String>(), "one\ntwo\n");
    }

    /// The variable that makes the test below the process that panics.
    const PANICS: &str = "FANFARE_TEST_PANICS";

    #[test]
    fn a_panic_is_logged_whole_on_standard_error() {
        const NAME: &str = "log::tests::a_panic_is_logged_whole_on_standard_error";
        if let Some(len) = env::var_os(PANICS) {
            let _flush = FlushAtEnd(begin().unwrap());
            let len = len.to_str().unwrap().parse().unwrap();
            panic!("it went\nwrong: {}.", "x".repeat(len));
        }
        // What this process has on standard error, with and without a backtrace.
        let panic = |len: &str, backtrace: &str| {
            let mut command = Command::new(env::current_exe().unwrap());
            let output =
                command.args(["--exact", NAME]).env(PANICS, len).env("RUST_BACKTRACE", backtrace).output();
            let output = output.unwrap();
            assert_eq!(output.status.code(), Some(101), "{output:?}");
            String::from_utf8(output.stderr).unwrap()
        };
        let is_event = |line: &str| line.starts_with("20") && line.contains("Z ERROR ");
        let log = panic("2000", "0");
        let what = format!("thread \"{NAME}\" panicked at {}:", file!());
        assert!(log.lines().count() == 1 && is_event(&log) && log.contains(&what), "{log}");
        assert!(log.ends_with(&format!(" it went wrong: {}.\n", "x".repeat(2000))), "{log}");
        let log = panic("900000", "0");
        assert!(log.len() <= LINE_LEN_MAX && log.lines().count() == 1 && log.ends_with("x…\n"), "{log}");
        let log = panic("0", "1");
        assert!(log.lines().count() > 3 && log.lines().all(is_event) && log.contains(&what), "{log}");
    }

    #[test]
    fn a_line_is_one_line_of_bounded_length_whatever_is_in_it() {
        assert_eq!(line("as it is: ü\n"), "as it is: ü\n");
        assert_eq!(line("two\nlines\r\0"), "two\\nlines\\r\\u{0}\n");
        assert_eq!(line("\x1b[2mcolour\x1b[0m\n"), "\x1b[2mcolour\x1b[0m\n");
        for text in ["x".repeat(900_000), "ü".repeat(900_000), "\0".repeat(900_000)] {
            let line = line(&text);
            assert!(line.len() <= LINE_LEN_MAX && line.len() > LINE_LEN_MAX - 10, "{}", line.len());
            assert!(line.ends_with("…\n"));
        }
        assert_eq!(line(&"x".repeat(LINE_LEN_MAX - 4)).len(), LINE_LEN_MAX - 3, "this one is not cut");
    }
}
