//! Lists as clients and proxies write them.

use super::*;

fn trusted(list: &[&str]) -> Networks {
    Networks::new(&list.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>())
}

/// The client behind 10.0.0.1, which is trusted with all of 10.0.0.0/8, if these fields came.
fn behind(fields: &[&str]) -> String {
    let peer = "10.0.0.1".parse().unwrap();
    client_behind(peer, &trusted(&["10.0.0.0/8"]), fields.iter().map(|field| field.as_bytes())).to_string()
}

#[test]
fn the_first_from_the_right_that_is_no_trusted_proxy_is_the_client() {
    assert_eq!(behind(&["203.0.113.9"]), "203.0.113.9");
    assert_eq!(behind(&["6.6.6.6, 203.0.113.9"]), "203.0.113.9", "the left end is the client's to write");
    assert_eq!(behind(&["6.6.6.6, 203.0.113.9, 10.0.0.3, 10.0.0.2"]), "203.0.113.9");
    assert_eq!(behind(&["10.9.9.9, 203.0.113.9,10.0.0.2"]), "203.0.113.9");
}

#[test]
fn several_fields_are_one_list() {
    assert_eq!(behind(&["6.6.6.6", "203.0.113.9", "10.0.0.2"]), "203.0.113.9");
    assert_eq!(behind(&["6.6.6.6", "203.0.113.9, 10.0.0.2"]), "203.0.113.9");
    assert_eq!(behind(&["", "203.0.113.9"]), "203.0.113.9");
}

#[test]
fn a_peer_that_is_not_trusted_is_the_client_whatever_it_sends() {
    let peer = "203.0.113.5".parse().unwrap();
    let fields = [b"6.6.6.6".as_slice()];
    assert_eq!(client_behind(peer, &trusted(&["10.0.0.0/8"]), fields.into_iter()), peer);
    assert_eq!(client_behind(peer, &Networks::default(), fields.into_iter()), peer);
}

#[test]
fn a_list_of_trusted_proxies_alone_ends_at_its_left_end_and_none_at_the_peer() {
    assert_eq!(behind(&["10.0.0.7, 10.0.0.2"]), "10.0.0.7");
    assert_eq!(behind(&[]), "10.0.0.1");
}

#[test]
fn what_is_no_address_ends_the_list_at_the_last_good_one() {
    for bad in [
        "unknown",
        "",
        "_hidden",
        "unix:",
        "203.0.113",
        "203.0.113.256",
        "203.0.113.09",
        "203.0.113.9:",
        "203.0.113.9:+80",
        "203.0.113.9:65536",
        "203.0.113.9 :80",
        "203.0.113.9%eth0",
        "[203.0.113.9]",
        "[2001:db8::1",
        "2001:db8::1]",
        "[2001:db8::1]80",
        "[2001:db8::1]:",
        "[2001:db8::1]:x",
        "fe80::1%",
        "\"203.0.113.9",
        "203.0.113.9\"",
        "\"\"",
        "\"",
        "::g",
        "203.0.113.9;203.0.113.8",
        "example.com",
        "\u{a0}203.0.113.9",
    ] {
        assert_eq!(behind(&[&format!("6.6.6.6, {bad}")]), "10.0.0.1", "{bad:?}");
        assert_eq!(behind(&[&format!("6.6.6.6, {bad}, 10.0.0.2")]), "10.0.0.2", "{bad:?}");
    }
    let bytes = [b"6.6.6.6, \xff".as_slice()];
    let peer = "10.0.0.1".parse().unwrap();
    assert_eq!(client_behind(peer, &trusted(&["10.0.0.0/8"]), bytes.into_iter()), peer);
}

#[test]
fn an_address_may_come_with_a_port_brackets_quotes_and_a_zone() {
    for (element, address) in [
        ("203.0.113.9:1234", "203.0.113.9"),
        ("203.0.113.9:0", "203.0.113.9"),
        ("\"203.0.113.9\"", "203.0.113.9"),
        ("\"203.0.113.9:65535\"", "203.0.113.9"),
        ("\t 203.0.113.9 \t", "203.0.113.9"),
        ("2001:db8::1", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:1234", "2001:db8::1"),
        ("\"[2001:db8::1]:1234\"", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("[fe80::1%25eth0]:80", "fe80::1"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("[::ffff:203.0.113.9]:80", "203.0.113.9"),
        ("::1", "::1"),
    ] {
        assert_eq!(behind(&[&format!("6.6.6.6, {element}")]), address, "{element:?}");
        assert_eq!(behind(&[&format!("6.6.6.6,{element},10.0.0.2")]), address, "{element:?}");
    }
}

#[test]
fn a_proxy_is_known_by_either_form_of_its_address() {
    assert_eq!(behind(&["203.0.113.9, ::ffff:10.0.0.2"]), "203.0.113.9");
    let peer = "::ffff:10.0.0.1".parse().unwrap();
    let client = client_behind(peer, &trusted(&["10.0.0.0/8"]), [b"203.0.113.9".as_slice()].into_iter());
    assert_eq!(client.to_string(), "203.0.113.9");
    let direct = client_behind(peer, &Networks::default(), [].into_iter());
    assert_eq!(direct.to_string(), "10.0.0.1", "an address has one form");
}
