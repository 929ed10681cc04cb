//! The flags of TLS, and the `[[tls]]` tables of the `--config` file.
//!
//! The files that they name are read by the server. Which values contradict each other is checked by `Config::check`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args};
use toml::Value;

use super::table::{Key, key, set_all, text};
use super::values::{parse_address, parse_time};
use fanfare::config::{Tls, TlsPair};

/// The key of the tables, which is no flag's name.
pub const TLS: &str = "tls";

/// The flag that the tables stand for: if the command line or the environment gives it, they do not count.
pub const TLS_CERT: &str = "tls-cert";

/// The flags whose values are taken anew when the files are read again, by their names.
pub const RELOADED: [&str; 2] = [TLS_CERT, "tls-key"];

/// The flags under TLS.
#[derive(Args)]
pub struct TlsArgs {
    /// Address for https:// and wss://
    ///
    /// Besides those of --listen, which are plain. It needs --tls-cert and --tls-key. Port 0 takes a free one. Repeatable.
    #[arg(help_heading = "TLS", hide_env = true)]
    #[arg(long, value_name = "ADDR", env = "FANFARE_TLS_LISTEN", value_delimiter = ',', value_parser = parse_address)]
    tls_listen: Vec<SocketAddr>,

    /// Certificate and its chain, PEM
    ///
    /// The server's certificate first, then those up to a root: certbot's fullchain.pem. Clients get the first certificate
    /// with the name that they ask for, otherwise the first of all. Repeatable, or [[tls]] tables with `cert` and `key` in
    /// --config FILE. Files are read again when they change and on SIGHUP, and nobody is disconnected.
    #[arg(help_heading = "TLS", hide_env = true)]
    #[arg(long, value_name = "FILE", env = "FANFARE_TLS_CERT", value_delimiter = ',')]
    tls_cert: Vec<PathBuf>,

    /// Its private key, PEM
    ///
    /// One for each --tls-cert, in the same order: certbot's privkey.pem. ECDSA P-256 takes a quarter of the processor time of
    /// RSA. Repeatable.
    #[arg(help_heading = "TLS", hide_env = true)]
    #[arg(long, value_name = "FILE", env = "FANFARE_TLS_KEY", value_delimiter = ',')]
    tls_key: Vec<PathBuf>,

    /// Send plain requests to https://
    ///
    /// The addresses of --listen answer 308 with the port of the first --tls-listen, to everything but /healthz and /readyz.
    /// WebSocket clients do not follow it.
    #[arg(help_heading = "TLS", hide_env = true)]
    #[arg(long, env = "FANFARE_REDIRECT_HTTPS", action = ArgAction::SetTrue)]
    redirect_https: bool,

    /// Send Strict-Transport-Security for
    ///
    /// Browsers that have seen it over TLS use nothing but https:// with this host for this time, whatever becomes of the
    /// server: begin with 5m. Without this flag it is not sent.
    #[arg(help_heading = "TLS", hide_env = true)]
    #[arg(long, value_name = "TIME", env = "FANFARE_HSTS", value_parser = parse_time)]
    hsts: Option<Duration>,

    /// Authorities that calls trust
    ///
    /// A PEM file. Calls of https:// URLs (--auth-url, --token-jwks, webhooks) trust these besides the authorities of the
    /// system, which SSL_CERT_FILE and SSL_CERT_DIR replace.
    #[arg(help_heading = "TLS", hide_env = true)]
    #[arg(long, value_name = "FILE", env = "FANFARE_CA_FILE")]
    pub ca_file: Option<PathBuf>,

    /// The pairs of the tables.
    #[arg(skip)]
    pub tables: Vec<TlsPair>,
}

