//! Which fields the API sends: <https://api.stackexchange.com/docs/filters>.
//!
//! A filter is a name (`default`, `withbody`) or an id that `/filters/create` gave. An id means the
//! same forever, so ours are made once and kept in the store that all pipelines share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, ErrorKind, KeyValue, Result, suggest};
use tidegate_http::Url;

use crate::config::of_key;
use crate::fields;
use crate::streams::{Kind, SortBy};

/// Which fields are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(inline)]
pub enum Filter {
    /// What to change in a filter.
    Custom(CustomFilter),
    /// `default`, `withbody`, or the id of a custom filter, which begins with `!`.
    Named(String),
}

/// What to change in a filter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CustomFilter {
    /// The filter that is changed: `default`, `withbody`, `none` (which has no field), or the id of
    /// a custom one. Default: `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// Fields to add, each as `type.field`: `question.body_markdown`, `shallow_user.badge_counts`.
    pub include: Vec<String>,
    /// Fields to leave out.
    pub exclude: Vec<String>,
    /// Whether texts come as somebody wrote them (`Tom & Jerry`). By default they come fit for being
    /// put into HTML (`Tom &amp; Jerry`).
    #[serde(rename = "unsafe")]
    pub raw_text: bool,
}

impl Default for Filter {
    fn default() -> Self {
        Self::Named(DEFAULT.to_owned())
    }
}

const DEFAULT: &str = "default";
/// The filters that the API knows by name and that send what we need. Their texts are safe.
const BUILT_IN: [&str; 2] = [DEFAULT, "withbody"];
/// A filter without any field.
const NONE: &str = "none";

/// The wrapper's fields that we can't do without. Even `backoff` can be left out of a filter, and
/// then the API's wish for a pause would never be heard.
const WRAPPER: [&str; 8] = [
    ".items",
    ".has_more",
    ".quota_max",
    ".quota_remaining",
    ".backoff",
    ".error_id",
    ".error_name",
    ".error_message",
];
const TOTAL: &str = ".total";

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
}

impl Filter {
    /// Whether the API knows it without being asked to make it.
    pub(crate) fn is_built_in(&self) -> bool {
        matches!(self, Self::Named(name) if BUILT_IN.contains(&name.as_str()))
    }

    /// Whether texts are asked for as somebody wrote them.
    pub(crate) fn is_unsafe(&self) -> bool {
        matches!(self, Self::Custom(custom) if custom.raw_text)
    }

    /// Checks the names.
    pub(crate) fn validate(&self, streams: &[(Kind, SortBy)]) -> Result<()> {
        let custom = match self {
            Self::Named(name) if self.is_built_in() || is_id(name) => return Ok(()),
            Self::Named(name) => return Err(no_filter(name, "")),
            Self::Custom(custom) => custom,
        };
        if let Some(base) = &custom.base
            && !BUILT_IN.contains(&base.as_str())
            && base != NONE
            && !is_id(base)
        {
            return Err(no_filter(base, "base = "));
        }
        for field in custom.include.iter().chain(&custom.exclude) {
            if !is_field(field) {
                return Err(of_key("filter", format!("`{field}` is not a field")).hint(
                    "write it with its type, as \"question.body_markdown\" or \
                     \"shallow_user.badge_counts\"",
                ));
            }
        }
        let needed = needed(streams);
        for field in &custom.exclude {
            if needed.contains(field) {
                let message = format!("without `{field}` no rows can be read");
                return Err(of_key("filter", message).hint("take it out of `exclude`"));
            }
            if custom.include.contains(field) {
                let message = format!("`{field}` is in `include` and in `exclude`");
                return Err(of_key("filter", message));
            }
        }
        Ok(())
    }

    /// What makes two settings the same for what was read before. The order of fields doesn't.
    pub(crate) fn identity(&self) -> String {
        match self {
            Self::Named(name) => name.clone(),
            Self::Custom(custom) => custom.recipe().identity(),
        }
    }

