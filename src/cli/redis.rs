//! The flags of Redis, by which several servers share their channels.
//!
//! Which values contradict each other is checked by `Config::check`.

use std::time::Duration;

use clap::{ArgAction, Args};

use super::values::parse_time;
use fanfare::config::{Redis, RedisAddress};

/// The flags under Redis.
#[derive(Args)]
pub struct RedisArgs {
    /// Share channels by this Redis
    ///
    /// All servers with the same Redis and prefix are one: a publication at one reaches the subscribers of all.
    /// redis://[USER:PASSWORD@]HOST[:6379][/DATABASE], rediss:// for TLS, or unix:/PATH[?db=DATABASE]; characters of a
    /// password that URLs or lists have are %2F and so on. One server, several of a cluster, or sentinels (?master=NAME).
    /// Repeatable. Redis 7.0 or later, or Valkey.
    #[arg(help_heading = "Redis", hide_env = true)]
    #[arg(long, value_name = "URL", env = "FANFARE_REDIS", hide_env_values = true, value_delimiter = ',')]
    redis: Vec<RedisAddress>,

    /// What keys begin with [default: fanfare]
    ///
    /// The first part of each key and channel in Redis. Two installations on one Redis take two prefixes.
    #[arg(help_heading = "Redis", hide_env = true)]
    #[arg(long, value_name = "TEXT", env = "FANFARE_REDIS_PREFIX")]
    redis_prefix: Option<String>,

    /// Time to an answer [default: 5s]
    ///
    /// How long connecting or one answer may take, and how long publishers and new subscribers are held while Redis is
    /// away.
    #[arg(help_heading = "Redis", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_REDIS_TIMEOUT", value_parser = parse_time)]
    redis_timeout: Option<Duration>,

    /// No gap after a failover or restart
    ///
    /// A promoted replica or a restarted server is believed to have every publication, and subscribers are told of no gap. What
    /// it has lost is not always told.
    #[arg(help_heading = "Redis", hide_env = true)]
    #[arg(long, env = "FANFARE_REDIS_TRUST_FAILOVER", action = ArgAction::SetTrue)]
    redis_trust_failover: bool,
}

impl RedisArgs {
    /// What clap cannot tell: a flag that does nothing without another one.
    pub fn fault(&self) -> Option<String> {
        let given = [
            ("--redis-prefix", self.redis_prefix.is_some()),
            ("--redis-timeout", self.redis_timeout.is_some()),
            ("--redis-trust-failover", self.redis_trust_failover),
        ];
        let (flag, _) = given.into_iter().find(|(_, is_given)| *is_given && self.redis.is_empty())?;
        Some(format!(
            "{flag} is for a Redis, and none is given. Add --redis URL, such as --redis redis://127.0.0.1:6379, or leave \
             {flag} out"
        ))
    }

    /// The values; none without an address.
    pub fn into_redis(self) -> Option<Redis> {
        let first = self.redis.first()?.clone();
        let default = Redis::new(first);
        Some(Redis {
            seeds: self.redis,
            prefix: self.redis_prefix.unwrap_or(default.prefix),
            timeout: self.redis_timeout.unwrap_or(default.timeout),
            trust_failover: self.redis_trust_failover,
        })
    }
}
