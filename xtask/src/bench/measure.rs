//! What a process costs.

use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::process::shown;

/// What a process took from its start to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Usage {
    /// On the clock.
    pub(super) wall: Duration,
    /// Of all cores, in the process and in the kernel for it.
    pub(super) cpu: Duration,
    /// The most memory that it held, in bytes.
    pub(super) peak: u64,
}

/// Runs a command in silence and tells what it took; what it wrote to stderr is shown.
pub(super) fn measure(command: &mut Command) -> Result<Usage> {
    let shown = shown(command);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let (status, usage) = ended(command)?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(usage)
}

/// Runs a command and tells how it ended and what it took, with the children that it has waited for.
pub(super) fn ended(command: &mut Command) -> Result<(ExitStatus, Usage)> {
    let began = Instant::now();
    let child = command
        .spawn()
        .with_context(|| format!("`{}` could not be started", shown(command)))?;
    let (status, resources) = wait(child.id()).context("a process could not be waited for")?;
    let usage = Usage {
        wall: began.elapsed(),
        cpu: duration(resources.ru_utime) + duration(resources.ru_stime),
        // Linux counts it in KiB.
        peak: u64::try_from(resources.ru_maxrss).unwrap_or_default() * 1024,
    };
    Ok((status, usage))
}

/// Waits for a child of ours that nobody else waits for: its status, and what it used.
#[expect(
    unsafe_code,
    reason = "the standard library doesn't tell what a child used"
)]
fn wait(child: u32) -> io::Result<(ExitStatus, libc::rusage)> {
    let child = libc::pid_t::try_from(child).map_err(io::Error::other)?;
    let mut status = 0;
    let mut resources = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to values of ours that outlive the call.
        let ended = unsafe { libc::wait4(child, &raw mut status, 0, resources.as_mut_ptr()) };
        if ended == child {
            // SAFETY: all of it are integers, for which zero is a value, and `wait4` has set them.
            let resources = unsafe { resources.assume_init() };
            return Ok((ExitStatus::from_raw(status), resources));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    let micros = u64::try_from(time.tv_usec).unwrap_or_default();
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

/// The value in the middle; of an even number, the upper one of the two.
pub(super) fn median<T: Ord + Copy>(values: impl IntoIterator<Item = T>) -> Option<T> {
    let mut values: Vec<T> = values.into_iter().collect();
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
