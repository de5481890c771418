//! Against a real server: what comes out of Arrow is what the server's own client prints.

use std::fmt::Write as _;
use std::time::Duration;

use arrow_array::cast::AsArray as _;
use arrow_array::types::*;
use arrow_array::{Array as _, RecordBatch};
use arrow_schema::{DataType, TimeUnit};
use tidegate_core::Rejected;
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::Decoder;
use crate::discover;
use crate::types::{Column, Mapping, Type, ZeroDates};
use crate::wire::{Address, Connection, Login, Tls, TlsMode};

pub(super) async fn open(server: &MariaDb) -> Connection {
    let address = Address {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
        connect_timeout: Duration::from_secs(10),
        read_timeout: Duration::from_secs(60),
    };
    let login = Login {
        user: "root".to_owned(),
        password: None,
        database: Some("t".to_owned()),
        clear: false,
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
    let names: Vec<_> = columns
        .iter()
        .map(|column| column.select(mapping))
        .collect();
    let sql = format!("SELECT {} FROM {from}", names.join(", "));
    let shown = columns.len();
    let decoder = Decoder::new("t", columns, shown, mapping).unwrap();
    let mut rows = open(server).await.rows("read", &sql).await.unwrap();
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
    let name = column.select(Mapping::default());
    match column.kind {
        Type::Float => format!("CAST({name} AS DOUBLE)"),
        Type::Bit { .. } => format!("{name} + 0"),
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
                    Type::Float | Type::Double if ours != "NULL" => assert_eq!(
                        ours.parse::<f64>().unwrap().to_bits(),
                        match column.kind {
                            Type::Float => f64::from(cells[at].parse::<f64>().unwrap() as f32),
                            _ => cells[at].parse::<f64>().unwrap(),
                        }
                        .to_bits(),
                        "{} {ours} {}",
                        column.name,
                        cells[at]
                    ),
                    _ => assert_eq!(ours, cells[at], "column {}", column.name),
                }
            }
        }
    }
    assert_eq!(expected.next(), None, "a row is missing");
}

const EVERY_TYPE: &str = "
CREATE TABLE t.every (
    id BIGINT NOT NULL PRIMARY KEY,
    truth TINYINT(1), tiny TINYINT, tinyu TINYINT UNSIGNED, small SMALLINT, smallu SMALLINT UNSIGNED,
    medium MEDIUMINT, mediumu MEDIUMINT UNSIGNED ZEROFILL, `int` INT, intu INT UNSIGNED,
    big BIGINT, bigu BIGINT UNSIGNED,
    money DECIMAL(38,2), wide DECIMAL(65,30), whole DECIMAL(20), part DECIMAL(6,6), long39 DECIMAL(39,0),
    single FLOAT, `double` DOUBLE, rounded DOUBLE(10,2),
    bit1 BIT, bit9 BIT(9), bit64 BIT(64), year YEAR,
    date DATE, time TIME, time6 TIME(6), datetime DATETIME, datetime6 DATETIME(6), datetime3 DATETIME(3),
    stamp TIMESTAMP NULL, stamp6 TIMESTAMP(6) NULL,
    chars CHAR(10) CHARACTER SET utf8mb4, texts VARCHAR(300) CHARACTER SET utf8mb4,
    latin VARCHAR(30) CHARACTER SET latin1, wide_chars VARCHAR(30) CHARACTER SET ucs2,
    tinytext TINYTEXT CHARACTER SET utf8mb4, longtext LONGTEXT CHARACTER SET utf8mb4,
    bytes BINARY(6), varbytes VARBINARY(300), `blob` BLOB,
    choice ENUM('red', 'it''s', 'gr\u{fc}n', '') CHARACTER SET utf8mb4,
    choices SET('a', 'b', 'c d') CHARACTER SET utf8mb4,
    json JSON, place POINT, shape GEOMETRY,
    uuid UUID, inet4 INET4, inet6 INET6,
    doubled BIGINT AS (`int` * 2) VIRTUAL, stored BIGINT AS (`int` + 1) STORED,
    hidden INT INVISIBLE
) CHARACTER SET utf8mb4;
INSERT INTO t.every (id) VALUES (1);
INSERT INTO t.every VALUES (2,
    0, -128, 0, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0,
    -999999999999999999999999999999999999.99, -99999999999999999999999999999999999.999999999999999999999999999999,
    -99999999999999999999, -0.999999, -999999999999999999999999999999999999999,
    -3.402823466e38, -1.7976931348623157e308, -99999999.99,
    b'0', b'0', b'0', 0,
    '1000-01-01', '-838:59:59', '-838:59:59.999999', '1000-01-01 00:00:00', '0000-01-01 00:00:00.000001',
    '1000-01-01 00:00:00.001', '1970-01-01 00:00:01', '1970-01-01 00:00:01.000001',
    '', '', '', '', '', '', '', '', '', '', '', '{}', ST_GeomFromText('POINT(0 0)'),
    ST_GeomFromText('GEOMETRYCOLLECTION EMPTY'),
    '00000000-0000-0000-0000-000000000000', '0.0.0.0', '::', DEFAULT, DEFAULT, -1);
