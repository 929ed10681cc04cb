//! The `--config` file: its entries as flags, and its `[[app]]` and `[[tls]]` tables.
//!
//! Which flags there are, and which the command line overrides, is known to `cli`.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;

use toml::{Table, Value};

use super::app_table;
use super::bounded::text_of;
use super::tls::{self, TLS};
use super::toml_text::parse_toml;
use fanfare::config::TlsPair;
use fanfare::pusher::App;

/// The key of the flag that may be tables in the file.
const APP: &str = "app";

/// What a `--config` file holds.
#[derive(Clone)]
pub struct ConfigFile {
    /// The entries for which no flag or variable is given, without apps.
    entries: Table,
    /// The same and the apps that are written like the flag, as flags.
    words: Vec<(String, Vec<OsString>)>,
    /// The apps that are tables, unless a flag or variable gives them; or what is wrong with them.
    apps: Result<Vec<App>, String>,
    /// The certificates and keys of its tables, in the same way.
    pairs: Result<Vec<TlsPair>, String>,
    /// Whether it says nothing at all.
    is_empty: bool,
}

/// What the command line knows of a key of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// It is the name of a flag.
    Flag,
    /// It is the name of a flag that the command line or the environment gives.
    Overridden,
    /// It is no flag's name.
    Unknown,
}

impl ConfigFile {
    /// Reads a file. `known` tells of each key what it is.
    ///
    /// # Errors
    /// Says what is wrong with the file, and where.
    pub fn read(path: &Path, known: impl Fn(&str) -> Known) -> Result<Self, String> {
        Self::parse(&text_of(path)?, known)
    }

    fn parse(text: &str, known: impl Fn(&str) -> Known) -> Result<Self, String> {
        let table = parse_toml(text)?;
        let is_empty = table.is_empty();
        let (mut entries, mut words) = (Table::new(), Vec::new());
        let (mut apps, mut pairs) = (Ok(Vec::new()), Ok(Vec::new()));
        for (key, value) in table {
            let is_overridden = match known(&key) {
                Known::Flag => false,
                Known::Overridden => true,
                Known::Unknown => {
                    return Err(format!(
                        "no flag is called {key:?}; keys are the flags' names without the dashes (see --help)"
                    ));
                }
            };
            // What is overridden has to be right as well.
            if key == APP && app_table::is_tables(&value) {
                let tables = app_table::parse(&value);
                apps = if is_overridden { tables.map(|_| Vec::new()) } else { tables };
                continue;
            }
            if key == TLS {
                let tables = tls::parse_tables(&value);
                pairs = if is_overridden { tables.map(|_| Vec::new()) } else { tables };
                continue;
            }
            let flags = words_of_entry(&key, &value).ok_or_else(|| what_is_no_flag(&key, &value))?;
            if !is_overridden {
                words.push((key.clone(), flags));
                if key != APP {
                    entries.insert(key, value);
                }
            }
        }
        Ok(Self { entries, words, apps, pairs, is_empty })
    }

    /// Its entries as flags, but for those with these names.
    pub fn words_without(&self, without: &[&str]) -> impl Iterator<Item = OsString> {
        let entries = self.words.iter().filter(|(key, _)| !without.contains(&key.as_str()));
        entries.flat_map(|(_, words)| words.iter().cloned())
    }

    /// The apps of its tables.
    ///
    /// # Errors
    /// Names the app, the key and the remedy.
    pub fn apps(&self) -> Result<&[App], &str> {
        self.apps.as_deref().map_err(String::as_str)
    }

    /// The certificates and keys of its tables.
    ///
    /// # Errors
    /// Names the table, the key and the remedy.
    pub fn pairs(&self) -> Result<&[TlsPair], &str> {
        self.pairs.as_deref().map_err(String::as_str)
    }

    /// Whether it says nothing, as a file does whose writer has only just begun.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The keys whose values differ from those in `other`, without apps.
    pub fn other_keys(&self, other: &Self) -> Vec<String> {
        let gone = other.entries.keys().filter(|key| !self.entries.contains_key(*key));
        let others = self.entries.iter().filter(|(key, value)| other.entries.get(*key) != Some(*value));
        others.map(|(key, _)| key).chain(gone).cloned().collect()
    }
}

