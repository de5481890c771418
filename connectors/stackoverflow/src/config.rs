//! The source as it stands in a pipeline file.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{
    Error, PlanState, Result, Secret, Source, SourceConfig, SourceContext, Span, async_trait,
    typetag,
};
use tidegate_http::{OnQuota, Url};

use crate::filter::Filter;
use crate::plan::State;
use crate::since::Since;
use crate::source::StackOverflowSource;
use crate::streams::{Kind, Sort, SortBy};

/// Reads Stack Overflow, or any other site of the Stack Exchange network, by its API 2.3.
///
/// A run reads what was added or changed since the one before, and each page is fetched once,
/// whatever streams come of it. Rows are read by the time they are sorted by and not by page
/// numbers, so that rows which change, come and go meanwhile hide no others, and there is no limit
/// of 25 pages, with or without a `key`. The upper bound is fixed when a run begins.
///
/// A row that changes comes again in a later run. Of a stream that is sorted by a time, none comes
/// twice in the same run. Of each key (`question_id`, `answer_id`, `user_id`, `comment_id`, the
/// `name` of a tag) the one that came last is how the row is now; of questions and answers that is
/// the one with the greatest `last_activity_date`. What was deleted is not told by the API.
///
/// The API allows 300 requests a day for each IP address, and 10,000 with a `key`: up to 100 rows
/// each. How many are left is remembered, and shared by all pipelines of one state place; a run
/// says at its beginning how many it will need. Pauses that the API asks for are kept, after a
/// restart too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StackOverflowConfig {
    /// The site, by its name in the API: `stackoverflow`, `serverfault`, `askubuntu`, `math`,
    /// `ru.stackoverflow`, `meta.stackoverflow`. The list is at
    /// <https://api.stackexchange.com/docs/sites>: `api_site_parameter`.
    pub site: String,

    /// What to read, each a stream of that name.
    pub streams: Vec<Kind>,

    /// Whether there is also a stream `raw`, with a row for each page of each of the `streams`:
    /// `stream`, `url` (without key and token), `status`, `fetched_at` (UTC) and `body`, the JSON as
    /// the server sent it, unpacked. Rows may be in two pages: where one ends and the next begins,
    /// and where a run's first page goes past the end of what it reads. Merge by key.
    pub raw: bool,

    /// Only questions that have all of these tags, at most 5. For questions alone: the API can't
    /// restrict other streams so.
    pub tagged: Vec<String>,

    /// What rows are sorted by, and so what a later run continues with. By default `activity` for
    /// questions and answers, which sees every edit and answer, but not votes and views; `creation`
    /// for users and comments, which sees new ones; `name` for tags.
    ///
    /// With the times (`activity`, `creation`, `modified`) a run continues where the one before ended.
    /// With what goes up and down (`votes`, `reputation`, `popular`) or has no order in time
    /// (`name`), each run reads everything, and what moves meanwhile may be missed or come twice.
    ///
    /// Questions and answers have `activity`, `creation`, `votes`; users `creation`, `modified`
    /// (which leaves out those whose profile was never changed), `reputation`, `name`; tags `name`,
    /// `popular`, `activity`; comments `creation`, `votes`. All `streams` must have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sort: Option<Sort>,

    /// Whether a run reads upwards (the oldest first) or downwards. What is read is the same.
    pub order: Order,

    /// Where the first run begins, by the time that rows are sorted by: `"2026-01-31"`,
    /// `"2026-01-31T08:00:00Z"`, or a span before now such as `"7d"`. Default: everything there is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Since>,

    /// How long after it happened something may show up in the API, which gives cached answers for
    /// about a minute. What is younger than this is left for the next run.
    pub lag: Span,

    /// Which fields are sent: `"default"`; `"withbody"`, which adds the bodies; the id of a custom
    /// filter, such as `"!nNPvSNVZJS"`; or what to change in one:
    /// `{ include = ["question.body_markdown"], exclude = ["question.link"] }`. Fields that aren't
    /// sent are NULL. Custom filters are made once, by one or two requests, and then remembered.
    pub filter: Filter,

    /// Whether titles, names and other texts that the API sends as HTML (`Tom &amp; Jerry`) become
    /// plain text (`Tom & Jerry`). Bodies are HTML and stay so. Default: yes, unless the filter is
    /// `unsafe`, whose texts are plain as they come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decode_entities: Option<bool>,

    /// The application's key, from <https://stackapps.com/apps/oauth/register>: 10,000 requests a
    /// day instead of 300. The API doesn't consider it a secret; we do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Secret>,

    /// A user's access token, for a quota of its own and the fields that only this user may see. It
    /// needs the `key` of the application that it was given to, and is only sent over https: the API
    /// declares tokens dead that came over http.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_token: Option<Secret>,

    /// How many rows are fetched in one request, from 2 to 100. Fewer rows take more of the quota.
    #[schemars(range(min = 2, max = 100))]
    pub pagesize: u32,

    /// The API's address.
    pub base_url: String,

    /// Ends a run after so many requests, like a spent quota: what was read is kept, and the next
    /// run resumes. Default: no limit but the quota's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<NonZeroU64>,

    /// What to do when the day's requests are spent. With `"stop"`, a run that needs more requests
    /// than are left now, but no more than a day has, isn't begun.
    pub on_quota: OnQuota,

    /// How long to leave a method (`/questions`) alone if the program was killed while it waited for
    /// an answer of it: the answer may have asked for a pause, and nobody heard it.
    pub caution: Span,

    /// How soon the same request may be retried: when a killed run is taken up, say. The API
    /// calls it abuse to ask the same more than once a minute. Shorten it only for a server of your
    /// own.
    pub repeat_after: Span,
}

