//! The apps of a configuration: which settings of an app are refused, and the app that development mode has.
//!
//! Where the settings come from is not known here; what they mean to a client is in `pusher`.

use std::collections::{HashMap, HashSet};
use std::fmt;

use super::origin::normalise;
use super::url::{is_url, lacks_tls};
use crate::pusher::App;

/// The longest identifier. Some server libraries read it as a number of 64 bits, which has at most 20 digits.
const ID_LEN_MAX: usize = 20;

/// What separates the parts of `--app ID:KEY:SECRET`, and of the URL that server libraries are configured with
/// (`http://KEY:SECRET@HOST/apps/ID`).
const SEPARATORS: &str = ":/?";

/// What ends or changes a key in the path of a URL, where clients put it as it is.
const NOT_IN_PATHS: &str = "#%";

/// The app of development mode: client events are on, so that everything can be tried.
pub fn development() -> App {
    App { client_events: true, ..App::new("1", "app-key", "app-secret") }
}

/// Checks apps, alone and together. The server delivers payloads of at most `payload_max` bytes.
pub fn check(apps: &[App], payload_max: u64) -> Result<(), AppError> {
    let mut ids = HashSet::new();
    let mut keys: HashMap<&str, &str> = HashMap::new();
    for app in apps {
        let fault = |why| AppError { id: app.id.clone(), why };
        check_credentials(app).map_err(fault)?;
        check_settings(app).map_err(fault)?;
        // The default is not refused: who lowers --max-lag does not have to know of apps.
        let len_max = payload_max.max(App::MAX_EVENT as u64);
        if app.max_event as u64 > len_max {
            return Err(fault(AppFault::EventTooLong { len_max }));
        }
        if !ids.insert(&app.id) {
            return Err(fault(AppFault::SameId));
        }
        if let Some(other) = keys.insert(&app.key, &app.id) {
            return Err(fault(AppFault::SameKey { other: other.to_owned() }));
        }
    }
    Ok(())
}

fn check_credentials(app: &App) -> Result<(), AppFault> {
    let is_number = !app.id.is_empty() && app.id.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || app.id.len() > ID_LEN_MAX || app.id.starts_with('0') && app.id != "0" {
        return Err(AppFault::Id);
    }
    let is_dots = app.key == "." || app.key == "..";
    if !is_credential(&app.key) || is_dots || app.key.contains(|c| NOT_IN_PATHS.contains(c)) {
        return Err(AppFault::Key);
    }
    if app.secrets.is_empty() {
        return Err(AppFault::NoSecret);
    }
    match app.secrets.iter().all(|secret| is_credential(secret)) {
        true => Ok(()),
        false => Err(AppFault::Secret),
    }
}

/// Whether a text can be a key or a secret.
fn is_credential(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_graphic())
        && !text.contains(|c| SEPARATORS.contains(c))
}

fn check_settings(app: &App) -> Result<(), AppFault> {
    let limits = [
        ("max-connections", app.max_connections == Some(0)),
        ("max-channels", app.max_channels == 0),
        ("max-event", app.max_event == 0),
        ("max-members", app.max_members == 0),
        ("max-user-info", app.max_user_info == 0),
        ("authorized-within", app.authorized_within.is_some_and(|time| time.is_zero())),
    ];
    if let Some((key, _)) = limits.into_iter().find(|(_, is_zero)| *is_zero) {
        return Err(AppFault::Zero(key));
    }
    if app.encrypted_client_events && !app.client_events {
        return Err(AppFault::EncryptedWithoutClientEvents);
    }
    let is_sent = |origin: &&String| normalise(origin).as_ref() == Ok(*origin);
    if let Some(origin) = app.allow_origin.iter().find(|origin| !is_sent(origin)) {
        return Err(AppFault::Origin(origin.clone()));
    }
    match app.webhooks.iter().find(|webhook| !is_url(&webhook.url) || lacks_tls(&webhook.url)) {
        Some(webhook) => Err(AppFault::WebhookUrl(webhook.url.clone())),
        None => Ok(()),
    }
}

