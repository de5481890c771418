//! Which schemas are of one table, and what that table's is.

use arrow_schema::{Schema, SchemaRef};
use std::sync::Arc;
use tidegate_catalog::{find, guessed_format, with_columns_of};
use tidegate_core::{Result, TableFormat};
use tidegate_formats::Inference;

/// The least share of the wider schema's columns that similar ones have in common.
const SIMILAR: f64 = 0.7;

/// The columns of a table's files.
#[derive(Debug, Clone)]
pub(super) struct Columns {
    schema: SchemaRef,
    /// What was seen of values, where the types are guessed from those. A type alone doesn't tell
    /// which others hold them too: 2^53 + 1 is no `float64`.
    guess: Option<Inference>,
}

impl Columns {
    /// Those that files tell themselves.
    pub(super) fn told(schema: Schema) -> Self {
        Self {
            schema: Arc::new(schema),
            guess: None,
        }
    }

    pub(super) fn guessed(guess: Inference) -> Result<Self> {
        Ok(Self {
            schema: guess.finish()?,
            guess: Some(guess),
        })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Those of which no value was seen.
    pub(super) fn unseen(&self) -> Vec<String> {
        let names = self.guess.as_ref().map(Inference::unseen);
        let names = names.unwrap_or_default().into_iter();
        names.map(str::to_owned).collect()
    }

    /// Those of both; `None` where one contradicts the other.
    pub(super) fn merged(&self, other: &Self) -> Option<Self> {
        if let (Some(one), Some(other)) = (&self.guess, &other.guess) {
            let mut both = one.clone();
            both.merge(other);
            return Self::guessed(both).ok();
        }
        let (one, other) = (self.schema.fields(), other.schema.fields());
        let fields = with_columns_of(Some(one), other, "").ok()?;
        Some(Self::told(Schema::new(fields)))
    }
}

/// Whether files of these could be of one table: the formats are the same, most columns too, and no
/// column contradicts.
pub(super) fn similar(one: (&TableFormat, &Columns), other: (&TableFormat, &Columns)) -> bool {
    if guessed_format(one.0, other.0).is_none() || one.1.merged(other.1).is_none() {
        return false;
    }
    // Numbered columns say nothing: their number has to.
    if matches!(one.0, TableFormat::Csv { header: false, .. }) {
        return one.1.schema.fields().len() == other.1.schema.fields().len();
    }
    let fields = |columns: &Columns| columns.schema.fields().len();
    let common = one.1.schema.fields().iter();
    let common = common.filter(|field| find(other.1.schema.fields(), field.name()).is_some());
    let (common, most) = (common.count(), fields(one.1).max(fields(other.1)));
    // Counts of columns are small.
    #[allow(clippy::cast_precision_loss)]
    let share = common as f64 / most.max(1) as f64;
    share >= SIMILAR
}

#[cfg(test)]
mod tests {
    use arrow_schema::{DataType, Field};
    use tidegate_formats::{CsvOptions, Format, Position, Splitter};

    use super::*;

    fn told(columns: &[(&str, DataType)]) -> Columns {
        let fields = columns
            .iter()
            .map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
        Columns::told(Schema::new(fields.collect::<Vec<_>>()))
    }

    fn guessed(format: Format, text: &'static str) -> Columns {
        let csv = CsvOptions::default();
        let mut guess = Inference::new(format, &csv).unwrap();
        let mut splitter = Splitter::new(format, &csv, Position::start()).unwrap();
        splitter.push(text.into());
        splitter.finish();
        while let Some(chunk) = splitter.next().unwrap() {
            if let Some(header) = splitter.header() {
                guess.header(header).unwrap();
            }
            guess.push(&chunk).unwrap();
        }
        Columns::guessed(guess).unwrap()
    }

    fn types(columns: &Columns) -> Vec<(&str, DataType)> {
        let fields = columns.schema.fields().iter();
        fields
            .map(|field| (field.name().as_str(), field.data_type().clone()))
            .collect()
    }

    #[test]
    fn most_columns_in_common_and_no_contradiction_is_similar() {
        use DataType as T;
        let one = told(&[("a", T::Int32), ("b", T::Utf8), ("c", T::Utf8)]);
        let wide = [
            ("A", T::Int64),
            ("b", T::Utf8),
            ("c", T::Utf8),
            ("d", T::Utf8),
        ];
        let more = told(&wide);
        let less = told(&[("a", T::Int32), ("x", T::Utf8), ("y", T::Utf8)]);
        let other = told(&[("a", T::Utf8), ("b", T::Utf8), ("c", T::Utf8)]);
        let (parquet, json) = (TableFormat::Parquet, TableFormat::Ndjson);
        assert!(similar((&parquet, &one), (&parquet, &more)));
        assert!(!similar((&parquet, &one), (&parquet, &less)));
        assert!(!similar((&parquet, &one), (&parquet, &other)));
        assert!(!similar((&parquet, &one), (&json, &one)));
        let [_, rest @ ..] = wide;
        let wanted: Vec<_> = [("a", T::Int64)].into_iter().chain(rest).collect();
        assert_eq!(types(&one.merged(&more).unwrap()), wanted);
        // What was guessed from text is text if it has to be.
        let one = guessed(Format::Ndjson, r#"{"a":1,"b":"x"}"#);
        let other = guessed(Format::Ndjson, r#"{"a":"1","b":"y"}"#);
        assert!(similar((&json, &one), (&json, &other)));
    }

    #[test]
    fn no_type_is_guessed_that_changes_a_value_of_another_file() {
        use DataType as T;
        let merged = |format, one, other| {
            let both = guessed(format, one).merged(&guessed(format, other));
            both.unwrap().schema.field(0).data_type().clone()
        };
        let json = |one, other| merged(Format::Ndjson, one, other);
        assert_eq!(json(r#"{"a":1}"#, r#"{"A":0.5}"#), T::Float64);
        assert_eq!(json(r#"{"a":9007199254740993}"#, r#"{"a":0.5}"#), T::Utf8);
        assert_eq!(
            json(r#"{"a":1}"#, r#"{"a":9223372036854775808}"#),
            T::Decimal128(38, 0)
        );
        let list = |item| T::List(Arc::new(Field::new_list_field(item, true)));
        assert_eq!(
            json(r#"{"a":[9007199254740993]}"#, r#"{"a":[0.5]}"#),
            list(T::Utf8)
        );
        let csv = |one, other| merged(Format::Csv, one, other);
        assert_eq!(csv("a\n1\n", "a\n0.5\n"), T::Float64);
        assert_eq!(csv("a\n9007199254740993\n", "a\n0.5\n"), T::Utf8);
        assert_eq!(csv("a\n1.10\n", "a\n2.25\n"), T::Decimal128(38, 2));
        assert_eq!(csv("a\n2024-01-01\n", "a\nx\n"), T::Utf8);
    }
}