    /// The filter for pages. Whatever the setting leaves out, what we can't do without is in it:
    /// the wrapper's fields, keys, and what rows are sorted by.
    pub(crate) fn pages(&self, streams: &[(Kind, SortBy)]) -> Wanted {
        match self {
            Self::Named(name) if self.is_built_in() => Wanted::Named(name.clone()),
            _ => Wanted::Made(self.recipe().with(needed(streams))),
        }
    }

    /// The same with `.total`, for the first page of a run and for the pages of one second.
    pub(crate) fn with_total(&self, streams: &[(Kind, SortBy)]) -> Recipe {
        let total = std::iter::once(TOTAL.to_owned());
        match self {
            // The same for all streams, so that one is enough.
            Self::Named(_) if self.is_built_in() => self.recipe().with(total),
            _ => self.recipe().with(needed(streams).into_iter().chain(total)),
        }
    }

    fn recipe(&self) -> Recipe {
        match self {
            Self::Custom(custom) => custom.recipe(),
            Self::Named(name) => CustomFilter {
                base: Some(name.clone()),
                ..CustomFilter::default()
            }
            .recipe(),
        }
    }
}

impl CustomFilter {
    fn recipe(&self) -> Recipe {
        let sorted = |fields: &[String]| {
            let mut fields = fields.to_vec();
            fields.sort_unstable();
            fields.dedup();
            fields
        };
        Recipe {
            base: self.base.clone().unwrap_or_else(|| DEFAULT.to_owned()),
            include: sorted(&self.include),
            exclude: sorted(&self.exclude),
            raw_text: self.raw_text,
        }
    }
}

impl Recipe {
    /// The method that makes it, below the API's address. It takes no `site`.
    pub(crate) const METHOD: &'static str = "filters/create";

    fn with(mut self, fields: impl IntoIterator<Item = String>) -> Self {
        self.include.extend(fields);
        self.include.sort_unstable();
        self.include.dedup();
        self
    }

    /// The parameters. `unsafe` is always said, so that a base's own safety doesn't matter.
    pub(crate) fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("base", self.base.clone())];
        for (name, fields) in [("include", &self.include), ("exclude", &self.exclude)] {
            if !fields.is_empty() {
                query.push((name, fields.join(";")));
            }
        }
        query.push(("unsafe", self.raw_text.to_string()));
        query
    }

    fn identity(&self) -> String {
        let query = self.query();
        let query: Vec<_> = query.iter().map(|(k, v)| format!("{k}={v}")).collect();
        query.join("&")
    }

    /// What came of it: the one item of the answer, as JSON.
    ///
    /// Errors: `Config` if the API says that it is invalid or lacks what we need, `Data` if the
    /// answer isn't understood.
    pub(crate) fn made(&self, item: &str) -> Result<Made> {
        let made: Answer = serde_json::from_str(item).map_err(|error| {
            Error::data("the answer of /filters/create has no filter").because(error)
        })?;
        let raw_text = match made.filter_type.as_deref() {
            Some("invalid") => return Err(self.refused("the API says that the filter is invalid")),
            Some("unsafe") => true,
            Some("safe") => false,
            _ => self.raw_text,
        };
        // Texts must be known to be encoded or not, or decoding them would garble some.
        if raw_text != self.raw_text {
            let error = of_key(
                "filter",
                "the API made a filter of another safety than asked for",
            );
            return Err(error.with("asked for", self.identity()).hint(format!(
                "write filter = {{ base = \"{}\", unsafe = {raw_text} }}",
                self.base
            )));
        }
        if let Some(fields) = &made.included_fields
            && let Some(lost) = self.include.iter().find(|field| !fields.contains(field))
        {
            return Err(self.refused(&format!("the API made a filter without `{lost}`")));
        }
        Ok(Made {
            filter: made.filter,
        })
    }

    /// An error about this filter.
    fn refused(&self, message: &str) -> Error {
        let error = Error::config(message).with("asked for", self.identity());
        self.blamed(error)
    }

    /// An error of the API about this filter, with what may be wrong with it.
    pub(crate) fn blamed(&self, error: Error) -> Error {
        if error.kind() != ErrorKind::Config {
            return error;
        }
        let mut fields = self.include.iter().chain(&self.exclude);
        let strange = fields.find(|field| {
            let of_rows = !field.starts_with('.');
            of_rows && fields::documented().all(|known| known != **field)
        });
        let hint = match strange {
            Some(field) => match nearest(field) {
                Some(near) => format!("`{field}` is not documented: did you mean `{near}`?"),
                None => format!(
                    "`{field}` is not documented: see https://api.stackexchange.com/docs for the \
                     types and their fields"
                ),
            },
            None => "a filter's id must be copied whole, with its `!`".to_owned(),
        };
        let named = error.context().iter().any(|(name, _)| *name == "key");
        let error = if named {
            error
        } else {
            error.with("key", "filter")
        };
        error.hint(hint)
    }

    /// What was made of it before, if it was.
    pub(crate) async fn recall(&self, shared: &dyn KeyValue, api: &Url) -> Result<Option<Made>> {
        let stored = shared.get(&self.place(api)).await?;
        // What can't be read was written by another version: it is created again.
        Ok(stored.and_then(|made| serde_json::from_value(made).ok()))
    }

    /// Remembers what was made.
    pub(crate) async fn remember(
        &self,
        made: &Made,
        shared: &dyn KeyValue,
        api: &Url,
    ) -> Result<()> {
        let value = serde_json::to_value(made)
            .map_err(|error| Error::internal("a filter can't be stored").because(error))?;
        let place = self.place(api);
        // Whoever came first has made the same.
        let before = shared.get(&place).await?;
        shared
            .compare_and_set(&place, before.as_ref(), &value)
            .await?;
        Ok(())
    }

    /// The key in the store. Ids of one API mean nothing to another, such as a fake.
    fn place(&self, api: &Url) -> String {
        let host = api.host_str().unwrap_or_default();
        let port = api.port().map_or(String::new(), |port| format!(":{port}"));
        let path = api.path();
        format!("{host}{port}{path} filter {}", self.identity())
    }
}

