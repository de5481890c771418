//! Who holds a pipeline.

use std::collections::HashSet;
use std::fmt;
use std::fs;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// The process that holds a pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Holder {
    /// Tells this holding from any other.
    pub(super) id: Uuid,
    host: String,
    pid: u32,
    since: DateTime<Utc>,
    /// Where and when the process was started, as its kernel knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    origin: Option<Origin>,
}

/// A process of a Linux kernel: its number is given again only in another second of the same boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Origin {
    /// The kernel's boot, and the namespace that numbers are counted in.
    kernel: String,
    /// Clock ticks from the boot to the process's start.
    started: u64,
}

/// A holding of this process, for as long as this lives.
#[derive(Debug)]
pub(super) struct Holding(Holder);

/// What this process holds.
static HELD: LazyLock<Mutex<HashSet<Uuid>>> = LazyLock::new(Mutex::default);

fn held() -> MutexGuard<'static, HashSet<Uuid>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Holding {
    pub(super) fn new() -> Self {
        let holder = Holder::this();
        held().insert(holder.id);
        Self(holder)
    }

    pub(super) fn holder(&self) -> &Holder {
        &self.0
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        held().remove(&self.0.id);
    }
}

impl Holder {
    /// This process, from now on.
    fn this() -> Self {
        let pid = std::process::id();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let host = host.or_else(|| std::env::var("HOSTNAME").ok());
        Self {
            id: Uuid::new_v4(),
            host: host.map_or_else(|| "unknown".to_owned(), |name| name.trim().to_owned()),
            pid,
            since: Utc::now(),
            origin: kernel()
                .zip(started(pid))
                .map(|(kernel, started)| Origin { kernel, started }),
        }
    }

    /// Whether it is known to have ended: it ran under this very kernel, where it is no more, or it
    /// is this process, which has let go. What can't be told from here (another machine, another
    /// container) is taken to be alive.
    pub(super) fn has_ended(&self) -> bool {
        self.origin.as_ref().is_some_and(|origin| {
            kernel().is_some_and(|here| here == origin.kernel)
                && (started(self.pid) != Some(origin.started)
                    || (self.pid == std::process::id() && !held().contains(&self.id)))
        })
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = self.since.to_rfc3339_opts(SecondsFormat::Secs, true);
        write!(f, "process {} on {} since {since}", self.pid, self.host)
    }
}

fn kernel() -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let numbers = fs::read_link("/proc/self/ns/pid").ok()?;
    Some(format!("{} {}", boot.trim(), numbers.display()))
}

/// When a living process was started, in clock ticks after the boot (proc(5): the state is field 3
/// of `stat`, the start field 22, counted after the name in parentheses, which may hold anything).
fn started(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_has_ended_when_its_kernel_says_so() {
        let holding = Holding::new();
        let this = holding.holder().clone();
        assert!(!this.has_ended());

        let mut child = std::process::Command::new("sleep")
            .arg("600")
            .spawn()
            .unwrap();
        let mut of_child = Holder {
            pid: child.id(),
            ..this.clone()
        };
        of_child.origin.as_mut().unwrap().started = started(child.id()).unwrap();
        assert!(!of_child.has_ended());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(of_child.has_ended());

        let mut recycled = this.clone();
        recycled.origin.as_mut().unwrap().started -= 1;
        assert!(recycled.has_ended(), "another process has its number now");

        let mut elsewhere = of_child;
        elsewhere.origin.as_mut().unwrap().kernel = "another boot".to_owned();
        assert!(!elsewhere.has_ended(), "nothing is known of it");

        drop(holding);
        assert!(this.has_ended(), "this process has let go");
    }
}
