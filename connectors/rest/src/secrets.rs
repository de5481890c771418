//! Secrets that are sent in headers, parameters and the body, beside `auth`.

use serde_json::{Value, json};
use tidegate_api::{Endpoint, Pointer};
use tidegate_core::{Context, Error, Result, Secret, names_a_secret};
use tidegate_http::{Along, Authorizer, HeaderText, HttpClient};

use crate::config::RestConfig;
use crate::params::One;

/// The least characters of a text that is taken for a secret by the name it goes by.
const LEAST: usize = 8;

/// A secret in one of the keys.
type Named<'a> = (Along<'a>, &'a Secret);

impl RestConfig {
    /// Those in headers and in parameters.
    fn named(&self) -> Vec<Named<'_>> {
        let headers = self.headers.iter().filter_map(|(name, value)| match value {
            HeaderText::Secret(secret) => Some((Along::Header(name), secret)),
            HeaderText::Text(_) => None,
        });
        let params = self.params.iter().flat_map(|(name, param)| {
            let secrets = param.all().iter().filter_map(|one| one.text().err());
            secrets.map(move |secret| (Along::Param(name), secret))
        });
        headers.chain(params).collect()
    }

    /// Whether there are any.
    pub(crate) fn has_secrets(&self) -> bool {
        let body = self.body.as_ref().map(Written::of);
        !self.named().is_empty() || body.is_some_and(|body| !body.secrets.is_empty())
    }

    /// The names of those that aren't in the body: what they are decides what is asked.
    pub(crate) fn besides(&self) -> Option<Value> {
        let named = self.named();
        let names = named.iter().map(|(place, secret)| match place {
            Along::Header(name) => json!(["header", name, secret]),
            Along::Param(name) | Along::Body(name) => json!(["param", name, secret]),
        });
        (!named.is_empty()).then(|| names.collect())
    }

    /// Reads them: those of headers and parameters go along with the credentials, those of the body
    /// with the endpoint.
    ///
    /// Errors: `Auth` where one can't be read or can't be sent.
    pub(crate) fn read_secrets(
        &self,
        cx: &Context,
        client: &HttpClient,
        authorizer: &mut Authorizer,
        endpoint: &mut Endpoint,
    ) -> Result<()> {
        for (place, secret) in self.named() {
            authorizer.along(place, secret, self.allow_http, cx, client)?;
        }
        let body = self.body.as_ref().map(Written::of);
        for (pointer, secret) in body.map(|body| body.secrets).unwrap_or_default() {
            let place = Along::Body(&pointer);
            let value = authorizer.along(place, &secret, self.allow_http, cx, client)?;
            let pointer: Pointer = pointer
                .parse()
                .map_err(|error: String| Error::internal(error).with("pointer", &pointer))?;
            endpoint.body_secrets.push((pointer, value));
        }
        Ok(())
    }

    /// Has `client` show none of the texts that stand in the file under a name that speaks of a
    /// secret, or came there by a variable; says whether one of them could go along with a
    /// redirection.
    pub(crate) fn mask_texts(&self, client: &HttpClient) -> bool {
        let is_one = |name: &str, text: &str| names_a_secret(name) && text.chars().count() >= LEAST;
        let mut carried = Vec::new();
        for (name, value) in &self.headers {
            if let HeaderText::Text(text) = value
                && is_one(name, text)
            {
                carried.push(text.clone());
            }
        }
        let mut visit = |name: &str, text: &str| {
            if is_one(name, text) {
                carried.push(text.to_owned());
            }
        };
        texts_in(self.body.as_ref().unwrap_or(&Value::Null), "", &mut visit);
        for (name, param) in &self.params {
            for one in param.all() {
                if let One::Text(text) = one
                    && is_one(name, text)
                {
                    client.mask(text);
                }
            }
        }
        carried.iter().for_each(|text| client.mask(text));
        !carried.is_empty()
    }
}

/// Calls `found` with each text, and the name of the member it stands under.
fn texts_in(value: &Value, name: &str, found: &mut impl FnMut(&str, &str)) {
    match value {
        Value::String(text) => found(name, text),
        Value::Array(items) => items.iter().for_each(|item| texts_in(item, name, found)),
        Value::Object(members) => members
            .iter()
            .for_each(|(name, member)| texts_in(member, name, found)),
        _ => {}
    }
}

/// A body as it is written in a pipeline file.
pub(crate) struct Written {
    /// The body, with the secrets' names in their places.
    pub(crate) body: Value,
    /// The secrets, by JSON pointers.
    pub(crate) secrets: Vec<(String, Secret)>,
}

impl Written {
    /// Finds the tables `{ env = "NAME" }` and `{ file = "PATH" }`. What stands in
    /// `{ literal = { env = "…" } }` is such an object itself, for an API that has one.
    pub(crate) fn of(body: &Value) -> Self {
        let mut body = body.clone();
        let mut secrets = Vec::new();
        read(&mut body, &mut String::new(), &mut secrets);
        Self { body, secrets }
    }
}

fn read(value: &mut Value, at: &mut String, secrets: &mut Vec<(String, Secret)>) {
    if let Some(secret) = secret_of(value) {
        secrets.push((at.clone(), secret));
        return;
    }
    if let Some(literal) = literal_of(value) {
        *value = literal.clone();
        return;
    }
    let length = at.len();
    let mut inside = |name: &str, inner: &mut Value| {
        at.push('/');
        at.push_str(&name.replace('~', "~0").replace('/', "~1"));
        read(inner, at, secrets);
        at.truncate(length);
    };
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                inside(&index.to_string(), item);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                inside(name, member);
            }
        }
        _ => {}
    }
}

/// The secret that a value names.
fn secret_of(value: &Value) -> Option<Secret> {
    let (name, text) = only_member(value)?;
    let text = text.as_str()?;
    match name {
        "env" => Some(Secret::Env(text.to_owned())),
        "file" => Some(Secret::File(text.into())),
        _ => None,
    }
}

/// What is meant by itself, though it looks like the name of a secret, or like this.
fn literal_of(value: &Value) -> Option<&Value> {
    let (name, inner) = only_member(value)?;
    let is_one = secret_of(inner).is_some() || literal_of(inner).is_some();
    (name == "literal" && is_one).then_some(inner)
}

fn only_member(value: &Value) -> Option<(&str, &Value)> {
    let members = value.as_object()?;
    let (name, inner) = members.iter().next()?;
    (members.len() == 1).then_some((name, inner))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_named_in_bodies_and_what_looks_alike_can_be_meant() {
        let written = Written::of(&json!({
            "a": { "key": { "env": "KEY" } },
            "b/~": [1, { "file": "/run/key" }],
            "c": { "env": 1 }, "d": { "env": "X", "more": 1 }, "e": { "literal": "x" },
            "f": { "literal": { "env": "prod" } },
            "g": { "literal": { "literal": { "env": "prod" } } },
        }));
        let named = [
            ("/a/key".to_owned(), Secret::Env("KEY".into())),
            ("/b~1~0/1".to_owned(), Secret::File("/run/key".into())),
        ];
        assert_eq!(written.secrets, named);
        assert_eq!(written.body["a"]["key"], json!({ "env": "KEY" }));
        assert_eq!(written.body["c"], json!({ "env": 1 }));
        assert_eq!(written.body["d"], json!({ "env": "X", "more": 1 }));
        assert_eq!(written.body["e"], json!({ "literal": "x" }));
        assert_eq!(written.body["f"], json!({ "env": "prod" }));
        assert_eq!(written.body["g"], json!({ "literal": { "env": "prod" } }));
    }
}