fn words_of_entry(key: &str, value: &Value) -> Option<Vec<OsString>> {
    let word = |value: &dyn std::fmt::Display| OsString::from(format!("--{key}={value}"));
    Some(match value {
        Value::String(text) => vec![word(text)],
        Value::Integer(number) => vec![word(number)],
        Value::Boolean(true) => vec![format!("--{key}").into()],
        Value::Boolean(false) => vec![],
        Value::Array(values) => {
            let words: Option<Vec<_>> = values.iter().map(|value| words_of_entry(key, value)).collect();
            words?.concat()
        }
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => return None,
    })
}

fn what_is_no_flag(key: &str, value: &Value) -> String {
    let kind = value.type_str();
    format!("{key} is a {kind}; a flag takes a string, a number, true or false, or a list of those")
}

impl fmt::Debug for ConfigFile {
    /// Shows nothing: many entries are secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConfigFile(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<ConfigFile, String> {
        ConfigFile::parse(text, |key| match key {
            "app" | "history" | "max-lag" | "echo" => Known::Flag,
            "threads" => Known::Overridden,
            _ => Known::Unknown,
        })
    }

    #[test]
    fn entries_become_flags_and_tables_become_apps() {
        let file =
            parse("echo = true\nhistory = [0, 'a=1']\n[[app]]\nid = 1\nkey = 'k'\nsecret = 's'\n").unwrap();
        assert_eq!(file.words_without(&[]).collect::<Vec<_>>(), ["--echo", "--history=0", "--history=a=1"]);
        assert_eq!(file.apps().unwrap(), [App::new("1", "k", "s")]);
        assert!(!file.is_empty() && parse("# nothing\n").unwrap().is_empty());
    }

    #[test]
    fn apps_that_are_written_like_the_flag_become_flags() {
        let file = parse("app = ['1:k:s', '2:l:t']").unwrap();
        assert_eq!(file.words_without(&[]).collect::<Vec<_>>(), ["--app=1:k:s", "--app=2:l:t"]);
        assert!(file.apps().unwrap().is_empty());
    }

    #[test]
    fn what_is_overridden_is_left_out_but_has_to_be_right() {
        assert_eq!(parse("threads = 3").unwrap().words_without(&[]).count(), 0);
        assert!(parse("threads = 1.5").unwrap_err().contains("threads is a float"));
        let known = |_: &str| Known::Overridden;
        let file = ConfigFile::parse("[[app]]\nid = 1\nkey = 'k'\nsecret = 's'", known).unwrap();
        assert!(file.apps().unwrap().is_empty());
        let file = ConfigFile::parse("[[app]]\nid = 1", known).unwrap();
        assert!(file.apps().unwrap_err().contains("key: missing"));
    }

    #[test]
    fn tables_of_certificates_are_pairs_unless_a_flag_gives_them_and_have_to_be_right_in_any_case() {
        let pairs = "[[tls]]\ncert = 'c'\nkey = 'k'\n";
        let as_flag = |known: Known| move |_: &str| known;
        let file = ConfigFile::parse(pairs, as_flag(Known::Flag)).unwrap();
        assert_eq!(file.pairs().unwrap(), [TlsPair { cert: "c".into(), key: "k".into() }]);
        assert_eq!(file.words_without(&[]).count(), 0);
        let file = ConfigFile::parse(pairs, as_flag(Known::Overridden)).unwrap();
        assert!(file.pairs().unwrap().is_empty());
        let file = ConfigFile::parse("[[tls]]\ncert = 'c'\n", as_flag(Known::Overridden)).unwrap();
        assert!(file.pairs().unwrap_err().contains("key: missing"));
    }

    #[test]
    fn the_keys_with_other_values_than_before_are_named_without_the_apps() {
        let before = parse("echo = true\nmax-lag = '1MiB'\napp = '1:k:s'\n").unwrap();
        assert!(
            parse("max-lag = '1MiB'\necho = true\n[[app]]\nid = 1\nkey = 'k'\nsecret = 't'")
                .unwrap()
                .other_keys(&before)
                .is_empty()
        );
        let after = parse("history = 5\nmax-lag = '2MiB'\nthreads = 9\n").unwrap();
        assert_eq!(after.other_keys(&before), ["history", "max-lag", "echo"]);
    }

    #[test]
    fn a_fault_of_the_syntax_is_told_by_its_line_which_is_not_quoted() {
        let words = parse("echo = true\n[[app]]\nid = 1\nsecret = 'hidden\n").unwrap_err();
        assert!(words.starts_with("line 4: ") && !words.contains("hidden"), "{words}");
        assert!(!words.contains('\n'), "{words}");
    }
}
