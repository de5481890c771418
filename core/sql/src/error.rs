//! DataFusion's errors as Tidegate's: what is wrong, where in the query, and what to do.

use std::borrow::Cow;
use std::error::Error as _;
use std::io;

use arrow_schema::ArrowError;
use datafusion::common::{Column, Diagnostic, SchemaError};
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::ast::Query;
use datafusion::sql::sqlparser::parser::ParserError;
use tidegate_core::{Error, suggest};

use crate::hints;
use crate::parse::too_deep;
use crate::place;
use crate::table::Table;
use crate::tree::Place;
use crate::words;

/// An error of reading a query's text: of kind `Config`, with the context `line` and `column` (from
/// 1, within the text) where they are known.
pub(crate) fn reading_text(error: &DataFusionError) -> Error {
    planning(error, None, &[])
}

/// An error of planning a query over `tables`, like one of [reading its text](reading_text).
pub(crate) fn planning(error: &DataFusionError, query: Option<&Query>, tables: &[Table]) -> Error {
    let mut place = None;
    let mut told = None;
    let mut inner = error;
    loop {
        inner = match inner {
            DataFusionError::Diagnostic(diagnostic, cause) => {
                if let Some(span) = diagnostic.span {
                    place = Some((span.start.line, span.start.column));
                }
                told = Some(&**diagnostic);
                cause
            }
            DataFusionError::Context(_, cause) => cause,
            DataFusionError::Shared(cause) => cause,
            DataFusionError::Collection(errors) if !errors.is_empty() => &errors[0],
            _ => break,
        };
    }
    let error = match inner {
        DataFusionError::SQL(error, _) => {
            let (error, at) = syntax(error);
            place = place.or(at);
            error
        }
        DataFusionError::SchemaError(error, _) => {
            let (error, at) = names(error, query);
            place = place.or(at);
            error
        }
        DataFusionError::External(_) => return running(inner),
        other => planned(other, told, query, tables),
    };
    at(error, place)
}

/// With its place, unless it has one or none is known.
fn at(error: Error, place: Option<Place>) -> Error {
    match place {
        Some((line, column))
            if line > 0 && !error.context().iter().any(|(key, _)| *key == "line") =>
        {
            error.with("line", line).with("column", column)
        }
        _ => error,
    }
}

/// How a complaint ends that the query ends too early.
pub(crate) const END: &str = "found the query's end";

/// A parser's complaint, and the place that it carries in its text.
fn syntax(error: &ParserError) -> (Error, Option<Place>) {
    let text = match error {
        ParserError::ParserError(text) | ParserError::TokenizerError(text) => text,
        ParserError::RecursionLimitExceeded => {
            return (too_deep(), None);
        }
    };
    let (text, place) = match text.rsplit_once(" at Line: ") {
        Some((text, place)) => (
            text,
            place
                .split_once(", Column: ")
                .and_then(|(line, column)| Some((line.parse().ok()?, column.parse().ok()?))),
        ),
        None => (text.as_str(), None),
    };
    let text = lower(text).replace("found: EOF", END);
    (
        Error::config(format!("the query is not valid SQL: {text}")),
        place,
    )
}

/// What is said of a name, and where it may stand.
fn names(error: &SchemaError, query: Option<&Query>) -> (Error, Option<Place>) {
    match error {
        SchemaError::FieldNotFound {
            field,
            valid_fields,
        } => {
            let place = query.and_then(|query| place::column(query, &field.name));
            (no_column(field, valid_fields), place)
        }
        // The query's own columns are in the way of each other too.
        SchemaError::AmbiguousReference { field }
            if query.is_some_and(|query| place::second(query, &field.name, true).is_some()) =>
        {
            (two_columns(&field.name, query), None)
        }
        SchemaError::AmbiguousReference { field } => {
            let error = format!("`{}` is a column of more than one table", field.name);
            let error = Error::config(error).hint(format!("say which: `table.{}`", field.name));
            (
                error,
                query.and_then(|query| place::column(query, &field.name)),
            )
        }
        SchemaError::DuplicateQualifiedField { name, .. }
        | SchemaError::DuplicateUnqualifiedField { name } => (two_columns(name, query), None),
    }
}