impl TlsArgs {
    /// What clap cannot tell: certificates and keys that are not pairs.
    pub fn fault(&self) -> Option<String> {
        let (certs, keys) = (self.tls_cert.len(), self.tls_key.len());
        let (more, fewer) =
            if certs > keys { ("--tls-cert", "--tls-key") } else { ("--tls-key", "--tls-cert") };
        let times = |count: usize| match count {
            1 => "1 time".to_owned(),
            count => format!("{count} times"),
        };
        (certs != keys).then(|| {
            format!(
                "{more} is given {} and {fewer} {}. Give a --tls-key for each --tls-cert, in the same order",
                times(certs.max(keys)),
                times(certs.min(keys))
            )
        })
    }

    /// The certificates and keys of flags, before those of tables.
    pub fn pairs(&self) -> Vec<TlsPair> {
        let flags = self.tls_cert.iter().zip(&self.tls_key);
        let flags = flags.map(|(cert, key)| TlsPair { cert: cert.clone(), key: key.clone() });
        flags.chain(self.tables.iter().cloned()).collect()
    }

    /// The values.
    pub fn into_tls(self) -> Tls {
        let pairs = self.pairs();
        Tls { listen: self.tls_listen, pairs, redirect_https: self.redirect_https, hsts: self.hsts }
    }
}

/// The keys of a `[[tls]]` table.
const KEYS: [Key<TlsPair>; 2] = [
    key("cert", |pair, value| path(value).map(|path| pair.cert = path)),
    key("key", |pair, value| path(value).map(|path| pair.key = path)),
];

/// The pairs of the tables.
///
/// # Errors
/// Names the table, the key and the remedy.
pub fn parse_tables(value: &Value) -> Result<Vec<TlsPair>, String> {
    let Value::Array(tables) = value else {
        return Err("write the head of each pair's table in double brackets, [[tls]]".into());
    };
    tables.iter().enumerate().map(|(at, value)| parse_table(at, value)).collect()
}

fn parse_table(at: usize, value: &Value) -> Result<TlsPair, String> {
    let fail = |what: String| format!("[[tls]] number {}: {what}", at + 1);
    let Value::Table(table) = value else {
        return Err(fail("give a table with cert and key for each pair".into()));
    };
    let mut pair = TlsPair { cert: PathBuf::new(), key: PathBuf::new() };
    set_all(&mut pair, table, &KEYS).map_err(fail)?;
    match KEYS.iter().find(|key| !table.contains_key(key.name)) {
        Some(key) => Err(fail(format!("{}: missing; a pair has cert and key, each a PEM file", key.name))),
        None => Ok(pair),
    }
}

fn path(value: &Value) -> Result<PathBuf, String> {
    match text(value)? {
        path if path.is_empty() => Err("give the name of a file".into()),
        path => Ok(path.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::toml_text::parse_toml;

    fn parse(text: &str) -> Result<Vec<TlsPair>, String> {
        parse_tables(&parse_toml(text).unwrap()[TLS])
    }

    #[test]
    fn tables_are_pairs_in_their_order() {
        let pairs = parse("[[tls]]\ncert = 'a'\nkey = 'b'\n[[tls]]\nkey = 'd'\ncert = 'c'\n").unwrap();
        let pair = |cert: &str, key: &str| TlsPair { cert: cert.into(), key: key.into() };
        assert_eq!(pairs, [pair("a", "b"), pair("c", "d")]);
    }

    #[test]
    fn a_wrong_table_is_named_by_its_number_with_the_remedy() {
        for (text, words) in [
            ("[tls]\ncert = 'a'", "double brackets, [[tls]]"),
            ("tls = [1]", "[[tls]] number 1: give a table with cert and key"),
            ("[[tls]]\ncert = 'a'", "[[tls]] number 1: key: missing"),
            ("[[tls]]\ncert = 'a'\nkey = 'b'\n[[tls]]\nkey = 'a'", "[[tls]] number 2: cert: missing"),
            ("[[tls]]\ncert = 1\nkey = 'b'", "[[tls]] number 1: cert: give text in quotes"),
            ("[[tls]]\ncert = ''\nkey = 'b'", "[[tls]] number 1: cert: give the name of a file"),
            ("[[tls]]\ncrt = 'a'", "no key is called \"crt\"; the nearest is \"cert\" of cert, key"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(words), "{said}");
        }
    }
}
