//! Values that must not be shown.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use crate::{Context, Error, Result, describe_keys};

/// The most bytes that a secret's file may have: 64 KiB. Keys and tokens are far shorter.
const MOST_BYTES: u64 = 64 << 10;

/// The ends of key names whose values are not shown.
const SECRETIVE: &[&str] = &[
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "api_key",
    "apikey",
    "access_key",
    "private_key",
    "credential",
    "credentials",
    "authorization",
    "cookie",
];

/// Whether a key's name says that its value is a secret: `password`, `X-Api-Key`, `page_token`.
pub fn names_a_secret(key: &str) -> bool {
    let key = key
        .trim()
        .trim_matches(['"', '\''])
        .to_ascii_lowercase()
        .replace('-', "_");
    SECRETIVE.iter().any(|end| key.ends_with(end))
}

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
    /// The path of a file of at most 64 KiB; a line break at its end is left out.
    File(PathBuf),
}

impl Secret {
    /// Reads the value.
    ///
    /// Errors: `Auth` if there is none, or if the file isn't a regular one or is larger than 64 KiB.
    pub fn resolve(&self, cx: &Context) -> Result<SecretValue> {
        match self {
            Self::Env(name) => std::env::var(name).map(SecretValue).map_err(|error| {
                Error::auth("a secret's environment variable can't be read")
                    .with("variable", name)
                    .hint(format!("set {name} before running the pipeline"))
                    .because(error)
            }),
            Self::File(path) => read(&cx.path(path))
                .map(|text| SecretValue(text.trim_end_matches(['\r', '\n']).to_owned()))
                .map_err(|error| error.with("path", path.display())),
        }
    }
}

/// Reads a secret's file.
fn read(path: &Path) -> Result<String> {
    let unreadable = |error| Error::auth("a secret's file can't be read").because(error);
    // Before it is opened: that would wait for whoever writes to a pipe, and a device has no end.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(Error::auth("a secret's file is not a regular file").hint(
            "a directory, a device or a pipe can't be read here; what `<(…)` of a shell gives is a pipe: \
             write the secret to a file, or give it by a variable, { env = \"NAME\" }",
        ));
    }
    let file = File::open(path).map_err(unreadable)?;
    let mut text = Vec::new();
    // One byte more tells that there is more.
    let mut most = file.take(MOST_BYTES + 1);
    most.read_to_end(&mut text).map_err(unreadable)?;
    if most.limit() == 0 {
        return Err(Error::auth("a secret's file is larger than 64 KiB")
            .hint("the file holds the secret and nothing else: check its path"));
    }
    // The error doesn't quote it.
    String::from_utf8(text).map_err(|_| Error::auth("a secret's file is not UTF-8"))
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
