//! The vector of section 5.1, each deviation of the libraries, and each way to be refused.

use super::*;
use crate::pusher::auth::hmac_hex;

const KEY: &str = "278d425bdf160c739803";
const SECRET: &str = "7ad3773142a6692b25b8";
const NOW_S: u64 = 1_353_088_179;

const BODY: &str = r#"{"name":"foo","channels":["project-3"],"data":"{\"some\":\"data\"}"}"#;
const QUERY: &str = "auth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0\
    &body_md5=ec365a775a4cd0599faeb73354201b6f\
    &auth_signature=da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c";

fn app() -> App {
    App::new("3", KEY, SECRET)
}

fn post(query: &str) -> Result<Parameters, Unauthorized> {
    let request = Signed { method: "POST", path: "/apps/3/events", prefix: "", query };
    with_body(&request, BODY.as_bytes())
}

fn with_body(request: &Signed<'_>, body: &[u8]) -> Result<Parameters, Unauthorized> {
    let parameters = authenticate(request, &app(), NOW_S)?;
    check_body(&parameters, body)?;
    Ok(parameters)
}

fn get<'a>(path: &'a str, query: &'a str) -> Signed<'a> {
    Signed { method: "GET", path, prefix: "", query }
}

/// The signature of a text as it stands.
fn sign(text: &str) -> String {
    hmac_hex(SECRET, text.as_bytes())
}

/// The parameters of a signature but itself, then more of them.
fn query(more: &str) -> String {
    format!("auth_key={KEY}&auth_timestamp={NOW_S}&auth_version=1.0{more}")
}

/// A GET whose signed path and parameters are these, sent as others.
fn check_get(
    signed_path: &str,
    signed_more: &str,
    path: &str,
    more: &str,
) -> Result<Parameters, Unauthorized> {
    let signature = sign(&format!("GET\n{signed_path}\n{}", query(signed_more)));
    let query = query(&format!("{more}&auth_signature={signature}"));
    with_body(&get(path, &query), b"")
}

#[test]
fn the_worked_example_of_the_documentation_is_signed() {
    assert!(post(QUERY).is_ok());
}

#[test]
fn a_signature_in_capitals_and_parameters_in_any_order_and_case_are_signed() {
    let (parameters, signature) = QUERY.split_once("&auth_signature=").unwrap();
    let reversed: Vec<_> = parameters.split('&').rev().collect();
    let query = format!("Auth_Signature={}&{}", signature.to_uppercase(), reversed.join("&"));
    assert!(post(&query.replace("auth_key", "AUTH_KEY")).is_ok());
}

#[test]
fn a_signature_of_another_method_path_body_or_secret_is_refused_with_what_to_sign() {
    let signed = Signed { method: "POST", path: "/apps/3/events", prefix: "", query: QUERY };
    for request in [Signed { method: "GET", ..signed }, Signed { path: "/apps/3/batch_events", ..signed }] {
        let refused = authenticate(&request, &app(), NOW_S).unwrap_err();
        assert!(matches!(refused, Unauthorized::Signature { .. }), "{refused}");
    }
    let refused = with_body(&signed, b"{}").unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Invalid body_md5: you should have sent 99914b932bd37a50b983c5e7c90ae93b, the digest of the body that arrived, \
         but you sent \"ec365a775a4cd0599faeb73354201b6f\""
    );
    let refused = authenticate(&signed, &App::new("3", KEY, "another"), NOW_S).unwrap_err();
    assert_eq!(
        refused.to_string(),
        r#"Invalid signature: you should have sent HmacSHA256Hex("POST\n/apps/3/events\nauth_key=278d425bdf160c739803&auth_timestamp=1353088179&auth_version=1.0&body_md5=ec365a775a4cd0599faeb73354201b6f", your_secret_key), but you sent "da454824c97ba181a32ccc17a72625ba02771f50b50e1e7430e47a1f3f457e6c". If this is the string that you signed, the secret is not that of the app"#
    );
}

#[test]
fn each_secret_of_an_app_signs() {
    let secrets = |secrets: &[&str]| {
        let secrets = secrets.iter().map(|&secret| secret.to_owned()).collect();
        let request = Signed { method: "POST", path: "/apps/3/events", prefix: "", query: QUERY };
        authenticate(&request, &App { secrets, ..app() }, NOW_S)
    };
    assert!(secrets(&["new", SECRET]).is_ok());
    assert!(secrets(&[SECRET, "new"]).is_ok());
    assert!(secrets(&["new", "newer"]).is_err());
}

#[test]
fn values_are_signed_without_their_escapes() {
    assert!(check_get("/a", "&filter_by_prefix=a b,\"c", "/a", "&filter_by_prefix=a%20b%2C%22c").is_ok());
}

#[test]
fn a_plus_may_be_signed_as_itself_and_as_a_space() {
    let spaced = check_get("/a", "&filter_by_prefix=a b", "/a", "&filter_by_prefix=a+b").unwrap();
    assert_eq!(spaced.one("filter_by_prefix"), Ok(Some(&b"a b"[..])));
    let kept = check_get("/a", "&filter_by_prefix=a+b", "/a", "&filter_by_prefix=a+b").unwrap();
    assert_eq!(kept.one("filter_by_prefix"), Ok(Some(&b"a+b"[..])));
    assert!(check_get("/a", "&filter_by_prefix=a b", "/a", "&filter_by_prefix=a%2Bb").is_err());
}

