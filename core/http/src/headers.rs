use std::collections::BTreeMap;

use reqwest::header::{HeaderName, HeaderValue};
use tidegate_core::{Error, Result};

/// Headers that let us in, and so are secret.
const CREDENTIALS: [&str; 3] = ["authorization", "proxy-authorization", "cookie"];

/// Checks the key `headers` of a component: headers that stand in the pipeline file.
///
/// Errors: `Config`, about the key `headers`, for what can't be sent, is there twice, or is a secret.
pub fn check_headers(headers: &BTreeMap<String, String>) -> Result<()> {
    let refused =
        |message: String, hint: &str| Err(Error::config(message).with("key", "headers").hint(hint));
    for (at, (name, value)) in headers.iter().enumerate() {
        if name.parse::<HeaderName>().is_err() {
            return refused(
                format!("`{name}` can't be a header's name"),
                "a name is made of letters, digits and `-`",
            );
        }
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
                "secrets are given by `auth`, which keeps them hidden",
            );
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