/// What is said of a query that gives two columns the same name: `name`, or DataFusion's word for
/// it.
pub(crate) fn two_columns(name: &str, query: Option<&Query>) -> Error {
    let found = query.and_then(|query| place::second(query, name, false));
    let (place, name) = match &found {
        Some((place, name)) => (Some(*place), name.as_str()),
        None => (None, name),
    };
    let other = match name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        true => format!("`… AS other_{name}`"),
        false => format!("`{name} AS …`"),
    };
    let error = Error::config(format!("the query gives two columns named `{name}`"));
    at(error.hint(format!("name one of them: {other}")), place)
}

fn no_column(field: &Column, valid: &[Column]) -> Error {
    let of_table: Vec<&Column> = match &field.relation {
        None => valid.iter().collect(),
        Some(relation) => valid
            .iter()
            .filter(|column| column.relation.as_ref() == Some(relation))
            .collect(),
    };
    if let (Some(relation), true) = (&field.relation, of_table.is_empty()) {
        return Error::config(format!(
            "the query has no table `{relation}` here, for the column `{relation}.{}`",
            field.name
        ));
    }
    // Behind ORDER BY stand the columns that the query gives, and those that it reads.
    let mut columns: Vec<&str> = Vec::new();
    for column in &of_table {
        if !columns.contains(&&*column.name) {
            columns.push(&column.name);
        }
    }
    let relation = of_table.first().and_then(|column| column.relation.as_ref());
    let place = match relation {
        Some(relation)
            if of_table
                .iter()
                .all(|c| c.relation.as_ref() == Some(relation)) =>
        {
            format!(" in `{relation}`")
        }
        _ => String::new(),
    };
    missing("column", &field.name, &place, &columns)
}

/// "no column `sale_qty` in `shop.sales`; there is `sales_qty`", or a hint with all there are.
pub(crate) fn missing(what: &str, name: &str, place: &str, known: &[&str]) -> Error {
    let message = format!("no {what} `{name}`{place}");
    if let Some(near) = suggest::nearest(name, known.iter().copied()) {
        return Error::config(format!("{message}; there is `{near}`"));
    }
    let error = Error::config(message);
    if known.is_empty() {
        return error;
    }
    const SHOWN: usize = 30;
    let shown: Vec<_> = known.iter().take(SHOWN).map(|k| format!("`{k}`")).collect();
    let more = if known.len() > SHOWN { ", …" } else { "" };
    error.hint(format!("there are: {}{more}", shown.join(", ")))
}

fn planned(
    error: &DataFusionError,
    told: Option<&Diagnostic>,
    query: Option<&Query>,
    tables: &[Table],
) -> Error {
    let text = error.strip_backtrace_message();
    if let Some(name) = told.and_then(|told| quoted(&told.message, "table '", "' not found")) {
        let known: Vec<&str> = tables.iter().map(|table| &*table.name).collect();
        let alike: Vec<_> = known
            .iter()
            .filter(|table| table.split_once('.').is_some_and(|(_, bare)| bare == name))
            .map(|table| format!("`{table}`"))
            .collect();
        if alike.len() > 1 {
            return Error::config(format!("`{name}` can mean {}", alike.join(" or ")))
                .hint("write the table's full name");
        }
        let error = missing("table", name, " among the inputs", &known);
        return at(error, query.and_then(|query| place::table(query, name)));
    }
    if let Some(error) = known_kind(&text, query, tables) {
        return error;
    }
    if let Some(name) = quoted(&text, "Invalid function '", "'") {
        let error = Error::config(format!("no function `{name}`"));
        if let Some(hint) = hints::of_function(name) {
            return error.hint(hint);
        }
        if WINDOWS.contains(&name.to_lowercase().as_str()) {
            return error.hint(format!("it needs a window: `{name}(…) OVER (ORDER BY …)`"));
        }
        let near = quoted(&text, "Did you mean '", "'");
        // DataFusion names the nearest, however far that is.
        return match near.and_then(|near| suggest::nearest(name, [near])) {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        };
    }
    match told {
        Some(told) if !told.helps.is_empty() => {
            let said = |text| words::in_text(&lower(text));
            let helps: Vec<_> = told.helps.iter().map(|help| said(&help.message)).collect();
            Error::config(said(&told.message)).hint(helps.join("; "))
        }
        // A diagnostic without help says less than the error that it comes with.
        _ => {
            let text = without_debug(&text);
            let told = words::in_text(&lower(text));
            let error = Error::config(format!("the query can't be planned: {told}"));
            match beyond_nanoseconds(text) {
                true => error.hint(NANOSECONDS),
                false => error,
            }
        }
    }
}

