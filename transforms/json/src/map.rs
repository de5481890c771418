//! What is done to a batch.

use std::sync::Arc;

use arrow_array::{Array, RecordBatch, RecordBatchOptions, UInt64Array};
use arrow_schema::{Field, Schema, SchemaRef};
use arrow_select::take::take;
use tidegate_core::{Error, Input, Map, Mapped, Rejected, Result, Scan, batch_column};
use tidegate_formats::{JsonRows, OnNewColumns, bytes_of, holds_bytes, json_elements};

use crate::JsonConfig;

/// The transform, typed against its inputs.
#[derive(Debug)]
pub(crate) struct JsonMap {
    /// What the documents are read as.
    documents: SchemaRef,
    /// Whether that was learnt from a sample.
    learnt: bool,
    /// The kept columns, then the documents'.
    output: SchemaRef,
    keep: Vec<String>,
    records: Option<String>,
    /// What is done about keys that no column has; `None`: they don't matter.
    on_new: Option<Arc<OnNewColumns>>,
    inputs: Vec<Source>,
}

/// Where an input has its documents.
#[derive(Debug)]
struct Source {
    stream: Arc<str>,
    column: String,
}

impl JsonMap {
    pub(crate) fn new(config: &JsonConfig, documents: SchemaRef, inputs: &[Input]) -> Result<Self> {
        // Types that JSON can't hold are found now rather than at the first batch.
        JsonRows::new(Arc::clone(&documents), 0, false)?;
        let mut kept: Option<Vec<Arc<Field>>> = None;
        let mut sources = Vec::with_capacity(inputs.len());
        for input in inputs {
            let column = document_column(config, input)?;
            let fields = config.keep.iter().map(|name| input.column(name).cloned());
            let fields = fields.collect::<Result<Vec<_>>>()?;
            match &kept {
                Some(others) if *others != fields => {
                    return Err(Error::schema(format!(
                        "the columns to keep have other types in `{}` than in `{}`",
                        input.name, inputs[0].name
                    )));
                }
                _ => kept = Some(fields),
            }
            sources.push(Source {
                stream: Arc::clone(&input.name),
                column,
            });
        }
        let mut fields = kept.unwrap_or_default();
        for field in documents.fields() {
            if fields.iter().any(|other| other.name() == field.name()) {
                return Err(Error::config(format!(
                    "`{}` is both in `keep` and in the documents",
                    field.name()
                ))
                .hint("rename one in a `sql` transform before, or leave it out of `keep`"));
            }
            fields.push(Arc::clone(field));
        }
        Ok(Self {
            documents,
            learnt: config.sample.is_some(),
            output: Arc::new(Schema::new(fields)),
            keep: config.keep.clone(),
            records: config.records.clone(),
            on_new: match (config.on_new_columns, &config.sample) {
                (None, None) => None,
                (policy, _) => Some(Arc::new(OnNewColumns::fixed(policy.unwrap_or_default()))),
            },
            inputs: sources,
        })
    }

    fn source(&self, input: usize) -> Result<&Source> {
        self.inputs
            .get(input)
            .ok_or_else(|| Error::internal(format!("there is no input {input}")))
    }
}

impl Map for JsonMap {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.output)
    }

    fn scan(&self, input: usize) -> Scan {
        let Some(source) = self.inputs.get(input) else {
            return Scan::all("");
        };
        let mut columns = vec![source.column.clone()];
        columns.extend(self.keep.iter().cloned());
        Scan {
            columns: Some(columns),
            ..Scan::all(&source.stream)
        }
    }

    fn map(&self, input: usize, batch: &RecordBatch) -> Result<Mapped> {
        let name = &self.source(input)?.column;
        let documents = batch_column(batch, name)?;
        let mut rows = JsonRows::new(Arc::clone(&self.documents), batch.num_rows(), self.learnt)?;
        if let Some(on_new) = &self.on_new {
            rows.on_new_columns(on_new);
        }
        let mut rejected = Rejected::default();
        // The row of the input that each row of the output comes from.
        let mut origins: Vec<u64> = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let mut reject = |text: &[u8], reason: String| {
                rejected.push_of_batch(row, String::from_utf8_lossy(text), reason);
            };
            if documents.is_null(row) {
                reject(
                    b"null",
                    format!("column `{name}`: null where a document must be"),
                );
                continue;
            }
            let document = bytes_of(documents, row);
            let elements = match &self.records {
                None => Ok(vec![document]),
                Some(pointer) => json_elements(document, pointer),
            };
            match elements {
                Err(reason) => reject(document, reason),
                Ok(elements) => {
                    for element in elements {
                        match rows.push(element) {
                            Ok(()) => origins.push(row as u64),
                            Err(reason) => reject(element, reason),
                        }
                    }
                }
            }
        }
        if rows.is_empty() {
            return Ok(Mapped {
                batches: Vec::new(),
                rejected,
                ..Mapped::default()
            });
        }
        let ignored = rows.ignored();
        if let Some(on_new) = &self.on_new {
            let none = || Err(Error::internal("a transform can't add columns"));
            on_new.allow(&self.documents, &ignored, none)?;
        }
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        let origins = UInt64Array::from(origins);
        let mut columns = Vec::with_capacity(self.output.fields().len());
        for name in &self.keep {
            columns.push(take(batch_column(batch, name)?, &origins, None)?);
        }
        columns.extend(rows.finish()?.columns().iter().cloned());
        let batch = RecordBatch::try_new_with_options(self.schema(), columns, &options)?;
        Ok(Mapped {
            batches: vec![batch],
            rejected,
            ignored,
        })
    }
}

