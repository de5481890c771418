//! How many requests a run needs, how many are left, and what follows from it.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tidegate_core::{Context, Error, KeyValue, Result};
use tidegate_http::{OnQuota, Quota};

/// Compares what a run needs with what is left.
pub(crate) struct Budget {
    on_quota: OnQuota,
    store: Arc<dyn KeyValue>,
    /// Where the forecast of a run that wasn't begun is kept.
    key: String,
}

/// What the first pages of a run say about the rest of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Forecast {
    /// Requests that the run needs in all, about.
    pub(crate) needed: u64,
    /// Those of them that were made.
    pub(crate) made: u64,
}

/// What is kept of a run that was not begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Refused {
    /// What was to be read.
    what: String,
    /// Requests that it needs at least: more is added with time, not less.
    needed: u64,
}

impl Budget {
    pub(crate) fn new(cx: &Context, on_quota: OnQuota) -> Self {
        Self {
            on_quota,
            store: Arc::clone(&cx.store),
            key: format!("stackoverflow/forecast/{}", cx.id),
        }
    }

    /// Refuses a run that was refused before, if nothing has changed since, without a request.
    ///
    /// Errors: `Exhausted`.
    pub(crate) async fn look_back(&self, what: &str, quota: Option<&Quota>) -> Result<()> {
        let stored = self.store.get(&self.key).await?;
        // What can't be read was written by another version: the first pages tell it anew.
        let refused = stored.and_then(|stored| Refused::deserialize(&stored).ok());
        let (Some(refused), Some(quota)) = (refused, quota) else {
            return Ok(());
        };
        let spent = quota.resets_at.is_some() && quota.left < refused.needed;
        if self.on_quota == OnQuota::Stop && refused.what == what && spent {
            return Err(not_enough(refused.needed, quota));
        }
        Ok(())
    }

    /// Tells what the run needs, and refuses it if that is more than what is left and no more than
    /// what there will be.
    ///
    /// Errors: `Exhausted`.
    pub(crate) async fn weigh(
        &self,
        what: &str,
        forecast: Forecast,
        quota: Option<&Quota>,
    ) -> Result<()> {
        let Forecast { needed, made } = forecast;
        let about = About(needed);
        let Some(quota) = quota else {
            tracing::info!("{about} needed");
            return Ok(());
        };
        let more = needed.saturating_sub(made);
        if more <= quota.left {
            tracing::info!("{about} needed, {quota}");
            return Ok(());
        }
        let fits = quota.max.is_some_and(|max| needed <= max);
        match (self.on_quota, fits) {
            (OnQuota::Wait, _) => {
                tracing::warn!("{about} needed, {quota}: the run will wait for more");
                Ok(())
            }
            (OnQuota::Stop, false) => {
                tracing::warn!(
                    "{about} needed, {quota}: the run will stop when they are spent, and later \
                     runs go on, unless a transform needs all rows at once: then they start over"
                );
                Ok(())
            }
            (OnQuota::Stop, true) => {
                let refused = Refused {
                    what: what.to_owned(),
                    needed,
                };
                self.keep(&refused).await?;
                Err(not_enough(needed, quota))
            }
        }
    }

    async fn keep(&self, refused: &Refused) -> Result<()> {
        let value = serde_json::to_value(refused)
            .map_err(|error| Error::internal("a forecast could not be stored").because(error))?;
        let before = self.store.get(&self.key).await?;
        // If another process was faster, its forecast is as good.
        self.store
            .compare_and_set(&self.key, before.as_ref(), &value)
            .await?;
        Ok(())
    }
}

fn not_enough(needed: u64, quota: &Quota) -> Error {
    let error = Error::exhausted(format!(
        "the run is not begun: {} needed, {quota}",
        About(needed)
    ));
    let when = quota
        .resets()
        .map_or("later".to_owned(), |time| format!("after {time}"));
    error.hint(format!(
        "run again {when}; or set max_requests to read a part now, on_quota = \"wait\" to wait, or \
         a `key` (free: https://stackapps.com/apps/oauth/register) for 10,000 requests a day"
    ))
}

/// `about 420 requests`
pub(crate) struct About(pub(crate) u64);

impl fmt::Display for About {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            1 => write!(f, "1 request"),
            many => write!(f, "about {many} requests"),
        }
    }
}

/// How many requests a walk through so many rows takes: each page but the first brings one row
/// that came before.
pub(crate) fn requests_for(rows: u64, pagesize: u32) -> u64 {
    let pagesize = u64::from(pagesize);
    1 + rows
        .saturating_sub(pagesize)
        .div_ceil(pagesize.saturating_sub(1).max(1))
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("on_quota", &self.on_quota)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_page_is_full_and_each_later_one_brings_a_row_less() {
        for (rows, pagesize, requests) in [
            (0, 100, 1),
            (1, 100, 1),
            (100, 100, 1),
            (101, 100, 2),
            (199, 100, 2),
            (200, 100, 3),
            (50_000, 100, 506),
            (3, 2, 2),
        ] {
            assert_eq!(
                requests_for(rows, pagesize),
                requests,
                "{rows} by {pagesize}"
            );
        }
    }
}
