//! The name of a channel: what may be one, and how it is shared.
//!
//! What a prefix of a name means to a protocol (Pusher's `private-`, say) is not known here.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// The longest name of a channel, in bytes. Pusher's Node and Python libraries allow as much; its own
/// documentation and Ruby library stop at 164.
pub const CHANNEL_NAME_LEN_MAX: usize = 200;

/// The names of the server's own channels begin with this.
const RESERVED_PREFIX: &str = "@fanfare.";

/// What separates a name space from the name inside it. No name that a client gives holds it.
const SEPARATOR: char = '/';

/// The channel of a user has this ahead of the user's identifier. No name that a client gives begins so.
const USER_PREFIX: &str = "#server-to-user-";

/// What operators watch has this ahead of the name of the channel. No name that a client gives for a channel holds it.
const WATCHED_PREFIX: &str = "@fanfare.watch/";

/// The name space of the channels that tell who comes to other channels, and who goes. No name that a client gives is one.
const COMPANION_SPACE: &str = "#presence";

/// A checked channel name: 1 to 200 of `A-Za-z0-9_-=@,.;`, Pusher's alphabet. Clones share the text.
///
/// Names that the server makes have more: `SPACE/NAME` is a channel of a name space, which is not the channel `NAME`;
/// `#server-to-user-ID` is the channel of a user; `#presence/NAME` is the companion of the channel `NAME`.
/// `@fanfare.watch/NAME` is no channel, but what operators call the channel `NAME` of the server that they watch.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChannelName(Arc<str>);

impl ChannelName {
    /// Checks `name`.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, InvalidChannelName> {
        if name.is_empty() {
            return Err(InvalidChannelName::Empty);
        }
        if name.len() > CHANNEL_NAME_LEN_MAX {
            return Err(InvalidChannelName::TooLong);
        }
        match name.chars().find(|&character| !is_allowed(character)) {
            Some(character) => Err(InvalidChannelName::Character(character)),
            None => Ok(Self(name.into())),
        }
    }

    /// Checks the name of what a reader asks for: a channel, or `@fanfare.watch/` and the name that the server has for a
    /// channel that is to be watched, which may be a user's and in a name space.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn asked(name: &str) -> Result<Self, InvalidChannelName> {
        let Some(watched) = name.strip_prefix(WATCHED_PREFIX) else { return Self::new(name) };
        let (space, local) = match watched.split_once(SEPARATOR) {
            Some((space, local)) => (Some(Self::new(space)?), local),
            None => (None, watched),
        };
        let local = match local.strip_prefix(USER_PREFIX) {
            Some(user) => Self::of_user(user)?,
            None => Self::new(local)?,
        };
        Ok(space.map_or_else(|| local.clone(), |space| local.in_space(space.as_str())).watched())
    }

    /// The name under which operators watch the channel.
    #[must_use]
    pub fn watched(&self) -> Self {
        Self(format!("{WATCHED_PREFIX}{}", self.0).into())
    }

    /// The channel that is watched under this name, if it is such a name.
    #[must_use]
    pub fn as_watched(&self) -> Option<Self> {
        self.0.strip_prefix(WATCHED_PREFIX).map(|channel| Self(channel.into()))
    }

    /// The channel of a user.
    ///
    /// # Errors
    /// The identifier breaks the rules of a name.
    pub fn of_user(user: &str) -> Result<Self, InvalidChannelName> {
        Self::new(user)?;
        Ok(Self(format!("{USER_PREFIX}{user}").into()))
    }

    /// The channel of this name in a name space, which is itself a name.
    #[must_use]
    pub fn in_space(&self, space: &str) -> Self {
        debug_assert!(Self::new(space).is_ok() && self.space().is_none());
        Self(format!("{space}{SEPARATOR}{}", self.0).into())
    }

    /// The channel that tells who comes to this one, and who goes. This one's name is the name inside its space.
    #[must_use]
    pub fn companion(&self) -> Self {
        Self(format!("{COMPANION_SPACE}{SEPARATOR}{}", self.0).into())
    }

    /// Whether it is the companion of another channel.
    #[must_use]
    pub fn is_companion(&self) -> bool {
        self.0.strip_prefix(COMPANION_SPACE).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// The channel that this is the companion of, if it is one.
    #[must_use]
    pub fn accompanied(&self) -> Option<Self> {
        self.is_companion().then(|| Self(self.local().into()))
    }

    /// The name space, if it is in one.
    #[must_use]
    pub fn space(&self) -> Option<&str> {
        self.in_parts().map(|(space, _)| space)
    }

    /// The name inside its name space: what clients know it by.
    #[must_use]
    pub fn local(&self) -> &str {
        self.in_parts().map_or(&self.0, |(_, local)| local)
    }

    /// What operators watch is called by its whole name.
    fn in_parts(&self) -> Option<(&str, &str)> {
        if self.is_reserved() { None } else { self.0.split_once(SEPARATOR) }
    }

    /// Whether the channel is one of the server's own: clients do not publish to it, nor subscribe by name.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with(RESERVED_PREFIX)
    }

    /// Whether clients can name the channel and use it: it is no user's, no companion, in no name space and not reserved.
    #[must_use]
    pub fn is_public(&self) -> bool {
        !self.is_reserved() && !self.0.starts_with(USER_PREFIX) && self.space().is_none()
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for ChannelName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no channel name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidChannelName {
    /// No characters at all.
    Empty,
    /// More than 200 bytes.
    TooLong,
    /// A character outside the alphabet.
    Character(char),
}

impl fmt::Display for InvalidChannelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("the channel name is empty"),
            Self::TooLong => write!(f, "the channel name is longer than {CHANNEL_NAME_LEN_MAX} characters"),
            Self::Character(character) => {
                write!(f, "the channel name holds {character:?}; allowed are A-Z a-z 0-9 _ - = @ , . ;")
            }
        }
    }
}

