//! What is said of a call that failed on its way: where TLS is why, the reason and the remedy instead of the library's words.
//!
//! Whether the call is made again is not decided here.

use std::fmt;
use std::io;

/// Why a call brought no answer. `Display` is for the log.
#[derive(Debug)]
pub enum Trouble {
    /// There was no answer in time.
    Timeout,
    /// There is no such host.
    HostNotFound,
    /// The system, or TLS, says why.
    Io(io::Error),
    /// The client says why: the answer is not HTTP, or too long.
    Client(Box<ureq::Error>),
}

impl From<ureq::Error> for Trouble {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => Self::Timeout,
            ureq::Error::HostNotFound => Self::HostNotFound,
            ureq::Error::Io(error) => Self::Io(error),
            other => Self::Client(Box::new(other)),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("it did not answer in time"),
            Self::HostNotFound => f.write_str("its host is not found"),
            Self::Io(error) => Words(error).fmt(f),
            Self::Client(error) => error.fmt(f),
        }
    }
}

/// An error of a connection, as it is told.
#[derive(Debug)]
pub struct Words<'a>(pub &'a io::Error);

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[cfg(feature = "tls")]
        if let Some(error) = self.0.get_ref().and_then(|error| error.downcast_ref()) {
            return tls::fmt(error, f);
        }
        self.0.fmt(f)
    }
}

#[cfg(feature = "tls")]
mod tls {
    use std::fmt;
    use std::time::{Duration, UNIX_EPOCH};

    use rustls::pki_types::UnixTime;
    use rustls::{AlertDescription, CertificateError, Error};

    pub fn fmt(error: &Error, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match error {
            Error::InvalidCertificate(why) => certificate(why, f),
            Error::InvalidMessage(_) => {
                f.write_str("it does not speak TLS there: is its URL http://, or its port another?")
            }
            Error::AlertReceived(AlertDescription::ProtocolVersion) => {
                f.write_str("it speaks neither TLS 1.2 nor 1.3")
            }
            Error::AlertReceived(alert) => write!(f, "it refuses TLS: {alert:?}"),
            other => write!(f, "TLS: {other}"),
        }
    }

    fn certificate(why: &CertificateError, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match why {
            CertificateError::UnknownIssuer => f.write_str(
                "its certificate is not signed by an authority that this machine trusts. Give that of the authority by \
                 --ca-file FILE; or the chain that it sends is not whole",
            ),
            CertificateError::ExpiredContext { not_after, .. } => {
                write!(f, "its certificate has expired on {}", date(*not_after))
            }
            CertificateError::Expired => f.write_str("its certificate has expired"),
            CertificateError::NotValidYetContext { not_before, .. } => {
                write!(f, "its certificate is valid from {} only", date(*not_before))
            }
            CertificateError::NotValidForNameContext { expected, presented } => {
                let expected = expected.to_str();
                write!(f, "its certificate is not for {expected}, but for {}", listed(presented))
            }
            CertificateError::NotValidForName => f.write_str("its certificate is for another name"),
            CertificateError::BadSignature => f.write_str(
                "its certificate is not signed by the authority that it names. That of --ca-file may be an older one of the \
                 same name",
            ),
            other => write!(f, "its certificate is refused: {other:?}"),
        }
    }

    /// As it is presented: `DnsName("a.test")`.
    fn listed(names: &[String]) -> String {
        let bare = |name: &String| match name.split_once("(\"").and_then(|(_, name)| name.strip_suffix("\")"))
        {
            Some(name) => name.to_owned(),
            None => name.clone(),
        };
        match names.len() {
            0 => "no name".into(),
            _ => names.iter().take(3).map(bare).collect::<Vec<_>>().join(", "),
        }
    }

    fn date(time: UnixTime) -> String {
        /// The last second that the form has digits for.
        const LAST_S: u64 = 253_402_300_799;
        let time = UNIX_EPOCH + Duration::from_secs(time.as_secs().min(LAST_S));
        humantime::format_rfc3339_seconds(time).to_string()
    }
}
