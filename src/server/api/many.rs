//! The request for several channels by one event stream or long poll: `/channels?channel=news&since=ID&channel=chat-7`.
//!
//! A WebSocket at the same path asks by commands, which are not read here. What is sent is up to the connection.

use crate::commands::Wanted;
use crate::http::{self, Request, Response, Status};
use crate::hub::{ChannelName, Position, PublicationId};
use crate::server::access::Identity;
use crate::server::api::basis::{Basis, Denied};
use crate::server::api::params;
use crate::server::api::roads::{self, Wish};
use crate::server::api::watching;

/// The most channels of one request: their names and positions fit into the 8 KiB that proxies take as a URL, and the
/// positions into a `Last-Event-ID`.
pub const CHANNELS_MAX: usize = 16;

/// What separates the positions in a `Last-Event-ID`. No identifier has it.
pub const SEPARATOR: char = ',';

/// One channel of a request.
#[derive(Debug)]
pub struct Reading {
    /// What is read, under the name that the server has for it: that of a channel, or the one under which it is watched.
    pub channel: ChannelName,
    /// What the client asks for, under the name by which it knows the channel.
    pub wanted: Wanted,
    /// The change whose state it knows of who is there, if it says so. A stream begins with the state in any case.
    pub known: Option<PublicationId>,
}

/// How a request reads several channels.
#[derive(Debug)]
pub enum ReadingMany {
    /// By an event stream, in the order of the URL.
    Stream(Vec<Reading>),
    /// By a long poll.
    Poll(PollingMany),
}

/// A long poll of several channels.
#[derive(Debug)]
pub struct PollingMany {
    /// The channels, in the order of the URL.
    pub readings: Vec<Reading>,
    /// How long to wait if nothing is kept of any, in milliseconds; 0 answers at once.
    pub wait_ms: u64,
}

/// Whether the request names channels.
pub fn names_channels(request: &Request) -> bool {
    http::parameters(request.query()).any(|(name, _)| name == "channel")
}

/// What to do about a request that names channels: an event stream or a long poll of all of them.
///
/// # Errors
/// One of the channels is refused, or the request is wrong.
pub fn subscribe(request: &Request, who: Option<&Identity>, basis: Basis<'_>) -> Result<ReadingMany, Denied> {
    let is_stream = request.method() == "GET" && params::accepts_event_stream(request);
    if is_stream {
        params::check_streams(request)?;
        // Its data are envelopes in any case.
        params::wants_envelopes(request)?;
    }
    let mut asked = parse(request).map_err(|sentence| Response::text(Status::BAD_REQUEST, &sentence))?;
    if is_stream {
        resume(&mut asked, request.header_str("last-event-id"));
    }
    let app = roads::app_of(request, basis.apps)?;
    let readings = asked.into_iter().map(|(wanted, known)| {
        let name = &wanted.channel;
        if name.is_reserved() {
            watching::check_own(name, basis.apps).map_err(Response::from)?;
            basis.access.check_admin(who)?;
            return Ok(Reading { channel: name.clone(), wanted, known });
        }
        let channel = roads::name_in_app(name, app.as_deref(), basis.apps).ok_or_else(roads::no_app)?;
        roads::check_kind(&channel, Wish::Subscribe, false, basis.apps)
            .map_err(|sentence| refused(name, sentence))?;
        Ok(Reading { channel, wanted, known })
    });
    let readings = readings.collect::<Result<Vec<_>, Denied>>()?;
    let channels = readings.iter().map(|reading| &reading.channel).filter(|channel| !channel.is_reserved());
    basis.check_all(channels.map(|channel| (basis.access.may_subscribe(who, channel), channel)))?;
    if is_stream {
        return Ok(ReadingMany::Stream(readings));
    }
    let wait_ms = if request.method() == "HEAD" { 0 } else { params::wait_ms(request)? };
    Ok(ReadingMany::Poll(PollingMany { readings, wait_ms }))
}

/// The answer to a request of which one channel is closed.
fn refused(name: &ChannelName, sentence: &str) -> Response {
    Response::text(Status::FORBIDDEN, &format!("Of channel {name}: {sentence}"))
}

/// The parameters of one channel.
#[derive(Default)]
struct Asked {
    since: Option<String>,
    last: Option<String>,
    presence: Option<String>,
}