/// A setting of an app that is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppError {
    /// The identifier of the app, as it was given.
    pub id: String,
    /// What is wrong.
    pub why: AppFault,
}

/// What is wrong with a setting of an app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AppFault {
    /// An identifier that server libraries do not accept.
    Id,
    /// Two apps with the same identifier.
    SameId,
    /// A key that cannot stand where clients put it.
    Key,
    /// Another app, with the identifier `other`, has the same key.
    SameKey {
        /// The identifier of that app.
        other: String,
    },
    /// No secret.
    NoSecret,
    /// A secret that cannot stand where libraries put it.
    Secret,
    /// A limit or time of zero, by its key.
    Zero(&'static str),
    /// A longer payload than the server can deliver.
    EventTooLong {
        /// The longest, in bytes.
        len_max: u64,
    },
    /// Client events in encrypted channels, but not in others.
    EncryptedWithoutClientEvents,
    /// An origin that no browser sends, or not in this form.
    Origin(String),
    /// A URL that webhooks cannot be posted to.
    WebhookUrl(String),
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = &self.id;
        match &self.why {
            AppFault::Id
            | AppFault::SameId
            | AppFault::Key
            | AppFault::SameKey { .. }
            | AppFault::NoSecret
            | AppFault::Secret => write!(f, "--app or [[app]] {id:?}: {}", self.why),
            AppFault::Zero(_)
            | AppFault::EventTooLong { .. }
            | AppFault::EncryptedWithoutClientEvents
            | AppFault::Origin(_)
            | AppFault::WebhookUrl(_) => write!(f, "[[app]] {id:?}: {}", self.why),
        }
    }
}

impl fmt::Display for AppFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id => write!(
                f,
                "id: server libraries accept digits only. Give 1 to {ID_LEN_MAX} of them, without zeros before the \
                 first, such as --app 1:KEY:SECRET or id = \"1\""
            ),
            Self::SameId => f.write_str("id: another app has it too. Give each app an id of its own"),
            Self::Key => write!(
                f,
                "key: give one of visible ASCII characters without any of {SEPARATORS}{NOT_IN_PATHS}, such as the output \
                 of `openssl rand -hex 10`"
            ),
            Self::SameKey { other } => {
                write!(f, "key: app {other:?} has it too. Give each app a key of its own")
            }
            Self::NoSecret => f.write_str("secret: without one nothing can be verified. Give at least one"),
            Self::Secret => write!(
                f,
                "secret: give one of visible ASCII characters without any of {SEPARATORS}, such as the output of \
                 `openssl rand -hex 20`"
            ),
            Self::Zero(key) => write!(f, "{key}: 0 would refuse every client. Give a value above 0"),
            Self::EventTooLong { len_max } => write!(
                f,
                "max-event: --max-message and --max-lag allow {len_max} bytes. Give no more than that, or raise them"
            ),
            Self::EncryptedWithoutClientEvents => f.write_str(
                "encrypted-client-events: client events are off. Add client-events = true, or leave it out",
            ),
            Self::Origin(given) => match normalise(given) {
                Ok(sent) => write!(f, "allow-origin: browsers send {given} as {sent}; give that"),
                Err(no_origin) => write!(f, "allow-origin {given:?}: {no_origin}"),
            },
            Self::WebhookUrl(url) if lacks_tls(url) => write!(
                f,
                "webhooks: {url}: this program was built without TLS. Build it with the cargo feature `tls`, which is on by \
                 default, or give an http:// URL"
            ),
            Self::WebhookUrl(url) => write!(
                f,
                "webhooks: {url:?}: give a URL such as http://127.0.0.1:9000/pusher: a host, perhaps a port and a path, \
                 without a user and a fragment"
            ),
        }
    }
}

#[cfg(test)]
#[path = "apps_tests.rs"]
mod tests;
