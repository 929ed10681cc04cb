//! What the name of a channel means to Pusher: by its prefix.
//!
//! The alphabet of names is the hub's; who is in a channel is not known here.

use std::fmt;

use crate::hub::{ChannelName, InvalidChannelName};

/// The channel of a signed-in user, which the server makes and nobody else.
const USER_PREFIX: &str = "#server-to-user-";

/// What kind of channel a name is of. Prefixes are anchored and matched longest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind {
    /// Who may subscribe.
    pub access: Access,
    /// Whether payloads are encrypted by the publisher, so that a publication goes to one channel only.
    pub is_encrypted: bool,
    /// Whether the last event is kept for new subscribers.
    pub is_cache: bool,
}

/// Who may subscribe to a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// Everybody.
    Public,
    /// Who has a signature of the app's server.
    Private,
    /// The same; and subscribers know of each other.
    Presence,
    /// The connections of one signed-in user.
    User,
}

/// The name of a channel as clients of an app have it, and its kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    name: ChannelName,
    kind: Kind,
}

impl Name {
    /// Checks a name that a client or a server library sent.
    ///
    /// # Errors
    /// Says which rule the name breaks.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let kind = Kind::of(name);
        let checked = match name.strip_prefix(USER_PREFIX) {
            Some(user) => ChannelName::of_user(user).map_err(InvalidName::User),
            None => ChannelName::new(name).map_err(InvalidName::Channel),
        }?;
        if checked.is_reserved() {
            return Err(InvalidName::Reserved);
        }
        Ok(Self { name: checked, kind })
    }

    /// The channel of a user.
    ///
    /// # Errors
    /// The identifier of the user has a character that no channel's name may hold, or is too long.
    pub fn of_user(user: &str) -> Result<Self, InvalidName> {
        let name = ChannelName::of_user(user).map_err(InvalidName::User)?;
        Ok(Self { name, kind: Kind { access: Access::User, is_encrypted: false, is_cache: false } })
    }

    /// The name, without the app.
    #[must_use]
    pub fn channel(&self) -> &ChannelName {
        &self.name
    }

    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.name.as_str()
    }

    /// What its prefix says.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The user whose channel it is.
    #[must_use]
    pub fn user(&self) -> Option<&str> {
        self.as_str().strip_prefix(USER_PREFIX)
    }
}

impl Kind {
    /// What the prefix of a name says.
    #[must_use]
    pub fn of(name: &str) -> Self {
        let of = |access, is_encrypted, is_cache| Self { access, is_encrypted, is_cache };
        if name.starts_with(USER_PREFIX) {
            return of(Access::User, false, false);
        }
        let (access, rest) = if let Some(rest) = name.strip_prefix("private-") {
            (Access::Private, rest)
        } else if let Some(rest) = name.strip_prefix("presence-") {
            (Access::Presence, rest)
        } else {
            (Access::Public, name)
        };
        let encrypted = rest.strip_prefix("encrypted-").filter(|_| access == Access::Private);
        of(access, encrypted.is_some(), encrypted.unwrap_or(rest).starts_with("cache-"))
    }

    /// Whether a subscription needs a signature.
    #[must_use]
    pub fn needs_auth(self) -> bool {
        match self.access {
            Access::Private | Access::Presence => true,
            Access::Public | Access::User => false,
        }
    }

    /// Whether it is a presence channel.
    #[must_use]
    pub fn is_presence(self) -> bool {
        self.access == Access::Presence
    }
}

/// Why a text is no name of a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidName {
    /// It breaks the rules of channel names.
    Channel(InvalidChannelName),
    /// It names the channel of a user whose identifier breaks them.
    User(InvalidChannelName),
    /// It is a channel of the server's own.
    Reserved,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Channel(error) => error.fmt(f),
            Self::User(InvalidChannelName::Empty) => f.write_str("the identifier of the user is empty"),
            Self::User(InvalidChannelName::TooLong) => {
                f.write_str("the identifier of the user is longer than 200 characters")
            }
            Self::User(InvalidChannelName::Character(character)) => write!(
                f,
                "the identifier of the user holds {character:?}; allowed are A-Z a-z 0-9 _ - = @ , . ;"
            ),
            Self::Reserved => f.write_str("channels whose names begin with @fanfare. are the server's own"),
        }
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(name: &str) -> (Access, bool, bool) {
        let Kind { access, is_encrypted, is_cache } = Kind::of(name);
        (access, is_encrypted, is_cache)
    }

    #[test]
    fn the_prefix_says_what_kind_of_channel_it_is() {
        assert_eq!(kind("prices"), (Access::Public, false, false));
        assert_eq!(kind("private-a"), (Access::Private, false, false));
        assert_eq!(kind("private-encrypted-a"), (Access::Private, true, false));
        assert_eq!(kind("presence-a"), (Access::Presence, false, false));
        assert_eq!(kind("cache-a"), (Access::Public, false, true));
        assert_eq!(kind("private-cache-a"), (Access::Private, false, true));
        assert_eq!(kind("private-encrypted-cache-a"), (Access::Private, true, true));
        assert_eq!(kind("presence-cache-a"), (Access::Presence, false, true));
        assert_eq!(kind("#server-to-user-1"), (Access::User, false, false));
    }

    #[test]
    fn a_prefix_counts_at_the_beginning_only_and_as_it_is_written() {
        for name in
            ["my-private-a", "aprivate-a", "private", "privateer", "Private-a", "encrypted-a", "cached"]
        {
            assert_eq!(kind(name), (Access::Public, false, false), "{name}");
        }
        assert_eq!(kind("presence-encrypted-a"), (Access::Presence, false, false));
        assert_eq!(kind("private-cache-encrypted-a"), (Access::Private, false, true));
    }

    #[test]
    fn a_number_sign_begins_the_channel_of_a_user_and_no_other() {
        assert_eq!(Name::new("#server-to-user-42").unwrap().user(), Some("42"));
        assert_eq!(Name::new("#a"), Err(InvalidName::Channel(InvalidChannelName::Character('#'))));
        assert_eq!(Name::new("#server-to-user-"), Err(InvalidName::User(InvalidChannelName::Empty)));
        let error = Name::new("#server-to-user-a b").unwrap_err();
        assert_eq!(error, InvalidName::User(InvalidChannelName::Character(' ')));
        assert!(error.to_string().contains("user holds ' '"), "{error}");
        assert_eq!(Name::of_user("42"), Name::new("#server-to-user-42"));
    }

    #[test]
    fn the_servers_own_channels_are_no_channels_of_an_app() {
        assert_eq!(Name::new("@fanfare.dashboard"), Err(InvalidName::Reserved));
    }
}
