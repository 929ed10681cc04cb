//! The files that are built in: the pages and the client for pages, as they are and compressed.
//!
//! Which request gets them is decided in `handlers`.

use std::io::Write;
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::http::{Request, Response, Status};

const HTML: &str = "text/html; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";
// TypeScript has no media type, and `.mts` is known to many as video: a browser shows plain text.
const TYPESCRIPT: &str = "text/plain; charset=utf-8";

/// The page at `/`.
pub static HOME: BuiltIn = BuiltIn::new(HTML, include_str!("assets/home.html"));

/// The page of the server's figures.
pub static DASHBOARD: BuiltIn = BuiltIn::new(HTML, include_str!("assets/dashboard.html"));

/// The client as a plain script: `fanfare.js` without comments and with short names, as `tests/clients/minify.mjs` makes it.
pub static SCRIPT: BuiltIn = BuiltIn::new(JAVASCRIPT, include_str!("assets/fanfare.min.js"));

/// The client as an ES module: the script, and what makes a module of it. A module has no `document.currentScript`: where it
/// came from, it is told there.
pub static MODULE: BuiltIn = BuiltIn::new(
    JAVASCRIPT,
    concat!(include_str!("assets/fanfare.min.js"), include_str!("assets/fanfare.module.js")),
);

/// What a TypeScript program is told of the module.
pub static TYPES: BuiltIn = BuiltIn::new(TYPESCRIPT, include_str!("assets/fanfare.d.mts"));

/// A file of the binary.
#[derive(Debug)]
pub struct BuiltIn {
    content_type: &'static str,
    text: &'static str,
    /// Made when it is first asked for.
    gzip: OnceLock<Vec<u8>>,
}

impl BuiltIn {
    const fn new(content_type: &'static str, text: &'static str) -> Self {
        Self { content_type, text, gzip: OnceLock::new() }
    }

    /// The file, compressed for clients that accept gzip: a third of its bytes. Browsers revalidate their copy each
    /// time, since the file belongs to the version of the server.
    pub fn response(&self, request: &Request) -> Response {
        let response =
            Response::new(Status::OK).header("Cache-Control", "no-cache").header("Vary", "Accept-Encoding");
        // A token with a weight, `gzip;q=0` among them, does not count: every client takes the file as it is.
        if !request.has_token("accept-encoding", "gzip") {
            return response.body(self.content_type, self.text);
        }
        let gzip = self.gzip.get_or_init(|| compressed(self.text.as_bytes()));
        response.header("Content-Encoding", "gzip").body(self.content_type, gzip.clone())
    }
}

fn compressed(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    let written = encoder.write_all(text).and_then(|()| encoder.finish());
    written.expect("a vector takes every write")
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn a_file_comes_back_whole_from_what_it_is_compressed_to_and_that_is_less_than_half() {
        for file in [&HOME, &DASHBOARD, &SCRIPT, &MODULE, &TYPES] {
            let gzip = compressed(file.text.as_bytes());
            let mut text = String::new();
            GzDecoder::new(&gzip[..]).read_to_string(&mut text).unwrap();
            assert_eq!(text, file.text);
            assert!(gzip.len() < text.len() / 2, "{} of {}", gzip.len(), text.len());
        }
    }
}