fn document_column(config: &JsonConfig, input: &Input) -> Result<String> {
    let fields = input.schema.fields();
    if let Some(name) = &config.column {
        let field = input.column(name)?;
        if !holds_bytes(field.data_type()) {
            return Err(Error::schema(format!(
                "column `{name}` of `{}` is a {}, not text or bytes",
                input.name,
                field.data_type()
            )));
        }
        return Ok(name.clone());
    }
    let candidates: Vec<&String> = fields
        .iter()
        .filter(|field| holds_bytes(field.data_type()) && !config.keep.contains(field.name()))
        .map(|field| field.name())
        .collect();
    match candidates.as_slice() {
        [only] => Ok((*only).clone()),
        [] => Err(Error::schema(format!(
            "`{}` has no column of text or bytes",
            input.name
        ))),
        several => {
            let names: Vec<&str> = several.iter().map(|name| name.as_str()).collect();
            Err(Error::config(format!(
                "`{}` has several columns that may hold the documents",
                input.name
            ))
            .hint(format!("set `column` to one of {}", names.join(", "))))
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::cast::AsArray;
    use arrow_array::types::Int64Type;
    use arrow_array::{ArrayRef, BinaryArray, Int32Array, StringArray};

    use super::*;

    fn batch(documents: Vec<Option<&str>>) -> RecordBatch {
        let pages = Int32Array::from_iter_values(0..i32::try_from(documents.len()).unwrap());
        RecordBatch::try_from_iter_with_nullable([
            ("page", Arc::new(pages) as ArrayRef, false),
            (
                "body",
                Arc::new(StringArray::from(documents)) as ArrayRef,
                true,
            ),
        ])
        .unwrap()
    }

    fn open(config: serde_json::Value, batch: &RecordBatch) -> Result<JsonMap> {
        let config: JsonConfig = serde_json::from_value(config).unwrap();
        let schema = config.schema.to_arrow().unwrap();
        let input = Input {
            name: "api.raw".into(),
            schema: batch.schema(),
        };
        JsonMap::new(&config, schema, &[input])
    }

    fn ids(mapped: &Mapped) -> Vec<Option<i64>> {
        let batch = &mapped.batches[0];
        batch
            .column_by_name("id")
            .unwrap()
            .as_primitive::<Int64Type>()
            .iter()
            .collect()
    }

    #[test]
    fn a_bad_document_is_rejected_and_the_others_go_on() {
        let batch = batch(vec![
            Some(r#"{"id": 1, "other": [1, {"x": null}]}"#),
            Some(r#"{"id": "one"}"#),
            None,
            Some(r#"{"id": 2"#),
            Some(r#"{"id": null}"#),
        ]);
        let map = open(
            serde_json::json!({ "schema": [{ "name": "id", "type": "int64" }], "keep": ["page"] }),
            &batch,
        )
        .unwrap();
        let mapped = map.map(0, &batch).unwrap();
        assert_eq!(mapped.batches[0].schema(), map.schema());
        assert_eq!(ids(&mapped), [Some(1), None]);
        let pages = mapped.batches[0]
            .column(0)
            .as_primitive::<arrow_array::types::Int32Type>();
        assert_eq!(pages.values(), &[0, 4]);
        let reasons: Vec<_> = mapped
            .rejected
            .rows
            .iter()
            .map(|row| row.reason.as_str())
            .collect();
        assert_eq!(reasons.len(), 3);
        assert_eq!(reasons[0], "column `id`: `one` is not valid as int64");
        assert!(reasons[1].contains("column `body`: null"));
        assert!(reasons[2].contains("malformed JSON"));
        assert_eq!(mapped.rejected.rows[0].row, r#"{"id": "one"}"#);
    }

    #[test]
    fn records_gives_a_row_for_each_element() {
        let batch = batch(vec![
            Some(r#"{"data": {"items": [{"id": 1}, {"id": 2.5}, {"id": 3}]}}"#),
            Some(r#"{"data": {}}"#),
            Some(r#"{"data": {"items": {"id": 4}}}"#),
        ]);
        let map = open(
            serde_json::json!({
                "column": "body", "records": "/data/items", "keep": ["page"],
                "schema": [{ "name": "id", "type": "int64" }],
            }),
            &batch,
        )
        .unwrap();
        let mapped = map.map(0, &batch).unwrap();
        assert_eq!(ids(&mapped), [Some(1), Some(3), Some(4)]);
        assert_eq!(mapped.rejected.rows[0].row, r#"{"id": 2.5}"#);
        assert_eq!(
            map.scan(0).columns,
            Some(vec!["body".into(), "page".into()])
        );
    }

    #[test]
    fn bytes_hold_documents_too() {
        let bodies = BinaryArray::from_vec(vec![br#"{"id":7}"#, b"\xFF"]);
        let batch = RecordBatch::try_from_iter([("body", Arc::new(bodies) as ArrayRef)]).unwrap();
        let schema = serde_json::json!({ "schema": [{ "name": "id", "type": "int64" }] });
        let mapped = open(schema, &batch).unwrap().map(0, &batch).unwrap();
        assert_eq!((ids(&mapped), mapped.rejected.len()), (vec![Some(7)], 1));
    }

    #[test]
    fn columns_that_are_not_there_or_clash_are_refused() {
        let batch = batch(vec![]);
        let schema = serde_json::json!([{ "name": "page", "type": "int64" }]);
        for (extra, text) in [
            (serde_json::json!({ "column": "bdy" }), "no column `bdy`"),
            (serde_json::json!({ "column": "page" }), "not text or bytes"),
            (serde_json::json!({ "keep": ["page"] }), "`page` is both"),
        ] {
            let mut config = extra;
            config["schema"] = schema.clone();
            let error = open(config, &batch).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        }
    }
}
