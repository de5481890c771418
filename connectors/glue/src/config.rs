//! The configuration.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_aws::{Aws, AwsSettings};
use tidegate_core::{Catalog, CatalogConfig, Context, Error, Result};

use crate::api::Api;
use crate::catalog::GlueCatalog;

/// Keeps tables in the AWS Glue Data Catalog, where Athena, Spark and Trino find them.
///
/// Names are stored in lower case, and have only the characters `a`–`z`, `0`–`9` and `_`. The permissions
/// that are needed: `glue:GetTable`, `glue:CreateTable`, `glue:UpdateTable`, `glue:CreateDatabase`
/// (if the database isn't there), `glue:GetPartitions`, `glue:BatchCreatePartition`,
/// `glue:BatchUpdatePartition`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GlueConfig {
    /// Whose catalog: the AWS account's number, `"123456789012"`. Default: that of the credentials.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catalog_id: Option<String>,

    /// How AWS is reached, where that differs from the settings `[aws]` in `tidegate.toml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aws: Option<AwsSettings>,
}

#[async_trait]
impl CatalogConfig for GlueConfig {
    fn validate(&self) -> Result<()> {
        match self.catalog_id.as_deref() {
            Some(id) if id.is_empty() || id.len() > 255 || id.contains(char::is_whitespace) => {
                Err(Error::config(format!("`{id}` is no catalog's id"))
                    .with("key", "catalog_id")
                    .hint("write the AWS account's 12 digits, or leave the key out"))
            }
            _ => Ok(()),
        }
    }

    async fn open(&self, cx: &Context) -> Result<Arc<dyn Catalog>> {
        let settings = AwsSettings::of(cx, self.aws.as_ref())?;
        let aws = Aws::connect(&settings, &cx.metrics).await?;
        let api = Api::new(&aws, self.catalog_id.clone());
        Ok(Arc::new(GlueCatalog::new(api)))
    }
}
