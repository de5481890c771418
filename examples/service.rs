//! A service with a pipeline inside: a POST is answered once its rows are in the lake.
//!
//! ```sh
//! cargo run --example service
//! curl -X POST localhost:8080/orders -H 'content-type: application/json' \
//!     -d '[{"id": 1, "item": "bread", "cents": 250}]'
//! ```

#![allow(clippy::print_stdout, reason = "this program talks to a person")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arrow_array::{Int64Array, RecordBatch, StringArray};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::post;
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Map, json};
use tidegate::program::{self, RowsIn};
use tidegate::{Pipeline, PipelineSpec, Report, RunOptions, registry};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long a client waits for its rows to be committed.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
struct Order {
    id: i64,
    item: String,
    cents: i64,
}

fn batch(orders: &[Order]) -> tidegate::Result<RecordBatch> {
    let ids = Int64Array::from_iter_values(orders.iter().map(|order| order.id));
    let items = StringArray::from_iter_values(orders.iter().map(|order| &order.item));
    let cents = Int64Array::from_iter_values(orders.iter().map(|order| order.cents));
    Ok(RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as _),
        ("item", Arc::new(items) as _),
        ("cents", Arc::new(cents) as _),
    ])?)
}

/// Answers when the orders are committed; a client that hears anything else sends them again.
async fn take(State(rows): State<RowsIn>, Json(orders): Json<Vec<Order>>) -> StatusCode {
    let sent = async { rows.send(batch(&orders)?).await };
    match tokio::time::timeout(PATIENCE, sent).await {
        Ok(Ok(())) => StatusCode::CREATED,
        Ok(Err(_)) | Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Serves on `listener` until `stop` says so.
pub(crate) async fn run(
    directory: &Path,
    listener: TcpListener,
    mut stop: watch::Receiver<bool>,
) -> Result<Report, Box<dyn Error>> {
    let (rows, orders) = program::source("orders", batch(&[])?.schema());
    let mut registry = registry()?;
    registry.add(orders)?;
    let spec = PipelineSpec::new("orders", directory)
        .source("orders", "orders", json!({}))?
        .sink("lake", "parquet", &["orders"], json!({ "url": "lake" }))?;
    let pipeline = Pipeline::new(spec, registry, Map::new())?;

    let service = Router::new().route("/orders", post(take)).with_state(rows);
    let ending = async move {
        // Also when nobody can stop it any more.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let serving = axum::serve(listener, service).with_graceful_shutdown(ending);
    let serving = tokio::spawn(async move { serving.await });

    // It ends with the service, which holds the hand that sends: after a last commit.
    let options = RunOptions {
        state: directory.join("state").into(),
        ..RunOptions::default()
    };
    let (report, result) = pipeline.run(options).await;
    result?;
    serving.await??;
    Ok(report)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = std::env::current_dir()?.join("orders");
    std::fs::create_dir_all(&directory)?;
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    println!("listening on {}", listener.local_addr()?);
    let (hand, stop) = watch::channel(false);
    tokio::spawn(async move {
        let _ = tokio::signal::ctrl_c().await;
        let _ = hand.send(true);
        hand.closed().await;
    });
    let report = run(&directory, listener, stop).await?;
    println!("{:?} after {} epochs", report.status, report.epochs);
    Ok(())
}
