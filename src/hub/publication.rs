//! What a channel stores: a publication, its identifier, and the wire forms it is delivered in.
//!
//! How a form looks as bytes is not known here; the server's `encoder` writes it.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::ChannelName;
use super::gap::Interruption;

/// The longest event name, in characters: what every Pusher library allows.
pub const EVENT_NAME_LEN_MAX: usize = 200;

/// Event names with these prefixes are the server's own notices and those of the Pusher protocol; nobody can publish them.
pub const RESERVED_EVENT_PREFIXES: [&str; 3] = ["fanfare:", "pusher:", "pusher_internal:"];

/// One publication, shared by the history of its channel and every loop that has a subscriber of it.
#[derive(Debug)]
pub struct Publication {
    /// The channel that it was published to.
    pub channel: ChannelName,
    /// Its place in the channel's order.
    pub id: PublicationId,
    /// The name that the publisher gave it, if any.
    pub event: Option<EventName>,
    /// What `data` is.
    pub content: Content,
    /// The payload. Valid UTF-8 if `content` is text or JSON.
    pub data: Bytes,
    /// Who made it.
    pub source: Source,
    /// The one subscriber that does not get it, if any: its sender.
    pub excluded: Option<Owner>,
    /// Its frames in the forms that have been encoded so far.
    pub frames: Frames,
}

#[cfg(test)]
impl Publication {
    /// Bytes that a publisher sent to channel `a` in epoch 1, for all of its subscribers; tests change what matters to them.
    pub fn test(sequence: u64, data: impl Into<Bytes>) -> Self {
        Self {
            channel: ChannelName::new("a").expect("it is a name"),
            id: PublicationId { epoch: 1, sequence },
            event: None,
            content: Content::Binary,
            data: data.into(),
            source: Source::Publisher,
            excluded: None,
            frames: Frames::default(),
        }
    }
}

/// Who made a publication, where that changes how it is delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A publisher.
    #[default]
    Publisher,
    /// A client, to the other subscribers of its channel. The payload is one JSON value, which the Pusher forms carry as
    /// the value that it is.
    Client {
        /// The user that the client is in the channel, if it is one of users.
        user_id: Option<Box<str>>,
        /// The name under which publishers know its connection.
        socket_id: Box<str>,
    },
    /// The protocol, which tells subscribers of each other. Only the Pusher forms and the live view can express it; it has
    /// no number of its own, and is not kept.
    Protocol,
    /// The server, which tells subscribers what happens to their channel. It has no payload, and is not kept; its identifier
    /// is that of the publication after which it goes on.
    Notice(Interruption),
}

/// An owner of subscriptions among those of several hubs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner {
    /// The number of the hub: that of its loop.
    pub hub: usize,
    /// The number under which that hub knows the owner.
    pub number: u64,
}

/// A frame for each form, once it is made.
#[derive(Debug, Default)]
struct Cells([OnceLock<Box<[u8]>>; WireForm::ALL.len()]);

/// A publication in the wire forms that are expensive to encode, each encoded once for all loops.
#[derive(Debug, Default)]
pub struct Frames {
    /// Behind a pointer: a publication that only goes out as it is needs none of them.
    cells: OnceLock<Box<Cells>>,
    /// That of [`WireForm::WebSocket`], if the payload is a part of it.
    plain: Option<Bytes>,
    ledger: Ledger,
    /// What the publication costs besides its frames.
    base: usize,
}

impl Frames {
    /// No frames yet. Until it is dropped, `ledger` counts its frames and `base` bytes for the publication itself.
    #[must_use]
    pub fn counted(ledger: &Ledger, base: usize) -> Self {
        ledger.add(base);
        Self { cells: OnceLock::new(), plain: None, ledger: ledger.clone(), base }
    }

    /// The same with the frame of [`WireForm::WebSocket`], of which the publication's payload is a part.
    #[must_use]
    pub fn with_plain(mut self, frame: Option<Bytes>) -> Self {
        self.plain = frame;
        self
    }

    /// The frame of [`WireForm::WebSocket`], if the payload is a part of it.
    #[must_use]
    pub fn plain(&self) -> Option<&Bytes> {
        self.plain.as_ref()
    }

