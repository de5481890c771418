//! How the inputs' rows become the target's: everything that can be refused is refused here.

use std::collections::HashSet;

use arrow_schema::{Field, Schema};
use tidegate_core::{Distribution, Error, Input, Result, Spread};

use super::checks::{Check, Foreign, another_has_it, orphans, there_already};
use super::config::{Mode, MySqlSinkConfig};
use super::literal;
use super::target::{Index, Named, Slot, Target};
use crate::wire::Server;

/// How rows get from the inputs to the table.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) target: Named,
    pub(super) mode: Mode,
    /// The columns that are written, in the inputs' order.
    pub(super) slots: Vec<Slot>,
    /// Of an upsert: the columns of its key.
    pub(super) key: Vec<String>,
    /// Whether an upsert must not touch another row through another unique index.
    pub(super) careful: bool,
    /// Indexes that a staging table is better without.
    pub(super) needless: Vec<String>,
    /// What is looked up when an epoch is prepared.
    pub(super) checks: Vec<Check>,
    /// Keys that no two rows of a run may share, as lists of columns.
    pub(super) unique: Vec<Vec<String>>,
    pub(super) distribution: Distribution,
    /// Makes the table, where that is asked for and it isn't there.
    pub(super) create: Option<String>,
}

impl Plan {
    /// For rows of `schema` into a table that is there, or that `create` makes.
    pub(super) fn new(
        config: &MySqlSinkConfig,
        named: &Named,
        schema: &Schema,
        target: &Target,
        foreign: &[Foreign],
    ) -> Result<Self> {
        let mut slots = fit(schema, target).map_err(|error| error.with("table", named.sql()))?;
        rights(config.mode, &slots).map_err(|error| error.with("table", named.sql()))?;
        let given = Given {
            slots: &slots,
            target,
        };
        // What rows can clash by.
        let clashing: Vec<_> = target
            .indexes
            .iter()
            .filter(|index| index.unique && !given.counts_by_itself(index))
            .collect();
        let keyed = match config.mode {
            Mode::Upsert => Some(
                given
                    .key(&config.key, &clashing)
                    .map_err(|error| error.with("table", named.sql()))?,
            ),
            Mode::Insert | Mode::Replace => None,
        };
        let key = keyed.and_then(Index::columns).unwrap_or_default();
        let key: Vec<_> = key.into_iter().map(str::to_owned).collect();
        let others: Vec<_> = clashing
            .iter()
            .copied()
            .filter(|index| Some(*index) != keyed)
            .collect();

        let mut checks = Vec::new();
        for index in &others {
            match config.mode {
                Mode::Insert => checks.extend(there_already(index, named)),
                Mode::Upsert => checks.extend(another_has_it(index, named, &key)),
                // The rows that are there go.
                Mode::Replace => {}
            }
        }
        checks.extend(
            foreign
                .iter()
                .filter(|foreign| foreign.parent != *named)
                .map(orphans),
        );
        let distribution = given.distribution(schema, config.mode, &clashing);
        let needless = given.needless(keyed);
        let careful = !others.is_empty();
        let unique = clashing.iter().filter_map(|index| index.columns());
        let unique = unique.map(|columns| columns.into_iter().map(str::to_owned).collect());
        for slot in &mut slots {
            slot.nullable &= !key.contains(&slot.name);
        }
        Ok(Self {
            target: named.clone(),
            mode: config.mode,
            unique: unique.collect(),
            distribution,
            needless,
            careful,
            key,
            checks,
            create: None,
            slots,
        })
    }

    /// Leaves out what only MariaDB needs.
    pub(super) fn suit(&mut self, server: &Server) {
        for slot in &mut self.slots {
            slot.mariadb = server.mariadb;
        }
    }

    /// The names of the columns that are written, as the table has them.
    pub(super) fn columns(&self) -> Vec<String> {
        self.slots.iter().map(|slot| slot.name.clone()).collect()
    }
}

/// The columns that the inputs give, and the table.
struct Given<'a> {
    slots: &'a [Slot],
    target: &'a Target,
}

