//! What a statement in the binlog means to us. With rows in it, few are left: the beginnings and
//! ends of transactions, and what changes tables themselves.

use super::token::{Token, tokens};

/// What a statement does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Statement {
    Begin,
    Commit,
    Rollback,
    /// Of a distributed transaction: what follows may still be rolled back.
    XaStart,
    /// Decides about a distributed transaction that was prepared before.
    XaEnd,
    /// Gives a followed table other columns, or may do so.
    Alters(usize),
    /// Takes rows from a followed table without naming them, or takes the table away: what it does,
    /// in the server's words.
    Removes(usize, &'static str),
    /// Changes rows of a followed table by a statement.
    Writes(usize),
    /// Changes rows of other tables by a statement.
    WritesElsewhere,
    /// Nothing that concerns us.
    Other,
}

/// A table that is followed.
pub(super) type Name<'a> = (&'a str, &'a str);

/// Finds out what a statement does to the followed tables, given the database that it was sent in.
pub(super) fn understand(text: &str, database: &str, followed: &[Name<'_>]) -> Statement {
    let tokens = tokens(text);
    let mut rest = tokens.as_slice();
    // MariaDB's `SET STATEMENT a = 1 FOR …`.
    if eat(&mut rest, "SET") && eat(&mut rest, "STATEMENT") {
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            if first.is("FOR") {
                break;
            }
        }
    } else {
        rest = tokens.as_slice();
    }
    let find = |rest: &mut &[Token]| reference(rest, database, followed);
    let Some(verb) = word(&mut rest) else {
        return Statement::Other;
    };
    match verb.as_str() {
        "BEGIN" => Statement::Begin,
        "START" if eat(&mut rest, "TRANSACTION") => Statement::Begin,
        "COMMIT" => Statement::Commit,
        "ROLLBACK" if rest.is_empty() => Statement::Rollback,
        "XA" if eat(&mut rest, "START") || eat(&mut rest, "BEGIN") => Statement::XaStart,
        "XA" if eat(&mut rest, "COMMIT") || eat(&mut rest, "ROLLBACK") => Statement::XaEnd,
        "TRUNCATE" => {
            eat(&mut rest, "TABLE");
            match find(&mut rest) {
                Some(at) => Statement::Removes(at, "TRUNCATE TABLE"),
                None => Statement::Other,
            }
        }
        "DROP" => drops(rest, database, followed),
        "RENAME" => {
            if !eat(&mut rest, "TABLE") && !eat(&mut rest, "TABLES") {
                return Statement::Other;
            }
            match mentioned(rest, database, followed).first() {
                Some(at) => Statement::Removes(*at, "RENAME TABLE"),
                None => Statement::Other,
            }
        }
        "ALTER" => alters(rest, database, followed),
        "CREATE" => {
            let replaces = eat(&mut rest, "OR") && eat(&mut rest, "REPLACE");
            if eat(&mut rest, "TABLE") {
                eat_all(&mut rest, &["IF", "NOT", "EXISTS"]);
                return match find(&mut rest) {
                    Some(at) if replaces => Statement::Removes(at, "CREATE OR REPLACE TABLE"),
                    Some(at) => Statement::Alters(at),
                    None => Statement::Other,
                };
            }
            Statement::Other
        }
        "INSERT" | "UPDATE" | "DELETE" | "REPLACE" | "LOAD" | "MERGE" => {
            match mentioned(rest, database, followed).first() {
                Some(at) => Statement::Writes(*at),
                None => Statement::WritesElsewhere,
            }
        }
        _ => Statement::Other,
    }
}

