//! Rules by channel, each a glob and a value: which rule applies to a channel, which rule can never apply, and which glob
//! matches no channel.
//!
//! What a rule sets is not known here.

use std::fmt;

use wildmatch::WildMatch;

/// A pattern of channel names: `*` for any run of characters, `?` for one.
#[derive(Clone, Debug, PartialEq)]
pub struct Glob(WildMatch);

impl Glob {
    /// The pattern as it was written.
    #[must_use]
    pub fn new(pattern: &str) -> Self {
        Self(WildMatch::new(pattern))
    }

    /// Whether the whole of `name` matches.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.0.matches(name)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.pattern())
    }
}

impl std::str::FromStr for Glob {
    type Err = std::convert::Infallible;

    fn from_str(pattern: &str) -> Result<Self, Self::Err> {
        Ok(Self::new(pattern))
    }
}

/// Channels whose names begin with this are reserved for the server: clients cannot publish to them, nor subscribe to them
/// by name.
const OWN_PREFIX: &str = "@fanfare.";

/// The characters of a channel's name besides letters and digits. The rule itself is in `hub`, and a test compares the two.
const NAME_PUNCTUATION: &str = "_-=@,.;";

/// The longest name of a channel; compared likewise.
const NAME_LEN_MAX: usize = 200;

/// A rule that can never apply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadRule {
    flag: &'static str,
    glob: String,
    why: Why,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Why {
    /// An earlier rule with this glob takes every channel.
    TakenBy(String),
    /// No name matches.
    NoName,
    /// Only names that are reserved for the server match, and the rule does not apply to them.
    Own,
}

impl fmt::Display for DeadRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { flag, glob, why } = self;
        match why {
            Why::TakenBy(_) if glob == ALL => write!(
                f,
                "{flag}: two rules are for all channels, and the second would never apply. Leave one out, or put a glob \
                 before it, such as chat*="
            ),
            Why::TakenBy(by) => write!(
                f,
                "{flag} {glob}=: it would never apply, since {by}= before it takes every channel that matches. Put it \
                 first, or leave one of them out"
            ),
            Why::NoName => write!(
                f,
                "{flag}: no channel's name fits the glob {glob:?}. Names are 1 to {NAME_LEN_MAX} of A-Z a-z 0-9 _ - = @ \
                 , . ; and in a glob * stands for any of them and ? for one, as in chat*. A comma separates several \
                 values"
            ),
            Why::Own => write!(
                f,
                "{flag}: the glob {glob:?} matches only the server's own channels, which are closed to clients. Leave it \
                 out"
            ),
        }
    }
}

/// The glob of a rule for all channels.
const ALL: &str = "*";

/// Whether there is a rule for all channels, so that nothing else decides about any.
pub(super) fn has_one_for_all<T>(rules: &[(Glob, T)]) -> bool {
    rules.iter().any(|(glob, _)| is_all(glob))
}

/// The value for a channel: that of the first glob that matches. The rule for all channels comes after every other.
pub(crate) fn by_channel<T: Copy>(rules: &[(Glob, T)], channel: &str) -> Option<T> {
    let fitting = || rules.iter().filter(|(glob, _)| glob.matches(channel));
    let decides = fitting().find(|(glob, _)| !is_all(glob)).or_else(|| fitting().next());
    decides.map(|&(_, value)| value)
}

/// The first rule that can never apply, since an earlier one applies to all of its channels.
pub(super) fn find_dead<T>(flag: &'static str, rules: &[(Glob, T)]) -> Option<DeadRule> {
    rules.iter().enumerate().find_map(|(at, (glob, _))| {
        let mut before = rules[..at].iter().map(|(glob, _)| glob);
        let by = before.find(|other| is_all(other) == is_all(glob) && covers(other, glob))?;
        Some(DeadRule { flag, glob: glob.0.pattern(), why: Why::TakenBy(by.0.pattern()) })
    })
}

/// The first of a flag's globs that matches no channel's name.
pub(super) fn find_unfit<'a>(
    flag: &'static str,
    globs: impl IntoIterator<Item = &'a Glob>,
) -> Option<DeadRule> {
    let unfit = globs.into_iter().find(|glob| !may_fit_a_name(glob))?;
    Some(DeadRule { flag, glob: unfit.0.pattern(), why: Why::NoName })
}

/// The first of a flag's globs that matches only names that are reserved for the server.
pub(super) fn find_own<'a>(
    flag: &'static str,
    globs: impl IntoIterator<Item = &'a Glob>,
) -> Option<DeadRule> {
    let own = Glob::new(&format!("{OWN_PREFIX}*"));
    let glob = globs.into_iter().find(|glob| covers(&own, glob))?;
    Some(DeadRule { flag, glob: glob.0.pattern(), why: Why::Own })
}

