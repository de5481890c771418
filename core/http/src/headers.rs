use std::collections::BTreeMap;

use reqwest::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result, Secret};

use crate::Auth;

/// A header's value as it stands in a pipeline file: a text, or the name of a secret,
/// `{ env = "API_KEY" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum HeaderText {
    /// The value itself.
    Text(String),
    /// Where the value is to be found.
    Secret(Secret),
}

/// Headers that let us in, and so are secret.
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Checks the key `headers` of a component: headers that stand in the pipeline file.
///
/// Errors: `Config`, about the key `headers`, for what can't be sent, is there twice, or is a secret
/// that stands in the file itself.
pub fn check_headers(headers: &BTreeMap<String, HeaderText>) -> Result<()> {
    let refused =
        |message: String, hint: &str| Err(Error::config(message).with("key", "headers").hint(hint));
    for (at, (name, value)) in headers.iter().enumerate() {
        if name.parse::<HeaderName>().is_err() {
            return refused(
                format!("`{name}` can't be a header's name"),
                "a name is made of letters, digits and `-`",
            );
        }
        if let HeaderText::Text(value) = value {
            // The value isn't quoted: it may be a secret after all.
            if HeaderValue::from_str(value).is_err() {
                return refused(
                    format!("the value of the header `{name}` can't be sent"),
                    "headers hold one line of visible ASCII",
                );
            }
            if CREDENTIALS.contains(&name.to_ascii_lowercase().as_str()) {
                return refused(
                    format!("the header `{name}` holds a secret"),
                    "secrets are given by `auth`, or as `{ env = \"NAME\" }`, which keep them hidden",
                );
            }
        }
        let mut others = headers.keys().skip(at + 1);
        if others.any(|other| other.eq_ignore_ascii_case(name)) {
            return refused(
                format!("the header `{name}` is there twice"),
                "the case of a header's name makes no difference: keep one",
            );
        }
    }
    Ok(())
}

/// Refuses a header of `headers` that `auth` sends as well.
///
/// Errors: `Config`, about the key `headers`.
pub fn check_auth_header(auth: &Auth, headers: &BTreeMap<String, HeaderText>) -> Result<()> {
    let own = auth.header_name().unwrap_or_default();
    match headers.keys().find(|name| name.eq_ignore_ascii_case(own)) {
        None => Ok(()),
        Some(name) => Err(Error::config(format!(
            "the header `{name}` is in `headers`, and is sent by `auth`"
        ))
        .with("key", "headers")
        .hint("leave it out of `headers`")),
    }
}
