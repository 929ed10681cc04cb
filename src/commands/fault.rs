//! What a client is told when something is wrong with a command: code, status, close code and sentence, a line each.
//!
//! Where a fault is noticed is not known here. Sentences about tokens and rights are written where those are known.

use std::fmt;

use super::Reference;
use crate::hub::{InvalidChannelName, InvalidEventName};

/// What a sentence quotes is cut to this length in bytes.
const QUOTED_LEN_MAX: usize = 500;

/// What is wrong with one command, or with one channel of it. `Display` is the sentence that the client is told; as the
/// reason of a Close frame it may have to be cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The `ref` of the command, if it has one that could be read.
    pub reference: Option<Reference>,
    /// The channel that is wrong, as the client calls it. `None` if the command as a whole is: nothing of it is done, and
    /// its channels get no other answer.
    pub channel: Option<String>,
    /// What is wrong.
    pub kind: FaultKind,
}

impl Fault {
    /// The close code, if the connection does not go on after this fault.
    #[must_use]
    pub fn closes(&self) -> Option<u16> {
        self.kind.close_code().filter(|_| self.kind.ends_connection())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for Fault {}

/// Of each fault: its code for programs and its HTTP status; the code that a connection is closed with which it ends
/// (`none`: it never ends one; `ends`: it always does, `may`: where it is no command's fault but the connection's); what it
/// carries; and its sentence.
macro_rules! faults {
    ($(
        $(#[$doc:meta])*
        [$code:literal $status:literal $ends:tt $($close:literal)?] $name:ident $(($($field:ident: $type:ty),+))? $sentence:literal
    )*) => {
        /// What can be wrong with a command. `Display` is the sentence that says it and what is right.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum FaultKind {
            $($(#[$doc])* $name $(($($type),+))?,)*
        }

        impl FaultKind {
            /// The code: what programs go by.
            #[must_use]
            pub fn code(&self) -> &'static str {
                match self {
                    $(Self::$name { .. } => $code,)*
                }
            }

            /// The HTTP status that says the same.
            #[must_use]
            pub fn status(&self) -> u16 {
                match self {
                    $(Self::$name { .. } => $status,)*
                }
            }

            /// What a connection is closed with that this ends; `None` if it never ends one. A fault of a command ends
            /// it only if [`Fault::closes`].
            #[must_use]
            pub fn close_code(&self) -> Option<u16> {
                match self {
                    $(Self::$name { .. } => None $(.or(Some($close)))?,)*
                }
            }

            fn ends_connection(&self) -> bool {
                match self {
                    $(Self::$name { .. } => faults!(@ends $ends),)*
                }
            }
        }

        impl fmt::Display for FaultKind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$name $(($($field),+))? => {
                        $($(let $field = Quoted($field);)+)?
                        write!(f, $sentence)
                    })*
                }
            }
        }
    };
    (@ends ends) => { true };
    (@ends may) => { false };
    (@ends none) => { false };
}

faults! {
    /// The message is not JSON, for this reason.
    ["bad_command" 400 ends 1007] NotJson(why: String) "The message is not JSON: {why}."
    /// The message is binary.
    ["bad_command" 400 ends 1003] Binary "fanfare.v1.json speaks text messages only."
    /// The message is JSON and no command, for this reason.
    ["bad_command" 400 may 4400] BadCommand(why: String) "{why}."
    /// The name of the channel breaks this rule.
    ["bad_command" 400 may 4400] Channel(why: InvalidChannelName) "This is no name of a channel: {why}."
    /// The channel is one of the server's own.
    ["bad_command" 400 may 4400] Reserved "Channels whose names begin with @fanfare. are the server's own."
    /// The name of the event breaks this rule.
    ["bad_command" 400 may 4400] Event(why: InvalidEventName) "This is no name of an event: {why}."
    /// The channel is not open to clients that have no token. The sentence.
    ["no_token" 401 may 4401] NoToken(sentence: String) "{sentence}"
    /// The token is none. The sentence.
    ["bad_token" 401 may 4401] BadToken(sentence: String) "{sentence}"
    /// The token has expired. The sentence.
    ["expired" 401 may 4401] Expired(sentence: String) "{sentence}"
    /// The client may not do this. The sentence.
    ["forbidden" 403 may 4403] Forbidden(sentence: String) "{sentence}"
    /// The token was revoked. The sentence.
    ["revoked" 403 may 4403] Revoked(sentence: String) "{sentence}"
    /// The connection neither proved anything nor subscribed for this number of seconds.
    ["timeout" 408 ends 4408] Timeout(seconds: u64) "Neither a proof nor a subscription within {seconds} s."
    /// The length of the publication's payload, and the limit, in bytes.
    ["too_large" 413 none] TooLarge(len: u64, len_max: u64)
        "The data has {len} bytes; a publication has at most {len_max}: the smaller of the server's --max-message and --max-lag."
    /// The number of channels in one command, and the limit.
    ["too_many" 429 may 4429] TooManyListed(len: usize, max: usize)
        "{len} channels are listed; a command has at most {max}: send several."
    /// The connection has as many subscriptions as it may have, which is this.
    ["too_many" 429 may 4429] TooManySubscriptions(max: usize)
        "The connection has {max} subscriptions, the limit of --client-subscriptions: unsubscribe from some."
    /// The user has as many connections as it may have. The sentence.
    ["too_many" 429 may 4429] TooManyConnections(sentence: String) "{sentence}"
    /// The connection was refused this number of times.
    ["too_many" 429 ends 4429] TooManyRefusals(max: usize) "This connection was refused {max} times: see what it was told."
    /// The key was used for another publication.
    ["conflict" 422 none] Conflict
        "This key was used for another publication within the last minute; give each its own."
    /// Nothing was done, and it may be possible later. The sentence.
    ["unavailable" 503 may 1013] Unavailable(sentence: String) "{sentence}"
    /// It is not known whether it was published.
    ["unavailable" 504 may 1013] Unanswered "This may be published or not; try again with the same key."
}

