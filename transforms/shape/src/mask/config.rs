//! The keys of `type = "mask"`.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Error, Result, Secret, Transform, TransformConfig, TransformContext, describe_keys,
};

use super::map::MaskMap;

/// Makes chosen columns unreadable: hashed, replaced, or all but a few characters.
///
/// ```toml
/// [transforms.masked]
/// type = "mask"
/// inputs = ["shop.customers"]
/// key = { env = "MASK_KEY" }
/// columns = { email = "hash", name = "redact", birthday = "null", phone = { keep_last = 4 } }
/// ```
///
/// | mask | what comes out |
/// |---|---|
/// | `"hash"` | HMAC-SHA-256 with the `key`, as 64 hexadecimal digits: of the UTF-8 bytes of text, of bytes as they are, of other values by their text as the `files` sink writes it into CSV |
/// | `"redact"`, `{ redact = "?" }` | `***`, or this text |
/// | `"null"` | NULL |
/// | `{ keep_last = 4 }` | `*` for each character but the last 4; for all, where there are no more than 4 |
/// | `{ keep_first = 2 }` | the same with the first 2 |
///
/// NULL stays NULL whatever the mask, so whether there is a value can still be seen, but for `null`.
/// What is masked becomes text (`string`), but for `null`, which leaves the type. The other columns pass as
/// they are, and no row is rejected.
///
/// Columns are those at the top. A nested one can be masked as a whole, by `hash`, `redact` or `null`;
/// of a member, `flatten` makes a column before. What a component before this one rejects is not masked
/// in its `rejected`.
///
/// All inputs must have the same columns.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MaskConfig {
    /// The columns to mask, and how: see above.
    pub columns: BTreeMap<String, Mask>,
    /// The secret of `hash`, which needs it. Who has it can find out by trying which value a hash is
    /// of, so let it be long and random (`openssl rand -hex 32`). Another key gives other hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,
}

/// What is done to a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Mask {
    /// One of the names.
    Name(MaskName),
    /// One that needs to know more.
    With(MaskWith),
}

/// A mask that needs to know no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskName {
    /// HMAC-SHA-256 with the `key`, as 64 hexadecimal digits. Equal values have equal hashes, in all
    /// columns, runs and pipelines with the same key, so that rows can still be joined and counted.
    /// Hashed are the UTF-8 bytes of texts, bytes as they are, and other values by their text, as the
    /// `files` sink writes it into CSV: the number 7 and the text `7` have the same hash.
    Hash,
    /// `***`.
    Redact,
    /// NULL.
    Null,
}

/// A mask that needs to know more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(transform = describe_keys)]
pub enum MaskWith {
    /// This text.
    Redact(String),
    /// The last so many characters stay, and each one before becomes `*`. Of a value that has no more
    /// characters than that, all do. Characters are Unicode's; a number or a time is
    /// masked in its text. How long a value is can still be seen. Not for bytes and nested columns.
    KeepLast(usize),
    /// The same with the first so many characters.
    KeepFirst(usize),
}

#[async_trait]
#[typetag::serde(name = "mask")]
impl TransformConfig for MaskConfig {
    fn validate(&self) -> Result<()> {
        if self.columns.is_empty() {
            return Err(Error::config("there are no columns to mask").with("key", "columns"));
        }
        let hashed = Mask::Name(MaskName::Hash);
        let hashed = self.columns.iter().find(|(_, mask)| **mask == hashed);
        if let (Some((name, _)), None) = (hashed, &self.key) {
            return Err(
                Error::config(format!("to hash column `{name}`, a `key` is needed"))
                    .with("key", "columns")
                    .hint("give one: key = { env = \"MASK_KEY\" }"),
            );
        }
        Ok(())
    }

    async fn open(&self, cx: &TransformContext) -> Result<Transform> {
        self.validate()?;
        let key = self.key.as_ref().map(|key| key.resolve(&cx.common));
        let map = MaskMap::new(&self.columns, key.transpose()?.as_ref(), &cx.inputs)?;
        Ok(Transform::Map(Arc::new(map)))
    }
}