/// The direction of reading.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Upwards: the oldest or least first.
    #[default]
    Asc,
    /// Downwards: the newest or greatest first.
    Desc,
}

impl Default for StackOverflowConfig {
    fn default() -> Self {
        Self {
            site: "stackoverflow".to_owned(),
            streams: vec![Kind::Questions],
            raw: false,
            tagged: Vec::new(),
            sort: None,
            order: Order::Asc,
            since: None,
            lag: Span(Duration::from_secs(60)),
            filter: Filter::default(),
            decode_entities: None,
            key: None,
            access_token: None,
            pagesize: PAGESIZE,
            base_url: "https://api.stackexchange.com/2.3".to_owned(),
            max_requests: None,
            on_quota: OnQuota::Stop,
            caution: Span(Duration::from_secs(60)),
            repeat_after: Span(Duration::from_secs(60)),
        }
    }
}

/// The most rows of a page: <https://api.stackexchange.com/docs/paging>.
const PAGESIZE: u32 = 100;
/// A page of one row has only the row with which the one before ended.
const FEWEST: u32 = 2;
/// With more, `/questions` answers nothing: <https://api.stackexchange.com/docs/questions>.
const MOST_TAGS: usize = 5;

impl StackOverflowConfig {
    /// The API's address, without a slash at its end.
    pub(crate) fn url(&self) -> Result<Url> {
        let url = Url::parse(self.base_url.trim_end_matches('/')).ok();
        let url = url.filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let url = url.filter(|url| url.query().is_none() && url.fragment().is_none());
        url.ok_or_else(|| {
            of_key("base_url", "`base_url` is not the address of an API")
                .hint("write it as \"https://api.stackexchange.com/2.3\"")
        })
    }

    /// What a stream is sorted by.
    pub(crate) fn sort_of(&self, kind: Kind) -> Result<SortBy> {
        kind.sorted(self.sort).ok_or_else(|| {
            let sort = self.sort.map_or("", Sort::name);
            let sorts: Vec<_> = kind.sorts().iter().map(|by| by.sort.name()).collect();
            let sorts = sorts.join(", ");
            let message = format!("`{kind}` can't be sorted by `{sort}`");
            of_key("sort", message).hint(format!(
                "`{kind}` has: {sorts}; use two sources for streams that share no sort"
            ))
        })
    }

    /// The streams and what each is sorted by.
    pub(crate) fn sorts(&self) -> Result<Vec<(Kind, SortBy)>> {
        let streams = self.streams.iter();
        streams
            .map(|kind| Ok((*kind, self.sort_of(*kind)?)))
            .collect()
    }

    /// Whether texts are to be decoded.
    pub(crate) fn entities(&self) -> bool {
        self.decode_entities
            .unwrap_or_else(|| !self.filter.is_unsafe())
    }

    fn check_streams(&self) -> Result<()> {
        if self.streams.is_empty() {
            return Err(of_key("streams", "`streams` is empty")
                .hint("leave the key out to read the questions"));
        }
        for (i, kind) in self.streams.iter().enumerate() {
            if self.streams[..i].contains(kind) {
                return Err(of_key("streams", format!("`streams` names `{kind}` twice")));
            }
            let by = self.sort_of(*kind)?;
            if *kind == Kind::Tags && by.sort == Sort::Activity && self.filter.is_built_in() {
                return Err(of_key(
                    "sort",
                    "the filter leaves out the time by which tags are to be sorted",
                )
                .hint("write filter = { include = [\"tag.last_activity_date\"] }"));
            }
        }
        Ok(())
    }

