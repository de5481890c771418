//! The keys of `type = "flatten"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result, Transform, TransformConfig, TransformContext};

use super::map::FlattenMap;

/// Makes columns of the members of nested columns: `address.geo.lat` becomes `address_geo_lat`.
///
/// ```toml
/// [transforms.flat]
/// type = "flatten"
/// inputs = ["api.users"]
/// ```
///
/// The members of a struct stand in its place, in their order. Where a struct is NULL, they are. A struct
/// without members leaves nothing. Lists, maps and unions are left as they are, with the structs in
/// them: `unnest` in a `sql` transform gives a row for each element. Two columns that would have one
/// name are an error before anything is read.
///
/// All inputs must have the same columns.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlattenConfig {
    /// What stands between the names of a struct and its member. Default: `_`.
    #[serde(default = "underscore", skip_serializing_if = "is_underscore")]
    pub separator: String,
    /// How many levels are taken apart; structs that are nested deeper stay structs. At least 1.
    /// Default: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<usize>,
    /// The columns to take apart, which must be structs. Others stay as they are. Default: all structs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
}

fn underscore() -> String {
    "_".to_owned()
}

fn is_underscore(separator: &str) -> bool {
    separator == underscore()
}

#[async_trait]
#[typetag::serde(name = "flatten")]
impl TransformConfig for FlattenConfig {
    fn validate(&self) -> Result<()> {
        if self.depth == Some(0) {
            return Err(Error::config("`depth` is at least 1").with("key", "depth"));
        }
        let columns = self.columns.as_deref();
        if columns.is_some_and(<[String]>::is_empty) {
            return Err(Error::config("there are no columns to take apart")
                .with("key", "columns")
                .hint("leave `columns` out for all structs"));
        }
        Ok(())
    }

    async fn open(&self, cx: &TransformContext) -> Result<Transform> {
        self.validate()?;
        Ok(Transform::Map(Arc::new(FlattenMap::new(self, &cx.inputs)?)))
    }
}
