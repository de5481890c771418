//! Errors of places, with what to do about them.

use std::io;
use std::path::Path;

use tidegate_core::Error;

/// An I/O error at a local path.
pub(crate) fn local(doing: &str, path: &Path, error: io::Error) -> Error {
    use io::ErrorKind as Io;
    let message = format!("can't {doing}");
    let kind = error.kind();
    let at = |error: Error| error.with("path", path.display());
    match kind {
        Io::IsADirectory => at(Error::config(message).because(error))
            .hint("there is a directory of this name; give a file's name, or another url"),
        Io::NotADirectory | Io::AlreadyExists => at(Error::config(message).because(error))
            .hint("part of this path is a file where a directory is needed"),
        Io::InvalidFilename => at(Error::config(message).because(error))
            .hint("the file system refuses this name; most allow 255 bytes"),
        _ => at(Error::io(message, error)),
    }
}

/// An error of `object_store` while reading or listing.
pub(crate) fn object(doing: &str, what: &str, error: object_store::Error) -> Error {
    use object_store::Error as Store;
    #[cfg(feature = "s3")]
    if what.starts_with("s3://") {
        return crate::s3::reading(doing, what, error);
    }
    let message = format!("can't {doing}");
    let error = match error {
        Store::NotFound { .. } => Error::not_found(message).because(error),
        Store::Precondition { .. } => Error::conflict("the file changed while it was being read")
            .hint(
                "files must not be changed once they are there; write a new file and rename it. \
                 `--restart` reads all files of the run anew: what it has committed stays, so that \
                 a sink that appends has those rows twice",
            )
            .because(error),
        Store::PermissionDenied { .. } | Store::Unauthenticated { .. } => Error::auth(message)
            .hint("check the permissions of the file and of its directory")
            .because(error),
        Store::InvalidPath { .. } => Error::config(message).because(error),
        Store::NotSupported { .. } => Error::config(message)
            .hint("write what it gives to a file, and read that")
            .because(error),
        other => match io_kind(&other) {
            Some(kind) => Error::io(message, io::Error::new(kind, other)),
            None => Error::internal(message).because(other),
        },
    };
    error.with("path", what)
}

/// Whether the process, or the machine, can't open more files.
pub(crate) fn out_of_files(error: &io::Error) -> bool {
    // ENFILE and EMFILE, which have no kind.
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

/// The operating system's kind of an error, if there is one in its chain.
fn io_kind(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Some(error.kind());
        }
        cause = error.source();
    }
    None
}
