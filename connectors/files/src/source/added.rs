//! Columns that runs added to those that were found out, and those that were found out last, for when
//! no file is left. They are kept in the component's store, so that whoever resumes, and each later
//! run, has them from the beginning.

use std::sync::Arc;

use arrow_schema::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_core::{Context, Error, Result};
use tidegate_formats::{Format, SchemaSpec, with_new};

use super::config::FilesSourceConfig;

/// What those are kept under that were added.
const KEY: &str = "columns";

/// What those are kept under that were found out last.
const FOUND: &str = "found";

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
    /// The `schema` that is given, if one is.
    #[serde(default, skip_serializing_if = "SchemaSpec::is_empty")]
    given: SchemaSpec,
    schema: Schema,
    /// How many of the columns are those of directories, the last ones.
    #[serde(default)]
    keys: usize,
    /// The format of the files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    found: Option<Format>,
}

impl Added {
    fn new(config: &FilesSourceConfig, schema: Schema) -> Self {
        Self {
            rules: RULES,
            url: config.url.clone(),
            format: config.format,
            given: config.schema.clone(),
            schema,
            keys: 0,
            found: None,
        }
    }

    /// What was stored, if it is of these files and these rules.
    fn read(stored: Option<&Value>, config: &FilesSourceConfig) -> Option<Self> {
        let added = Self::deserialize(stored?).ok()?;
        let same = added.rules == RULES
            && added.url == config.url
            && added.format == config.format
            && added.given == config.schema;
        same.then_some(added)
    }

    fn to_value(&self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::internal("columns can't be kept").because(error))
    }
}

/// The stream's columns as they were when files were there.
pub(super) struct Known {
    pub(super) schema: SchemaRef,
    /// How many of them are those of directories, the last ones.
    pub(super) keys: usize,
    /// The format of the files.
    pub(super) format: Option<Format>,
}

/// The columns that files of this source had, if there were any.
pub(super) async fn known(cx: &Context, config: &FilesSourceConfig) -> Result<Option<Known>> {
    let stored = cx.store.get(FOUND).await?;
    let known = Added::read(stored.as_ref(), config);
    Ok(known.map(|known| Known {
        schema: Arc::new(known.schema),
        keys: known.keys,
        format: known.found,
    }))
}

/// Keeps the columns that were found out.
pub(super) async fn remember(
    cx: &Context,
    config: &FilesSourceConfig,
    known: &Known,
) -> Result<()> {
    let stored = cx.store.get(FOUND).await?;
    let found = Added {
        keys: known.keys,
        found: known.format,
        ..Added::new(config, known.schema.as_ref().clone())
    };
    let value = found.to_value()?;
    if stored.as_ref() != Some(&value) {
        // Whoever was faster has found out the same.
        cx.store
            .compare_and_set(FOUND, stored.as_ref(), &value)
            .await?;
    }
    Ok(())
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
        let value = Added::new(config, Schema::new(fields)).to_value()?;
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
