//! Where what doesn't fit in memory goes.

use std::fs::{self, File, TryLockError};
use std::path::Path;

use tidegate_core::{ByteSize, Error, Result};

const PREFIX: &str = "tidegate-";
/// Held by the process that works in the directory, and let go by the system when that process ends.
const LOCK: &str = "lock";
/// What is left free on the disk, whatever a pipeline may use, if it has 8 GiB or more.
const KEPT_FREE: u64 = 512 << 20;

/// A temporary directory for what doesn't fit in memory; gone when this is dropped. That of a process
/// that was killed is removed when the next one begins.
#[derive(Debug)]
pub struct Scratch {
    directory: tempfile::TempDir,
    _lock: File,
    room: u64,
}

impl Scratch {
    /// A new one under `TMPDIR`. At most `spill` bytes are to be written to it, and no more than leaves
    /// 512 MiB of a disk of at least 8 GiB free.
    ///
    /// Errors: `Io` if none can be made.
    pub fn new(spill: Option<ByteSize>) -> Result<Self> {
        let failed = |error| {
            Error::io("no temporary directory can be made", error)
                .with("path", std::env::temp_dir().display())
                .hint("set TMPDIR to a directory on a disk with room")
        };
        let directory = tempfile::Builder::new().prefix(PREFIX).tempdir();
        let directory = directory.map_err(failed)?;
        let lock = lock(directory.path()).map_err(failed)?;
        sweep(directory.path());
        let free = free(directory.path());
        Ok(Self {
            room: spill.map_or(free, |spill| spill.0.min(free)),
            directory,
            _lock: lock,
        })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// How many bytes may be written to it.
    pub fn room(&self) -> u64 {
        self.room
    }
}

/// A lock that is held before it has its name: nobody finds it free in between.
fn lock(directory: &Path) -> std::io::Result<File> {
    let begun = directory.join("lock.new");
    let file = File::create_new(&begun)?;
    file.lock()?;
    fs::rename(&begun, directory.join(LOCK))?;
    Ok(file)
}

/// Removes the directories beside `own` that belonged to processes of this user that are gone. What
/// can't be looked at or removed stays.
fn sweep(own: &Path) {
    let Some(entries) = own.parent().and_then(|parent| fs::read_dir(parent).ok()) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX) && path != own;
        if is_ours && is_left_over(&path) && fs::remove_dir_all(&path).is_ok() {
            let path = path.display();
            tracing::info!(%path, "the temporary directory of a process that is gone was removed");
        }
    }
}

fn is_left_over(directory: &Path) -> bool {
    let is_directory = |path: &Path| path.symlink_metadata().is_ok_and(|entry| entry.is_dir());
    let lock = directory.join(LOCK);
    let is_file = lock.symlink_metadata().is_ok_and(|entry| entry.is_file());
    if !is_directory(directory) || !is_file {
        return false;
    }
    // Only what its owner may write can be opened so.
    let Ok(file) = File::options().write(true).open(&lock) else {
        return false;
    };
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
    }
}

/// Bytes that may be taken of the disk of `path`; all, where the system doesn't say.
fn free(path: &Path) -> u64 {
    rustix::fs::statvfs(path).map_or(u64::MAX, |disk| {
        let size = disk.f_blocks.saturating_mul(disk.f_frsize);
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        // A disk that small is there for this, and says itself when it is full.
        match size < 16 * KEPT_FREE {
            true => u64::MAX,
            false => free.saturating_sub(KEPT_FREE),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_process_left_is_removed_and_what_is_in_use_stays() {
        let used = Scratch::new(None).unwrap();
        let left = used
            .path()
            .with_file_name(format!("{PREFIX}left-{}", std::process::id()));
        fs::create_dir(&left).unwrap();
        fs::write(left.join(LOCK), "").unwrap();
        fs::write(left.join("spilled"), "rows").unwrap();
        // Without a lock it is somebody else's, or just being made.
        let other = used
            .path()
            .with_file_name(format!("{PREFIX}other-{}", std::process::id()));
        fs::create_dir(&other).unwrap();

        let next = Scratch::new(None).unwrap();
        assert!(!left.exists());
        assert!(other.exists());
        assert!(used.path().exists() && next.path().exists());
        fs::remove_dir(&other).unwrap();
    }

    #[test]
    fn the_room_is_what_was_given_as_far_as_the_disk_has_it() {
        assert_eq!(Scratch::new(Some(ByteSize(1_000))).unwrap().room(), 1_000);
        let most = Scratch::new(None).unwrap().room();
        assert!(Scratch::new(Some(ByteSize(u64::MAX))).unwrap().room() <= most + (64 << 20));
    }
}
