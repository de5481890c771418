//! The requests, held to Glue's limits, and what their errors mean.

use aws_sdk_glue::Client;
use aws_sdk_glue::types::{
    BatchUpdatePartitionRequestEntry, DatabaseInput, ErrorDetail, Partition, PartitionInput,
    PartitionValueList, Table, TableInput,
};
use tidegate_aws::{Aws, Refusal, SdkResultExt};
use tidegate_core::{Error, Result, TableName};

use crate::table::built;

/// The most partitions of one BatchCreatePartition or BatchUpdatePartition.
pub(crate) const MOST_PUT: usize = 100;

/// The most partitions of one BatchGetPartition.
pub(crate) const MOST_GOT: usize = 1000;

/// The most partitions of one BatchDeletePartition.
pub(crate) const MOST_DELETED: usize = 25;

/// The most databases or tables of a page.
const PAGE: i32 = 100;

/// The most partitions of a page.
const PARTITIONS_PAGE: i32 = 1000;

/// Glue, for one catalog.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    client: Client,
    catalog: Option<String>,
}

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is done.
    Done,
    /// Somebody else was faster: look again.
    LookAgain,
}

impl Api {
    pub(crate) fn new(aws: &Aws, catalog: Option<String>) -> Self {
        let config = aws_sdk_glue::config::Builder::from(aws.config());
        let config = config.interceptor(aws.retry_counter()).build();
        Self {
            client: Client::from_conf(config),
            catalog,
        }
    }

