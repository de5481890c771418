//! Values that must not be shown.

use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Context, Error, Result, describe_keys};

/// Where a secret is to be found: `{ env = "SHOP_PASSWORD" }` or `{ file = "/run/secrets/shop" }`.
///
/// Only the reference is stored; the value is read at `open`. A plain text is refused, because
/// pipeline files are shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[schemars(transform = describe_keys)]
pub enum Secret {
    /// The name of an environment variable.
    Env(String),
    /// The path of a file; a line break at its end is left out.
    File(PathBuf),
}

impl Secret {
    /// Reads the value.
    ///
    /// Errors: `Auth` if there is none.
    pub fn resolve(&self, cx: &Context) -> Result<SecretValue> {
        match self {
            Self::Env(name) => std::env::var(name).map(SecretValue).map_err(|error| {
                Error::auth("a secret's environment variable can't be read")
                    .with("variable", name)
                    .hint(format!("set {name} before running the pipeline"))
                    .because(error)
            }),
            Self::File(path) => std::fs::read_to_string(cx.path(path))
                .map(|text| SecretValue(text.trim_end_matches(['\r', '\n']).to_owned()))
                .map_err(|error| {
                    Error::auth("a secret's file can't be read")
                        .with("path", path.display())
                        .because(error)
                }),
        }
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // By hand, so that a password written in plain text is never quoted in the error.
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{ env = \"NAME\" } or { file = \"PATH\" }")
            }

            fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Secret, E> {
                Err(E::custom(
                    "a secret can't stand in the file itself; write { env = \"NAME\" } or { file = \"PATH\" }",
                ))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Secret, A::Error> {
                use serde::de::Error as _;
                let secret = match map.next_key::<String>()?.as_deref() {
                    Some("env") => Secret::Env(map.next_value()?),
                    Some("file") => Secret::File(map.next_value()?),
                    _ => {
                        return Err(A::Error::custom(
                            "a secret is { env = \"NAME\" } or { file = \"PATH\" }",
                        ));
                    }
                };
                match map.next_key::<String>()? {
                    None => Ok(secret),
                    Some(_) => Err(A::Error::custom("a secret has either `env` or `file`")),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A secret's value: never printed, never stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretValue(String);

impl SecretValue {
    /// The value, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// A value that no pipeline file names: a token that was made.
impl From<String> for SecretValue {
    fn from(value: String) -> Self {
        Self(value)
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
