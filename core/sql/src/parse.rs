//! Query texts: one SELECT, nothing else.

use std::ops::ControlFlow;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::ast::{
    Expr, Fetch, LimitClause, Query, SetExpr, Statement as Sql, Value, VisitMut, VisitorMut,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};
use tidegate_core::{Error, Result};

use crate::dialect::{bracket_recursion, check_meaning, settle_literals};
use crate::error::{END, reading_text};
use crate::place::mark_quoted_tables;
use crate::{fields, naming, parts};

/// The most operators within each other: `a OR b OR c` has two, as has `(a + b) * c`. What plans
/// and runs a query walks down them all.
const DEEPEST: usize = 2_000;

/// How far the parser goes into brackets; its own limit is 50. The time to plan functions within each
/// other grows with the cube of their number.
const BRACKETS: usize = 300;

/// Reads a query without looking at tables. Errors: `Config`, with `line` and
/// `column` (from 1, within the text) where they are known.
pub fn parse(sql: &str) -> Result<()> {
    statement(sql).map(|_| ())
}

pub(crate) fn statement(sql: &str) -> Result<Query> {
    if depth(sql) > DEEPEST {
        return Err(too_deep());
    }
    let mut statements = DFParserBuilder::new(sql)
        .with_dialect(&GenericDialect {})
        .with_recursion_limit(BRACKETS)
        .build()
        .and_then(|mut parser| parser.parse_statements())
        .map_err(|error| at_the_end(reading_text(&error), sql))?;
    let first = statements.pop_front();
    if !statements.is_empty() {
        return Err(Error::config(format!(
            "the query has {} statements instead of one",
            statements.len() + 1
        ))
        .hint("a later step can go into a transform of its own, with this one as its input"));
    }
    match first {
        None => Err(Error::config("the query is empty")),
        Some(Statement::Statement(statement)) => match *statement {
            Sql::Query(mut query) if reads_only(&query.body) => {
                limit_by_fetch(&mut query);
                parts::check(&query)?;
                check_meaning(&query)?;
                mark_quoted_tables(&mut query, sql);
                fields::settle(&mut query);
                naming::texts(&mut query);
                settle_literals(&mut query);
                bracket_recursion(&mut query);
                Ok(*query)
            }
            other => Err(refused(&other.to_string())),
        },
        Some(other) => Err(refused(&other.to_string())),
    }
}

/// Writes `FETCH FIRST n ROWS ONLY` as LIMIT: DataFusion has only that. What else FETCH may say stays,
/// and is refused.
fn limit_by_fetch(query: &mut Query) {
    struct Fetches;
    impl VisitorMut for Fetches {
        type Break = ();

        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            let limited = match &query.limit_clause {
                None => false,
                Some(LimitClause::LimitOffset { limit, .. }) => limit.is_some(),
                Some(_) => true,
            };
            let plain = |fetch: &mut Fetch| !limited && !fetch.with_ties && !fetch.percent;
            let Some(fetch) = query.fetch.take_if(plain) else {
                return ControlFlow::Continue(());
            };
            let one = || Expr::value(Value::Number("1".to_owned(), false));
            let rows = Some(fetch.quantity.unwrap_or_else(one));
            match &mut query.limit_clause {
                Some(LimitClause::LimitOffset { limit, .. }) => *limit = rows,
                clause => {
                    *clause = Some(LimitClause::LimitOffset {
                        limit: rows,
                        offset: None,
                        limit_by: Vec::new(),
                    });
                }
            }
            ControlFlow::Continue(())
        }
    }
    let _: ControlFlow<()> = query.visit(&mut Fetches);
}

/// What is said of a query that is nested too deep.
pub(crate) fn too_deep() -> Error {
    Error::config("the query is nested too deeply, or has too many operators in a row")
        .hint("write many alternatives as `x IN (…)`, or join a table that has them")
}

/// What stands between two brackets: chains of operators, which the parser makes a tree of that is
/// as deep as they are long.
#[derive(Default)]
struct Level {
    /// How deep the place is where it begins.
    above: usize,
    /// Queries that are joined or put together.
    queries: usize,
    /// AND, OR and the brackets of types.
    conditions: usize,
    /// Other operators.
    terms: usize,
}

impl Level {
    fn depth(&self) -> usize {
        self.above + self.queries + self.conditions + self.terms
    }
}

