//! The clients of a bench: they subscribe, one publishes if told so, and each compares every byte that it gets.
//!
//! Which bytes those are is decided in `feed`.

use fanfare::hub::PublicationId;

use super::connector::{Connection, Connector};
use super::feed::{Feed, Form, Subscriptions};
use super::{orders, say};

/// The server publishes by itself.
pub const EXPECT: &str = "expect";

/// The first socket, a WebSocket, publishes in one write.
pub const PUBLISH: &str = "publish";

/// A socket that is no subscriber publishes by POST, all requests in one write.
pub const POST: &str = "post";

/// Subscribes, says `ready`, and for every order such as `post K` says `done` as soon as every socket has received
/// exactly K messages.
pub fn run(address: &str, count: &str, feed: Feed) {
    let count: usize = count.parse().expect("the number of clients is a number");
    let connector = Connector::new(address);
    let mut clients: Vec<_> = (0..count).map(|_| subscribe(&connector, feed.form)).collect();
    let mut poster = None;
    say("ready");
    for (order, messages) in orders() {
        let expected = match order.as_str() {
            EXPECT => feed.frames(messages),
            PUBLISH => {
                clients[0].write_all(&feed.masked_frames(messages)).expect("the server reads its publisher");
                feed.frames(messages)
            }
            POST => {
                let poster = poster.get_or_insert_with(|| connector.connect());
                feed.delivered(messages, post(poster, &feed.posts(messages), messages, count))
            }
            unknown => unreachable!("the bench gives no order {unknown}"),
        };
        receive(&mut clients, feed.form, &expected);
        say("done");
    }
}

fn subscribe(connector: &Connector, form: Form) -> Box<dyn Connection> {
    let mut client = connector.connect();
    client.write_all(form.request(connector.address()).as_bytes()).expect("the server reads the request");
    if let Some((begin, end)) = form.greeting() {
        let greeting = read_until(&mut client, |greeting| greeting.ends_with(end));
        assert!(greeting.starts_with(begin), "{greeting}");
    }
    if let Some(Subscriptions { messages, answer, count, end }) = form.subscriptions() {
        client.write_all(&messages).expect("the server reads its clients");
        read_until(&mut client, |text| text.matches(answer).count() == count && text.ends_with(end));
    }
    client
}

/// Publishes, and waits for the answers, which come after the publications: this process sleeps meanwhile. Gives the
/// identifier of the first.
fn post(
    poster: &mut Box<dyn Connection>,
    requests: &[u8],
    messages: usize,
    subscribers: usize,
) -> PublicationId {
    poster.write_all(requests).expect("the server reads its publisher");
    let end = format!(",\"subscribers\":{subscribers}}}\n");
    let answers = read_until(poster, |answers| answers.matches(&end).count() == messages);
    let id_of = |answer: &str| answer.split('"').next().and_then(|id| id.parse().ok());
    let ids: Vec<PublicationId> =
        answers.split("{\"id\":\"").skip(1).map(|answer| id_of(answer).expect("answers have ids")).collect();
    for (index, id) in ids.iter().enumerate() {
        assert_eq!((id.epoch, id.sequence), (ids[0].epoch, ids[0].sequence + index as u64));
    }
    ids[0]
}

/// Reads `expected` from every client. It begins with the one that is written to last: this process sleeps while
/// the server is at work, and neither wakes it up for nothing nor takes its cores away.
fn receive(clients: &mut [Box<dyn Connection>], form: Form, expected: &[u8]) {
    let mut received = vec![0; expected.len()];
    for client in clients.iter_mut().rev() {
        if form == Form::LongPoll {
            let answer = read_until(client, |answer| answer.ends_with("}\n"));
            let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
            assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
            assert!(body.as_bytes() == expected, "every poll is answered with every message");
        } else {
            client.read_exact(&mut received).expect("every client gets every message");
            assert!(received == expected, "every client gets the bytes of every message in order");
        }
    }
}

/// Reads until what has come is all.
fn read_until(client: &mut Box<dyn Connection>, is_all: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    let mut piece = [0; 4096];
    while !is_all(&text) {
        let len = client.read(&mut piece).expect("the server answers");
        assert!(len > 0, "the server closed instead of answering: {text}");
        // All ASCII but the headers of frames.
        text.push_str(&String::from_utf8_lossy(&piece[..len]));
    }
    text
}
