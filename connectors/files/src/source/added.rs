//! Columns that runs added to those that were found out. They are kept in the component's store, so
//! that whoever goes on, and each later run, has them from the beginning.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use tidegate_core::{Context, Error, Result};
use tidegate_formats::{Format, with_new};

use super::config::FilesSourceConfig;

/// What they are kept under.
const KEY: &str = "columns";

/// How often others may be faster in keeping theirs.
const TRIES: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
struct Added {
    /// Columns of other files mean nothing.
    url: String,
    format: Option<Format>,
    schema: Schema,
}

/// The columns that were found out, with those that were added to them.
pub(super) async fn with(
    cx: &Context,
    config: &FilesSourceConfig,
    found: SchemaRef,
) -> Result<SchemaRef> {
    let stored = cx.store.get(KEY).await?;
    let added = stored.and_then(|value| Added::deserialize(value).ok());
    let added = added.filter(|added| added.url == config.url && added.format == config.format);
    Ok(match added {
        None => found,
        Some(added) => Arc::new(Schema::new(with_new(found.fields(), added.schema.fields()))),
    })
}

/// Keeps the columns of `wider` for who reads on.
pub(super) async fn keep(cx: &Context, config: &FilesSourceConfig, wider: &Schema) -> Result<()> {
    let added = Added {
        url: config.url.clone(),
        format: config.format,
        schema: wider.clone(),
    };
    let value = serde_json::to_value(&added)
        .map_err(|error| Error::internal("columns can't be kept").because(error))?;
    for _ in 0..TRIES {
        let stored = cx.store.get(KEY).await?;
        if cx
            .store
            .compare_and_set(KEY, stored.as_ref(), &value)
            .await?
        {
            return Ok(());
        }
    }
    Err(Error::conflict(
        "others keep changing the columns that were added",
    ))
}
