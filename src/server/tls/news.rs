//! What is told of certificates that were taken: for log lines.
//!
//! Nothing is read or logged here.

/// Certificates that replace others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNews {
    /// The names of each, and when it ends.
    pub summary: String,
    /// What is to be said of files that are right: ends that have passed, names that are listed twice.
    pub warnings: Vec<String>,
}
