use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// Where a value stands in a JSON document: `/data/items`, as RFC 6901 writes it. The empty one is
/// the document itself; `~1` stands for a `/` in a name, `~0` for a `~`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct Pointer(String);

impl Pointer {
    /// The document itself.
    pub fn root() -> Self {
        Self::default()
    }

    /// The member `name` of the document.
    pub fn member(name: &str) -> Self {
        Self(format!("/{}", name.replace('~', "~0").replace('/', "~1")))
    }

    /// As it is written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The names on the way, unescaped.
    pub fn names(&self) -> impl Iterator<Item = Cow<'_, str>> {
        self.0
            .split('/')
            .skip(1)
            .map(|name| match name.contains('~') {
                true => name.replace("~1", "/").replace("~0", "~").into(),
                false => name.into(),
            })
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Pointer {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(format!("`{text}` is not a JSON pointer: write \"/{text}\""));
        }
        let mut tildes = text.split('~').skip(1);
        if !tildes.all(|after| after.starts_with(['0', '1'])) {
            return Err(format!(
                "`{text}` is not a JSON pointer: a `~` in a name is written `~0`"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for Pointer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Pointer {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Pointer".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "json-pointer",
            "pattern": "^(/([^~/]|~[01])*)*$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_checked_and_taken_apart() {
        let pointer: Pointer = "/a~1b/m~0n//0".parse().unwrap();
        assert_eq!(pointer.names().collect::<Vec<_>>(), ["a/b", "m~n", "", "0"]);
        assert_eq!(Pointer::root().names().count(), 0);
        assert_eq!(Pointer::member("a/b~").as_str(), "/a~1b~0");
        for (text, reason) in [("items", "\"/items\""), ("/a~b", "`~0`"), ("/a~", "`~0`")] {
            let error = text.parse::<Pointer>().unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
    }
}
