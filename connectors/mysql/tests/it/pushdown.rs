//! Conditions that are sent to the server take no row away that fulfils them.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Float32Type, Float64Type, TimestampMicrosecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_cast::cast;
use arrow_schema::{DataType, TimeUnit};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use tidegate_core::{Comparison, Literal, Predicate, Scan, Source};
use tidegate_testkit::servers::{MariaDb, mariadb};
use tidegate_testkit::suites::render;

use crate::support::{cases, config, open, plan, read};

const COLUMNS: &str = "id INT PRIMARY KEY, tiny TINYINT, flag BOOL, big BIGINT, \
    huge BIGINT UNSIGNED, price DECIMAL(20, 3), single FLOAT, d DOUBLE, \
    text VARCHAR(20) COLLATE utf8mb4_general_ci, old VARCHAR(20) CHARACTER SET latin1, \
    color ENUM('red', 'Blue', '1', ''), tags SET('x', 'y'), y YEAR, bits BIT(9), day DATE, \
    moment DATETIME(3), stamp TIMESTAMP(6) NULL, must DATE NOT NULL";

const NAMES: [&str; 18] = [
    "id", "tiny", "flag", "big", "huge", "price", "single", "d", "text", "old", "color", "tags",
    "y", "bits", "day", "moment", "stamp", "must",
];

fn filled() -> MariaDb {
    let server = mariadb();
    server.sql(&format!(
        "CREATE DATABASE shop CHARACTER SET utf8mb4; USE shop; SET time_zone = '+00:00'; \
         SET sql_mode = ''; CREATE TABLE t ({COLUMNS}); \
         INSERT INTO t VALUES \
         (1, -128, 0, -9223372036854775808, 0, -0.001, -0.0, -0.0, '', '', '', '', 1901, 0, \
             '0001-01-01', '0001-01-01', '1970-01-02 00:00:00', '2020-02-29'), \
         (2, 127, 1, 9223372036854775807, 18446744073709551615, 9.99, 0.1, 0.1, 'Straße', 'é', \
             'red', 'x', 2155, 511, '9999-12-31', '9999-12-31 23:59:59.999', \
             '2038-01-18 03:14:07.999999', '2020-03-01'), \
         (3, 0, 1, 0, 9223372036854775808, 10.000, 16777216, 0, 'STRASSE ', 'E', 'Blue', 'x,y', \
             2000, 1, '2020-02-29', '2020-02-29 12:00:00.5', '2020-02-29 12:00:00', '0000-00-00'), \
         (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
             NULL, NULL, '2020-02-00'), \
         (5, 7, 1, 9007199254740993, 7, 9.995, 1e30, 9007199254740993, 'a', 'a', '1', '', 0, 7, \
             '0000-00-00', '2020-00-15 00:00:00', '0000-00-00', '1970-01-01'), \
         (6, 70, 0, 70, 70, 70, 70.5, 70.5, 'A', 'A', 5, 'y', 1970, 70, '1970-01-01', \
             '1970-01-01', '2020-02-29 12:00:00.000001', '1970-01-02'); \
         INSERT INTO t SELECT 10 + seq, seq, seq MOD 2, seq * 1000, seq, seq / 8, seq / 8, seq / 3, \
             CONCAT('name ', seq MOD 7), CONCAT('é', seq MOD 5), 1 + seq MOD 4, 'x', 1960 + seq, \
             seq, '2020-02-20' + INTERVAL seq DAY, '2020-02-20' + INTERVAL seq * 1001 SECOND, \
             '2020-02-20' + INTERVAL seq HOUR, '2020-02-20' FROM seq_1_to_60",
    ));
    server
}

fn literal() -> impl Strategy<Value = Literal> {
    let ints = prop_oneof![
        Just(0_i64),
        Just(1),
        Just(-1),
        Just(7),
        Just(70),
        Just(127),
        Just(-128),
        Just(2000),
        Just(9_007_199_254_740_993),
        Just(i64::MAX),
        Just(i64::MIN),
        -5..90_i64
    ];
    let floats = prop_oneof![
        Just(0.0),
        Just(-0.0),
        Just(0.1),
        Just(f64::from(0.1_f32)),
        Just(9.99),
        Just(9.995),
        Just(10.0),
        Just(70.5),
        Just(9_007_199_254_740_992.0),
        Just(f64::INFINITY),
        Just(1e30),
        -3.0..20.0
    ];
    let texts = prop_oneof![
        Just(""),
        Just("a"),
        Just("A"),
        Just("Straße"),
        Just("STRASSE "),
        Just("red"),
        Just("RED"),
        Just("1"),
        Just("x"),
        Just("name 3"),
        Just("é"),
        Just("é3"),
        Just("e3"),
        Just("it's \\ \n"),
        Just("🦀")
    ];
    let micros = prop_oneof![
        Just(1_582_977_600_000_000_i64),
        Just(1_582_977_600_000_001),
        Just(1_582_977_600_500_000),
        Just(0),
        Just(i64::MIN),
        Just(i64::MAX),
        Just(253_402_300_799_999_000),
        Just(-62_135_596_800_000_000),
        1_582_150_000_000_000..1_582_990_000_000_000_i64
    ];
    let days = prop_oneof![
        Just(18_321),
        Just(0),
        Just(-719_162),
        Just(-800_000),
        Just(2_932_896),
        Just(i32::MAX),
        18_300..18_400_i32
    ];
    prop_oneof![
        any::<bool>().prop_map(Literal::Bool),
        ints.prop_map(Literal::Int),
        prop_oneof![Just(u64::MAX), Just(1_u64 << 63)].prop_map(Literal::UInt),
        floats.prop_map(Literal::Float),
        texts.prop_map(|text| Literal::Text(text.to_owned())),
        days.prop_map(Literal::Date),
        micros.prop_map(Literal::Timestamp),
    ]
}

