//! The history limits of each channel, as configured.

use crate::config::{Config, Glob, by_channel};
use crate::hub::HistoryLimits;
use crate::server::clock::millis;

/// The rules of a configuration.
#[derive(Clone, Debug)]
pub struct Retention {
    count: Vec<(Glob, usize)>,
    bytes: Vec<(Glob, u64)>,
    age_ms: Vec<(Glob, u64)>,
}

impl Retention {
    /// The rules of a configuration.
    pub fn new(config: &Config) -> Self {
        let ages = config.history_age.iter();
        Self {
            count: config.history.clone(),
            bytes: config.history_bytes.clone(),
            age_ms: ages.map(|(glob, age)| (glob.clone(), millis(*age))).collect(),
        }
    }

    /// The limits of a channel.
    pub fn of(&self, channel: &str) -> HistoryLimits {
        HistoryLimits {
            count: by_channel(&self.count, channel).unwrap_or(Config::HISTORY),
            bytes: by_channel(&self.bytes, channel).unwrap_or(Config::HISTORY_BYTES),
            age_ms: by_channel(&self.age_ms, channel).unwrap_or(millis(Config::HISTORY_AGE)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_limit_has_the_first_glob_that_fits_or_its_default() {
        let history = vec![(Glob::new("chat*"), 7), (Glob::new("*"), 3)];
        let history_age = vec![(Glob::new("chat*"), Duration::from_secs(2))];
        let rules = Retention::new(&Config { history, history_age, ..Config::default() });
        let bytes = Config::HISTORY_BYTES;
        assert_eq!(rules.of("chat-1"), HistoryLimits { count: 7, bytes, age_ms: 2000 });
        assert_eq!(rules.of("news"), HistoryLimits { count: 3, bytes, age_ms: 300_000 });
    }
}
