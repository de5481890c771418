use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tidegate_core::{Error, Result};

use crate::Pointer;

/// How a server hands out its records page by page.
///
/// Pages that are counted (`page`, `offset`) shift when records are added or removed while they are
/// read: a record may then come twice, or not at all. Sort by something that doesn't change where
/// the server can (`params = { sort = "id" }`), or page by cursor.
///
/// A page with the same records as another, or a next page that was read before, is an error: the
/// server would be read without end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub enum Pagination {
    /// The first answer holds everything.
    #[default]
    None,
    /// Pages have numbers. The last one is found by `total`, by `has_more`, or by an empty page
    /// after it.
    Page {
        /// The parameter that holds the page's number. Default: `page`.
        #[serde(default = "page")]
        param: String,
        /// The first page's number. Default: 1.
        #[serde(default = "one")]
        first: u64,
        /// The parameter that holds how many records a page has. Default: none is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_param: Option<String>,
        /// How many records a page has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<NonZeroU32>,
        /// Where the server says how much there is. Pages are then counted when a run begins and read
        /// side by side; with `incremental`, one after the other, because a record that is pushed to
        /// one page more would never be asked for again. An empty page before that end is an error.
        /// If the page at that end is full, one more is asked for, and reading continues where there
        /// are more records than the server says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<Total>,
        /// Where the body says whether there is another page: true or false; after the first page,
        /// nothing there is false.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        has_more: Option<Pointer>,
        /// Where the body holds the number of the page before (null or missing on the first, else
        /// it is an error). Some servers give their last page to who asks for one after it: it is
        /// known by this, and left out.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        previous: Option<Pointer>,
        /// Whether a page with fewer records than `size` is the last, which saves a request. Leave
        /// it out where the server may give fewer than asked for. Default: false.
        #[serde(default)]
        short_page_ends: bool,
        /// Where the parameters stand: `query` (default) or `body`.
        #[serde(default, rename = "in")]
        place: Place,
    },
    /// Records are counted: a page begins after so many of them. The last page is found by `total`,
    /// by `has_more`, or by an empty page after it.
    Offset {
        /// The parameter that holds how many records to pass over. Default: `offset`.
        #[serde(default = "offset")]
        param: String,
        /// The first page's offset. Default: 0.
        #[serde(default)]
        first: u64,
        /// The parameter that holds how many records a page has. Default: none is sent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size_param: Option<String>,
        /// How many records a page has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        size: Option<NonZeroU32>,
        /// Where the server says how many records there are. An empty page before that end is an
        /// error. If the page at that end is full, one more is asked for, and reading continues where
        /// there are more records than the server says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<Total>,
        /// Where the body says whether there is another page: true or false; after the first page,
        /// nothing there is false.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        has_more: Option<Pointer>,
        /// Whether a page with fewer records than `size` is the last, which saves a request. Leave
        /// it out where the server may give fewer than asked for. Default: false.
        #[serde(default)]
        short_page_ends: bool,
        /// Where the parameters stand: `query` (default) or `body`.
        #[serde(default, rename = "in")]
        place: Place,
    },
    /// Each answer holds what to ask for the next page with. The last has none: it is missing, null,
    /// false, 0 or empty.
    Cursor {
        /// Where the cursor stands: in the body, or in the last record.
        cursor: Pointer,
        /// Whether `cursor` leads into the `body` (default) or into the `last_record` of the page.
        /// A page without records is then the last.
        #[serde(default)]
        from: CursorFrom,
        /// The parameter that sends it back.
        param: String,
        /// Where the body says whether there is another page: true or false; after the first page,
        /// nothing there is false.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        has_more: Option<Pointer>,
        /// Where the parameter stands: `query` (default) or `body`.
        #[serde(default, rename = "in")]
        place: Place,
    },
    /// The header `Link` leads to the next page by `rel="next"` (RFC 8288). The last has none.
    Link {
        /// Other hosts that a next page may be on. Credentials (tokens, headers) are sent there
        /// too. Default: only the host of `url`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allow_hosts: Vec<String>,
    },
    /// The body holds the URL of the next page, absolute or relative. The last has none: it is
    /// missing, null, false, 0 or empty.
    NextUrl {
        /// Where the URL stands.
        next: Pointer,
        /// Other hosts that a next page may be on. Credentials (tokens, headers) are sent there
        /// too. Default: only the host of `url`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allow_hosts: Vec<String>,
    },
}

impl Pagination {
    /// Pages with numbers from 1 on, in the parameter `param`.
    pub fn pages(param: impl Into<String>) -> Self {
        Self::Page {
            param: param.into(),
            first: 1,
            size_param: None,
            size: None,
            total: None,
            has_more: None,
            previous: None,
            short_page_ends: false,
            place: Place::Query,
        }
    }

    /// Pages (or offsets) of so many records, asked for by the parameter `param`.
    #[must_use]
    pub fn sized(mut self, param: impl Into<String>, records: NonZeroU32) -> Self {
        if let Self::Page {
            size_param, size, ..
        }
        | Self::Offset {
            size_param, size, ..
        } = &mut self
        {
            *size_param = Some(param.into());
            *size = Some(records);
        }
        self
    }

