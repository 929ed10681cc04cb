//! Who is in a channel, as the JSON that subscribers and operators are sent.
//!
//! Who that is, and when it is told, is known to `presence`.

use std::fmt::Write;

use crate::hub::PublicationId;

/// A member as it is told.
#[derive(Clone, Copy, Debug)]
pub struct Member<'a> {
    /// The user.
    pub sub: &'a str,
    /// What the others may know of it: one JSON value.
    pub info: Option<&'a str>,
    /// Its subscriptions to the channel; 0 for one that has left a moment ago and may come back.
    pub connections: u64,
}

/// How many are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Members.
    pub count: usize,
    /// Others.
    pub unnamed: u64,
}

/// `{"members":[{"sub":…,"info":…,"connections":2}],"count":1,"anonymous":4}`, with the change on which the next ones follow
/// if there is one. `members` is `null` where they are not told.
pub fn state<'a>(
    members: Option<impl Iterator<Item = Member<'a>>>,
    totals: Totals,
    since: Option<PublicationId>,
) -> String {
    let mut out = r#"{"members":"#.to_owned();
    list(&mut out, members, |out, member| push_member(out, member, Some(member.connections)));
    push_totals(&mut out, totals);
    if let Some(since) = since {
        push(&mut out, format_args!(r#","since":"{since}""#));
    }
    out.push('}');
    out
}

/// `{"joined":[{"sub":…,"info":…}],"left":["u42"],"count":1,"anonymous":4}`.
pub fn change<'a>(
    joined: impl Iterator<Item = Member<'a>>,
    left: impl Iterator<Item = &'a str>,
    totals: Totals,
) -> String {
    let mut out = r#"{"joined":"#.to_owned();
    list(&mut out, Some(joined), |out, member| push_member(out, member, None));
    out.push_str(r#","left":"#);
    list(&mut out, Some(left), push_json);
    push_totals(&mut out, totals);
    out.push('}');
    out
}

/// A change where it is not told who came and who went.
pub fn change_of_totals(totals: Totals) -> String {
    let mut out = r#"{"joined":null,"left":null"#.to_owned();
    push_totals(&mut out, totals);
    out.push('}');
    out
}

fn list<T>(out: &mut String, items: Option<impl Iterator<Item = T>>, push: impl Fn(&mut String, T)) {
    let Some(items) = items else { return out.push_str("null") };
    out.push('[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(',');
        }
        push(out, item);
    }
    out.push(']');
}

/// A member without an info has none here either.
fn push_member(out: &mut String, member: Member<'_>, connections: Option<u64>) {
    out.push_str(r#"{"sub":"#);
    push_json(out, member.sub);
    if let Some(info) = member.info {
        out.push_str(r#","info":"#);
        out.push_str(info);
    }
    if let Some(connections) = connections {
        push(out, format_args!(r#","connections":{connections}"#));
    }
    out.push('}');
}

fn push_totals(out: &mut String, totals: Totals) {
    let Totals { count, unnamed } = totals;
    push(out, format_args!(r#","count":{count},"anonymous":{unnamed}"#));
}

fn push_json(out: &mut String, text: &str) {
    out.push_str(&serde_json::to_string(text).expect("a string is always JSON"));
}

fn push(out: &mut String, arguments: std::fmt::Arguments<'_>) {
    out.write_fmt(arguments).expect("a string takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: Member<'_> = Member { sub: "u42", info: Some(r#"{"name":"Ada"}"#), connections: 2 };
    const NOBODY: Option<std::iter::Empty<Member<'_>>> = None;

    #[test]
    fn a_reader_is_told_who_is_there_and_on_what_the_changes_follow() {
        let since = "8c1f5d0e7b00-3".parse().ok();
        let totals = Totals { count: 1, unnamed: 4 };
        assert_eq!(
            state(Some([ADA].into_iter()), totals, since),
            r#"{"members":[{"sub":"u42","info":{"name":"Ada"},"connections":2}],"count":1,"anonymous":4,"since":"8c1f5d0e7b00-3"}"#
        );
        assert_eq!(state(NOBODY, totals, None), r#"{"members":null,"count":1,"anonymous":4}"#);
    }

    #[test]
    fn a_change_has_who_came_with_its_info_and_who_went() {
        let quoted = Member { sub: "a\"b", info: None, connections: 1 };
        let told =
            change([ADA, quoted].into_iter(), ["u7", "\\"].into_iter(), Totals { count: 2, unnamed: 0 });
        assert_eq!(
            told,
            r#"{"joined":[{"sub":"u42","info":{"name":"Ada"}},{"sub":"a\"b"}],"left":["u7","\\"],"count":2,"anonymous":0}"#
        );
        assert_eq!(
            change_of_totals(Totals { count: 2000, unnamed: 1 }),
            r#"{"joined":null,"left":null,"count":2000,"anonymous":1}"#
        );
    }
}