    /// The frame of a form; the first call encodes it.
    pub fn get_or_encode(&self, form: WireForm, encode: impl FnOnce() -> Vec<u8>) -> &[u8] {
        self.cells.get_or_init(Box::default).0[form.index()].get_or_init(|| {
            let frame = encode().into_boxed_slice();
            self.ledger.add(frame.len());
            frame
        })
    }
}

impl Drop for Frames {
    fn drop(&mut self) {
        let cells = self.cells.get().into_iter().flat_map(|cells| &cells.0);
        let frames: usize = cells.filter_map(OnceLock::get).map(|frame| frame.len()).sum();
        self.ledger.subtract(self.base + frames);
    }
}

/// Counts bytes that are shared between loops. Clones are the same count.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<AtomicUsize>);

impl Ledger {
    /// How many bytes are counted now.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds to the count.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Subtracts from the count.
    pub fn subtract(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What the payload of a publication is, as its publisher declared it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// UTF-8 text. An envelope carries it as a JSON string.
    Text,
    /// UTF-8 text that is one JSON value. An envelope carries it as that value.
    Json,
    /// Any bytes. An envelope carries them as a base64 string.
    Binary,
}

/// `epoch-sequence`: both as they are written, the epoch in hexadecimal.
///
/// Sequences are without a hole inside an epoch. Another epoch is another life of the channel: its numbers
/// say nothing about this one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PublicationId {
    /// Drawn anew whenever the channel comes into being.
    pub epoch: u64,
    /// 1 for the first publication of the epoch.
    pub sequence: u64,
}

impl fmt::Display for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{}", self.epoch, self.sequence)
    }
}

impl FromStr for PublicationId {
    type Err = InvalidPublicationId;

    /// Reads what [`fmt::Display`] writes, and nothing else.
    fn from_str(text: &str) -> Result<Self, InvalidPublicationId> {
        let parsed = text.split_once('-').and_then(|(epoch, sequence)| {
            let epoch = u64::from_str_radix(epoch, 16).ok()?;
            Some(Self { epoch, sequence: sequence.parse().ok()? })
        });
        // The standard library also reads signs, capitals and leading zeros, which `Display` does not write.
        parsed.filter(|id| id.to_string() == text).ok_or(InvalidPublicationId)
    }
}

/// A text that is no identifier of a publication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidPublicationId;

impl fmt::Display for InvalidPublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a publication identifier looks like 8c1f5d0e7a21-7")
    }
}

impl std::error::Error for InvalidPublicationId {}

/// A checked event name: 1 to 200 characters, no control character, none of the server's own prefixes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName(Box<str>);

impl EventName {
    /// The name of an event of a protocol itself, which nobody can publish.
    pub(crate) fn of_protocol(name: &'static str) -> Self {
        debug_assert_eq!(Self::new(name), Err(InvalidEventName::Reserved), "{name}");
        Self(name.into())
    }

    /// Checks `name`.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, InvalidEventName> {
        if RESERVED_EVENT_PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            return Self::of_any(name).and(Err(InvalidEventName::Reserved));
        }
        Self::of_any(name)
    }

    /// The same for a name that may be one of the server's own, as another server of ours has published it.
    ///
    /// # Errors
    /// Says which of the other rules the name breaks.
    pub(crate) fn of_any(name: &str) -> Result<Self, InvalidEventName> {
        if name.is_empty() || name.chars().count() > EVENT_NAME_LEN_MAX {
            return Err(InvalidEventName::Length);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidEventName::ControlCharacter);
        }
        Ok(Self(name.into()))
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why a text is no event name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidEventName {
    /// Empty, or more than 200 characters.
    Length,
    /// A control character: it would break the line-based forms.
    ControlCharacter,
    /// It begins with a prefix of the server's own.
    Reserved,
}

impl fmt::Display for InvalidEventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length => write!(f, "an event name has 1 to {EVENT_NAME_LEN_MAX} characters"),
            Self::ControlCharacter => f.write_str("an event name holds no control characters"),
            Self::Reserved => f.write_str(
                "event names that begin with fanfare:, pusher: or pusher_internal: are the server's own",
            ),
        }
    }
}

impl std::error::Error for InvalidEventName {}

