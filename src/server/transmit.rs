//! The one place that writes to a connected socket.

use std::io::{self, ErrorKind, IoSlice, Write};

use mio::net::TcpStream;

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transmitted {
    /// So many bytes went out, all of them.
    All(usize),
    /// So many went out, and the socket takes no more until it says so: it will, as an edge.
    Part(usize),
}

/// Writes the runs in order, with one system call unless a signal interrupts it.
///
/// # Errors
/// The connection is broken.
pub fn transmit(mut socket: &TcpStream, runs: &[&[u8]; 3]) -> io::Result<Transmitted> {
    let owed: usize = runs.iter().map(|run| run.len()).sum();
    loop {
        // A single run is the rule, and spares the kernel the walk over a vector.
        let written = match runs {
            [run, [], []] | [[], run, []] | [[], [], run] => socket.write(run),
            _ => socket.write_vectored(&runs.map(IoSlice::new)),
        };
        match written {
            Ok(len) if len == owed => return Ok(Transmitted::All(len)),
            Ok(len) => return Ok(Transmitted::Part(len)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(Transmitted::Part(0)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
