//! What flags, environment and file come to.
//!
//! The real binary is not started here.

use std::io::Write;

use fanfare::pusher::App;

use super::*;

fn parse(words: &[&str]) -> Result<Config, String> {
    let words: Vec<_> = std::iter::once("fanfare").chain(words.iter().copied()).map(OsString::from).collect();
    Args::parse_from_words(&words).map(Args::into_config).map_err(|error| error.to_string())
}

fn parse_with_file(file: &str, words: &[&str]) -> Result<Config, String> {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    config.write_all(file.as_bytes()).unwrap();
    let path = config.path().to_str().unwrap();
    parse(&[&["--config", path], words].concat())
}

#[test]
fn the_flags_are_consistent() {
    Args::command().debug_assert();
}

#[test]
fn without_flags_everything_is_as_the_library_has_it() {
    assert_eq!(format!("{:?}", parse(&[]).unwrap()), format!("{:?}", Config::default()));
}

#[test]
fn the_short_help_has_one_line_a_flag_in_80_columns_under_headings() {
    let help = Args::command().term_width(80).render_help().to_string();
    let flags = Args::command().get_arguments().count() + ["--help", "--version"].len();
    let tasks = ["key"].len();
    assert_eq!(help.lines().filter(|line| line.starts_with("  ")).count(), flags + tasks, "{help}");
    for heading in [
        "Commands",
        "Options",
        "Listening",
        "Access",
        "Tokens",
        "Backend",
        "Presence",
        "Limits",
        "Compression",
        "Subscribers",
        "Times",
    ] {
        assert_eq!(help.matches(&format!("\n{heading}:\n")).count(), 1, "{heading}: {help}");
    }
    assert!(help.lines().count() <= 85, "{help}");
}

#[test]
fn every_flag_is_also_an_environment_variable() {
    for argument in Args::command().get_arguments() {
        let Some(flag) = argument.get_long() else { continue };
        if flag == "help" || flag == "version" {
            continue;
        }
        let variable = format!("FANFARE_{}", flag.replace('-', "_").to_uppercase());
        assert_eq!(argument.get_env().and_then(|env| env.to_str()), Some(variable.as_str()));
    }
}

#[test]
fn sizes_and_times_take_units() {
    let config =
        parse(&["--max-message", "512", "--max-lag", "64KiB", "--drain", "5m", "--pong-timeout", "500ms"]);
    let config = config.unwrap();
    assert_eq!((config.max_message, config.max_lag), (512, 65_536));
    assert_eq!((config.drain, config.pong_timeout), (Duration::from_secs(300), Duration::from_millis(500)));
}

#[test]
fn repeatable_flags_add_up() {
    let config = parse(&[
        "--listen",
        "127.0.0.1:1",
        "--listen",
        "[::1]:2",
        "--lag-policy",
        "a=b*=skip",
        "--lag-policy",
        "latest",
    ]);
    let config = config.unwrap();
    assert_eq!(config.listen.len(), 2);
    assert_eq!(config.lag_policy("a=bc"), LagPolicy::Skip);
    assert_eq!(config.lag_policy("other"), LagPolicy::Latest);
}

#[test]
fn a_wrong_value_names_the_flag_and_the_remedy() {
    for (words, flag, remedy) in [
        (&["--listen", "8080"][..], "--listen", "127.0.0.1:8080"),
        (&["--listen", "localhost:80"], "--listen", "127.0.0.1:8080"),
        (&["--threads", "0"], "--threads", "above 0"),
        (&["--max-lag", "lots"], "--max-lag", "64KiB"),
        (&["--drain", "5"], "--drain", "30s"),
        (&["--lag-policy", "chat=drop"], "--lag-policy", "prices*=latest"),
        (&["--history", "0;chat*"], "--history", "0,chat*=50"),
        (&["--history", "0 chat*"], "--history", "a comma separates"),
        (&["--allow-origin", "https://a.b, https://c.d"], "--allow-origin", "A comma separates several"),
        (&["--allow-origin", "https://*.example.com"], "--allow-origin", "wildcard"),
        (&["--allow-origin", "https://user@example.com"], "--allow-origin", "a user"),
        (&["--allow-origin", "ftp://x"], "--allow-origin", "a page's scheme"),
        (&["--allow-origin", "example.com"], "--allow-origin", "https://example.com"),
        (&["--allow-origin", "https://example.com/"], "--allow-origin", "without a path"),
        (&["--allow-host", "http://example.test"], "--allow-host", "without scheme and port"),
        (&["--allow-host", "example.test:8080"], "--allow-host", "such as example.test"),
        (&["--allow-host", "*"], "--allow-host", "such as example.test"),
        (&["--allow-host", ""], "--allow-host", "such as example.test"),
    ] {
        let error = parse(words).unwrap_err();
        assert!(error.contains(flag) && error.contains(remedy), "{error}");
    }
}

