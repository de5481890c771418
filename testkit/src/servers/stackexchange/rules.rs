use std::ops::RangeInclusive;
use std::time::Duration;

/// What the server is like. The defaults are those of the real one, as far as they are documented;
/// tests shorten times and turn on what happens rarely.
#[derive(Debug, Clone)]
pub struct Rules {
    pub(super) seed: u64,
    pub(super) quota: i64,
    pub(super) key_quota: i64,
    pub(super) token_quota: i64,
    pub(super) day: Duration,
    pub(super) per_second: usize,
    pub(super) banned_for: Duration,
    pub(super) repeat_window: Duration,
    pub(super) backoff: Option<(u32, RangeInclusive<u32>)>,
    pub(super) anonymous_pages: i64,
    pub(super) answers_late: Duration,
    pub(super) latency: RangeInclusive<Duration>,
    pub(super) packing: Packing,
    pub(super) keys: Vec<String>,
    pub(super) tokens: Vec<String>,
    pub(super) tokens_over_http: bool,
}

/// How bodies are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip, and the header says so: what the API does even if nobody asked for it
    /// (api.stackexchange.com/docs/compression). Errors that are found before a method is called
    /// come plain.
    Gzip,
    /// gzip without the header `Content-Encoding`, which that page allows for.
    GzipWithoutHeader,
    /// Plain, as a proxy that has unpacked it would pass it on.
    Plain,
}

/// How an answer goes wrong when a test wants it to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// HTTP 400 with this `error_id` and its documented name, as `/errors/{id}` gives it.
    Error(i64),
    /// HTTP 400 with this `error_id` and this message: `(502, "too many requests from this IP,
    /// more requests available in 90 seconds")`.
    Said(i64, String),
    /// HTTP 200 with a wrapper that holds this `error_id`, as under JSONP.
    ErrorWith200(i64),
    /// HTTP 503 with a page of HTML, as a load balancer gives it.
    Html,
    /// HTTP 200, gzip, and a body that isn't JSON.
    NotJson,
    /// The rows, but the connection is reset in the middle of the body.
    Cut,
    /// The connection is reset without an answer.
    Dropped,
    /// The rows of the method's last answer once more, and `has_more`.
    Repeated,
    /// The rows, and `has_more` whether there are more or not.
    MoreAlways,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            seed: 0,
            quota: 300,
            key_quota: 10_000,
            token_quota: 10_000,
            day: Duration::from_secs(86_400),
            per_second: 30,
            banned_for: Duration::from_secs(30),
            repeat_window: Duration::from_secs(60),
            backoff: None,
            anonymous_pages: 25,
            answers_late: Duration::ZERO,
            latency: Duration::ZERO..=Duration::ZERO,
            packing: Packing::Gzip,
            keys: vec!["a-key".to_owned()],
            tokens: vec!["a-token".to_owned()],
            tokens_over_http: true,
        }
    }
}

impl Rules {
    /// What chance decides is decided the same for the same seed and order of requests. Default 0.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Requests a day of an address without a key. Default 300
    /// (api.stackexchange.com/docs/throttle).
    #[must_use]
    pub fn quota(mut self, requests: i64) -> Self {
        self.quota = requests;
        self
    }

    /// Requests a day of an address that has used a key, those without it included. Default 10,000.
    #[must_use]
    pub fn key_quota(mut self, requests: i64) -> Self {
        self.key_quota = requests;
        self
    }

    /// Requests a day of a user by an access token, apart from the address's. Default 10,000.
    #[must_use]
    pub fn token_quota(mut self, requests: i64) -> Self {
        self.token_quota = requests;
        self
    }

    /// How long a quota lasts, from the first request that is counted. Default 24 hours.
    #[must_use]
    pub fn day(mut self, day: Duration) -> Self {
        self.day = day;
        self
    }

    /// Requests in any second that are borne. Default 30 (api.stackexchange.com/docs/throttle).
    #[must_use]
    pub fn requests_per_second(mut self, requests: usize) -> Self {
        self.per_second = requests;
        self
    }

    /// For how long an address that asked faster gets undefined answers. Default 30 s.
    #[must_use]
    pub fn banned_for(mut self, time: Duration) -> Self {
        self.banned_for = time;
        self
    }

    /// Within which time the same question may not be asked twice; the rows of the answer are
    /// kept for so long. Default 60 s (api.stackexchange.com/docs/throttle). Zero: nothing is
    /// kept, and everything may be asked at any time.
    ///
    /// An answer with rows counts even if it never arrived whole: the server can't know. One with
    /// an error doesn't.
    #[must_use]
    pub fn repeat_window(mut self, time: Duration) -> Self {
        self.repeat_window = time;
        self
    }

    /// By chance one in `every` answers of a method asks for a backoff of so many seconds. It
    /// lasts a tenth of a second longer: a client that waits not a moment longer than it was told
    /// is early, as was seen with the real API. Default: none ever
    /// (api.stackexchange.com/docs/throttle, `backoff`).
    #[must_use]
    pub fn backoff(mut self, every: u32, seconds: RangeInclusive<u32>) -> Self {
        self.backoff = Some((every, seconds));
        self
    }

    /// The last page that is given without a key. Default 25.
    #[must_use]
    pub fn anonymous_pages(mut self, pages: i64) -> Self {
        self.anonymous_pages = pages;
        self
    }

    /// How long it takes until a change is seen in answers. Its times are those of when it was
    /// made. Default: none.
    #[must_use]
    pub fn answers_late(mut self, lag: Duration) -> Self {
        self.answers_late = lag;
        self
    }

    /// How long each answer takes, by chance. Default: no time.
    #[must_use]
    pub fn latency(mut self, time: RangeInclusive<Duration>) -> Self {
        self.latency = time;
        self
    }

    /// How bodies are packed. Default [`Packing::Gzip`].
    #[must_use]
    pub fn packing(mut self, packing: Packing) -> Self {
        self.packing = packing;
        self
    }

    /// Another key that is known, besides `a-key`.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.keys.push(key.to_owned());
        self
    }

    /// Another access token that is known, besides `a-token`.
    #[must_use]
    pub fn access_token(mut self, token: &str) -> Self {
        self.tokens.push(token.to_owned());
        self
    }

    /// Whether access tokens are accepted though this server speaks http alone. Default: they
    /// are. If not, a token that is sent is dead from then on: 406 `access_token_compromised`.
    #[must_use]
    pub fn tokens_over_http(mut self, accepted: bool) -> Self {
        self.tokens_over_http = accepted;
        self
    }
}
