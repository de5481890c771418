//! `tidegate query`.

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Instant;

use futures::TryStreamExt;
use tidegate::core::{BatchStream, ByteSize, Cancel};
use tidegate::runtime::{RuntimeSettings, Scratch};
use tidegate::{Error, Result, config};
use tidegate_athena::{Athena, AthenaSettings};
use tidegate_sql::{Lake, LakeOptions, Resources, needs_catalog};
use tidegate_storage::Access;

use super::args::{Engine, Global, LogFormat, QueryArgs};
use super::lake::{Ground, asked_to_stop, on_all_cores, stopped};
use super::progress::counted;
use super::rows::{More, Output};
use super::text::Readers;
use super::{errors, exit, explain, load, memory, out};

/// Runs a query, and writes its rows.
pub(crate) fn query(global: &Global, args: QueryArgs) -> u8 {
    let ground = match Ground::read(global, &args.lake) {
        Ok(ground) => ground,
        Err(code) => return code,
    };
    let sql = match text_of(&args.sql) {
        Ok(sql) => sql,
        Err(error) => return fail(global, &error, ""),
    };
    let ended = match args.engine {
        Engine::Local => on_all_cores(local(global, &args, &ground, &sql)),
        Engine::Athena => athena(global, &args, &ground, &sql),
    };
    match ended {
        Ok(Some(())) => exit::DONE,
        Ok(None) => stopped(global),
        Err(error) => fail(global, &error, &sql),
    }
}

/// An error in a query is shown at its place in the text.
fn fail(global: &Global, error: &Error, sql: &str) -> u8 {
    match config::explain_text("query", sql, &errors::shown(global.log_format, error)) {
        Some(diagnostic) => errors::print_diagnostic(global, &diagnostic),
        None => errors::print(global, error, None),
    }
    exit::of_error(error)
}

fn text_of(sql: &str) -> Result<String> {
    if sql != "-" {
        return Ok(sql.to_owned());
    }
    let mut text = String::new();
    std::io::stdin()
        .lock()
        .read_to_string(&mut text)
        .map_err(|error| Error::io("the query can't be read from standard input", error))?;
    Ok(text)
}

async fn local(global: &Global, args: &QueryArgs, ground: &Ground, sql: &str) -> Result<()> {
    let began = Instant::now();
    let budget = size("--memory", &args.memory)?;
    let spill = args.spill.as_deref().map(|spill| size("--spill", spill));
    let limit = RuntimeSettings::process_memory_of(budget);
    memory::watch(
        global,
        limit,
        "raise `--memory`: the process may take half as much again, and 512 MiB",
    );
    let scratch = Scratch::new(spill.transpose()?)?;
    let catalog = match needs_catalog(sql)? {
        true => Some(ground.catalog().await?),
        false => None,
    };
    let lake = Lake::new(LakeOptions {
        catalog,
        database: args.database.clone(),
        access: Access::of(&ground.cx, None)?,
        text: Some(Arc::new(Readers::new(&ground.cx))),
        base: ground.cx.base.to_path_buf(),
        resources: Resources {
            memory: budget.0,
            scratch: scratch.path().to_path_buf(),
            spill: scratch.room(),
            partitions: ground.cx.parallelism,
        },
    });
    let query = lake.query(sql).await?;
    if args.explain {
        let explained = query.explain().await?;
        let text = explain::text(&explained, global.color_stdout());
        return out::write(&text);
    }
    let output = Output::open(
        global,
        args.format,
        args.output.as_deref(),
        args.rows,
        &query.schema(),
    )?;
    let rows = write(output, query.run()?).await?;
    let traffic = query.traffic();
    tell(
        global,
        rows,
        began,
        &format!(
            "{} read in {}",
            ByteSize(traffic.bytes()),
            counted(traffic.reads() + traffic.listings(), "request")
        ),
        serde_json::json!({
            "bytes": traffic.bytes(),
            "reads": traffic.reads(),
            "listings": traffic.listings(),
        }),
    );
    Ok(())
}

/// Athena runs on its own machines, so a query that is given up has to be stopped there.
fn athena(global: &Global, args: &QueryArgs, ground: &Ground, sql: &str) -> Result<Option<()>> {
    let began = Instant::now();
    let threads = load::io_threads()
        .map_err(|error| Error::io("the threads for I/O can't be started", error))?;
    let (canceller, cancel) = Cancel::new();
    let result = threads.block_on(async {
        let interrupt = tokio::spawn(async move {
            let _canceller = canceller;
            asked_to_stop().await;
        });
        let own = AthenaSettings {
            database: args.database.clone(),
            ..AthenaSettings::default()
        };
        let settings = AthenaSettings::of(&ground.cx, own)?;
        let price = settings.price_per_tb;
        let athena = Athena::open(&ground.cx, settings).await?;
        let sql = match args.explain {
            true => format!("EXPLAIN {sql}"),
            false => sql.to_owned(),
        };
        let ran = athena.run(&sql, &cancel).await;
        let ended = match ran {
            Ok(Some(result)) => {
                let output = Output::open(
                    global,
                    args.format,
                    args.output.as_deref(),
                    args.rows,
                    &result.schema,
                );
                let written = async { write(output?, result.batches).await };
                let statistics = result.statistics;
                tokio::select! {
                    rows = written => rows.map(|rows| Some((rows, statistics))),
                    () = cancel.cancelled() => Ok(None),
                }
            }
            Ok(None) => Ok(None),
            Err(error) => Err(error),
        };
        athena.close().await;
        interrupt.abort();
        let Some((rows, statistics)) = ended? else {
            return Ok(None);
        };
        let cost = price.map(|price| statistics.cost(price));
        let mut told = format!("{} scanned by Athena", ByteSize(statistics.bytes_scanned));
        if statistics.reused {
            told.push_str(", an earlier result given again");
        }
        if let Some(cost) = cost {
            told.push_str(&format!(", about {cost:.4} by `price_per_tb`"));
        }
        let more = serde_json::json!({ "bytes": statistics.bytes_scanned, "cost": cost });
        tell(global, rows, began, &told, more);
        Ok(Some(()))
    });
    load::end_threads(threads);
    result
}

/// Writes the rows; how many there were.
async fn write(mut output: Output, mut batches: BatchStream) -> Result<u64> {
    loop {
        let taken = match batches.try_next().await {
            Ok(None) => break,
            Ok(Some(batch)) => output.write(batch),
            Err(error) => Err(error),
        };
        match taken {
            Ok(More::Wanted) => {}
            Ok(More::Enough) => break,
            Err(error) => return Err(error),
        }
    }
    drop(batches);
    let rows = output.rows();
    output.finish()?;
    Ok(rows)
}

/// Says on stderr what a query took.
fn tell(global: &Global, rows: u64, began: Instant, more: &str, fields: serde_json::Value) {
    if global.quiet {
        return;
    }
    let seconds = began.elapsed().as_secs_f64();
    if global.log_format == LogFormat::Json {
        let told = serde_json::json!({ "rows": rows, "seconds": seconds, "read": fields });
        return errors::log("INFO", "query ended", told);
    }
    let _ = writeln!(
        std::io::stderr().lock(),
        "{} in {seconds:.2} s; {more}",
        counted(rows, "row")
    );
}

fn size(argument: &str, text: &str) -> Result<ByteSize> {
    serde_json::from_value(text.into()).map_err(|error| {
        Error::config(format!("`{argument}` is not a valid size"))
            .hint("write a number and a unit: 500 MB, 2 GB")
            .because(error)
    })
}
