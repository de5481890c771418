//! A table as Glue has it, and as Tidegate sees it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow_schema::{Field, FieldRef, Schema};
use aws_sdk_glue::types::{Column, SerDeInfo, StorageDescriptor, Table, TableInput};
use tidegate_catalog::hive::{parse_type, type_string};
use tidegate_catalog::is_guessed;
use tidegate_core::{CatalogTable, Error, Result, TableFormat, TableName};

use crate::formats;

/// The property that Glue keeps as a table's description.
const COMMENT: &str = "comment";

/// The most characters of a table's description (AWS Glue, `DescriptionString`).
const LONGEST_COMMENT: usize = 2048;

/// The table as Tidegate sees it. Names of columns are in lower case, as Athena takes them however
/// they are stored.
///
/// Errors: `Unsupported` for what is no table of files that Tidegate reads, `Schema` for a type that
/// it doesn't read.
pub(crate) fn read(table: &Table) -> Result<CatalogTable> {
    let database = table.database_name().unwrap_or_default();
    let name = TableName::new(database, table.name());
    let here = |error: Error| error.with("table", &name);
    let format = formats::format(table).map_err(here)?;
    let descriptor = table.storage_descriptor();
    let columns = descriptor.map(StorageDescriptor::columns);
    let columns = fields(columns.unwrap_or_default()).map_err(here)?;
    let location = descriptor.and_then(StorageDescriptor::location);
    let mut properties: BTreeMap<_, _> = table
        .parameters()
        .into_iter()
        .flatten()
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect();
    if let Some(text) = table.description().filter(|text| !text.is_empty()) {
        properties.insert(COMMENT.to_owned(), text.to_owned());
    }
    Ok(CatalogTable {
        location: location
            .unwrap_or_default()
            .trim_end_matches('/')
            .to_owned(),
        format,
        columns: Arc::new(Schema::new(columns)),
        partition_keys: fields(table.partition_keys()).map_err(here)?,
        properties,
        name,
    })
}

fn fields(columns: &[Column]) -> Result<Vec<FieldRef>> {
    let mut fields: Vec<FieldRef> = Vec::with_capacity(columns.len());
    for column in columns {
        let name = column.name().to_lowercase();
        if fields.iter().any(|field| *field.name() == name) {
            return Err(
                Error::schema(format!("two columns are called `{name}` in lower case"))
                    .hint("remove one of them in Glue: Athena can't read such a table either"),
            );
        }
        // Glue lets a column be without a type; engines take it for a text.
        let data_type = parse_type(column.r#type().unwrap_or("string")).map_err(|error| {
            error
                .with("column", column.name())
                .hint("Tidegate can't use a table with such a column; Athena may")
        })?;
        fields.push(Arc::new(Field::new(name, data_type, true)));
    }
    Ok(fields)
}

/// What makes a new table.
pub(crate) fn input(table: &CatalogTable) -> Result<TableInput> {
    let mut parameters = formats::parameters(&table.format);
    parameters.extend(table.properties.clone());
    let comment = parameters.remove(COMMENT);
    if comment
        .as_ref()
        .is_some_and(|text| text.chars().count() > LONGEST_COMMENT)
    {
        return Err(Error::config(format!(
            "the comment of table `{}` has more than {LONGEST_COMMENT} characters",
            table.name
        ))
        .hint("shorten it"));
    }
    let mut descriptor = formats::descriptor(&table.format)?;
    descriptor.columns = Some(columns(table.columns.fields())?);
    descriptor.location = Some(directory(&table.location));
    built(
        TableInput::builder()
            .name(&table.name.table)
            .set_description(comment)
            .table_type("EXTERNAL_TABLE")
            .set_parameters(Some(parameters.into_iter().collect::<HashMap<_, _>>()))
            // Athena can't show a table without this list, even if it is empty.
            .set_partition_keys(Some(columns(&table.partition_keys)?))
            .storage_descriptor(descriptor)
            .build(),
    )
}

