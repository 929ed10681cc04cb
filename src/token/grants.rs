//! What a token allows, and where: three lists of globs.
//!
//! Who is asked is known elsewhere: the names that are reserved for the server are refused before a glob is tried.

use wildmatch::WildMatch;

use crate::hub::ChannelName;

use super::error::{Denial, Error, Holder, Right};

/// What the claim `fanfare` allows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grants {
    /// Where its holder may subscribe.
    pub subscribe: Globs,
    /// Where its holder may publish.
    pub publish: Globs,
    /// Where its holder may see who is there.
    pub presence: Globs,
}

/// Patterns of channel names, as in the flags: `*` for any run of characters, `?` for one.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Globs(Box<[WildMatch]>);

impl Grants {
    /// The globs for a right.
    #[must_use]
    pub fn of(&self, right: Right) -> &Globs {
        match right {
            Right::Subscribe => &self.subscribe,
            Right::Publish => &self.publish,
            Right::Presence => &self.presence,
        }
    }

    /// Checks that a glob for the right fits the channel.
    ///
    /// # Errors
    /// [`Error::Forbidden`], with the globs that `holder` has.
    pub fn check(&self, right: Right, channel: &ChannelName, holder: Holder) -> Result<(), Error> {
        let globs = self.of(right);
        if globs.fit(channel.as_str()) {
            return Ok(());
        }
        let globs = globs.0.iter().map(|glob| glob.to_string().into()).collect();
        Err(Error::Forbidden(Denial { holder, right, globs, channel: channel.clone() }))
    }

    /// Bytes on the heap, about.
    #[must_use]
    pub fn held_len(&self) -> usize {
        [&self.subscribe, &self.publish, &self.presence].into_iter().map(Globs::held_len).sum()
    }
}

impl Globs {
    /// The patterns as they were written.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self(patterns.into_iter().map(WildMatch::new).collect())
    }

    /// Whether one of them fits the whole of `name`.
    #[must_use]
    pub fn fit(&self, name: &str) -> bool {
        self.0.iter().any(|glob| glob.matches(name))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none, which fit no name.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A pattern is kept as characters of four bytes.
    fn held_len(&self) -> usize {
        let of_one =
            |glob: &WildMatch| size_of::<WildMatch>() + size_of::<char>() * glob.to_string().chars().count();
        self.0.iter().map(of_one).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str) -> ChannelName {
        ChannelName::new(name).unwrap()
    }

    #[test]
    fn a_glob_fits_the_whole_of_a_name() {
        let globs = Globs::new(["news", "chat-*", "?9", "a*b*c"]);
        for name in ["news", "chat-", "chat-7", "x9", "abc", "axxbyybzzc"] {
            assert!(globs.fit(name), "{name}");
        }
        for name in ["new", "news2", "xnews", "News", "chat", "9", "xx9", "ab", "abcd", ""] {
            assert!(!globs.fit(name), "{name}");
        }
        assert!(!Globs::default().fit("") && !Globs::new([""]).fit("a") && Globs::new(["*"]).fit("anything"));
    }

    #[test]
    fn a_holder_is_told_what_the_token_allows_and_no_other_list() {
        let grants = Grants {
            subscribe: Globs::new(["news", "chat-*"]),
            publish: Globs::new(["chat-7"]),
            presence: Globs::default(),
        };
        let holder = || Holder(Some("u42".into()));
        let check =
            |right, name| grants.check(right, &channel(name), holder()).map_err(|error| error.to_string());
        assert_eq!(check(Right::Subscribe, "chat-8"), Ok(()));
        assert_eq!(check(Right::Publish, "chat-7"), Ok(()));
        let told = |sentence: &str| Err(sentence.to_owned());
        assert_eq!(
            check(Right::Subscribe, "ops"),
            told("The token of u42 subscribes to news, chat-*; not to ops.")
        );
        assert_eq!(
            check(Right::Publish, "chat-8"),
            told("The token of u42 publishes to chat-7; not to chat-8.")
        );
        assert_eq!(
            check(Right::Presence, "news"),
            told("The token of u42 sees who is in no channel; not in news.")
        );
    }
}