/// A complaint up to where the parser's or the planner's own structures begin.
fn without_debug(text: &str) -> &str {
    let debug = [
        "Ident {",
        "Ident(",
        "Identifier(",
        "Span(",
        "Function(Function",
        "Field {",
        "Column {",
        "ObjectName(",
        "ValueWithSpan {",
        "CompoundFieldAccess {",
        " { ",
    ];
    let begins = debug.iter().filter_map(|debug| text.find(debug)).min();
    match begins {
        Some(at) => text[..at].trim_end_matches([':', ' ', '(']),
        None => text,
    }
}

/// What DataFusion asks for in errors that it thinks its own.
const FILE_A_BUG: &str = ".\nThis issue was likely caused by a bug in DataFusion's code. Please help us to \
                          resolve this by filing a bug report in our issue tracker: \
                          https://github.com/apache/datafusion/issues";

/// Functions that there are only with OVER.
const WINDOWS: [&str; 8] = [
    "row_number",
    "rank",
    "dense_rank",
    "percent_rank",
    "cume_dist",
    "ntile",
    "lag",
    "lead",
];

/// Complaints that DataFusion has words for that only its authors understand, and no place.
fn known_kind(text: &str, query: Option<&Query>, tables: &[Table]) -> Option<Error> {
    if let Some(call) = quoted(text, "given name and argument types '", "'. You") {
        return wrong_arguments(call, text, query, tables);
    }
    if let Some(name) = text.strip_prefix("Unsupported SQL type ") {
        let known = words::NAMES.iter().copied();
        let bare = name.split('(').next().unwrap_or(name);
        let near = suggest::nearest(bare, known).map(str::to_uppercase);
        let error = Error::config(format!("no type `{name}`"));
        let error = match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error.hint("types are BIGINT, DOUBLE, DECIMAL(38,2), VARCHAR, BOOLEAN, DATE, TIMESTAMP and the like"),
        };
        return Some(at(
            error,
            query.and_then(|query| place::type_name(query, name)),
        ));
    }
    if let Some((what, number)) = ["LIMIT", "OFFSET"].into_iter().find_map(|what| {
        let rest = text.strip_prefix(what)?.strip_prefix(" must be >")?;
        Some((what, quoted(rest, "'", "' was provided")?))
    }) {
        let error = Error::config(format!(
            "{what} takes a count of rows, and {number} is none"
        ));
        return Some(at(
            error,
            query.and_then(|query| place::limit(query, Some(number))),
        ));
    }
    if text.starts_with("Expected LIMIT to be an integer") {
        let error = Error::config("LIMIT takes a count of rows");
        return Some(at(error, query.and_then(|query| place::limit(query, None))));
    }
    if let Some(rest) = text.strip_prefix("Cannot create filter with non-boolean predicate '") {
        let (what, data_type) = rest.split_once("' returning ")?;
        let column = what.rsplit('.').next().unwrap_or(what);
        let place = query.and_then(|query| place::column(query, column));
        let data_type = words::of(data_type);
        let error = Error::config(format!("`{what}` is no condition: it is {data_type}"));
        return Some(at(error.hint("compare it with something"), place));
    }
    if text.starts_with("unnest() ") {
        let found = query.and_then(|query| place::unnested(query, tables));
        let error = match &found {
            Some((_, column, data_type)) => Error::config(format!(
                "`unnest` takes a list, and `{column}` is {}",
                words::of_type(data_type)
            )),
            None => Error::config("`unnest` takes a list"),
        };
        let text = found.as_ref().is_some_and(|(_, _, of)| of.is_string());
        let error = match text {
            true => error.hint(
                "`string_to_array(text, ',')` makes a list of a text; of one that holds JSON, a `json` \
                 transform does",
            ),
            false => error,
        };
        return Some(at(error, found.and_then(|(place, ..)| place)));
    }
    if let Some(rest) = text.strip_prefix("Cannot access field at argument ") {
        let of = quoted(rest, ": type ", " is not Struct").map(words::of);
        let error = Error::config(match &of {
            Some(of) => format!("a field is taken of {of}"),
            None => "a field is taken of what has none".to_owned(),
        });
        return Some(match of.as_deref() {
            Some("a list") => error
                .hint("take it of an element: `items[1].sku`, or of each one: `unnest(items).sku`"),
            Some("text") => {
                error.hint("a `json` transform makes columns of a text that holds JSON")
            }
            _ => error.hint("structs and maps have fields"),
        });
    }
    if text.contains("OuterReferenceColumn(") {
        let column = text.rsplit_once("Column {").map(|(_, column)| column);
        let column = column.and_then(|column| quoted(column, "name: \"", "\""));
        let error = Error::config(format!(
            "{} is a column of the query around the one that uses it, which isn't supported there",
            column.map_or_else(|| "it".to_owned(), |column| format!("`{column}`"))
        ));
        let place = column.and_then(|column| query.and_then(|query| place::column(query, column)));
        return Some(at(
            error.hint("write a join, or join the rows of a subquery with GROUP BY"),
            place,
        ));
    }
    if let Some(name) = quoted(text, "table function '", "' not found")
        .or_else(|| quoted(text, "Table function '", "' not found"))
    {
        return Some(Error::config(format!("no table function `{name}`")));
    }
    if text.contains("require unique expression names") {
        let (before, _) = text.rsplit_once("\" at position ")?;
        let (_, name) = before.rsplit_once('"')?;
        let name = match name.rsplit_once(" AS ") {
            Some((_, name)) => name,
            None => name.rsplit_once('.').map_or(name, |(_, name)| name),
        };
        return Some(two_columns(name, query));
    }
    operation(text, query, tables)
}

