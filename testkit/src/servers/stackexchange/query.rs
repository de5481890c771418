//! Which rows a request means (api.stackexchange.com/docs/paging, /docs/min-max,
//! /docs/questions and so on).

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Kind;
use super::answer::Problem;
use super::data::{Id, Key, Row, Second, Tables, sorts};
use super::filter::Filter;
use super::render::View;

/// The parameters of a request, by name.
pub(super) type Parameters = BTreeMap<String, String>;

/// What is asked for, without the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Method {
    Rows(Kind),
    /// `/questions/{ids}` and so on; of tags `/tags/{tags}/info`.
    These(Kind, Vec<String>),
    CreateFilter,
    Sites,
    Errors,
    Simulate(String),
}

/// One page of rows, as it is sent.
#[derive(Debug, Clone, Default)]
pub(super) struct Page {
    /// A JSON array.
    pub(super) items: Arc<str>,
    pub(super) count: usize,
    pub(super) has_more: bool,
    pub(super) total: Option<usize>,
    pub(super) number: i64,
    pub(super) size: i64,
    /// The name of the type, as the wrapper's `type` says it.
    pub(super) kind: &'static str,
}

/// A question for rows.
#[derive(Debug)]
pub(super) struct Ask {
    kind: Kind,
    ids: Option<Vec<String>>,
    number: i64,
    size: i64,
    sort: usize,
    descending: bool,
    min: Option<Key>,
    max: Option<Key>,
    created: (Option<Second>, Option<Second>),
    tagged: Vec<String>,
}

impl Method {
    /// The method at a path after the version; `None` if there is none.
    pub(super) fn at(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let kind = |name: &str| Kind::ALL.into_iter().find(|kind| kind.method() == name);
        let ids = |ids: &str| {
            let mut ids: Vec<String> = ids.split(';').map(str::to_owned).collect();
            // An unordered set.
            ids.sort_unstable();
            ids.dedup();
            ids
        };
        match parts.as_slice() {
            ["filters", "create"] => Some(Self::CreateFilter),
            ["sites"] => Some(Self::Sites),
            ["errors"] => Some(Self::Errors),
            ["errors", id] => Some(Self::Simulate((*id).to_owned())),
            ["tags", tags, "info"] => Some(Self::These(Kind::Tags, ids(tags))),
            ["tags", _] => None,
            [name] => kind(name).map(Self::Rows),
            [name, list] => Some(Self::These(kind(name)?, ids(list))),
            _ => None,
        }
    }

    /// Its name, for which backoffs hold: without ids.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Rows(kind) => format!("/{}", kind.method()),
            Self::These(Kind::Tags, _) => "/tags/{tags}/info".to_owned(),
            Self::These(kind, _) => format!("/{}/{{ids}}", kind.method()),
            Self::CreateFilter => "/filters/create".to_owned(),
            Self::Sites => "/sites".to_owned(),
            Self::Errors => "/errors".to_owned(),
            Self::Simulate(_) => "/errors/{id}".to_owned(),
        }
    }

    /// The same for two requests that ask the same question, however they are written. Who asks
    /// makes no difference.
    pub(super) fn question(&self, parameters: &Parameters) -> String {
        let mut all: BTreeMap<&str, &str> = [
            ("page", "1"),
            ("pagesize", "30"),
            ("order", "desc"),
            ("filter", "default"),
        ]
        .into();
        if let Self::Rows(kind) | Self::These(kind, _) = self {
            all.insert("sort", sorts(*kind)[0]);
        }
        for (name, value) in parameters {
            if !matches!(name.as_str(), "key" | "access_token") {
                all.insert(name, value);
            }
        }
        match self {
            Self::These(_, ids) => format!("{} {ids:?} {all:?}", self.name()),
            Self::Simulate(id) => format!("{} {id} {all:?}", self.name()),
            _ => format!("{} {all:?}", self.name()),
        }
    }
}

/// A parameter's value; one that is empty counts as not given.
pub(super) fn value<'a>(parameters: &'a Parameters, name: &str) -> Option<&'a str> {
    parameters
        .get(name)
        .map(String::as_str)
        .filter(|value| !value.is_empty())
}

fn number(parameters: &Parameters, name: &str) -> Result<Option<i64>, Problem> {
    let number = value(parameters, name).map(str::parse).transpose();
    number.map_err(|_| Problem::new(400, name))
}