    pub(crate) async fn databases(&self) -> Result<Vec<String>> {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let request = self.client.get_databases().max_results(PAGE);
            let request = request.set_catalog_id(self.catalog.clone());
            let page = request.set_next_token(token).send().await;
            let page = page.doing("list the databases of Glue")?;
            let list = page.database_list().iter();
            names.extend(list.map(|database| database.name().to_owned()));
            token = page.next_token;
            if token.as_deref().is_none_or(str::is_empty) {
                return Ok(names);
            }
        }
    }

    /// The names of a database's tables; none if it isn't there.
    pub(crate) async fn tables(&self, database: &str) -> Result<Vec<String>> {
        let (mut names, mut token) = (Vec::new(), None);
        loop {
            let request = self.client.get_tables().max_results(PAGE);
            let request = request.set_catalog_id(self.catalog.clone());
            let request = request.database_name(database).set_next_token(token);
            let page = match request.send().await {
                Err(error) if is(&error, |error| error.is_entity_not_found_exception()) => {
                    return Ok(Vec::new());
                }
                page => page
                    .doing("list the tables of a database of Glue")
                    .map_err(|error| error.with("database", database))?,
            };
            let list = page.table_list().iter();
            names.extend(list.map(|table| table.name().to_owned()));
            token = page.next_token;
            if token.as_deref().is_none_or(str::is_empty) {
                return Ok(names);
            }
        }
    }

    /// The table, if it and its database are there.
    pub(crate) async fn table(&self, name: &TableName) -> Result<Option<Table>> {
        let request = self.client.get_table();
        let request = request.set_catalog_id(self.catalog.clone());
        let request = request.database_name(&name.database).name(&name.table);
        match request.send().await {
            Ok(answer) => Ok(answer.table),
            Err(error) if is(&error, |error| error.is_entity_not_found_exception()) => Ok(None),
            failed => of(name, failed.doing("read a table of Glue")).map(|_| None),
        }
    }

    /// Makes the table, and its database if that isn't there.
    pub(crate) async fn create_table(&self, name: &TableName, input: TableInput) -> Result<Change> {
        let request = self.client.create_table();
        let request = request.set_catalog_id(self.catalog.clone());
        let request = request.database_name(&name.database).table_input(input);
        match request.send().await {
            Ok(_) => Ok(Change::Done),
            Err(error)
                if is(&error, |error| {
                    error.is_already_exists_exception()
                        || error.is_concurrent_modification_exception()
                }) =>
            {
                Ok(Change::LookAgain)
            }
            Err(error) if is(&error, |error| error.is_entity_not_found_exception()) => {
                of(name, self.create_database(&name.database).await)?;
                Ok(Change::LookAgain)
            }
            failed => of(name, failed.doing("make a table in Glue")).map(|_| Change::Done),
        }
    }

    async fn create_database(&self, name: &str) -> Result<()> {
        let request = self.client.create_database();
        let request = request.set_catalog_id(self.catalog.clone());
        let input = built(DatabaseInput::builder().name(name).build())?;
        match request.database_input(input).send().await {
            Err(error)
                if is(&error, |error| {
                    error.is_already_exists_exception()
                        || error.is_concurrent_modification_exception()
                }) =>
            {
                Ok(())
            }
            result => result.doing("make a database in Glue").map(drop),
        }
    }

    /// Replaces the table if it still has this version.
    pub(crate) async fn update_table(
        &self,
        name: &TableName,
        input: TableInput,
        version: Option<&str>,
    ) -> Result<Change> {
        let request = self.client.update_table();
        let request = request.set_catalog_id(self.catalog.clone());
        let request = request.database_name(&name.database).table_input(input);
        // Else each change would leave a version behind, of which there may be so many.
        let request = request.skip_archive(true);
        let request = request.set_version_id(version.map(str::to_owned));
        match request.send().await {
            Ok(_) => Ok(Change::Done),
            Err(error)
                if is(&error, |error| {
                    error.is_concurrent_modification_exception()
                        || error.is_entity_not_found_exception()
                }) =>
            {
                Ok(Change::LookAgain)
            }
            failed => of(name, failed.doing("change a table of Glue")).map(|_| Change::Done),
        }
    }

    /// Forgets the table; says whether it was there.
    pub(crate) async fn delete_table(&self, name: &TableName) -> Result<bool> {
        let request = self.client.delete_table();
        let request = request.set_catalog_id(self.catalog.clone());
        let request = request.database_name(&name.database).name(&name.table);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) if is(&error, |error| error.is_entity_not_found_exception()) => Ok(false),
            failed => of(name, failed.doing("drop a table of Glue")).map(|_| false),
        }
    }

    /// A page of partitions and the token of the next; without their columns if `brief`. `None` if
    /// Glue doesn't take the expression.
    pub(crate) async fn partitions(
        &self,
        name: &TableName,
        expression: Option<&str>,
        brief: bool,
        token: Option<String>,
    ) -> Result<Option<(Vec<Partition>, Option<String>)>> {
        let request = self.client.get_partitions().max_results(PARTITIONS_PAGE);
        let request = request.set_catalog_id(self.catalog.clone());
        let request = request
            .database_name(&name.database)
            .table_name(&name.table);
        let request = request.exclude_column_schema(brief).set_next_token(token);
        match request
            .set_expression(expression.map(str::to_owned))
            .send()
            .await
        {
            Ok(page) => {
                let token = page.next_token.filter(|token| !token.is_empty());
                Ok(Some((page.partitions.unwrap_or_default(), token)))
            }
            Err(error)
                if expression.is_some()
                    && is(&error, |error| {
                        // The second one for a NULL among numbers, which isn't one to Glue.
                        error.is_invalid_input_exception() || error.is_invalid_state_exception()
                    }) =>
            {
                Ok(None)
            }
            failed => {
                of(name, failed.doing("list the partitions of a table of Glue")).map(|_| None)
            }
        }
    }

    /// Adds at most [`MOST_PUT`] partitions. Gives the values of those that are there already.
    pub(crate) async fn create_partitions(
        &self,
        name: &TableName,
        partitions: Vec<PartitionInput>,
    ) -> Result<Vec<Vec<String>>> {
        const THERE: &str = "AlreadyExistsException";
        let values = |input: &PartitionInput| input.values().to_vec();
        let all: Vec<_> = partitions.iter().map(values).collect();
        let request = self.client.batch_create_partition();
        let request = request.set_catalog_id(self.catalog.clone());
        let request = request
            .database_name(&name.database)
            .table_name(&name.table);
        let request = request.set_partition_input_list(Some(partitions));
        let doing = "add partitions to a table of Glue";
        let answer = match request.send().await {
            Err(error) if is(&error, |error| error.is_already_exists_exception()) => {
                return Ok(all);
            }
            answer => of(name, answer.doing(doing))?,
        };
        let errors = answer.errors().iter();
        let errors = errors.map(|error| (error.partition_values(), error.error_detail()));
        of(name, failures(doing, THERE, errors.clone()))?;
        Ok(errors.map(|(values, _)| values.to_vec()).collect())
    }

    /// At most [`MOST_GOT`] partitions, with their columns, without those that aren't there.
    pub(crate) async fn partitions_of(
        &self,
        name: &TableName,
        mut values: Vec<PartitionValueList>,
    ) -> Result<Vec<Partition>> {
        let mut found = Vec::with_capacity(values.len());
        while !values.is_empty() {
            let request = self.client.batch_get_partition();
            let request = request.set_catalog_id(self.catalog.clone());
            let request = request
                .database_name(&name.database)
                .table_name(&name.table);
            let asked = values.len();
            let answer = request.set_partitions_to_get(Some(values)).send().await;
            let answer = of(name, answer.doing("read partitions of a table of Glue"))?;
            values = answer.unprocessed_keys.unwrap_or_default();
            if values.len() >= asked {
                return Err(
                    Error::transient("Glue processed none of the partitions asked for")
                        .with("table", name),
                );
            }
            found.extend(answer.partitions.unwrap_or_default());
        }
        Ok(found)
    }

    /// Replaces at most [`MOST_PUT`] partitions. One that isn't there any more is fine.
    pub(crate) async fn update_partitions(
        &self,
        name: &TableName,
        entries: Vec<BatchUpdatePartitionRequestEntry>,
    ) -> Result<()> {
        let request = self.client.batch_update_partition();
        let request = request.set_catalog_id(self.catalog.clone());
        let request = request
            .database_name(&name.database)
            .table_name(&name.table);
        let doing = "change the columns of a Glue table's partitions";
        let answer = request.set_entries(Some(entries)).send().await;
        let answer = of(name, answer.doing(doing))?;
        let errors = answer.errors().iter();
        let errors = errors.map(|error| (error.partition_value_list(), error.error_detail()));
        of(name, failures(doing, "EntityNotFoundException", errors))
    }

    /// Forgets at most [`MOST_DELETED`] partitions. What isn't there is fine.
    pub(crate) async fn delete_partitions(
        &self,
        name: &TableName,
        partitions: Vec<PartitionValueList>,
    ) -> Result<()> {
        let request = self.client.batch_delete_partition();
        let request = request.set_catalog_id(self.catalog.clone());
        let request = request
            .database_name(&name.database)
            .table_name(&name.table);
        let request = request.set_partitions_to_delete(Some(partitions));
        let doing = "drop partitions of a table of Glue";
        let answer = match request.send().await {
            Err(error) if is(&error, |error| error.is_entity_not_found_exception()) => {
                return Ok(());
            }
            answer => of(name, answer.doing(doing))?,
        };
        let errors = answer.errors().iter();
        let errors = errors.map(|error| (error.partition_values(), error.error_detail()));
        of(name, failures(doing, "EntityNotFoundException", errors))
    }
}