/// An operator that has nothing to do with such values.
fn operation(text: &str, query: Option<&Query>, tables: &[Table]) -> Option<Error> {
    let of = [
        "Cannot infer common argument type for comparison operation ",
        "Cannot infer common argument type for logical boolean operation ",
        "Cannot infer common argument type for regex operation ",
        "Cannot infer common argument type for operation ",
        "Cannot coerce arithmetic expression ",
    ];
    let rest = of.into_iter().find_map(|start| text.strip_prefix(start))?;
    let rest = rest.strip_suffix(" to valid types").unwrap_or(rest);
    let parts = words::split(rest, ' ');
    let [left, operator @ .., right] = parts.as_slice() else {
        return None;
    };
    let operator = operator.join(" ");
    let place = query.and_then(|query| place::operation(query, &operator, [*left, *right], tables));
    let (left, right) = (words::of(left), words::of(right));
    let error = Error::config(format!(
        "there is no `{operator}` between {left} and {right}"
    ));
    let number = match (&*left, &*right) {
        ("text", "BOOLEAN") | ("BOOLEAN", "text") => None,
        ("text", number) | (number, "text") if is_number(number) => Some(number),
        _ => None,
    };
    let error = match number {
        Some(number) => error.hint(format!(
            "`CAST(… AS {number})` makes a number of the text, and `try_cast` NULL where it is none; \
             what is to be compared as text stands in quotes"
        )),
        None => error.hint("CAST one side to the other's type"),
    };
    Some(at(error, place))
}

