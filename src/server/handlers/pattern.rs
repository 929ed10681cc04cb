//! Patterns of paths: literal segments, `{name}` for any one segment, and `{rest..}` for what is left.
//!
//! What is served at a path is in `routes`.

use std::cmp::Ordering;
use std::fmt;

use crate::http::decode_segment;

/// First segments of paths that are the server's own.
const OWN_SEGMENTS: [&str; 11] = [
    "healthz",
    "readyz",
    "metrics",
    "dashboard",
    "fanfare.js",
    "fanfare.mjs",
    "fanfare.d.mts",
    "revoke",
    "channels",
    "app",
    "apps",
];

/// A pattern such as `/rooms/{room}/{file..}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Segment {
    /// This text, as it is after decoding.
    Literal(String),
    /// One segment that is not empty.
    Name(String),
    /// All segments that are left, none too.
    Rest(String),
}

/// What the names of a pattern stand for in a path, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// What the name stands for.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// Says what is wrong with it.
    pub fn new(text: &str) -> Result<Self, RouteError> {
        let fault = |what| RouteError::Pattern(text.to_owned(), what);
        let path = text.strip_prefix('/').ok_or_else(|| fault("it does not begin with /"))?;
        let mut segments = Vec::new();
        let mut names = Vec::new();
        for segment in path.split('/') {
            if matches!(segments.last(), Some(Segment::Rest(_))) {
                return Err(fault("nothing can follow {name..}"));
            }
            let segment = parse_segment(segment).map_err(fault)?;
            if let Segment::Name(name) | Segment::Rest(name) = &segment {
                if names.contains(name) {
                    return Err(fault("two of its names are the same"));
                }
                names.push(name.clone());
            }
            segments.push(segment);
        }
        if let Some(Segment::Literal(first)) = segments.first()
            && OWN_SEGMENTS.contains(&first.as_str())
        {
            return Err(RouteError::Own(text.to_owned()));
        }
        Ok(Self { text: text.to_owned(), segments })
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What its names stand for in a path, which is not decoded; `None` if the path is another, or not UTF-8 where it is
    /// decoded.
    pub fn find(&self, path: &str) -> Option<Params> {
        let mut rest = Some(path.strip_prefix('/')?);
        let mut params = Vec::new();
        for segment in &self.segments {
            if let Segment::Rest(name) = segment {
                let decoded: Option<Vec<_>> = rest.unwrap_or("").split('/').map(decode_segment).collect();
                params.push((name.clone(), decoded?.join("/")));
                return Some(Params(params));
            }
            let (first, after) = match rest?.split_once('/') {
                Some((first, after)) => (first, Some(after)),
                None => (rest?, None),
            };
            rest = after;
            let value = decode_segment(first)?;
            match segment {
                Segment::Literal(literal) if *literal == value => {}
                Segment::Name(name) if !value.is_empty() => params.push((name.clone(), value)),
                Segment::Literal(_) | Segment::Name(_) | Segment::Rest(_) => return None,
            }
        }
        rest.is_none().then_some(Params(params))
    }

    /// Which of two patterns that both fit a path is preferred, the greater one: at the first segment in which they differ,
    /// a literal beats a name, and a name the rest.
    pub fn compare(&self, other: &Self) -> Ordering {
        self.ranks().cmp(other.ranks())
    }

    /// Whether the same paths fit both, and neither is preferred.
    pub fn is_same(&self, other: &Self) -> bool {
        self.segments.len() == other.segments.len()
            && self.segments.iter().zip(&other.segments).all(|pair| match pair {
                (Segment::Literal(one), Segment::Literal(other)) => one == other,
                (Segment::Name(_), Segment::Name(_)) | (Segment::Rest(_), Segment::Rest(_)) => true,
                (Segment::Literal(_) | Segment::Name(_) | Segment::Rest(_), _) => false,
            })
    }

    fn ranks(&self) -> impl Iterator<Item = u8> {
        self.segments.iter().map(|segment| match segment {
            Segment::Literal(_) => 2,
            Segment::Name(_) => 1,
            Segment::Rest(_) => 0,
        })
    }
}

/// Whether a path is one of the server's own, whatever a program serves.
pub fn is_own(path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let first = path.split_once('/').map_or(path, |(first, _)| first);
    OWN_SEGMENTS.contains(&first)
}

fn parse_segment(segment: &str) -> Result<Segment, &'static str> {
    let Some(inner) = segment.strip_prefix('{').and_then(|inner| inner.strip_suffix('}')) else {
        return match segment.contains(['{', '}', '?', '#']) {
            true => Err("a name is a whole segment: /{name}/; a query is no part of a pattern"),
            false => Ok(Segment::Literal(segment.to_owned())),
        };
    };
    let (name, is_rest) = match inner.strip_suffix("..") {
        Some(name) => (name, true),
        None => (inner, false),
    };
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err("a name is made of letters, digits and _");
    }
    Ok(if is_rest { Segment::Rest(name.to_owned()) } else { Segment::Name(name.to_owned()) })
}