impl std::error::Error for InvalidChannelName {}

fn is_allowed(character: char) -> bool {
    character.is_ascii_alphanumeric() || "_-=@,.;".contains(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_of_the_alphabet_is_a_name() {
        let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-=@,.;";
        assert_eq!(ChannelName::new(alphabet).unwrap().as_str(), alphabet);
        for character in alphabet.chars() {
            assert!(ChannelName::new(&character.to_string()).is_ok(), "{character}");
        }
    }

    #[test]
    fn a_name_has_1_to_200_characters() {
        assert_eq!(ChannelName::new(""), Err(InvalidChannelName::Empty));
        assert!(ChannelName::new("a").is_ok());
        assert!(ChannelName::new(&"a".repeat(200)).is_ok());
        assert_eq!(ChannelName::new(&"a".repeat(201)), Err(InvalidChannelName::TooLong));
    }

    #[test]
    fn a_channel_of_a_name_space_is_another_one_and_has_the_same_local_name() {
        let name = ChannelName::new("prices").unwrap();
        let inside = name.in_space("7");
        assert_ne!(inside, name);
        assert_eq!((inside.space(), inside.local()), (Some("7"), "prices"));
        assert_eq!((name.space(), name.local()), (None, "prices"));
        assert!(ChannelName::new(inside.as_str()).is_err(), "no client can name it");
    }

    #[test]
    fn the_channel_of_a_user_is_none_that_a_client_can_name() {
        let channel = ChannelName::of_user(&"u".repeat(200)).unwrap();
        assert!(channel.as_str().starts_with("#server-to-user-uuu"));
        assert!(ChannelName::new(channel.as_str()).is_err());
        assert_eq!(ChannelName::of_user("a b"), Err(InvalidChannelName::Character(' ')));
    }

    #[test]
    fn the_companion_of_a_channel_is_none_that_a_client_can_name_and_has_its_local_name() {
        let channel = ChannelName::new("chat-7").unwrap();
        let companion = channel.companion();
        assert_eq!((companion.as_str(), companion.local()), ("#presence/chat-7", "chat-7"));
        assert_eq!((companion.accompanied(), channel.accompanied()), (Some(channel.clone()), None));
        assert!(companion.is_companion() && !channel.is_companion());
        assert!(ChannelName::new(companion.as_str()).is_err());
        assert!(ChannelName::new("#presence").is_err(), "nor is its space one");
        let inside = channel.in_space("7");
        assert_eq!((inside.accompanied(), inside.companion().accompanied()), (None, Some(inside.clone())));
    }

    #[test]
    fn what_clients_can_name_and_is_not_reserved_is_public() {
        let channel = ChannelName::new("chat-7").unwrap();
        assert!(channel.is_public());
        let own = ChannelName::new("@fanfare.dashboard").unwrap();
        let user = ChannelName::of_user("7").unwrap();
        for other in [own, user, channel.in_space("7"), channel.companion()] {
            assert!(!other.is_public(), "{other}");
        }
    }

    #[test]
    fn a_character_outside_the_alphabet_is_named_in_the_error() {
        for character in ['/', ' ', '#', '*', '?', 'é', '\0', '\n', '"'] {
            let error = ChannelName::new(&format!("a{character}b")).unwrap_err();
            assert_eq!(error, InvalidChannelName::Character(character));
            assert!(error.to_string().contains(&format!("{character:?}")));
        }
    }

    #[test]
    fn what_is_watched_is_named_by_the_name_that_the_server_has_for_it() {
        for (asked, channel) in [
            ("@fanfare.watch/prices", "prices"),
            ("@fanfare.watch/7/private-room", "7/private-room"),
            ("@fanfare.watch/#server-to-user-anna", "#server-to-user-anna"),
            ("@fanfare.watch/7/#server-to-user-anna", "7/#server-to-user-anna"),
            ("@fanfare.watch/@fanfare.dashboard", "@fanfare.dashboard"),
        ] {
            let name = ChannelName::asked(asked).unwrap();
            assert_eq!((name.as_str(), name.local(), name.space()), (asked, asked, None));
            assert!(name.is_reserved() && !name.is_public() && !name.is_companion());
            let watched = name.as_watched().unwrap();
            assert_eq!((watched.as_str(), watched.watched()), (channel, name));
        }
        let long = format!("@fanfare.watch/{}/{}", "7".repeat(200), "a".repeat(200));
        assert!(ChannelName::asked(&long).is_ok());
        assert_eq!(ChannelName::new("prices").unwrap().as_watched(), None);
        assert_eq!(ChannelName::asked("prices"), ChannelName::new("prices"));
    }

    #[test]
    fn what_is_watched_follows_the_rules_of_a_name_in_each_of_its_parts() {
        let slash = Err(InvalidChannelName::Character('/'));
        for (asked, expected) in [
            ("@fanfare.watch/", Err(InvalidChannelName::Empty)),
            ("@fanfare.watch/7/", Err(InvalidChannelName::Empty)),
            ("@fanfare.watch//a", Err(InvalidChannelName::Empty)),
            ("@fanfare.watch/#server-to-user-", Err(InvalidChannelName::Empty)),
            ("@fanfare.watch/7/8/a", slash.clone()),
            ("@fanfare.watch/#presence/a", Err(InvalidChannelName::Character('#'))),
            ("@fanfare.watch/a b", Err(InvalidChannelName::Character(' '))),
            ("@fanfare.other/a", slash),
        ] {
            assert_eq!(ChannelName::asked(asked), expected, "{asked}");
        }
        let long = format!("@fanfare.watch/{}", "a".repeat(201));
        assert_eq!(ChannelName::asked(&long), Err(InvalidChannelName::TooLong));
        assert!(ChannelName::new("@fanfare.watch/a").is_err(), "it is no channel");
    }
}