fn may_fit_a_name(glob: &Glob) -> bool {
    let pattern = glob.0.pattern_chars();
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || NAME_PUNCTUATION.contains(c);
    let name_len_min = pattern.iter().filter(|&&c| c != '*').count();
    !pattern.is_empty()
        && name_len_min <= NAME_LEN_MAX
        && pattern.iter().all(|&c| is_of_names(c) || "*?".contains(c))
}

fn is_all(glob: &Glob) -> bool {
    glob.0.pattern() == ALL
}

/// Whether every name that matches `inner` matches `outer`. True only if that is certain: `outer` matches the text of
/// `inner`, where a `?` of `outer` stands for one character or `?`, and a `*` for any text.
fn covers(outer: &Glob, inner: &Glob) -> bool {
    let (outer, inner) = (outer.0.pattern_chars(), inner.0.pattern_chars());
    // `covered[n]`: whether the part of `outer` that has been processed covers the first n characters of `inner`.
    let mut covered = vec![false; inner.len() + 1];
    covered[0] = true;
    for &c in outer {
        let mut next = vec![false; inner.len() + 1];
        next[0] = covered[0] && c == '*';
        for (at, &d) in inner.iter().enumerate() {
            next[at + 1] = match c {
                '*' => covered[at + 1] || next[at],
                '?' => covered[at] && d != '*',
                c => covered[at] && d == c,
            };
        }
        covered = next;
    }
    covered[inner.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(globs: &[&str]) -> Vec<(Glob, usize)> {
        globs.iter().enumerate().map(|(at, glob)| (Glob::new(glob), at)).collect()
    }

    #[test]
    fn a_rule_for_some_channels_precedes_the_one_for_all_in_any_order() {
        for (globs, some, all) in [(["*", "chat*"], 1, 0), (["chat*", "*"], 0, 1)] {
            let rules = rules(&globs);
            assert_eq!((by_channel(&rules, "chat-1"), by_channel(&rules, "news")), (Some(some), Some(all)));
        }
        assert_eq!(by_channel(&rules(&["chat-1", "chat*"]), "chat-1"), Some(0), "else the first decides");
        assert_eq!(by_channel(&rules(&["chat*"]), "news"), None);
    }

    #[test]
    fn a_rule_that_can_never_apply_is_named_with_the_one_before_it() {
        for globs in [
            &["*", "*"][..],
            &["*", "a", "**"],
            &["a", "b", "a"],
            &["a*", "ab"],
            &["a*", "a?"],
            &["a*c", "a*b*c"],
            &["a?", "a?"],
            &["?", "x"],
            &["*a", "ba"],
        ] {
            let dead = find_dead("--history", &rules(globs)).unwrap();
            assert!(dead.to_string().starts_with("--history"), "{globs:?}: {dead}");
        }
        let words = find_dead("--history", &rules(&["chat*", "chat-1"])).unwrap().to_string();
        assert!(words.contains("chat-1=") && words.contains("chat*="), "{words}");
    }

    #[test]
    fn a_glob_that_no_name_fits_is_named_with_what_names_are_of() {
        let long = "a".repeat(201);
        for glob in ["", "a b", " a", "é*", "chat/*", "a\\*", "[ab]*", "a\n", &long] {
            let dead = find_unfit("--history", [&Glob::new("*"), &Glob::new(glob)]).unwrap();
            let words = dead.to_string();
            assert!(words.starts_with("--history") && words.contains(&format!("{glob:?}")), "{words}");
            assert!(words.contains("A-Z a-z 0-9"), "{words}");
        }
    }

    #[test]
    fn a_glob_that_some_name_fits_is_not_refused() {
        let long = format!("*{}*", "?".repeat(200));
        for glob in ["*", "?", "**", "chat-*", "a=b,c;d@e.f_g", "@fanfare.*", &long] {
            assert_eq!(find_unfit("--history", [&Glob::new(glob)]), None, "{glob}");
        }
    }

    #[test]
    fn a_glob_for_the_servers_own_channels_alone_is_found() {
        for glob in ["@fanfare.*", "@fanfare.dashboard", "@fanfare.?*"] {
            let own = find_own("--client-publish", &[Glob::new("chat"), Glob::new(glob)]).unwrap();
            let words = own.to_string();
            assert!(words.starts_with("--client-publish") && words.contains(glob), "{words}");
        }
        for glob in ["*", "@fanfare*", "@*", "@fanfare?x"] {
            assert_eq!(find_own("--client-publish", &[Glob::new(glob)]), None, "{glob}");
        }
    }

    #[test]
    fn a_rule_that_may_apply_is_not_refused() {
        for globs in [
            &["*", "a"][..],
            &["a", "a*"],
            &["ab*", "a*"],
            &["a?", "a*"],
            &["a*b", "a*"],
            &["?", "??"],
            &["a*c", "ab*"],
            &["*", "?*"],
            &["a?b", "a*b"],
        ] {
            assert_eq!(find_dead("--history", &rules(globs)), None, "{globs:?}");
        }
    }
}
