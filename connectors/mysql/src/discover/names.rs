//! Which tables are asked for: by their names, or by globs.

use globset::{GlobBuilder, GlobMatcher};
use tidegate_core::{Error, Result};

use super::cell;
use crate::sql;
use crate::wire::Connection;

/// The names of the tables asked for, in the server's order.
pub(super) async fn names(
    connection: &mut Connection,
    database: &str,
    patterns: &[String],
) -> Result<Vec<String>> {
    let rows = connection
        .query(
            "list the tables",
            &format!(
                "SELECT TABLE_NAME, TABLE_TYPE, @@lower_case_table_names \
                 FROM information_schema.TABLES WHERE TABLE_SCHEMA = {} \
                 AND TABLE_TYPE IN ('BASE TABLE', 'SYSTEM VERSIONED', 'VIEW') ORDER BY TABLE_NAME",
                sql::text(database)
            ),
        )
        .await?;
    // Where names of tables don't know case, ours need not either.
    let fold = rows
        .first()
        .is_some_and(|row| cell(row, 2).is_some_and(|setting| setting != "0"));
    let views: Vec<bool> = rows
        .iter()
        .map(|row| cell(row, 1) == Some("VIEW"))
        .collect();
    let all: Vec<&str> = rows.iter().filter_map(|row| cell(row, 0)).collect();
    let mut wanted: Vec<bool> = match patterns.is_empty() {
        true => views.iter().map(|view| !view).collect(),
        false => vec![false; all.len()],
    };
    for pattern in patterns {
        let pattern = Pattern::new(pattern, &all, fold)?;
        let mut found = false;
        for (wanted, name) in wanted.iter_mut().zip(&all) {
            let matches = pattern.matches(name);
            *wanted |= matches;
            found |= matches;
        }
        if !found {
            return Err(missing(database, &pattern.text, &all));
        }
    }
    let names = all.iter().zip(wanted).filter(|(_, wanted)| *wanted);
    Ok(names.map(|(name, _)| (*name).to_owned()).collect())
}

/// A name or a glob.
struct Pattern {
    text: String,
    /// None for a name.
    glob: Option<GlobMatcher>,
    fold: bool,
}

impl Pattern {
    /// What is a table's name to the letter is a name, also with a `*` in it.
    fn new(text: &str, all: &[&str], fold: bool) -> Result<Self> {
        let glob = match all.contains(&text) || !text.contains(['*', '?', '[', '{']) {
            true => None,
            false => Some(
                GlobBuilder::new(text)
                    .case_insensitive(fold)
                    .backslash_escape(true)
                    .build()
                    .map_err(|error| {
                        Error::config("a pattern of tables can't be read")
                            .with("pattern", text)
                            .hint("`*` stands for any characters, `?` for one, `[ab]` and `{a,b}` for a choice")
                            .because(error)
                    })?
                    .compile_matcher(),
            ),
        };
        Ok(Self {
            text: text.to_owned(),
            glob,
            fold,
        })
    }

    fn matches(&self, name: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.is_match(name),
            None if self.fold => self.text.to_lowercase() == name.to_lowercase(),
            None => self.text == name,
        }
    }
}

fn missing(database: &str, pattern: &str, all: &[&str]) -> Error {
    let error =
        Error::not_found(format!("there is no table `{pattern}`")).with("database", database);
    let same = |name: &&&str| name.to_lowercase() == pattern.to_lowercase();
    error.hint(match all.iter().find(same) {
        Some(name) => format!("did you mean `{name}`? This server tells upper from lower case"),
        None if all.is_empty() => {
            "this user sees no table in the database: check its name, and the user's privileges by \
             SHOW GRANTS"
                .to_owned()
        }
        None => {
            let some: Vec<_> = all.iter().take(8).map(|name| format!("`{name}`")).collect();
            let more = if all.len() > some.len() { ", …" } else { "" };
            format!("this user sees {}{more}", some.join(", "))
        }
    })
}
