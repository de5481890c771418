use std::sync::Arc;

use arrow_schema::SchemaRef;
use tidegate_core::{
    Ask, Context, EventStream, Offset, Plan, Result, Scan, Source, Split, Stream, async_trait,
};
use tidegate_http::HttpClient;

use crate::{Access, Endpoint};

/// An API whose endpoints are streams.
#[derive(Debug)]
pub struct ApiSource {}

impl ApiSource {
    /// A source of these endpoints. Each run reads all of them, or what is new where they are
    /// incremental.
    pub fn new(client: HttpClient, endpoints: Vec<Endpoint>) -> Self {
        let _ = (client, endpoints);
        unimplemented!()
    }

    /// With what each request needs.
    #[must_use]
    pub fn access(self, access: Arc<dyn Access>) -> Self {
        let _ = access;
        unimplemented!()
    }

    /// With the stream `raw`, a row for each page of each endpoint, or without (default).
    #[must_use]
    pub fn raw(self, raw: bool) -> Self {
        let _ = raw;
        unimplemented!()
    }
}

/// Learns an endpoint's schema from its first `pages` pages (which are asked for as a first run
/// would), and keeps it in the component's store: opened again, for a resumed run or the next one,
/// the same endpoint has the same columns, whatever records come first by then. Another URL,
/// parameters, body or place of the records is another endpoint, and is learnt anew; so is one
/// whose pipeline's state is gone.
///
/// Errors: `Schema` where the pages hold no record.
pub async fn learn(
    cx: &Context,
    client: &HttpClient,
    access: &dyn Access,
    endpoint: &Endpoint,
    pages: usize,
) -> Result<SchemaRef> {
    let _ = (cx, client, access, endpoint, pages);
    unimplemented!()
}

#[async_trait]
impl Source for ApiSource {
    fn streams(&self) -> Vec<Stream> {
        unimplemented!()
    }

    async fn plan(&self, _: &Ask<'_>) -> Result<Plan> {
        unimplemented!()
    }

    async fn read(&self, _: &Split, _: &[Scan], _: Option<&Offset>) -> Result<EventStream> {
        unimplemented!()
    }
}