/// The channels of a request in their order. The parameters of a channel follow it; all others are of the request, wherever
/// they stand. With each, the change whose state the client knows of who is there.
fn parse(request: &Request) -> Result<Vec<(Wanted, Option<PublicationId>)>, String> {
    let mut channels: Vec<(ChannelName, Asked)> = Vec::new();
    for (name, value) in http::parameters(request.query()) {
        if name == "channel" {
            let number = channels.len() + 1;
            if number > CHANNELS_MAX {
                return Err(format!(
                    "One URL names {CHANNELS_MAX} channels at most; a WebSocket at /channels takes more."
                ));
            }
            let channel = ChannelName::asked(&value).map_err(|error| {
                format!("This is no name of a channel, number {number} of the URL: {error}.")
            })?;
            if channels.iter().any(|(other, _)| *other == channel) {
                return Err(format!("Channel {channel} is named twice."));
            }
            channels.push((channel, Asked::default()));
            continue;
        }
        let asked = channels.last_mut();
        let (channel, place) = match (&*name, asked) {
            ("since", Some((channel, asked))) => (channel, &mut asked.since),
            ("last", Some((channel, asked))) => (channel, &mut asked.last),
            ("presence", Some((channel, asked))) => (channel, &mut asked.presence),
            ("since" | "last" | "presence", None) => {
                return Err(format!(
                    "{name} is of the channel before it, and there is none yet: /channels?channel=NAME&{name}=…."
                ));
            }
            _ => continue,
        };
        if place.replace(value.into_owned()).is_some() {
            return Err(format!("Channel {channel} has {name} twice."));
        }
    }
    channels.into_iter().map(|(channel, asked)| wanted(channel, &asked)).collect()
}

fn wanted(channel: ChannelName, asked: &Asked) -> Result<(Wanted, Option<PublicationId>), String> {
    let position = params::position_of(asked.since.as_deref(), asked.last.as_deref())
        .map_err(|sentence| format!("Of channel {channel}: {sentence}"))?;
    let (presence, known) = match asked.presence.as_deref() {
        None | Some("0") => (false, None),
        Some("1") => (true, None),
        Some(id) => match id.parse() {
            Ok(id) => (true, Some(id)),
            Err(_) => {
                return Err(format!(
                    "Of channel {channel}: presence is 1, what a long poll was answered for it, or left out."
                ));
            }
        },
    };
    Ok((Wanted { channel, position, presence }, known))
}

