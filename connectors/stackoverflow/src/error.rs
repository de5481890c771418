//! What the API means by its answers.
//!
//! Every error comes as HTTP 400 (200 under JSONP) with `error_id`, `error_name` and
//! `error_message`: <https://api.stackexchange.com/docs/error-handling>. What is no such answer
//! comes from something before the API, or from asking too fast, when "the form of the answer is
//! undefined": <https://api.stackexchange.com/docs/throttle>.

use std::time::Duration;

use serde::Deserialize;
use serde_json::error::Category;
use tidegate_core::{Error, ErrorKind, SecretValue};
use tidegate_http::{Dialect, OnQuota, Refusal, Response, Told, by_status};

/// The fields around the rows: <https://api.stackexchange.com/docs/wrapper>.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Wrapper {
    quota_max: Option<u64>,
    /// Below nothing where the quota was overdrawn.
    quota_remaining: Option<i64>,
    backoff: Option<u64>,
    error_id: Option<i64>,
    error_name: Option<String>,
    error_message: Option<String>,
    /// Whether there are rows, of whatever kind.
    items: Option<serde::de::IgnoredAny>,
}

/// Judges the API's answers.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) on_quota: OnQuota,
    /// How long a method is left alone after an answer that doesn't say how long.
    pub(crate) caution: Duration,
    /// How long a request waits at most for an API that asks it to.
    pub(crate) longest: Duration,
    /// What the API may repeat to us, and must not be shown.
    pub(crate) secrets: Vec<SecretValue>,
}

impl Dialect for Judge {
    fn judge(&self, answer: &Response) -> Result<(), Refusal> {
        let wrapper = match serde_json::from_slice::<Wrapper>(&answer.body) {
            Ok(wrapper) => wrapper,
            Err(error) => return Err(not_from_the_api(answer, error)),
        };
        if let Some(id) = wrapper.error_id {
            return Err(self.refusal(answer, id, &wrapper));
        }
        by_status(answer)?;
        match wrapper.items {
            Some(_) => Ok(()),
            None => Err(Refusal::never(
                answer
                    .error(ErrorKind::Data, "the API's answer has no `items`")
                    .hint(WRONG_API),
            )),
        }
    }

    fn told(&self, answer: &Response) -> Told {
        let Ok(wrapper) = serde_json::from_slice::<Wrapper>(&answer.body) else {
            // Perhaps asked too fast: more requests would make it worse.
            return Told {
                backoff: Some(self.caution),
                ..Told::default()
            };
        };
        let mut told = Told {
            quota_max: wrapper.quota_max,
            quota_left: wrapper
                .quota_remaining
                .map(|left| u64::try_from(left).unwrap_or(0)),
            resets_in: None,
            backoff: wrapper.backoff.map(with_margin),
        };
        match throttled(&wrapper, self.longest) {
            None => {}
            Some(Throttle::Brief(wait)) => {
                told.backoff = told.backoff.max(Some(with_margin(wait.as_secs())));
                // Where it is a quota after all, it is no longer spent than that.
                told.resets_in = Some(wait).filter(|_| told.quota_left == Some(0));
            }
            Some(Throttle::Spent(wait)) => {
                told.quota_left = Some(0);
                told.resets_in = Some(wait);
            }
            Some(Throttle::Backoff) => {
                // The ledger keeps backoffs, so this is another program's doing, or our error.
                tracing::warn!(
                    url = answer.shown_url(),
                    "the API says that it was asked before a backoff was over"
                );
                told.backoff = told.backoff.max(Some(self.caution));
            }
            Some(Throttle::Other) => told.backoff = told.backoff.max(Some(self.caution)),
        }
        told
    }
}

/// For how long a method is left alone that asked for so many seconds: one more, because the API
/// was seen to refuse clients that had waited for exactly so long.
fn with_margin(asked: u64) -> Duration {
    Duration::from_secs(asked.saturating_add(1))
}

/// Why the API takes no requests: error 502.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Throttle {
    /// The quota is spent, for so long.
    Spent(Duration),
    /// All at this address together ask too fast: it is to be left alone for so long.
    Brief(Duration),
    /// A method was asked before its backoff was over.
    Backoff,
    Other,
}

/// Why, if so. A wait of no more than `longest` is a pause, not a spent quota.
fn throttled(wrapper: &Wrapper, longest: Duration) -> Option<Throttle> {
    if wrapper.error_id != Some(502) {
        return None;
    }
    let message = wrapper.error_message.as_deref().unwrap_or_default();
    let message = message.to_ascii_lowercase();
    // "too many requests from this IP, more requests available in 38731 seconds"
    let wait = message.split_once("available in ").and_then(|(_, rest)| {
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
        digits.parse().ok().map(Duration::from_secs)
    });
    Some(match wait {
        Some(wait) if wait <= longest => Throttle::Brief(wait),
        Some(wait) => Throttle::Spent(wait),
        // "Violation of backoff parameter"
        None if message.contains("backoff") => Throttle::Backoff,
        None => Throttle::Other,
    })
}

