//! Files that flags name, read as a whole and no further than a bound.
//!
//! What is in them is not known here.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest file: many times the length of all flags with their rules and of all keys, and small enough to hold in memory.
/// A device that is named by mistake may have no end.
const FILE_LEN_MAX: u64 = 1024 * 1024;

/// What is in a file.
///
/// # Errors
/// It cannot be read, or is longer than the bound.
pub fn bytes_of(path: &Path) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > FILE_LEN_MAX {
        return Err(format!("it is longer than {FILE_LEN_MAX} bytes"));
    }
    Ok(bytes)
}

/// What is in a file of text.
///
/// # Errors
/// As [`bytes_of`]; also if it is not UTF-8.
pub fn text_of(path: &Path) -> Result<String, String> {
    text(bytes_of(path)?)
}

/// Whether a file can be read again: a pipe has no content any more, and opening it would wait for somebody to write.
pub fn is_regular(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// Reads files that are read again later. What was in those that can be read only once, such as pipes, is kept instead.
#[derive(Clone, Default)]
pub struct Reader {
    kept: Vec<(PathBuf, Vec<u8>)>,
    is_again: bool,
}

impl Reader {
    /// One that reads the same files again.
    pub fn again(&self) -> Self {
        Self { is_again: true, ..self.clone() }
    }

    /// What is in a file.
    ///
    /// # Errors
    /// As [`bytes_of`]; also if it was a regular file, and is one no more.
    pub fn bytes_of(&mut self, path: &Path) -> Result<Vec<u8>, String> {
        if let Some((_, bytes)) = self.kept.iter().find(|(kept, _)| kept == path) {
            return Ok(bytes.clone());
        }
        let is_regular = is_regular(path);
        if self.is_again && !is_regular {
            return Err("it is no regular file any more".into());
        }
        let bytes = bytes_of(path)?;
        if !is_regular {
            self.kept.push((path.to_owned(), bytes.clone()));
        }
        Ok(bytes)
    }

    /// What is in a file of text.
    ///
    /// # Errors
    /// As [`Reader::bytes_of`]; also if it is not UTF-8.
    pub fn text_of(&mut self, path: &Path) -> Result<String, String> {
        text(self.bytes_of(path)?)
    }
}

fn text(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8; write it as that".into())
}