    /// Pages (or offsets) of which the server says how many there are.
    #[must_use]
    pub fn counted(mut self, by: Total) -> Self {
        if let Self::Page { total, .. } | Self::Offset { total, .. } = &mut self {
            *total = Some(by);
        }
        self
    }

    /// Pages that are known by the number of the page before, which stands at `pointer`.
    #[must_use]
    pub fn known_by_previous(mut self, pointer: Pointer) -> Self {
        if let Self::Page { previous, .. } = &mut self {
            *previous = Some(pointer);
        }
        self
    }

    /// Where the server says how much there is.
    pub(crate) fn total(&self) -> Option<&Total> {
        match self {
            Self::Page { total, .. } | Self::Offset { total, .. } => total.as_ref(),
            _ => None,
        }
    }

    /// How many records a page has, where that is said.
    pub(crate) fn size(&self) -> Option<NonZeroU32> {
        match self {
            Self::Page { size, .. } | Self::Offset { size, .. } => *size,
            _ => None,
        }
    }

    /// The same with pages of another size.
    pub(crate) fn with_size(mut self, records: Option<NonZeroU32>) -> Self {
        if let Self::Page { size, .. } | Self::Offset { size, .. } = &mut self {
            *size = records;
        }
        self
    }

    /// Checks what contradicts itself.
    ///
    /// Errors: `Config`, naming the key.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |key: &str, why: &str, hint: &str| {
            Err(Error::config(format!("`pagination.{key}` {why}"))
                .with("key", "pagination")
                .hint(hint))
        };
        match self {
            Self::Page {
                param,
                size_param,
                size,
                total,
                has_more,
                short_page_ends,
                ..
            }
            | Self::Offset {
                param,
                size_param,
                size,
                total,
                has_more,
                short_page_ends,
                ..
            } => {
                if param.is_empty() {
                    return refuse("param", "is empty", "name the parameter, such as \"page\"");
                }
                if size_param.is_some() && size.is_none() {
                    let hint = "say how many records a page is to have: `size = 100`";
                    return refuse("size_param", "is there without `size`", hint);
                }
                if *short_page_ends && size.is_none() {
                    let hint = "say how many records a page has: `size = 100`";
                    return refuse("short_page_ends", "is there without `size`", hint);
                }
                if total.is_some() && has_more.is_some() {
                    let hint = "leave one of them out";
                    return refuse("has_more", "and `total` both tell the end", hint);
                }
                let by_page = matches!(self, Self::Page { .. });
                match total {
                    Some(Total::Header(_) | Total::Pointer(_)) if by_page && size.is_none() => {
                        let hint = "pages can only be counted if their size is known: `size = 100`";
                        refuse("total", "is there without `size`", hint)
                    }
                    Some(Total::PagesHeader(_) | Total::PagesPointer(_)) if !by_page => {
                        let hint = "with `offset`, `header` or `pointer` say where the number of records is told";
                        refuse("total", "counts pages", hint)
                    }
                    _ => Ok(()),
                }
            }
            Self::Cursor { param, .. } if param.is_empty() => refuse(
                "param",
                "is empty",
                "name the parameter that sends the cursor back",
            ),
            _ => Ok(()),
        }
    }

    /// Where its parameters stand.
    pub(crate) fn place(&self) -> Place {
        match self {
            Self::Page { place, .. } | Self::Offset { place, .. } | Self::Cursor { place, .. } => {
                *place
            }
            Self::None | Self::Link { .. } | Self::NextUrl { .. } => Place::Query,
        }
    }
}

/// Where a server says how much there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Total {
    /// The name of a header with the number of records.
    Header(#[schemars(description = "The name of a header with the number of records.")] String),
    /// Where the body holds the number of records.
    Pointer(#[schemars(description = "Where the body holds the number of records.")] Pointer),
    /// The name of a header with the number of pages.
    PagesHeader(#[schemars(description = "The name of a header with the number of pages.")] String),
    /// Where the body holds the number of pages.
    PagesPointer(#[schemars(description = "Where the body holds the number of pages.")] Pointer),
}

impl Total {
    /// Whether it is pages that are counted.
    pub(crate) fn is_of_pages(&self) -> bool {
        matches!(self, Self::PagesHeader(_) | Self::PagesPointer(_))
    }

    /// A header with the number of records.
    pub fn header(name: impl Into<String>) -> Self {
        Self::Header(name.into())
    }

    /// A member of the body with the number of records.
    pub fn member(name: &str) -> Self {
        Self::Pointer(Pointer::member(name))
    }
}

/// Where a parameter stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In the URL's query.
    #[default]
    Query,
    /// In the body, a JSON object: a name, or a JSON pointer (`/paging/after`).
    Body,
}

/// What a cursor is taken from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CursorFrom {
    /// The whole body.
    #[default]
    Body,
    /// The last record of the page.
    LastRecord,
}

fn page() -> String {
    "page".to_owned()
}

fn offset() -> String {
    "offset".to_owned()
}

fn one() -> u64 {
    1
}