/// A way in which a publication goes over the wire. Each form of a channel has its own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WireForm {
    /// A WebSocket frame whose payload is the publication's and nothing else.
    WebSocket,
    /// A WebSocket text frame with a `fanfare.v1.json` envelope.
    Envelope,
    /// The same as `WebSocket`, compressed where that makes it smaller.
    WebSocketDeflate,
    /// The same as `Envelope`, compressed where that makes it smaller.
    EnvelopeDeflate,
    /// A chunk with an event of an event stream: the publication's name and lines.
    EventStream,
    /// A chunk with an event of an event stream whose data is a `fanfare.v1.json` envelope.
    EventStreamEnvelope,
    /// A comma and a `fanfare.v1.json` envelope: an element of a long poll's answer.
    LongPoll,
    /// A WebSocket text frame with an event of the Pusher protocol.
    Pusher,
    /// The same as `Pusher`, compressed where that makes it smaller.
    PusherDeflate,
    /// A line with an event of the Pusher protocol, as its HTTP transports have it.
    PusherStream,
    /// The same as `Envelope`, with the name of the channel in front: for readers of several.
    NamedEnvelope,
    /// The same as `NamedEnvelope`, compressed where that makes it smaller.
    NamedEnvelopeDeflate,
    /// A chunk with an event of an event stream whose data is the envelope of `NamedEnvelope`. It has no identifier: the
    /// position of a reader of several channels is not that of one.
    NamedEventStream,
    /// A comma and the envelope of `NamedEnvelope`: an element of the answer to a long poll of several channels.
    NamedLongPoll,
    /// A frame as of `NamedEnvelope`, whose data is the envelope of the publication with who made it; and the events of the
    /// Pusher protocol itself, without an identifier. For operators, who watch a channel without being one of its subscribers.
    LiveView,
    /// The same envelope as `LiveView`, as a chunk as of `NamedEventStream`.
    LiveViewStream,
    /// The same envelope as `LiveView`, as an element as of `NamedLongPoll`.
    LiveViewPoll,
}

impl WireForm {
    /// Every form, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::WebSocket,
        Self::Envelope,
        Self::WebSocketDeflate,
        Self::EnvelopeDeflate,
        Self::EventStream,
        Self::EventStreamEnvelope,
        Self::LongPoll,
        Self::Pusher,
        Self::PusherDeflate,
        Self::PusherStream,
        Self::NamedEnvelope,
        Self::NamedEnvelopeDeflate,
        Self::NamedEventStream,
        Self::NamedLongPoll,
        Self::LiveView,
        Self::LiveViewStream,
        Self::LiveViewPoll,
    ];

    /// The form's place in [`WireForm::ALL`].
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Whether the form carries `fanfare.v1.json` envelopes.
    #[must_use]
    pub fn is_envelope(self) -> bool {
        match self {
            Self::WebSocket
            | Self::WebSocketDeflate
            | Self::EventStream
            | Self::Pusher
            | Self::PusherDeflate
            | Self::PusherStream => false,
            Self::Envelope
            | Self::EnvelopeDeflate
            | Self::EventStreamEnvelope
            | Self::LongPoll
            | Self::NamedEnvelope
            | Self::NamedEnvelopeDeflate
            | Self::NamedEventStream
            | Self::NamedLongPoll
            | Self::LiveView
            | Self::LiveViewStream
            | Self::LiveViewPoll => true,
        }
    }

    /// Whether the form carries events of the Pusher protocol.
    #[must_use]
    pub fn is_pusher(self) -> bool {
        match self {
            Self::Pusher | Self::PusherDeflate | Self::PusherStream => true,
            Self::WebSocket
            | Self::Envelope
            | Self::WebSocketDeflate
            | Self::EnvelopeDeflate
            | Self::EventStream
            | Self::EventStreamEnvelope
            | Self::LongPoll
            | Self::NamedEnvelope
            | Self::NamedEnvelopeDeflate
            | Self::NamedEventStream
            | Self::NamedLongPoll
            | Self::LiveView
            | Self::LiveViewStream
            | Self::LiveViewPoll => false,
        }
    }

    /// Whether the form carries the events by which the Pusher protocol tells subscribers of each other.
    #[must_use]
    pub fn has_protocol_events(self) -> bool {
        self.is_pusher() || self.is_watching()
    }

    /// Whether who reads the form comes and goes with each answer.
    #[must_use]
    pub fn is_long_poll(self) -> bool {
        matches!(self, Self::LongPoll | Self::NamedLongPoll | Self::LiveViewPoll)
    }

    /// Whether who reads the form watches the channel, and does not count as a subscriber.
    #[must_use]
    pub fn is_watching(self) -> bool {
        matches!(self, Self::LiveView | Self::LiveViewStream | Self::LiveViewPoll)
    }

    /// The form for who watches a channel where it reads others in this form, which is one for readers of several.
    #[must_use]
    pub fn watching(self) -> Self {
        match self {
            Self::NamedEnvelope | Self::NamedEnvelopeDeflate | Self::LiveView => Self::LiveView,
            Self::NamedEventStream | Self::LiveViewStream => Self::LiveViewStream,
            Self::NamedLongPoll | Self::LiveViewPoll => Self::LiveViewPoll,
            Self::WebSocket
            | Self::Envelope
            | Self::WebSocketDeflate
            | Self::EnvelopeDeflate
            | Self::EventStream
            | Self::EventStreamEnvelope
            | Self::LongPoll
            | Self::Pusher
            | Self::PusherDeflate
            | Self::PusherStream => unreachable!("who reads one channel watches none"),
        }
    }
}