/// What makes `have` into `merged`: all of `have` with other columns, because an update replaces
/// everything, and what Tidegate doesn't know would be gone. What was guessed of its format may have
/// changed too.
pub(crate) fn changed(have: &Table, merged: &CatalogTable) -> Result<TableInput> {
    let mut descriptor = have
        .storage_descriptor()
        .cloned()
        .unwrap_or_else(|| StorageDescriptor::builder().build());
    let columns = descriptor.columns.take().unwrap_or_default();
    descriptor.columns = Some(widened(&columns, &merged.columns)?);
    if let Some(serde) = serde_of(&descriptor, merged)? {
        descriptor.serde_info = Some(serde);
    }
    let mut input = built(TableInput::builder().name(have.name()).build())?;
    input.description.clone_from(&have.description);
    input.owner.clone_from(&have.owner);
    input.last_access_time = have.last_access_time;
    input.last_analyzed_time = have.last_analyzed_time;
    input.retention = have.retention;
    input.storage_descriptor = Some(descriptor);
    input.partition_keys = Some(have.partition_keys().to_vec());
    input
        .view_original_text
        .clone_from(&have.view_original_text);
    input
        .view_expanded_text
        .clone_from(&have.view_expanded_text);
    input.table_type.clone_from(&have.table_type);
    input.parameters.clone_from(&have.parameters);
    if let (true, Some(parameters)) = (is_guessed(merged), &mut input.parameters) {
        let known = merged.properties.iter();
        let known = known.filter(|(key, _)| parameters.contains_key(*key));
        let known: Vec<_> = known.map(|(k, v)| (k.clone(), v.clone())).collect();
        parameters.extend(known);
    }
    input.target_table.clone_from(&have.target_table);
    Ok(input)
}

/// How the files of a table or a partition are read, where the table's guessed format says otherwise
/// than what is there.
pub(crate) fn serde_of(
    have: &StorageDescriptor,
    table: &CatalogTable,
) -> Result<Option<SerDeInfo>> {
    if !is_guessed(table) || !matches!(table.format, TableFormat::Csv { .. }) {
        return Ok(None);
    }
    let library = |descriptor: &StorageDescriptor| {
        let serde = descriptor.serde_info();
        serde.and_then(|serde| serde.serialization_library().map(str::to_owned))
    };
    let wanted = formats::descriptor(&table.format)?;
    Ok(match library(have) == library(&wanted) {
        true => None,
        false => wanted.serde_info,
    })
}

/// The columns of a table or a partition with the types of `schema`, and its other columns at the
/// end. What `schema` doesn't have stays.
pub(crate) fn widened(columns: &[Column], schema: &Schema) -> Result<Vec<Column>> {
    let mut columns = columns.to_vec();
    for field in schema.fields() {
        let same = |column: &&mut Column| column.name().to_lowercase() == *field.name();
        match columns.iter_mut().find(same) {
            None => columns.push(column(field)?),
            Some(column) => {
                // One that is as wide under another name (`varchar(20)`) keeps it.
                let known = column.r#type().and_then(|text| parse_type(text).ok());
                if known.as_ref() != Some(field.data_type()) {
                    column.r#type = Some(type_string(field.data_type())?);
                }
            }
        }
    }
    Ok(columns)
}

fn columns<'a>(fields: impl IntoIterator<Item = &'a FieldRef>) -> Result<Vec<Column>> {
    fields.into_iter().map(|field| column(field)).collect()
}

fn column(field: &Field) -> Result<Column> {
    let kind = type_string(field.data_type());
    let kind = kind.map_err(|error| error.with("column", field.name()))?;
    let column = Column::builder().name(field.name()).r#type(kind).build();
    built(column)
}

/// A directory as Athena wants it: with the `/` that keeps `sales` from reading `sales_old`.
pub(crate) fn directory(location: &str) -> String {
    format!("{}/", location.trim_end_matches('/'))
}

/// What a builder of the SDK gives, which refuses only what we always set.
pub(crate) fn built<T>(
    result: std::result::Result<T, aws_sdk_glue::error::BuildError>,
) -> Result<T> {
    result.map_err(|error| Error::internal("a request to Glue can't be made").because(error))
}
