//! Reading the `--config` file and the files of keys again, while the server runs.
//!
//! When that is done, and what is done with the result, is not decided here.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::access::RELOADED;
use super::bounded::{Reader, is_regular};
use super::{Args, ConfigFile, flag_of, of_file, tls};
use fanfare::config::{Config, Tls, TlsPair};
use fanfare::pusher::App;

/// What a process needs to read its files again.
pub struct Reload {
    words: Vec<OsString>,
    /// The `--config` file, if there is one.
    config: Option<PathBuf>,
    started_with: Option<ConfigFile>,
    /// The files of keys, as they were named last.
    keys: Vec<PathBuf>,
    /// Whether there are certificates.
    has_certificates: bool,
    /// Whether a file is open that others may move away.
    has_audit: bool,
    /// What was said of the files at the start.
    warnings: Vec<String>,
    /// Has what was in files of keys that can be read only once.
    reader: Reader,
}

/// What the files say that were read again, each set by itself: a fault in one does not hold up the other.
#[derive(Debug)]
pub struct Reread {
    /// The configuration at the start with the rules, keys, globs and origins of now; checked.
    pub access: Result<Config, String>,
    /// The apps, of the file or of the flags that override it; none without a `--config` file.
    pub apps: Result<Option<Vec<App>>, String>,
    /// The certificates and keys that are named now, not read; those of the start if no address speaks TLS.
    pub pairs: Result<Vec<TlsPair>, String>,
    /// What is to be said of files that are right.
    pub warnings: Vec<String>,
    /// The keys of the `--config` file with other values than at the start, which apply after a restart.
    pub needs_restart: Vec<String>,
}

impl Args {
    /// What is needed to read the files of this process again.
    pub fn reload(&self) -> Reload {
        self.reload_of(std::env::args_os().collect())
    }

    fn reload_of(&self, words: Vec<OsString>) -> Reload {
        Reload {
            words,
            config: self.config.clone(),
            started_with: self.file.clone(),
            keys: self.key_paths(),
            has_certificates: !self.tls.pairs().is_empty(),
            has_audit: self.access.audit.is_some(),
            warnings: self.warnings().to_vec(),
            reader: self.read.reader.clone(),
        }
    }

    fn key_paths(&self) -> Vec<PathBuf> {
        self.access.publish_keys.iter().chain(&self.access.token_key).cloned().collect()
    }
}

impl Reload {
    /// Whether there is anything that a SIGHUP is for.
    pub fn obeys_hangups(&self) -> bool {
        self.files().next().is_some() || self.has_audit || self.has_certificates
    }

    /// What was said of the files at the start.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// The files to look at, as they were named when they were read last.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.config.iter().chain(&self.keys).map(PathBuf::as_path)
    }

    /// Reads the files again. `running` is the configuration of the server, with the addresses that it listens on.
    ///
    /// # Errors
    /// What is wrong with the `--config` file as a whole, on one line: what it says of anything is not known.
    pub fn read(&mut self, running: &Config) -> Result<Reread, String> {
        if let Some(path) = self.config.as_ref().filter(|path| !is_regular(path)) {
            return Err(of_file(path, "it is no regular file any more"));
        }
        let file = Args::read_file(&self.words).map_err(|error| on_one_line(&error))?;
        if let (Some(path), true) = (&self.config, file.as_ref().is_some_and(ConfigFile::is_empty)) {
            // An editor may empty a file before it writes it. Clients whose app is gone do not come back.
            return Err(of_file(path, "it is empty"));
        }
        let (mut args, fault) = self.flags_of(file)?;
        let apps =
            args.take_apps().map(|()| self.config.is_some().then(|| std::mem::take(&mut args.access.app)));
        let pairs = args.take_pairs().and_then(|()| pairs_of(running, &args));
        let needs_restart = self.needs_restart(&args, running);
        let read = match fault {
            Some(fault) => Err(fault),
            None => {
                self.keys = args.key_paths();
                args.read.reader = self.reader.again();
                args.read_keys()
            }
        };
        let warnings = args.warnings().to_vec();
        let access = read.and_then(|()| combine(running, args.into_config()));
        Ok(Reread { access, apps, pairs, warnings, needs_restart })
    }

    /// The flags; without those of access, and with what is wrong, if one of these has a fault.
    fn flags_of(&self, file: Option<ConfigFile>) -> Result<(Args, Option<String>), String> {
        let error = match Args::of_words_and_file(&self.words, file.clone(), &[]) {
            Ok(args) => return Ok((args, None)),
            Err(error) => error,
        };
        let fault = on_one_line(&error);
        if !flag_of(&error).is_some_and(|flag| RELOADED.contains(&flag.as_str())) {
            return Err(fault);
        }
        match Args::of_words_and_file(&self.words, file, &RELOADED) {
            Ok(args) => Ok((args, Some(fault))),
            Err(_) => Err(fault),
        }
    }

    fn needs_restart(&self, args: &Args, running: &Config) -> Vec<String> {
        let (Some(now), Some(before)) = (&args.file, &self.started_with) else { return Vec::new() };
        let has_tls = !running.tls.listen.is_empty();
        let is_reloaded = |key: &&String| {
            RELOADED.contains(&key.as_str()) || has_tls && tls::RELOADED.contains(&key.as_str())
        };
        now.other_keys(before).into_iter().filter(|key| !is_reloaded(&key)).collect()
    }
}

/// The pairs that are named now, if they do for the addresses that speak TLS.
fn pairs_of(running: &Config, args: &Args) -> Result<Vec<TlsPair>, String> {
    if running.tls.listen.is_empty() {
        return Ok(running.tls.pairs.clone()); // a new address takes a restart, which takes new pairs too
    }
    let tls = Tls { pairs: args.tls.pairs(), ..running.tls.clone() };
    let next = Config { tls, ..running.clone() };
    next.check().map_err(|error| error.to_string())?;
    Ok(next.tls.pairs)
}

/// The running configuration with what is reloaded of `read`, checked as at the start.
fn combine(running: &Config, read: Config) -> Result<Config, String> {
    let next = Config {
        keys: read.keys,
        client_publish: read.client_publish,
        auth: read.auth,
        allow_origin: read.allow_origin,
        allow_host: read.allow_host,
        token_keys: read.token_keys,
        token_audience: read.token_audience,
        token_cookie: read.token_cookie,
        token_in_query: read.token_in_query,
        ..running.clone()
    };
    next.check().map_err(|error| error.to_string())?;
    if next.is_development() != running.is_development() {
        return Err(
            "development mode begins and ends with a restart: it is the mode without keys, token keys and a \
                    backend"
                .into(),
        );
    }
    Ok(next)
}

/// The words of an error without what is printed around them.
fn on_one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.trim_start_matches("error: ").lines().map(str::trim);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "again_tests.rs"]
mod tests;