#[test]
fn origins_become_what_browsers_send_and_a_comma_separates_them() {
    let words = ["--allow-origin", "https://A.example:443,null", "--allow-origin", "http://b.example:8080"];
    let config = parse(&words).unwrap();
    assert_eq!(config.allow_origin, ["https://a.example", "null", "http://b.example:8080"]);
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn a_comma_separates_the_rules_of_one_value() {
    let config = parse(&["--history", "0,chat*=50", "--lag-policy", "skip,prices*=latest"]).unwrap();
    let history: Vec<usize> = config.history.iter().map(|(_, count)| *count).collect();
    assert_eq!((history, config.lag_policy.len()), (vec![0, 50], 2));
    assert_eq!(config.check(), Ok(()));
}

#[test]
fn hosts_add_up_and_an_address_is_one() {
    let config = parse(&["--allow-host", "Example.test,192.0.2.7", "--allow-host", "[fd00::1]"]).unwrap();
    let hosts: Vec<String> = config.allow_host.iter().map(ToString::to_string).collect();
    assert_eq!(hosts, ["example.test", "192.0.2.7", "[fd00::1]"]);
}

#[test]
fn a_misspelt_flag_is_named_with_the_right_one() {
    let error = parse(&["--publish-keys", "k"]).unwrap_err();
    assert!(error.contains("--publish-key"), "{error}");
}

#[test]
fn a_file_holds_every_kind_of_value() {
    let file = "listen = ['127.0.0.1:1', '127.0.0.1:2']\nthreads = 3\ninsecure = true\necho = false\nmax-lag = '2MiB'\n";
    let config = parse_with_file(file, &[]).unwrap();
    assert_eq!(
        (config.listen.len(), config.threads.get(), config.insecure, config.echo),
        (2, 3, true, false)
    );
    assert_eq!(config.max_lag, 2 * 1024 * 1024);
}

#[test]
fn a_flag_beats_the_file() {
    let config = parse_with_file("threads = 3\nlisten = '127.0.0.1:1'\n", &["--threads", "4"]).unwrap();
    assert_eq!((config.threads.get(), config.listen[0].port()), (4, 1));
}

#[test]
fn an_unknown_key_or_value_in_the_file_is_named() {
    let error = parse_with_file("thread = 3\n", &[]).unwrap_err();
    assert!(error.contains("\"thread\"") && error.contains("--config"), "{error}");
    let error = parse_with_file("threads = 1.5\n", &[]).unwrap_err();
    assert!(error.contains("threads is a float"), "{error}");
    let error = parse_with_file("threads = 'many'\n", &[]).unwrap_err();
    assert!(error.contains("--threads"), "{error}");
    let error = parse_with_file("threads = \n", &[]).unwrap_err();
    assert!(error.contains("line 1"), "{error}");
}

const APP_1: &str = "[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n";

fn ids(config: &Config) -> Vec<&str> {
    config.apps.iter().map(|app| app.id.as_str()).collect()
}

#[test]
fn apps_are_given_by_the_flag_or_by_tables_and_the_flag_overrides_the_tables() {
    let config = parse(&["--app", "1:key:secret,2:other:secret", "--app", "3:third:s:t"]).unwrap();
    assert_eq!(ids(&config), ["1", "2", "3"]);
    assert_eq!(config.apps[0], App::new("1", "key", "secret"));
    assert!(config.check().unwrap_err().to_string().contains("\"3\": secret: give one of"));
    assert_eq!(ids(&parse_with_file(APP_1, &[]).unwrap()), ["1"]);
    assert_eq!(ids(&parse_with_file(APP_1, &["--app", "2:k:s"]).unwrap()), ["2"]);
    assert_eq!(ids(&parse_with_file("app = ['4:k:s', '5:l:s']", &[]).unwrap()), ["4", "5"]);
    let error = parse(&["--app", "1:key"]).unwrap_err();
    assert!(error.contains("give ID:KEY:SECRET, such as 1:my-key:my-secret"), "{error}");
}

#[test]
fn a_wrong_table_of_an_app_is_named_with_its_file() {
    let error = parse_with_file(&format!("{APP_1}max-conections = 5"), &[]).unwrap_err();
    assert!(error.contains("--config ") && error.contains("the nearest is \"max-connections\""), "{error}");
}

#[cfg(unix)] // for its device
#[test]
fn a_file_without_an_end_is_read_no_further_than_its_bound() {
    let error = parse(&["--config", "/dev/zero"]).unwrap_err();
    assert!(error.contains("--config /dev/zero") && error.contains("1048576 bytes"), "{error}");
    let filled = |len: usize| "#".repeat(len - 1) + "\n";
    assert!(parse_with_file(&filled(1024 * 1024), &[]).is_ok());
    assert!(parse_with_file(&filled(1024 * 1024 + 1), &[]).is_err());
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = parse(&["--config", "/nowhere/fanfare.toml"]).unwrap_err();
    assert!(error.contains("/nowhere/fanfare.toml"), "{error}");
}
