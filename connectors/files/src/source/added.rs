//! Columns that runs added to those that were found out. They are kept in the component's store, so
//! that whoever resumes, and each later run, has them from the beginning.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Context, Error, Result};
use tidegate_formats::{Format, with_new};

use super::config::FilesSourceConfig;

/// What they are kept under.
const KEY: &str = "columns";

/// How often others may be faster in keeping theirs.
const TRIES: usize = 8;

/// By which rules the columns were learnt. What others had learnt is met and learnt anew.
const RULES: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
struct Added {
    #[serde(default)]
    rules: u32,
    /// Columns of other files mean nothing.
    url: String,
    format: Option<Format>,
    schema: Schema,
}

impl Added {
    /// What was stored, if it is of these files and these rules.
    fn read(stored: Option<&Value>, config: &FilesSourceConfig) -> Option<Self> {
        let added = Self::deserialize(stored?).ok()?;
        let same = added.rules == RULES && added.url == config.url && added.format == config.format;
        same.then_some(added)
    }
}

/// The columns that were found out, with those that were added to them.
pub(super) async fn with(
    cx: &Context,
    config: &FilesSourceConfig,
    found: SchemaRef,
) -> Result<SchemaRef> {
    let stored = cx.store.get(KEY).await?;
    Ok(match Added::read(stored.as_ref(), config) {
        None => found,
        Some(added) => Arc::new(Schema::new(with_new(found.fields(), added.schema.fields()))),
    })
}

/// Keeps the columns of `wider` for whoever reads on, with those that were kept before: a reader
/// knows only those of its file and the new ones.
pub(super) async fn keep(cx: &Context, config: &FilesSourceConfig, wider: &Schema) -> Result<()> {
    for _ in 0..TRIES {
        let stored = cx.store.get(KEY).await?;
        let fields = match Added::read(stored.as_ref(), config) {
            None => wider.fields().clone(),
            Some(before) => with_new(before.schema.fields(), wider.fields()),
        };
        let added = Added {
            rules: RULES,
            url: config.url.clone(),
            format: config.format,
            schema: Schema::new(fields),
        };
        let value = serde_json::to_value(&added)
            .map_err(|error| Error::internal("columns can't be kept").because(error))?;
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