fn is<E, R>(error: &aws_sdk_glue::error::SdkError<E, R>, is: impl FnOnce(&E) -> bool) -> bool {
    error.as_service_error().is_some_and(is)
}

fn of<T>(name: &TableName, result: Result<T>) -> Result<T> {
    result.map_err(|error| error.with("table", name))
}

/// Batches succeed as a whole (HTTP 200) even if some of their parts fail: the first of those that
/// isn't `fine` is the error.
fn failures<'a>(
    doing: &str,
    fine: &str,
    errors: impl Iterator<Item = (&'a [String], Option<&'a ErrorDetail>)>,
) -> Result<()> {
    let (mut count, mut first) = (0_usize, None);
    for (values, detail) in errors {
        let code = detail.and_then(ErrorDetail::error_code);
        if code == Some(fine) {
            continue;
        }
        count += 1;
        first.get_or_insert_with(|| {
            let refusal = Refusal {
                code: code.map(str::to_owned),
                message: detail
                    .and_then(ErrorDetail::error_message)
                    .map(str::to_owned),
                // Its code is all that tells; without one it is an answer that makes no sense.
                ..Refusal::default()
            };
            refusal
                .into_error(doing)
                .with("partition", values.join("/"))
        });
    }
    match first {
        None => Ok(()),
        Some(error) if count == 1 => Err(error),
        Some(error) => Err(error.with("partitions that failed", count)),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::ErrorKind;

    use super::*;

    fn outcome(codes: &[&str]) -> Result<()> {
        let details: Vec<_> = codes
            .iter()
            .map(|code| ErrorDetail::builder().error_code(*code).build())
            .collect();
        let values = ["2024".to_owned()];
        let errors = details.iter().map(|detail| (&values[..], Some(detail)));
        failures("add partitions", "AlreadyExistsException", errors)
    }

    #[test]
    fn errors_within_a_good_answer_are_errors() {
        assert!(outcome(&[]).is_ok());
        assert!(outcome(&["AlreadyExistsException"; 3]).is_ok());
        for (code, kind) in [
            ("InternalServiceException", ErrorKind::Transient),
            ("AccessDeniedException", ErrorKind::Auth),
            ("EntityNotFoundException", ErrorKind::NotFound),
        ] {
            let error = outcome(&["AlreadyExistsException", code, code]).expect_err(code);
            assert_eq!(error.kind(), kind);
            assert!(error.to_string().contains("partition: 2024"), "{error}");
            assert!(error.to_string().contains("failed: 2"), "{error}");
        }
    }
}
