//! The one error type, and the kinds by which the runtime decides what to do.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The result of everything in Tidegate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as the caller's next step depends on it.
///
/// One function in the runtime maps a kind to an action (retry, wait, fail); a connector only has
/// to choose the kind that is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorKind {
    /// The configuration can't work: the user must change it. Never retried.
    Config,
    /// Credentials are missing, wrong, expired or without the right. Never retried.
    Auth,
    /// The thing named doesn't exist (a file, a table, a bucket). Never retried.
    NotFound,
    /// Columns or types don't fit together. Never retried.
    Schema,
    /// A stream has got other columns, which its source says when it is opened again. What came
    /// since the last checkpoint is given up, and the run resumes from there with them, unless
    /// `on_schema_change = "fail"`.
    SchemaChanged,
    /// Data that can't be taken and can't be rejected row by row (a truncated gzip). Never retried.
    Data,
    /// The upstream asks for patience; retried after the wait, or after the usual backoff if none
    /// was told.
    RateLimited {
        /// How long the upstream asked us to wait.
        wait: Option<Duration>,
    },
    /// The upstream gives no more for a long time (a quota is spent), and the user doesn't want the
    /// run to wait. It stops the run, which is no failure. From [`Source::plan`](crate::Source::plan)
    /// and [`Source::read`](crate::Source::read): what was read up to the last positions is
    /// committed, and the next run resumes after it. From elsewhere: the next run resumes from the last checkpoint.
    Exhausted,
    /// May go away by itself (a lost connection, a 503). Retried with backoff.
    Transient,
    /// Someone else holds or changed what we need (a lease, a marker, a version). Never retried.
    Conflict,
    /// Asked for something that this component can't do. Never retried.
    Unsupported,
    /// A bug in Tidegate, or an invariant of a library broken. Never retried.
    Internal,
}

impl ErrorKind {
    /// The kind's name in logs and reports, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Auth => "auth",
            Self::NotFound => "not found",
            Self::Schema => "schema",
            Self::SchemaChanged => "schema changed",
            Self::Data => "data",
            Self::RateLimited { .. } => "rate limited",
            Self::Exhausted => "exhausted",
            Self::Transient => "transient",
            Self::Conflict => "conflict",
            Self::Unsupported => "unsupported",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// An error: a kind, one sentence, where it happened, what to do, and what caused it.
///
/// As data it keeps all of that; of its causes what they say.
///
/// ```
/// use tidegate_core::Error;
///
/// let error = Error::not_found("no such file")
///     .with("path", "/data/sales.csv")
///     .hint("paths are relative to the pipeline file");
/// assert_eq!(error.to_string(), "no such file (path: /data/sales.csv)");
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    context: Vec<(&'static str, String)>,
    hint: Option<String>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:expr;)*) => {$(
        $(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new($kind, message)
        }
    )*};
}