/// The beginning of what a sentence quotes.
struct Quoted<'a, T>(&'a T);

impl<T: fmt::Display> fmt::Display for Quoted<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.0.to_string();
        let ends = text.char_indices().map(|(at, c)| at + c.len_utf8());
        let end = ends.take_while(|&end| end <= QUOTED_LEN_MAX).last().unwrap_or(0);
        f.write_str(&text[..end])?;
        if end < text.len() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text() -> String {
        "It is so.".to_owned()
    }

    /// One of each, with its code and status, and the code that it closes with, if it may.
    fn all() -> Vec<(FaultKind, &'static str, u16, Option<u16>)> {
        vec![
            (FaultKind::NotJson("x".to_owned()), "bad_command", 400, Some(1007)),
            (FaultKind::Binary, "bad_command", 400, Some(1003)),
            (FaultKind::BadCommand("x".to_owned()), "bad_command", 400, Some(4400)),
            (FaultKind::Channel(InvalidChannelName::Empty), "bad_command", 400, Some(4400)),
            (FaultKind::Reserved, "bad_command", 400, Some(4400)),
            (FaultKind::Event(InvalidEventName::Length), "bad_command", 400, Some(4400)),
            (FaultKind::NoToken(text()), "no_token", 401, Some(4401)),
            (FaultKind::BadToken(text()), "bad_token", 401, Some(4401)),
            (FaultKind::Expired(text()), "expired", 401, Some(4401)),
            (FaultKind::Forbidden(text()), "forbidden", 403, Some(4403)),
            (FaultKind::Revoked(text()), "revoked", 403, Some(4403)),
            (FaultKind::Timeout(10), "timeout", 408, Some(4408)),
            (FaultKind::TooLarge(2, 1), "too_large", 413, None),
            (FaultKind::TooManyListed(2, 1), "too_many", 429, Some(4429)),
            (FaultKind::TooManySubscriptions(100), "too_many", 429, Some(4429)),
            (FaultKind::TooManyConnections("Said.".into()), "too_many", 429, Some(4429)),
            (FaultKind::TooManyRefusals(100), "too_many", 429, Some(4429)),
            (FaultKind::Conflict, "conflict", 422, None),
            (FaultKind::Unavailable(text()), "unavailable", 503, Some(1013)),
            (FaultKind::Unanswered, "unavailable", 504, Some(1013)),
        ]
    }

    fn fault(kind: FaultKind) -> Fault {
        Fault { reference: None, channel: None, kind }
    }

    #[test]
    fn every_fault_has_a_code_a_status_and_a_sentence() {
        for (kind, code, status, close_code) in all() {
            assert_eq!(
                (kind.code(), kind.status(), kind.close_code()),
                (code, status, close_code),
                "{kind:?}"
            );
            assert!(kind.to_string().ends_with('.'), "{kind}");
        }
    }

    #[test]
    fn a_command_ends_the_connection_only_if_nothing_can_follow() {
        let ends = |(kind, ..): (FaultKind, _, _, _)| fault(kind).closes();
        let closing: Vec<_> = all().into_iter().filter_map(ends).collect();
        assert_eq!(closing, [1007, 1003, 4408, 4429]);
    }

    #[test]
    fn a_connection_is_closed_with_a_sentence_that_fits_a_close_frame() {
        // RFC 6455 §5.5: 125 bytes, of which 2 are the code.
        for (kind, ..) in all() {
            assert!(fault(kind.clone()).closes().is_none() || kind.to_string().len() <= 123, "{kind}");
        }
    }

    #[test]
    fn a_sentence_quotes_a_part_of_what_is_long() {
        let sentence = FaultKind::BadCommand("ü".repeat(100_000)).to_string();
        assert_eq!(sentence, format!("{}….", "ü".repeat(250)));
    }
}
