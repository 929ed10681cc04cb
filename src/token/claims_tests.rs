//! Claims as they may be and as they may not, and a clock that jumps.

use super::*;

const IAT: u64 = 1_790_000_000;
const EXP: u64 = 1_790_003_600;

/// Claims with these members besides the two times, and these in `fanfare`.
fn claims(more: &str, fanfare: &str) -> Result<Claims, BadToken> {
    Claims::parse(format!(r#"{{"exp":{EXP},"iat":{IAT}{more},"fanfare":{{{fanfare}}}}}"#).as_bytes())
}

fn good(more: &str, fanfare: &str) -> Claims {
    claims(more, fanfare).expect("they are good")
}

fn told(more: &str, fanfare: &str) -> String {
    claims(more, fanfare).expect_err("they are refused").to_string()
}

fn told_of(text: &str) -> String {
    Claims::parse(text.as_bytes()).expect_err("they are refused").to_string()
}

#[test]
fn the_claims_of_the_example_are_read_to_the_last() {
    let text = r#"{"sub":"u42","exp":1790003600,"iat":1790000000,"jti":"9f2c","aud":"fanfare",
 "fanfare":{"subscribe":["news","chat-*"],"publish":["chat-7"],"presence":["chat-*"],"info":{"name":"Ada"},"stay":3600}}"#;
    let expected = Claims {
        sub: Some("u42".into()),
        jti: Some("9f2c".into()),
        aud: ["fanfare".into()].into(),
        iat_s: IAT,
        nbf_s: None,
        exp_s: EXP,
        grants: Grants {
            subscribe: Globs::new(["news", "chat-*"]),
            publish: Globs::new(["chat-7"]),
            presence: Globs::new(["chat-*"]),
        },
        info: Some(r#"{"name":"Ada"}"#.into()),
        stay_s: Some(3600),
    };
    assert_eq!(Claims::parse(text.as_bytes()), Ok(expected));
}

#[test]
fn nothing_but_two_times_and_the_fanfare_claim_is_required() {
    let claims = good("", "");
    assert_eq!((claims.sub.as_deref(), claims.jti.as_deref(), claims.info.as_deref()), (None, None, None));
    assert_eq!((claims.aud.len(), claims.nbf_s, claims.stay_s), (0, None, None));
    assert!(claims.grants.subscribe.is_empty() && claims.grants.publish.is_empty());
    assert_eq!(told_of(r#"{"iat":1,"fanfare":{}}"#), "It has no exp.");
    assert_eq!(told_of(r#"{"exp":1,"fanfare":{}}"#), "It has no iat.");
    assert_eq!(told_of(r#"{"exp":1,"iat":1}"#), "It has no fanfare claim; is it a session's token?");
    for other in ["null", "[]", "true", "\"news\""] {
        assert_eq!(
            told_of(&format!(r#"{{"exp":1,"iat":1,"fanfare":{other}}}"#)),
            r#"fanfare is an object: {"subscribe":["news"]}."#
        );
    }
}

#[test]
fn claims_are_one_json_object_whose_names_stand_there_once() {
    for text in ["", "null", "[]", r#"{"exp":1"#, "{}{}"] {
        assert!(told_of(text).starts_with("Its second part, the claims, is no JSON object: "), "{text}");
    }
    for twice in [r#","exp":1790003600"#, r#","sub":"a","s\u0075b":"b""#, r#","x":{"y":1,"y":1}"#] {
        assert!(told(twice, "").contains("stands there twice"), "{twice}");
    }
    assert!(
        told("", r#""subscribe":[],"subscribe":["*"]"#).contains("the name subscribe stands there twice")
    );
}

#[test]
fn a_time_is_a_number_of_seconds_with_or_without_a_fraction() {
    let of = |exp: &str, iat: &str| {
        let text = format!(r#"{{"exp":{exp},"iat":{iat},"nbf":{iat},"fanfare":{{}}}}"#);
        Claims::parse(text.as_bytes()).map(|claims| (claims.exp_s, claims.iat_s, claims.nbf_s))
    };
    assert_eq!(of("1790003600.9", "1.790000000e9"), Ok((EXP + 1, IAT, Some(IAT))));
    assert_eq!(of("0", "0"), Ok((0, 0, Some(0))));
    assert_eq!(of("253402300799", "253402300799").map(|(exp_s, ..)| exp_s), Ok(253_402_300_799));
    for wrong in ["-1", "-0.5", "\"1790003600\"", "true", "[1]", "{}"] {
        assert_eq!(
            of(wrong, "1").map_err(|e| e.to_string()),
            Err("exp is a number of seconds since 1970.".to_owned())
        );
        assert_eq!(
            of("1", wrong).map_err(|e| e.to_string()),
            Err("iat is a number of seconds since 1970.".to_owned())
        );
    }
    let milliseconds = of("1790003600000", "1790000000").map_err(|e| e.to_string());
    assert_eq!(milliseconds, Err("exp is in seconds since 1970, not milliseconds.".to_owned()));
    for huge in ["1e300", "18446744073709551616", "9999999999999"] {
        assert!(of(huge, "1").is_err(), "{huge}");
    }
}

#[test]
fn a_token_of_24_hours_is_taken_and_one_of_a_second_more_is_not() {
    let of = |life_s: u64| {
        Claims::parse(format!(r#"{{"exp":{},"iat":{IAT},"fanfare":{{}}}}"#, IAT + life_s).as_bytes())
    };
    assert!(of(86_400).is_ok());
    assert_eq!(of(86_401), Err(BadToken::Life(86_401)));
    assert_eq!(BadToken::Life(86_401).to_string(), "From iat to exp are 86401 s; 86400 at most.");
    // Before it was issued: it has expired, and is refused for that.
    assert!(Claims::parse(br#"{"exp":1,"iat":1000000,"fanfare":{}}"#).is_ok());
}

#[test]
fn names_are_texts_of_200_bytes_at_most() {
    for name in ["sub", "jti"] {
        let of = |text: &str| claims(&format!(r#","{name}":{text}"#), "");
        assert!(of(&format!("\"{}\"", "x".repeat(200))).is_ok());
        assert!(of(&format!("\"{}\"", "é".repeat(100))).is_ok());
        assert_eq!(of(&format!("\"{}\"", "x".repeat(201))), Err(BadToken::ClaimTooLong(name, 201, 200)));
        assert_eq!(of(&format!("\"{}\"", "é".repeat(101))), Err(BadToken::ClaimTooLong(name, 202, 200)));
        assert_eq!(of("\"\""), Err(BadToken::Claim(name, "a text that is not empty")));
        for wrong in ["42", "null", "[\"u\"]"] {
            assert_eq!(of(wrong), Err(BadToken::Claim(name, "a text")));
        }
    }
    assert_eq!(BadToken::ClaimTooLong("sub", 201, 200).to_string(), "sub has 201 bytes; 200 at most.");
}

#[test]
fn a_list_has_64_globs_at_most_and_nothing_else() {
    for list in ["subscribe", "publish", "presence"] {
        let of = |len: usize| claims("", &format!(r#""{list}":[{}]"#, vec!["\"a*\""; len].join(",")));
        assert!(of(0).is_ok() && of(64).is_ok());
        assert_eq!(of(65), Err(BadToken::TooManyGlobs(list, 65)));
        for wrong in ["\"news\"", "null", "{}", "[1]", "[\"a\",null]", "[[\"a\"]]"] {
            assert_eq!(
                told("", &format!(r#""{list}":{wrong}"#)),
                format!(r#"{list} is a list of globs: ["news","chat-*"]."#)
            );
        }
    }
    assert_eq!(BadToken::TooManyGlobs("publish", 65).to_string(), "publish has 65 globs; 64 at most.");
}

#[test]
fn info_is_any_json_of_1024_bytes_and_is_passed_on_as_written_without_white_space() {
    let info = |text: &str| good("", &format!(r#""info":{text}"#)).info.map(String::from);
    assert_eq!(info("null"), None);
    assert_eq!(info("{}").as_deref(), Some("{}"));
    assert_eq!(
        info("{ \"a b\" :\r\n\t[ 1.0, 12345678901234567890123, \" \\\" x\\\\\" , \"\\u00e9 \u{e9}\" ] }")
            .as_deref(),
        Some("{\"a b\":[1.0,12345678901234567890123,\" \\\" x\\\\\",\"\\u00e9 \u{e9}\"]}")
    );
    let of = |len: usize| claims("", &format!(r#""info": "{}""#, "x".repeat(len - 2)));
    assert_eq!(of(1024).map(|claims| claims.info.map(|info| info.len())), Ok(Some(1024)));
    assert_eq!(of(1025), Err(BadToken::ClaimTooLong("info", 1025, 1024)));
}

#[test]
fn stay_is_a_number_of_seconds() {
    assert_eq!(good("", r#""stay":0"#).stay_s, Some(0));
    assert_eq!(good("", r#""stay":59.9"#).stay_s, Some(59));
    for wrong in ["-1", "\"60\"", "null", "1e300", "[60]"] {
        assert_eq!(
            told("", &format!(r#""stay":{wrong}"#)),
            "stay is a number of seconds, counted from the handshake."
        );
    }
}

#[test]
fn a_clock_that_jumps_over_exp_ends_the_token_30_seconds_after_it() {
    let claims = good("", "");
    for now_s in [IAT - 30, IAT, EXP, EXP + 29] {
        assert_eq!(claims.check(None, now_s), Ok(()), "{now_s}");
    }
    for (now_s, ago_s) in [(EXP + 30, 30), (EXP + 42, 42), (EXP + 86_400, 86_400)] {
        let error = claims.check(None, now_s).expect_err("it has expired");
        assert_eq!(error, Error::Expired(Expiry { exp_s: EXP, now_s }));
        assert_eq!(
            error.to_string(),
            format!("The token expired {ago_s} s ago: exp 1790003600, this server's clock {now_s}.")
        );
    }
    // A clock that is set back again finds it valid again.
    assert_eq!(claims.check(None, EXP), Ok(()));
    assert!(claims.check(None, u64::MAX).is_err());
}

#[test]
fn a_token_for_a_time_to_come_is_refused_but_for_30_seconds() {
    let of = |nbf_s: u64, now_s: u64| good(&format!(r#","nbf":{nbf_s}"#), "").check(None, now_s);
    assert_eq!(of(IAT + 130, IAT + 100), Ok(()));
    assert_eq!(of(IAT + 131, IAT + 100), Err(BadToken::NotYet("nbf", IAT + 131, IAT + 100).into()));
    let error = good("", "").check(None, IAT - 31).expect_err("it is not issued yet");
    assert_eq!(
        error.to_string(),
        "The token is not valid yet: iat 1790000000, this server's clock 1789999969."
    );
    assert_eq!((error.code(), error.status()), ("bad_token", 401));
    assert!(good("", "").check(None, 0).is_err());
}

#[test]
fn the_audience_is_asked_for_where_there_is_one() {
    let of = |aud: &str, audience| good(aud, "").check(audience, IAT).map_err(|error| error.to_string());
    for aud in ["", r#","aud":"other""#, r#","aud":[]"#, r#","aud":["a","b"]"#] {
        assert_eq!(of(aud, None), Ok(()));
    }
    for aud in [r#","aud":"fanfare""#, r#","aud":["other","fanfare"]"#] {
        assert_eq!(of(aud, Some("fanfare")), Ok(()));
    }
    let refused = |sentence: &str| Err(sentence.to_owned());
    assert_eq!(of("", Some("fanfare")), refused("It has no aud; this server is fanfare."));
    assert_eq!(of(r#","aud":[]"#, Some("fanfare")), refused("It has no aud; this server is fanfare."));
    assert_eq!(
        of(r#","aud":["a","Fanfare"]"#, Some("fanfare")),
        refused("It is for a, Fanfare; this server is fanfare.")
    );
    for wrong in ["1", "null", "[1]", "{}"] {
        assert_eq!(told(&format!(r#","aud":{wrong}"#), ""), "aud is a text or a list of texts.");
    }
}

#[test]
fn a_connection_lives_until_exp_and_30_seconds_or_for_its_stay() {
    let given_s = IAT + 600;
    let by_exp = good("", "");
    assert_eq!((by_exp.ends_at_s(given_s), by_exp.expires_in_s(given_s, given_s)), (EXP + 30, 3000));
    assert_eq!(by_exp.expires_in_s(given_s, EXP + 5), 0);
    // A token of a minute that opens a connection of an hour, and the other way round.
    let short =
        Claims::parse(format!(r#"{{"exp":{},"iat":{IAT},"fanfare":{{"stay":3600}}}}"#, IAT + 60).as_bytes());
    let short = short.expect("it is good");
    assert_eq!((short.ends_at_s(IAT + 59), short.expires_in_s(IAT + 59, IAT + 60)), (IAT + 3660, 3599));
    let long = good("", r#""stay":60"#);
    assert_eq!((long.ends_at_s(given_s), long.expires_in_s(given_s, given_s + 10)), (given_s + 61, 50));
}

#[test]
fn a_time_with_a_fraction_never_ends_a_token_early_nor_lets_it_live_for_more_than_a_day() {
    let of = |exp: &str| Claims::parse(format!(r#"{{"exp":{exp},"iat":{IAT}.5,"fanfare":{{}}}}"#).as_bytes());
    let until = of(&format!("{}.25", IAT + 60)).expect("it is good");
    assert_eq!((until.iat_s, until.exp_s, until.ends_at_s(IAT)), (IAT, IAT + 61, IAT + 91));
    let day = IAT + LIFE_MAX_S;
    assert_eq!(of(&format!("{day}.5")).expect("a day").exp_s, day + 1);
    assert!(of(&format!("{day}.75")).is_err());
}

#[test]
fn a_token_replaces_that_of_the_same_user_only() {
    let of = |sub: &str| good(sub, "");
    let (ada, bob, nobody) = (of(r#","sub":"u42""#), of(r#","sub":"u7""#), of(""));
    assert_eq!(ada.check_replaces(&ada), Ok(()));
    assert_eq!(nobody.check_replaces(&nobody), Ok(()));
    let told = |error: Error| (error.code(), error.to_string());
    assert_eq!(
        bob.check_replaces(&ada).map_err(told),
        Err((
            "forbidden",
            "This connection is that of u42; a token of u7 needs a connection of its own.".to_owned()
        ))
    );
    assert!(nobody.check_replaces(&ada).is_err() && ada.check_replaces(&nobody).is_err());
}
