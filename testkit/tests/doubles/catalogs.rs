use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arrow_schema::{Field, Schema, SchemaRef};
use tidegate_catalog::{may_match_all, merge_tables};
use tidegate_core::{
    Catalog, CatalogTable, Comparison, Error, ErrorKind, Literal, Predicate, Result, TableFormat,
    TableName, TablePartition, async_trait,
};
use tidegate_testkit::suites::{CatalogSuite, catalog_suite};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    TurnsKeysRound,
    ForgetsHeaders,
    RefusesWhatIsNotThere,
    ListsBackwards,
    RefusesWithoutAHint,
    KeepsPartitionsOfDroppedTables,
    NeverWidens,
    MovesTables,
    NarrowsAgain,
    ChangesHalf,
    LosesUpdates,
    SortsByOneKey,
    MovesPartitions,
    TrimsValues,
    GivesOnePage,
    ComparesNumbersAsTexts,
    DropsOneBatch,
    TakesPartitionsOfNothing,
    DropsPartitionsInAMerge,
    WrongKind,
}

const DOUBLES: &[(Defect, &str)] = &[
    (Defect::TurnsKeysRound, "a_table_comes_back"),
    (Defect::ForgetsHeaders, "formats_come_back"),
    (
        Defect::RefusesWhatIsNotThere,
        "what_is_not_there_is_not_found",
    ),
    (Defect::ListsBackwards, "names_are_listed_in_order"),
    (Defect::RefusesWithoutAHint, "folding_is_done_once"),
    (
        Defect::KeepsPartitionsOfDroppedTables,
        "dropping_forgets_all",
    ),
    (Defect::NeverWidens, "merge_adds_and_widens"),
    (Defect::MovesTables, "merge_drops_nothing"),
    (Defect::NarrowsAgain, "merge_again_changes_nothing"),
    (Defect::ChangesHalf, "contradictions_change_nothing"),
    (Defect::LosesUpdates, "two_at_once"),
    (Defect::SortsByOneKey, "partitions_come_back_in_order"),
    (Defect::MovesPartitions, "a_partition_stays_where_it_is"),
    (Defect::TrimsValues, "odd_values_come_back"),
    (Defect::GivesOnePage, "many_partitions"),
    (Defect::ComparesNumbersAsTexts, "predicates_are_offers"),
    (Defect::DropsOneBatch, "dropped_partitions_are_gone"),
    (Defect::TakesPartitionsOfNothing, "partitions_need_a_table"),
    (
        Defect::DropsPartitionsInAMerge,
        "partitions_survive_a_merge",
    ),
    (Defect::WrongKind, "errors_have_kinds"),
];

#[tokio::test]
async fn the_model_passes() {
    let report = suite(Defect::None).report().await;
    report.assert();
    assert_eq!(report.skipped, []);
}

#[tokio::test]
async fn each_double_is_caught() {
    for (defect, check) in DOUBLES {
        super::caught(&suite(*defect).report().await, check);
    }
}

#[test]
fn each_check_has_a_double() {
    let doubles = DOUBLES.iter().map(|(_, check)| *check);
    super::all_have_doubles(CatalogSuite::names(), doubles);
}

fn suite(defect: Defect) -> CatalogSuite {
    // All databases of all checks, as a server would have them.
    let server = Arc::new(Server::default());
    catalog_suite(move |_| {
        let server = Arc::clone(&server);
        async move { Ok(Arc::new(Double { defect, server }) as _) }
    })
    .refuses("no such catalog", ErrorKind::Config, move || async move {
        Err(match defect {
            Defect::WrongKind => Error::data("no such catalog"),
            _ => Error::config("no such catalog"),
        })
    })
}

type Values = Vec<Option<String>>;

#[derive(Debug, Default)]
struct Server {
    tables: Mutex<BTreeMap<TableName, CatalogTable>>,
    partitions: Mutex<BTreeMap<TableName, BTreeMap<Values, String>>>,
}

#[derive(Debug)]
struct Double {
    defect: Defect,
    server: Arc<Server>,
}

