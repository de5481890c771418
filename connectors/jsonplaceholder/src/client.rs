use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tidegate_core::{ErrorKind, Result};
use tidegate_http::{HttpClient, Request, Response, Url};

use crate::resource::Resource;

/// How a server pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Paging {
    /// json-server 0.x: `_limit`, a bare array, the length in the header `X-Total-Count`.
    Bare,
    /// json-server 1.x: `_per_page`, an object around the array. Asked for a page after the last,
    /// it gives the last.
    Wrapped,
}

/// A page to fetch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Page {
    pub(crate) resource: Resource,
    pub(crate) paging: Paging,
    /// From 1.
    pub(crate) number: u64,
    pub(crate) size: u32,
}

/// What json-server 1.x answers.
#[derive(Debug, Deserialize)]
struct Wrapper {
    prev: Option<u64>,
    items: u64,
    data: Box<RawValue>,
}

/// Speaks with the server.
#[derive(Debug)]
pub(crate) struct Client {
    http: HttpClient,
    base: Url,
}

impl Client {
    pub(crate) fn new(http: HttpClient, base: Url) -> Self {
        Self { http, base }
    }

    /// Asks how the server pages, and how many rows a resource has.
    pub(crate) async fn probe(&self, resource: Resource) -> Result<(Paging, u64)> {
        // 0.x ignores what it doesn't know, and sends ten rows.
        let request = self.get(resource, 1).query("_per_page", 1);
        let answer = request.send().await?;
        if let Some(total) = answer.header("x-total-count") {
            let total = total.parse().map_err(|error| {
                let message = "the header X-Total-Count is not a number";
                answer.error(ErrorKind::Data, message).because(error)
            })?;
            return Ok((Paging::Bare, total));
        }
        let wrapper: Wrapper = answer.json().map_err(|error| {
            error.hint("`base_url` must be the address of a json-server, 0.x or 1.x")
        })?;
        Ok((Paging::Wrapped, wrapper.items))
    }

    /// Fetches a page: the answer, and within it the JSON array of the page's rows.
    pub(crate) async fn fetch(&self, page: &Page) -> Result<(Response, Bytes)> {
        let size = match page.paging {
            Paging::Bare => "_limit",
            Paging::Wrapped => "_per_page",
        };
        let request = self.get(page.resource, page.number).query(size, page.size);
        let answer = request.send().await?;
        let rows = match page.paging {
            Paging::Bare => {
                answer.json::<Vec<IgnoredAny>>()?;
                answer.body.clone()
            }
            Paging::Wrapped => {
                let Wrapper { prev, data, .. } = answer.json()?;
                if !data.get().starts_with('[') {
                    let message = "the server's answer has no array `data`";
                    return Err(answer.error(ErrorKind::Data, message));
                }
                // Rows were deleted since the page was planned, and this is another page.
                let gone = prev.unwrap_or(0) + 1 != page.number;
                let data = if gone {
                    "[]".into()
                } else {
                    Box::<str>::from(data)
                };
                Bytes::from(String::from(data))
            }
        };
        Ok((answer, rows))
    }

    fn get(&self, resource: Resource, page: u64) -> Request<'_> {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push(resource.name());
        }
        self.http.get(url).query("_page", page)
    }
}
