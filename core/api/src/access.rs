use std::fmt::Debug;

use tidegate_core::{Result, async_trait};
use tidegate_http::{Request, Response};

use crate::Endpoint;

/// Makes a page's request, as often as it is called.
pub type Make<'a> = dyn Fn() -> Request<'a> + Send + Sync + 'a;

/// How requests are sent: with a token, at a pace, through a ledger, judged by a dialect.
#[async_trait]
pub trait Access: Debug + Send + Sync {
    /// Sends a page's request, with what the API wants of it beyond the endpoint's own. `make` may
    /// be called again where the first attempt was not let in and another may be. An answer that
    /// isn't good is an error.
    async fn send(&self, endpoint: &Endpoint, make: &Make<'_>) -> Result<Response>;

    /// Whether `send` adds a parameter of this name to the query. Servers echo it in the URLs of
    /// next pages: it is taken out of them, so that it is never stored, and added anew. So is every
    /// parameter whose value holds what the client hides
    /// ([`HttpClient::holds_hidden`](tidegate_http::HttpClient::holds_hidden)), whatever its name.
    fn adds(&self, param: &str) -> bool {
        let _ = param;
        false
    }
}

/// Access to an API that lets everyone in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

#[async_trait]
impl Access for Open {
    async fn send(&self, _: &Endpoint, make: &Make<'_>) -> Result<Response> {
        make().send().await
    }
}
