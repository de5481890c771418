//! An independent witness: `mysql_async` reads the same tables, and says the same of every value.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Decimal256Type, DurationMicrosecondType, Float32Type, Float64Type,
    Int8Type, Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, RecordBatch};
use arrow_schema::{DataType, Field, TimeUnit};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Row, Value};
use serde_json::json;
use tidegate_core::Scan;
use tidegate_testkit::servers::{MariaDb, mariadb};

use crate::support::{config, open, plan, read};

/// What the witness reads.
pub(crate) async fn testimony(url: &str, sql: &str) -> Vec<Vec<Value>> {
    let opts = OptsBuilder::from_opts(Opts::from_url(url).unwrap()).setup(vec![
        "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = ''",
    ]);
    let mut conn = Conn::new(opts).await.unwrap();
    let rows: Vec<Row> = conn.exec(sql, ()).await.unwrap();
    conn.disconnect().await.unwrap();
    rows.into_iter().map(Row::unwrap).collect()
}

/// Compares batches with what the witness says of the same rows and columns, in the same order.
pub(crate) fn agree(batches: &[RecordBatch], testimony: &[Vec<Value>], what: &str) {
    let many: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(many, testimony.len(), "{what}: rows");
    let mut theirs = testimony.iter();
    for batch in batches {
        for row in 0..batch.num_rows() {
            let theirs = theirs.next().unwrap();
            assert_eq!(theirs.len(), batch.num_columns(), "{what}: columns");
            for (at, value) in theirs.iter().enumerate() {
                let schema = batch.schema();
                let field = schema.field(at);
                let (ours, theirs) = (ours(batch.column(at), row), told(field, value));
                assert_eq!(ours, theirs, "{what}: {field:?}, row {row}");
            }
        }
    }
}

const NULL: &str = "∅";

/// A value of ours, in a form that leaves no doubt.
fn ours(array: &dyn Array, row: usize) -> String {
    use DataType as T;
    if array.is_null(row) {
        return NULL.to_owned();
    }
    macro_rules! number {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(row).to_string()
        };
    }
    match array.data_type() {
        T::Boolean => array.as_boolean().value(row).to_string(),
        T::Int8 => number!(Int8Type),
        T::Int16 => number!(Int16Type),
        T::Int32 => number!(Int32Type),
        T::Int64 => number!(Int64Type),
        T::UInt8 => number!(UInt8Type),
        T::UInt16 => number!(UInt16Type),
        T::UInt32 => number!(UInt32Type),
        T::UInt64 => number!(UInt64Type),
        T::Float32 => {
            let value = array.as_primitive::<Float32Type>().value(row);
            format!("{value:e} {:08X}", value.to_bits())
        }
        T::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            format!("{value:e} {:016X}", value.to_bits())
        }
        T::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        T::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        T::Date32 => number!(Date32Type),
        T::Timestamp(TimeUnit::Microsecond, _) => number!(TimestampMicrosecondType),
        T::Duration(TimeUnit::Microsecond) => number!(DurationMicrosecondType),
        T::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        T::Binary => hex::encode_upper(array.as_binary::<i32>().value(row)),
        other => panic!("{other} comes of no server"),
    }
}

