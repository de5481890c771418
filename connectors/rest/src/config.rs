//! The source as it stands in a pipeline file.

use std::collections::BTreeMap;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_api::{ApiSource, Incremental, Pagination, Pointer, learn};
use tidegate_core::{
    NewColumns, PlanState, Result, Source, SourceConfig, SourceContext, async_trait, typetag,
};
use tidegate_formats::SchemaSpec;
use tidegate_http::{Auth, Authorizer, HeaderText, HttpClient, OnQuota};

use crate::access::RestAccess;
use crate::params::Param;
use crate::quota::Quota;

/// Reads any API that answers with JSON over HTTP.
///
/// It asks one address, page by page, and each record of an answer becomes a row of the stream
/// `records`; another name is given by `stream`. For several addresses, write several sources.
///
/// A run that is interrupted resumes at the page where it was. By default every run reads
/// everything; with `incremental`, it reads what is new or changed since the run before. A record
/// that doesn't fit the columns goes to `<id>.rejected` with the reason.
///
/// The columns are those of `schema`. Without it, they are learnt from the first page with one
/// request when the pipeline is first run, and kept with the pipeline's state; `tidegate plan`
/// shows them, and makes that request each time, as `tidegate check` does. Fields that the first
/// page doesn't have are left out: give a `schema` where it matters. With `raw`, whole answers are
/// there too, as they came.
///
/// Requests are retried where that can help (lost connections, 429, 5xx), as the settings
/// `[http]` say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("x-renamed" = { "missing_page_ends": "ends_at" }))]
pub struct RestConfig {
    /// The address: `"https://api.github.com/repos/rust-lang/rust/issues"`.
    pub url: String,

    /// How it is asked.
    #[serde(default)]
    pub method: Verb,

    /// Headers of every request: `{ X-Api-Version = "2" }`. `Accept: application/json` is sent
    /// unless another `Accept` stands here. A secret is named, not written, as in `auth`:
    /// `{ X-Api-Key = { env = "API_KEY" } }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, HeaderText>,

    /// Parameters of every request, in the URL's query: `{ state = "all", per_page = 100 }`. A list
    /// sends the parameter several times. A secret is named, not written, as in `auth`:
    /// `{ appid = { env = "API_KEY" } }`. It is sent with every page.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, Param>,

    /// The body of every request, sent as JSON; with `method = "POST"` only. A secret is named, not
    /// written: a table of nothing but `env` or `file`, `{ key = { env = "API_KEY" } }`, stands for a
    /// text. Where the API itself wants such an object, write `{ literal = { env = "prod" } }`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-secrets" = true))]
    pub body: Option<Value>,

    /// How requests are authenticated: `{ type = "bearer", token = { env = "API_TOKEN" } }`. A
    /// redirection to another host is then not followed, nor with a secret in `headers`, `params` or
    /// `body`, so that the credentials stay where they belong. Default: no authentication.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,

    /// Whether the credentials of `auth`, and secrets in `headers`, `params` and `body`, may go over
    /// plain http to another machine, where others can read them.
    #[serde(default)]
    pub allow_http: bool,

    /// Where an answer holds its records, as a JSON pointer: `"/data/items"`. Default: the answer
    /// is the list of records, or has one on each line (NDJSON, by its `Content-Type`).
    #[serde(default)]
    pub records: Pointer,

    /// Whether an answer that has nothing at `records`, or null, or no body at all, has no records.
    /// Default: it is an error, because a misspelt `records` must not look like an empty list. (204 No
    /// Content says by itself that there are none.)
    #[serde(default)]
    pub records_optional: bool,

    /// Whether an object at `records` is one record. Without `records`, several of them one after the
    /// other are read too, whatever `Content-Type` says. Default: it is an error.
    #[serde(default)]
    pub records_object: bool,

    /// How the API hands out its records page by page:
    /// `{ type = "page", size_param = "per_page", size = 100 }`, `{ type = "link" }`. Default: the
    /// first answer holds everything.
    #[serde(default)]
    pub pagination: Pagination,

    /// Statuses by which the API says that the page before was the last: `[404]`, `[400, 416]`. With
    /// `records_optional`, also that there is not even a first. Where pages have a `total`, the first
    /// is then asked for again: it is an error if it still counts the one that is missing. Default:
    /// none; 204 No Content always says so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ends_at: Vec<u16>,

    /// How a run reads only what is new: `{ param = "since", field = "/updated_at" }`. Default: every
    /// run reads everything.
    ///
    /// Where pages are counted, also behind `Link` headers and next URLs, ask for the newest records
    /// first (`params = { sort = "updated", direction = "desc" }`). A record that changes while
    /// pages are read then moves to the front, and the next run finds it. In the other order those
    /// behind it move up, one of them to a page that was read already, and that one is missed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incremental: Option<Incremental>,

