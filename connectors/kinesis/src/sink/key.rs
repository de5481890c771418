//! The partition keys of rows.

use arrow_array::{Array as _, RecordBatch};
use arrow_cast::display::{ArrayFormatter, FormatOptions};
use arrow_schema::Schema;
use tidegate_core::{Error, Result, suggest};

/// PutRecords: a key has 1 to 256 characters
/// ([limits](https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecordsRequestEntry.html)).
const LONGEST: usize = 256;

/// How a row's key is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyTemplate {
    /// Texts and columns; none for a random key.
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Column(String),
}

impl KeyTemplate {
    /// Of `None`, a column's name or a template with columns in braces.
    pub(super) fn parse(text: Option<&str>) -> Result<Self> {
        let Some(text) = text else {
            return Ok(Self::default());
        };
        let wrong = |what: &str| {
            Error::config(format!("`partition_key` {what}"))
                .with("key", "partition_key")
                .hint("write a column's name, or columns in braces: \"{shop}-{user}\"")
        };
        if text.is_empty() {
            return Err(wrong("is empty"));
        }
        if !text.contains(['{', '}']) {
            return Ok(Self {
                parts: vec![Part::Column(text.to_owned())],
            });
        }
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let (column, after) = after
                .split_once('}')
                .ok_or_else(|| wrong("has a brace that isn't closed"))?;
            if before.contains('}') || column.contains('{') || column.is_empty() {
                return Err(wrong("has braces that don't fit together"));
            }
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            parts.push(Part::Column(column.to_owned()));
            rest = after;
        }
        if rest.contains('}') {
            return Err(wrong("has braces that don't fit together"));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    /// Whether each record gets a key of its own.
    pub(super) fn is_random(&self) -> bool {
        self.parts.is_empty()
    }

    /// The columns that it is made of.
    pub(super) fn columns(&self) -> Vec<String> {
        let mut columns = Vec::new();
        for part in &self.parts {
            if let Part::Column(column) = part
                && !columns.contains(column)
            {
                columns.push(column.clone());
            }
        }
        columns
    }

    /// Refuses columns that an input doesn't have.
    pub(super) fn check(&self, schema: &Schema) -> Result<()> {
        for column in self.columns() {
            if schema.index_of(&column).is_err() {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                let error = Error::schema(format!("the input has no column `{column}`"))
                    .with("key", "partition_key");
                return Err(match suggest::nearest(&column, names) {
                    Some(near) => error.hint(format!("did you mean `{near}`?")),
                    None => error,
                });
            }
        }
        Ok(())
    }

    /// The keys of a batch's rows, or why there is none.
    pub(super) fn keys(&self, batch: &RecordBatch) -> Result<Vec<Result<String, String>>> {
        if self.is_random() {
            return Ok((0..batch.num_rows()).map(|_| Ok(random())).collect());
        }
        let options = FormatOptions::new();
        let mut columns = Vec::new();
        for part in &self.parts {
            columns.push(match part {
                Part::Text(text) => (text.as_str(), None),
                Part::Column(name) => {
                    let column = batch.column_by_name(name);
                    let column = column.ok_or_else(|| {
                        Error::internal(format!("a batch came without its column `{name}`"))
                    })?;
                    let shown = ArrayFormatter::try_new(column.as_ref(), &options)?;
                    (name.as_str(), Some((column, shown)))
                }
            });
        }
        let keys = (0..batch.num_rows()).map(|row| {
            let mut key = String::new();
            for (name, column) in &columns {
                match column {
                    None => key.push_str(name),
                    Some((column, _)) if column.is_null(row) => {
                        return Err(format!(
                            "column `{name}`: null, but it is the partition key"
                        ));
                    }
                    Some((_, shown)) => {
                        let written = shown.value(row).write(&mut key);
                        written.map_err(|error| format!("column `{name}`: {error}"))?;
                    }
                }
            }
            match key.chars().count() {
                0 => Err("the partition key is empty".to_owned()),
                1..=LONGEST => Ok(key),
                longer => Err(format!(
                    "the partition key has {longer} characters, and {LONGEST} are the most"
                )),
            }
        });
        Ok(keys.collect())
    }
}

/// A key that spreads records evenly over the shards.
fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use std::sync::Arc;

    use arrow_array::{Int64Array, StringArray};

    use super::*;

    fn keys(template: &str) -> Vec<Result<String, String>> {
        let long = "ü".repeat(254);
        let batch = RecordBatch::try_from_iter([
            (
                "a",
                Arc::new(StringArray::from(vec![
                    Some("x"),
                    None,
                    Some(""),
                    Some(&long),
                ])) as _,
            ),
            ("b", Arc::new(Int64Array::from(vec![1, 2, 3, 4])) as _),
        ]);
        let template = KeyTemplate::parse(Some(template)).unwrap();
        let batch = batch.unwrap();
        template.check(&batch.schema()).unwrap();
        template.keys(&batch).unwrap()
    }

    #[test]
    fn keys_are_columns_or_templates() {
        let shown = keys("a");
        assert_eq!(shown[0], Ok("x".to_owned()));
        assert!(shown[1].is_err() && shown[2].is_err());
        assert!(shown[3].is_ok());
        let shown = keys("{a}-{b}!");
        assert_eq!(shown[0], Ok("x-1!".to_owned()));
        assert_eq!(shown[2], Ok("-3!".to_owned()));
        assert!(shown[1].is_err() && shown[3].is_err());
        let template = KeyTemplate::parse(Some("{a}-{b}{a}")).unwrap();
        assert_eq!(template.columns(), ["a", "b"]);
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for text in ["", "{", "}", "{}", "{a", "a}", "{a}}", "{{a}}", "{a{b}"] {
            let parsed = KeyTemplate::parse(Some(text));
            assert!(parsed.is_err(), "`{text}`: {parsed:?}");
        }
        assert!(KeyTemplate::parse(None).unwrap().is_random());
    }
}