const WRONG_API: &str = "`base_url` must be the address of the Stack Exchange API, such as \
                         \"https://api.stackexchange.com/2.3\"";

/// An answer that is no wrapper.
fn not_from_the_api(answer: &Response, error: serde_json::Error) -> Refusal {
    if error.classify() == Category::Data {
        let shown = answer.error(
            ErrorKind::Data,
            "the answer is not one of the Stack Exchange API",
        );
        return Refusal::never(
            shown
                .hint(WRONG_API)
                .because(answer.shown(&error.to_string())),
        );
    }
    let strange = "the answer is not JSON, so it doesn't come from the API";
    let hint = "the API answers so when it is asked too fast by all programs at this address \
                together, or when a proxy answers in its place; run again later";
    match answer.status.as_u16() {
        // What stands before the API turns away who asks too fast.
        200..=299 | 400 | 403 => Refusal::idempotent(
            answer
                .error(ErrorKind::Transient, strange)
                .hint(hint)
                .because(answer.shown(&error.to_string())),
        ),
        404 | 410 => {
            let shown = answer.error(
                ErrorKind::NotFound,
                "there is no Stack Exchange API at this address",
            );
            Refusal::never(shown.hint(WRONG_API))
        }
        _ => match by_status(answer) {
            Ok(()) => Refusal::idempotent(answer.error(ErrorKind::Transient, strange)),
            Err(mut refusal) => {
                refusal.error = refusal.error.hint(hint);
                refusal
            }
        },
    }
}

impl Judge {
    fn without_secrets(&self, text: &str) -> String {
        let hide = |text: String, secret: &SecretValue| match secret.expose() {
            "" => text,
            secret => text.replace(secret, "***"),
        };
        self.secrets.iter().fold(text.to_owned(), hide)
    }

