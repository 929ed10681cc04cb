//! Tables of keys: what each key sets, what is said of a wrong one, and that a new key can be read.
//!
//! Names and globs are checked by `config`.

use super::*;

const DIGEST: &str = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b"; // of "secret"

/// The fault of a table with a name, a digest and this line.
fn fault(line: &str) -> String {
    parse_file(&format!("[[key]]\nname = 'billing'\nsha256 = '{DIGEST}'\n{line}\n")).unwrap_err()
}

/// When a key with this `not-after` ends.
fn end_of_key(not_after: &str) -> Option<u64> {
    let text = format!("[[key]]\nname = 'a'\nsecret = 's'\nnot-after = {not_after}\n");
    parse_file(&text).unwrap()[0].not_after_s
}

#[test]
fn every_key_sets_its_setting_and_what_is_not_given_is_no_right() {
    let text = format!(
        "[[key]]\nname = 'billing'\nsha256 = '{}'\npublish = ['invoice-*', 'a']\nread = '*'\nadmin = true\n\
         not-after = 2026-12-01T12:00:00Z\n[[key]]\nname = 'b'\nsecret = 'secret'\n",
        DIGEST.to_uppercase()
    );
    let globs = |globs: &[&str]| globs.iter().map(|glob| Glob::new(glob)).collect::<Vec<_>>();
    let billing = AccessKey {
        name: "billing".into(),
        digest: SecretDigest::of("secret"),
        publish: globs(&["invoice-*", "a"]),
        read: globs(&["*"]),
        admin: true,
        not_after_s: Some(1_796_126_400),
    };
    let b = AccessKey {
        name: "b".into(),
        publish: Vec::new(),
        read: Vec::new(),
        admin: false,
        not_after_s: None,
        ..billing.clone()
    };
    assert_eq!(parse_file(&text).unwrap(), [billing, b]);
}

#[test]
fn a_date_is_the_last_day_and_a_time_is_exact_in_any_zone() {
    assert_eq!(end_of_key("2026-12-01"), Some(1_796_083_200 + 86_400));
    assert_eq!(end_of_key("2026-12-01T00:00:00Z"), Some(1_796_083_200));
    assert_eq!(end_of_key("2026-12-01T02:00:00+02:00"), Some(1_796_083_200));
    assert_eq!(end_of_key("2026-11-30 22:30:00-01:30"), Some(1_796_083_200));
    assert_eq!(end_of_key("2026-12-01T00:00:00.999Z"), Some(1_796_083_200));
}

#[test]
fn a_wrong_value_is_told_with_its_key_and_what_to_give() {
    for (line, words) in [
        ("publsh = ['*']", "no key is called \"publsh\"; the nearest is \"publish\" of name, sha256,"),
        ("publish = 1", "publish: give text in quotes"),
        ("admin = 'yes'", "admin: give true or false"),
        ("not-after = '2026-12-01'", "not-after: give the last day, such as 2026-12-01"),
        ("not-after = 2026-12-01T12:00:00", "or a time with its zone"),
        ("not-after = 12:00:00", "not-after: give the last day"),
        ("not-after = 1969-12-01", "after 1970"),
        ("secret = 's'", "sha256 and secret: give one of them"),
    ] {
        let said = fault(line);
        assert!(said.starts_with("[[key]] \"billing\": ") && said.contains(words), "{said}");
    }
}

#[test]
fn what_a_key_cannot_be_without_is_named_and_no_secret_is_quoted() {
    for (text, words) in [
        ("[[key]]\nsecret = 'hidden'", "[[key]] number 1: name: missing"),
        ("[[key]]\nname = 'a'", "[[key]] \"a\": sha256: missing; give it, or secret"),
        ("[[key]]\nname = 'a'\nsha256 = 'hidden'", "[[key]] \"a\": sha256: give the 64 hexadecimal digits"),
        ("[[key]]\nname = 'a'\nsecret = 'hidden here'", "[[key]] \"a\": secret: the key must have"),
        (
            "[[key]]\nname = 'a'\nsecret = 'eyJhidden.b.c'",
            "[[key]] \"a\": secret: the key looks like a token",
        ),
        ("[[key]]\nname = 'a'\nsecret = 'hidden", "line 3: "),
        ("[key]\nname = 'a'", "double brackets, [[key]]"),
        ("key = []", "double brackets, [[key]]"),
        ("key = ['hidden']", "[[key]] number 1: give a table for each key"),
        ("# nothing\n", "it has no [[key]]. Put at least one into it: fanfare key NAME prints it"),
        ("keys = 1", "no key is called \"keys\"; the file has [[key]] tables and nothing else"),
    ] {
        let said = parse_file(text).unwrap_err();
        assert!(said.contains(words) && !said.contains("hidden") && !said.contains('\n'), "{said}");
    }
    let not_hexadecimal = format!("[[key]]\nname = 'a'\nsha256 = '{}'", "é".repeat(32));
    assert!(parse_file(&not_hexadecimal).unwrap_err().contains("64 hexadecimal digits"));
    let signed = format!("[[key]]\nname = 'a'\nsha256 = '{}'", "+f".repeat(32));
    assert!(parse_file(&signed).unwrap_err().contains("64 hexadecimal digits"));
}

#[test]
fn a_new_key_is_a_secret_of_its_name_and_a_table_that_has_its_digest() {
    let key = NewKey::new("billing", [0xfb; SECRET_LEN]);
    assert_eq!(key.secret, format!("fk_billing_{}", "-_v7".repeat(8)));
    let read = parse_file(&key.to_string()).unwrap();
    let expected = AccessKey { admin: false, ..AccessKey::with_all_rights("billing", &key.secret) };
    assert_eq!(read, [expected]);
    assert!(!key.to_string().contains(&key.secret));
}
