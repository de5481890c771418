//! How a CSV file is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use crate::{Compression, CsvHeader};

/// How CSV is read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvOptions {
    /// Whether the first record gives the columns' names. Columns are then found by name, in any
    /// order; without it, by position. Default: true.
    pub header: bool,
    /// What stands between two fields: one ASCII character. Default: `","`, of `.tsv` a tab; of a
    /// file that is read, what its first line says as `sep=;`, or the one of `;`, `|` and tab that its
    /// header has, if that has no comma.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// What encloses a field that has delimiters or newlines in it; inside, it is written twice.
    /// One ASCII character. Default: `"\""`.
    pub quote: char,
    /// The text that means NULL where it stands unquoted; a quoted one is that text. Default: the
    /// empty text.
    pub null: String,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            header: true,
            delimiter: None,
            quote: '"',
            null: String::new(),
        }
    }
}

/// The same, checked and as bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dialect {
    pub(crate) header: bool,
    pub(crate) delimiter: u8,
    /// Whether that was given, so that a file doesn't say otherwise.
    pub(crate) delimited: bool,
    pub(crate) quote: u8,
    pub(crate) null: Vec<u8>,
}

impl Dialect {
    /// That of the file that has this header.
    pub(crate) fn of(&self, header: &CsvHeader) -> Self {
        Self {
            delimiter: header.delimiter(),
            ..self.clone()
        }
    }
}

impl CsvOptions {
    /// The same for a file of this name: where no delimiter is given, that of `.tsv` is a tab.
    ///
    /// ```
    /// use tidegate_formats::CsvOptions;
    /// let csv = CsvOptions::default();
    /// assert_eq!(csv.named("a.tsv.gz").delimiter, Some('\t'));
    /// assert_eq!(csv.named("a.csv").delimiter, None);
    /// ```
    #[must_use]
    pub fn named(&self, path: &str) -> Self {
        let (stem, _) = Compression::split_path(path);
        let extension = stem.rsplit_once('.').map(|(_, extension)| extension);
        let tabs = extension.is_some_and(|extension| extension.eq_ignore_ascii_case("tsv"));
        Self {
            delimiter: self.delimiter.or(tabs.then_some('\t')),
            ..self.clone()
        }
    }

    /// Checks what the JSON Schema can't. Errors: `Config`.
    pub fn validate(&self) -> Result<()> {
        self.dialect().map(drop)
    }

    pub(crate) fn dialect(&self) -> Result<Dialect> {
        let byte = |key: &str, value: char| {
            u8::try_from(value)
                .ok()
                .filter(|byte| byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0))
                .ok_or_else(|| {
                    Error::config(format!("the CSV {key} {value:?} is not usable")).hint(
                        "use one ASCII character other than a newline, such as \",\" or \"\\t\"",
                    )
                })
        };
        let (delimiter, quote) = (
            byte("delimiter", self.delimiter.unwrap_or(','))?,
            byte("quote", self.quote)?,
        );
        if delimiter == quote {
            return Err(Error::config(format!(
                "the CSV delimiter and quote are both {:?}",
                self.quote
            )));
        }
        let special = |byte: &u8| [delimiter, quote, b'\n', b'\r'].contains(byte);
        if self.null.as_bytes().iter().any(special) {
            return Err(Error::config(format!(
                "the CSV null text {:?} has a delimiter, quote or newline in it",
                self.null
            )));
        }
        Ok(Dialect {
            header: self.header,
            delimiter,
            delimited: self.delimiter.is_some(),
            quote,
            null: self.null.clone().into_bytes(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_dialects_are_refused() {
        let usable = CsvOptions::default();
        assert!(usable.validate().is_ok());
        for bad in [
            CsvOptions {
                delimiter: Some('"'),
                ..usable.clone()
            },
            CsvOptions {
                delimiter: Some('→'),
                ..usable.clone()
            },
            CsvOptions {
                quote: '\n',
                ..usable.clone()
            },
            CsvOptions {
                null: "a,b".into(),
                ..usable.clone()
            },
        ] {
            assert!(bad.validate().is_err(), "{bad:?}");
        }
    }
}
