//! The binary with its log, line by line.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;

use super::{PATIENCE, Process};

/// The binary, and its log line by line.
pub struct Logged {
    pub process: Process,
    pub log: mpsc::Receiver<String>,
}

/// Starts the binary; the first line of its output tells the port.
pub fn spawn_logged(command: &mut Command) -> Logged {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, log) = mpsc::channel();
    thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("listening on http://").unwrap().parse().unwrap();
    Logged { process: Process { child, address, output }, log }
}

impl Logged {
    /// The next line that contains `words`.
    pub fn line(&self, words: &str) -> String {
        loop {
            match self.log.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(words) => return line,
                Ok(_) => {}
                Err(error) => panic!("no line with {words:?}: {error}"),
            }
        }
    }
}
