//! What can be refused without asking the server.

use tidegate_api::{Endpoint, Pagination, Place, raw};
use tidegate_core::{Error, NewColumns, Result, StreamName};
use tidegate_http::{OnQuota, check_auth_header, check_headers, is_rate, may_carry};

use crate::config::{Raw, RestConfig, Verb};

/// The most requests a second that can be asked for.
const FASTEST: f64 = 10_000.0;

impl RestConfig {
    /// Checks the keys one by one, and those that exclude each other.
    pub(crate) fn check(&self) -> Result<()> {
        let url = self.address()?;
        check_headers(&self.headers)?;
        self.check_params()?;
        if self.body.is_some() && self.method == Verb::Get {
            return Err(of_key("body", "a GET has no body")
                .hint("set `method = \"POST\"`, or send `params`"));
        }
        if let Some(auth) = &self.auth {
            auth.validate(self.allow_http)?;
            auth.may_go_to(&url, self.allow_http)?;
            check_auth_header(auth, &self.headers)?;
        } else if self.has_secrets() {
            may_carry(&url, self.allow_http)?;
        } else if self.allow_http {
            return Err(
                of_key("allow_http", "`allow_http` has no use without secrets")
                    .hint("leave it out: what isn't secret may always go over plain http"),
            );
        }
        self.check_stream()?;
        if self.on_new_columns == Some(NewColumns::Add) && !self.schema.is_empty() {
            return Err(of_key(
                "on_new_columns",
                "columns can't be added to a `schema` that is given",
            )
            .hint("leave out `schema`, or name all columns in it"));
        }
        if let Some(rate) = self.rate_limit
            && !(is_rate(rate) && rate <= FASTEST)
        {
            return Err(of_key("rate_limit", "`rate_limit` is out of bounds").hint(
                "it is requests a second, from 0.001 to 10000: `5`, or `0.5` for one in two seconds",
            ));
        }
        match &self.quota {
            Some(quota) => quota.check()?,
            None if self.on_quota != OnQuota::Stop => {
                return Err(
                    of_key("on_quota", "`on_quota` has no use without `quota`").hint(
                        "`quota` says in which headers answers tell how many requests are left",
                    ),
                );
            }
            None => {}
        }
        Ok(())
    }

    /// Parameters that are sent for another reason as well would be there twice.
    fn check_params(&self) -> Result<()> {
        if let Some(incremental) = &self.incremental
            && incremental.place == Place::Query
            && self.params.contains_key(&incremental.param)
        {
            let name = &incremental.param;
            return Err(of_key(
                "params",
                format!("`{name}` is in `params`, and is sent by `incremental`"),
            )
            .hint("what the first run sends is `start` of `incremental`"));
        }
        for name in paging_params(&self.pagination).into_iter().flatten() {
            if self.params.contains_key(name) {
                return Err(of_key(
                    "params",
                    format!("`{name}` is in `params`, and is sent by `pagination`"),
                )
                .hint("leave it out of `params`"));
            }
        }
        if let Some(auth) = &self.auth
            && let Some(name) = auth.query_param()
            && self.params.contains_key(name)
        {
            return Err(of_key(
                "params",
                format!("`{name}` is in `params`, and is sent by `auth`"),
            )
            .hint("leave it out of `params`: secrets don't stand in the file"));
        }
        Ok(())
    }

    fn check_stream(&self) -> Result<()> {
        let name = self.stream.as_str();
        let taken = name == StreamName::REJECTED || (name == raw::NAME && self.raw != Raw::No);
        if taken || name.trim().is_empty() {
            return Err(
                of_key("stream", format!("a stream can't be named `{name}`"))
                    .hint("`rejected`, and `raw` where there is one, are names of other streams"),
            );
        }
        if self.raw == Raw::Only {
            let useless = [
                ("schema", !self.schema.is_empty()),
                ("key", !self.key.is_empty()),
            ];
            if let Some((key, _)) = useless.into_iter().find(|(_, given)| *given) {
                return Err(
                    of_key(key, format!("`{key}` has no use with `raw = \"only\"`"))
                        .hint("set `raw = true` to have the stream of records too"),
                );
            }
        }
        for (at, column) in self.key.iter().enumerate() {
            if self.key[..at].contains(column) {
                return Err(
                    of_key("key", format!("`key` names `{column}` twice")).hint("name it once")
                );
            }
        }
        Ok(())
    }