/// What a publisher gets back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    /// The identifier that the publication was given.
    pub id: PublicationId,
    /// How many subscribers the channel had at that moment, on all loops. Each receives the publication, or a notice that
    /// it missed some.
    pub subscribers: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_epoch_in_hexadecimal_dash_sequence() {
        assert_eq!(PublicationId { epoch: 0xbeef, sequence: 42 }.to_string(), "beef-42");
    }

    #[test]
    fn an_identifier_is_read_as_it_is_written_and_in_no_other_way() {
        let id = PublicationId { epoch: 0xbeef, sequence: 42 };
        assert_eq!("beef-42".parse(), Ok(id));
        for text in
            ["", "-", "beef", "beef-", "-42", "BEEF-42", "0beef-42", "beef-042", "beef-+42", "beef-4 "]
        {
            assert_eq!(text.parse::<PublicationId>(), Err(InvalidPublicationId), "{text:?}");
        }
    }

    #[test]
    fn a_publication_is_no_larger_for_what_can_happen_to_a_channel() {
        assert!(size_of::<Interruption>() <= 16, "{}", size_of::<Interruption>());
        assert!(size_of::<Source>() <= 40, "{}", size_of::<Source>());
        assert!(size_of::<Publication>() <= 224, "{}", size_of::<Publication>());
    }

    #[test]
    fn a_ledger_counts_a_publication_and_its_frames_as_long_as_they_live() {
        let ledger = Ledger::default();
        let frames = Frames::counted(&ledger, 100);
        let _ = frames.get_or_encode(WireForm::Envelope, || vec![0; 7]);
        let _ = frames.get_or_encode(WireForm::Envelope, || unreachable!("it is there"));
        assert_eq!(ledger.bytes(), 107);
        drop(frames);
        assert_eq!(ledger.bytes(), 0);
    }

    #[test]
    fn an_event_name_has_1_to_200_characters() {
        assert_eq!(EventName::new(""), Err(InvalidEventName::Length));
        for character in ["e", "ü", "界", "🎺"] {
            assert_eq!(EventName::new(&character.repeat(201)), Err(InvalidEventName::Length));
            assert_eq!(EventName::new(&character.repeat(200)).unwrap().as_str(), character.repeat(200));
        }
    }

    #[test]
    fn an_event_name_with_a_line_break_is_refused() {
        assert_eq!(EventName::new("a\nb"), Err(InvalidEventName::ControlCharacter));
    }

    #[test]
    fn the_servers_own_event_names_are_refused() {
        for name in ["fanfare:lagged", "pusher:error", "pusher_internal:member_added"] {
            assert_eq!(EventName::new(name), Err(InvalidEventName::Reserved));
        }
        assert!(EventName::new("pusher").is_ok());
    }

    #[test]
    fn a_frame_is_encoded_by_the_first_call() {
        let frames = Frames::default();
        assert_eq!(frames.get_or_encode(WireForm::Envelope, || b"once".to_vec()), b"once");
        assert_eq!(frames.get_or_encode(WireForm::Envelope, || unreachable!("it is there")), b"once");
    }

    #[test]
    fn a_form_stands_in_the_table_at_its_index() {
        for (index, form) in WireForm::ALL.iter().enumerate() {
            assert_eq!(form.index(), index);
        }
    }
}
