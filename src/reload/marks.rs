//! When files are to be read again: when they have changed, and stayed the same since the look before.
//!
//! What is in them, and how often they are looked at, is not known here.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What tells one state of a file from another, after following symbolic links: a link to another file is another file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mark {
    file: (u64, u64),
    len: u64,
    /// When it was written, in seconds and nanoseconds.
    modified: (i64, i64),
    /// When it was changed in any way, its permissions included.
    changed: (i64, i64),
}

/// The marks of files; none where there is no regular file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks(Vec<(PathBuf, Option<Mark>)>);

impl Marks {
    pub fn of<'a>(paths: impl Iterator<Item = &'a Path>) -> Self {
        Self(paths.map(|path| (path.to_owned(), Mark::of(path))).collect())
    }
}

impl Mark {
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok().filter(Metadata::is_file)?;
        Some(Self {
            file: (metadata.dev(), metadata.ino()),
            len: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        })
    }
}

/// What a look at the files comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// They are as they were when they were read.
    Same,
    /// They have changed since the look before: look again soon.
    Unsettled,
    /// They have changed, and stayed the same since the look before.
    Read,
}

/// The marks of files when they were read, and those of the look before if they differ.
pub struct Watch {
    read: Marks,
    unsettled: Option<Marks>,
}

impl Watch {
    /// They were read with these marks.
    pub fn new(read: Marks) -> Self {
        Self { read, unsettled: None }
    }

    /// Compares the marks of now.
    pub fn look(&mut self, marks: &Marks) -> Look {
        if *marks == self.read {
            self.unsettled = None;
            return Look::Same;
        }
        if self.unsettled.as_ref() == Some(marks) {
            return Look::Read;
        }
        self.unsettled = Some(marks.clone());
        Look::Unsettled
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn marks(path: &Path) -> Marks {
        Marks::of(std::iter::once(path))
    }

    /// A folder with a file, and the marks of the file.
    fn with_file() -> (tempfile::TempDir, PathBuf, Marks) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys.toml");
        fs::write(&path, "one").unwrap();
        let marks = marks(&path);
        (folder, path, marks)
    }

    #[test]
    fn files_that_stay_the_same_are_not_read() {
        let (_folder, path, first) = with_file();
        let mut watch = Watch::new(first);
        for _ in 0..3 {
            assert_eq!(watch.look(&marks(&path)), Look::Same);
        }
    }

    #[test]
    fn a_file_that_is_being_written_is_read_when_it_stays_the_same() {
        let (_folder, path, first) = with_file();
        let mut watch = Watch::new(first);
        for text in ["o", "on", "one and more"] {
            fs::write(&path, text).unwrap();
            assert_eq!(watch.look(&marks(&path)), Look::Unsettled);
        }
        assert_eq!(watch.look(&marks(&path)), Look::Read);
    }

    #[test]
    fn a_file_that_was_taken_away_and_put_back_is_not_read() {
        let (folder, path, first) = with_file();
        let mut watch = Watch::new(first.clone());
        assert_eq!(watch.look(&marks(&folder.path().join("other"))), Look::Unsettled);
        assert_eq!(watch.look(&first), Look::Same);
        fs::remove_file(path).unwrap();
        assert_eq!(watch.look(&Marks::default()), Look::Unsettled);
    }

    #[test]
    fn a_file_replaced_by_one_of_the_same_length_has_another_mark() {
        let (folder, path, first) = with_file();
        let other = folder.path().join("new");
        fs::write(&other, "two").unwrap();
        fs::rename(other, &path).unwrap();
        assert_ne!(marks(&path), first);
        fs::remove_file(&path).unwrap();
        assert_eq!(marks(&path).0[0].1, None);
    }

    #[test]
    fn a_link_that_is_swapped_has_another_mark() {
        let (folder, path, _) = with_file();
        let (other, link) = (folder.path().join("other"), folder.path().join("link"));
        fs::write(&other, "two").unwrap();
        symlink(&path, &link).unwrap();
        let first = marks(&link);
        let swapped = folder.path().join("swapped");
        symlink(&other, &swapped).unwrap();
        fs::rename(&swapped, &link).unwrap();
        assert_ne!(marks(&link), first);
    }
}
