use std::fmt::Debug;

use tidegate_core::{Error, Result, async_trait};
use tidegate_http::Request;

use crate::Endpoint;

/// What an API wants of each request beyond the endpoint's own: a token, a pace, a judge of its
/// answers.
#[async_trait]
pub trait Access: Debug + Send + Sync {
    /// The request as it is to be sent. Called before every page.
    async fn grant<'a>(
        &'a self,
        endpoint: &'a Endpoint,
        request: Request<'a>,
    ) -> Result<Request<'a>>;

    /// Told when the server did not let a request in (an error of kind `Auth`): says whether
    /// another attempt may go better, because what was granted could be renewed. Asked once a page.
    async fn renew(&self, error: &Error) -> Result<bool> {
        let _ = error;
        Ok(false)
    }

    /// Whether `grant` adds a parameter of this name to the query. Servers echo it in the URLs of
    /// next pages: it is left out there, so that it is never stored, and added anew.
    fn adds(&self, param: &str) -> bool {
        let _ = param;
        false
    }
}

/// An API that is open to everyone.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

#[async_trait]
impl Access for Open {
    async fn grant<'a>(&'a self, _: &'a Endpoint, request: Request<'a>) -> Result<Request<'a>> {
        Ok(request)
    }
}