/// Why a route cannot be added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// The pattern breaks a rule: the pattern, and which.
    Pattern(String, &'static str),
    /// The path is the server's own.
    Own(String),
    /// The same is served there already.
    Taken(String),
    /// There are too many routes.
    TooMany,
}

impl fmt::Display for RouteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pattern(pattern, what) => write!(f, "the route {pattern}: {what}"),
            Self::Own(pattern) => write!(
                f,
                "the route {pattern}: the server has that path itself; / and /echo can be replaced, and all that is not below \
                 /channels, /app, /apps, /dashboard, /metrics, /healthz, /readyz, /revoke or /fanfare.js is free"
            ),
            Self::Taken(pattern) => write!(f, "the route {pattern} is there already"),
            Self::TooMany => write!(f, "a server has at most {} routes", u16::MAX),
        }
    }
}

impl std::error::Error for RouteError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        Pattern::new(pattern).unwrap().find(path).map(|params| params.0)
    }

    fn pairs<const LEN: usize>(pairs: [(&str, &str); LEN]) -> Option<Vec<(String, String)>> {
        Some(pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
    }

    #[test]
    fn a_name_stands_for_one_decoded_segment_that_is_not_empty() {
        assert_eq!(found("/rooms/{room}", "/rooms/attic"), pairs([("room", "attic")]));
        assert_eq!(found("/rooms/{room}", "/rooms/a%2Fb"), pairs([("room", "a/b")]));
        assert_eq!(found("/{a}/x/{b}", "/1/x/2"), pairs([("a", "1"), ("b", "2")]));
        for other in ["/rooms/", "/rooms", "/rooms/a/b", "/room/a", "/rooms/%ff", "rooms/a"] {
            assert_eq!(found("/rooms/{room}", other), None, "{other}");
        }
    }

    #[test]
    fn the_rest_stands_for_what_is_left_and_may_be_empty() {
        assert_eq!(found("/files/{path..}", "/files/a/b%20c"), pairs([("path", "a/b c")]));
        assert_eq!(found("/files/{path..}", "/files/"), pairs([("path", "")]));
        assert_eq!(found("/files/{path..}", "/files"), pairs([("path", "")]));
        assert_eq!(found("/{path..}", "/"), pairs([("path", "")]));
        assert_eq!(found("/files/{path..}", "/other"), None);
    }

    #[test]
    fn a_literal_is_the_whole_path() {
        assert_eq!(found("/", "/"), pairs([]));
        assert_eq!(found("/a", "/a"), pairs([]));
        assert_eq!(found("/a", "/a/"), None);
    }

    #[test]
    fn a_literal_beats_a_name_and_a_name_the_rest_at_the_first_difference() {
        let order = ["/a/b", "/a/{b}", "/a/{b..}", "/{a}/b", "/{a}/{b}", "/{rest..}"];
        for pair in order.windows(2) {
            let [better, worse] = [pair[0], pair[1]].map(|text| Pattern::new(text).unwrap());
            assert_eq!(better.compare(&worse), Ordering::Greater, "{pair:?}");
        }
    }

    #[test]
    fn a_bad_pattern_is_refused_with_what_is_wrong() {
        for (text, part) in [
            ("rooms", "begin with /"),
            ("/{room..}/x", "nothing can follow"),
            ("/{a}/{a}", "the same"),
            ("/x{a}", "whole segment"),
            ("/a?b=c", "query"),
            ("/{}", "letters"),
            ("/{a b}", "letters"),
        ] {
            let error = Pattern::new(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn the_servers_own_paths_are_taken_but_not_the_home_page_and_the_echo() {
        for own in
            ["/healthz", "/channels/{name}", "/channels", "/app/x", "/apps", "/dashboard/x", "/metrics/"]
        {
            assert_eq!(Pattern::new(own), Err(RouteError::Own(own.to_owned())), "{own}");
        }
        for free in ["/", "/echo", "/{page}", "/chat", "/application"] {
            assert!(Pattern::new(free).is_ok(), "{free}");
        }
        assert!(is_own("/channels/a") && is_own("/healthz") && !is_own("/") && !is_own("/echo"));
    }

    #[test]
    fn two_patterns_are_the_same_if_only_their_names_differ() {
        let same = |one: &str, other: &str| Pattern::new(one).unwrap().is_same(&Pattern::new(other).unwrap());
        assert!(same("/a/{b}", "/a/{c}") && same("/{a..}", "/{b..}"));
        assert!(!same("/a/{b}", "/a/{b..}") && !same("/a", "/b") && !same("/a", "/a/b"));
    }
}
