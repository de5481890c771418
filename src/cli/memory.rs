//! The process's own limit: what is computed from rows isn't bounded by `memory` everywhere (a
//! `repeat`, a page of a million fields), and a machine without memory ends other programs too.

use std::time::Duration;

use tidegate::Error;
use tidegate::core::ByteSize;

use super::args::Global;
use super::{errors, exit};

/// How often it is looked at: what is new has to be written first, at some GB a second.
const EVERY: Duration = Duration::from_millis(20);

/// Ends the process when it holds more than `limit`; what is committed stays. `raise` says how to allow
/// more. Where the system doesn't tell (only Linux does), nothing is done.
pub(crate) fn watch(global: &Global, limit: ByteSize, raise: &'static str) {
    let Some(_) = held() else { return };
    let global = global.clone();
    let watch = move || {
        loop {
            std::thread::sleep(EVERY);
            let held = held().unwrap_or_default();
            if held <= limit.0 {
                continue;
            }
            let error = Error::config("the process needs more memory than it may take")
                .with("held", ByteSize(held))
                .with("limit", limit)
                .hint(raise);
            errors::print(&global, &error, None);
            std::process::exit(i32::from(exit::FAILED));
        }
    };
    // Without it everything works as well.
    let _ = std::thread::Builder::new()
        .name("memory".to_owned())
        .spawn(watch);
}

/// Bytes in memory that belong to this process alone, without pages of files.
fn held() -> Option<u64> {
    let told = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = told
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1 << 10)
}
