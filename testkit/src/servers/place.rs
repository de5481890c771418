//! Where the test servers are installed. `xtask` compiles this file too, so that both agree; it
//! stands on nothing but the standard library.

use std::env;
use std::path::{Path, PathBuf};

/// The directory of the test servers: `$TIDEGATE_TEST_SERVERS`; else `.test-servers` in the workspace
/// if it is there; else `test-servers` in the [cache](`cache`), where a fresh clone finds them too.
pub(crate) fn root() -> PathBuf {
    if let Some(directory) = directory_of("TIDEGATE_TEST_SERVERS") {
        return directory;
    }
    let local = workspace().join(".test-servers");
    match cache() {
        Some(cache) if !local.exists() => cache.join("test-servers"),
        _ => local,
    }
}

/// What Tidegate's development keeps outside the clone: `tidegate` in `$XDG_CACHE_HOME` or
/// `~/.cache`; none for a user without a home.
pub(crate) fn cache() -> Option<PathBuf> {
    directory_of("XDG_CACHE_HOME")
        .or_else(|| directory_of("HOME").map(|home| home.join(".cache")))
        .map(|directory| directory.join("tidegate"))
}

/// The workspace: the directory that this file's crate lies in.
pub(crate) fn workspace() -> &'static Path {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package)
}

/// A variable that holds an absolute path.
fn directory_of(variable: &str) -> Option<PathBuf> {
    env::var_os(variable)
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
}