impl Given<'_> {
    fn gives(&self, column: &str) -> bool {
        self.slots.iter().any(|slot| slot.name == column)
    }

    /// Whether the server itself makes each row's value: a counter that the inputs leave out.
    fn counts_by_itself(&self, index: &Index) -> bool {
        index.parts.iter().flatten().any(|part| {
            let slot = self.target.slot(&part.column);
            slot.is_some_and(|slot| slot.auto_increment) && !self.gives(&part.column)
        })
    }

    /// The index whose columns are an upsert's key.
    fn key<'i>(&self, asked: &[String], clashing: &[&'i Index]) -> Result<&'i Index> {
        let whole = |index: &&&'i Index| index.columns().is_some();
        if asked.is_empty() {
            let primary = clashing.iter().find(|index| index.name == "PRIMARY");
            let mut rest = clashing.iter().filter(whole);
            let found = primary.or_else(|| rest.next().filter(|_| rest.next().is_none()));
            let index = found.copied().ok_or_else(|| {
                Error::config("it isn't clear which row an upsert is to replace")
                    .with("key", "mode")
                    .hint("set `key` to the columns of the table's unique index that is meant; a table without one needs one")
            })?;
            return self.all_given(index);
        }
        let wanted: HashSet<_> = asked.iter().map(|name| name.to_lowercase()).collect();
        let found = clashing.iter().find(|index| {
            index.columns().is_some_and(|columns| {
                let columns: HashSet<_> = columns.iter().map(|c| c.to_lowercase()).collect();
                columns == wanted
            })
        });
        let index = found.copied().ok_or_else(|| {
            Error::config("the table has no unique index of exactly the columns of `key`")
                .with("key", "key")
                .hint("without one, two rows may have the same key: ALTER TABLE … ADD UNIQUE (…)")
        })?;
        self.all_given(index)
    }

    fn all_given<'i>(&self, index: &'i Index) -> Result<&'i Index> {
        for column in index.columns().unwrap_or_default() {
            if !self.gives(column) {
                return Err(Error::schema(format!(
                    "`{column}` is part of the key, and the inputs don't have it"
                ))
                .hint(
                    "add the column to the inputs, or set `key` to those of another unique index",
                ));
            }
        }
        Ok(index)
    }

    /// Indexes that a staging table doesn't need: those that aren't unique; and for an upsert, where
    /// the last row with a key replaces those before it, all but the key's. One that begins with a
    /// counter must stay.
    fn needless(&self, keyed: Option<&Index>) -> Vec<String> {
        let counter = |index: &Index| {
            let first = index.parts.first().and_then(Option::as_ref);
            let slot = first.and_then(|part| self.target.slot(&part.column));
            slot.is_some_and(|slot| slot.auto_increment)
        };
        let stays = |index: &Index| match keyed {
            Some(keyed) => index == keyed,
            None => index.unique,
        };
        // A counter that is left out needs its index. One that is given needs some index.
        let needless = self.target.indexes.iter();
        let needless = needless.filter(|index| !stays(index) && !counter(index));
        needless.map(|index| index.name.clone()).collect()
    }

    /// Rows that may clash must meet in one staging table, so that they are noticed there, or so
    /// that the last one wins. Where equal to us and equal to the server isn't the same, as with
    /// texts of which it ignores the case, only one writer is safe.
    fn distribution(&self, schema: &Schema, mode: Mode, clashing: &[&Index]) -> Distribution {
        let field = |column: &str| {
            let at = self.slots.iter().position(|slot| slot.name == column)?;
            let field: &Field = schema.field(at);
            literal::same_equality(field, &self.slots[at]).then(|| field.name().clone())
        };
        let spread = match clashing {
            [] => Spread::Any,
            [index] => {
                let columns = index.columns();
                let fields = columns.and_then(|columns| columns.into_iter().map(field).collect());
                fields.map_or(Spread::Single, Spread::Hash)
            }
            _ => Spread::Single,
        };
        Distribution {
            spread,
            ordered: mode == Mode::Upsert,
        }
    }
}

/// The column of the table for each of the inputs.
fn fit(schema: &Schema, target: &Target) -> Result<Vec<Slot>> {
    let mut slots = Vec::new();
    let mut taken = HashSet::new();
    for field in schema.fields() {
        let name = field.name();
        let Some(slot) = target.slot(name) else {
            let columns: Vec<_> = target.slots.iter().map(|slot| slot.name.as_str()).collect();
            return Err(
                Error::schema(format!("the table has no column `{name}`")).hint(format!(
                    "it has {}; rename or leave out columns in a `sql` transform, or add it to the table",
                    columns.join(", ")
                )),
            );
        };
        if !taken.insert(slot.name.clone()) {
            return Err(Error::schema(format!(
                "two columns of the inputs go into `{}`",
                slot.name
            ))
            .hint("names of columns have no case in MySQL: rename one"));
        }
        if slot.generated {
            return Err(
                Error::schema(format!("the table computes the column `{name}` by itself"))
                    .hint("leave it out in a `sql` transform"),
            );
        }
        literal::takes(field, slot).map_err(|why| {
            Error::schema(format!("the column `{name}` can't hold the input's values"))
                .with("column", &slot.declared)
                .with("input", field.data_type())
                .hint(why)
        })?;
        slots.push(slot.clone());
    }
    let missing = target
        .slots
        .iter()
        .find(|slot| !slot.optional && !taken.contains(&slot.name));
    if let Some(slot) = missing {
        return Err(Error::schema(format!(
            "the column `{}` must have a value, and the inputs don't have it",
            slot.name
        ))
        .hint("add it to the inputs, or give the column a default"));
    }
    Ok(slots)
}