/// Whether that is the name of a type of numbers.
fn is_number(sql: &str) -> bool {
    let numbers = [
        "DECIMAL", "DOUBLE", "REAL", "TINYINT", "SMALLINT", "INTEGER", "BIGINT",
    ];
    numbers.iter().any(|number| sql.starts_with(number))
}

/// A function that is called with what it doesn't take. `call`: its name and the arguments' types,
/// as `sum(Utf8)`.
fn wrong_arguments(
    call: &str,
    text: &str,
    query: Option<&Query>,
    tables: &[Table],
) -> Option<Error> {
    let (name, types) = call.strip_suffix(')')?.split_once('(')?;
    let types = words::split(types, ',');
    let place = query.and_then(|query| place::call(query, name, &types, tables));
    let given: Vec<_> = types.iter().map(|data_type| words::of(data_type)).collect();
    let message = match given.as_slice() {
        [] => format!("`{name}` takes arguments"),
        [one] => format!("`{name}` takes no {one}"),
        many => format!("`{name}` doesn't take ({})", many.join(", ")),
    };
    // "sum(Int64)", one a line; what the types are made known by only in code isn't told.
    let mut takes: Vec<String> = Vec::new();
    let (_, candidates) = text.split_once("Candidate functions:")?;
    for line in candidates.lines() {
        let line = line.trim();
        let Some(types) = line
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('(')?.strip_suffix(')'))
        else {
            continue;
        };
        let types = words::split(types, ',').into_iter().map(|one| {
            // A parameter may have a name: `str: String`.
            words::of(
                one.rsplit_once(": ")
                    .map_or(one, |(_, data_type)| data_type),
            )
        });
        let types: Vec<_> = types.collect();
        let types = format!("{name}({})", types.join(", "));
        if !types.contains("UserDefined") && !takes.contains(&types) {
            takes.push(types);
        }
    }
    let error = Error::config(message);
    let error = match takes.as_slice() {
        [] => error,
        takes => error.hint(format!(
            "there is {}",
            suggest::quoted(takes.iter().map(String::as_str))
        )),
    };
    Some(at(error, place))
}

fn quoted<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    rest.split_once(after).map(|(inner, _)| inner)
}