/// Where a browser goes on that reconnects to the same URL: it sends the positions that it was told last, one for each
/// channel in the order of the URL. They are newer than what the URL says. Another number of positions is of another URL,
/// so that none of them says anything here.
fn resume(channels: &mut [(Wanted, Option<PublicationId>)], last_event_id: Option<&str>) {
    let Some(ids) = last_event_id.filter(|ids| !ids.is_empty()) else { return };
    let is_of_this_url = ids.split(SEPARATOR).count() == channels.len();
    for ((wanted, _), id) in channels.iter_mut().zip(ids.split(SEPARATOR).chain(std::iter::repeat(""))) {
        let position = if is_of_this_url { params::position_after(id) } else { Position::Elsewhere };
        wanted.position = Some(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{Event, Limits, RequestReader};

    fn request(query: &str) -> Request {
        let mut reader = RequestReader::new(Limits::default());
        reader.receive(format!("GET /channels?{query} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes());
        let Ok(Some(Event::Head(request))) = reader.poll() else { panic!("a complete head") };
        request
    }

    fn parsed(query: &str) -> Result<Vec<(String, Option<Position>, bool)>, String> {
        let channels = parse(&request(query))?;
        Ok(channels
            .into_iter()
            .map(|(Wanted { channel, position, presence }, _)| {
                (channel.as_str().to_owned(), position, presence)
            })
            .collect())
    }

    fn id(text: &str) -> Position {
        Position::After(text.parse().unwrap())
    }

    /// The positions of `count` channels after a `Last-Event-ID`.
    fn resumed(count: usize, last_event_id: Option<&str>) -> Vec<Option<Position>> {
        let query: String = (0..count).map(|number| format!("&channel={number}&last=1")).collect();
        let mut channels = parse(&request(&query)).unwrap();
        resume(&mut channels, last_event_id);
        channels.into_iter().map(|(wanted, _)| wanted.position).collect()
    }

    #[test]
    fn a_parameter_is_of_the_channel_before_it() {
        let query =
            "app=7&channel=news&since=beef-7&wait=3&channel=a%2Cb;c&last=10&presence=1&channel=c&since=";
        let expected = [
            ("news".to_owned(), Some(id("beef-7")), false),
            ("a,b;c".to_owned(), Some(Position::Last(10)), true),
            ("c".to_owned(), Some(Position::Now), false),
        ];
        assert_eq!(parsed(query).unwrap(), expected);
        assert_eq!(parsed("channel=a&presence=0").unwrap(), [("a".to_owned(), None, false)]);
    }

    #[test]
    fn presence_may_say_which_change_the_client_knows() {
        let asked = parse(&request("channel=a&presence=beef-7&channel=b&presence=1")).unwrap();
        let known: Vec<_> = asked.into_iter().map(|(wanted, known)| (wanted.presence, known)).collect();
        assert_eq!(known, [(true, Some(PublicationId { epoch: 0xbeef, sequence: 7 })), (true, None)]);
    }

    #[test]
    fn a_parameter_before_the_first_channel_is_refused_and_one_that_is_of_the_request_is_not() {
        for name in ["since", "last", "presence"] {
            let expected = format!(
                "{name} is of the channel before it, and there is none yet: /channels?channel=NAME&{name}=…."
            );
            assert_eq!(parsed(&format!("{name}=1&channel=a")), Err(expected));
        }
        assert!(parsed("wait=0&protocol=x&channel=a").is_ok());
    }

    #[test]
    fn what_is_wrong_with_a_channel_is_said_with_its_name_or_number() {
        for (query, expected) in [
            ("channel=a&channel=b&channel=a", "Channel a is named twice."),
            ("channel=a&since=beef-7&since=beef-8", "Channel a has since twice."),
            ("channel=a&presence=1&presence=1", "Channel a has presence twice."),
            ("channel=a&last=x", "Of channel a: last is a number of publications."),
            ("channel=a&last=1&since=beef-7", "Of channel a: Give since or last, not both."),
            (
                "channel=a&presence=yes",
                "Of channel a: presence is 1, what a long poll was answered for it, or left out.",
            ),
            (
                "channel=a&since=7",
                "Of channel a: since is the id of a publication, such as 8c1f5d0e7a21-7, or empty for from now on.",
            ),
            (
                "channel=a&channel=b+c",
                "This is no name of a channel, number 2 of the URL: the channel name holds ' '; allowed are A-Z a-z 0-9 _ - = @ , . ;.",
            ),
            ("channel=", "This is no name of a channel, number 1 of the URL: the channel name is empty."),
        ] {
            assert_eq!(parsed(query), Err(expected.to_owned()), "{query}");
        }
    }

    #[test]
    fn one_url_names_16_channels_and_not_17() {
        let query = |count: usize| (0..count).map(|number| format!("&channel=c{number}")).collect::<String>();
        assert_eq!(parsed(&query(16)).unwrap().len(), 16);
        let expected = "One URL names 16 channels at most; a WebSocket at /channels takes more.";
        assert_eq!(parsed(&query(17)), Err(expected.to_owned()));
    }

    #[test]
    fn positions_that_a_browser_sends_count_more_than_those_of_the_url() {
        assert_eq!(resumed(2, Some("beef-7,f00d-0")), [Some(id("beef-7")), Some(id("f00d-0"))]);
        assert_eq!(resumed(2, Some("")), [Some(Position::Last(1)); 2]);
        assert_eq!(resumed(2, None), [Some(Position::Last(1)); 2]);
        assert_eq!(resumed(1, Some("beef-7")), [Some(id("beef-7"))]);
    }

    #[test]
    fn positions_of_another_number_of_channels_are_of_another_url() {
        for ids in ["beef-7", "beef-7,beef-8,beef-9", "beef-7,beef-8,"] {
            assert_eq!(resumed(2, Some(ids)), [Some(Position::Elsewhere); 2], "{ids}");
        }
        let expected =
            [Some(Position::Elsewhere), Some(Position::After(PublicationId { epoch: 1, sequence: 2 }))];
        assert_eq!(
            resumed(2, Some("what,1-2")),
            expected,
            "one that is no identifier is of a channel elsewhere"
        );
    }
}
