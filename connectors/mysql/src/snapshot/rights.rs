//! What the user may do, as far as the server tells without trying.

use tidegate_core::Result;

use super::ways::{self, Way};
use crate::wire::{Connection, ServerError};

/// The user's rights, and what the server has.
#[derive(Debug, Default)]
pub(super) struct Rights {
    grants: Vec<Grant>,
    /// Whether the binlog tells if two views are the same.
    binlog: bool,
}

/// A line of SHOW GRANTS.
#[derive(Debug, PartialEq, Eq)]
struct Grant {
    rights: Vec<String>,
    /// `*.*`, `` `shop`.* ``, or a table.
    on: String,
}

impl Rights {
    pub(super) async fn ask(connection: &mut Connection) -> Result<Self> {
        let lines = connection.query("ask for the user's privileges", "SHOW GRANTS");
        let lines = match lines.await {
            Ok(lines) => lines,
            // A server that doesn't keep grants has none to show.
            Err(error) if ServerError::of(&error).is_some() => Vec::new(),
            Err(error) => return Err(error),
        };
        let lines = lines.into_iter().flatten().flatten();
        Ok(Self {
            grants: lines.filter_map(|line| grant(&line)).collect(),
            binlog: ways::tells(connection).await?,
        })
    }

    /// The first way that should work. A server may refuse more than its grants say (RDS does
    /// with FLUSH TABLES WITH READ LOCK), and permissions may come by a role that isn't listed: taking
    /// the snapshot tries them all.
    ///
    /// `databases`: those of the tables, if all tables are known.
    pub(super) fn likely<'a>(&self, databases: Option<impl Iterator<Item = &'a str>>) -> Way {
        if self.may("RELOAD", None) || self.may("FLUSH_TABLES", None) {
            return Way::GlobalLock;
        }
        let lock = |database| self.may("LOCK TABLES", Some(database));
        if databases.is_some_and(|mut databases| databases.all(lock)) {
            return Way::TableLocks;
        }
        match self.binlog {
            true => Way::Binlog,
            false => Way::Alone,
        }
    }

    fn may(&self, right: &str, database: Option<&str>) -> bool {
        let of_database = database.map(|name| {
            // A grant's database is a pattern.
            let pattern = name.replace('_', "\\_").replace('%', "\\%");
            let quoted = |name: &str| format!("{}.*", crate::sql::name(name));
            [quoted(name), quoted(&pattern)]
        });
        self.grants.iter().any(|grant| {
            let here = grant.on == "*.*"
                || of_database
                    .as_ref()
                    .is_some_and(|of| of.contains(&grant.on));
            here && grant
                .rights
                .iter()
                .any(|one| one == right || one == "ALL PRIVILEGES")
        })
    }
}

/// Reads `GRANT SELECT, LOCK TABLES ON shop.* TO …`; roles, which have no ON, give nothing.
fn grant(line: &str) -> Option<Grant> {
    let (rights, rest) = line.strip_prefix("GRANT ")?.split_once(" ON ")?;
    let (on, _) = rest.split_once(" TO ")?;
    Some(Grant {
        rights: rights.split(", ").map(str::to_owned).collect(),
        on: on.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn likely(grants: &[&str], binlog: bool) -> Way {
        let grants = grants.iter().filter_map(|line| grant(line)).collect();
        Rights { grants, binlog }.likely(Some(["shop", "old_shop"].into_iter()))
    }

    #[test]
    fn the_strongest_right_decides() {
        let user = "TO `w`@`%`";
        let of = |rights: &str| format!("GRANT {rights} {user}");
        let all = of("ALL PRIVILEGES ON *.*");
        assert_eq!(likely(&[&all], true), Way::GlobalLock);
        let reload = of("SELECT, RELOAD ON *.*");
        assert_eq!(likely(&[&reload], true), Way::GlobalLock);
        let one = of("SELECT, LOCK TABLES ON `shop`.*");
        let other = of("SELECT, LOCK TABLES ON `old\\_shop`.*");
        assert_eq!(likely(&[&one, &other], true), Way::TableLocks);
        assert_eq!(likely(&[&one], true), Way::Binlog);
        assert_eq!(likely(&[&one], false), Way::Alone);
        let role = "GRANT `reader` TO `w`@`%`";
        assert_eq!(likely(&[role], false), Way::Alone);
    }
}
