use std::num::NonZeroU32;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_api::{
    ApiSource, Endpoint, Pagination, Pointer, Total, base_url, distinct_streams, records, under,
};
use tidegate_core::{PlanState, Result, Source, SourceConfig, SourceContext, async_trait, typetag};
use tidegate_http::HttpClient;

/// Reads JSONPlaceholder, or any json-server with the same resources.
///
/// Both generations of json-server are understood: 0.x (`_limit`) and 1.x (`_per_page`). Each run
/// reads everything, in pages that are fetched side by side. The key of every stream is `id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JsonPlaceholderConfig {
    /// The server's address.
    pub base_url: String,
    /// The resources to read, each a stream of that name.
    pub streams: Vec<Resource>,
    /// How many rows are fetched in one request.
    pub page_size: NonZeroU32,
    /// Whether there is also a stream `raw`, with a row for each page of each of the `streams`:
    /// `stream`, `url`, `status`, `fetched_at` (UTC) and `body`, the bytes as the server sent them.
    pub raw: bool,
}

impl Default for JsonPlaceholderConfig {
    fn default() -> Self {
        Self {
            base_url: "https://jsonplaceholder.typicode.com".to_owned(),
            streams: Resource::ALL.to_vec(),
            page_size: NonZeroU32::new(100).unwrap_or(NonZeroU32::MIN),
            raw: false,
        }
    }
}

impl JsonPlaceholderConfig {
    /// What the server has of a resource. json-server 0.x gives bare arrays, and their length in a
    /// header; 1.x an object around them, and its last page to who asks for one after it.
    fn endpoint(&self, resource: Resource, wrapped: bool) -> Result<Endpoint> {
        let (name, columns) = resource.describe();
        let url = under(&base_url(&self.base_url)?, name);
        let endpoint = Endpoint::of(name, url, &format!("id:int64,{columns}"), &["id"])?;
        let pages = Pagination::pages("_page");
        if !wrapped {
            let pages = pages.sized("_limit", self.page_size);
            return Ok(endpoint.pagination(pages.counted(Total::header("X-Total-Count"))));
        }
        let pages = pages.sized("_per_page", self.page_size);
        let pages = pages.counted(Total::member("items"));
        let pages = pages.known_by_previous(Pointer::member("prev"));
        Ok(endpoint.records(Pointer::member("data")).pagination(pages))
    }
}

#[async_trait]
#[typetag::serde(name = "jsonplaceholder")]
impl SourceConfig for JsonPlaceholderConfig {
    fn validate(&self) -> Result<()> {
        base_url(&self.base_url)?;
        distinct_streams(self.streams.iter().map(|stream| stream.name()))
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        let client = HttpClient::new(cx)?;
        // Is the server there, and one that we understand? 0.x ignores `_per_page`.
        let name = self.streams.first().map_or("", |first| first.name());
        let probe = client.get(under(&base_url(&self.base_url)?, name));
        let answer = probe.query("_page", 1).query("_per_page", 1).send().await?;
        let wrapped = answer.header("x-total-count").is_none();
        if wrapped {
            records(&answer, &Pointer::member("data").into()).map_err(|error| {
                error.hint("`base_url` must be the address of a json-server, 0.x or 1.x")
            })?;
        }
        let endpoints = self.streams.iter().map(|one| self.endpoint(*one, wrapped));
        let endpoints = endpoints.collect::<Result<_>>()?;
        Ok(Arc::new(ApiSource::new(client, endpoints).raw(self.raw)))
    }

    /// Splits carry the size they were planned with.
    fn understands(&self, state: &PlanState) -> Result<()> {
        ApiSource::understands(state)
    }

    fn remembered_under(&self) -> Option<&'static str> {
        Some(ApiSource::REMEMBERED_UNDER)
    }

    fn tuning_keys(&self) -> &'static [&'static str] {
        &["page_size"]
    }
}

/// What the server has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs)]
pub enum Resource {
    Users,
    Posts,
    Comments,
    Albums,
    Photos,
    Todos,
}
use Resource::{Albums, Comments, Photos, Posts, Todos, Users};

impl Resource {
    /// All of them.
    pub const ALL: [Self; 6] = [Users, Posts, Comments, Albums, Photos, Todos];

    /// Its name: of the stream, and in the URL.
    pub fn name(self) -> &'static str {
        self.describe().0
    }

    /// Its name, and its columns but `id`, named as the server names them.
    fn describe(self) -> (&'static str, &'static str) {
        match self {
            Users => ("users", USER),
            Posts => ("posts", "userId:int64,title:string,body:string"),
            Comments => ("comments", COMMENT),
            Albums => ("albums", "userId:int64,title:string"),
            Photos => ("photos", PHOTO),
            Todos => ("todos", "userId:int64,title:string,completed:bool"),
        }
    }
}

const COMMENT: &str = "postId:int64,name:string,email:string,body:string";
const PHOTO: &str = "albumId:int64,title:string,url:string,thumbnailUrl:string";
/// Latitude and longitude are texts there.
const USER: &str = "name:string,username:string,email:string,address:struct<street:string,\
    suite:string,city:string,zipcode:string,geo:struct<lat:string,lng:string>>,\
    phone:string,website:string,company:struct<name:string,catchPhrase:string,bs:string>";
