//! What the exit codes mean.

use tidegate::{Error, ErrorKind, Report, Status};

/// Done.
pub(crate) const DONE: u8 = 0;
/// The run failed.
pub(crate) const FAILED: u8 = 1;
/// The arguments or the configuration are wrong.
pub(crate) const USAGE: u8 = 2;
/// Done, with more rejected rows than `rejected_limit`.
pub(crate) const REJECTED: u8 = 3;
/// Stopped; the next run resumes.
pub(crate) const STOPPED: u8 = 4;

/// The table for `--help`.
pub(crate) const HELP: &str = "\
Exit codes:
  0  done
  1  the run failed; the next one resumes from the last checkpoint
  2  the arguments or the configuration are wrong
  3  done, with more rejected rows than `rejected_limit`
  4  stopped (Ctrl-C, a quota is spent, or nobody reads the rows); the next run resumes";

/// The code of an error.
pub(crate) fn of_error(error: &Error) -> u8 {
    match error.kind() {
        ErrorKind::Config => USAGE,
        _ => FAILED,
    }
}

/// The code of a run that ended without an error.
pub(crate) fn of_report(report: &Report) -> u8 {
    match report.status {
        Status::Completed if report.rejected_over_limit => REJECTED,
        Status::Completed => DONE,
        Status::Stopped | Status::Abandoned => STOPPED,
        Status::Failed => FAILED,
    }
}