/// The same of the witness' values, made of the protocol's alone.
fn told(field: &Field, value: &Value) -> String {
    use DataType as T;
    match (field.data_type(), value) {
        (_, Value::NULL) => NULL.to_owned(),
        (T::Boolean, Value::Int(number)) => match number {
            0 => "false".to_owned(),
            1 => "true".to_owned(),
            other => other.to_string(),
        },
        (T::Boolean, Value::Bytes(bits)) => (bits != &[0]).to_string(),
        (T::UInt64, Value::Bytes(bits)) => bits
            .iter()
            .fold(0_u64, |all, byte| all << 8 | u64::from(*byte))
            .to_string(),
        (_, Value::Int(number)) => number.to_string(),
        (_, Value::UInt(number)) => number.to_string(),
        (_, Value::Float(value)) => format!("{value:e} {:08X}", value.to_bits()),
        (_, Value::Double(value)) => format!("{value:e} {:016X}", value.to_bits()),
        (T::Date32, Value::Date(year, month, day, 0, 0, 0, 0)) => {
            days(*year, *month, *day).to_string()
        }
        (_, Value::Date(year, month, day, hour, minute, second, micros)) => {
            micros_of(days(*year, *month, *day), *hour, *minute, *second, *micros).to_string()
        }
        (_, Value::Time(negative, days, hour, minute, second, micros)) => {
            let span = micros_of(i64::from(*days), *hour, *minute, *second, *micros);
            (if *negative { -span } else { span }).to_string()
        }
        (T::Binary, Value::Bytes(bytes)) if is_geometry(field) => hex::encode_upper(&bytes[4..]),
        (T::Binary, Value::Bytes(bytes)) => hex::encode_upper(bytes),
        // ZEROFILL prints more zeros.
        (T::Decimal128(..) | T::Decimal256(..), Value::Bytes(text)) => {
            let text = String::from_utf8(text.clone()).unwrap();
            let digits = text.trim_start_matches('0');
            match digits.starts_with(|c: char| c.is_ascii_digit()) || text.starts_with('-') {
                true => digits.to_owned(),
                false => format!("0{digits}"),
            }
        }
        (_, Value::Bytes(text)) => String::from_utf8(text.clone()).unwrap(),
    }
}

/// In front of those stands an SRID, which is no part of WKB.
fn is_geometry(field: &Field) -> bool {
    let declared = field.metadata().get("mysql.type");
    declared.is_some_and(|declared| {
        ["geometry", "point", "linestring", "polygon", "multi"]
            .iter()
            .any(|kind| declared.starts_with(kind))
    })
}

