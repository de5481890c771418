//! What a check is, how it is run, and what a suite reports.

use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tidegate_core::{Error, ErrorKind, Result};

/// How long a check may take before it counts as failed.
pub(super) const DEADLINE: Duration = Duration::from_secs(120);

/// Why a check did not pass.
#[derive(Debug)]
pub(super) enum Fault {
    /// The component breaks the contract.
    Broken(String),
    /// The check doesn't apply to this component.
    Skipped(&'static str),
}

/// What a check comes to.
pub(super) type Outcome<T = ()> = Result<T, Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Broken(format!("{error:?}"))
    }
}

/// Ends a check as broken, with a formatted reason, unless the condition holds.
macro_rules! ensure {
    ($condition:expr, $($why:tt)+) => {
        if !$condition {
            return Err($crate::suites::check::Fault::Broken(format!($($why)+)));
        }
    };
}

/// Ends a check as broken, with a formatted reason.
macro_rules! fail {
    ($($why:tt)+) => {
        return Err($crate::suites::check::Fault::Broken(format!($($why)+)))
    };
}

/// Ends a check as not applying.
macro_rules! skip_if {
    ($condition:expr, $why:literal) => {
        if $condition {
            return Err($crate::suites::check::Fault::Skipped($why));
        }
    };
}

/// The table of a suite's checks: functions by their names.
macro_rules! checks {
    ($suite:ty: $($name:path),* $(,)?) => {
        const CHECKS: &[$crate::suites::check::Check<$suite>] = &[
            $((stringify!($name), |suite| Box::pin($name(suite)))),*
        ];
    };
}

pub(super) use {checks, ensure, fail, skip_if};

/// A named check of a suite.
pub(super) type Check<S> = (&'static str, fn(&S) -> BoxFuture<'_, Outcome>);

/// What a suite found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// The checks that passed.
    pub passed: Vec<&'static str>,
    /// The checks that don't apply to this component, and why.
    pub skipped: Vec<(&'static str, &'static str)>,
    /// The checks that failed.
    pub failed: Vec<Failure>,
}

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its name.
    pub check: &'static str,
    /// What the component did, and should have done.
    pub why: String,
}

impl Report {
    pub(super) async fn of<S>(suite: &S, checks: &[Check<S>]) -> Self {
        let mut report = Self::default();
        for (name, check) in checks {
            let name = name.rsplit("::").next().unwrap_or(name).trim();
            let run = AssertUnwindSafe(check(suite)).catch_unwind();
            let why = match tokio::time::timeout(DEADLINE, run).await {
                Ok(Ok(Ok(()))) => {
                    report.passed.push(name);
                    continue;
                }
                Ok(Ok(Err(Fault::Skipped(why)))) => {
                    report.skipped.push((name, why));
                    continue;
                }
                Ok(Ok(Err(Fault::Broken(why)))) => why,
                Ok(Err(panic)) => format!("it panicked: {}", message(&*panic)),
                Err(_) => format!("it was not done after {} s", DEADLINE.as_secs()),
            };
            report.failed.push(Failure { check: name, why });
        }
        report
    }

    /// The names of the checks that failed.
    pub fn failures(&self) -> Vec<&'static str> {
        self.failed.iter().map(|failure| failure.check).collect()
    }

    /// Panics, naming each check that failed and why.
    #[track_caller]
    pub fn assert(&self) {
        assert!(self.failed.is_empty(), "{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (passed, failed) = (self.passed.len(), self.failed.len());
        write!(f, "{passed} checks passed, {failed} failed")?;
        for failure in &self.failed {
            write!(f, "\n\n{}: {}", failure.check, failure.why)?;
        }
        Ok(())
    }
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}

/// A bad configuration and the error that it must give.
#[derive(Clone)]
pub(super) struct Refusal {
    what: String,
    kind: ErrorKind,
    attempt: Arc<dyn Fn() -> BoxFuture<'static, Result<()>> + Send + Sync>,
}

impl Refusal {
    pub(super) fn new<F, Fut>(what: &str, kind: ErrorKind, attempt: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<()>> + Send + 'static,
    {
        Self {
            what: what.to_owned(),
            kind,
            attempt: Arc::new(move || attempt().boxed()),
        }
    }

    /// Every one of them fails, with the kind that it must.
    pub(super) async fn check(refusals: &[Self]) -> Outcome {
        skip_if!(refusals.is_empty(), "no bad configurations were given");
        for Self {
            what,
            kind,
            attempt,
        } in refusals
        {
            match attempt().await {
                Ok(()) => fail!("{what}: it was accepted, not refused as {kind}"),
                Err(error) => ensure!(
                    std::mem::discriminant(&error.kind()) == std::mem::discriminant(kind),
                    "{what}: it was refused as {}, not as {kind}: {error:?}",
                    error.kind()
                ),
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refusal({}: {})", self.what, self.kind)
    }
}
