//! The first error of an epoch's files, told to everyone who continues with it.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Arc, OnceLock};

use tidegate_core::Error;

#[derive(Debug, Default)]
pub(crate) struct Failure(OnceLock<Arc<Error>>);

impl Failure {
    pub(crate) fn tell(&self, error: Error) {
        // What comes after the first mostly follows from it.
        let _ = self.0.set(Arc::new(error));
    }

    pub(crate) fn is_told(&self) -> bool {
        self.0.get().is_some()
    }

    /// The error, as often as it is asked for.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let Some(first) = self.0.get() else {
            return Ok(());
        };
        let mut error = Error::new(first.kind(), first.message());
        for (key, value) in first.context() {
            error = error.with(key, value);
        }
        if let Some(hint) = first.hint_text() {
            error = error.hint(hint);
        }
        Err(match first.source() {
            Some(_) => error.because(Cause(Arc::clone(first))),
            None => error,
        })
    }
}

/// What caused the error.
#[derive(Debug)]
struct Cause(Arc<Error>);

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.source().map_or(Ok(()), |cause| write!(f, "{cause}"))
    }
}

impl StdError for Cause {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source().and_then(StdError::source)
    }
}