fn predicate() -> impl Strategy<Value = Predicate> {
    let column = prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned);
    let op = prop::sample::select(vec![
        Comparison::Eq,
        Comparison::NotEq,
        Comparison::Lt,
        Comparison::LtEq,
        Comparison::Gt,
        Comparison::GtEq,
    ]);
    prop_oneof![
        8 => (column.clone(), op, literal())
            .prop_map(|(column, op, value)| Predicate::Compare { column, op, value }),
        2 => (column.clone(), vec(literal(), 1..4))
            .prop_map(|(column, values)| Predicate::In { column, values }),
        1 => column.clone().prop_map(Predicate::IsNull),
        1 => column.prop_map(Predicate::IsNotNull),
    ]
}

/// How a value compares with a constant, as Arrow's kernels do it; `None` for what has no order
/// with it.
fn compare(array: &ArrayRef, row: usize, value: &Literal) -> Option<Ordering> {
    let micros = DataType::Timestamp(TimeUnit::Microsecond, None);
    match (array.data_type(), value) {
        (DataType::Boolean, Literal::Bool(value)) => Some(array.as_boolean().value(row).cmp(value)),
        (DataType::Float32, Literal::Float(value)) => {
            Some(f64::from(array.as_primitive::<Float32Type>().value(row)).total_cmp(value))
        }
        (DataType::Float64, Literal::Float(value)) => Some(
            array
                .as_primitive::<Float64Type>()
                .value(row)
                .total_cmp(value),
        ),
        (DataType::Utf8, Literal::Text(value)) => {
            Some(array.as_string::<i32>().value(row).cmp(value))
        }
        (DataType::Date32, Literal::Date(value)) => {
            Some(array.as_primitive::<Date32Type>().value(row).cmp(value))
        }
        (DataType::Timestamp(..), Literal::Timestamp(value)) => {
            let array = cast(array, &micros).unwrap();
            Some(
                array
                    .as_primitive::<TimestampMicrosecondType>()
                    .value(row)
                    .cmp(value),
            )
        }
        (DataType::Timestamp(_, None), Literal::Date(value)) => {
            let array = cast(array, &micros).unwrap();
            let value = i64::from(*value).saturating_mul(86_400_000_000);
            Some(
                array
                    .as_primitive::<TimestampMicrosecondType>()
                    .value(row)
                    .cmp(&value),
            )
        }
        (kind, _) if kind.is_integer() || matches!(kind, DataType::Decimal128(..)) => {
            let array = cast(array, &DataType::Decimal128(38, 3)).unwrap();
            let number = array.as_primitive::<Decimal128Type>().value(row);
            match value {
                Literal::Int(value) => Some(number.cmp(&(i128::from(*value) * 1000))),
                Literal::UInt(value) => Some(number.cmp(&(i128::from(*value) * 1000))),
                #[expect(clippy::cast_precision_loss, reason = "as DataFusion compares them")]
                Literal::Float(value) => Some((number as f64 / 1000.0).total_cmp(value)),
                _ => None,
            }
        }
        (kind, Literal::Int(_)) if kind.is_floating() => {
            let Literal::Int(value) = value else {
                return None;
            };
            let array = cast(array, &DataType::Float64).unwrap();
            #[expect(clippy::cast_precision_loss, reason = "as DataFusion compares them")]
            let value = *value as f64;
            Some(
                array
                    .as_primitive::<Float64Type>()
                    .value(row)
                    .total_cmp(&value),
            )
        }
        _ => None,
    }
}

fn holds(op: Comparison, order: Ordering) -> bool {
    match op {
        Comparison::Eq => order.is_eq(),
        Comparison::NotEq => order.is_ne(),
        Comparison::Lt => order.is_lt(),
        Comparison::LtEq => order.is_le(),
        Comparison::Gt => order.is_gt(),
        Comparison::GtEq => order.is_ge(),
    }
}