    fn check_tags(&self) -> Result<()> {
        if self.tagged.is_empty() {
            return Ok(());
        }
        if let Some(other) = self.streams.iter().find(|kind| **kind != Kind::Questions) {
            let message = format!("`tagged` can't restrict `{other}`");
            return Err(of_key("tagged", message)
                .hint("read only `questions` here, and the other streams by another source"));
        }
        if self.tagged.len() > MOST_TAGS {
            return Err(of_key("tagged", "`tagged` has more than 5 tags").hint(
                "the API answers nothing then: a question has at most 5 tags, and must have all \
                 of these",
            ));
        }
        for (i, tag) in self.tagged.iter().enumerate() {
            let strange = |c: char| c.is_whitespace() || c == ';' || c.is_control();
            if tag.is_empty() || tag.contains(strange) {
                return Err(of_key("tagged", format!("`{tag}` is not a tag")).hint(
                    "a tag has no spaces, and each is an item of its own: [\"rust\", \"async-await\"]",
                ));
            }
            if self.tagged[..i].contains(tag) {
                return Err(of_key("tagged", format!("`tagged` has `{tag}` twice")));
            }
        }
        Ok(())
    }

    fn check_filter(&self) -> Result<()> {
        self.filter.validate(&self.sorts()?)?;
        if self.filter.is_unsafe() && self.decode_entities == Some(true) {
            let message = "the texts of an unsafe filter are plain already";
            return Err(of_key("decode_entities", message)
                .hint("leave it out: who wrote of `&lt;` would be misread"));
        }
        Ok(())
    }

    fn check_access(&self) -> Result<()> {
        if self.access_token.is_none() {
            return Ok(());
        }
        if self.key.is_none() {
            return Err(of_key("access_token", "`access_token` needs a `key`").hint(
                "add the key of the application that the token was given to: key = { env = \"SE_KEY\" }",
            ));
        }
        let url = self.url()?;
        if url.scheme() != "https" && !is_loopback(&url) {
            return Err(of_key(
                "base_url",
                "an access token is never sent over http: the API would declare it dead",
            )
            .hint("write `base_url` with https"));
        }
        Ok(())
    }
}

/// Whether an address leads to this machine, where nobody listens in.
fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    let address: Option<std::net::IpAddr> = address.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

#[async_trait]
#[typetag::serde(name = "stackoverflow")]
impl SourceConfig for StackOverflowConfig {
    fn validate(&self) -> Result<()> {
        self.url()?;
        if self.site.is_empty() || self.site.contains(|c: char| c.is_whitespace() || c == '/') {
            return Err(of_key("site", "`site` is not the name of a site").hint(
                "write it as the API does: \"stackoverflow\", \"serverfault\", \"ru.stackoverflow\"",
            ));
        }
        self.check_streams()?;
        self.check_tags()?;
        self.check_access()?;
        self.check_filter()?;
        if !(FEWEST..=PAGESIZE).contains(&self.pagesize) {
            return Err(of_key("pagesize", "`pagesize` is out of bounds").hint(
                "from 2 to 100: a page begins with the row with which the one before ended",
            ));
        }
        Ok(())
    }

    async fn open(&self, cx: &SourceContext) -> Result<Arc<dyn Source>> {
        Ok(Arc::new(StackOverflowSource::open(self, cx).await?))
    }

    fn understands(&self, state: &PlanState) -> Result<()> {
        state.decode::<State>().map(drop)
    }

    fn remembered_under(&self) -> Option<&'static str> {
        Some(State::STREAMS)
    }

    /// With others of these, the same rows are read. A position knows the size of the pages that it
    /// counts, and counts anew where another is set.
    fn tuning_keys(&self) -> &'static [&'static str] {
        &[
            "pagesize",
            "max_requests",
            "on_quota",
            "caution",
            "repeat_after",
            "key",
            "access_token",
        ]
    }
}

/// An error of this configuration that `key` is to blame for.
pub(crate) fn of_key(key: &'static str, message: impl Into<String>) -> Error {
    Error::config(message).with("key", key)
}

#[cfg(test)]
mod tests;
