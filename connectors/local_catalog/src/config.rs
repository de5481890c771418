//! The configuration.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Catalog, CatalogConfig, Context, Error, Result};

use crate::catalog::LocalCatalog;
use crate::store::Store;

/// Where the catalog is if nothing else is said, from the current directory, as the state is.
const DEFAULT: &str = ".tidegate/catalog.db";

/// Keeps tables in a file on this machine, which is made if it isn't there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LocalConfig {
    /// The file, on a local disk. A relative path is relative to the pipeline file. Default:
    /// `.tidegate/catalog.db` in the current directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<PathBuf>,
}

#[async_trait]
impl CatalogConfig for LocalConfig {
    fn validate(&self) -> Result<()> {
        match &self.path {
            Some(path) if path.as_os_str().is_empty() => {
                Err(Error::config("the path of a local catalog is empty")
                    .with("key", "path")
                    .hint("name a file, such as \"catalog.db\", or leave the key out"))
            }
            _ => Ok(()),
        }
    }

    async fn open(&self, cx: &Context) -> Result<Arc<dyn Catalog>> {
        let path = match &self.path {
            Some(path) => cx.path(path),
            None => std::path::absolute(Path::new(DEFAULT)).map_err(|error| {
                Error::io("the current directory can't be found", error)
                    .hint("give the local catalog a `path`")
            })?,
        };
        Ok(Arc::new(LocalCatalog::new(Store::open(path).await?)))
    }
}