fn lock<T>(of: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Double {
    fn has(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn find(&self, name: &TableName) -> Option<CatalogTable> {
        lock(&self.server.tables).get(name).cloned()
    }

    fn merged(&self, have: Option<CatalogTable>, want: &CatalogTable) -> Result<CatalogTable> {
        let Some(have) = have else {
            return Ok(want.clone());
        };
        let merged = merge_tables(&have, want)?;
        if merged.is_some() && self.has(Defect::DropsPartitionsInAMerge) {
            lock(&self.server.partitions).remove(&want.name);
        }
        let changed = merged.is_some();
        let mut merged = merged.unwrap_or(have.clone());
        if self.has(Defect::NeverWidens) {
            merged.columns = retyped(&merged.columns, &have.columns);
        }
        if self.has(Defect::NarrowsAgain) && !changed {
            merged.columns = retyped(&merged.columns, &want.columns);
        }
        if self.has(Defect::MovesTables) {
            merged.location.clone_from(&want.location);
        }
        Ok(merged)
    }
}

/// The columns with the types that they have in the other schema.
fn retyped(columns: &SchemaRef, other: &SchemaRef) -> SchemaRef {
    let fields = columns.fields().iter().map(|field| {
        let other = other.field_with_name(field.name()).ok();
        other.map_or_else(|| field.as_ref().clone(), Field::clone)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[async_trait]
impl Catalog for Double {
    fn fold(&self, name: &str) -> Result<String> {
        if name.is_empty() && self.has(Defect::RefusesWithoutAHint) {
            return Err(Error::config("an empty name"));
        }
        if name.is_empty() {
            return Err(Error::config("an empty name").hint("call it `unnamed`"));
        }
        Ok(name.to_lowercase())
    }

    fn storable(&self, schema: &Schema) -> Result<SchemaRef> {
        let mut fields: Vec<Field> = Vec::new();
        for field in schema.fields() {
            let name = self.fold(field.name())?;
            if fields.iter().any(|other| *other.name() == name) {
                return Err(Error::schema(format!("two columns are called `{name}`")));
            }
            fields.push(Field::new(name, field.data_type().clone(), true));
        }
        Ok(Arc::new(Schema::new(fields)))
    }

    async fn databases(&self) -> Result<Vec<String>> {
        let tables = lock(&self.server.tables);
        let mut names: Vec<_> = tables.keys().map(|name| name.database.clone()).collect();
        names.dedup();
        Ok(names)
    }

    async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let tables = lock(&self.server.tables);
        let names = tables.keys().filter(|name| name.database == database);
        let mut names: Vec<_> = names.map(|name| name.table.clone()).collect();
        if self.has(Defect::ListsBackwards) {
            names.reverse();
        }
        Ok(names)
    }

    async fn table(&self, name: &TableName) -> Result<Option<CatalogTable>> {
        let mut found = self.find(name);
        if let Some(table) = &mut found {
            if self.has(Defect::TurnsKeysRound) {
                table.partition_keys.reverse();
            }
            if let TableFormat::Csv { header, .. } = &mut table.format {
                *header &= !self.has(Defect::ForgetsHeaders);
            }
        }
        Ok(found)
    }

    async fn merge(&self, table: &CatalogTable) -> Result<()> {
        if self.has(Defect::LosesUpdates) {
            let have = self.find(&table.name);
            tokio::task::yield_now().await;
            let merged = self.merged(have, table)?;
            lock(&self.server.tables).insert(table.name.clone(), merged);
            return Ok(());
        }
        let mut tables = lock(&self.server.tables);
        let have = tables.get(&table.name).cloned();
        let merged = self.merged(have, table);
        if let (true, Err(_), Some(have)) = (
            self.has(Defect::ChangesHalf),
            &merged,
            tables.get_mut(&table.name),
        ) {
            let mut fields: Vec<_> = have.columns.fields().to_vec();
            let new = table.columns.fields().iter();
            let new = new.filter(|field| have.columns.field_with_name(field.name()).is_err());
            fields.extend(new.cloned());
            have.columns = Arc::new(Schema::new(fields));
        }
        tables.insert(table.name.clone(), merged?);
        Ok(())
    }

    async fn add_partitions(&self, table: &TableName, partitions: &[TablePartition]) -> Result<()> {
        if self.find(table).is_none() {
            return match self.has(Defect::TakesPartitionsOfNothing) {
                true => Ok(()),
                false => Err(Error::not_found("no such table")),
            };
        }
        let mut all = lock(&self.server.partitions);
        let known = all.entry(table.clone()).or_default();
        for TablePartition { values, location } in partitions {
            let mut values = values.clone();
            if self.has(Defect::TrimsValues) {
                for text in values.iter_mut().flatten() {
                    *text = text.trim().to_owned();
                }
            }
            if self.has(Defect::MovesPartitions) || !known.contains_key(&values) {
                known.insert(values, location.clone());
            }
        }
        Ok(())
    }

    async fn partitions(
        &self,
        table: &CatalogTable,
        predicates: &[Predicate],
    ) -> Result<Vec<TablePartition>> {
        let all = lock(&self.server.partitions);
        let keys = &table.partition_keys;
        let found = all.get(&table.name).into_iter().flatten();
        let found = found.map(|(values, location)| TablePartition {
            values: values.clone(),
            location: location.clone(),
        });
        let mut found: Vec<_> = found
            .filter(|partition| may_match_all(predicates, keys, &partition.values))
            .filter(|partition| {
                !self.has(Defect::ComparesNumbersAsTexts)
                    || predicates
                        .iter()
                        .all(|p| less_as_text(p, &partition.values))
            })
            .collect();
        if self.has(Defect::SortsByOneKey) {
            found.sort_by(|a, b| (&a.values[0], &a.location).cmp(&(&b.values[0], &b.location)));
        }
        if self.has(Defect::GivesOnePage) {
            found.truncate(1000);
        }
        Ok(found)
    }

    async fn drop_partitions(&self, table: &TableName, values: &[Values]) -> Result<()> {
        if self.has(Defect::RefusesWhatIsNotThere) && self.find(table).is_none() {
            return Err(Error::not_found("no such table"));
        }
        let most = match self.has(Defect::DropsOneBatch) {
            true => 25,
            false => usize::MAX,
        };
        let mut all = lock(&self.server.partitions);
        if let Some(known) = all.get_mut(table) {
            values
                .iter()
                .take(most)
                .for_each(|values| drop(known.remove(values)));
        }
        Ok(())
    }

    async fn drop_table(&self, name: &TableName) -> Result<bool> {
        if !self.has(Defect::KeepsPartitionsOfDroppedTables) {
            lock(&self.server.partitions).remove(name);
        }
        Ok(lock(&self.server.tables).remove(name).is_some())
    }
}

/// `9 < 10`, wrongly.
fn less_as_text(predicate: &Predicate, values: &Values) -> bool {
    match (predicate, values.first()) {
        (
            Predicate::Compare {
                column,
                op: Comparison::Lt,
                value: Literal::Int(literal),
            },
            Some(Some(text)),
        ) if column == "n" => *text < literal.to_string(),
        _ => true,
    }
}
