//! How a CSV file is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

/// How CSV is read and written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CsvOptions {
    /// Whether the first record gives the columns' names. Columns are then found by name, in any
    /// order; without it, by position. Default: true.
    pub header: bool,
    /// What stands between two fields: one ASCII character. Default: `","`.
    pub delimiter: char,
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
            delimiter: ',',
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
    pub(crate) quote: u8,
    pub(crate) null: Vec<u8>,
}

impl CsvOptions {
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
            byte("delimiter", self.delimiter)?,
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
                delimiter: '"',
                ..usable.clone()
            },
            CsvOptions {
                delimiter: '→',
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
