//! The classes by which Hive, Athena and Spark read a format, and what they say of a table.
//!
//! The names are those that awswrangler and Athena's own `CREATE TABLE` write.

use std::collections::{BTreeMap, HashMap};

use aws_sdk_glue::types::{SerDeInfo, StorageDescriptor, Table};
use tidegate_core::{Error, Result, TableFormat};

const PARQUET_INPUT: &str = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetInputFormat";
const PARQUET_OUTPUT: &str = "org.apache.hadoop.hive.ql.io.parquet.MapredParquetOutputFormat";
const TEXT_INPUT: &str = "org.apache.hadoop.mapred.TextInputFormat";
const TEXT_OUTPUT: &str = "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat";

const PARQUET: &str = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";
const JSON: &str = "org.openx.data.jsonserde.JsonSerDe";
const PLAIN_CSV: &str = "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe";
const QUOTED_CSV: &str = "org.apache.hadoop.hive.serde2.OpenCSVSerde";

/// Other readers of one JSON object a line.
const OTHER_JSON: [&str; 2] = [
    "org.apache.hive.hcatalog.data.JsonSerDe",
    "org.apache.hadoop.hive.serde2.JsonSerDe",
];

/// The parameter of a table that says how many lines a file begins with before its rows.
const HEADER: &str = "skip.header.line.count";

/// What `LazySimpleSerDe` separates fields by if it isn't told.
const DEFAULT_DELIMITER: &str = "\u{1}";

/// A table's classes, without columns and location.
pub(crate) fn descriptor(format: &TableFormat) -> Result<StorageDescriptor> {
    let (input, output, serde, parameters) = match format {
        TableFormat::Parquet => (
            PARQUET_INPUT,
            PARQUET_OUTPUT,
            PARQUET,
            vec![("serialization.format", "1".to_owned())],
        ),
        TableFormat::Ndjson => (TEXT_INPUT, TEXT_OUTPUT, JSON, vec![]),
        TableFormat::Csv {
            delimiter, quoted, ..
        } if *quoted => (
            TEXT_INPUT,
            TEXT_OUTPUT,
            QUOTED_CSV,
            vec![
                ("separatorChar", delimiter.to_string()),
                ("quoteChar", "\"".to_owned()),
            ],
        ),
        TableFormat::Csv { delimiter, .. } => (
            TEXT_INPUT,
            TEXT_OUTPUT,
            PLAIN_CSV,
            vec![
                ("field.delim", delimiter.to_string()),
                ("serialization.format", delimiter.to_string()),
            ],
        ),
        other => {
            return Err(Error::unsupported(format!(
                "tables of {} can't be kept in Glue",
                other.name()
            )));
        }
    };
    let parameters = parameters
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect();
    let serde = SerDeInfo::builder()
        .serialization_library(serde)
        .set_parameters(Some(parameters))
        .build();
    Ok(StorageDescriptor::builder()
        .input_format(input)
        .output_format(output)
        .serde_info(serde)
        .build())
}

/// What a table's parameters say of its format.
pub(crate) fn parameters(format: &TableFormat) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::from([
        ("EXTERNAL".to_owned(), "TRUE".to_owned()),
        ("classification".to_owned(), format.name().to_owned()),
        ("typeOfData".to_owned(), "file".to_owned()),
    ]);
    if let TableFormat::Csv { header: true, .. } = format {
        parameters.insert(HEADER.to_owned(), "1".to_owned());
    }
    parameters
}

/// The format of a table of Glue's.
///
/// Errors: `Unsupported` for what is no table of Parquet, JSON or CSV files.
pub(crate) fn format(table: &Table) -> Result<TableFormat> {
    let parameters = table.parameters();
    let said = |key: &str| parameters?.get(key).map(String::as_str);
    if table.table_type() == Some("VIRTUAL_VIEW") {
        return Err(unsupported("it is a view").hint("query it with `--engine athena`"));
    }
    let kind = said("table_type").or_else(|| said("spark.sql.sources.provider"));
    if let Some(kind @ ("iceberg" | "delta" | "hudi")) = kind.map(str::to_lowercase).as_deref() {
        return Err(
            unsupported(&format!("it is a table of {kind}, not of plain files"))
                .hint("query it with `--engine athena`"),
        );
    }
    let descriptor = table.storage_descriptor();
    let serde = descriptor.and_then(StorageDescriptor::serde_info);
    let options = serde.and_then(SerDeInfo::parameters);
    let option = |key: &str| option(options, key);
    let library = serde.and_then(SerDeInfo::serialization_library);
    let quoted = match library.unwrap_or_default() {
        PARQUET => return Ok(TableFormat::Parquet),
        JSON => return Ok(TableFormat::Ndjson),
        other if OTHER_JSON.contains(&other) => return Ok(TableFormat::Ndjson),
        PLAIN_CSV => false,
        QUOTED_CSV => true,
        "" => {
            return Err(unsupported(
                "it doesn't say how its files are read (no SerDe)",
            ));
        }
        other => return Err(unsupported(&format!("its files are read by {other}"))),
    };
    let delimiter = match quoted {
        true => option("separatorChar").unwrap_or(","),
        false => option("field.delim")
            .or_else(|| option("serialization.format"))
            .unwrap_or(DEFAULT_DELIMITER),
    };
    let delimiter = match delimiter {
        // As it is often written in Hive's own scripts.
        "\\t" => '\t',
        "1" if !quoted => '\u{1}',
        text => match (text.chars().next(), text.chars().count()) {
            (Some(one), 1) => one,
            _ => {
                return Err(unsupported(&format!(
                    "its fields are separated by {text:?}"
                )));
            }
        },
    };
    if let (true, Some(quote)) = (quoted, option("quoteChar"))
        && !["\"", "\\\""].contains(&quote)
    {
        return Err(unsupported(&format!("its fields are quoted by {quote:?}")));
    }
    let header = match said(HEADER).or_else(|| option(HEADER)).unwrap_or("0") {
        "0" => false,
        "1" => true,
        lines => {
            return Err(unsupported(&format!(
                "its files begin with {lines} lines to skip"
            )));
        }
    };
    Ok(TableFormat::Csv {
        delimiter,
        header,
        quoted,
    })
}

fn option<'a>(options: Option<&'a HashMap<String, String>>, key: &str) -> Option<&'a str> {
    options?.get(key).map(String::as_str)
}

fn unsupported(why: &str) -> Error {
    Error::unsupported(format!(
        "a table of Glue's can't be used as a table of files: {why}"
    ))
    .hint("Tidegate reads and writes tables of Parquet, JSON and CSV files")
}
