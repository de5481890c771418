//! What comes after a page.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tidegate_core::{Error, ErrorKind, Result};
use tidegate_http::{Response, Url, header, redact};

use crate::json::Document;
use crate::records::unreadable;
use crate::step::{Step, cleaned, may_be_stored, plain};
use crate::{Access, CursorFrom, Endpoint, Pagination, Place, Pointer, Records, Total, json, link};

/// Which page the server gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Given {
    /// The one that was asked for, as far as can be told.
    Asked,
    /// Another, because that one is not there.
    Another,
    /// One that doesn't say which page is before it, as the first does, or as any would if its name
    /// were misspelt.
    Unnamed,
}

/// What comes after a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: it is the last.
    End,
    Page(Step),
    /// Nothing, by what the server says of how much there is. What it says may be too low: this is
    /// the page that would follow.
    Told {
        after: Step,
        /// Whether the answer itself shows that it is too low.
        wrong: bool,
    },
}

impl Next {
    fn when(more: bool, step: Step) -> Self {
        match more {
            true => Self::Page(step),
            false => Self::End,
        }
    }
}

impl From<Option<Step>> for Next {
    fn from(step: Option<Step>) -> Self {
        step.map_or(Self::End, Self::Page)
    }
}

/// A page and the question that it answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) access: &'a dyn Access,
    pub(crate) step: &'a Step,
    pub(crate) answer: &'a Response,
    pub(crate) body: &'a Document<'a>,
    /// How many records or pages there are, where that is known.
    pub(crate) told: Option<u64>,
}

/// How many records, or pages where those are counted, lie before a page of which there is a
/// `total`; `None` where there is none.
pub(crate) fn lying_before(endpoint: &Endpoint, step: &Step) -> Option<u64> {
    let total = endpoint.pagination.total()?;
    match (&endpoint.pagination, step) {
        (Pagination::Page { first, size, .. }, Step::Page(number)) => {
            let pages = number.saturating_sub(*first);
            let each = size.filter(|_| !total.is_of_pages());
            Some(pages.saturating_mul(each.map_or(1, |size| size.get().into())))
        }
        (Pagination::Offset { first, .. }, Step::Offset(before)) => {
            Some(before.saturating_sub(*first))
        }
        _ => None,
    }
}

/// What a `total` counts.
pub(crate) fn unit(endpoint: &Endpoint) -> &'static str {
    match endpoint.pagination.total() {
        Some(total) if total.is_of_pages() => "pages",
        _ => "records",
    }
}

