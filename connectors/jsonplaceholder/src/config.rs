use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result, Source, SourceConfig, SourceContext, async_trait, typetag};
use tidegate_http::{HttpClient, Url};

use crate::client::Client;
use crate::resource::Resource;
use crate::source::JsonPlaceholderSource;

/// Reads JSONPlaceholder, or any json-server with the same resources.
///
/// Both generations of json-server are understood: 0.x (`_limit`) and 1.x (`_per_page`). Each run
/// reads everything, in pages that are fetched side by side. The key of every stream is `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonPlaceholderConfig {
    /// The server's address.
    pub base_url: String,
    /// The resources to read, each a stream of that name.
    pub streams: Vec<Resource>,
    /// How many rows are fetched in one request.
    pub page_size: NonZeroU32,
    /// Whether there is also a stream `raw`, with a row for each page of each of the `streams`:
    /// `stream`, `url`, `status`, `fetched_at` (UTC) and `body`, the bytes as the server sent them.
    pub raw: bool,
}

impl Default for JsonPlaceholderConfig {
    fn default() -> Self {
        Self {
            base_url: "https://jsonplaceholder.typicode.com".to_owned(),
            streams: Resource::ALL.to_vec(),
            page_size: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
            raw: false,
        }
    }
}

impl JsonPlaceholderConfig {
    fn url(&self) -> Result<Url> {
        let url = Url::parse(&self.base_url).ok();
        url.filter(|url| matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                Error::config("`base_url` is not the address of a server")
                    .hint("write it as \"https://jsonplaceholder.typicode.com\"")
            })
    }
}

#[async_trait]
#[typetag::serde(name = "jsonplaceholder")]
impl SourceConfig for JsonPlaceholderConfig {
    fn validate(&self) -> Result<()> {
        self.url()?;
        if self.streams.is_empty() {
            return Err(
                Error::config("`streams` is empty").hint("leave the key out to read all streams")
            );
        }
        for (i, stream) in self.streams.iter().enumerate() {
            if self.streams[..i].contains(stream) {
                let name = stream.name();
                return Err(Error::config(format!("`streams` names `{name}` twice")));
            }
        }
        Ok(())
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        let client = Client::new(HttpClient::new(cx)?, self.url()?);
        if let Some(first) = self.streams.first() {
            // Is the server there, and one that we understand?
            client.probe(*first).await?;
        }
        Ok(Arc::new(JsonPlaceholderSource::new(client, self)))
    }

    /// Splits carry the size they were planned with.
    fn tuning_keys(&self) -> &'static [&'static str] {
        &["page_size"]
    }
}
