//! What is known of an account with an API, shared by all runs and pipelines.

#[cfg(test)]
mod cases;
mod document;
mod hold;
mod options;
#[cfg(test)]
mod simulation;
mod spending;
mod turn;
mod words;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use chrono::Utc;
use sha2::{Digest as _, Sha256};
use tidegate_core::{Cancel, Context, KeyValue, Metrics, Result};

pub(crate) use document::{Ask, Ending};
pub use options::{LedgerOptions, OnQuota, Quota};

/// Keeps an API's rules for one account, over all requests that go through it
/// ([`Request::through`](crate::Request::through)): those of other components, pipelines, processes
/// and earlier runs too. They meet in one document of the store that all pipelines of a state
/// place share ([`Context::shared`]).
///
/// ```text
/// begin: wait while … ─> note it, durably ─> send ─> end: what the answer told, the note out
///   a request by this method is under way
///   the method is to be left alone (a backoff)
///   the same request was made a short while ago
///   the quota is spent: wait or stop
///   the last request of any method is too near
/// ```
///
/// A process that is killed leaves its note. When its request is over for sure, and at least
/// `caution` after it began, the method is used again and the request counts as made: its answer may
/// have asked for a break that nobody saw. The same goes for an answer that got lost.
///
/// The answers' [`Told`](crate::Told) says how much quota is left, which then counts; between
/// answers, and where they say nothing, requests are counted here. Requests under way are taken off
/// before they are sent, so that no process asks more than there is.
///
/// A request that is retried is a request, to the API and here: it waits for its turn like any
/// other.
///
/// Times are by this machine's clock. One that is set back makes no wait longer than it was.
#[derive(Debug, Clone)]
pub struct Ledger {
    store: Arc<dyn KeyValue>,
    key: Arc<str>,
    options: Arc<LedgerOptions>,
    cancel: Cancel,
    metrics: Arc<Metrics>,
    /// How many milliseconds more than usual it may take from noting a request to making it. Learnt
    /// from a store that takes longer.
    spare_ms: Arc<AtomicU64>,
}

impl Ledger {
    /// The ledger of an account.
    pub fn new(cx: &Context, options: LedgerOptions) -> Self {
        Self {
            store: Arc::clone(&cx.shared),
            key: format!("ledger/{}", options.account).into(),
            options: options.into(),
            cancel: cx.cancel.clone(),
            metrics: Arc::clone(&cx.metrics),
            spare_ms: Arc::default(),
        }
    }

    /// A name for an account that doesn't tell its key: the host, and a hash of the secrets by
    /// which the API knows us (none: the API knows us by our address).
    pub fn account_of(host: &str, secrets: &[&str]) -> String {
        if secrets.is_empty() {
            return format!("{host}/anonymous");
        }
        format!(
            "{host}/{}",
            digest(secrets.iter().map(|text| text.as_bytes()))
        )
    }

    /// What is known of the quota by now; `None` where no answer told of one.
    ///
    /// Errors: the store's.
    pub async fn quota(&self) -> Result<Option<Quota>> {
        Ok(self.read().await?.quota(Utc::now()))
    }

    /// How to speak of the API.
    fn host(&self) -> &str {
        let account = self.options.account.as_str();
        account.split_once('/').map_or(account, |(host, _)| host)
    }
}

/// 64 bits of a hash of some texts, in hexadecimal.
pub(crate) fn digest<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> String {
    use std::fmt::Write as _;
    let mut hash = Sha256::new();
    for text in texts {
        hash.update(text.len().to_le_bytes());
        hash.update(text);
    }
    let mut hex = String::new();
    for byte in &hash.finalize()[..8] {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
