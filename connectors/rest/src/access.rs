//! What each request needs beyond what it asks.

use tidegate_api::{Access, Endpoint, Make};
use tidegate_core::{Context, Result, async_trait};
use tidegate_http::{Authorizer, Ledger, LedgerOptions, OnSpent, Response};

use crate::config::RestConfig;
use crate::dialect::RestDialect;
use crate::quota::OnQuota;

/// Credentials, the pace, the quota, and the meaning of answers.
#[derive(Debug)]
pub(crate) struct RestAccess {
    authorizer: Authorizer,
    dialect: RestDialect,
    /// Where something has to be kept between requests.
    ledger: Option<Ledger>,
    /// The name of the requests in the ledger.
    method: String,
}

impl RestAccess {
    pub(crate) fn new(
        config: &RestConfig,
        cx: &Context,
        authorizer: Authorizer,
        endpoint: &Endpoint,
    ) -> Self {
        let host = endpoint.url.host_str().unwrap_or_default();
        let ledger = (config.rate_limit.is_some() || config.quota.is_some()).then(|| {
            let mut options = LedgerOptions::new(authorizer.account(host));
            options.per_second = config.rate_limit;
            options.on_spent = match config.on_quota {
                OnQuota::Stop => OnSpent::Stop,
                OnQuota::Wait => OnSpent::Wait,
            };
            Ledger::new(cx, options)
        });
        Self {
            dialect: RestDialect::new(config.quota.clone(), &authorizer),
            authorizer,
            ledger,
            method: endpoint.url.path().to_owned(),
        }
    }
}

#[async_trait]
impl Access for RestAccess {
    async fn send(&self, _: &Endpoint, make: &Make<'_>) -> Result<Response> {
        let prepared = || {
            let request = make().dialect(&self.dialect);
            match &self.ledger {
                Some(ledger) => request.through(ledger, &self.method),
                None => request,
            }
        };
        self.authorizer.send(prepared).await
    }

    fn adds(&self, param: &str) -> bool {
        self.authorizer.adds(param)
    }
}
