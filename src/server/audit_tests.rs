//! The audit with a file that takes what a test allows.

use std::sync::mpsc;

use super::*;

/// A file that takes what the test allows.
struct Gate {
    allowed: mpsc::Receiver<io::Result<usize>>,
    written: mpsc::Sender<String>,
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = self.allowed.recv().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
        let _ = self.written.send(String::from_utf8(bytes[..len].to_vec()).unwrap());
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Gated {
    audit: Audit,
    allow: mpsc::Sender<io::Result<usize>>,
    read: mpsc::Receiver<String>,
}

fn gated(queue_len_max: usize) -> Gated {
    let (allow, allowed) = mpsc::channel();
    let (written, read) = mpsc::channel();
    let open = || Err(ErrorKind::NotFound.into());
    Gated { audit: Audit::start(Gate { allowed, written }, open, queue_len_max).unwrap(), allow, read }
}

fn audited(channel: &str) -> Audited {
    let channel = ChannelName::new(channel).unwrap();
    Audited { key: "billing".into(), channel, len: 12, address: Some("203.0.113.9".parse().unwrap()) }
}

fn id(sequence: u64) -> PublicationId {
    PublicationId { epoch: 14, sequence }
}

impl Gated {
    fn note(&self, sequence: u64) {
        self.audit.note(&audited("a"), id(sequence));
    }

    fn until_it_writes(&self) {
        while !lock(&self.audit.lines.queue).is_writing {
            thread::yield_now();
        }
    }
}

#[test]
fn a_line_says_when_by_which_key_where_and_how_much_was_published_and_from_where() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_790_000_000_250);
    assert_eq!(
        line(&audited("a"), id(7), now),
        "{\"t\":\"2026-09-21T14:13:20.250Z\",\"key\":\"billing\",\"channel\":\"a\",\"id\":\"e-7\",\"bytes\":12,\
         \"ip\":\"203.0.113.9\"}\n"
    );
    let elsewhere =
        Audited { channel: ChannelName::new("a").unwrap().in_space("2"), address: None, ..audited("a") };
    let line = line(&elsewhere, id(7), now);
    assert!(
        line.contains(r#""key":"billing","app":"2","channel":"a","#) && line.ends_with("\"ip\":null}\n"),
        "{line}"
    );
}

#[test]
fn lines_that_do_not_fit_are_counted_and_the_file_is_told_when_it_goes_on() {
    let gated = gated(300);
    gated.note(1);
    gated.until_it_writes();
    (2..=20).for_each(|sequence| gated.note(sequence));
    let lost = gated.audit.lost();
    assert!((15..=18).contains(&lost), "{lost} of 19, of which 300 bytes fit");
    drop(gated.allow);
    assert_eq!(gated.audit.flush(Duration::from_secs(20)), 0);
    let text: String = gated.read.try_iter().collect();
    assert_eq!(text.lines().count() as u64, 1 + (19 - lost) + 1, "{text}");
    assert!(text.lines().last().unwrap().ends_with(&format!("\"lost\":{lost}}}")), "{text}");
}

#[test]
fn lines_that_a_full_disk_did_not_take_are_counted_and_a_torn_line_is_ended() {
    let gated = gated(QUEUE_LEN_MAX);
    gated.note(1);
    gated.allow.send(Ok(10)).unwrap();
    gated.allow.send(Err(ErrorKind::StorageFull.into())).unwrap();
    while gated.audit.lost() == 0 {
        thread::yield_now();
    }
    gated.note(2);
    drop(gated.allow);
    assert_eq!(gated.audit.flush(Duration::from_secs(20)), 0);
    let text: String = gated.read.try_iter().collect();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, &line(&audited("a"), id(1), SystemTime::now())[..10]), "{text}");
    assert!(lines[1].contains("\"id\":\"e-2\"") && lines[2].ends_with("\"lost\":1}"), "{text}");
}

#[test]
fn the_end_does_not_wait_longer_than_it_may_for_a_disk_that_stands_still() {
    let gated = gated(QUEUE_LEN_MAX);
    gated.note(1);
    gated.until_it_writes();
    gated.note(2);
    assert_eq!(gated.audit.flush(Duration::from_millis(1)), 1, "the other is being written");
    drop(gated.allow);
    assert_eq!(gated.audit.flush(Duration::from_secs(20)), 0);
}

#[test]
fn a_file_that_cannot_be_opened_again_is_written_on() {
    let gated = gated(QUEUE_LEN_MAX);
    drop(gated.allow);
    gated.audit.reopen();
    gated.audit.note(&audited("a"), id(1));
    assert_eq!(gated.audit.flush(Duration::from_secs(20)), 0);
    assert!(gated.read.recv().unwrap().contains("\"id\":\"e-1\""));
}
