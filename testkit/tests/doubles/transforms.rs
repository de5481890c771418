use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use arrow_array::{Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};
use tidegate_core::{
    BatchStream, Error, ErrorKind, Gather, Map, Mapped, Origin, Rejected, Result, Scan, StageInput,
    Transform, async_trait,
};
use tidegate_testkit::suites::{TransformSuite, transform_suite};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Defect {
    None,
    AsksForMore,
    OtherSchema,
    OffByOne,
    OwnSeed,
    CountsRows,
    RefusesEmpty,
    ByPosition,
    TakesUnasked,
    FirstPartition,
    WrongKind,
}

const DOUBLES: &[(Defect, &str)] = &[
    (Defect::AsksForMore, "scan_names_columns"),
    (Defect::OtherSchema, "schema_told_is_schema_given"),
    (Defect::OffByOne, "gives_the_expected_rows"),
    (Defect::OwnSeed, "deterministic_where_it_says_so"),
    (Defect::CountsRows, "slicing_makes_no_difference"),
    (Defect::RefusesEmpty, "empty_input"),
    (Defect::ByPosition, "columns_by_name"),
    (Defect::TakesUnasked, "columns_asked_for_suffice"),
    (Defect::WrongKind, "errors_have_kinds"),
];

#[tokio::test]
async fn the_models_pass() {
    let report = suite(Defect::None, true).report().await;
    report.assert();
    let skipped: Vec<_> = report.skipped.iter().map(|(check, _)| *check).collect();
    assert_eq!(skipped, ["partitions_make_no_difference"]);
    let report = suite(Defect::None, false).report().await;
    report.assert();
    let skipped: Vec<_> = report.skipped.iter().map(|(check, _)| *check).collect();
    assert_eq!(skipped, ["slicing_makes_no_difference"]);
}

#[tokio::test]
async fn each_double_of_a_map_is_caught() {
    for (defect, check) in DOUBLES {
        super::caught(&suite(*defect, true).report().await, check);
    }
}

#[tokio::test]
async fn a_stage_that_misses_partitions_is_caught() {
    let report = suite(Defect::FirstPartition, false).report().await;
    super::caught(&report, "partitions_make_no_difference");
}

#[test]
fn each_check_has_a_double() {
    let doubles = DOUBLES.iter().map(|(_, check)| *check);
    let all = doubles.chain(["partitions_make_no_difference"]);
    super::all_have_doubles(TransformSuite::names(), all);
}

fn suite(defect: Defect, map: bool) -> TransformSuite {
    static SEED: AtomicI64 = AtomicI64::new(0);
    let suite = transform_suite(move |_| async move {
        let seed = SEED.fetch_add(1, Ordering::Relaxed);
        Ok(match map {
            true => Transform::Map(Arc::new(Doubling { defect, seed })),
            false => Transform::Gather(Arc::new(Sum { defect })),
        })
    })
    .input("sales", vec![sales(&[1, 2, -3, 4, 5]), sales(&[6, -7, 8])])
    .refuses("no such column", ErrorKind::Schema, move || async move {
        Err(match defect {
            Defect::WrongKind => Error::data("no such column"),
            _ => Error::schema("no such column"),
        })
    });
    // What these two give depends on more than their input, so nothing can be expected of them.
    match (defect, map) {
        (Defect::OwnSeed | Defect::CountsRows, _) => suite,
        (_, true) => suite.exactly(
            [1, 2, 4, 5, 6, 8]
                .map(|id| format!("double={}", id * 2))
                .into(),
        ),
        (_, false) => suite.exactly(vec!["sum=16".into()]),
    }
}

fn sales(ids: &[i64]) -> RecordBatch {
    let fields = vec![
        Field::new("id", DataType::Int64, false),
        Field::new("note", DataType::Utf8, true),
    ];
    let notes: StringArray = ids.iter().map(|id| Some(id.to_string())).collect();
    let columns: Vec<arrow_array::ArrayRef> =
        vec![Arc::new(Int64Array::from(ids.to_vec())), Arc::new(notes)];
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

fn one(name: &str, nullable: bool) -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new(
        name,
        DataType::Int64,
        nullable,
    )]))
}

fn ids() -> Scan {
    Scan {
        columns: Some(vec!["id".into()]),
        ..Scan::all("sales")
    }
}

fn id(batch: &RecordBatch) -> Result<&Int64Array> {
    let column = batch.column_by_name("id");
    let column = column.ok_or_else(|| Error::schema("no column `id`"))?;
    Ok(column.as_primitive::<Int64Type>())
}

/// `id` → `double`; an id less than nothing is rejected.
#[derive(Debug)]
struct Doubling {
    defect: Defect,
    seed: i64,
}

impl Map for Doubling {
    fn schema(&self) -> SchemaRef {
        one("double", false)
    }

    fn scan(&self, _: usize) -> Scan {
        let mut scan = ids();
        if self.defect == Defect::AsksForMore {
            scan.columns = Some(vec!["id".into(), "colour".into()]);
        }
        scan
    }

    fn map(&self, _: usize, batch: &RecordBatch) -> Result<Mapped> {
        if self.defect == Defect::RefusesEmpty && batch.num_rows() == 0 {
            return Err(Error::internal("no rows"));
        }
        if self.defect == Defect::TakesUnasked && batch.column_by_name("note").is_none() {
            return Err(Error::schema("no column `note`"));
        }
        let ids = match self.defect {
            Defect::ByPosition => batch
                .column(0)
                .as_primitive_opt::<Int64Type>()
                .ok_or_else(|| Error::schema("the first column is no number"))?,
            _ => id(batch)?,
        };
        let mut rejected = Rejected::default();
        let mut doubles = Vec::new();
        for (row, id) in ids.values().iter().enumerate() {
            if *id < 0 {
                rejected.push(id.to_string(), "less than nothing", Origin::default());
                continue;
            }
            doubles.push(match self.defect {
                Defect::OffByOne => id * 2 + 1,
                Defect::OwnSeed => id * 2 + self.seed,
                Defect::CountsRows => id * 2 + i64::try_from(row).unwrap(),
                _ => id * 2,
            });
        }
        let schema = one("double", self.defect == Defect::OtherSchema);
        let doubles = Arc::new(Int64Array::from(doubles));
        Ok(Mapped {
            batches: vec![RecordBatch::try_new(schema, vec![doubles])?],
            rejected,
            ..Mapped::default()
        })
    }
}

/// All `id` → their `sum`.
#[derive(Debug)]
struct Sum {
    defect: Defect,
}

#[async_trait]
impl Gather for Sum {
    fn schema(&self) -> SchemaRef {
        one("sum", false)
    }

    fn scan(&self, _: usize) -> Scan {
        ids()
    }

    async fn run(&self, inputs: Vec<StageInput>) -> Result<Vec<BatchStream>> {
        let inputs = inputs.into_iter().map(StageInput::collected);
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let most = match self.defect {
            Defect::FirstPartition => 1,
            _ => usize::MAX,
        };
        let mut sum = 0;
        for partition in 0..inputs[0].partitions().min(most) {
            let batches: Vec<_> = inputs[0].open(partition)?.try_collect().await?;
            for batch in &batches {
                sum += id(batch)?.values().iter().sum::<i64>();
            }
        }
        let sum = Arc::new(Int64Array::from(vec![sum]));
        let batch = RecordBatch::try_new(self.schema(), vec![sum])?;
        Ok(vec![futures::stream::iter([Ok(batch)]).boxed()])
    }
}
