//! What comes after a page.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tidegate_core::{Error, ErrorKind, Result};
use tidegate_http::{Response, Url, header, redact};

use crate::json::Document;
use crate::step::{Step, plain, stored};
use crate::{Access, CursorFrom, Endpoint, Pagination, Pointer, Records, Total, json, link};

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

/// A page and the question that it answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) access: &'a dyn Access,
    pub(crate) step: &'a Step,
    pub(crate) answer: &'a Response,
    pub(crate) body: &'a Document<'a>,
}

impl Page<'_> {
    /// The page after this one; `None` if this was the last.
    ///
    /// Errors: `Data` where the server doesn't tell what it was said to tell, or the next page is on
    /// another host.
    pub(crate) fn next(&self, records: &Records) -> Result<Option<Step>> {
        let empty = records.count == 0;
        match (&self.endpoint.pagination, self.step) {
            (
                Pagination::Page {
                    size,
                    has_more,
                    short_page_ends,
                    ..
                },
                Step::Page(number),
            ) => {
                let short = size.is_some_and(|size| records.count < size.get().into());
                let more = match (has_more, self.pages()?) {
                    (_, Some(pages)) => number.saturating_sub(self.first()) + 1 < pages,
                    (Some(has_more), None) => self.told(has_more, "has_more")?,
                    (None, None) => !(empty || (short && *short_page_ends)),
                };
                Ok(more.then(|| Step::Page(number.saturating_add(1))))
            }
            (
                Pagination::Offset {
                    size,
                    total,
                    has_more,
                    short_page_ends,
                    ..
                },
                Step::Offset(before),
            ) => {
                let next = before.saturating_add(records.count);
                let short = size.is_some_and(|size| records.count < size.get().into());
                let more = match (has_more, total) {
                    (Some(has_more), _) => {
                        let more = self.told(has_more, "has_more")?;
                        if more && empty {
                            // It moves nothing: there would never be an end.
                            return Err(self
                                .error("a page without records says that there is another")
                                .hint("the server can't be read by `offset`: try `page`"));
                        }
                        more
                    }
                    (None, _) if empty => false,
                    (None, Some(total)) => next.saturating_sub(self.first()) < self.total(total)?,
                    (None, None) => !(short && *short_page_ends),
                };
                Ok(more.then_some(Step::Offset(next)))
            }
            (
                Pagination::Cursor {
                    cursor,
                    from,
                    has_more,
                    ..
                },
                _,
            ) => self.cursor(records, cursor, *from, has_more.as_ref()),
            (Pagination::Link { allow_hosts }, _) => {
                let links = self.answer.headers.get_all(header::LINK).into_iter();
                let links = links.map(|value| String::from_utf8_lossy(value.as_bytes()));
                // It isn't quoted: URLs in it may echo what lets us in.
                let target = link::next(links).map_err(|_| {
                    self.error("the header `Link` can't be understood")
                        .hint("it is to read `<https://…>; rel=\"next\"` (RFC 8288)")
                })?;
                if target.is_none() && *self.step == Step::First && !empty {
                    tracing::info!(
                        stream = %self.endpoint.name,
                        "the first page has no header `Link` with a next one: it is all there is"
                    );
                }
                target.map(|to| self.url(&to, allow_hosts)).transpose()
            }
            (Pagination::NextUrl { next, allow_hosts }, _) => {
                self.notice_missing(records, next, "pagination.next");
                let target: Option<String> = self.read(next, "pagination.next")?;
                let target = target.filter(|target| !target.is_empty());
                target.map(|to| self.url(&to, allow_hosts)).transpose()
            }
            _ => Ok(None),
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
        let told: Option<Number> = self.read(pointer, "pagination.previous")?;
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

    /// Refuses a page without records, or another than was asked for, in the middle of what the same
    /// answer says there is: many servers give no more than their first 1,000 or 10,000 records.
    ///
    /// Errors: `Data`.
    pub(crate) fn refuse_gap(&self, records: &Records, given: Given) -> Result<()> {
        if records.count > 0 {
            return Ok(());
        }
        let (reached, told, what) = match (&self.endpoint.pagination, self.step) {
            (
                Pagination::Page {
                    total: Some(total),
                    size,
                    ..
                },
                Step::Page(number),
            ) => {
                let before = number.saturating_sub(self.first());
                let told = self.total(total)?;
                match (total, size) {
                    (Total::Header(_) | Total::Pointer(_), Some(size)) => {
                        (before.saturating_mul(size.get().into()), told, "records")
                    }
                    // Some count one page, with nothing in it, where there is nothing.
                    _ if given == Given::Asked => (before.saturating_add(1), told, "pages"),
                    _ => (before, told, "pages"),
                }
            }
            (
                Pagination::Offset {
                    total: Some(total), ..
                },
                Step::Offset(before),
            ) => {
                let told = self.total(total)?;
                (before.saturating_sub(self.first()), told, "records")
            }
            _ => return Ok(()),
        };
        if reached >= told {
            return Ok(());
        }
        Err(self
            .error(format!(
                "the server gives no more than {reached} of the {told} {what} that it says there are"
            ))
            .hint(
                "ask for less at once (`params`, or `incremental` with a later `start`), or page \
                 by cursor if the server can; if what it says is not exact, leave \
                 `pagination.total` out",
            ))
    }

    /// Refuses a first page of another size than was asked for, where pages are counted by it.
    ///
    /// Errors: `Config`: there would be others than were counted.
    pub(crate) fn refuse_size(&self, records: &Records) -> Result<()> {
        let Pagination::Page {
            first,
            size: Some(size),
            total: Some(total @ (Total::Header(_) | Total::Pointer(_))),
            ..
        } = &self.endpoint.pagination
        else {
            return Ok(());
        };
        let expected = self.total(total)?.min(size.get().into());
        let given = records.count;
        if *self.step != Step::Page(*first) || given == expected {
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
    pub(crate) fn pages(&self) -> Result<Option<u64>> {
        let Pagination::Page {
            total: Some(total),
            size,
            ..
        } = &self.endpoint.pagination
        else {
            return Ok(None);
        };
        let told = self.total(total)?;
        Ok(match (total, size) {
            (Total::Header(_) | Total::Pointer(_), Some(size)) => {
                Some(told.div_ceil(size.get().into()))
            }
            (Total::Header(_) | Total::Pointer(_), None) => None,
            (Total::PagesHeader(_) | Total::PagesPointer(_), _) => Some(told),
        })
    }

    /// What the server says of how much there is.
    pub(crate) fn total(&self, total: &Total) -> Result<u64> {
        match total {
            Total::Header(name) | Total::PagesHeader(name) => {
                let told = self.answer.header(name).ok_or_else(|| {
                    self.error(format!("the answer has no header `{name}`"))
                        .hint("`pagination.total` says where the server tells how much there is")
                })?;
                told.trim().parse().map_err(|error| {
                    self.error(format!("the header `{name}` is not a number"))
                        .because(error)
                })
            }
            Total::Pointer(pointer) | Total::PagesPointer(pointer) => {
                let told: Number = self.must_read(pointer, "pagination.total")?;
                Ok(told.0)
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
        let more = has_more.map(|has_more| self.told(has_more, "has_more"));
        let more = more.transpose()?;
        if more == Some(false) || (from == CursorFrom::LastRecord && records.count == 0) {
            return Ok(None);
        }
        let cursor = match from {
            CursorFrom::Body => {
                self.notice_missing(records, pointer, "pagination.cursor");
                self.read::<Value>(pointer, "pagination.cursor")?
            }
            CursorFrom::LastRecord => self.in_last(records, pointer)?,
        };
        let cursor = cursor.filter(|cursor| *cursor != Value::String(String::new()));
        match cursor {
            // Some servers end with a page of nothing that leads to itself.
            Some(cursor) if records.count == 0 && *self.step == Step::Cursor(cursor.clone()) => {
                Ok(None)
            }
            Some(cursor) => Ok(Some(Step::Cursor(cursor))),
            None if more == Some(true) || from == CursorFrom::LastRecord => Err(self
                .error(format!(
                    "there is another page, but nothing at `{pointer}` to ask for it with"
                ))
                .hint("check `pagination.cursor`, the JSON pointer of the cursor")),
            None => Ok(None),
        }
    }

    /// Many servers leave out on the last page what leads to the next. On the first page it may as
    /// well be a name that is misspelt.
    fn notice_missing(&self, records: &Records, pointer: &Pointer, key: &str) {
        if *self.step == Step::First && records.count > 0 && self.body.find(pointer).is_none() {
            tracing::warn!(
                stream = %self.endpoint.name,
                "the first page has nothing at `{pointer}`, so it is taken for the last: if there \
                 are more, check `{key}`"
            );
        }
    }

    /// What the last record has at `pointer`.
    fn in_last(&self, records: &Records, pointer: &Pointer) -> Result<Option<Value>> {
        let wrong = |error| crate::records::not_json(self.answer, error);
        let array = serde_json::from_slice(&records.json).map_err(wrong)?;
        let Some(last) = json::elements(array).map_err(wrong)?.pop() else {
            return Ok(None);
        };
        let last = Document::of(last).map_err(wrong)?;
        last.read(pointer).map_err(wrong)
    }

    /// A URL that the server gave, made whole.
    fn url(&self, target: &str, allowed: &[String]) -> Result<Step> {
        let url = self.answer.url.join(target).map_err(|error| {
            self.error("the next page's URL can't be understood")
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
                    "what lets us in would be sent there: if that is right, add `{host}` to \
                     `pagination.allow_hosts`"
                )));
        }
        Ok(Step::Url(stored(url, self.access, self.answer)))
    }

    /// What the body says at `pointer`, which must be true or false.
    fn told(&self, pointer: &Pointer, key: &str) -> Result<bool> {
        self.must_read(pointer, &format!("pagination.{key}"))
    }

    fn must_read<T: DeserializeOwned>(&self, pointer: &Pointer, key: &str) -> Result<T> {
        self.read(pointer, key)?.ok_or_else(|| {
            self.error(format!("the answer has nothing at `{pointer}`"))
                .hint(format!(
                    "the answer is {}: check `{key}`",
                    self.body.describe()
                ))
        })
    }

    fn read<T: DeserializeOwned>(&self, pointer: &Pointer, key: &str) -> Result<Option<T>> {
        self.body.read(pointer).map_err(|error| {
            self.error(format!(
                "what the answer has at `{pointer}` is of another type than expected"
            ))
            .hint(format!("check `{key}`"))
            // It may quote the body.
            .because(self.answer.shown(&error.to_string()))
        })
    }

    /// A URL as it may be shown.
    fn show(&self, url: Url) -> String {
        let stored = stored(url, self.access, self.answer);
        Url::parse(&stored)
            .map_or_else(|_| "***".to_owned(), |url| self.answer.shown(&redact(&url)))
    }

    fn error(&self, message: impl Into<String>) -> Error {
        self.answer.error(ErrorKind::Data, message)
    }
}

/// A whole number, which some servers write as a text.
struct Number(u64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let value = Value::deserialize(deserializer)?;
        let text = plain(&value);
        let number = text.parse().map(Self);
        number.map_err(|_| D::Error::custom(format!("{value} is not a whole number")))
    }
}
