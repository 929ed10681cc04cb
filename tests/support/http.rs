//! HTTP by hand: a request, an answer by its Content-Length, a publication.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::connect;

/// An HTTP answer: status, head and body.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// Sends the bytes and reads one answer by its Content-Length.
pub fn exchange(stream: &mut TcpStream, request: &[u8]) -> Answer {
    stream.write_all(request).unwrap();
    read_answer(stream)
}

/// Reads one answer.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let len = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "))
        .map_or(0, |len| len.parse().unwrap());
    let mut body = vec![0; len];
    stream.read_exact(&mut body).unwrap();
    Answer { status, head, body: String::from_utf8(body).unwrap() }
}

/// A request on a connection of its own.
pub fn request(address: SocketAddr, method: &str, path: &str, fields: &str, body: &[u8]) -> Answer {
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n{fields}\r\n",
        body.len()
    );
    exchange(&mut connect(address), &[head.as_bytes(), body].concat())
}

/// Publishes a text.
pub fn publish(address: SocketAddr, channel: &str, text: &str) -> Answer {
    let answer = request(
        address,
        "POST",
        &format!("/channels/{channel}"),
        "Content-Type: text/plain\r\n",
        text.as_bytes(),
    );
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}
