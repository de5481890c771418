use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Pointer;

/// How a server hands out its records page by page.
///
/// Pages that are counted (`page`, `offset`) shift when records are added or removed while they are
/// read: a record may then come twice, or not at all. Sort by something that doesn't change where
/// the server can (`params = { sort = "id" }`), or page by cursor.
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
        /// Where the server says how much there is. Pages are then read side by side.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<Total>,
        /// Where the body says whether there is another page (true or false).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        has_more: Option<Pointer>,
        /// Where the body holds the number of the page before (null or missing on the first). Some
        /// servers give their last page to who asks for one after it: it is known by this, and left
        /// out.
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
        /// Where the server says how many records there are.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<Total>,
        /// Where the body says whether there is another page (true or false).
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
    /// Each answer holds what to ask for the next page with. The last has none: it is missing, null
    /// or an empty text.
    Cursor {
        /// Where the cursor stands: in the body, or in the last record.
        cursor: Pointer,
        /// Whether `cursor` leads into the `body` (default) or into the `last_record` of the page.
        /// A page without records is then the last.
        #[serde(default)]
        from: CursorFrom,
        /// The parameter that sends it back.
        param: String,
        /// Where the body says whether there is another page (true or false).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        has_more: Option<Pointer>,
        /// Where the parameter stands: `query` (default) or `body`.
        #[serde(default, rename = "in")]
        place: Place,
    },
    /// The header `Link` leads to the next page by `rel="next"` (RFC 8288). The last has none.
    Link {
        /// Other hosts that a next page may be on. What lets us in (tokens, headers) is sent there
        /// too. Default: only the host of `url`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allow_hosts: Vec<String>,
    },
    /// The body holds the URL of the next page, absolute or relative. The last has none: it is
    /// missing, null or an empty text.
    NextUrl {
        /// Where the URL stands.
        next: Pointer,
        /// Other hosts that a next page may be on. What lets us in (tokens, headers) is sent there
        /// too. Default: only the host of `url`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        allow_hosts: Vec<String>,
    },
}

/// Where a server says how much there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Total {
    /// The name of a header with the number of records.
    Header(String),
    /// Where the body holds the number of records.
    Pointer(Pointer),
    /// The name of a header with the number of pages.
    PagesHeader(String),
    /// Where the body holds the number of pages.
    PagesPointer(Pointer),
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
