//! How fast NDJSON and CSV become Arrow on one core, beside Arrow's own readers.
//!
//! `cargo run --release -p tidegate-formats --example decode_speed [rows]`

#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_precision_loss)]

use std::hint::black_box;
use std::io::Cursor;
use std::sync::Arc;
use std::time::Instant;

use arrow_schema::{DataType, Field, Schema, SchemaRef, TimeUnit};
use bytes::Bytes;
use tidegate_core::{Result, Scan};
use tidegate_formats::{Chunk, CsvOptions, Decoder, Encoder, Format, Position, Splitter};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("user_id", DataType::Int64, true),
        Field::new("name", DataType::Utf8, true),
        Field::new("email", DataType::Utf8, true),
        Field::new("country", DataType::Utf8, true),
        Field::new("amount", DataType::Float64, true),
        Field::new("quantity", DataType::Int32, true),
        Field::new("active", DataType::Boolean, true),
        Field::new(
            "created_at",
            DataType::Timestamp(TimeUnit::Microsecond, Some("+00:00".into())),
            true,
        ),
        Field::new("comment", DataType::Utf8, true),
    ]))
}

fn ndjson(rows: u64) -> Bytes {
    use std::fmt::Write;
    let countries = ["DE", "FR", "US", "JP", "BR"];
    let mut text = String::new();
    let mut state = 0x2545_F491_4F6C_DD1Du64;
    for id in 0..rows {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let user = state % 1_000_000;
        let (amount, cents) = (state % 10_000, state % 100);
        writeln!(
            text,
            r#"{{"id":{id},"user_id":{user},"name":"User number {user}","email":"user{user}@example.com","country":"{}","amount":{amount}.{cents:02},"quantity":{},"active":{},"created_at":"2024-{:02}-{:02}T{:02}:{:02}:{:02}Z","comment":"order {id} of this customer, nothing special"}}"#,
            countries[(user % 5) as usize],
            user % 50,
            user.is_multiple_of(3),
            user % 12 + 1,
            user % 28 + 1,
            user % 24,
            user % 60,
            user % 59,
        )
        .unwrap();
    }
    text.into()
}

fn measure(name: &str, bytes: usize, mut run: impl FnMut() -> usize) {
    let mut times: Vec<f64> = (0..7)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed().as_secs_f64()
        })
        .collect();
    times.sort_by(f64::total_cmp);
    println!("{name:32} {:7.0} MB/s", bytes as f64 / times[3] / 1e6);
}

fn chunks(format: Format, csv: &CsvOptions, bytes: &Bytes) -> Result<Vec<Chunk>> {
    let mut splitter = Splitter::new(format, csv, Position::start())?;
    splitter.push(bytes.clone());
    splitter.finish();
    let mut chunks = Vec::new();
    while let Some(chunk) = splitter.next()? {
        chunks.push(chunk);
    }
    Ok(chunks)
}

fn bench(format: Format, bytes: &Bytes) -> Result<()> {
    let csv = CsvOptions {
        header: false,
        ..CsvOptions::default()
    };
    measure(&format!("{format}: split"), bytes.len(), || {
        chunks(format, &csv, bytes).unwrap().len()
    });
    let chunks = chunks(format, &csv, bytes)?;
    let file = "bench".into();
    let some = ["id", "amount"].map(String::from).to_vec();
    for (name, columns) in [("decode all", None), ("decode 2 of 10", Some(some))] {
        let scan = Scan {
            columns,
            ..Scan::all("s")
        };
        let decoder = Decoder::new(format, &csv, schema(), &scan)?;
        measure(&format!("{format}: {name}"), bytes.len(), || {
            let mut rows = 0;
            for chunk in &chunks {
                let decoded = decoder.decode(chunk, &file).unwrap();
                assert!(decoded.rejected.is_empty());
                rows += decoded.batches[0].num_rows();
            }
            rows
        });
    }
    let decoder = Decoder::new(format, &csv, schema(), &Scan::all("s"))?;
    let batches: Vec<_> = chunks
        .iter()
        .map(|chunk| decoder.decode(chunk, &file).unwrap().batches.remove(0))
        .collect();
    measure(&format!("{format}: encode"), bytes.len(), || {
        let mut encoder = Encoder::new(format, &csv, &schema()).unwrap();
        let mut out = Vec::with_capacity(2 << 20);
        let mut total = 0;
        for batch in &batches {
            out.clear();
            encoder.encode(batch, &mut out).unwrap();
            total += out.len();
        }
        total
    });
    Ok(())
}

fn main() -> Result<()> {
    let rows = std::env::args()
        .nth(1)
        .and_then(|rows| rows.parse().ok())
        .unwrap_or(400_000);
    let lines = ndjson(rows);
    bench(Format::Ndjson, &lines)?;
    measure("ndjson: arrow-json", lines.len(), || {
        let reader = arrow_json::ReaderBuilder::new(schema()).with_batch_size(8192);
        reader
            .build(Cursor::new(&lines))
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum()
    });

    let decoder = Decoder::new(
        Format::Ndjson,
        &CsvOptions::default(),
        schema(),
        &Scan::all("s"),
    )?;
    let csv = CsvOptions {
        header: false,
        ..CsvOptions::default()
    };
    let mut encoder = Encoder::new(Format::Csv, &csv, &schema())?;
    let mut table = Vec::new();
    for batch in decoder.decode_all(lines, &"bench".into())?.batches {
        encoder.encode(&batch, &mut table)?;
    }
    let table = Bytes::from(table);
    bench(Format::Csv, &table)?;
    measure("csv: arrow-csv", table.len(), || {
        let reader = arrow_csv::ReaderBuilder::new(schema()).with_batch_size(8192);
        reader
            .build(Cursor::new(&table))
            .unwrap()
            .map(|batch| batch.unwrap().num_rows())
            .sum()
    });
    Ok(())
}
