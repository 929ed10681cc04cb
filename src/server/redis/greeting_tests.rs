//! What the first answers of a server mean. The texts are those of Redis 7.0.

use super::*;

fn text(text: &str) -> Reply {
    Reply::Text(text.to_owned().into())
}

fn error(text: &str) -> Reply {
    Reply::Error(text.to_owned().into())
}

fn hello_of(server: &str, version: &str, mode: &str, role: &str) -> Reply {
    let fields = [("server", server), ("version", version), ("mode", mode), ("role", role)];
    Reply::Map(fields.iter().map(|(name, value)| (text(name), text(value))).collect())
}

fn info(role: &str, id: &str) -> Reply {
    text(&format!("# Replication\r\nrole:{role}\r\nmaster_replid:{id}\r\nmaster_replid2:0000\r\n"))
}

const ID: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn hello_begins_resp3_and_proves_who_the_server_is_if_there_is_a_password() {
    let written = |user: Option<&str>, password: Option<&str>| {
        let login = Login { user: user.map(Into::into), password: password.map(Into::into) };
        let mut out = BytesMut::new();
        hello(&login, &mut out);
        String::from_utf8(out.to_vec()).unwrap().replace("\r\n", " ")
    };
    assert_eq!(written(None, None), "*4 $5 HELLO $1 3 $7 SETNAME $7 fanfare ");
    let expected = "*7 $5 HELLO $1 3 $4 AUTH $7 default $2 pw $7 SETNAME $7 fanfare ";
    assert_eq!(written(None, Some("pw")), expected);
    assert!(written(Some("me"), Some("pw")).contains("$4 AUTH $2 me $2 pw"));
}

#[test]
fn what_is_there_is_what_hello_says() {
    assert_eq!(read_hello(&hello_of("redis", "7.0.15", "standalone", "master")), Ok((Mode::Server, true)));
    assert_eq!(read_hello(&hello_of("redis", "7.2.0", "cluster", "replica")), Ok((Mode::Cluster, false)));
    assert_eq!(read_hello(&hello_of("redis", "8.0.1", "sentinel", "sentinel")), Ok((Mode::Sentinel, false)));
    assert_eq!(read_hello(&hello_of("valkey", "8.1.0", "standalone", "master")), Ok((Mode::Server, true)));
}

#[test]
fn a_server_that_cannot_be_used_is_refused_with_the_remedy() {
    for (reply, remedy) in [
        (hello_of("redis", "6.2.14", "standalone", "master"), "7.0 or later"),
        (hello_of("redis", "7.0.0", "other", "master"), "mode that is not known: other"),
        (Reply::Nil, "Is it a Redis server?"),
        (
            error("NOAUTH HELLO must be called with the client already authenticated"),
            "redis://:PASSWORD@HOST",
        ),
        (error("WRONGPASS invalid username-password pair or user is disabled."), "USER:PASSWORD"),
        (error("NOPROTO unsupported protocol version"), "RESP3"),
        (error("ERR unknown command 'HELLO', with args beginning with: '3'"), "7.0 or later"),
    ] {
        let Err(Unfit::ForGood(sentence)) = read_hello(&reply) else { panic!("{reply:?}") };
        assert!(sentence.contains(remedy), "{sentence}");
    }
    for passing in ["LOADING Redis is loading the dataset in memory", "ERR max number of clients reached"] {
        assert_eq!(read_hello(&error(passing)), Err(Unfit::ForNow(passing.into())));
    }
}

#[test]
fn a_master_has_a_token_and_a_replica_has_none() {
    assert_eq!(read_role(&info("master", ID), None), Ok(Role::Master("0123456789abcdef".into())));
    let promoted = info("master", &format!("{ID}\r\nmaster_replid2:fedcba98765432100123"));
    let followed = Some("fedcba9876543210".into());
    let identity = Identity { followed, ..Identity::from("0123456789abcdef") };
    assert_eq!(read_role(&promoted, None), Ok(Role::Master(identity)));
    assert_eq!(read_role(&info("slave", ID), None), Ok(Role::Replica));
    assert_eq!(read_role(&info("slave", ID), Some("t")), Ok(Role::Replica));
    assert_eq!(read_role(&info("master", ID), Some("t")), Ok(Role::Master("t".into())));
}

#[test]
fn where_no_token_is_to_be_had_the_server_is_used_only_if_failovers_are_trusted() {
    let forbidden = error("NOPERM this user has no permissions to run the 'info' command");
    for reply in [&forbidden, &text(""), &text("role:master\r\n"), &info("master", "short")] {
        let Err(Unfit::ForGood(sentence)) = read_role(reply, None) else { panic!("{reply:?}") };
        assert!(sentence.contains("--redis-trust-failover"), "{sentence}");
        assert_eq!(read_role(reply, Some("t")), Ok(Role::Master("t".into())));
    }
    assert!(matches!(read_role(&error("BUSY Redis is busy"), None), Err(Unfit::ForNow(_))));
}

#[test]
fn what_is_refused_at_the_beginning_is_told_with_its_words() {
    assert_eq!(read_done(&text("OK"), "the database"), Ok(()));
    let Err(Unfit::ForGood(sentence)) = read_done(&error("ERR DB index is out of range"), "the database")
    else {
        panic!()
    };
    assert_eq!(sentence, "it refuses the database: ERR DB index is out of range");
}