/// Errors start in lower case here; a word in capitals (a keyword) stays.
fn lower(text: &str) -> String {
    let mut chars = text.chars();
    match (chars.next(), chars.clone().next()) {
        (Some(first), Some(second)) if !second.is_uppercase() => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// An error of running a query.
///
/// `Data` where a value can't be computed, `Config` where the memory is too small; errors of the
/// tables' rows come through as they are.
pub(crate) fn running(error: &DataFusionError) -> Error {
    match error {
        DataFusionError::Context(_, inner) => running(inner),
        DataFusionError::Diagnostic(_, inner) => running(inner),
        DataFusionError::Shared(inner) => running(inner),
        DataFusionError::Collection(errors) if !errors.is_empty() => running(&errors[0]),
        DataFusionError::External(source) => match source.downcast_ref::<Error>() {
            Some(error) => again(error),
            None => Error::internal("a query failed").because(source.to_string()),
        },
        DataFusionError::ArrowError(inner, _) => match &**inner {
            ArrowError::ExternalError(source) => match source.downcast_ref::<Error>() {
                Some(error) => again(error),
                None => match source.downcast_ref::<DataFusionError>() {
                    Some(error) => running(error),
                    None => Error::internal("a query failed").because(source.to_string()),
                },
            },
            ArrowError::IoError(_, cause) => disk(cause),
            _ => value(error),
        },
        DataFusionError::IoError(cause) => disk(cause),
        DataFusionError::ResourcesExhausted(text) if text.contains("disk space") => {
            spill_limit(text.clone())
        }
        DataFusionError::ResourcesExhausted(text) => {
            Error::config("the query needs more memory than it may use")
                .hint("raise the transform's `memory`, or `memory` in `[runtime]`, of which it is a share; what a join, an ORDER BY or a GROUP BY holds mostly goes to disk, but not all of it can")
                .because(text.clone())
        }
        DataFusionError::Execution(_) => value(error),
        other => Error::internal("a query failed").because(other.to_string()),
    }
}

/// An error of a query over the lake: as [`running`] has it, and what a place answered when files
/// were read, by its own kind.
pub(crate) fn lake(error: &DataFusionError) -> Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<object_store::Error>() {
            return reading(error, "a file can't be read");
        }
        if let Some(error) = inner.downcast_ref::<Error>() {
            return again(error);
        }
        cause = inner.source();
    }
    let error = running(error);
    match error.kind() {
        tidegate_core::ErrorKind::Data
            if !matches!(error.hint_text(), Some(NANOSECONDS | ONE_ROW)) =>
        {
            error.hint(
                "say what such rows should return (`nullif(x, 0)` for a divisor, `try_cast` for a text)",
            )
        }
        tidegate_core::ErrorKind::Config if error.message().contains("memory") => error.hint(
            "raise `--memory`; what a join, an ORDER BY or a GROUP BY holds mostly goes to disk, but not all of it can",
        ),
        _ => error,
    }
}

/// What a place answered when a file was read.
pub(crate) fn reading(error: &object_store::Error, doing: &str) -> Error {
    use object_store::Error as Store;
    let (kind, path) = match error {
        Store::NotFound { path, .. } => (tidegate_core::ErrorKind::NotFound, Some(path)),
        Store::PermissionDenied { path, .. } | Store::Unauthenticated { path, .. } => {
            (tidegate_core::ErrorKind::Auth, Some(path))
        }
        Store::Precondition { path, .. } => (tidegate_core::ErrorKind::Conflict, Some(path)),
        _ => (tidegate_core::ErrorKind::Transient, None),
    };
    let told = Error::new(kind, doing).because(error.to_string());
    match path {
        Some(path) => told.with("path", path),
        None => told,
    }
}

/// A query reads and writes no files but those for what doesn't fit in memory.
fn disk(error: &io::Error) -> Error {
    // DataFusion wraps the system's error in others of its own.
    let (mut root, mut cause) = (error, error.source());
    while let Some(error) = cause {
        root = error.downcast_ref().unwrap_or(root);
        cause = error.source();
    }
    if root.to_string().contains("exceeded the allowable limit") {
        return spill_limit(root.to_string());
    }
    Error::io(
        "what doesn't fit in memory could not be kept on disk",
        io::Error::new(root.kind(), root.to_string()),
    )
    .hint("set TMPDIR to a directory on a disk with more room, or raise the transform's `memory`")
}

/// DataFusion says it by itself, or as what failed when a spill file was written.
fn spill_limit(told: String) -> Error {
    Error::config("the query needs more of the disk than it may use")
        .hint("raise `spill` in `[runtime]` (`--spill` of a query), or `memory`; or set TMPDIR to a larger disk")
        .because(told)
}

fn value(error: &DataFusionError) -> Error {
    let text = error.strip_backtrace_message();
    if text
        .to_lowercase()
        .contains("scalar subquery returned more than one row")
    {
        return Error::data("a subquery that stands for a value gives more than one row")
            .hint(ONE_ROW);
    }
    let error = Error::data(format!(
        "the query can't be computed for some row: {}",
        lower(&text)
    ));
    error.hint(match beyond_nanoseconds(&text) {
        true => NANOSECONDS,
        false => "say what such rows should return (`nullif(x, 0)` for a divisor, `try_cast` for a text), or compute it in a `sql` transform that only filters and projects: there such rows are rejected one by one",
    })
}

