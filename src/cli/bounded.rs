//! Files that flags name, read as a whole and no further than a bound.
//!
//! What is in them is not known here.

use std::fs::File;
use std::io::Read;
use std::path::Path;

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
    String::from_utf8(bytes_of(path)?).map_err(|_| "it is not UTF-8; write it as that".into())
}
