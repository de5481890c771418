use std::sync::Arc;

use reqwest::Method;
use tidegate_core::{Context, Metrics, Result};
use url::Url;

use crate::{HttpSettings, Request};

/// Makes HTTP requests for one component. Clones share their connections.
#[derive(Debug, Clone)]
pub struct HttpClient {
    pub(crate) inner: reqwest::Client,
    pub(crate) settings: Arc<HttpSettings>,
    pub(crate) metrics: Arc<Metrics>,
}

impl HttpClient {
    /// A client with the settings `[http]`, which counts retries and bytes for the component.
    ///
    /// Errors: `Config` where the settings can't be used.
    pub fn new(cx: &Context) -> Result<Self> {
        Self::with_settings(cx.settings("http")?, Arc::clone(&cx.metrics))
    }

    /// A client with settings of its own.
    ///
    /// Errors: `Config` where the settings can't be used.
    pub fn with_settings(settings: HttpSettings, metrics: Arc<Metrics>) -> Result<Self> {
        Ok(Self {
            inner: settings.client()?,
            settings: Arc::new(settings),
            metrics,
        })
    }

    /// Begins a GET.
    pub fn get(&self, url: Url) -> Request<'_> {
        self.request(Method::GET, url)
    }

    /// Begins a request.
    pub fn request(&self, method: Method, url: Url) -> Request<'_> {
        Request::new(self, method, url)
    }
}
