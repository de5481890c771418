//! Poor ground to run on: no permissions, no room. Works as root and as anyone else.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::support::Site;

/// A command that is bound by the permissions of files, as root too: without its capabilities, root
/// is a user like any other.
pub(crate) fn without_rights(command: Command) -> Command {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if root {
        wrap(&["setpriv", "--bounding-set", "-all", "--"], command)
    } else {
        command
    }
}

/// A disk that is soon full.
#[derive(Debug)]
pub(crate) struct Disk {
    kib: u32,
    way: Way,
}

/// What this machine allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// A small file system in a mount namespace of the command's own: the real thing.
    Mount,
    /// The same, in a user namespace.
    MountAsUser,
    /// No namespaces (most containers): no file may grow beyond the size. It shows what becomes of
    /// a failing write, but under another name of the system's.
    FileSize,
}

impl Disk {
    /// A disk of so many KiB.
    pub(crate) fn of_kib(kib: u32) -> Self {
        static WAY: OnceLock<Way> = OnceLock::new();
        let way = *WAY.get_or_init(|| {
            let works = |way: Way| {
                let mut unshare = Command::new("unshare");
                unshare
                    .args(way.unshare())
                    .args(["sh", "-c", "mount -t tmpfs none /tmp"]);
                let status = unshare.stdout(Stdio::null()).stderr(Stdio::null()).status();
                status.is_ok_and(|status| status.success())
            };
            let ways = [Way::Mount, Way::MountAsUser];
            ways.into_iter()
                .find(|way| works(*way))
                .unwrap_or(Way::FileSize)
        });
        Self { kib, way }
    }

    /// The command with such a disk at `directory` of the site, and the file that tells afterwards
    /// which files it left there.
    pub(crate) fn around(
        &self,
        site: &Site,
        directory: &Path,
        command: Command,
    ) -> (Command, PathBuf) {
        let listing = site.path("listing.txt");
        let (script, size) = match self.way {
            Way::Mount | Way::MountAsUser => (
                "mount -t tmpfs -o size=${2}k none \"$1\" || exit 99",
                self.kib,
            ),
            // In blocks of 512 bytes.
            Way::FileSize => ("trap '' XFSZ; ulimit -f $2", self.kib * 2),
        };
        let script = format!(
            "{script}; mkdir -p \"$1/tmp\"; directory=$1; listing=$3; shift 3; \"$@\"; code=$?
             cd \"$directory\" && find . -type f > \"$listing\"; exit $code"
        );
        let (size, directory) = (size.to_string(), site.path(directory));
        let shell = ["sh", "-c", &script, "sh"];
        let about = [path(&directory), &size, path(&listing)];
        let unshare: Vec<&str> = match self.way {
            Way::FileSize => Vec::new(),
            way => [&["unshare"], way.unshare()].concat(),
        };
        (
            wrap(&[unshare.as_slice(), &shell, &about].concat(), command),
            listing,
        )
    }

    /// What the system says.
    pub(crate) fn reason(&self) -> &'static str {
        match self.way {
            Way::FileSize => "caused by: ",
            _ if self.kib < 512 => "disk", // SQLite's words, of which there are several.
            _ => "caused by: No space left on device (os error 28)\n",
        }
    }

    /// The hint of a file that can't be written.
    pub(crate) fn hint(&self) -> &'static str {
        match self.way {
            Way::FileSize => "error:",
            _ => "hint: free some space, then run the same command again\n",
        }
    }
}

impl Way {
    fn unshare(self) -> &'static [&'static str] {
        match self {
            Self::Mount | Self::FileSize => &["--mount"],
            Self::MountAsUser => &["--map-root-user", "--mount"],
        }
    }
}

fn path(path: &Path) -> &str {
    path.to_str()
        .expect("a temporary directory has a plain name")
}

/// `command` as the last arguments of another one, in the same directory and environment.
fn wrap(outer: &[&str], command: Command) -> Command {
    let mut wrapped = Command::new(outer[0]);
    wrapped
        .args(&outer[1..])
        .arg(command.get_program())
        .args(command.get_args());
    if let Some(directory) = command.get_current_dir() {
        wrapped.current_dir(directory);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(name, value),
            None => wrapped.env_remove(name),
        };
    }
    wrapped.stdin(Stdio::null());
    wrapped
}
