//! What each request needs beyond what it asks.

use std::sync::Arc;
use std::time::Instant;

use tidegate_api::{Access, Endpoint};
use tidegate_core::{Context, Error, Result, async_trait};
use tidegate_http::{Authorizer, Ledger, LedgerOptions, OnSpent, Request};

use crate::config::RestConfig;
use crate::dialect::RestDialect;
use crate::quota::OnQuota;

/// Credentials, the pace, the quota, and the meaning of answers.
#[derive(Debug)]
pub(crate) struct RestAccess {
    authorizer: Authorizer,
    dialect: Arc<RestDialect>,
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
            dialect: Arc::new(RestDialect::new(config.quota.clone(), &authorizer)),
            authorizer,
            ledger,
            method: endpoint.url.path().to_owned(),
        }
    }
}

#[async_trait]
impl Access for RestAccess {
    async fn grant<'a>(&'a self, _: &'a Endpoint, request: Request<'a>) -> Result<Request<'a>> {
        let request = self.authorizer.authorize(request).await?;
        let request = request.dialect(Arc::clone(&self.dialect) as _);
        Ok(match &self.ledger {
            Some(ledger) => request.through(ledger, &self.method),
            None => request,
        })
    }

    async fn renew(&self, _: &Error, granted: Instant) -> Result<bool> {
        Ok(self.authorizer.renew(granted).await)
    }

    fn adds(&self, param: &str) -> bool {
        self.authorizer.adds(param)
    }
}
