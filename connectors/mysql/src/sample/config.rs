//! The loop as it stands in a pipeline file.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};
use tidegate_core::{Error, Result, Span};

/// A loop that never ends and gives one random row of each table in every round: live traffic,
/// emulated.
///
/// ```toml
/// sample = { every = "0s..2s", rows = 11000, seed = 100, same_row_in = ["pins", "places", "users"] }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sample {
    /// How long to wait before each round: `"1s"`; or `"0s..2s"`, for a wait that is drawn anew
    /// each time, evenly between the two. Default: `"0s..2s"`.
    pub every: Wait,

    /// How many rows of each table to draw from: the first ones, in the order of the table's key.
    /// A table without a key is numbered in the order in which the server reads it. In a round in
    /// which the drawn row isn't there, because the table has fewer rows, that table gives none.
    ///
    /// The server skips over the rows before the drawn one, so draws from far into a large table
    /// take it some time. Default: as many rows as the table has when the run begins; of the tables
    /// in `same_row_in`, as many as the smallest has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<NonZeroU64>,

    /// What the draws follow from. The same seed draws the same rows and waits, in every run and
    /// every version of Tidegate. Default: `0`.
    pub seed: u64,

    /// Tables that give the row of the same number in each round, so that rows which belong
    /// together come together. The other tables draw each its own. Default: none.
    pub same_row_in: Vec<String>,

    /// End after so many rounds. Default: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rounds: Option<NonZeroU64>,
}

impl Sample {
    /// Checks `same_row_in` against the tables that are read.
    ///
    /// Errors: `Config` for a table that isn't among them.
    pub(crate) fn fits<'a>(&self, tables: impl Iterator<Item = &'a str> + Clone) -> Result<()> {
        for name in &self.same_row_in {
            if !tables.clone().any(|table| table == name) {
                let known: Vec<_> = tables.map(|table| format!("`{table}`")).collect();
                return Err(Error::config(format!(
                    "`same_row_in` has `{name}`, which is not among the tables that are read"
                ))
                .with("key", "sample")
                .hint(format!("there are {}", known.join(", "))));
            }
        }
        Ok(())
    }
}

/// A duration, or one that is drawn anew each time: `"1s"`, `"0s..2s"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// At least this long.
    pub least: Duration,
    /// At most this long.
    pub most: Duration,
}

impl Default for Wait {
    fn default() -> Self {
        Self {
            least: Duration::ZERO,
            most: Duration::from_secs(2),
        }
    }
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.least == self.most {
            true => Span(self.least).fmt(f),
            false => write!(f, "{}..{}", Span(self.least), Span(self.most)),
        }
    }
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (least, most) = text.split_once("..").unwrap_or((text, text));
        let span = |text: &str| match text.trim().parse::<Span>() {
            Ok(Span(time)) => Ok(time),
            Err(_) => Err(format!(
                "`{text}` is not a duration such as \"1s\" or \"0s..2s\""
            )),
        };
        let (least, most) = (span(least)?, span(most)?);
        match least <= most {
            true => Ok(Self { least, most }),
            false => Err(format!("`{text}` begins with the longer time")),
        }
    }
}

impl Serialize for Wait {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Wait {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Human;
        impl Visitor<'_> for Human {
            type Value = Wait;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration such as \"1s\" or \"0s..2s\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Wait, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Human)
    }
}

impl JsonSchema for Wait {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Wait".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^\s*(\d+\s*[a-zA-Z]+\s*)+(\.\.\s*(\d+\s*[a-zA-Z]+\s*)+)?$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_a_span_or_two() {
        let wait = |text: &str| text.parse::<Wait>();
        let one = Duration::from_secs(1);
        let half = Duration::from_millis(500);
        assert_eq!(
            wait("1s"),
            Ok(Wait {
                least: one,
                most: one
            })
        );
        assert_eq!(
            wait("500ms .. 1s"),
            Ok(Wait {
                least: half,
                most: one
            })
        );
        for wrong in ["", "..", "1s..", "2s..1s", "1..2", "often"] {
            assert!(wait(wrong).is_err(), "{wrong}");
        }
        for text in ["0s..2s", "1s", "1m 30s"] {
            assert_eq!(wait(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_misspelt_table_is_refused() {
        let config = Sample {
            same_row_in: vec!["pins".to_owned(), "user".to_owned()],
            ..Sample::default()
        };
        let error = config.fits(["pins", "users"].into_iter()).unwrap_err();
        assert!(error.to_string().contains("`user`"), "{error}");
        assert!(config.fits(["pins", "user"].into_iter()).is_ok());
    }
}