impl Ask {
    pub(super) fn new(
        kind: Kind,
        ids: Option<&[String]>,
        parameters: &Parameters,
        deepest: Option<i64>,
    ) -> Result<Self, Problem> {
        let page = number(parameters, "page")?.unwrap_or(1);
        if page < 1 {
            return Err(Problem::new(400, "page"));
        }
        if deepest.is_some_and(|deepest| page > deepest) {
            let deepest = deepest.unwrap_or_default();
            let what = format!("page above {deepest} requires access token or app key");
            return Err(Problem::new(403, &what));
        }
        let size = number(parameters, "pagesize")?.unwrap_or(30);
        if !(0..=100).contains(&size) {
            return Err(Problem::new(400, "pagesize"));
        }
        let sort = value(parameters, "sort").unwrap_or(sorts(kind)[0]);
        let sort = sorts(kind).iter().position(|name| *name == sort);
        let sort = sort.ok_or_else(|| Problem::new(400, "sort"))?;
        let descending = match value(parameters, "order") {
            None | Some("desc") => true,
            Some("asc") => false,
            Some(_) => return Err(Problem::new(400, "order")),
        };
        let bound = |name: &str| {
            if sorts(kind)[sort] == "name" {
                let text = value(parameters, name).map(str::to_lowercase);
                return Ok(text.map(Key::Text));
            }
            Ok(number(parameters, name)?.map(Key::Number))
        };
        let tagged = match kind {
            Kind::Questions => value(parameters, "tagged").unwrap_or_default(),
            _ => "",
        };
        if ids.is_some_and(|ids| ids.len() > 100) {
            return Err(Problem::new(400, "ids"));
        }
        Ok(Self {
            kind,
            ids: ids.map(<[String]>::to_vec),
            number: page,
            size,
            sort,
            descending,
            min: bound("min")?,
            max: bound("max")?,
            created: (
                number(parameters, "fromdate")?,
                number(parameters, "todate")?,
            ),
            tagged: tagged
                .split(';')
                .filter(|tag| !tag.is_empty())
                .map(str::to_lowercase)
                .collect(),
        })
    }

    fn means(&self, row: &Row) -> bool {
        let (from, to) = self.created;
        if let Some(created) = row.created()
            && (from.is_some_and(|from| created < from) || to.is_some_and(|to| created > to))
        {
            return false;
        }
        if let Some(ids) = &self.ids {
            let id = match row {
                Row::Tag(tag) => tag.name.clone(),
                row => row.id().to_string(),
            };
            if ids.binary_search(&id).is_err() {
                return false;
            }
        }
        match row {
            // All of them, and more than five are never found on one question.
            Row::Question(row) => {
                self.tagged.len() <= 5 && self.tagged.iter().all(|tag| row.tags.contains(tag))
            }
            _ => true,
        }
    }

    /// Whether all rows within the bounds of the sort are meant.
    fn means_all(&self) -> bool {
        self.created == (None, None) && self.ids.is_none() && self.tagged.is_empty()
    }

    /// The rows that are meant, in their order, from so many on.
    fn rows<'a>(
        &'a self,
        tables: &'a Tables,
        from: usize,
    ) -> Box<dyn Iterator<Item = &'a Row> + 'a> {
        let (min, max) = (self.min.clone(), self.max.clone());
        let ids = tables.sorted(self.kind, self.sort, min, max, self.descending);
        let row = |id| tables.get(self.kind, id).map(AsRef::as_ref);
        if self.means_all() {
            // Without a look at those before.
            return Box::new(ids.skip(from).filter_map(row));
        }
        let rows = ids.filter_map(row).filter(|row| self.means(row));
        Box::new(rows.skip(from))
    }

    pub(super) fn page(&self, site: &str, tables: &Tables, filter: &Filter) -> Page {
        let view = View {
            site,
            rows: tables,
            filter,
        };
        let size = usize::try_from(self.size).unwrap_or_default();
        let before = usize::try_from(self.number - 1).unwrap_or(usize::MAX);
        let mut rows = self.rows(tables, before.saturating_mul(size));
        let mut items = String::from("[");
        let mut count = 0;
        if filter.has("", "items") {
            for row in rows.by_ref().take(size) {
                if count > 0 {
                    items.push(',');
                }
                items.push_str(&view.row(row).to_string());
                count += 1;
            }
        } else {
            // The rows before the next page.
            rows.by_ref().take(size).for_each(drop);
        }
        items.push(']');
        let has_more = rows.next().is_some();
        let total = filter
            .has("", "total")
            .then(|| self.rows(tables, 0).count());
        Page {
            items: items.into(),
            count,
            has_more,
            total,
            number: self.number,
            size: self.size,
            kind: match self.kind {
                Kind::Questions => "question",
                Kind::Answers => "answer",
                Kind::Users => "user",
                Kind::Tags => "tag",
                Kind::Comments => "comment",
            },
        }
    }
}

impl Page {
    /// A page of things that aren't rows of a site.
    pub(super) fn of(kind: &'static str, items: &[serde_json::Value]) -> Self {
        let text: Vec<String> = items.iter().map(ToString::to_string).collect();
        Self {
            items: format!("[{}]", text.join(",")).into(),
            count: items.len(),
            has_more: false,
            total: Some(items.len()),
            number: 1,
            size: 30,
            kind,
        }
    }
}

/// Rows with these ids, of numbers only.
pub(super) fn are_ids(kind: Kind, ids: &[String]) -> bool {
    kind == Kind::Tags || ids.iter().all(|id| id.parse::<Id>().is_ok())
}