    /// What an error id means, and what to do about it.
    fn refusal(&self, answer: &Response, id: i64, wrapper: &Wrapper) -> Refusal {
        let name = wrapper.error_name.as_deref().unwrap_or("without a name");
        let said = wrapper.error_message.as_deref().unwrap_or_default();
        let shown = |kind: ErrorKind, what: &str| {
            let error = Error::new(kind, what)
                .with("error", format!("{id} {name}"))
                .with("url", answer.shown_url());
            if said.is_empty() {
                return error;
            }
            error.with("message", self.without_secrets(said))
        };
        let never = |kind, what: &str, hint: &str| Refusal::never(shown(kind, what).hint(hint));
        let again = |what: &str, hint: &str| {
            Refusal::idempotent(shown(ErrorKind::Transient, what).hint(hint))
        };
        match id {
            400 => {
                let error = shown(
                    ErrorKind::Config,
                    "the API can't take a parameter of the request",
                );
                let (error, hint) = match blamed(said) {
                    Some("site") => (
                        error.with("key", "site"),
                        "`site` is a name of https://api.stackexchange.com/docs/sites, such as \
                         \"stackoverflow\"",
                    ),
                    Some("filter") => (
                        error.with("key", "filter"),
                        "write a filter that https://api.stackexchange.com/docs/filters knows",
                    ),
                    Some("key") => (
                        error.with("key", "key"),
                        "the key must be one of https://stackapps.com/apps/oauth/register, as it \
                         stands there",
                    ),
                    Some(key) => (
                        error.with("key", key),
                        "see what the method takes at https://api.stackexchange.com/docs",
                    ),
                    None => (
                        error,
                        "see what the method takes at https://api.stackexchange.com/docs",
                    ),
                };
                Refusal::never(error.hint(hint))
            }
            401 => never(
                ErrorKind::Auth,
                "the API wants an access token for this",
                "set `access_token`, and the `key` of the application that it was given to",
            ),
            402 => never(
                ErrorKind::Auth,
                "the access token is not valid, or not any more",
                "make a new one (https://api.stackexchange.com/docs/authentication) with the scope \
                 `no_expiry`, and set `access_token`",
            ),
            403 if said.contains("page above") => never(
                ErrorKind::Auth,
                "the API gives no pages after the 25th without a key",
                "so many rows share one value of what they are sorted by that they fill 25 pages: \
                 set `key` (free: https://stackapps.com/apps/oauth/register), or sort by a date",
            ),
            403 => never(
                ErrorKind::Auth,
                "the API does not allow this",
                "set `key` (free: https://stackapps.com/apps/oauth/register), or an `access_token` \
                 with the scope that is needed",
            ),
            404 => never(ErrorKind::Config, "the API has no such method", WRONG_API),
            405 => never(
                ErrorKind::Auth,
                "the API wants a key for this",
                "set `key` (free: https://stackapps.com/apps/oauth/register)",
            ),
            406 => never(
                ErrorKind::Auth,
                "the access token was sent over http, and is dead from now on",
                "make a new one, set `access_token`, and write `base_url` with https; if it wasn't \
                 this program, find out who sends it over http",
            ),
            407 => never(
                ErrorKind::Internal,
                "the API could not write, though it was only asked to read",
                "report this as a bug, with the URL",
            ),
            409 => again(
                "the API got the same request twice",
                "it takes it again after a minute; run again later if it stays",
            ),
            500 => again(
                "the API failed",
                "it usually recovers within minutes; run again later",
            ),
            503 => again(
                "the API is not there for the moment",
                "its state is told at https://stackstatus.net; run again later",
            ),
            502 => match (throttled(wrapper, self.longest), self.on_quota) {
                (Some(Throttle::Brief(wait)), _) => Refusal::always(
                    shown(
                        ErrorKind::RateLimited { wait: Some(wait) },
                        "the API takes no requests for a moment",
                    )
                    .hint(
                        "it counts all programs at this address together: look whether another one \
                         asks too",
                    ),
                )
                .after(Some(wait)),
                (Some(Throttle::Spent(wait)), OnQuota::Stop) => Refusal::never(
                    shown(
                        ErrorKind::Exhausted,
                        "the requests that the API allows for a day are spent",
                    )
                    .with("seconds until there are more", wait.as_secs())
                    .hint(
                        "run again then: it resumes where it stopped; or set `key` for 10,000 \
                         requests a day, or on_quota = \"wait\"",
                    ),
                ),
                (Some(Throttle::Spent(wait)), OnQuota::Wait) => Refusal::always(
                    shown(
                        ErrorKind::RateLimited { wait: Some(wait) },
                        "the requests that the API allows for a day are spent",
                    )
                    .hint("run again when there are more"),
                ),
                _ => Refusal::always(
                    shown(
                        ErrorKind::RateLimited { wait: None },
                        "the API takes no requests for now",
                    )
                    .hint(
                        "it counts all programs at this address together: look whether another one \
                         asks too; run again later",
                    ),
                ),
            },
            501.. => again("the API failed", "run again later"),
            _ => never(
                ErrorKind::Config,
                "the API refuses the request",
                "see https://api.stackexchange.com/docs/error-handling",
            ),
        }
    }
}

/// The key of the configuration that a message speaks of.
fn blamed(message: &str) -> Option<&'static str> {
    const KEYS: [&str; 8] = [
        "access_token",
        "site",
        "filter",
        "tagged",
        "pagesize",
        "sort",
        "order",
        "key",
    ];
    let lower = message.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.find_map(|word| KEYS.into_iter().find(|key| *key == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(message: &str) -> Option<Throttle> {
        let wrapper = Wrapper {
            error_id: Some(502),
            error_message: Some(message.to_owned()),
            ..Wrapper::default()
        };
        throttled(&wrapper, Duration::from_secs(60))
    }

    #[test]
    fn why_no_request_is_taken_is_read_from_the_message() {
        let spent = "too many requests from this IP, more requests available in 38731 seconds";
        let wait = Duration::from_secs(38_731);
        assert_eq!(throttle(spent), Some(Throttle::Spent(wait)));
        for seconds in [0, 1, 60] {
            let brief = format!("more requests available in {seconds} seconds");
            let wait = Duration::from_secs(seconds);
            assert_eq!(throttle(&brief), Some(Throttle::Brief(wait)));
        }
        let backoff = "Violation of backoff parameter";
        assert_eq!(throttle(backoff), Some(Throttle::Backoff));
        assert_eq!(throttle("simulated"), Some(Throttle::Other));
        assert_eq!(throttle("available in a while"), Some(Throttle::Other));
        assert_eq!(throttled(&Wrapper::default(), Duration::ZERO), None);
    }

    #[test]
    fn a_message_may_name_the_key_to_blame() {
        for (message, key) in [
            ("No site found for name `stakoverflow`", Some("site")),
            ("Invalid filter specified", Some("filter")),
            ("`key` doesn't match a known application", Some("key")),
            ("pagesize", Some("pagesize")),
            ("ids", None),
            ("a monkey", None),
        ] {
            assert_eq!(blamed(message), key, "{message}");
        }
    }
}
