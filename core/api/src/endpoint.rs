use std::fmt;

use arrow_schema::SchemaRef;
use serde_json::Value;
use tidegate_core::{Error, NewColumns, Result, SecretValue, StreamName};
use tidegate_http::{Method, StatusCode, Url, redact};

use crate::{Incremental, Pagination, Place, Pointer, RecordsAt};

/// One list of records that an API has: what to ask, how it is paged, and what comes of it.
#[derive(Clone)]
pub struct Endpoint {
    /// The name of its stream.
    pub name: StreamName,
    /// The columns of its stream. `None`: it has no stream of its own, only rows in `raw`.
    pub schema: Option<SchemaRef>,
    /// What is done with keys of records that no column has. `None`: they don't matter, because the
    /// columns were chosen, not learnt.
    pub on_new_columns: Option<NewColumns>,
    /// Whether the schema was learnt from records: a later value that would not come back from its
    /// column as it was written is then rejected.
    pub learnt: bool,
    /// The columns that tell its rows apart; empty if there is no such key.
    pub key: Vec<String>,
    /// GET, or POST where the API is asked by a body.
    pub method: Method,
    /// Where to ask. Parameters in it are sent as they are.
    pub url: Url,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// Parameters of every request, added to the URL's query. Where the server gives the next page
    /// by its URL, only those of the first.
    pub params: Vec<(String, String)>,
    /// The body of every request, a JSON object where parameters are to stand in it.
    pub body: Option<Value>,
    /// Secrets that are sent in the body, and where: in the place of what names them there.
    pub body_secrets: Vec<(Pointer, SecretValue)>,
    /// What decides as well which records there are, though it isn't sent from here: the names of
    /// secrets that [`Access`](crate::Access) puts on requests. Never the secrets themselves: another
    /// value makes no other question. `None`: nothing.
    pub besides: Option<Value>,
    /// Where an answer holds its records.
    pub records: RecordsAt,
    /// How it is paged.
    pub pagination: Pagination,
    /// Statuses (4xx, 5xx) by which the server says that the page before was the last; where no
    /// records are expected ([`RecordsAt::optional`]), also that there is not even a first.
    pub ends_at: Vec<StatusCode>,
    /// How a run reads only what is new; `None`: each run reads everything.
    pub incremental: Option<Incremental>,
    /// Whether a run asks first if anything has changed since the last one (`ETag`,
    /// `Last-Modified`), and reads nothing if not. Only where the first page changes with every
    /// change of a record. Other columns, headers or streams are read even so.
    pub conditional: bool,
}

impl Endpoint {
    /// A list that a GET of `url` gives whole, as a JSON array; with the stream `name`.
    pub fn new(name: impl Into<StreamName>, url: Url, schema: SchemaRef) -> Self {
        Self {
            name: name.into(),
            schema: Some(schema),
            on_new_columns: None,
            learnt: false,
            key: Vec::new(),
            method: Method::GET,
            url,
            headers: Vec::new(),
            params: Vec::new(),
            body: None,
            body_secrets: Vec::new(),
            besides: None,
            records: RecordsAt::default(),
            pagination: Pagination::None,
            ends_at: Vec::new(),
            incremental: None,
            conditional: false,
        }
    }

    /// The same with its columns written as [`columns`](crate::columns) reads them, and its key.
    ///
    /// Errors: `Config` as there.
    pub fn of(name: impl Into<StreamName>, url: Url, columns: &str, key: &[&str]) -> Result<Self> {
        Ok(Self::new(name, url, crate::columns(columns, key)?).key(key))
    }

    /// With this key.
    #[must_use]
    pub fn key(mut self, columns: &[&str]) -> Self {
        self.key = columns.iter().map(ToString::to_string).collect();
        self
    }

    /// With records at this place.
    #[must_use]
    pub fn records(mut self, at: Pointer) -> Self {
        self.records.pointer = at;
        self
    }

    /// Paged in this way.
    #[must_use]
    pub fn pagination(mut self, pagination: Pagination) -> Self {
        self.pagination = pagination;
        self
    }

    /// Checks what contradicts itself.
    ///
    /// Errors: `Config`, naming the key of a pipeline file that is wrong (`pagination.size`, …).
    pub fn validate(&self) -> Result<()> {
        if !matches!(self.url.scheme(), "http" | "https") {
            return Err(Error::config("`url` is not the address of a server")
                .hint("it begins with https:// or http://"));
        }
        if let Some(schema) = &self.schema {
            for column in &self.key {
                if schema.index_of(column).is_err() {
                    return Err(Error::config(format!(
                        "`key` names `{column}`, which is no column"
                    ))
                    .hint("write the names of columns of `schema`"));
                }
            }
        }
        self.pagination.validate()?;
        if let Some(status) = self.ends_at.iter().find(|status| !may_end(**status)) {
            return Err(Error::config(format!("{} is no end", status.as_u16()))
                .with("key", "ends_at")
                .hint(
                    "write statuses from 400 on, such as 404; 204 is an end anyway, and 401, 407, \
                     408 and 429 are about who asks, or how often",
                ));
        }
        if let Some(incremental) = &self.incremental {
            incremental.validate()?;
        }
        let in_body = self.pagination.place() == Place::Body
            || self
                .incremental
                .as_ref()
                .is_some_and(|of| of.place == Place::Body);
        let object = self.body.as_ref().is_none_or(Value::is_object);
        if in_body && (self.method == Method::GET || !object) {
            return Err(Error::config(
                "parameters stand in the body (`in = \"body\"`), but there is no JSON object",
            )
            .with("key", "body")
            .hint("write `method = \"POST\"` and `body = { … }`, or leave `in` out"));
        }
        if self.body.is_some() && self.method == Method::GET {
            return Err(Error::config("a GET has no `body`")
                .hint("write `method = \"POST\"`, or use `params`"));
        }
        Ok(())
    }
}

/// Whether a status can say that there are no more records.
fn may_end(status: StatusCode) -> bool {
    (status.is_client_error() || status.is_server_error())
        && !matches!(
            status,
            StatusCode::UNAUTHORIZED
                | StatusCode::PROXY_AUTHENTICATION_REQUIRED
                | StatusCode::REQUEST_TIMEOUT
                | StatusCode::TOO_MANY_REQUESTS
        )
}

/// Without what may be secret: values of headers and parameters, the body, what the URL holds.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |pairs: &[(String, String)]| {
            let names = pairs.iter().map(|(name, _)| name.clone());
            names.collect::<Vec<_>>()
        };
        f.debug_struct("Endpoint")
            .field("name", &self.name)
            .field("method", &self.method)
            .field("url", &redact(&self.url))
            .field("headers", &names(&self.headers))
            .field("params", &names(&self.params))
            .field("records", &self.records)
            .field("pagination", &self.pagination)
            .field("ends_at", &self.ends_at)
            .field("incremental", &self.incremental)
            .field("conditional", &self.conditional)
            .finish_non_exhaustive()
    }
}
