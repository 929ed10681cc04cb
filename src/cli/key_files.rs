//! The files that `--publish-keys` and `--token-key` name.
//!
//! How tables of keys look is in `key_table`, what a file of token keys may hold in `token`.

use std::path::{Path, PathBuf};

use fanfare::config::AccessKey;
use fanfare::token::{KeyFiles, Keys};

use super::bounded::Reader;
use super::key_table;

/// What was in the files.
#[derive(Default)]
pub struct KeysRead {
    /// The keys of `--publish-keys`.
    pub keys: Vec<AccessKey>,
    /// The keys that sign tokens.
    pub token_keys: Keys,
    /// A sentence on each key of a JWK set that no token can be signed by.
    pub passed_over: Vec<String>,
    /// What reads the files again.
    pub reader: Reader,
}

/// Reads both.
///
/// # Errors
/// Names the flag, the file and the remedy.
pub fn read(
    mut reader: Reader,
    publish_keys: Option<&Path>,
    token_keys: &[PathBuf],
) -> Result<KeysRead, String> {
    let keys = publish_keys.map(|path| {
        let keys = reader.text_of(path).and_then(|text| key_table::parse_file(&text));
        keys.map_err(|what| format!("--publish-keys {}: {what}", path.display()))
    });
    let keys = keys.transpose()?;
    let KeyFiles { keys: token_keys, passed_over } = read_token_keys(&mut reader, token_keys)?;
    Ok(KeysRead { keys: keys.unwrap_or_default(), token_keys, passed_over, reader })
}

fn read_token_keys(reader: &mut Reader, paths: &[PathBuf]) -> Result<KeyFiles, String> {
    let read = paths.iter().map(|path| {
        let bytes =
            reader.bytes_of(path).map_err(|what| format!("--token-key {}: {what}", path.display()))?;
        Ok((path.to_string_lossy(), bytes))
    });
    let files = read.collect::<Result<Vec<_>, String>>()?;
    let files = files.iter().map(|(path, bytes)| (path.as_ref(), bytes.as_slice()));
    KeyFiles::read(files).map_err(|error| format!("--token-key {error}"))
}
