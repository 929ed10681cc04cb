//! What operators read of the server itself: the figures of the dashboard, and any channel without being one of its
//! subscribers.
//!
//! Who is an operator is decided by `access`.

use std::fmt;

use crate::http::{self, Request, Response, Status};
use crate::hub::ChannelName;
use crate::pusher::Name;
use crate::server::apps::Apps;
use crate::server::metrics::dashboard::FIGURES_CHANNEL;

/// Why one of the server's own names names nothing that can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotOwn {
    /// The server has nothing under this name.
    Unknown,
    /// The app of the channel that is to be watched is not there.
    NoApp,
    /// The app is the one whose channels have plain names: under this one it is watched.
    PlainName(ChannelName),
}

impl fmt::Display for NotOwn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str(
                "Channels whose names begin with @fanfare. are the server's own; the dashboard's figures are at \
                 /dashboard/figures.",
            ),
            Self::NoApp => f.write_str("No app has this id; leave app out for the first one."),
            Self::PlainName(name) => write!(f, "The channels of the first app have plain names: this is {name}."),
        }
    }
}

impl From<NotOwn> for Response {
    fn from(not_own: NotOwn) -> Self {
        let status = match not_own {
            NotOwn::Unknown => Status::FORBIDDEN,
            NotOwn::NoApp => Status::NOT_FOUND,
            NotOwn::PlainName(_) => Status::BAD_REQUEST,
        };
        Self::text(status, &not_own.to_string())
    }
}

/// Checks that one of the server's own names is that of the figures, or of a channel that can be watched. Each channel is
/// watched under one name.
///
/// # Errors
/// It is another.
pub fn check_own(name: &ChannelName, apps: &Apps) -> Result<(), NotOwn> {
    let Some(watched) = name.as_watched() else {
        return if name.as_str() == FIGURES_CHANNEL { Ok(()) } else { Err(NotOwn::Unknown) };
    };
    if watched.is_reserved() {
        return Err(NotOwn::Unknown);
    }
    let Some(id) = watched.space() else { return Ok(()) };
    let app = apps.by_id(id).ok_or(NotOwn::NoApp)?;
    let local = Name::new(watched.local()).map_err(|_| NotOwn::Unknown)?;
    let channel = app.channel(&local);
    if channel == watched { Ok(()) } else { Err(NotOwn::PlainName(channel.watched())) }
}

/// Whether the request names a channel of the server's own.
pub fn names_own(request: &Request) -> bool {
    let mut channels = http::parameters(request.query()).filter(|(name, _)| name == "channel");
    channels.any(|(_, value)| ChannelName::asked(&value).is_ok_and(|channel| channel.is_reserved()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pusher::App;

    #[test]
    fn the_figures_and_each_channel_under_one_name_are_the_servers_own() {
        let apps = Apps::new(&[App::new("1", "a", "x"), App::new("2", "b", "y")], 1);
        let checked = |name: &str| check_own(&ChannelName::asked(name).unwrap(), &apps);
        for name in
            ["@fanfare.dashboard", "@fanfare.watch/private-a", "@fanfare.watch/2/#server-to-user-anna"]
        {
            assert_eq!(checked(name), Ok(()), "{name}");
        }
        for name in ["@fanfare.x", "@fanfare.watch/@fanfare.dashboard", "@fanfare.watch/2/@fanfare.x"] {
            assert_eq!(checked(name), Err(NotOwn::Unknown), "{name}");
        }
        assert_eq!(checked("@fanfare.watch/3/a"), Err(NotOwn::NoApp));
        let twice = checked("@fanfare.watch/1/a").unwrap_err();
        let expected = "The channels of the first app have plain names: this is @fanfare.watch/a.";
        assert_eq!(twice.to_string(), expected);
    }
}