/// Whether a row fulfils a condition; what can't be compared at all is never asked.
fn fulfils(batch: &RecordBatch, row: usize, predicate: &Predicate) -> bool {
    let column = |name: &str| Arc::clone(batch.column_by_name(name).unwrap());
    match predicate {
        Predicate::IsNull(name) => column(name).is_null(row),
        Predicate::IsNotNull(name) => column(name).is_valid(row),
        Predicate::Compare {
            column: name,
            op,
            value,
        } => {
            let array = column(name);
            array.is_valid(row)
                && compare(&array, row, value).is_some_and(|order| holds(*op, order))
        }
        Predicate::In {
            column: name,
            values,
        } => {
            let array = column(name);
            let mut values = values.iter();
            array.is_valid(row)
                && values.any(|value| compare(&array, row, value).is_some_and(Ordering::is_eq))
        }
        other => panic!("{other:?}"),
    }
}

async fn batches(source: &dyn Source, scan: Scan) -> Vec<RecordBatch> {
    let scans = [scan];
    let plan = plan(source, &scans, None).await.unwrap();
    let mut batches = Vec::new();
    for split in &plan.new {
        for seen in read(source, split, &scans, None).await.unwrap() {
            batches.extend(seen.batches);
        }
    }
    batches
}

fn rows(batches: &[RecordBatch], predicates: &[Predicate]) -> BTreeSet<String> {
    let mut rows = BTreeSet::new();
    for batch in batches {
        for (row, text) in render(batch).unwrap().into_iter().enumerate() {
            if predicates
                .iter()
                .all(|predicate| fulfils(batch, row, predicate))
            {
                rows.insert(text);
            }
        }
    }
    rows
}

#[test]
fn a_condition_applied_by_the_server_and_again_here_gives_the_same_rows() {
    let server = filled();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    for zero_dates in ["null", "error", "text"] {
        let config = config(&server, "shop", &json!({ "zero_dates": zero_dates }));
        let (source, _cx) = runtime.block_on(open(&config));
        let all = runtime.block_on(batches(source.as_ref(), Scan::all("t")));
        let mut runner = TestRunner::new(cases(400));
        runner
            .run(&vec(predicate(), 1..3), |predicates| {
                let scan = Scan {
                    predicates: predicates.clone(),
                    ..Scan::all("t")
                };
                let some = runtime.block_on(batches(source.as_ref(), scan));
                prop_assert_eq!(rows(&some, &predicates), rows(&all, &predicates));
                Ok(())
            })
            .unwrap();
    }
}

#[tokio::test]
async fn simple_conditions_and_limits_are_sent() {
    let server = filled();
    let config = config(&server, "shop", &json!({ "zero_dates": "null" }));
    let (source, _cx) = open(&config).await;
    let compare = |column: &str, op, value| Predicate::Compare {
        column: column.to_owned(),
        op,
        value,
    };
    for (predicate, most) in [
        (compare("id", Comparison::Eq, Literal::Int(3)), 1),
        (compare("huge", Comparison::GtEq, Literal::UInt(1 << 63)), 2),
        (compare("flag", Comparison::Eq, Literal::Bool(true)), 33),
        (compare("price", Comparison::Gt, Literal::Float(9.9)), 4),
        (
            compare("text", Comparison::Eq, Literal::Text("name 3".to_owned())),
            9,
        ),
        (
            compare("color", Comparison::Eq, Literal::Text("Blue".to_owned())),
            17,
        ),
        (compare("day", Comparison::LtEq, Literal::Date(18_314)), 6),
        (
            compare(
                "stamp",
                Comparison::Lt,
                Literal::Timestamp(1_582_160_000_000_000),
            ),
            4,
        ),
        (Predicate::IsNull("big".to_owned()), 1),
        (
            Predicate::In {
                column: "id".to_owned(),
                values: vec![Literal::Int(1), Literal::Int(2)],
            },
            2,
        ),
    ] {
        let scan = Scan {
            predicates: vec![predicate.clone()],
            ..Scan::all("t")
        };
        let batches = batches(source.as_ref(), scan).await;
        let count: usize = batches.iter().map(RecordBatch::num_rows).sum();
        assert!((1..=most).contains(&count), "{predicate:?}: {count}");
    }
    let limited = |predicates| Scan {
        columns: Some(vec!["id".to_owned()]),
        predicates,
        limit: Some(5),
        ..Scan::all("t")
    };
    let count = async |scan| -> usize {
        let batches = batches(source.as_ref(), scan).await;
        batches.iter().map(RecordBatch::num_rows).sum()
    };
    assert_eq!(count(limited(vec![])).await, 5);
    let exact = compare("id", Comparison::Gt, Literal::Int(20));
    assert_eq!(count(limited(vec![exact])).await, 5);
    // Of these the server may let too many through, and all five could be such.
    let wide = compare("text", Comparison::Eq, Literal::Text("A".to_owned()));
    assert_eq!(count(limited(vec![wide])).await, 2);
}