impl Error {
    /// An error of `kind` with one sentence that says what happened, lower case, without a period.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            kind,
            message: message.into(),
            context: Vec::new(),
            hint: None,
            source: None,
        }))
    }

    constructors! {
        /// An error of [`ErrorKind::Config`].
        config => ErrorKind::Config;
        /// An error of [`ErrorKind::Auth`].
        auth => ErrorKind::Auth;
        /// An error of [`ErrorKind::NotFound`].
        not_found => ErrorKind::NotFound;
        /// An error of [`ErrorKind::Schema`].
        schema => ErrorKind::Schema;
        /// An error of [`ErrorKind::Data`].
        data => ErrorKind::Data;
        /// An error of [`ErrorKind::Exhausted`].
        exhausted => ErrorKind::Exhausted;
        /// An error of [`ErrorKind::Transient`].
        transient => ErrorKind::Transient;
        /// An error of [`ErrorKind::Conflict`].
        conflict => ErrorKind::Conflict;
        /// An error of [`ErrorKind::Unsupported`].
        unsupported => ErrorKind::Unsupported;
        /// An error of [`ErrorKind::Internal`].
        internal => ErrorKind::Internal;
    }

    /// An error of [`ErrorKind::RateLimited`], with the wait if the upstream told one.
    pub fn rate_limited(message: impl Into<String>, wait: Option<Duration>) -> Self {
        Self::new(ErrorKind::RateLimited { wait }, message)
    }

    /// An I/O error, its kind taken from the operating system's.
    pub fn io(message: impl Into<String>, error: std::io::Error) -> Self {
        use std::io::ErrorKind as Io;
        if is_out_of_files(&error) {
            return Self::new(ErrorKind::Internal, message).because(error).hint(
                "raise the limit of open files (`ulimit -n`), then run the same command again",
            );
        }
        let (kind, hint) = match error.kind() {
            Io::NotFound => (ErrorKind::NotFound, None),
            Io::PermissionDenied | Io::ReadOnlyFilesystem => (
                ErrorKind::Auth,
                Some("check the permissions of the file and of its directory"),
            ),
            Io::StorageFull | Io::QuotaExceeded => (
                ErrorKind::Internal,
                Some("free some space, then run the same command again"),
            ),
            Io::InvalidData | Io::UnexpectedEof => (ErrorKind::Data, None),
            Io::ConnectionReset
            | Io::ConnectionAborted
            | Io::ConnectionRefused
            | Io::BrokenPipe
            | Io::TimedOut
            | Io::Interrupted => (ErrorKind::Transient, None),
            _ => (ErrorKind::Internal, None),
        };
        let error = Self::new(kind, message).because(error);
        match hint {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    /// Adds where it happened: `("path", "/data/sales.csv")`. Never put a secret here.
    ///
    /// In an error about a component's configuration, `("key", "query")` names the key that is to
    /// blame, and `("line", 3)`, `("column", 14)` a place within that key's text, from 1; the
    /// command line then shows that place of the pipeline file.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Sets what the user should do next: a sentence, shown after `hint:`.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Sets the cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence, without its context.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Where it happened, in the order in which it was added.
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }

    /// What to do next, if the error knows.
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)?;
        for (i, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if i == 0 { " (" } else { ", " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} error: {self}", self.0.kind)?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        if let Some(hint) = &self.0.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

/// Whether the process, or the machine, can't open more files. An error within another keeps only its
/// kind, and these have none.
fn is_out_of_files(error: &std::io::Error) -> bool {
    let first: &(dyn StdError + 'static) = error;
    let mut causes = std::iter::successors(Some(first), |&cause| cause.source());
    // ENFILE and EMFILE.
    cfg!(unix)
        && causes.any(|cause| {
            let error = cause.downcast_ref::<std::io::Error>();
            matches!(error.and_then(std::io::Error::raw_os_error), Some(23 | 24))
        })
}

/// An error as it crosses from one process to another.
#[derive(Serialize, Deserialize)]
struct Written<'a> {
    kind: ErrorKind,
    message: Cow<'a, str>,
    context: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    hint: Option<Cow<'a, str>>,
    /// What the causes say, each because of the next.
    causes: Vec<String>,
}

impl Serialize for Error {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let context = self.context().iter();
        let context = context.map(|(key, value)| ((*key).into(), value.into()));
        let causes = std::iter::successors(self.source(), |&cause| cause.source());
        Written {
            kind: self.0.kind,
            message: self.message().into(),
            context: context.collect(),
            hint: self.hint_text().map(Into::into),
            causes: causes.map(ToString::to_string).collect(),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Error {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let because = |cause: Option<Cause>, says: String| {
            let because = cause.map(Box::new);
            Some(Cause { says, because })
        };
        let context = written.context.into_iter();
        let context = context.map(|(key, value)| (known(&key), value.into_owned()));
        let cause = written.causes.into_iter().rev().fold(None, because);
        Ok(Self(Box::new(Inner {
            kind: written.kind,
            message: written.message.into_owned(),
            context: context.collect(),
            hint: written.hint.map(Cow::into_owned),
            source: cause.map(Into::into),
        })))
    }
}

/// A key of a context as code has it. Keys are literals there, so only few are ever kept.
fn known(key: &str) -> &'static str {
    static KEYS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut keys = KEYS.lock().unwrap_or_else(PoisonError::into_inner);
    match keys.get(key) {
        Some(known) => known,
        None => {
            let new: &'static str = Box::leak(key.to_owned().into_boxed_str());
            keys.insert(new);
            new
        }
    }
}

/// What a cause in another process said.
#[derive(Debug)]
struct Cause {
    says: String,
    because: Option<Box<Cause>>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.says)
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.because.as_deref().map(|cause| cause as _)
    }
}

impl From<arrow_schema::ArrowError> for Error {
    fn from(error: arrow_schema::ArrowError) -> Self {
        use arrow_schema::ArrowError as Arrow;
        match error {
            Arrow::SchemaError(message) => Self::schema(message),
            Arrow::ExternalError(source) => match source.downcast::<Self>() {
                Ok(error) => *error,
                Err(source) => Self::data("data could not be processed").because(source),
            },
            Arrow::IoError(message, error) => Self::io(message, error),
            Arrow::MemoryError(message) => Self::internal(message),
            other => Self::data("data could not be processed").because(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(unix)]
    fn a_limit_of_open_files_is_told_with_its_way_out() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("outer")
            }
        }
        impl StdError for Outer {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&self.0)
            }
        }
        for code in [23, 24] {
            let plain = std::io::Error::from_raw_os_error(code);
            let inner = std::io::Error::from_raw_os_error(code);
            let within = std::io::Error::new(inner.kind(), Outer(inner));
            for error in [plain, within] {
                let error = Error::io("can't make a file", error);
                assert_eq!(error.message(), "can't make a file");
                let hint = error.hint_text().unwrap_or_default();
                assert!(hint.contains("ulimit -n"), "{error:?}");
            }
        }
        let other = Error::io("can't make a file", std::io::Error::from_raw_os_error(5));
        assert_eq!(other.hint_text(), None);
    }

    #[test]
    fn an_error_is_the_same_when_it_was_written_and_read() {
        let cause = Error::data("no such field").because(std::io::Error::other("disk"));
        let wait = Some(Duration::from_millis(1500));
        let error = Error::rate_limited("too many requests", wait)
            .with("component", "shop")
            .with("status", 429)
            .hint("ask for more")
            .because(cause);
        let written = serde_json::to_string(&error).expect("an error is data");
        let read: Error = serde_json::from_str(&written).expect("the same error");
        assert_eq!(read.kind(), error.kind());
        assert_eq!(read.context(), error.context());
        assert_eq!(format!("{read:?}"), format!("{error:?}"));
    }
}
