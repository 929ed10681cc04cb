//! What Redis 7.0.15 says, word for word, and what is made of it.

use super::*;

fn refusal(text: &str) -> Refusal {
    Refusal::of(text.as_bytes(), "10.0.0.1")
}

#[test]
fn each_refusal_of_redis_has_its_reason_and_its_fate() {
    for (text, reason, fate) in [
        ("NOSCRIPT No matching script. Please use EVAL.", Reason::NoScript, Fate::LoadScript),
        ("TRYAGAIN Multiple keys request during rehashing of slot", Reason::TryAgain, Fate::Again),
        ("LOADING Redis is loading the dataset in memory", Reason::Loading, Fate::Again),
        (
            "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
            Reason::Busy,
            Fate::Again,
        ),
        ("CLUSTERDOWN The cluster is down", Reason::ClusterDown, Fate::Again),
        ("CLUSTERDOWN Hash slot not served", Reason::ClusterDown, Fate::Again),
        ("NOREPLICAS Not enough good replicas to write.", Reason::NoReplicas, Fate::Again),
        ("READONLY You can't write against a read only replica.", Reason::ReadOnly, Fate::AgainAtMaster),
        (
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            Reason::MasterDown,
            Fate::AgainAtMaster,
        ),
        ("OOM command not allowed when used memory > 'maxmemory'.", Reason::OutOfMemory, Fate::Never),
        (
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            Reason::Misconfigured,
            Fate::Never,
        ),
        (
            "NOPERM this user has no permissions to access one of the keys used as arguments",
            Reason::NoPermission,
            Fate::Never,
        ),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", Reason::WrongType, Fate::Never),
        ("CROSSSLOT Keys in request don't hash to the same slot", Reason::CrossSlot, Fate::Never),
        ("EXECABORT Transaction discarded because of previous errors.", Reason::ExecAborted, Fate::Never),
        ("NOAUTH Authentication required.", Reason::NoAuth, Fate::Never),
        ("WRONGPASS invalid username-password pair or user is disabled.", Reason::WrongPassword, Fate::Never),
        ("NOPROTO unsupported protocol version", Reason::NoProtocol, Fate::Never),
        ("ERR unknown command 'SPUBLISH', with args beginning with: ", Reason::Other, Fate::Never),
        ("OOMPH", Reason::Other, Fate::Never),
        ("oom", Reason::Other, Fate::Never),
        ("", Reason::Other, Fate::Never),
        (" OOM", Reason::Other, Fate::Never),
    ] {
        let refusal = refusal(text);
        assert_eq!((&refusal.reason, refusal.fate()), (&reason, fate), "{text}");
        assert_eq!(refusal.to_string(), text);
    }
    assert_eq!(refusal("LOADING").reason, Reason::Loading, "the word alone");
}

/// The command failed within the script, and what the script had done before stays.
#[test]
fn what_a_running_script_has_raised_may_have_happened_in_part() {
    for text in [
        "WRONGTYPE Operation against a key holding the wrong kind of value script: 3376dfffe18a3fbd9cc384b0e27afba4db935a63, on @user_script:2.",
        "OOM command not allowed when used memory > 'maxmemory'. script: f925a4332f65470c27bb373f3448d9fe63e6779c, on @user_script:1.",
        "ERR Unknown Redis command called from script script: e756b277df0ee97de8dd294769dff197f1c7e3c3, on @user_script:2.",
        "ERR user_script:2: attempt to perform arithmetic on a nil value script: f1163303e5a9818b6d245bc98d6addd8cc3edd65, on @user_script:2.",
    ] {
        let refusal = refusal(text);
        assert_eq!((&refusal.reason, refusal.fate()), (&Reason::RaisedByScript, Fate::Unknown), "{text}");
    }
}

#[test]
fn a_redirect_names_the_slot_and_the_server() {
    let redirect = |slot, host: &str, port| Redirect { slot, address: Address { host: host.into(), port } };
    for (text, reason) in [
        ("MOVED 3999 127.0.0.1:6381", Reason::Moved(redirect(3999, "127.0.0.1", 6381))),
        ("MOVED 16383 two.example:6381", Reason::Moved(redirect(16383, "two.example", 6381))),
        ("MOVED 0 ::1:6381", Reason::Moved(redirect(0, "::1", 6381))),
        ("MOVED 0 2001:db8::7:6381", Reason::Moved(redirect(0, "2001:db8::7", 6381))),
        ("MOVED 7 :6381", Reason::Moved(redirect(7, "10.0.0.1", 6381))),
        ("ASK 7 ?:6381", Reason::Ask(redirect(7, "10.0.0.1", 6381))),
        ("ASK 3999 127.0.0.1:6381", Reason::Ask(redirect(3999, "127.0.0.1", 6381))),
    ] {
        let refusal = refusal(text);
        assert_eq!((&refusal.reason, refusal.fate()), (&reason, Fate::Elsewhere), "{text}");
    }
}

#[test]
fn a_redirect_that_leads_nowhere_is_none() {
    for text in [
        "MOVED",
        "MOVED 3999",
        "MOVED 16384 127.0.0.1:6381",
        "MOVED -1 127.0.0.1:6381",
        "MOVED 1 127.0.0.1",
        "MOVED 1 127.0.0.1:",
        "MOVED 1 127.0.0.1:0",
        "MOVED 1 127.0.0.1:65536",
        "MOVED 1 a/b:6381",
        "ASK 1 a b:6381",
    ] {
        assert_eq!(refusal(text).reason, Reason::Other, "{text}");
    }
}

#[test]
fn a_log_line_has_the_beginning_of_the_text_without_control_characters() {
    let long = refusal(&format!("ERR {}", "x".repeat(10_000))).to_string();
    assert!(long.len() <= EXCERPT_LEN_MAX && long.starts_with("ERR xxx") && long.ends_with('…'), "{long}");
    assert_eq!(Refusal::of(b"ERR \x1b[2J\n\xff", "h").to_string(), "ERR \\u{1b}[2J\\n\u{fffd}");
}