    /// Checks that the columns of the key are columns.
    pub(crate) fn check_key(&self, endpoint: &Endpoint) -> Result<()> {
        let Some(schema) = &endpoint.schema else {
            return Ok(());
        };
        match self.key.iter().find(|name| schema.index_of(name).is_err()) {
            None => Ok(()),
            Some(name) => {
                let columns: Vec<_> = schema.fields().iter().map(|field| field.name()).collect();
                let columns = columns
                    .iter()
                    .map(|name| format!("`{name}`"))
                    .collect::<Vec<_>>();
                Err(
                    of_key("key", format!("`key` names `{name}`, which is no column"))
                        .hint(format!("there are {}", columns.join(", "))),
                )
            }
        }
    }
}

/// The parameters in the URL that the way of paging sends.
fn paging_params(pagination: &Pagination) -> [Option<&str>; 2] {
    match pagination {
        Pagination::Page {
            param,
            size_param,
            place: Place::Query,
            ..
        }
        | Pagination::Offset {
            param,
            size_param,
            place: Place::Query,
            ..
        } => [Some(param), size_param.as_deref()],
        Pagination::Cursor {
            param,
            place: Place::Query,
            ..
        } => [Some(param), None],
        _ => [None, None],
    }
}

/// An error of this configuration that `key` is to blame for.
pub(crate) fn of_key(key: &'static str, message: impl Into<String>) -> Error {
    Error::config(message).with("key", key)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use serde_json::{Value, json};
    use tidegate_core::{ErrorKind, SourceConfig};

    use super::*;

    fn config(keys: &Value) -> RestConfig {
        let mut all = json!({ "url": "https://api.example.com/v1/items" });
        for (key, value) in keys.as_object().unwrap() {
            all[key] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn what_contradicts_itself_is_refused_and_the_key_is_named() {
        let secret = json!({ "env": "S" });
        let bearer = json!({ "type": "bearer", "token": secret });
        let page = json!({ "type": "page", "size_param": "per_page", "size": 100 });
        for (keys, key, words) in [
            (
                json!({ "url": "api.example.com" }),
                "url",
                "not the address",
            ),
            (json!({ "url": "ftp://h/" }), "url", "not the address"),
            (json!({ "url": "https://me:pw@h/" }), "url", "auth = "),
            (json!({ "headers": { "X Y": "1" } }), "headers", "`X Y`"),
            (json!({ "headers": { "X": "a\nb" } }), "headers", "`X`"),
            (
                json!({ "headers": { "authorization": "Bearer abc" } }),
                "headers",
                "`auth`",
            ),
            (
                json!({ "headers": { "X-A": "1", "x-a": "2" } }),
                "headers",
                "twice",
            ),
            (json!({ "body": { "q": 1 } }), "body", "POST"),
            (json!({ "allow_http": true }), "allow_http", "no use"),
            (
                json!({ "auth": bearer, "url": "http://api.example.com/" }),
                "auth",
                "allow_http",
            ),
            (
                json!({ "params": { "page": 1 }, "pagination": page }),
                "params",
                "`page`",
            ),
            (
                json!({ "params": { "per_page": 1 }, "pagination": page }),
                "params",
                "`per_page`",
            ),
            (
                json!({ "params": { "since": "x" },
                    "incremental": { "param": "since", "field": "/at" } }),
                "params",
                "`start`",
            ),
            (
                json!({ "params": { "k": "x" },
                    "auth": { "type": "query", "name": "k", "value": secret } }),
                "params",
                "`auth`",
            ),
            (json!({ "stream": "rejected" }), "stream", "`rejected`"),
            (json!({ "stream": " " }), "stream", "named"),
            (json!({ "stream": "raw", "raw": true }), "stream", "`raw`"),
            (
                json!({ "raw": "only", "schema": [{ "name": "id", "type": "int64" }] }),
                "schema",
                "no use",
            ),
            (json!({ "raw": "only", "key": ["id"] }), "key", "no use"),
            (json!({ "key": ["id", "id"] }), "key", "twice"),
            (
                json!({ "pagination": { "type": "page", "size_param": "n" } }),
                "pagination",
                "`size = 100`",
            ),
            (
                json!({ "pagination": { "type": "cursor", "cursor": "/next", "param": "" } }),
                "pagination",
                "`pagination.param`",
            ),
            (
                json!({ "incremental": { "param": "since", "field": "/at", "overlap": "1h" } }),
                "incremental",
                "`format",
            ),
            (
                json!({ "pagination": { "type": "page", "in": "body" } }),
                "body",
                "POST",
            ),
            (json!({ "ends_at": [404, 99] }), "ends_at", "no HTTP status"),
            (json!({ "ends_at": [200] }), "ends_at", "from 400 on"),
            (json!({ "ends_at": [404, 401] }), "ends_at", "401"),
            (
                json!({ "incremental": { "param": "s", "field": "/at", "format": "epoch_millis",
                    "start": "last week" } }),
                "incremental",
                "`incremental.start`",
            ),
            (json!({ "rate_limit": 0 }), "rate_limit", "out of bounds"),
            (json!({ "rate_limit": -1.5 }), "rate_limit", "out of bounds"),
            (json!({ "rate_limit": 0.0005 }), "rate_limit", "0.001"),
            (json!({ "rate_limit": 10_001 }), "rate_limit", "10000"),
            (json!({ "quota": { "left": "a b" } }), "quota", "`a b`"),
            (json!({ "on_quota": "wait" }), "on_quota", "no use"),
            (
                json!({ "schema": [{ "name": "a", "type": "date" }, { "name": "a", "type": "date" }] }),
                "schema",
                "twice",
            ),
        ] {
            let error = config(&keys).validate().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{keys}");
            let text = format!("{error:?}");
            assert!(text.contains(words), "{keys}: {text}");
            assert!(text.contains(&format!("key: {key}")), "{keys}: {text}");
            assert!(!text.contains("pw@") && !text.contains("abc"), "{text}");
        }
    }

    #[test]
    fn the_key_is_made_of_columns() {
        let schema = json!([{ "name": "id", "type": "int64" }, { "name": "at", "type": "date" }]);
        let config = config(&json!({ "schema": schema, "key": ["ID"] }));
        let error = config.check_key(&config.endpoint().unwrap()).unwrap_err();
        let text = format!("{error:?}");
        assert!(
            text.contains("`ID`") && text.contains("`id`, `at`"),
            "{text}"
        );
    }

    #[test]
    fn what_is_written_is_read_and_written_back() {
        let config = config(&json!({
            "params": { "labels": ["a", "b"], "n": 5 }, "raw": "only", "rate_limit": 5,
            "auth": { "type": "basic", "user": "me", "password": { "env": "S" } },
            "pagination": { "type": "cursor", "cursor": "/next", "param": "after" },
        }));
        config.check().unwrap();
        assert_eq!(config.raw, Raw::Only);
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["raw"], json!("only"));
        assert_eq!(
            serde_json::from_value::<RestConfig>(written).unwrap(),
            config
        );
        for (raw, means) in [(json!(true), Raw::Also), (json!(false), Raw::No)] {
            assert_eq!(serde_json::from_value::<Raw>(raw).unwrap(), means);
        }
        assert!(serde_json::from_value::<Raw>(json!("yes")).is_err());
    }
}
