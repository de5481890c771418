//! What comes out of Arrow is what the server's own client prints.

mod bytes;
mod server;

use std::fmt::Write as _;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::*;
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use tidegate_core::Rejected;
use tidegate_testkit::servers::MariaDb;

use super::Decoder;
use crate::discover;
use crate::sql;
use crate::types::{Column, Mapping, Type};
use crate::wire::{Address, Connection, Login, Tls, TlsMode};

/// A connection to the database `t`.
pub(crate) async fn open(server: &MariaDb) -> Connection {
    let address = Address {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(60),
        max_row: 256 << 20,
    };
    let login = Login {
        user: "root".to_owned(),
        database: Some("t".to_owned()),
        ..Login::default()
    };
    let tls = Tls::new(TlsMode::Disabled, None).unwrap();
    let mut connection = Connection::open(&address, &login, &tls).await.unwrap();
    connection
        .run("set up", "SET time_zone = '+00:00', NAMES utf8mb4")
        .await
        .unwrap();
    connection
}

/// Everything that a SELECT of these columns gives.
async fn read(
    server: &MariaDb,
    columns: Vec<Column>,
    from: &str,
    mapping: Mapping,
) -> (Vec<RecordBatch>, Rejected) {
    let names = sql::names(columns.iter().map(|column| &column.name));
    let sql = format!("SELECT {names} FROM {from}");
    query(server, columns, &sql, mapping).await
}

/// Everything that a SELECT gives, which has these columns.
async fn query(
    server: &MariaDb,
    columns: Vec<Column>,
    sql: &str,
    mapping: Mapping,
) -> (Vec<RecordBatch>, Rejected) {
    let shown = columns.len();
    let decoder = Decoder::new("t", columns, shown, mapping).unwrap();
    let mut rows = open(server).await.rows("read", sql).await.unwrap();
    decoder.expect(rows.columns()).unwrap();
    let (mut batches, mut rejected) = (Vec::new(), Rejected::default());
    while let Some(chunk) = rows.next(1 << 20, 10_000).await.unwrap() {
        let decoded = decoder.work(chunk).decode().unwrap();
        batches.extend(decoded.batches);
        rejected.extend(decoded.rejected);
    }
    (batches, rejected)
}

async fn table(server: &MariaDb, name: &str, mapping: Mapping) -> discover::Table {
    let mut connection = open(server).await;
    let tables = discover::tables(&mut connection, "t", &[name.to_owned()], mapping).await;
    tables.unwrap().remove(0)
}

/// How the judge is asked for a column: texts and bytes as hex digits, floats exactly.
fn asked(column: &Column) -> String {
    let name = sql::name(&column.name);
    match column.kind {
        Type::Float => format!("CAST({name} AS DOUBLE)"),
        // DOUBLE(10,2) is printed rounded, whatever is stored.
        Type::Double => format!("{name} * 1e0"),
        Type::Bit { .. } => format!("{name} + 0"),
        _ if column.declared.contains("zerofill") => format!("{name} + 0"),
        Type::Text
        | Type::Enum
        | Type::Set
        | Type::Json
        | Type::Uuid
        | Type::Inet4
        | Type::Inet6 => format!("HEX(CONVERT({name} USING utf8mb4))"),
        Type::Geometry => format!("HEX(ST_AsBinary({name}))"),
        Type::Binary => format!("HEX({name})"),
        _ => name,
    }
}

/// What the judge would print of our value.
fn printed(column: &Column, batch: &RecordBatch, at: usize, row: usize) -> String {
    let array = batch.column(at);
    if array.is_null(row) {
        return "NULL".to_owned();
    }
    let hex = |bytes: &[u8]| {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02X}").unwrap();
            text
        })
    };
    macro_rules! number {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(row).to_string()
        };
    }
    let fraction = |micros: i64, digits: u8| match digits {
        0 => {
            assert_eq!(micros, 0);
            String::new()
        }
        digits => format!(".{micros:06}")[..=usize::from(digits)].to_owned(),
    };
    match array.data_type() {
        DataType::Boolean => u8::from(array.as_boolean().value(row)).to_string(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 if column.kind == Type::Year => {
            format!("{:04}", array.as_primitive::<UInt16Type>().value(row))
        }
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        // Compared as numbers: see `same`.
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Date32 => {
            let date = array.as_primitive::<Date32Type>().value_as_date(row);
            date.unwrap().format("%Y-%m-%d").to_string()
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let digits = match column.kind {
                Type::DateTime { fraction } => {
                    assert_eq!(zone.as_deref(), None);
                    fraction
                }
                Type::Timestamp { fraction } => {
                    assert_eq!(zone.as_deref(), Some("UTC"));
                    fraction
                }
                kind => panic!("{kind:?}"),
            };
            let array = array.as_primitive::<TimestampMicrosecondType>();
            let time = array.value_as_datetime(row).unwrap();
            let micros = array.value(row).rem_euclid(1_000_000);
            format!(
                "{}{}",
                time.format("%Y-%m-%d %H:%M:%S"),
                fraction(micros, digits)
            )
        }
        DataType::Duration(TimeUnit::Microsecond) => {
            let Type::Time { fraction: digits } = column.kind else {
                panic!("{:?}", column.kind)
            };
            let value = array.as_primitive::<DurationMicrosecondType>().value(row);
            let (sign, all) = (if value < 0 { "-" } else { "" }, value.abs());
            let seconds = all / 1_000_000;
            format!(
                "{sign}{:02}:{:02}:{:02}{}",
                seconds / 3_600,
                seconds / 60 % 60,
                seconds % 60,
                fraction(all % 1_000_000, digits)
            )
        }
        DataType::Utf8 if column.kind.is_date() => array.as_string::<i32>().value(row).to_owned(),
        DataType::Utf8 => hex(array.as_string::<i32>().value(row).as_bytes()),
        DataType::Binary => hex(array.as_binary::<i32>().value(row)),
        kind => panic!("{kind}"),
    }
}

/// Compares what came with what the server prints, row by row.
fn same(server: &MariaDb, columns: &[Column], from: &str, batches: &[RecordBatch]) {
    let asked: Vec<_> = columns.iter().map(asked).collect();
    let expected = server.sql(&format!(
        "USE t; SET time_zone = '+00:00'; SELECT {} FROM {from}",
        asked.join(", ")
    ));
    let mut expected = expected.lines();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let line = expected.next().expect("more rows than the server has");
            let cells: Vec<_> = line.split('\t').collect();
            assert_eq!(cells.len(), columns.len());
            for (at, column) in columns.iter().enumerate() {
                let ours = printed(column, batch, at, row);
                match column.kind {
                    Type::Float if ours != "NULL" => {
                        let ours = f64::from(ours.parse::<f32>().unwrap());
                        let theirs: f64 = cells[at].parse().unwrap();
                        assert_eq!(ours.to_bits(), theirs.to_bits(), "{ours} {theirs}");
                    }
                    Type::Double if ours != "NULL" => {
                        let [ours, theirs] = [&ours, cells[at]].map(|n| n.parse::<f64>().unwrap());
                        assert_eq!(ours.to_bits(), theirs.to_bits(), "{ours} {theirs}");
                    }
                    _ => assert_eq!(ours, cells[at], "column {}", column.name),
                }
            }
        }
    }
    assert_eq!(expected.next(), None, "a row is missing");
}