/// How deep a query's tree is at least about, told from its text: the parser has no limit for
/// operators in a row. What isn't text of a query is for the parser to refuse.
fn depth(sql: &str) -> usize {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, sql).tokenize() else {
        return 0;
    };
    let mut levels = vec![Level::default()];
    let (mut deepest, mut before) = (0, Keyword::NoKeyword);
    for token in &tokens {
        let keyword = match token {
            Token::Word(word) => word.keyword,
            Token::Whitespace(_) => continue,
            _ => Keyword::NoKeyword,
        };
        if let Some(level) = levels.last_mut() {
            level.take(token, keyword, before);
            deepest = deepest.max(level.depth());
        }
        let (opens, closes) = brackets(token, keyword);
        if opens {
            let above = levels.last().map_or(0, Level::depth) + 1;
            levels.push(Level {
                above,
                ..Level::default()
            });
        } else if closes && levels.len() > 1 {
            levels.pop();
        }
        before = keyword;
    }
    deepest
}

fn brackets(token: &Token, keyword: Keyword) -> (bool, bool) {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => (true, false),
        Token::RParen | Token::RBracket | Token::RBrace => (false, true),
        _ => (keyword == Keyword::CASE, keyword == Keyword::END),
    }
}

impl Level {
    fn take(&mut self, token: &Token, keyword: Keyword, before: Keyword) {
        use Keyword as K;
        match keyword {
            K::UNION | K::INTERSECT | K::EXCEPT | K::JOIN => {
                self.queries += 1;
                (self.conditions, self.terms) = (0, 0);
            }
            K::SELECT | K::FROM | K::WHERE | K::HAVING | K::ON => {
                (self.conditions, self.terms) = (0, 0);
            }
            K::AND | K::OR | K::XOR => {
                self.conditions += 1;
                self.terms = 0;
            }
            K::IS | K::NOT | K::AT | K::LIKE | K::ILIKE | K::IN | K::BETWEEN | K::COLLATE => {
                self.terms += 1;
            }
            K::NoKeyword => match token {
                Token::Comma => (self.conditions, self.terms) = (0, 0),
                Token::Lt if matches!(before, K::ARRAY | K::STRUCT | K::MAP) => {
                    self.conditions += 1;
                }
                Token::Eq | Token::Neq | Token::Lt | Token::Gt | Token::LtEq | Token::GtEq => {
                    self.terms = 1;
                }
                Token::Word(_)
                | Token::Number(..)
                | Token::SingleQuotedString(_)
                | Token::Period => {}
                _ => self.terms += 1,
            },
            _ => {}
        }
    }
}

/// With the place that the parser leaves out: where the query ends too early.
fn at_the_end(error: Error, sql: &str) -> Error {
    if !error.context().is_empty() || !error.message().ends_with(END) {
        return error;
    }
    let text = sql.trim_end();
    let last = text.rsplit('\n').next().unwrap_or_default();
    error
        .with("line", text.matches('\n').count() + 1)
        .with("column", last.chars().count() + 1)
}

/// Whether it is no INSERT, UPDATE or the like behind a WITH, and no SELECT … INTO.
fn reads_only(body: &SetExpr) -> bool {
    match body {
        SetExpr::Select(select) => select.into.is_none(),
        SetExpr::Query(query) => reads_only(&query.body),
        SetExpr::SetOperation { left, right, .. } => reads_only(left) && reads_only(right),
        SetExpr::Values(_) | SetExpr::Table(_) => true,
        _ => false,
    }
}