const ONE_ROW: &str = "let it give one: `max(x)` or another aggregate, or ORDER BY with LIMIT 1; or compare with `IN (SELECT …)`";

const NANOSECONDS: &str = "nanoseconds end in 2262: `CAST(x AS TIMESTAMP)` makes microseconds of a column that counts them";

/// Whether a time should have become one that nanoseconds have no number for.
fn beyond_nanoseconds(text: &str) -> bool {
    let nanoseconds = text.contains("Nanosecond") || text.contains("Timestamp(ns");
    nanoseconds
        && ["verflow", "exceeds"]
            .iter()
            .any(|word| text.contains(word))
}

/// Whether the error is about values: another row may well succeed.
pub(crate) fn concerns_rows(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::Context(_, inner) => concerns_rows(inner),
        DataFusionError::Diagnostic(_, inner) => concerns_rows(inner),
        DataFusionError::Shared(inner) => concerns_rows(inner),
        DataFusionError::Execution(_) => true,
        DataFusionError::ArrowError(error, _) => !matches!(
            **error,
            ArrowError::ExternalError(_)
                | ArrowError::MemoryError(_)
                | ArrowError::IoError(_, _)
                | ArrowError::NotYetImplemented(_)
                | ArrowError::SchemaError(_)
        ),
        _ => false,
    }
}

/// What a row's error says, without its wrappers.
pub(crate) fn reason(error: &DataFusionError) -> String {
    lower(&error.strip_backtrace_message())
}

/// The same error once more: DataFusion lends its causes and doesn't give them back.
fn again(error: &Error) -> Error {
    let mut copy = Error::new(error.kind(), error.message());
    for (key, value) in error.context() {
        copy = copy.with(key, value);
    }
    if let Some(hint) = error.hint_text() {
        copy = copy.hint(hint);
    }
    match error.source() {
        Some(source) => copy.because(source.to_string()),
        None => copy,
    }
}

trait Message {
    fn strip_backtrace_message(&self) -> String;
}

impl Message for DataFusionError {
    /// The innermost text, without the names of the layers that it came through.
    fn strip_backtrace_message(&self) -> String {
        let text: Cow<'_, str> = match self {
            Self::Context(_, inner) => return inner.strip_backtrace_message(),
            Self::Diagnostic(_, inner) => return inner.strip_backtrace_message(),
            Self::Shared(inner) => return inner.strip_backtrace_message(),
            Self::ArrowError(inner, _) => match &**inner {
                ArrowError::CastError(text)
                | ArrowError::ParseError(text)
                | ArrowError::ComputeError(text)
                | ArrowError::ArithmeticOverflow(text)
                | ArrowError::InvalidArgumentError(text) => text.into(),
                ArrowError::DivideByZero => "division by zero".into(),
                other => other.to_string().into(),
            },
            other => other.message(),
        };
        let text = text.split(Self::BACK_TRACE_SEP).next().unwrap_or_default();
        text.replace(FILE_A_BUG, "").trim().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_other_errors_through_all_wrappers() {
        let full = DataFusionError::IoError(io::ErrorKind::StorageFull.into());
        let wrapped = ArrowError::from(io::Error::other(full));
        let error = running(&DataFusionError::ArrowError(Box::new(wrapped), None));
        assert!(error.message().contains("kept on disk"), "{error:?}");
        assert!(
            error
                .hint_text()
                .is_some_and(|hint| hint.contains("TMPDIR"))
        );
        assert_eq!(
            error.source().map(ToString::to_string).as_deref(),
            Some("no storage space")
        );
    }
}
