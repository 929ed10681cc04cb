//! Whom calls trust, as one value that those who call share.
//!
//! In a build without the cargo feature `tls` it is empty, and `https://` URLs are refused by `Config::check`.

use std::path::Path;

use ureq::config::ConfigBuilder;
use ureq::typestate::AgentScope;

#[cfg(feature = "tls")]
use super::anchors::Anchors;
use super::ca_fault::CaFault;

/// The authorities that calls to `https://` URLs trust: those of the system (`SSL_CERT_FILE` and `SSL_CERT_DIR` replace
/// them), and those of `--ca-file`.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    #[cfg(feature = "tls")]
    anchors: std::sync::Arc<Anchors>,
}

impl Trust {
    /// Reads the file, if there is one.
    ///
    /// # Errors
    /// What is wrong with it.
    #[cfg(feature = "tls")]
    pub fn new(ca_file: Option<&Path>) -> Result<Self, CaFault> {
        Ok(Self { anchors: std::sync::Arc::new(Anchors::read(ca_file)?) })
    }

    /// Nothing to read: `Config::check` refuses a file.
    #[cfg(not(feature = "tls"))]
    pub fn new(_: Option<&Path>) -> Result<Self, CaFault> {
        Ok(Self {})
    }

    /// How a client speaks TLS that is no caller of URLs.
    #[cfg(feature = "tls")]
    pub fn client_config(&self) -> std::sync::Arc<rustls::ClientConfig> {
        self.anchors.client_config()
    }

    /// The settings of a client that calls this URL, with what TLS needs.
    pub fn apply(&self, settings: ConfigBuilder<AgentScope>, url: &str) -> ConfigBuilder<AgentScope> {
        #[cfg(feature = "tls")]
        if url.starts_with("https://") {
            return settings.tls_config(self.anchors.client_tls());
        }
        let _ = url; // of no use without TLS
        settings
    }
}
