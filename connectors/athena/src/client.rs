//! What goes over the wire: four operations of Athena.

use std::sync::Arc;

use aws_sdk_athena::operation::start_query_execution::StartQueryExecutionError;
use aws_sdk_athena::types::{
    ColumnInfo, QueryExecutionContext, QueryExecutionState, ResultConfiguration,
    ResultReuseByAgeConfiguration, ResultReuseConfiguration, StatementType,
};
use tidegate_aws::{Aws, AwsSettings, SdkResultExt};
use tidegate_core::{Context, Error, Metrics, Result};

use crate::AthenaSettings;
use crate::failure::{self, Failure};
use crate::page::{Cells, cells};
use crate::statement::Statement;
use crate::statistics::Statistics;

/// GetQueryResults gives so many rows at most, the header among them (API reference).
const PAGE: i32 = 1_000;

/// Speaks with Athena under some settings.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    athena: aws_sdk_athena::Client,
    settings: Arc<AthenaSettings>,
    metrics: Arc<Metrics>,
}

/// How an execution stands.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) state: State,
    /// Whether its result begins with a row of names.
    pub(crate) header: bool,
    pub(crate) statistics: Statistics,
}

#[derive(Debug)]
pub(crate) enum State {
    /// In the queue, or running.
    Going,
    Succeeded,
    Failed(Failure),
    /// Stopped, by whom Athena doesn't say.
    Cancelled,
}

/// What GetQueryResults gave.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) columns: Vec<ColumnInfo>,
    pub(crate) rows: Vec<Cells>,
    /// Where the next page is; `None` at the end.
    pub(crate) next: Option<String>,
    /// The rows that an INSERT or a CREATE TABLE AS wrote.
    pub(crate) updated: Option<u64>,
}

impl Client {
    pub(crate) async fn connect(cx: &Context, settings: AthenaSettings) -> Result<Self> {
        settings.validate()?;
        let aws = AwsSettings::of(cx, settings.aws.as_ref())?;
        let aws = Aws::connect(&aws, &cx.metrics).await?;
        let mut config =
            aws_sdk_athena::config::Builder::from(aws.config()).interceptor(aws.retry_counter());
        config.set_endpoint_url(aws.endpoint("athena"));
        Ok(Self {
            athena: aws_sdk_athena::Client::from_conf(config.build()),
            settings: Arc::new(settings),
            metrics: Arc::clone(&cx.metrics),
        })
    }

    pub(crate) fn settings(&self) -> &AthenaSettings {
        &self.settings
    }

    /// Starts an execution and gives its id. With the same token (of 32 to 128 characters) and the
    /// same statement it is the same execution.
    pub(crate) async fn start(&self, statement: &Statement, token: &str) -> Result<String> {
        let settings = &self.settings;
        let place = QueryExecutionContext::builder()
            .set_database(settings.database.clone())
            .set_catalog(settings.catalog.clone());
        let reuse = settings.reuse_minutes()?.map(|minutes| {
            let age = ResultReuseByAgeConfiguration::builder().enabled(true);
            let age = age.max_age_in_minutes(minutes).build();
            ResultReuseConfiguration::builder()
                .result_reuse_by_age_configuration(age)
                .build()
        });
        let output = settings.output_directory()?.map(|directory| {
            let output = ResultConfiguration::builder().output_location(directory);
            output.build()
        });
        let started = self
            .athena
            .start_query_execution()
            .query_string(statement.text())
            .client_request_token(token)
            .query_execution_context(place.build())
            .set_work_group(settings.workgroup.clone())
            .set_result_configuration(output)
            .set_result_reuse_configuration(reuse)
            .send()
            .await;
        let started = started.map_err(|error| match error.as_service_error() {
            Some(StartQueryExecutionError::InvalidRequestException(refused)) => failure::refused(
                refused.message().unwrap_or_default(),
                statement.lines_before(),
            ),
            _ => tidegate_aws::error("start a query on Athena", error),
        })?;
        started
            .query_execution_id
            .ok_or_else(|| Error::data("Athena started a query and didn't say which"))
    }

    pub(crate) async fn status(&self, id: &str) -> Result<Status> {
        let told = self.athena.get_query_execution().query_execution_id(id);
        let told = told.send().await.doing("ask how a query on Athena stands");
        let told = told.map_err(|error| error.with("execution", id))?;
        let unclear = || Error::data("Athena didn't say how a query stands").with("execution", id);
        let execution = told.query_execution.ok_or_else(unclear)?;
        let status = execution.status().ok_or_else(unclear)?;
        let state = match status.state().ok_or_else(unclear)? {
            QueryExecutionState::Queued | QueryExecutionState::Running => State::Going,
            QueryExecutionState::Succeeded => State::Succeeded,
            QueryExecutionState::Failed => State::Failed(Failure::of(status)),
            QueryExecutionState::Cancelled => State::Cancelled,
            other => {
                return Err(Error::unsupported(format!(
                    "Athena says that a query is {other}, which is unknown"
                ))
                .with("execution", id));
            }
        };
        let explains = execution.substatement_type() == Some("EXPLAIN");
        Ok(Status {
            state,
            header: explains
                || matches!(execution.statement_type(), Some(StatementType::Dml) | None),
            statistics: execution
                .statistics()
                .map(Statistics::of)
                .unwrap_or_default(),
        })
    }

    pub(crate) async fn stop(&self, id: &str) -> Result<()> {
        let stop = self.athena.stop_query_execution().query_execution_id(id);
        let stopped = stop.send().await.doing("stop a query on Athena");
        stopped.map_err(|error| error.with("execution", id))?;
        Ok(())
    }

    /// A page of the result of an execution that has succeeded: the first, or the one of `token`.
    pub(crate) async fn page(
        &self,
        id: &str,
        token: Option<&str>,
        header: bool,
    ) -> Result<Fetched> {
        let page = self.athena.get_query_results();
        let page = page.query_execution_id(id).max_results(PAGE);
        let page = page.set_next_token(token.map(str::to_owned)).send().await;
        let page = page
            .doing("read the result of a query on Athena")
            .map_err(|error| error.with("execution", id))?;
        let result = page.result_set.unwrap_or_else(|| {
            // Nothing in it: that of a DDL statement.
            aws_sdk_athena::types::ResultSet::builder().build()
        });
        let metadata = result.result_set_metadata;
        let columns = metadata
            .and_then(|told| told.column_info)
            .unwrap_or_default();
        let rows = result.rows.unwrap_or_default();
        let bytes = rows.iter().flat_map(|row| row.data());
        let bytes = bytes.map(|datum| datum.var_char_value().map_or(0, str::len));
        self.metrics
            .bytes(u64::try_from(bytes.sum::<usize>()).unwrap_or(u64::MAX));
        let rows = cells(rows, &columns, header && token.is_none())
            .map_err(|error| error.with("execution", id))?;
        Ok(Fetched {
            columns,
            rows,
            next: page.next_token,
            updated: page
                .update_count
                .and_then(|count| u64::try_from(count).ok()),
        })
    }
}