fn rights(mode: Mode, slots: &[Slot]) -> Result<()> {
    let mut needed = vec!["select", "insert"];
    if mode == Mode::Upsert {
        needed.push("update");
    }
    for right in needed {
        if let Some(slot) = slots.iter().find(|slot| !slot.allows(right)) {
            return Err(Error::auth(format!(
                "the user has no right to {right} the column `{}`",
                slot.name
            ))
            .hint(format!(
                "GRANT {} ON the database TO the user",
                right.to_uppercase()
            )));
        }
    }
    Ok(())
}

/// The one schema of all inputs, nullable where one of them is.
pub(super) fn common_schema(inputs: &[Input]) -> Result<Option<Schema>> {
    let Some((first, others)) = inputs.split_first() else {
        return Ok(None);
    };
    let fields = first.schema.fields().iter();
    let mut fields: Vec<Field> = fields.map(|field| (**field).clone()).collect();
    for other in others {
        let theirs = other.schema.fields();
        let alike = |(mine, theirs): (&Field, &std::sync::Arc<Field>)| {
            mine.name() == theirs.name() && mine.data_type() == theirs.data_type()
        };
        if theirs.len() != fields.len() || !fields.iter().zip(theirs).all(alike) {
            return Err(Error::schema(format!(
                "the inputs `{}` and `{}` have different columns",
                first.name, other.name
            ))
            .hint("give each its own sink, or bring them to one schema with a `sql` transform"));
        }
        for (mine, theirs) in fields.iter_mut().zip(theirs) {
            mine.set_nullable(mine.is_nullable() || theirs.is_nullable());
        }
    }
    Ok(Some(Schema::new(fields)))
}

#[cfg(test)]
mod tests {
    use arrow_schema::DataType;
    use serde_json::{Value, json};

    use super::super::target::Part;
    use super::*;
    use crate::types::Declared;

    fn config(mode: &str, key: Value) -> MySqlSinkConfig {
        let config = json!({ "url": "mysql://u@db/shop", "table": "t", "mode": mode, "key": key });
        serde_json::from_value(config).unwrap()
    }

    fn slot(name: &str, declared: &str) -> Slot {
        Slot {
            auto_increment: name == "counter",
            ..Slot::new(name, Declared::parse(declared), true)
        }
    }

    fn index(name: &str, unique: bool, columns: &[&str]) -> Index {
        let part = |column: &&str| {
            Some(Part {
                column: (*column).to_owned(),
                prefix: None,
            })
        };
        Index {
            name: name.to_owned(),
            unique,
            parts: columns.iter().map(part).collect(),
        }
    }

    fn plan(config: &MySqlSinkConfig, fields: &[(&str, DataType)]) -> Result<Plan> {
        let target = Target {
            slots: vec![
                slot("counter", "int"),
                slot("n", "bigint"),
                slot("code", "varchar(20)"),
            ],
            indexes: vec![
                index("PRIMARY", true, &["counter"]),
                index("by_n", true, &["n"]),
                index("by_code", false, &["code"]),
            ],
        };
        let named = Named {
            database: "shop".into(),
            table: "t".into(),
        };
        let fields = fields.iter().map(|(n, t)| Field::new(*n, t.clone(), true));
        let schema = Schema::new(fields.collect::<Vec<_>>());
        Plan::new(config, &named, &schema, &target, &[])
    }

    #[test]
    fn a_counter_that_is_left_out_is_no_key() {
        let upsert = config("upsert", json!([]));
        let fields = [("N", DataType::Int64), ("code", DataType::Utf8)];
        let plan = plan(&upsert, &fields).unwrap();
        assert_eq!(plan.key, ["n"]);
        assert!(!plan.careful && plan.checks.is_empty());
        assert_eq!(plan.needless, ["by_code"]);
        assert_eq!(plan.columns(), ["n", "code"]);
        assert_eq!(plan.distribution.spread, Spread::Hash(vec!["N".into()]));
        assert!(plan.distribution.ordered);
    }

    #[test]
    fn with_two_keys_one_writer_is_safe() {
        let insert = config("insert", json!([]));
        let fields = [("counter", DataType::Int32), ("n", DataType::Int64)];
        let plan = plan(&insert, &fields).unwrap();
        assert_eq!(plan.distribution.spread, Spread::Single);
        assert_eq!(plan.checks.len(), 2);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let int = DataType::Int64;
        for (mode, key, fields, word) in [
            ("insert", json!([]), vec![("x", int.clone())], "no column"),
            (
                "insert",
                json!([]),
                vec![("n", int.clone()), ("N", int.clone())],
                "two columns",
            ),
            (
                "insert",
                json!([]),
                vec![("n", DataType::Float64)],
                "can't hold",
            ),
            (
                "upsert",
                json!(["code"]),
                vec![("code", DataType::Utf8)],
                "no unique index",
            ),
            (
                "upsert",
                json!(["n"]),
                vec![("code", DataType::Utf8)],
                "part of the key",
            ),
        ] {
            let error = plan(&config(mode, key), &fields).unwrap_err();
            assert!(error.to_string().contains(word), "{error:?}");
            assert!(error.hint_text().is_some());
        }
    }
}
