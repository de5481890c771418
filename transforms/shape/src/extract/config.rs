//! The keys of `type = "extract"`.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result, Transform, TransformConfig, TransformContext};
use tidegate_formats::TypeSpec;

use super::map::ExtractMap;

/// Collects fields from nested JSON, wherever they stand: a row for each record.
///
/// ```toml
/// [transforms.people]
/// type = "extract"
/// inputs = ["users"]
/// column = "payload"
/// fields = ["first_name", "last_name", { name = "zip", from = "zip_code" }]
/// keep = ["received_at"]
/// ```
///
/// **A record** is a document, with all objects within each other in it. Of a field that it has
/// several times, the one whose key stands last counts. Each element of a list that has some of the
/// fields, at any depth, is a record of its own. It also has the fields that stand around the list,
/// unless it has its own: those of the objects that the list is in, not those of other elements. So it
/// is with lists within elements.
///
/// ```text
/// {"zip_code": "10115", "people": [{"first_name": "Ada"}, {"name": {"first_name": "Bob"}}]}
///     first_name  zip_code
///     Ada         10115
///     Bob         10115
/// ```
///
/// What stands around a list is a row by itself, before those of the list, only if a value of it would
/// be lost else, because every element has its own: a parent with a `first_name`, whose children all
/// have one. A document or an element that has none of the fields gives no row; so does NULL.
///
/// **A value** is taken as it stands: a text column has a JSON string decoded, and numbers (with all
/// their digits), booleans, objects and lists as their JSON text; `null` is NULL, and is a value,
/// so that a later `null` counts; but in a nested column, NULL is as if the field weren't there. What
/// is within a field's value is looked through as well.
///
/// **Rejected** are documents that are no JSON (with the place of the error, in bytes from 0; half of
/// a surrogate pair is one), that are nested more than 512 levels deep, or whose records would hold more
/// than 256 MiB together, because what stands around a list is repeated for its elements; and records
/// with a value that doesn't fit its column's type: the other records of the document go on.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtractConfig {
    /// The column that holds the documents: text or bytes with a JSON document in each row, or a
    /// nested column (a struct, a list), which is looked through in the same way. Default: `payload`.
    #[serde(default = "payload", skip_serializing_if = "is_payload")]
    pub column: String,
    /// The fields to look for: keys, each of which names a column of text, or tables with the column's
    /// `name`, the key `from` which it is taken (default: the name) and its `type` as in the `schema` of
    /// a `json` transform (default: `string`): `{ name = "zip", from = "zip_code", type = "int64" }`.
    /// Each is a column of the output; it may always be NULL.
    pub fields: Vec<FieldToFind>,
    /// Other columns of the input to carry along to each row. They come first, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keep: Vec<String>,
    /// Whether keys in another case are the same: `zipCode`, `ZIPCODE`. Default: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_case: bool,
}

fn payload() -> String {
    "payload".to_owned()
}

fn is_payload(column: &str) -> bool {
    column == payload()
}

/// A field to look for: its key, or a table of `name`, `from`, `type`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum FieldToFind {
    /// Its key in the documents, which is the name of a text column too.
    Key(String),
    /// Its key, and another name or type.
    Column(FoundColumn),
}

/// A field to look for, with a name or a type for its column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(inline)]
pub struct FoundColumn {
    /// The column's name.
    pub name: String,
    /// The field's key in the documents. Default: `name`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The column's type, as in the `schema` of a `json` transform. Default: `string`.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub type_: Option<TypeSpec>,
}

impl FieldToFind {
    /// The column's name.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Key(key) => key,
            Self::Column(column) => &column.name,
        }
    }

    /// The key in documents.
    pub(super) fn key(&self) -> &str {
        match self {
            Self::Key(key) => key,
            Self::Column(column) => column.from.as_ref().unwrap_or(&column.name),
        }
    }

    /// The type that it has instead of text.
    pub(super) fn type_(&self) -> Option<&TypeSpec> {
        match self {
            Self::Key(_) => None,
            Self::Column(column) => column.type_.as_ref(),
        }
    }
}

#[async_trait]
#[typetag::serde(name = "extract")]
impl TransformConfig for ExtractConfig {
    fn validate(&self) -> Result<()> {
        let of = |key: &'static str, message: String| Err(Error::config(message).with("key", key));
        if self.fields.is_empty() {
            return of("fields", "there are no fields to look for".to_owned());
        }
        for (at, name) in self.keep.iter().enumerate() {
            if self.keep[..at].contains(name) {
                return of("keep", format!("`keep` has `{name}` twice"));
            }
        }
        for (at, field) in self.fields.iter().enumerate() {
            let name = field.name();
            if name.is_empty() {
                return of("fields", format!("field {} has no name", at + 1));
            }
            if self.fields[..at].iter().any(|other| other.name() == name) {
                return of("fields", format!("two fields are called `{name}`"));
            }
            if self.keep.iter().any(|kept| kept == name) {
                let error = Error::config(format!("`{name}` is both in `keep` and in `fields`"));
                return Err(error.with("key", "fields").hint(format!(
                    "call the field otherwise: {{ name = \"found_{name}\", from = \"{}\" }}",
                    field.key()
                )));
            }
        }
        Ok(())
    }

    async fn open(&self, cx: &TransformContext) -> Result<Transform> {
        self.validate()?;
        Ok(Transform::Map(Arc::new(ExtractMap::new(self, &cx.inputs)?)))
    }
}
