//! Why a query didn't work, in Tidegate's words.

use aws_sdk_athena::types::QueryExecutionStatus;
use tidegate_core::{Error, ErrorKind};

/// A statement as Athena refused it, before running anything; `lines` is how many lines stood before
/// the user's text in what was sent.
pub(crate) fn refused(message: &str, lines: usize) -> Error {
    let error = Error::config(format!("Athena refuses the query: {message}"));
    let lower = message.to_lowercase();
    if lower.contains("output location") || lower.contains("outputlocation") {
        return error
            .with("key", "output")
            .hint("set `output = \"s3://my-bucket/athena-results\"`, there or under [athena]");
    }
    if lower.contains("workgroup") {
        return error.with("key", "workgroup");
    }
    at_place(error, message, lines)
}

/// What Athena says of an execution that has failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Failure {
    message: String,
    /// 1: system, 2: user, 3: other (API reference, `AthenaError`).
    category: Option<i32>,
    retryable: bool,
}

impl Failure {
    pub(crate) fn of(status: &QueryExecutionStatus) -> Self {
        let error = status.athena_error();
        let reason = status.state_change_reason().filter(|text| !text.is_empty());
        let message = reason.or_else(|| error.and_then(|error| error.error_message()));
        Self {
            message: message.unwrap_or("Athena gives no reason").to_owned(),
            category: error.and_then(|error| error.error_category()),
            retryable: error.is_some_and(|error| error.retryable()),
        }
    }

    /// The error; `lines` as in [`refused`].
    pub(crate) fn into_error(self, execution: &str, lines: usize) -> Error {
        let kind = self.kind();
        let error = Error::new(
            kind,
            format!("the query failed on Athena: {}", self.message),
        )
        .with("execution", execution);
        let error = match self.hint(kind) {
            Some(hint) => error.hint(hint),
            None => error,
        };
        match kind {
            ErrorKind::Config | ErrorKind::NotFound => at_place(error, &self.message, lines),
            _ => error,
        }
    }

    /// By what Athena says of trying again, then by Trino's name of the error, which begins the
    /// message (`TABLE_NOT_FOUND: line 1:15: …`; io.trino.spi.StandardErrorCode and HiveErrorCode).
    fn kind(&self) -> ErrorKind {
        if self.retryable {
            return ErrorKind::Transient;
        }
        let lower = self.message.to_lowercase();
        if [
            "access denied",
            "accessdenied",
            "not authorized",
            "permission",
        ]
        .iter()
        .any(|word| lower.contains(word))
        {
            return ErrorKind::Auth;
        }
        match self.name() {
            "TABLE_NOT_FOUND" | "SCHEMA_NOT_FOUND" | "CATALOG_NOT_FOUND" => ErrorKind::NotFound,
            name if name.starts_with("HIVE_") || name.starts_with("ICEBERG_") => ErrorKind::Data,
            "DIVISION_BY_ZERO" | "INVALID_CAST_ARGUMENT" | "NUMERIC_VALUE_OUT_OF_RANGE" => {
                ErrorKind::Data
            }
            _ if self.category == Some(1) => ErrorKind::Unsupported,
            _ => ErrorKind::Config,
        }
    }

    fn name(&self) -> &str {
        let word = self.message.split(':').next().unwrap_or_default();
        let is_name = |b: u8| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_';
        if word.bytes().all(is_name) { word } else { "" }
    }

    fn hint(&self, kind: ErrorKind) -> Option<&'static str> {
        match kind {
            ErrorKind::Auth => Some(
                "Athena reads the tables' files and writes its result with your permissions: both need \
                 S3 and Glue permissions",
            ),
            ErrorKind::NotFound => Some("is `database` set, and in the right region and catalog?"),
            ErrorKind::Unsupported => {
                Some("the query was too much for Athena: read fewer partitions, or join less")
            }
            _ => None,
        }
    }
}

/// Adds the place within the query that a message names: `line 1:15: …`.
fn at_place(error: Error, message: &str, lines: usize) -> Error {
    let error = error.with("key", "query");
    let place = message.split("line ").skip(1).find_map(|rest| {
        let (line, rest) = rest.split_once(':')?;
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        let column = &rest[..digits.unwrap_or(rest.len())];
        let line: usize = line.parse().ok()?;
        let column: usize = column.parse().ok()?;
        Some((line.checked_sub(lines).filter(|line| *line > 0)?, column))
    });
    match place {
        Some((line, column)) => error.with("line", line).with("column", column),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(message: &str, category: i32, retryable: bool) -> Error {
        let failure = Failure {
            message: message.to_owned(),
            category: Some(category),
            retryable,
        };
        failure.into_error("4711", 0)
    }

    #[test]
    fn what_athena_calls_retryable_is_transient() {
        let error = failure("INTERNAL_ERROR: try again", 1, true);
        assert_eq!(error.kind(), ErrorKind::Transient);
        assert!(error.to_string().contains("execution: 4711"), "{error}");
    }

    #[test]
    fn kinds_follow_the_name_of_the_error() {
        for (message, category, kind) in [
            (
                "SYNTAX_ERROR: line 1:8: Column 'x' cannot be resolved",
                2,
                ErrorKind::Config,
            ),
            (
                "TABLE_NOT_FOUND: line 1:15: Table 'a.b.c' does not exist",
                2,
                ErrorKind::NotFound,
            ),
            (
                "HIVE_BAD_DATA: Field x's type INT64 is incompatible",
                2,
                ErrorKind::Data,
            ),
            ("DIVISION_BY_ZERO: Division by zero", 2, ErrorKind::Data),
            (
                "Access denied when writing output to url",
                2,
                ErrorKind::Auth,
            ),
            (
                "Query exhausted resources at this scale factor",
                1,
                ErrorKind::Unsupported,
            ),
            ("something else", 3, ErrorKind::Config),
        ] {
            assert_eq!(failure(message, category, false).kind(), kind, "{message}");
        }
    }

    #[test]
    fn the_place_is_that_of_the_users_text() {
        let failure = Failure {
            message: "SYNTAX_ERROR: line 3:12: Column 'x' cannot be resolved".to_owned(),
            ..Failure::default()
        };
        let error = failure.into_error("4711", 1);
        let context: Vec<_> = error
            .context()
            .iter()
            .map(|(k, v)| (*k, v.as_str()))
            .collect();
        let place = [("key", "query"), ("line", "2"), ("column", "12")];
        assert_eq!(context[1..], place);
        let error = refused("line 1:1: mismatched input 'SELEC'", 0);
        assert!(
            error.context().contains(&("column", "1".to_owned())),
            "{error}"
        );
    }

    #[test]
    fn a_missing_output_says_which_key_to_set() {
        let error = refused(
            "No output location provided. An output location is required",
            0,
        );
        assert!(error.context().contains(&("key", "output".to_owned())));
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("[athena]"))
        );
    }
}