impl Page<'_> {
    /// The page after this one.
    ///
    /// Errors: `Data` where the server doesn't tell what it was said to tell, or the next page is on
    /// another host.
    pub(crate) fn next(&self, records: &Records) -> Result<Next> {
        let empty = records.count == 0;
        match (&self.endpoint.pagination, self.step) {
            (
                Pagination::Page {
                    has_more,
                    short_page_ends,
                    ..
                },
                Step::Page(number),
            ) => {
                let after = Step::Page(number.saturating_add(1));
                if let Some(has_more) = has_more {
                    return Ok(Next::when(self.has_more(has_more)?, after));
                }
                Ok(self.by_count(records, after, *short_page_ends))
            }
            (
                Pagination::Offset {
                    has_more,
                    short_page_ends,
                    ..
                },
                Step::Offset(before),
            ) => {
                let after = Step::Offset(before.saturating_add(records.count));
                let Some(has_more) = has_more else {
                    return Ok(self.by_count(records, after, *short_page_ends));
                };
                let more = self.has_more(has_more)?;
                if more && empty {
                    // It moves nothing: there would never be an end.
                    return Err(self
                        .error("a page without records says that there is another")
                        .hint(
                            "the server can't be read by `offset` and `has_more`: leave \
                             `pagination.has_more` out to end with an empty page, or try \
                             `type = \"page\"`",
                        ));
                }
                Ok(Next::when(more, after))
            }
            (
                Pagination::Cursor {
                    cursor,
                    from,
                    has_more,
                    ..
                },
                _,
            ) => Ok(self
                .cursor(records, cursor, *from, has_more.as_ref())?
                .into()),
            (Pagination::Link { allow_hosts }, _) => {
                // It isn't quoted: URLs in it may echo credentials.
                let target = link::next(self.links()).map_err(|_| {
                    self.error("the header `Link` can't be understood")
                        .hint("it is to read `<https://…>; rel=\"next\"` (RFC 8288)")
                })?;
                if target.is_none() && *self.step == Step::First && !empty {
                    tracing::info!(
                        stream = %self.endpoint.name,
                        "the first page has no header `Link` with a next one: it is all there is"
                    );
                }
                let next = target.map(|to| self.url(&to, allow_hosts)).transpose()?;
                Ok(next.into())
            }
            (Pagination::NextUrl { next, allow_hosts }, _) => {
                self.notice_missing(records, next, "pagination.next");
                let target: Option<Value> =
                    self.read(next, "pagination.next", "the URL of a page")?;
                let next = match target.filter(|target| !is_none(target)) {
                    None => None,
                    Some(Value::String(to)) => Some(self.url(&to, allow_hosts)?),
                    Some(_) => {
                        return Err(self.of_another_type(
                            next,
                            "pagination.next",
                            "the URL of a page",
                        ));
                    }
                };
                Ok(next.into())
            }
            _ => Ok(Next::End),
        }
    }

    /// The page after this one, by how much there is, where that is known; else by whether this one
    /// has anything.
    fn by_count(&self, records: &Records, after: Step, short_page_ends: bool) -> Next {
        let size = self.endpoint.pagination.size();
        let short = size.is_some_and(|size| records.count < size.get().into());
        let ends = records.count == 0 || (short && short_page_ends);
        let (Some(before), Some(total)) = (
            lying_before(self.endpoint, self.step),
            self.endpoint.pagination.total(),
        ) else {
            return Next::when(!ends, after);
        };
        let Some(told) = self.told.filter(|_| records.count > 0) else {
            return Next::when(!ends, after);
        };
        let reached = match total.is_of_pages() {
            true => before.saturating_add(1),
            false => before.saturating_add(records.count),
        };
        // A page that is short moves the number of the next one all the same.
        let next = lying_before(self.endpoint, &after).unwrap_or(reached);
        if next < told {
            return Next::Page(after);
        }
        let wrong = reached > told || self.links_on();
        match short && short_page_ends {
            true => Next::End,
            false => Next::Told { after, wrong },
        }
    }

    /// Whether a header leads to another page, whatever way of paging is used.
    fn links_on(&self) -> bool {
        link::next(self.links()).is_ok_and(|target| target.is_some())
    }

    fn links(&self) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
        let links = self.answer.headers.get_all(header::LINK).into_iter();
        links.map(|value| String::from_utf8_lossy(value.as_bytes()))
    }

    /// Whether the body says that there is another page.
    fn has_more(&self, pointer: &Pointer) -> Result<bool> {
        let what = "true or false";
        let told: Option<Flag> = self.read(pointer, "pagination.has_more", what)?;
        // Where it was found on the first page, its name isn't misspelt.
        let may_lack = self.body.find(pointer).is_some()
            || *self.step != Step::first(&self.endpoint.pagination);
        match told {
            Some(Flag(more)) => Ok(more),
            None if may_lack => Ok(false),
            None => Err(self.lacks(pointer, "pagination.has_more")),
        }
    }

    /// Which page the server gave.
    ///
    /// Errors: `Data` where the first page says that there is one before it.
    pub(crate) fn given(&self) -> Result<Given> {
        let Pagination::Page {
            previous: Some(pointer),
            ..
        } = &self.endpoint.pagination
        else {
            return Ok(Given::Asked);
        };
        let Step::Page(number) = self.step else {
            return Ok(Given::Asked);
        };
        let what = "the number of a page";
        let told: Option<Number> = self.read(pointer, "pagination.previous", what)?;
        match told.map(|told| told.0) {
            None if *number == self.first() => Ok(Given::Asked),
            None if self.body.find(pointer).is_none() => Ok(Given::Unnamed),
            None => Ok(Given::Another),
            Some(before) if *number == self.first() => Err(self
                .error(format!(
                    "the first page, {number}, says that page {before} is before it"
                ))
                .hint(format!(
                    "if the server counts from {before}, write `first = {before}` in \
                     `pagination`; else `pagination.previous` is not the number of the page \
                     before: check it, or leave it out"
                ))),
            Some(before) if before.checked_add(1) == Some(*number) => Ok(Given::Asked),
            Some(_) => Ok(Given::Another),
        }
    }

    /// Refuses a first page of another size than was asked for, where pages are counted by it.
    ///
    /// Errors: `Config`: there would be others than were counted.
    pub(crate) fn refuse_size(&self, records: &Records) -> Result<()> {
        let (Pagination::Page { first, size, .. }, Some(told)) =
            (&self.endpoint.pagination, self.told)
        else {
            return Ok(());
        };
        let Some(size) = size.filter(|_| unit(self.endpoint) == "records") else {
            return Ok(());
        };
        let size = u64::from(size.get());
        let (given, expected) = (records.count, told.min(size));
        // There may be more than is said.
        if *self.step != Step::Page(*first) || (expected..=size).contains(&given) {
            return Ok(());
        }
        let message =
            format!("the first page has {given} records, though {expected} were asked for");
        Err(Error::config(message)
            .with("url", self.answer.shown_url())
            .hint(format!(
                "check `pagination.size_param`; if the server gives no more than {given} records \
                 a page, make that the page's size"
            )))
    }

    /// How many pages there are, where the server says so.
    pub(crate) fn pages(&self) -> Option<u64> {
        let Pagination::Page { size, .. } = &self.endpoint.pagination else {
            return None;
        };
        let total = self.endpoint.pagination.total()?;
        let told = self.told?;
        match total.is_of_pages() {
            true => Some(told),
            false => size.map(|size| told.div_ceil(size.get().into())),
        }
    }

    /// What this answer says of how much there is. A page without records need not say it, nor one
    /// after the first.
    ///
    /// Errors: `Data` where it must, and doesn't, or says something else.
    pub(crate) fn total(&self, records: &Records) -> Result<Option<u64>> {
        let Some(total) = self.endpoint.pagination.total() else {
            return Ok(None);
        };
        let what = match total.is_of_pages() {
            true => "a number of pages",
            false => "a number of records",
        };
        let may_lack = records.count == 0 || *self.step != Step::first(&self.endpoint.pagination);
        match total {
            Total::Header(name) | Total::PagesHeader(name) => {
                let Some(told) = self.answer.header(name) else {
                    if may_lack {
                        return Ok(None);
                    }
                    return Err(self
                        .error(format!("the answer has no header `{name}`"))
                        .hint(NO_TOTAL));
                };
                let told = Number::of_text(told).ok_or_else(|| {
                    let told = self.answer.excerpt(told.as_bytes());
                    self.error(format!("the header `{name}` is not {what}, but `{told}`"))
                        .hint(NO_TOTAL)
                })?;
                Ok(Some(told.0))
            }
            Total::Pointer(pointer) | Total::PagesPointer(pointer) => {
                let told: Option<Number> = self.read(pointer, "pagination.total", what)?;
                if told.is_none() && !may_lack {
                    return Err(self.lacks(pointer, "pagination.total").hint(format!(
                        "the answer is {}: {NO_TOTAL}",
                        self.body.describe()
                    )));
                }
                Ok(told.map(|told| told.0))
            }
        }
    }

    /// The number or the offset of the first page.
    fn first(&self) -> u64 {
        match &self.endpoint.pagination {
            Pagination::Page { first, .. } | Pagination::Offset { first, .. } => *first,
            _ => 0,
        }
    }

    fn cursor(
        &self,
        records: &Records,
        pointer: &Pointer,
        from: CursorFrom,
        has_more: Option<&Pointer>,
    ) -> Result<Option<Step>> {
        let more = has_more.map(|has_more| self.has_more(has_more));
        let more = more.transpose()?;
        if more == Some(false) || (from == CursorFrom::LastRecord && records.count == 0) {
            return Ok(None);
        }
        let cursor = match from {
            CursorFrom::Body => {
                self.notice_missing(records, pointer, "pagination.cursor");
                let cursor = self.exactly(self.body.present(pointer), pointer)?;
                let is_end = |cursor: &Value| more != Some(true) && is_none(cursor);
                if cursor
                    .as_ref()
                    .is_some_and(|cursor| cursor.is_number() && is_end(cursor))
                {
                    self.notice_last(records, &format!("0 at `{pointer}`"), "pagination.has_more");
                }
                cursor.filter(|cursor| !is_end(cursor))
            }
            // A record may well have 0 there.
            CursorFrom::LastRecord => self.in_last(records, pointer)?,
        };
        let cursor = cursor.filter(|cursor| *cursor != Value::String(String::new()));
        match cursor {
            // Some servers end with a page of nothing that leads to itself.
            Some(cursor) if records.count == 0 && *self.step == Step::Cursor(cursor.clone()) => {
                Ok(None)
            }
            // It is stored.
            Some(cursor) if self.answer.holds_hidden(&plain(&cursor)) => Err(self
                .error(format!(
                    "the cursor at `{pointer}` holds a secret, and isn't stored"
                ))
                .hint(ECHO)),
            Some(cursor) => Ok(Some(Step::Cursor(cursor))),
            None if more == Some(true) || from == CursorFrom::LastRecord => Err(self
                .error(format!(
                    "there is another page, but nothing at `{pointer}` to ask for it with"
                ))
                .hint(match from {
                    CursorFrom::Body => {
                        "check `pagination.cursor`, the JSON pointer of the cursor in the body"
                    }
                    CursorFrom::LastRecord => {
                        "check `pagination.cursor`, the JSON pointer of the cursor in a record \
                         (`from = \"last_record\"`)"
                    }
                })),
            None => Ok(None),
        }
    }

    /// A cursor, to be sent back as it came.
    ///
    /// Errors: `Data` where it is a number that a value can't hold, and stands in the body.
    fn exactly(&self, cursor: Option<&RawValue>, pointer: &Pointer) -> Result<Option<Value>> {
        let Some(text) = cursor.map(RawValue::get) else {
            return Ok(None);
        };
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return Err(self.of_another_type(pointer, "pagination.cursor", "a cursor"));
        };
        let written = value.to_string();
        if !value.is_number() || written == text {
            return Ok(Some(value));
        }
        match self.endpoint.pagination.place() {
            Place::Query => Ok(Some(text.into())),
            Place::Body if text.contains(['.', 'e', 'E']) => Ok(Some(value)),
            Place::Body => Err(self
                .error(format!(
                    "the cursor {text} is too large a number to be sent back"
                ))
                .hint("send it in the query, where it is a text: leave `in = \"body\"` out")),
        }
    }

    /// Many servers leave out on the last page what leads to the next. On the first page it may as
    /// well be a name that is misspelt.
    fn notice_missing(&self, records: &Records, pointer: &Pointer, key: &str) {
        if self.body.find(pointer).is_none() {
            self.notice_last(records, &format!("nothing at `{pointer}`"), key);
        }
    }

    /// Says why the first page is taken for the last, where something else may be the reason.
    fn notice_last(&self, records: &Records, what: &str, key: &str) {
        if *self.step == Step::First && records.count > 0 {
            tracing::warn!(
                stream = %self.endpoint.name,
                "the first page has {what}, so it is taken for the last: if there are more, check \
                 `{key}`"
            );
        }
    }

    /// What the last record has at `pointer`.
    fn in_last(&self, records: &Records, pointer: &Pointer) -> Result<Option<Value>> {
        let wrong = |error| unreadable(self.answer, error);
        let array = serde_json::from_slice(&records.json).map_err(wrong)?;
        let Some(last) = json::elements(array).map_err(wrong)?.pop() else {
            return Ok(None);
        };
        let last = Document::of(last).map_err(wrong)?;
        self.exactly(last.present(pointer), pointer)
    }

    /// A URL that the server gave, made whole.
    fn url(&self, target: &str, allowed: &[String]) -> Result<Step> {
        let url = self.answer.url.join(target).map_err(|error| {
            self.error("the next page's URL can't be understood")
                .hint(match self.endpoint.pagination {
                    Pagination::NextUrl { .. } => {
                        "check `pagination.next`, the JSON pointer of the next page's URL"
                    }
                    _ => "the header `Link` holds it: tell the server's operator",
                })
                .because(error)
        })?;
        let ours = &self.endpoint.url;
        let same = |one: &Url, other: &Url| {
            one.host() == other.host()
                && one.port_or_known_default() == other.port_or_known_default()
        };
        let named = |allowed: &String| {
            let host = url.host_str().unwrap_or_default();
            let port = url.port().map(|port| format!("{host}:{port}"));
            allowed.eq_ignore_ascii_case(host) || port.is_some_and(|host| *allowed == host)
        };
        let plainer = ours.scheme() == "https" && url.scheme() != "https";
        if !matches!(url.scheme(), "http" | "https") || plainer {
            return Err(self
                .error("the next page's URL is not as safe as this one's")
                .with("next", self.show(url))
                .hint("the server leads from https to http: tell its operator, or use the http address as `url`"));
        }
        if !same(&url, ours) && !allowed.iter().any(named) {
            let host = url.host_str().unwrap_or_default().to_owned();
            return Err(self
                .error("the next page is on another host")
                .with("next", self.show(url))
                .hint(format!(
                    "the credentials would be sent there: if that is right, add `{host}` to \
                     `pagination.allow_hosts`"
                )));
        }
        let url = cleaned(url, self.access, self.answer);
        if !may_be_stored(&url, self.endpoint, self.answer) {
            return Err(self
                .error("the next page's URL holds a secret, and isn't stored")
                .hint(ECHO));
        }
        Ok(Step::Url(url.into()))
    }

    /// What the body has at `pointer`, which must be `what` if it is there, and not null.
    fn read<T: DeserializeOwned>(
        &self,
        pointer: &Pointer,
        key: &str,
        what: &str,
    ) -> Result<Option<T>> {
        let read = self.body.read(pointer);
        read.map_err(|_| self.of_another_type(pointer, key, what))
    }

    fn of_another_type(&self, pointer: &Pointer, key: &str, what: &str) -> Error {
        let found = self
            .body
            .find(pointer)
            .map(RawValue::get)
            .unwrap_or_default();
        let found = self.answer.excerpt(found.as_bytes());
        self.error(format!(
            "what the answer has at `{pointer}` is of another type than expected: {found} is not \
             {what}"
        ))
        .hint(match key {
            "pagination.total" => NO_TOTAL.to_owned(),
            _ => format!("check `{key}`, the JSON pointer of {what} in the body"),
        })
    }

    fn lacks(&self, pointer: &Pointer, key: &str) -> Error {
        self.error(format!("the answer has nothing at `{pointer}`"))
            .hint(format!(
                "the answer is {}: check `{key}`",
                self.body.describe()
            ))
    }

    /// A URL as it may be shown.
    fn show(&self, url: Url) -> String {
        let url = cleaned(url, self.access, self.answer);
        self.answer.shown(&redact(&url))
    }

    fn error(&self, message: impl Into<String>) -> Error {
        self.answer.error(ErrorKind::Data, message)
    }
}