fn refused(statement: &str) -> Error {
    let verb = statement.split_whitespace().next().unwrap_or_default();
    let error = Error::config(format!(
        "a query reads: it is one SELECT, optionally with CTEs, and not `{verb}`"
    ));
    match verb {
        "SHOW" | "DESCRIBE" | "DESC" => error.hint(
            "`tidegate catalog list` and `tidegate catalog show` tell tables and their columns, \
             `tidegate plan` those of a pipeline; of a file, `SELECT * FROM 'x.csv' LIMIT 1` does",
        ),
        _ => error.hint("what is to be done with the rows is said by the pipeline's sinks"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
mod tests {
    use std::fmt::Write as _;

    use tidegate_core::ErrorKind;

    use super::*;

    #[test]
    fn b1_what_is_nested_too_deep_is_refused_before_it_is_parsed() {
        let within = |count: usize, open: &str, close: &str| {
            format!("SELECT {}1{} AS x", open.repeat(count), close.repeat(count))
        };
        let in_a_row = |count: usize, term: &str, with: &str| vec![term; count].join(with);
        for count in [5_000, 100_000] {
            for sql in [
                within(count, "(", ")"),
                within(count, "abs(", ")"),
                within(count, "[", "]"),
                within(count, "CASE WHEN true THEN ", " END"),
                within(count, "NOT ", ""),
                within(count, "- ", ""),
                within(count, "", "::int"),
                within(count, "CAST(NULL AS ARRAY<", ">)"),
                format!("SELECT {} AS x", in_a_row(count, "1", "+")),
                format!("SELECT {} AS x", in_a_row(count, "'a'", "||")),
                format!("SELECT 1 WHERE {}", in_a_row(count, "a = 1", " AND ")),
                format!("SELECT 1 WHERE {}", in_a_row(count, "a = 2", " OR ")),
                format!("SELECT 1 FROM {}", in_a_row(count, "t", " NATURAL JOIN ")),
                in_a_row(count, "SELECT 1, 2", " UNION ALL "),
            ] {
                let error = parse(&sql).unwrap_err();
                assert!(error.message().contains("nested too deeply"), "{error}");
            }
        }
        // What is long, but not deep, is no more than long.
        let columns = in_a_row(20_000, "a + b * c", ", ");
        let numbers = in_a_row(20_000, "-1", ", ");
        let cases = in_a_row(20_000, "CASE WHEN a IS NULL OR b > 1 THEN 1 END", ", ");
        for sql in [
            format!("SELECT x IN ({numbers}) FROM t"),
            format!("SELECT {columns} FROM t"),
            format!("SELECT {cases} FROM t"),
            format!(
                "SELECT 1 WHERE {}",
                in_a_row(900, "a IS NOT NULL AND b > 2 + 3", " OR ")
            ),
        ] {
            // Parsed and freed on a thread with as much stack as those that plan have.
            let thread = std::thread::Builder::new().stack_size(tidegate_core::STACK_SIZE);
            let parsed = thread.spawn(move || parse(&sql)).unwrap().join();
            parsed.unwrap().unwrap();
        }
    }

    /// `count` queries of a WITH, each of which reads the one before as `step` says.
    fn with(count: usize, step: impl Fn(String) -> String) -> String {
        let mut sql = "WITH a0 AS (SELECT id FROM t)".to_owned();
        for n in 1..=count {
            let _ = write!(sql, ", a{n} AS ({})", step(format!("a{}", n - 1)));
        }
        sql + &format!(" SELECT * FROM a{count}")
    }

    #[test]
    fn what_a_with_stands_for_counts_each_time() {
        let alone = |before: String| format!("SELECT id FROM {before}");
        let twice =
            |before: String| format!("SELECT id FROM {before} x JOIN {before} y USING (id)");
        let both =
            |before: String| format!("{} UNION ALL {}", alone(before.clone()), alone(before));
        // In another case, in brackets, in a condition.
        let hidden = |before: String| {
            let before = before.to_uppercase();
            format!(
                "SELECT 1 AS id FROM (SELECT id FROM {before}) WHERE 1 IN (SELECT id FROM {before})"
            )
        };
        let in_a_row = |count: usize, term: &str, with: &str| vec![term; count].join(with);
        let select = "SELECT id FROM t";
        for (fits, too_large) in [
            (with(490, alone), with(500, alone)),
            (with(6, twice), with(25, twice)),
            (with(7, both), with(60, both)),
            (with(6, hidden), with(25, hidden)),
            (
                in_a_row(500, select, " UNION ALL "),
                in_a_row(501, select, " UNION ALL "),
            ),
            (
                format!("{select} {}", "NATURAL JOIN t ".repeat(249)),
                format!("{select} {}", "NATURAL JOIN t ".repeat(250)),
            ),
            (
                // Nobody asks for what is too large, but it would be planned all the same.
                format!("{} WHERE EXISTS (SELECT 1)", with(6, twice)),
                with(25, twice).replace("* FROM a25", "1"),
            ),
        ] {
            parse(&fits).unwrap();
            let error = parse(&too_large).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.message().contains("more than 1000 parts"), "{error}");
            assert!(
                error.hint_text().unwrap().contains("one table"),
                "{error:?}"
            );
        }
    }
}