/// What `/filters/create` answers: <https://api.stackexchange.com/docs/types/filter>.
#[derive(Deserialize)]
struct Answer {
    filter: String,
    filter_type: Option<String>,
    included_fields: Option<Vec<String>>,
}

/// What must be sent, whatever the user wants to see.
fn needed(streams: &[(Kind, SortBy)]) -> Vec<String> {
    let fields = streams.iter().flat_map(|(kind, by)| {
        let of = kind.type_name();
        [format!("{of}.{}", kind.key()), format!("{of}.{}", by.field)]
    });
    let wrapper = WRAPPER.iter().map(ToString::to_string);
    wrapper.chain(fields).collect()
}

/// The documented field that was probably meant: of the same type, if there is such a type, so that
/// its name doesn't make fields alike.
fn nearest(field: &str) -> Option<String> {
    let known: Vec<_> = fields::documented().collect();
    let name = field.rfind('.').map_or(0, |dot| dot + 1);
    let (of, name) = field.split_at(name);
    let mut of_type = known
        .iter()
        .filter_map(|known| known.strip_prefix(of))
        .peekable();
    match of_type.peek() {
        Some(_) => suggest::nearest(name, of_type).map(|near| format!("{of}{near}")),
        None => suggest::nearest(field, known.iter().map(String::as_str)).map(str::to_owned),
    }
}

fn no_filter(name: &str, key: &str) -> Error {
    of_key("filter", format!("`{name}` is not a filter")).hint(format!(
        "write {key}\"default\", \"withbody\", or an id of the API, which begins with `!`"
    ))
}

/// Ids are `!` and other printable characters without a meaning of their own.
fn is_id(name: &str) -> bool {
    name.len() > 1 && name.starts_with('!') && name.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_field(name: &str) -> bool {
    let plain = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    name.split_once('.')
        .is_some_and(|(of, field)| plain(of) && plain(field) && !field.is_empty())
}

#[cfg(test)]
mod tests;
