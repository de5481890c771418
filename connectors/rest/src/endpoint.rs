//! What the engine is told of the API.

use tidegate_api::{Endpoint, RecordsAt};
use tidegate_core::Result;
use tidegate_http::{HeaderText, Method, StatusCode, Url};

use crate::check::of_key;
use crate::config::{RestConfig, Verb};
use crate::secrets::Written;

impl RestConfig {
    /// The address. Errors: `Config`.
    pub(crate) fn address(&self) -> Result<Url> {
        let url = Url::parse(&self.url).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.ok_or_else(|| {
            // It isn't quoted: it may hold a password.
            of_key("url", "`url` is not the address of an API")
                .hint("write it as \"https://api.example.com/v1/items\"")
        })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(of_key("url", "`url` holds a user or a password").hint(
                "write `auth = { type = \"basic\", user = \"…\", password = { env = \"…\" } }`",
            ));
        }
        Ok(url)
    }

    /// What says that there are no more records. Errors: `Config`.
    fn ends(&self) -> Result<Vec<StatusCode>> {
        let statuses = self.ends_at.iter();
        let statuses = statuses.map(|status| {
            StatusCode::from_u16(*status).map_err(|_| {
                of_key("ends_at", format!("{status} is no HTTP status"))
                    .hint("write statuses from 400 on, such as 404")
            })
        });
        statuses.collect()
    }

    /// The list of records; without columns where they aren't given.
    pub(crate) fn endpoint(&self) -> Result<Endpoint> {
        let schema = match self.schema.is_empty() {
            true => None,
            false => Some(
                self.schema
                    .to_arrow()
                    .map_err(|error| error.with("key", "schema"))?,
            ),
        };
        let accept = ("Accept".to_owned(), "application/json".to_owned());
        let own = self.headers.keys();
        let accept = match own
            .into_iter()
            .any(|name| name.eq_ignore_ascii_case("accept"))
        {
            true => None,
            false => Some(accept),
        };
        // Secrets aren't among these: they go along with the credentials.
        let headers = self.headers.iter().filter_map(|(name, value)| match value {
            HeaderText::Text(text) => Some((name.clone(), text.clone())),
            HeaderText::Secret(_) => None,
        });
        let params = self.params.iter().flat_map(|(name, param)| {
            let texts = param.all().iter().filter_map(|one| one.text().ok());
            texts.map(move |text| (name.clone(), text))
        });
        Ok(Endpoint {
            name: self.stream.as_str().into(),
            schema,
            on_new_columns: self.on_new_columns,
            learnt: false,
            key: self.key.clone(),
            method: match self.method {
                Verb::Get => Method::GET,
                Verb::Post => Method::POST,
            },
            url: self.address()?,
            headers: accept.into_iter().chain(headers).collect(),
            params: params.collect(),
            body: self.body.as_ref().map(|body| Written::of(body).body),
            body_secrets: Vec::new(),
            besides: self.besides(),
            records: RecordsAt {
                pointer: self.records.clone(),
                optional: self.records_optional,
                object: self.records_object,
            },
            pagination: self.pagination.clone(),
            ends_at: self.ends()?,
            incremental: self.incremental.clone(),
            conditional: self.conditional,
        })
    }
}
