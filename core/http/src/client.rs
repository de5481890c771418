use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use backon::BackoffBuilder;
use reqwest::Method;
use reqwest::redirect::Policy;
use tidegate_core::{Context, Metrics, Result};
use url::Url;

use crate::hidden::Hidden;
use crate::redirect;
use crate::{HttpSettings, Request};

/// Makes HTTP requests for one component. Clones share their connections and what they hide.
#[derive(Clone)]
pub struct HttpClient {
    pub(crate) inner: reqwest::Client,
    pub(crate) settings: Arc<HttpSettings>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) hidden: Hidden,
    pub(crate) retried: Arc<Warnings>,
}

/// How often one kind of warning is said.
#[derive(Debug, Default)]
pub(crate) struct Warnings(Mutex<(Option<Instant>, u64)>);

impl Warnings {
    const EVERY: Duration = Duration::from_secs(1);

    /// Whether it is to be said now; if so, how often it wasn't since it was said last.
    pub(crate) fn may_warn(&self) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (said, unsaid) = &mut *state;
        if said.is_some_and(|said| said.elapsed() < Self::EVERY) {
            *unsaid += 1;
            return None;
        }
        *said = Some(Instant::now());
        Some(std::mem::take(unsaid))
    }
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
            inner: settings.client(Policy::default())?,
            settings: Arc::new(settings),
            metrics,
            hidden: Hidden::default(),
            retried: Arc::default(),
        })
    }

    /// Hides a text (a key, a token): from now on it is `***` in every URL, excerpt, error and log
    /// of this client and of its answers, also where it is written percent-encoded or as JSON.
    ///
    /// Header values are never shown anyway, nor are query parameters whose name speaks of a secret
    /// ([`redact`](crate::redact)); this is for what the server may say of it, and for other names.
    pub fn hide(&self, secret: &str) {
        self.hidden.add(secret);
    }

    /// The same for what only seems to be a secret, by the name it goes by: it isn't shown either, but
    /// doesn't count in [`HttpClient::holds_hidden`].
    pub fn mask(&self, text: &str) {
        self.hidden.mask(text);
    }

    /// Whether a text is one that was hidden, or has one of at least 8 bytes within it, in whatever
    /// way it is written (percent-encoded, in base64, …): what must not be stored.
    pub fn holds_hidden(&self, text: &str) -> bool {
        self.hidden.is_in(text)
    }

    /// The same client, but it follows no redirection to another host: for requests that carry
    /// credentials, which the library would take along in headers it doesn't know and in bodies.
    ///
    /// Errors: `Config` where the settings can't be used.
    pub fn confined(&self) -> Result<Self> {
        self.redirected_by(redirect::confined())
    }

    /// The same client, but it follows only redirections within the host by which the request stays
    /// what it is (307, 308): for requests that write. After the others, the library would make a GET
    /// without a body of them, whose good answer says nothing of what was to be written.
    ///
    /// Errors: `Config` where the settings can't be used.
    pub fn faithful(&self) -> Result<Self> {
        self.redirected_by(redirect::faithful())
    }

    fn redirected_by(&self, policy: Policy) -> Result<Self> {
        Ok(Self {
            inner: self.settings.client(policy)?,
            ..self.clone()
        })
    }

    /// How long a request waits at most for a server that asks it to (`max_retry_after`).
    pub fn longest_wait(&self) -> Duration {
        self.settings.max_retry_after.0
    }

    /// The waits between attempts, one fewer than there may be attempts (`attempts`, `backoff`,
    /// `max_backoff`): for what has to be asked again although its answer was a good one.
    pub fn backoff(&self) -> impl Iterator<Item = Duration> + use<> {
        self.settings.retries().build()
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

impl fmt::Debug for HttpClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClient")
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}
