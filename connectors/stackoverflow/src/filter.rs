//! Which fields the API sends.
//!
//! A filter is a name (`default`, `withbody`) or an id that `/filters/create` gave. An id means the
//! same for ever, so ours are made once and kept in the store that all pipelines share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{KeyValue, Result};
use tidegate_http::Url;

use crate::streams::{Kind, SortBy};

/// Which fields are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Filter {
    /// `default`, `withbody`, or the id of a custom filter, which begins with `!`.
    Named(String),
    /// What to change in a filter.
    Custom(CustomFilter),
}

/// What to change in a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CustomFilter {
    /// The filter that is changed: `default`, `withbody`, `none`, or an id.
    pub base: Option<String>,
    /// Fields to add: `question.body_markdown`, `shallow_user.badge_counts`.
    pub include: Vec<String>,
    /// Fields to leave out.
    pub exclude: Vec<String>,
    /// Whether texts come as they were written, and not made safe to be put into HTML.
    #[serde(rename = "unsafe")]
    pub raw_text: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self::Named("default".to_owned())
    }
}

/// A filter to send with requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// It has a name; its texts are safe.
    Named(String),
    /// It has to be made, unless it is remembered.
    Made(Recipe),
}

/// How to make a filter: what `/filters/create` is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Recipe {
    base: String,
    include: Vec<String>,
    exclude: Vec<String>,
    raw_text: bool,
}

/// A filter that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Made {
    /// Its id.
    pub(crate) filter: String,
    /// Whether its texts come encoded for HTML.
    pub(crate) safe: bool,
}

impl Filter {
    /// Whether the API knows it without being asked to make it.
    pub(crate) fn is_built_in(&self) -> bool {
        unimplemented!("the next landing")
    }

    /// Checks the names.
    pub(crate) fn validate(&self) -> Result<()> {
        unimplemented!("the next landing")
    }

    /// What makes two settings the same for the state of a run: a change of it starts over.
    pub(crate) fn identity(&self) -> String {
        unimplemented!("the next landing")
    }

    /// The filter for pages. Whatever the setting leaves out, what we can't do without is in it:
    /// the wrapper's fields, keys, and what rows are sorted by.
    pub(crate) fn pages(&self, streams: &[(Kind, SortBy)]) -> Wanted {
        let _ = streams;
        unimplemented!("the next landing")
    }

    /// The same with `.total`, for the first page of a run and for the pages of one second.
    pub(crate) fn with_total(&self, streams: &[(Kind, SortBy)]) -> Recipe {
        let _ = streams;
        unimplemented!("the next landing")
    }
}

impl Recipe {
    /// The method that makes it, below the API's address. It takes no `site`.
    pub(crate) const METHOD: &'static str = "filters/create";

    /// The parameters.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        unimplemented!("the next landing")
    }

    /// What came of it: the one item of the answer, as JSON.
    ///
    /// Errors: `Config` if the API says that it is invalid or lacks what we need, `Data` if the
    /// answer isn't understood.
    pub(crate) fn made(&self, item: &str) -> Result<Made> {
        let _ = item;
        unimplemented!("the next landing")
    }

    /// What was made of it before, if it was.
    pub(crate) async fn recall(&self, shared: &dyn KeyValue, api: &Url) -> Result<Option<Made>> {
        let _ = (shared, api);
        unimplemented!("the next landing")
    }

    /// Remembers what was made.
    pub(crate) async fn remember(
        &self,
        made: &Made,
        shared: &dyn KeyValue,
        api: &Url,
    ) -> Result<()> {
        let _ = (made, shared, api);
        unimplemented!("the next landing")
    }
}
