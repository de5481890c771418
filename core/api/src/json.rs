//! Values found in a JSON text, without making the rest of it into values.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::Pointer;

/// A JSON text whose outermost object was taken apart once.
#[derive(Debug)]
pub(crate) struct Document<'a> {
    whole: &'a RawValue,
    /// The members, if it is an object.
    members: Option<Members<'a>>,
}

impl<'a> Document<'a> {
    pub(crate) fn parse(text: &'a [u8]) -> serde_json::Result<Self> {
        Self::of(serde_json::from_slice(text)?)
    }

    pub(crate) fn of(whole: &'a RawValue) -> serde_json::Result<Self> {
        let members = match kind(whole) {
            Kind::Object => Some(serde_json::from_str(whole.get())?),
            _ => None,
        };
        Ok(Self { whole, members })
    }

    /// The value that `pointer` leads to; `None` where there is none.
    pub(crate) fn find(&self, pointer: &Pointer) -> Option<&'a RawValue> {
        let mut names = pointer.names();
        let Some(first) = names.next() else {
            return Some(self.whole);
        };
        let mut found = match &self.members {
            Some(members) => members.get(&first)?,
            None => step(self.whole, &first)?,
        };
        for name in names {
            found = step(found, &name)?;
        }
        Some(found)
    }

    /// The same, but for null there is nothing.
    pub(crate) fn present(&self, pointer: &Pointer) -> Option<&'a RawValue> {
        self.find(pointer).filter(|value| kind(value) != Kind::Null)
    }

    /// The value as a `T`; `None` where there is none, or null.
    pub(crate) fn read<T: DeserializeOwned>(
        &self,
        pointer: &Pointer,
    ) -> serde_json::Result<Option<T>> {
        let value = self.present(pointer);
        value
            .map(|value| serde_json::from_str(value.get()))
            .transpose()
    }

    /// Whether it is null, and nothing else.
    pub(crate) fn is_null(&self) -> bool {
        kind(self.whole) == Kind::Null
    }

    /// Where there are arrays, at the outermost level and the one below, for messages.
    pub(crate) fn arrays(&self) -> Vec<String> {
        const MOST: usize = 5;
        let mut arrays = Vec::new();
        for (name, value) in self.members.iter().flat_map(|members| &members.0) {
            let at = Pointer::member(name);
            match kind(value) {
                Kind::Array => arrays.push(at.to_string()),
                Kind::Object => {
                    let inner = serde_json::from_str::<Members<'_>>(value.get());
                    let inner = inner.into_iter().flat_map(|members| members.0);
                    let inner = inner.filter(|(_, value)| kind(value) == Kind::Array);
                    arrays.extend(inner.map(|(name, _)| format!("{at}{}", Pointer::member(&name))));
                }
                _ => {}
            }
        }
        arrays.truncate(MOST);
        arrays
    }

    /// What there is at the outermost level, for messages.
    pub(crate) fn describe(&self) -> String {
        match &self.members {
            Some(members) if members.0.is_empty() => "an object without members".to_owned(),
            Some(members) => {
                let mut names: Vec<_> = members.0.iter().map(|(name, _)| &**name).collect();
                names.truncate(12);
                format!("an object of `{}`", names.join("`, `"))
            }
            None => kind(self.whole).to_string(),
        }
    }
}

/// The member of an object by its name, or the element of an array by its number.
fn step<'a>(value: &'a RawValue, name: &str) -> Option<&'a RawValue> {
    // What is a part of a text that was parsed can be parsed.
    match kind(value) {
        Kind::Object => serde_json::from_str::<Members<'a>>(value.get())
            .ok()?
            .get(name),
        Kind::Array => elements(value).ok()?.get(position(name)?).copied(),
        _ => None,
    }
}

/// A name as an element's number: digits, without zeros before it (RFC 6901, 4).
fn position(name: &str) -> Option<usize> {
    let plain = name == "0" || name.starts_with(|first| matches!(first, '1'..='9'));
    name.parse().ok().filter(|_| plain)
}

/// The elements of an array.
pub(crate) fn elements(array: &RawValue) -> serde_json::Result<Vec<&RawValue>> {
    serde_json::from_str(array.get())
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Null,
    Bool,
    Number,
    Text,
    Array,
    Object,
}

pub(crate) fn kind(value: &RawValue) -> Kind {
    match value.get().as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::Text,
        Some(b't' | b'f') => Kind::Bool,
        Some(b'n') | None => Kind::Null,
        _ => Kind::Number,
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::Text => "a text",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// An object's members. Of a name that comes twice the last value counts, as for the decoder.
#[derive(Debug)]
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        let mut last_first = self.0.iter().rev();
        last_first
            .find(|(other, _)| other == name)
            .map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    members.push((name.0, map.next_value()?));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// A name, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn at<'a>(document: &'a str, pointer: &str) -> Option<&'a str> {
        let document = Document::parse(document.as_bytes()).unwrap();
        let found = document.find(&pointer.parse().unwrap());
        found.map(RawValue::get)
    }

    #[test]
    fn values_are_found_by_names_and_numbers() {
        let text = r#" {"a": {"b/c": [1, {"x": "y"}], "": 0}, "d~": null, "\u0065": 5} "#;
        assert_eq!(at(text, ""), Some(text.trim()));
        assert_eq!(at(text, "/a/b~1c/1/x"), Some("\"y\""));
        assert_eq!(at(text, "/a/b~1c/2"), None);
        assert_eq!(at(text, "/a/b~1c/-1"), None);
        assert_eq!(at(text, "/a/"), Some("0"));
        assert_eq!(at(text, "/d~0"), Some("null"));
        assert_eq!(at(text, "/e"), Some("5"));
        assert_eq!(at(text, "/d~0/x"), None);
        assert_eq!(at(r#"[[1, 2]]"#, "/0/1"), Some("2"));
        for position in ["/0/01", "/00", "/+0", "/0/+1", "/-0", "/"] {
            assert_eq!(at(r#"[[1, 2]]"#, position), None, "{position}");
        }
        assert_eq!(at(r#"{"a": 1, "a": 2}"#, "/a"), Some("2"));
    }

    #[test]
    fn what_is_not_json_is_refused() {
        for text in [
            &b"{\"a\": }"[..],
            b"",
            b"<html>",
            b"[1,",
            b"\"\xff\"",
            b"{} {}",
        ] {
            Document::parse(text).unwrap_err();
        }
    }
    fn any_json() -> impl Strategy<Value = Value> {
        let name = "[a-b~/\u{e9}\"0-1]{0,2}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            name.prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(name, inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_found_is_what_another_library_finds(
            value in any_json(),
            names in prop::collection::vec("[a-b~/\u{e9}\"0-1]{0,2}", 0..4),
        ) {
            let pointer: String = names
                .iter()
                .map(|name| Pointer::member(name).to_string())
                .collect();
            let text = value.to_string();
            let found = at(&text, &pointer).map(|text| serde_json::from_str(text).unwrap());
            prop_assert_eq!(found.as_ref(), value.pointer(&pointer));
        }
    }
}