    /// Whether a run first asks if anything has changed since the run before (`ETag`,
    /// `Last-Modified`), and reads nothing if not. Only right where the first page changes whenever
    /// any record does. Not for a sink with `mode = "overwrite"`: a run in which nothing has changed
    /// has no rows, and leaves the table empty.
    #[serde(default)]
    pub conditional: bool,

    /// The columns. Default: learnt from the first page.
    #[serde(default, skip_serializing_if = "SchemaSpec::is_empty")]
    pub schema: SchemaSpec,

    /// What is done with columns that later records have and the first page hasn't. Default:
    /// `ignore`; where `schema` is given, columns that it doesn't name are ignored without a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_new_columns: Option<NewColumns>,

    /// The columns that tell records apart: `["id"]`. Sinks that merge go by them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub key: Vec<String>,

    /// The name of the stream of records.
    #[serde(default = "records")]
    pub stream: String,

    /// Whether there is also a stream `raw`, with a row for each page: `stream`, `url` (without
    /// secrets), `status`, `fetched_at` (UTC) and `body`, the bytes as the server sent them. A page
    /// is fetched once for both streams. `"only"`: there is no other stream, and no columns have to
    /// be known.
    #[serde(default)]
    pub raw: Raw,

    /// How many requests are made a second at most: `5`, or `0.5` for one in two seconds. Sources of
    /// one process that ask the same host count together. Default: any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<f64>,

    /// Where answers tell how many requests are left: names of headers. Requests are then made one
    /// after the other, and what is left is remembered between runs and shared by all pipelines
    /// whose state is kept in one place, if they ask the same host with the same credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,

    /// What is done when no requests are left.
    #[serde(default)]
    pub on_quota: OnQuota,
}

/// How an API is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Verb {
    /// With all parameters in the URL.
    #[default]
    #[serde(rename = "GET")]
    Get,
    /// With a body.
    #[serde(rename = "POST")]
    Post,
}

/// Whether there is a stream `raw`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "RawKey", into = "RawKey")]
#[schemars(with = "RawKey", inline)]
pub enum Raw {
    /// No.
    #[default]
    No,
    /// Yes.
    Also,
    /// Yes, and no other.
    Only,
}

/// As it is written: `false`, `true` or `"only"`.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
enum RawKey {
    Whether(bool),
    Only(OnlyKey),
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum OnlyKey {
    Only,
}

impl From<RawKey> for Raw {
    fn from(key: RawKey) -> Self {
        match key {
            RawKey::Whether(false) => Self::No,
            RawKey::Whether(true) => Self::Also,
            RawKey::Only(OnlyKey::Only) => Self::Only,
        }
    }
}

impl From<Raw> for RawKey {
    fn from(raw: Raw) -> Self {
        match raw {
            Raw::No => Self::Whether(false),
            Raw::Also => Self::Whether(true),
            Raw::Only => Self::Only(OnlyKey::Only),
        }
    }
}

fn records() -> String {
    "records".to_owned()
}

#[async_trait]
#[typetag::serde(name = "rest")]
impl SourceConfig for RestConfig {
    fn validate(&self) -> Result<()> {
        self.check()?;
        self.endpoint()?.validate()
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        let client = HttpClient::new(cx)?;
        let mut authorizer = match &self.auth {
            None => Authorizer::nobody(),
            Some(auth) => Authorizer::new(auth, self.allow_http, cx, &client)?,
        };
        let mut endpoint = self.endpoint()?;
        self.read_secrets(cx, &client, &mut authorizer, &mut endpoint)?;
        let texts = self.mask_texts(&client);
        let client = match authorizer.is_nobody() && !texts {
            true => client,
            false => client.confined()?,
        };
        let access = Arc::new(RestAccess::new(self, cx, authorizer, &endpoint));
        if endpoint.schema.is_none() && self.raw != Raw::Only {
            let schema = learn(cx, &client, access.as_ref(), &endpoint, 1).await?;
            endpoint.schema = Some(schema);
            endpoint.on_new_columns = Some(self.on_new_columns.unwrap_or_default());
            endpoint.learnt = true;
        }
        self.check_key(&endpoint)?;
        let source = ApiSource::new(client, vec![endpoint])
            .access(access)
            .store(Arc::clone(&cx.store))
            .raw(self.raw != Raw::No);
        Ok(Arc::new(source))
    }

    /// With credentials, because a run that they were to blame for resumes with others.
    fn understands(&self, state: &PlanState) -> Result<()> {
        ApiSource::understands(state)
    }

    fn remembered_under(&self) -> Option<&'static str> {
        Some(ApiSource::REMEMBERED_UNDER)
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["auth", "allow_http", "rate_limit", "quota", "on_quota"]
    }
}