fn drops(mut rest: &[Token], database: &str, followed: &[Name<'_>]) -> Statement {
    if eat(&mut rest, "DATABASE") || eat(&mut rest, "SCHEMA") {
        eat_all(&mut rest, &["IF", "EXISTS"]);
        let name = match rest.first() {
            Some(Token::Name { text, .. }) => text,
            _ => return Statement::Other,
        };
        let at = followed
            .iter()
            .position(|(database, _)| same(database, name));
        return at.map_or(Statement::Other, |at| {
            Statement::Removes(at, "DROP DATABASE")
        });
    }
    if !eat(&mut rest, "TABLE") && !eat(&mut rest, "TABLES") {
        return Statement::Other;
    }
    match mentioned(rest, database, followed).first() {
        Some(at) => Statement::Removes(*at, "DROP TABLE"),
        None => Statement::Other,
    }
}

fn alters(mut rest: &[Token], database: &str, followed: &[Name<'_>]) -> Statement {
    while eat(&mut rest, "ONLINE") || eat(&mut rest, "OFFLINE") || eat(&mut rest, "IGNORE") {}
    if !eat(&mut rest, "TABLE") {
        return Statement::Other;
    }
    eat_all(&mut rest, &["IF", "EXISTS"]);
    let Some(at) = reference(&mut rest, database, followed) else {
        // Another table may take or give a partition's rows.
        return match mentioned(rest, database, followed).first() {
            Some(at) if has(rest, "EXCHANGE") || has(rest, "CONVERT") => {
                Statement::Removes(*at, "ALTER TABLE … EXCHANGE PARTITION")
            }
            _ => Statement::Other,
        };
    };
    for at_token in 0..rest.len() {
        let mut here = &rest[at_token..];
        let what = match word(&mut here).as_deref() {
            Some("RENAME")
                if !here.first().is_some_and(|next| {
                    next.is("COLUMN") || next.is("INDEX") || next.is("KEY")
                }) =>
            {
                "ALTER TABLE … RENAME"
            }
            Some("DROP") if here.first().is_some_and(|next| next.is("PARTITION")) => {
                "ALTER TABLE … DROP PARTITION"
            }
            Some("TRUNCATE") if here.first().is_some_and(|next| next.is("PARTITION")) => {
                "ALTER TABLE … TRUNCATE PARTITION"
            }
            Some("EXCHANGE") if here.first().is_some_and(|next| next.is("PARTITION")) => {
                "ALTER TABLE … EXCHANGE PARTITION"
            }
            Some("CONVERT")
                if here
                    .first()
                    .is_some_and(|next| next.is("PARTITION") || next.is("TABLE")) =>
            {
                "ALTER TABLE … CONVERT PARTITION"
            }
            Some("DISCARD") if has(here, "TABLESPACE") => "ALTER TABLE … DISCARD TABLESPACE",
            Some("IMPORT") if has(here, "TABLESPACE") => "ALTER TABLE … IMPORT TABLESPACE",
            _ => continue,
        };
        return Statement::Removes(at, what);
    }
    match split(rest).into_iter().all(leaves_columns) {
        true => Statement::Other,
        false => Statement::Alters(at),
    }
}

/// The parts of a list, at the commas that stand in no brackets.
fn split(rest: &[Token]) -> Vec<&[Token]> {
    let mut depth = 0_i32;
    rest.split(|token| {
        match token {
            Token::Other('(') => depth += 1,
            Token::Other(')') => depth -= 1,
            _ => {}
        }
        depth == 0 && *token == Token::Other(',')
    })
    .collect()
}

/// Whether a part of an ALTER TABLE surely leaves the columns as they are: indexes, constraints and
/// how the table is stored. A primary key makes columns NOT NULL.
fn leaves_columns(part: &[Token]) -> bool {
    const OF_TABLES: [&str; 9] = [
        "ENGINE",
        "ROW_FORMAT",
        "COMMENT",
        "AUTO_INCREMENT",
        "ALGORITHM",
        "LOCK",
        "FORCE",
        "ENABLE",
        "DISABLE",
    ];
    const OF_INDEXES: [&str; 8] = [
        "INDEX",
        "KEY",
        "UNIQUE",
        "FULLTEXT",
        "SPATIAL",
        "CONSTRAINT",
        "FOREIGN",
        "CHECK",
    ];
    let mut rest = part;
    let (first, second) = (word(&mut rest), word(&mut rest));
    let among = |word: &Option<String>, words: &[&str]| {
        word.as_deref().is_some_and(|word| words.contains(&word))
    };
    match first.as_deref() {
        Some("ADD" | "DROP" | "RENAME") => among(&second, &OF_INDEXES) && !has(part, "PRIMARY"),
        _ => among(&first, &OF_TABLES),
    }
}

fn eat(rest: &mut &[Token], keyword: &str) -> bool {
    match rest.split_first() {
        Some((first, after)) if first.is(keyword) => {
            *rest = after;
            true
        }
        _ => false,
    }
}

fn eat_all(rest: &mut &[Token], keywords: &[&str]) {
    for keyword in keywords {
        eat(rest, keyword);
    }
}

fn has(rest: &[Token], keyword: &str) -> bool {
    rest.iter().any(|token| token.is(keyword))
}

/// The next token as a keyword, in capitals.
fn word(rest: &mut &[Token]) -> Option<String> {
    match rest.split_first() {
        Some((
            Token::Name {
                text,
                quoted: false,
            },
            after,
        )) => {
            *rest = after;
            Some(text.to_ascii_uppercase())
        }
        _ => None,
    }
}

/// Names of tables may or may not tell capitals apart, by the server's settings; to take two for one
/// does less harm than the other way round.
fn same(one: &str, other: &str) -> bool {
    one.eq_ignore_ascii_case(other)
}

/// Takes a table's name, perhaps with its database's, and says which of the followed ones it is.
fn reference(rest: &mut &[Token], database: &str, followed: &[Name<'_>]) -> Option<usize> {
    let (Token::Name { text: first, .. }, mut after) = rest.split_first()? else {
        return None;
    };
    let (mut of, mut name) = (database, first.as_str());
    if let [Token::Other('.'), Token::Name { text, .. }, behind @ ..] = after {
        (of, name) = (first.as_str(), text.as_str());
        after = behind;
    }
    *rest = after;
    followed
        .iter()
        .position(|(database, table)| same(database, of) && same(table, name))
}

/// The followed tables whose names stand anywhere in a statement.
fn mentioned(mut rest: &[Token], database: &str, followed: &[Name<'_>]) -> Vec<usize> {
    let mut found = Vec::new();
    while !rest.is_empty() {
        if matches!(rest.first(), Some(Token::Name { .. })) {
            if let Some(at) = reference(&mut rest, database, followed)
                && !found.contains(&at)
            {
                found.push(at);
            }
        } else {
            rest = &rest[1..];
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLLOWED: [Name<'static>; 2] = [("shop", "sales"), ("shop", "odd name")];

    fn of(text: &str) -> Statement {
        understand(text, "shop", &FOLLOWED)
    }

    #[test]
    fn transactions_are_seen() {
        assert_eq!(of("BEGIN"), Statement::Begin);
        assert_eq!(of("COMMIT"), Statement::Commit);
        assert_eq!(of("ROLLBACK"), Statement::Rollback);
        assert_eq!(of("ROLLBACK TO `a`"), Statement::Other);
        assert_eq!(of("SAVEPOINT `a`"), Statement::Other);
        assert_eq!(of("XA START X'61',X'',1"), Statement::XaStart);
        assert_eq!(of("XA END X'61',X'',1"), Statement::Other);
        assert_eq!(of("XA COMMIT X'61',X'',1"), Statement::XaEnd);
    }

    #[test]
    fn definitions_change() {
        for text in [
            "ALTER TABLE sales ADD COLUMN c INT",
            "alter table `shop`.`sales` drop column b, rename column a to b",
            "ALTER ONLINE TABLE IF EXISTS Sales RENAME COLUMN a TO b",
            "/* by hand */ ALTER /*!50700 TABLE */ sales ADD c VARCHAR(9) DEFAULT 'RENAME TO x'",
            "SET STATEMENT lock_wait_timeout=1 FOR ALTER TABLE sales ADD c INT",
            "CREATE TABLE IF NOT EXISTS sales (a INT)",
        ] {
            assert_eq!(of(text), Statement::Alters(0), "{text}");
        }
        assert_eq!(
            of("ALTER TABLE `odd name` ADD COLUMN c INT"),
            Statement::Alters(1)
        );
        for text in [
            "ALTER TABLE sales ADD INDEX i (a, b), ENGINE = InnoDB, ALGORITHM = INPLACE",
            "ALTER TABLE sales DROP KEY `i`, ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES o (a)",
            "ALTER TABLE sales RENAME INDEX a TO b, COMMENT 'ADD c INT, DROP b'",
            "ALTER TABLE sales FORCE",
        ] {
            assert_eq!(of(text), Statement::Other, "{text}");
        }
        for text in [
            "ALTER TABLE sales ADD `index` INT",
            "ALTER TABLE sales ADD INDEX i (a), ADD c INT",
            "ALTER TABLE sales ADD INDEX i (a), ADD (c INT, d INT)",
            "ALTER TABLE sales ADD PRIMARY KEY (a)",
            "ALTER TABLE sales ADD CONSTRAINT PRIMARY KEY (a)",
            "ALTER TABLE sales DROP PRIMARY KEY",
            "ALTER TABLE sales CONVERT TO CHARACTER SET latin1",
            "ALTER TABLE sales ADD SYSTEM VERSIONING",
            "ALTER TABLE sales ALGORITHM = INSTANT, DROP a",
            "ALTER TABLE sales MODIFY a INT AFTER b",
            "ALTER TABLE sales",
        ] {
            assert_eq!(of(text), Statement::Alters(0), "{text}");
        }
        assert_eq!(of("ALTER TABLE other.sales ADD c INT"), Statement::Other);
        assert_eq!(
            understand("ALTER TABLE sales ADD c INT", "other", &FOLLOWED),
            Statement::Other
        );
    }

    #[test]
    fn rows_vanish() {
        for (text, what) in [
            ("TRUNCATE sales", "TRUNCATE TABLE"),
            ("TRUNCATE TABLE `shop`.`sales`", "TRUNCATE TABLE"),
            (
                "DROP TABLE IF EXISTS `other`,`sales` /* generated by server */",
                "DROP TABLE",
            ),
            ("DROP DATABASE shop", "DROP DATABASE"),
            (
                "RENAME TABLE x TO y, sales TO old, new TO sales",
                "RENAME TABLE",
            ),
            ("ALTER TABLE sales RENAME TO old", "ALTER TABLE … RENAME"),
            (
                "ALTER TABLE sales DROP PARTITION p1",
                "ALTER TABLE … DROP PARTITION",
            ),
            (
                "CREATE OR REPLACE TABLE sales (a INT)",
                "CREATE OR REPLACE TABLE",
            ),
            (
                "ALTER TABLE other EXCHANGE PARTITION p WITH TABLE sales",
                "ALTER TABLE … EXCHANGE PARTITION",
            ),
        ] {
            assert_eq!(of(text), Statement::Removes(0, what), "{text}");
        }
        for text in [
            "TRUNCATE other",
            "DROP TABLE other",
            "DROP TEMPORARY TABLE sales",
            "DROP INDEX sales ON other",
            "CREATE TABLE other LIKE sales",
            "GRANT SELECT ON sales TO me",
        ] {
            assert_eq!(of(text), Statement::Other, "{text}");
        }
    }

    #[test]
    fn statements_that_write_are_seen() {
        assert_eq!(of("INSERT INTO sales VALUES (1)"), Statement::Writes(0));
        assert_eq!(
            of("UPDATE other JOIN shop.sales USING (a) SET b = 'x'"),
            Statement::Writes(0)
        );
        assert_eq!(
            of("INSERT INTO mysql.rds_heartbeat2(id, value) VALUES (1, 'sales')"),
            Statement::WritesElsewhere
        );
        assert_eq!(
            of("DELETE FROM `shop`.`memory`"),
            Statement::WritesElsewhere
        );
    }
}