#[test]
fn a_path_may_be_signed_with_its_escapes_and_without() {
    let sent = "/apps/3/users/a%20b/terminate_connections";
    assert!(check_get("/apps/3/users/a b/terminate_connections", "", sent, "").is_ok());
    assert!(check_get(sent, "", sent, "").is_ok());
    assert!(check_get("/apps/3/users/a%2520b/terminate_connections", "", sent, "").is_err());
}

#[test]
fn a_path_may_be_signed_with_the_prefix_of_the_configuration_and_without() {
    let check = |signed: &str, prefix: &str| {
        let query =
            format!("{}&auth_signature={}", query(""), sign(&format!("GET\n{signed}\n{}", query(""))));
        authenticate(&Signed { prefix, ..get("/ws/apps/3/channels", &query) }, &app(), NOW_S).is_ok()
    };
    assert!(check("/ws/apps/3/channels", "/ws"));
    assert!(check("/apps/3/channels", "/ws"));
    assert!(!check("/apps/3/channels", ""));
    assert!(!check("s/apps/3/channels", "/w"), "a prefix is whole segments");
}

#[test]
fn an_array_is_signed_as_it_is_sent_and_one_name_may_stand_twice() {
    assert!(check_get("/a", "&info[]=b&info[]=a", "/a", "&info%5B%5D=b&info[]=a").is_ok());
    assert!(check_get("/a", "&info=b&info=a", "/a", "&info=b&info=a").is_ok());
    assert!(check_get("/a", "&info=b&info=a", "/a", "&info=a&info=b").is_err());
}

#[test]
fn a_value_that_is_not_utf8_is_signed_byte_by_byte() {
    let text = [format!("GET\n/a\n{}&x=", query("")).as_bytes(), b"\xff"].concat();
    let signature = hmac_hex(SECRET, &text);
    let query = format!("{}&x=%FF&auth_signature={signature}", query(""));
    assert!(authenticate(&get("/a", &query), &app(), NOW_S).is_ok());
}

#[test]
fn the_digest_of_an_empty_body_may_be_signed_and_need_not_be() {
    let digest = "&body_md5=d41d8cd98f00b204e9800998ecf8427e";
    assert!(check_get("/a", digest, "/a", digest).is_ok());
    assert!(check_get("/a", "", "/a", "").is_ok());
    assert!(check_get("/a", "", "/a", digest).is_err(), "what is sent is signed");
    let another = "&body_md5=99914b932bd37a50b983c5e7c90ae93b";
    let refused = check_get("/a", another, "/a", another).unwrap_err();
    assert!(matches!(refused, Unauthorized::BodyMd5 { .. }), "{refused}");
}

#[test]
fn a_body_without_its_digest_is_refused() {
    let signature = sign(&format!("GET\n/a\n{}", query("")));
    let refused = with_body(&get("/a", &query(&format!("&auth_signature={signature}"))), b"{}").unwrap_err();
    assert_eq!(refused, Unauthorized::Missing("body_md5"));
    assert!(refused.to_string().contains("MD5 digest of the body"), "{refused}");
}

#[test]
fn a_timestamp_may_be_600_seconds_off_in_either_direction() {
    let at = |now_s| {
        let request = Signed { method: "POST", path: "/apps/3/events", prefix: "", query: QUERY };
        authenticate(&request, &app(), now_s)
    };
    assert!(at(NOW_S + 600).is_ok() && at(NOW_S - 600).is_ok());
    for now_s in [NOW_S + 601, NOW_S - 601, 0, u64::MAX] {
        assert_eq!(at(now_s), Err(Unauthorized::Clock { given_s: NOW_S, now_s }));
    }
}

#[test]
fn a_parameter_of_the_signature_is_given_once() {
    for name in ["auth_key", "auth_version", "auth_timestamp", "auth_signature"] {
        let without: Vec<_> = QUERY.split('&').filter(|pair| !pair.starts_with(name)).collect();
        assert_eq!(post(&without.join("&")), Err(Unauthorized::Missing(name)));
        assert_eq!(post(&format!("{QUERY}&{name}=x")), Err(Unauthorized::Twice(name)));
    }
    assert_eq!(post(&format!("{QUERY}&body_md5=x")), Err(Unauthorized::Twice("body_md5")));
    assert_eq!(post(""), Err(Unauthorized::Missing("auth_key")));
}

#[test]
fn a_key_version_timestamp_or_signature_of_another_form_is_named() {
    let refused = |from: &str, to: &str| post(&QUERY.replace(from, to)).unwrap_err().to_string();
    assert_eq!(refused(KEY, "abc"), r#"Invalid key: the auth_key "abc" is not that of app "3""#);
    assert_eq!(refused("=1.0", "=2.0"), r#"Invalid auth_version "2.0": it is 1.0"#);
    for timestamp in ["", "-1", "+1353088179", "1353088179.5", "99999999999999999999", "%FF"] {
        let sentence = refused("1353088179", timestamp);
        assert!(sentence.starts_with("Invalid auth_timestamp"), "{sentence}");
    }
    for signature in ["", "da45", &"g".repeat(64), &"é".repeat(32)] {
        let (parameters, _) = QUERY.split_once("&auth_signature=").unwrap();
        let refused = post(&format!("{parameters}&auth_signature={signature}")).unwrap_err();
        assert!(matches!(refused, Unauthorized::Signature { .. }), "{refused}");
    }
}

#[test]
fn the_key_of_a_request_that_names_no_app_is_that_of_its_signature() {
    assert_eq!(key(QUERY), Ok(KEY.to_owned()));
    assert_eq!(key("auth_key=a&auth_key=b"), Err(Unauthorized::Twice("auth_key")));
    assert_eq!(key(""), Err(Unauthorized::Missing("auth_key")));
}
