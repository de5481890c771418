//! As much of SQL's letters as is needed to send a text, and to ask for its columns.

use tidegate_core::{Error, Result};

/// StartQueryExecution takes so many bytes (API reference, `QueryString`).
const LONGEST: usize = 262_144;

/// One SQL statement, without what stands after its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    text: String,
    /// Its first word, in upper case; empty if it doesn't begin with one.
    word: String,
    lines: usize,
}

impl Statement {
    /// The statement in `sql`. A semicolon at its end is left away, and with it what follows.
    ///
    /// Errors: `Config` if there is none, or more than one, or if it is too long for Athena.
    pub(crate) fn parse(sql: &str) -> Result<Self> {
        let (mut end, mut word, mut closed) = (0, None, false);
        let mut at = 0;
        while let Some(token) = token(&sql[at..]) {
            let (start, next) = (at, at + token.bytes);
            at = next;
            match token.kind {
                Kind::Blank => {}
                Kind::Semicolon => closed |= end > 0,
                Kind::Text if closed => {
                    return Err(Error::config("there is more than one SQL statement")
                        .hint("Athena runs one statement at a time"));
                }
                Kind::Text => {
                    end = next;
                    // `(SELECT 1) UNION …` begins with SELECT too.
                    if word.is_none() && !sql[start..next].starts_with('(') {
                        word = Some(first_word(&sql[start..]));
                    }
                }
            }
        }
        if end == 0 {
            return Err(Error::config("there is no SQL statement"));
        }
        // What stands before it stays, so that the places in Athena's messages are those of `sql`.
        let statement = Self {
            text: sql[..end].to_owned(),
            word: word.unwrap_or_default(),
            lines: 0,
        };
        statement.within_limit()
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is a query: it has rows and changes nothing, and may stand in parentheses.
    pub(crate) fn is_query(&self) -> bool {
        matches!(self.word.as_str(), "SELECT" | "WITH" | "VALUES" | "TABLE")
    }

    /// The statement that has this one's columns and no rows. Trino finds out from the limit alone
    /// that nothing has to be read.
    ///
    /// A comment at the text's end ends with the line.
    pub(crate) fn probe(&self) -> Result<Self> {
        let probe = Self {
            text: format!("SELECT * FROM (\n{}\n) AS tidegate LIMIT 0", self.text),
            word: "SELECT".to_owned(),
            lines: self.lines + 1,
        };
        probe.within_limit()
    }

    /// How many lines of its text stand before the user's.
    pub(crate) fn lines_before(&self) -> usize {
        self.lines
    }

    fn within_limit(self) -> Result<Self> {
        let bytes = self.text.len();
        if bytes > LONGEST {
            return Err(Error::config(format!(
                "the SQL statement has {bytes} bytes; Athena takes {LONGEST}"
            ))
            .hint("make views of its parts, or tables of its long lists"));
        }
        Ok(self)
    }
}

enum Kind {
    /// White space or a comment.
    Blank,
    Semicolon,
    Text,
}

struct Token {
    kind: Kind,
    bytes: usize,
}

/// What `rest` begins with; `None` at its end.
fn token(rest: &str) -> Option<Token> {
    let first = rest.chars().next()?;
    let through = |end: &str, from: usize| {
        rest[from..]
            .find(end)
            .map_or(rest.len(), |at| from + at + end.len())
    };
    let (kind, bytes) = match first {
        '-' if rest.starts_with("--") => (Kind::Blank, through("\n", 2)),
        '/' if rest.starts_with("/*") => (Kind::Blank, through("*/", 2)),
        ';' => (Kind::Semicolon, 1),
        // A doubled quote within a text reads as two texts side by side, which is as good.
        '\'' => (Kind::Text, through("'", 1)),
        '"' => (Kind::Text, through("\"", 1)),
        '`' => (Kind::Text, through("`", 1)),
        space if space.is_whitespace() => (Kind::Blank, space.len_utf8()),
        other => (Kind::Text, other.len_utf8()),
    };
    Some(Token { kind, bytes })
}

fn first_word(text: &str) -> String {
    let letters = text.chars().take_while(char::is_ascii_alphabetic);
    letters.collect::<String>().to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

    use tidegate_core::ErrorKind;

    use super::*;

    fn text(sql: &str) -> String {
        Statement::parse(sql).unwrap().text().to_owned()
    }

    #[test]
    fn a_semicolon_and_what_follows_it_are_left_away() {
        assert_eq!(text("SELECT 1 ;\n -- done; really\n"), "SELECT 1");
        assert_eq!(text("SELECT 1;;"), "SELECT 1");
        assert_eq!(text("SELECT ';' AS \"a;b\";"), "SELECT ';' AS \"a;b\"");
        assert_eq!(text("SELECT 'it''s; fine'"), "SELECT 'it''s; fine'");
        assert_eq!(text("SELECT 1 /* ; */ + 2;"), "SELECT 1 /* ; */ + 2");
        assert_eq!(text("SELECT 'é';"), "SELECT 'é'");
    }

    #[test]
    fn what_stands_before_it_stays_for_the_sake_of_places() {
        assert_eq!(text("-- a\n\n  SELECT 1;"), "-- a\n\n  SELECT 1");
    }

    #[test]
    fn nothing_and_two_statements_are_refused() {
        for sql in ["", " \n", "-- SELECT 1", ";", "/* open"] {
            let error = Statement::parse(sql).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{sql}");
            assert!(error.to_string().contains("no SQL"), "{sql}: {error}");
        }
        let error = Statement::parse("SELECT 1; DROP TABLE t").unwrap_err();
        assert!(error.to_string().contains("more than one"), "{error}");
    }

    #[test]
    fn queries_are_told_from_what_changes_something() {
        for sql in [
            "select 1",
            "((SELECT 1) UNION (SELECT 2))",
            "/* a */ WITH a AS (SELECT 1) SELECT * FROM a",
            "VALUES 1, 2",
            "\n( -- c\n select 1)",
        ] {
            assert!(Statement::parse(sql).unwrap().is_query(), "{sql}");
        }
        for sql in [
            "INSERT INTO t SELECT 1",
            "DROP TABLE t",
            "UNLOAD (SELECT 1) TO 's3://a/b' WITH (format = 'PARQUET')",
            "SHOW TABLES",
            "EXPLAIN SELECT 1",
            "'SELECT'",
            "SELECTED",
        ] {
            assert!(!Statement::parse(sql).unwrap().is_query(), "{sql}");
        }
    }

    #[test]
    fn the_probe_survives_a_comment_at_the_end() {
        let statement = Statement::parse("SELECT 1 AS a -- one\n+ 0 -- two").unwrap();
        let probe = statement.probe().unwrap();
        let lines: Vec<_> = probe.text().lines().collect();
        assert_eq!(lines[probe.lines_before()], "SELECT 1 AS a -- one");
        assert_eq!(lines.last(), Some(&") AS tidegate LIMIT 0"));
    }

    #[test]
    fn athenas_limit_counts_bytes_and_is_checked_before_anything_is_sent() {
        let sql = |bytes: usize| format!("SELECT '{}'", "é".repeat((bytes - 9) / 2));
        assert_eq!(sql(LONGEST + 1).len(), LONGEST + 1);
        let error = Statement::parse(&sql(LONGEST + 1)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("262144"), "{error}");
        let fits = Statement::parse(&sql(LONGEST - 1)).unwrap();
        assert!(fits.probe().is_err(), "the probe is longer than the query");
    }
}
