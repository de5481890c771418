//! The files of a state's directory: their permissions, and whether they still are what was opened.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tidegate_core::{Error, Result};

/// Makes a directory that only its owner can enter; one that is there is left as it is.
pub(super) fn make_directory(directory: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(0o700).create(directory)
}

/// Makes an empty database that only its owner can read, if there is none.
///
/// A database that may be in use must not be opened here: closing any of a process's files of it
/// frees the locks that SQLite has on it. So it comes to its name after it was closed.
pub(super) fn make_database(path: &Path) {
    let Some(directory) = path.parent().filter(|_| !path.exists()) else {
        return;
    };
    // Where that isn't possible, SQLite makes it, or says why it can't.
    if let Ok(file) = tempfile::NamedTempFile::new_in(directory) {
        let _ = file.into_temp_path().persist_noclobber(path);
    }
}

/// Takes the permissions to a file from all but its owner. Where this can't be done (it is somebody
/// else's, or the file system has no permissions), they stay.
pub(super) fn make_private(path: &Path) {
    let Ok(found) = fs::metadata(path) else {
        return;
    };
    let mode = found.permissions().mode();
    if mode & 0o077 != 0 {
        let _ = fs::set_permissions(path, Permissions::from_mode(mode & 0o700));
    }
}

/// Opens a lock file, and makes it if it isn't there.
pub(super) fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).read(true).write(true);
    let file = options.mode(0o600).open(path)?;
    make_private(path);
    Ok(file)
}

/// A file that was opened, to be found again by its name.
#[derive(Debug)]
pub(super) struct Opened {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl Opened {
    /// The file that is at `path` now.
    pub(super) fn at(path: &Path) -> io::Result<Self> {
        Self::with(path, &fs::metadata(path)?)
    }

    fn with(path: &Path, metadata: &Metadata) -> io::Result<Self> {
        Ok(Self {
            path: std::path::absolute(path)?,
            identity: (metadata.dev(), metadata.ino()),
        })
    }

    /// Fails with `Conflict` if another file has the name now, or none: what is written to the one
    /// that is open would be found by nobody.
    pub(super) fn check(&self) -> Result<()> {
        match fs::metadata(&self.path) {
            Ok(found) if (found.dev(), found.ino()) == self.identity => return Ok(()),
            Err(error)
                if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Err(Error::io("the state's files can't be looked at", error)
                    .with("path", self.path.display()));
            }
            _ => {}
        }
        Err(
            Error::conflict("the state's directory was removed or replaced while the pipeline ran")
                .with("path", self.path.display())
                .hint(
                    "put the directory back as it was, then run the same command again; without it \
                     the pipeline is a new one, which reads everything again",
                ),
        )
    }
}

/// What a lock file says of the database: how many changes it had when one was last answered. A
/// database with fewer has lost some.
///
/// ```text
/// 20 digits, a blank, 16 hex digits of their SHA-256, a line end
/// ```
///
/// So short that it is written whole or not at all. It is written through a file of its own: a
/// thread that a dropped run left writing must not keep the lock.
#[derive(Debug)]
pub(super) struct Witness {
    opened: Opened,
    file: File,
}

impl Witness {
    /// That of a lock file that is open at `path`.
    pub(super) fn of(path: &Path, lock: &File) -> io::Result<Self> {
        let opened = Opened::with(path, &lock.metadata()?)?;
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Self { opened, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.opened.path
    }

    /// See [`Opened::check`].
    pub(super) fn check(&self) -> Result<()> {
        self.opened.check()
    }

    /// How many changes there were. `None`: it isn't known, because only an earlier version has
    /// locked the file, or because it was damaged.
    pub(super) fn changes(&self) -> Result<Option<u64>> {
        let mut bytes = Vec::new();
        let mut chunk = [0; 64];
        // One byte more than a line: what is longer isn't one.
        while bytes.len() <= LINE {
            let read = self.file.read_at(&mut chunk, bytes.len() as u64);
            match read {
                Ok(0) => break,
                Ok(count) => bytes.extend_from_slice(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Error::io("the pipeline's lock file can't be read", error)
                        .with("path", self.path().display()));
                }
            }
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let digits = text.split(' ').next().unwrap_or_default();
        let changes = digits.parse().ok().filter(|&changes| line(changes) == text);
        if changes.is_none() {
            tracing::warn!(
                path = %self.path().display(),
                "the pipeline's lock file is damaged: whether state.db is as the last run left it can't be told"
            );
        }
        Ok(changes)
    }

    /// Says durably how many changes there are.
    pub(super) fn write(&self, changes: u64) -> Result<()> {
        let line = line(changes);
        let written = self.file.write_all_at(line.as_bytes(), 0);
        written
            .and_then(|()| self.file.sync_data())
            .map_err(|error| {
                Error::io("the pipeline's lock file can't be written", error)
                    .with("path", self.path().display())
            })
    }
}

/// The bytes of a line.
const LINE: usize = 38;

fn line(changes: u64) -> String {
    let mut line = format!("{changes:020} ");
    for byte in Sha256::digest(line.as_bytes()).iter().take(8) {
        line.push_str(&format!("{byte:02x}"));
    }
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_says_what_was_written_last_and_nothing_where_it_was_damaged() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("p");
        let witness = Witness::of(&path, &open_lock(&path).unwrap()).unwrap();
        assert_eq!(witness.changes().unwrap(), None);
        for changes in [1, u64::MAX, 7] {
            witness.write(changes).unwrap();
            assert_eq!(witness.changes().unwrap(), Some(changes));
        }
        let whole = fs::read(&path).unwrap();
        assert_eq!(whole.len(), LINE);
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&path, &bytes).unwrap();
            assert_eq!(witness.changes().unwrap(), None, "byte {at}");
        }
        fs::write(&path, [&whole[..], b"more"].concat()).unwrap();
        assert_eq!(witness.changes().unwrap(), None);
    }
}