/// Days from 1970 to a day of the Gregorian calendar, which also holds before it was made.
fn days(year: u16, month: u8, day: u8) -> i64 {
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let year = i64::from(year);
    let mut days = i64::from(day) - 1;
    for before in 1..month {
        days += match before {
            2 => 28 + i64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
    }
    for before in year.min(1970)..year.max(1970) {
        let long = 365 + i64::from(is_leap(before));
        days += if year > 1970 { long } else { -long };
    }
    days
}

fn micros_of(days: i64, hour: u8, minute: u8, second: u8, micros: u32) -> i64 {
    let seconds = ((days * 24 + i64::from(hour)) * 60 + i64::from(minute)) * 60;
    (seconds + i64::from(second)) * 1_000_000 + i64::from(micros)
}

/// Reads a table by both, by its key, and compares.
async fn compare(server: &MariaDb, table: &str, keys: serde_json::Value) {
    let mut all = json!({ "tables": [table] });
    for (key, value) in keys.as_object().unwrap() {
        all[key] = value.clone();
    }
    let (source, _cx) = open(&config(server, "shop", &all)).await;
    let scans = vec![Scan::all(table)];
    let splits = plan(source.as_ref(), &scans, None).await.unwrap().new;
    let mut batches = Vec::new();
    for split in &splits {
        for seen in read(source.as_ref(), split, &scans, None).await.unwrap() {
            assert_eq!(seen.rejected, Vec::<String>::new(), "{table}");
            batches.extend(seen.batches);
        }
    }
    let schema = source.streams().remove(0).schema;
    let names: Vec<_> = schema
        .fields()
        .iter()
        .map(|field| format!("`{}`", field.name().replace('`', "``")))
        .collect();
    let select = format!(
        "SELECT {} FROM `{}` ORDER BY `id`",
        names.join(", "),
        table.replace('`', "``")
    );
    agree(
        &batches,
        &testimony(&server.url("shop"), &select).await,
        table,
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn another_reader_sees_the_same_of_every_type() {
    let server = mariadb();
    server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4");
    server.sql(&format!(
        "USE shop; {}; {}",
        crate::follow::EVERY_TYPE,
        crate::follow::ROWS_OF_EVERY_TYPE
    ));
    compare(&server, "every", json!({ "map_tinyint1_to_bool": true })).await;
    compare(&server, "every", json!({ "map_tinyint1_to_bool": false })).await;

    use crate::sink::back;
    server.sql(&format!(
        "USE shop; CREATE TABLE t (id INT PRIMARY KEY, {})",
        back::COLUMNS
    ));
    for (id, row) in (0..).zip(back::EDGES) {
        server.sql(&format!(
            "USE shop; SET time_zone = '+00:00'; INSERT INTO t VALUES ({id}, {row})"
        ));
    }
    server.sql(&format!("USE shop; {}", back::any_rows(7, 2_000)));
    compare(&server, "t", json!({})).await;
    compare(&server, "t", json!({ "batch_size": "16 KiB" })).await;
}

/// What a stranger would try.
pub(crate) const ODD: &str = r#"
    CREATE TABLE numbers (id INT PRIMARY KEY, f FLOAT(7,3), d DOUBLE(20,10), fu FLOAT UNSIGNED ZEROFILL,
        iz INT(8) ZEROFILL, dz DECIMAL(10,3) UNSIGNED ZEROFILL, d65 DECIMAL(65,30), d64 DECIMAL(65,0),
        d38 DECIMAL(38,38), d39 DECIMAL(39,1), d1 DECIMAL(1,1), b64 BIT(64), b63 BIT(63), b8 BIT(8), b1 BIT(1),
        t TINYINT(1), tu TINYINT(1) UNSIGNED, bu BIGINT UNSIGNED, y YEAR, s SERIAL);
    INSERT INTO numbers VALUES
        (1, 1234.567, 1234567890.0123456789, 1.5, 42, 1.5, 0.000000000000000000000000000001, -1, 0.00000000000000000000000000000000000001,
         -99999999999999999999999999999999999999.9, -0.9, 18446744073709551615, 1, 255, b'1', 1, 5, 18446744073709551615, 0, 18446744073709551615),
        (2, -9999.999, -0.0000000001, 3.4e38, 0, 0, -99999999999999999999999999999999999.999999999999999999999999999999,
         99999999999999999999999999999999999999999999999999999999999999999, -0.99999999999999999999999999999999999999,
         0, 0, b'0', 9223372036854775807, b'0', b'0', 0, 255, 9223372036854775808, 2155, 1),
        (3, 16777217, 9007199254740993, 1e-38, 12345678, 9999999.999, 12345678901234567890123456789012345.678901234567890123456789012345,
         12345678901234567890123456789012345678901234567890123456789012345, 0.12345678901234567890123456789012345678,
         0.1, 0.5, 9223372036854775808, 4611686018427387904, 170, NULL, NULL, 0, 9007199254740993, 1970, 9223372036854775809);

    CREATE TABLE times (id INT PRIMARY KEY, t TIME, t1 TIME(1), t6 TIME(6), dt DATETIME, dt5 DATETIME(5), dt6 DATETIME(6), d DATE,
        ts TIMESTAMP(4) NULL);
    INSERT INTO times VALUES
        (1, '838:59:59', '-838:59:58.9', '-00:00:00.000001', '9999-12-31 23:59:59', '0001-01-01 00:00:00.00001', '1582-10-10 12:00:00.5', '1582-10-10', '2038-01-19 03:14:07.9999'),
        (2, '-838:59:59', '24:00:00.0', '838:59:58.999999', '0001-01-01', '1900-02-28 23:59:59.99999', '1969-12-31 23:59:59.999999', '0001-01-01', '1970-01-01 00:00:01'),
        (3, '25:00:01', '-25:00:01.5', '-100:00:00.5', '2000-02-29 00:00:00', '2100-02-28 00:00:00.1', '0999-01-01 00:00:00', '9999-12-31', '2024-03-31 01:59:59.5'),
        (4, '-00:00:01', '-00:00:00.1', '00:00:00.000001', '2024-02-29 23:59:59', NULL, NULL, NULL, NULL);

    CREATE TABLE texts (id INT PRIMARY KEY,
        l1 VARCHAR(300) CHARACTER SET latin1, l1b VARCHAR(300) CHARACTER SET latin1 COLLATE latin1_bin, u3 VARCHAR(50) CHARACTER SET utf8mb3,
        u4b VARCHAR(50) COLLATE utf8mb4_bin, c CHAR(5), cb CHAR(5) CHARACTER SET binary, vb VARCHAR(5) CHARACTER SET binary, tb TEXT CHARACTER SET binary,
        nat NATIONAL CHAR(4), e ENUM('', 'a', 'B ', '1', '0'), s SET('a b', 'é', ''''), es ENUM('x'));
    INSERT INTO texts VALUES
        (1, CONCAT(X'808182838485868788898A8B8C8D8E8F909192939495969798999A9B9C9D9E9F', X'A0FF'), 'ß', 'ẞ�', '😀 ', 'ab', 'ab', 'ab', 'é', 'ñ', '', 'a b,é,''', 'x'),
        (2, '', ' ', '', '', '', '', '', '', '', 'B ', '', ''),
        (3, NULL, 'a b', 'Ａ', X'F09F9880', '  x', X'FF00', X'00', X'C328', 'n', '1', '''', NULL),
        (4, 'tab	and
newline', '\\', '"', '''', '\0', 'é', 'é', '😀', '', 99, 'é', 'none of these');

    CREATE TABLE `odd ``na"me'é` (id INT PRIMARY KEY, `a``b` INT, `c"d` INT, `e'f` INT, `g h` INT, `select` INT, `Ω` INT, `a.b` INT, `\\` INT, `%s` INT, `?` INT);
    INSERT INTO `odd ``na"me'é` VALUES (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11);

    CREATE TABLE computed (id INT PRIMARY KEY, a INT, v VARCHAR(20) AS (CONCAT('v', a)) VIRTUAL, p DECIMAL(10,2) AS (a / 3) PERSISTENT,
        hidden INT INVISIBLE DEFAULT 5, d DATETIME(3) DEFAULT '2024-01-02 03:04:05.678', CHECK (a > 0));
    INSERT INTO computed (id, a) VALUES (1, 1), (2, 1000);

    CREATE TABLE latin (id INT PRIMARY KEY, a VARCHAR(9), b VARCHAR(9) CHARACTER SET utf8mb4, c TEXT) CHARACTER SET latin1;
    INSERT INTO latin VALUES (1, 'é€', '😀', 'Ÿ');

    CREATE TABLE documents (id INT PRIMARY KEY, j JSON, g GEOMETRY, p POINT, gc GEOMETRYCOLLECTION);
    INSERT INTO documents VALUES (1, '{"a":  1.0, "b": "\\u00e9"}', ST_GeomFromText('POINT(1 2)', 4326), POINT(-0.5, 1e300), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')),
        (2, 'null', NULL, NULL, NULL), (3, '"text"', ST_GeomFromText('POLYGON((0 0,0 3,3 3,0 0),(1 1,1 2,2 2,1 1))'), POINT(0, 0), NULL);
"#;

#[tokio::test(flavor = "multi_thread")]
async fn another_reader_sees_the_same_of_odd_tables() {
    // What the server's settings say must not matter.
    for options in [
        &["--sql-mode="][..],
        &[
            "--sql-mode=PAD_CHAR_TO_FULL_LENGTH,ANSI_QUOTES,NO_BACKSLASH_ESCAPES,PIPES_AS_CONCAT,IGNORE_SPACE",
            "--character-set-server=latin1",
            "--default-time-zone=-07:00",
            "--group-concat-max-len=4",
            "--old-mode=",
        ],
    ] {
        let server = MariaDb::with(options);
        server.sql("CREATE DATABASE shop CHARACTER SET utf8mb4");
        server.sql(&format!(
            "SET NAMES utf8mb4, sql_mode = '', time_zone = '+00:00'; USE shop; {ODD}"
        ));
        for table in [
            "numbers",
            "times",
            "texts",
            "odd `na\"me'é",
            "computed",
            "latin",
            "documents",
        ] {
            compare(&server, table, json!({ "map_tinyint1_to_bool": false })).await;
        }
    }
}
