//! What each request needs beyond what it asks.

use std::time::Duration;

use tidegate_api::{Access, Endpoint, Make};
use tidegate_core::{Context, Result, async_trait};
use tidegate_http::{Authorizer, Ledger, LedgerOptions, Request, Response};

use crate::config::RestConfig;
use crate::dialect::RestDialect;

/// Credentials, the pace, the quota, and the meaning of answers.
#[derive(Debug)]
pub(crate) struct RestAccess {
    authorizer: Authorizer,
    dialect: RestDialect,
    rate: Option<f64>,
    /// Where a quota has to be kept between requests.
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
        let ledger = config.quota.is_some().then(|| {
            let url = &endpoint.url;
            let host = url.host_str().unwrap_or_default();
            let host = match url.port() {
                Some(port) => format!("{host}:{port}"),
                None => host.to_owned(),
            };
            let mut options = LedgerOptions::new(authorizer.account(&host));
            // What such an API has to say of pauses, it says by `Retry-After`, which holds for the
            // request alone: an answer that nobody saw asked for none.
            options.caution = Duration::ZERO;
            options.on_quota = config.on_quota;
            Ledger::new(cx, options)
        });
        Self {
            dialect: RestDialect::new(config.quota.clone(), &authorizer),
            authorizer,
            rate: config.rate_limit,
            ledger,
            method: endpoint.url.path().to_owned(),
        }
    }

    fn prepare<'a>(&'a self, request: Request<'a>) -> Request<'a> {
        let request = request.dialect(&self.dialect);
        let request = match self.rate {
            Some(rate) => request.paced("rest", rate),
            None => request,
        };
        match &self.ledger {
            Some(ledger) => request.through(ledger, &self.method),
            None => request,
        }
    }
}

#[async_trait]
impl Access for RestAccess {
    async fn send(&self, _: &Endpoint, make: &Make<'_>) -> Result<Response> {
        self.authorizer.send(|| self.prepare(make())).await
    }

    fn adds(&self, param: &str) -> bool {
        self.authorizer.adds(param)
    }
}
