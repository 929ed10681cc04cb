//! The files of certificates and keys: read again when they change and when a SIGHUP asks for it.
//!
//! They are checked and replaced by the server; which they are is said by `cli`.

use std::path::Path;

use fanfare::config::TlsPair;
use fanfare::server::Handle;

use super::marks::{Look, Marks, Watch};

/// The pairs, and what is known of their files.
pub struct Certificates {
    pairs: Vec<TlsPair>,
    handle: Handle,
    watch: Watch,
    /// Whether a fault was seen and not told, since whoever writes two files may be half-way through.
    is_untold: bool,
}

impl Certificates {
    /// Those of a server, which has read them.
    pub fn new(pairs: Vec<TlsPair>, handle: Handle) -> Self {
        // They are read once more, in case they have changed since then.
        Self { pairs, handle, watch: Watch::new(Marks::default()), is_untold: false }
    }

    /// Has the server take these, if they are others.
    pub fn take(&mut self, pairs: &[TlsPair]) {
        if self.pairs != pairs {
            self.pairs = pairs.to_vec();
            self.watch = Watch::new(self.marks());
            self.reload(false);
        }
    }

    /// Looks at the files, and reads them if they have changed or somebody has asked for it. A fault is told at once to whoever
    /// has asked, and otherwise when it is there at the next look too.
    pub fn look(&mut self, is_asked: bool) -> Look {
        if self.pairs.is_empty() {
            return Look::Same;
        }
        let marks = self.marks();
        let look = if is_asked { Look::Read } else { self.watch.look(&marks) };
        match look {
            Look::Same if self.is_untold => self.reload(false),
            Look::Same | Look::Unsettled => {}
            Look::Read => {
                self.watch = Watch::new(marks);
                let is_first_look = !is_asked && !self.is_untold;
                match is_first_look && self.handle.check_certificates(&self.pairs).is_err() {
                    true => self.is_untold = true,
                    false => self.reload(is_asked),
                }
            }
        }
        look
    }

    fn marks(&self) -> Marks {
        Marks::of(self.pairs.iter().flat_map(files))
    }

    fn reload(&mut self, is_asked: bool) {
        self.is_untold = false;
        match self.handle.reload_certificates(&self.pairs) {
            Ok(Some(news)) => {
                tracing::info!("reloaded certificates: {}", news.summary);
                news.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
            }
            Ok(None) if is_asked => tracing::info!("reloaded certificates: nothing has changed"),
            Ok(None) => {}
            Err(fault) => tracing::error!("certificates not reloaded, they stay as they are: {fault}"),
        }
    }
}

fn files(pair: &TlsPair) -> [&Path; 2] {
    [&pair.cert, &pair.key]
}
