//! A schema from a file of documents.

use arrow_schema::SchemaRef;
use bytes::Bytes;
use tidegate_core::{Error, Result};
use tidegate_formats::{
    Compression, CsvOptions, Format, PlainText, Position, Splitter, infer, json_elements,
};

/// The schema of the documents in a file, or of their elements at `records`.
pub(crate) fn learn(path: &str, bytes: Vec<u8>, records: Option<&str>) -> Result<SchemaRef> {
    let plain = plain(Compression::from_path(path), bytes.into())?;
    let format = match Format::from_path(path) {
        Some(Format::Ndjson) => Format::Ndjson,
        None | Some(Format::Json) => Format::Json,
        Some(other) => {
            return Err(
                Error::config(format!("a sample of documents can't be {other}"))
                    .hint("give a .json or .ndjson file"),
            );
        }
    };
    let csv = CsvOptions::default();
    let Some(pointer) = records else {
        return infer(format, &csv, plain, true);
    };
    // Here an array is a document like any other: it may be what the pointer begins at.
    let mut elements = Vec::new();
    let documents = match format {
        Format::Ndjson => lines(plain)?,
        _ => vec![plain],
    };
    for document in documents {
        let found = json_elements(&document, pointer)
            .map_err(|reason| Error::data(format!("the sample can't be read: {reason}")))?;
        for element in found {
            elements.extend_from_slice(element);
            elements.push(b'\n');
        }
    }
    infer(Format::Json, &csv, elements.into(), true)
}

fn lines(plain: Bytes) -> Result<Vec<Bytes>> {
    let start = Position::start();
    let mut splitter = Splitter::new(Format::Ndjson, &CsvOptions::default(), start)?.chunk_size(1);
    splitter.push(plain);
    splitter.finish();
    let mut lines = Vec::new();
    while let Some(chunk) = splitter.next()? {
        if !chunk.bytes.trim_ascii().is_empty() {
            lines.push(chunk.bytes);
        }
    }
    Ok(lines)
}

fn plain(compression: Compression, bytes: Bytes) -> Result<Bytes> {
    let mut text = PlainText::new(compression)?;
    text.push(bytes)?;
    text.finish()?;
    let mut plain = Vec::new();
    while let Some(bytes) = text.next()? {
        plain.extend_from_slice(&bytes);
    }
    Ok(plain.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &str, text: &str, records: Option<&str>) -> Vec<String> {
        let schema = learn(path, text.into(), records).unwrap();
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    }

    #[test]
    fn samples_are_documents_or_what_is_in_them() {
        assert_eq!(
            names("s.ndjson", "{\"a\":1}\n{\"b\":2}\n", None),
            ["b", "a"]
        );
        assert_eq!(
            names(
                "s.json",
                r#"{"items":[{"a":1},{"a":2,"b":[]}]}"#,
                Some("/items")
            ),
            ["a", "b"]
        );
        assert_eq!(names("s.json", r#"[{"a":1}]"#, Some("")), ["a"]);
        assert!(learn("s.csv", Vec::new(), None).is_err());
        assert!(learn("s.json", b"{".to_vec(), None).is_err());
    }
}