INSERT INTO t.every VALUES (3,
    1, 127, 255, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807,
    18446744073709551615,
    999999999999999999999999999999999999.99, 99999999999999999999999999999999999.999999999999999999999999999999,
    99999999999999999999, 0.999999, 999999999999999999999999999999999999999,
    3.402823466e38, 1.7976931348623157e308, 99999999.99,
    b'1', b'111111111', 0xFFFFFFFFFFFFFFFF, 2155,
    '9999-12-31', '838:59:59', '838:59:59.999999', '9999-12-31 23:59:59', '9999-12-31 23:59:59.999999',
    '9999-12-31 23:59:59.999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.999999',
    '\u{1F980}23456789\u{1F30A}', CONCAT('\u{1F980}', REPEAT('\u{e4}', 299)), '\u{20ac}\u{e4}\u{df} ', '\u{e4}\u{4e2d}',
    REPEAT('\u{1F980}', 63), REPEAT('x\t\n\\\\\u{0}', 20000), 'a\u{0}b', REPEAT(0xFF00, 150), REPEAT(0x80, 60000),
    'gr\u{fc}n', 'a,c d', '{\"k\": [1, \"\u{1F980}\"]}', ST_GeomFromText('POINT(1.5 -2)', 4326),
    ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0))'),
    'ffffffff-ffff-ffff-ffff-ffffffffffff', '255.255.255.255', 'ffff:ffff::1', DEFAULT, DEFAULT, 1);
INSERT INTO t.every VALUES (4,
    NULL, 1, 1, 1, 1, 1, 1, 1073741824, 1, 1, 9223372036854775808,
    -0.01, 0.000000000000000000000000000001, 0, 0.000001, 0,
    1.17549435e-38, 4.9406564584124654e-324, -0.01,
    b'1', b'100000000', 0x8000000000000000, 1901,
    '2024-02-29', '00:00:00', '-00:00:00.000001', '2024-02-29 12:00:00', '1969-12-31 23:59:59.999999',
    '1970-01-01 00:00:00.100', '2024-03-31 01:30:00', '2024-10-27 00:30:00.500000',
    'trailing', 'trailing  ', 'x', 'x', ' ', ' ', 'ab', 'ab\u{0}', '\u{0}', 'it''s', 'b', '[]',
    ST_GeomFromText('POINT(1e300 -0.0)'), ST_GeomFromText('LINESTRING(0 0,1 1)'),
    '12345678-9abc-def0-1234-56789abcdef0', '127.0.0.1', '::ffff:1.2.3.4', DEFAULT, DEFAULT, 0);
";

#[tokio::test]
async fn every_type_comes_as_the_server_prints_it() {
    let server = mariadb();
    server.sql("CREATE DATABASE t CHARACTER SET utf8mb4");
    server.sql(&format!("SET time_zone = '+00:00'; {EVERY_TYPE}"));
    let mapping = Mapping::default();
    let table = table(&server, "every", mapping).await;
    assert_eq!(table.columns.len(), 53);
    assert_eq!(table.key.as_ref().unwrap().index, "PRIMARY");
    let from = "every ORDER BY id";
    let (batches, rejected) = read(&server, table.columns.clone(), from, mapping).await;
    assert_eq!(rejected.rows, []);
    assert_eq!(batches[0].num_rows(), 4);
    same(&server, &table.columns, from, &batches);

    let text = Mapping {
        zero_dates: ZeroDates::Text,
        tinyint1_to_bool: false,
    };
    let columns = self::table(&server, "every", text).await.columns;
    let (batches, _) = read(&server, columns.clone(), from, text).await;
    same(&server, &columns, from, &batches);
}
