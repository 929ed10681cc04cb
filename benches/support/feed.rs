//! What a number of clients read: which payloads, and in which form.
//!
//! Nothing is sent here.

use std::fmt;

use fanfare::config::Config;
use fanfare::ws::{
    Deflater, Opcode, WINDOW_BITS_MAX, encode_compressed_frame, encode_frame, encode_masked_frame,
};

use super::payload::Payload;

/// The publisher's.
const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A wire form without compression, in a role.
const PLAIN: &str = "plain";

/// One payload in one form. `Display` and [`Feed::from_words`] are its two words in a role.
#[derive(Clone, Copy, Debug)]
pub struct Feed {
    /// What the messages say.
    pub payload: Payload,
    /// From how many bytes on they come compressed; `None`: the clients do not offer permessage-deflate.
    pub deflate_len_min: Option<u64>,
}

impl Feed {
    /// The other way of `Display`.
    pub fn from_words(payload: &str, form: &str) -> Self {
        let parse = |len: &str| len.parse().expect("a form is `plain` or a number of bytes");
        let Ok(payload) = payload.parse();
        Self { payload, deflate_len_min: (form != PLAIN).then(|| parse(form)) }
    }

    /// `messages` messages as a server sends them.
    pub fn frames(self, messages: usize) -> Vec<u8> {
        let level = Config::default().deflate_level;
        let mut deflater = Deflater::new(level, WINDOW_BITS_MAX).expect("the library has the largest window");
        let mut out = Vec::new();
        for payload in (0..messages).map(|index| self.payload.bytes(index)) {
            let deflates = self.deflate_len_min.is_some_and(|len_min| payload.len() as u64 >= len_min);
            match deflates.then(|| deflater.deflate(&payload)).flatten() {
                Some(deflated) => encode_compressed_frame(&mut out, Opcode::Text, deflated),
                None => encode_frame(&mut out, Opcode::Text, &payload),
            }
        }
        out
    }

    /// The same as their publisher sends them.
    pub fn masked_frames(self, messages: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in (0..messages).map(|index| self.payload.bytes(index)) {
            encode_masked_frame(&mut out, true, Opcode::Text, KEY, &payload);
        }
        out
    }

    /// What the clients' requests say of extensions.
    pub fn extension_field(self) -> &'static str {
        match self.deflate_len_min {
            Some(_) => "Sec-WebSocket-Extensions: permessage-deflate\r\n",
            None => "",
        }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.deflate_len_min {
            Some(len_min) => write!(f, "{} {len_min}", self.payload),
            None => write!(f, "{} {PLAIN}", self.payload),
        }
    }
}