/// What to do about a server that gives a secret to be sent back.
pub(crate) const ECHO: &str = "the server gives back a secret that it was sent, in what has to be kept \
                               until the next request: tell its operator, or page in another way";

/// What to do about a `total` that isn't there.
const NO_TOTAL: &str = "`pagination.total` says where the server tells how much there is; leave it \
                        out if the server doesn't: pages are then read until an empty one";

/// A page without records, or another than was asked for, in the middle of what the server says
/// there is: many give no more than their first 1,000 or 10,000 records.
pub(crate) fn gap(endpoint: &Endpoint, answer: &Response, reached: u64, told: u64) -> Error {
    let unit = unit(endpoint);
    let error = answer.error(
        ErrorKind::Data,
        format!(
            "the server gives no more than {reached} of the {told} {unit} that it says there are"
        ),
    );
    let incremental = match endpoint.incremental {
        Some(_) => "",
        None => ", or `incremental` with a later `start`",
    };
    error.hint(format!(
        "ask for less at once (`params`{incremental}), or page by cursor if the server can; if \
         what it says is not exact, leave `pagination.total` out"
    ))
}

/// Whether a value says that there is no next page: Twitter wrote 0, others false.
fn is_none(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(there) => !there,
        Value::Number(number) => matches!(number.to_string().as_str(), "0" | "0.0" | "-0.0"),
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        Value::Object(members) => members.is_empty(),
    }
}

/// A whole number, which some servers write as a text, or with zeros after the point.
struct Number(u64);

impl Number {
    fn of_text(text: &str) -> Option<Self> {
        let text = text.trim();
        let (whole, zeros) = text.split_once('.').unwrap_or((text, ""));
        let is_whole = zeros.bytes().all(|digit| digit == b'0');
        let number = whole.parse().ok().filter(|_| is_whole);
        number.map(Self)
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = Value::deserialize(deserializer)?;
        let number = Self::of_text(&plain(&value));
        number.ok_or_else(|| D::Error::custom("not a whole number"))
    }
}

/// True or false, which some servers write as a number or a text.
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = Value::deserialize(deserializer)?;
        match plain(&value).as_str() {
            "true" | "1" => Ok(Self(true)),
            "false" | "0" => Ok(Self(false)),
            _ => Err(D::Error::custom("neither true nor false")),
        }
    }
}
