//! `examples/quickstart`, compared with the same metrics computed here: by hand, in whole cents,
//! without SQL.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;
use std::process::Command;

use arrow_array::cast::AsArray;
use arrow_array::types::{Decimal128Type, Decimal256Type, Float64Type, Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;

use super::support::{Site, batches_in, files_under, hidden_files, visible_files, workspace};

/// Year, week, store, product.
type Key = (i64, i64, i64, i64);

/// A number as a fraction, so that nothing is rounded on our side.
#[derive(Debug, Clone, Copy)]
struct Exact {
    over: i128,
    under: i128,
}

impl Exact {
    fn cents(cents: i128) -> Self {
        Self {
            over: cents,
            under: 100,
        }
    }

    fn whole(number: i128) -> Self {
        Self {
            over: number,
            under: 1,
        }
    }
}

/// A number as the program wrote it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Written {
    Decimal { unscaled: i128, scale: u32 },
    Float(f64),
}

impl Written {
    fn of(column: &ArrayRef, row: usize) -> Self {
        assert!(column.is_valid(row), "NULL in row {row}");
        let integer = |number: i64| Self::Decimal {
            unscaled: number.into(),
            scale: 0,
        };
        let digits = |scale: i8| u32::try_from(scale).expect("a scale of at least 0");
        match *column.data_type() {
            DataType::Int32 => integer(column.as_primitive::<Int32Type>().value(row).into()),
            DataType::Int64 => integer(column.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => Self::Float(column.as_primitive::<Float64Type>().value(row)),
            DataType::Decimal128(_, scale) => Self::Decimal {
                unscaled: column.as_primitive::<Decimal128Type>().value(row),
                scale: digits(scale),
            },
            DataType::Decimal256(_, scale) => {
                let value = column.as_primitive::<Decimal256Type>().value(row);
                let unscaled = value.to_i128().expect("small numbers");
                Self::Decimal {
                    unscaled,
                    scale: digits(scale),
                }
            }
            ref other => panic!("no metric has the type {other}"),
        }
    }

    /// Whether it is that number: exactly, where its decimal places can hold it; else to less than
    /// one of its last place, which must be the fourth or a later one.
    fn is(self, exact: Exact) -> bool {
        match self {
            Self::Decimal { unscaled, scale } => {
                let wanted = exact.over * 10_i128.pow(scale);
                let held = unscaled * exact.under;
                let fits = wanted % exact.under == 0;
                held == wanted || (!fits && scale >= 4 && (held - wanted).abs() < exact.under.abs())
            }
            Self::Float(number) => {
                #[expect(clippy::cast_precision_loss, reason = "both are far below 2^53")]
                let wanted = exact.over as f64 / exact.under as f64;
                (number - wanted).abs() <= wanted.abs() * 1e-12
            }
        }
    }
}

/// A CSV file's rows, by column name.
fn table(path: &Path) -> Vec<HashMap<String, String>> {
    let mut reader = csv::Reader::from_path(path).expect("a CSV file");
    reader
        .deserialize()
        .map(|row| row.expect("a row"))
        .collect()
}

fn int(row: &HashMap<String, String>, column: &str) -> i64 {
    row[column]
        .parse()
        .unwrap_or_else(|_| panic!("{column}: `{}`", row[column]))
}

/// `-12.30` → -1230.
fn cents(row: &HashMap<String, String>, column: &str) -> i128 {
    let text = &row[column];
    let (whole, part) = text.split_once('.').expect("two decimal places");
    assert_eq!(part.len(), 2, "{column}: `{text}`");
    format!("{whole}{part}")
        .parse()
        .unwrap_or_else(|_| panic!("{column}: `{text}`"))
}

#[derive(Debug, Default)]
struct Day {
    quantity: i128,
    amount: i128,
    cost: i128,
}

/// What a week of a product in a store comes to, in cents or in numbers of days.
#[derive(Debug, Default)]
struct Week {
    quantity: i128,
    amount: i128,
    cost: i128,
    on_hand_eow: i128,
    on_order_eow: i128,
    out: i128,
    low: i128,
    low_missing: i128,
    out_amount: i128,
}

/// The metrics as `facts` define them: see the pipeline file for their SQL.
fn expected(data: &Path) -> BTreeMap<Key, BTreeMap<&'static str, Exact>> {
    let mut days: BTreeMap<(String, i64, i64), Day> = BTreeMap::new();
    for sale in table(&data.join("sales.csv")) {
        let key = (
            sale["trans_dt"].clone(),
            int(&sale, "store_key"),
            int(&sale, "prod_key"),
        );
        let day = days.entry(key).or_default();
        day.quantity += cents(&sale, "sales_qty");
        day.amount += cents(&sale, "sales_amt");
        day.cost += cents(&sale, "sales_cost");
    }
    let mut stock = HashMap::new();
    for row in table(&data.join("inventory.csv")) {
        let key = (
            row["cal_dt"].clone(),
            int(&row, "store_key"),
            int(&row, "prod_key"),
        );
        let levels = (
            cents(&row, "inventory_on_hand_qty"),
            cents(&row, "inventory_on_order_qty"),
            i128::from(int(&row, "out_of_stock_flg")),
        );
        assert!(
            stock.insert(key, levels).is_none(),
            "one stock level a day, store and product"
        );
    }
    let calendar: HashMap<String, (i64, i64, i64)> = table(&data.join("calendar.csv"))
        .iter()
        .map(|row| {
            let place = (
                int(row, "yr_num"),
                int(row, "wk_num"),
                int(row, "day_of_wk_num"),
            );
            (row["cal_dt"].clone(), place)
        })
        .collect();

    let mut weeks: BTreeMap<Key, Week> = BTreeMap::new();
    for (key, day) in days {
        let (date, store, product) = &key;
        let (year, number, day_of_week) = calendar[date];
        let (on_hand, on_order, out) = stock.get(&key).copied().unwrap_or_default();
        let week = weeks.entry((year, number, *store, *product)).or_default();
        week.quantity += day.quantity;
        week.amount += day.amount;
        week.cost += day.cost;
        if day_of_week == 6 {
            week.on_hand_eow += on_hand;
            week.on_order_eow += on_order;
        }
        week.out += out;
        if on_hand < day.quantity {
            week.low += 1;
            week.low_missing += day.quantity - on_hand;
        }
        if out == 1 {
            week.out_amount += day.amount;
        }
    }
    weeks
        .into_iter()
        .map(|(key, week)| (key, week.metrics()))
        .collect()
}

impl Week {
    fn metrics(&self) -> BTreeMap<&'static str, Exact> {
        let per_piece = |over| Exact {
            over,
            under: self.quantity,
        };
        BTreeMap::from([
            ("total_sales_qty", Exact::cents(self.quantity)),
            ("total_sales_amt", Exact::cents(self.amount)),
            ("avg_sales_price", per_piece(self.amount)),
            ("total_cost", Exact::cents(self.cost)),
            ("stock_on_hand_eow", Exact::cents(self.on_hand_eow)),
            ("stock_on_order_eow", Exact::cents(self.on_order_eow)),
            (
                "pct_out_of_stock",
                Exact {
                    over: self.out * 100,
                    under: 7,
                },
            ),
            ("no_stock_instances", Exact::whole(self.out)),
            ("low_stock_instances", Exact::whole(self.low)),
            ("total_low_stock_impact", Exact::whole(self.low + self.out)),
            ("potential_low_stock_impact", Exact::cents(self.low_missing)),
            ("no_stock_impact", Exact::cents(self.out_amount)),
            ("weeks_on_hand", per_piece(self.on_hand_eow)),
        ])
    }
}

/// Every row that lies in `out/weekly`, its year and week taken from its directory.
fn written(out: &Path) -> BTreeMap<Key, BTreeMap<String, Written>> {
    let mut found = BTreeMap::new();
    for path in visible_files(out) {
        let directories = path.strip_prefix(out).expect("a path in the output");
        let directories: Vec<_> = directories
            .iter()
            .map(|name| name.to_str().expect("UTF-8"))
            .collect();
        let [year, week, _file] = directories[..] else {
            panic!("{}", path.display())
        };
        let number = |text: &str, name: &str| -> i64 {
            let value = text
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('='));
            value
                .and_then(|value| value.parse().ok())
                .unwrap_or_else(|| panic!("`{text}`"))
        };
        let (year, week) = (number(year, "yr_num"), number(week, "wk_num"));
        for batch in batches_in(&path) {
            let schema = batch.schema();
            let key_column = |name: &str, row| {
                let column = batch.column_by_name(name).expect("a key column");
                i64::from(column.as_primitive::<Int32Type>().value(row))
            };
            for row in 0..batch.num_rows() {
                let key = (
                    year,
                    week,
                    key_column("store_key", row),
                    key_column("prod_key", row),
                );
                let metrics = schema.fields().iter().zip(batch.columns()).skip(2);
                let metrics = metrics
                    .map(|(field, column)| (field.name().clone(), Written::of(column, row)))
                    .collect();
                assert!(
                    found.insert(key, metrics).is_none(),
                    "{key:?} is there twice"
                );
            }
        }
    }
    found
}

/// Asserts that the output of the example in `site` is right, every value of every row.
#[track_caller]
pub(crate) fn assert_right(site: &Site) {
    let out = site.path("out/weekly");
    let (expected, written) = (expected(&site.path("data")), written(&out));
    assert!(expected.len() > 100, "the example's tables are dense");
    assert_eq!(
        written.keys().collect::<Vec<_>>(),
        expected.keys().collect::<Vec<_>>(),
        "one row a year, week, store and product"
    );
    for (key, metrics) in &expected {
        let row = &written[key];
        let names: BTreeSet<&str> = row.keys().map(String::as_str).collect();
        assert_eq!(names, metrics.keys().copied().collect(), "the columns");
        for (name, exact) in metrics {
            let value = row[*name];
            assert!(
                value.is(*exact),
                "{name} of {key:?}: {value:?}, but it is {exact:?}"
            );
        }
    }
    assert_eq!(
        hidden_files(&out),
        [] as [&Path; 0],
        "nothing half-written stays"
    );
}

#[test]
fn every_metric_of_every_row_is_right() {
    let site = Site::of_example("quickstart");
    let ended = site.run(&[]).expect_done();
    assert_right(&site);
    // A file a partition, and nothing beside them.
    assert_eq!(files_under(&site.path("out")).len(), 4);
    for name in ["best_sellers", "Dish soap, lemon", "Station", "764.52"] {
        assert!(
            ended.stdout.contains(name),
            "no `{name}` in the preview:\n{}",
            ended.stdout
        );
    }
    site.state().expect("a state").expect_finished();
    assert_eq!(
        files_under(&site.path("tmp")),
        [] as [&Path; 0],
        "scratch files are gone"
    );
}

#[test]
fn a_second_run_replaces_what_the_first_one_wrote() {
    let site = Site::of_example("quickstart");
    site.run(&[]).expect_done();
    let first = files_under(&site.path("out"));
    site.run(&[]).expect_done();
    assert_right(&site);
    let second = files_under(&site.path("out"));
    assert_eq!(second.len(), first.len());
    assert!(
        second.iter().all(|file| !first.contains(file)),
        "the files are new ones"
    );
}

#[test]
fn the_script_makes_the_tables_that_are_there() {
    let site = Site::of_example("quickstart");
    fs::remove_dir_all(site.path("data")).expect("the copies are removed");
    let script = site.path("make_data.py");
    let ended = Command::new("python3")
        .arg(script)
        .output()
        .expect("python3 is installed");
    assert!(
        ended.status.success(),
        "{}",
        String::from_utf8_lossy(&ended.stderr)
    );
    let data = workspace().join("examples/quickstart/data");
    let tables = files_under(&data);
    assert_eq!(tables.len(), 5);
    assert_eq!(files_under(&site.path("data")).len(), 5);
    for table in tables {
        let name = table.file_name().expect("a name");
        let made = fs::read(site.path("data").join(name)).expect("the script made it");
        assert!(
            made == fs::read(&table).expect("a table"),
            "{} differs",
            table.display()
        );
    }
}

#[test]
fn most_sales_meet_a_stock_level_of_their_day() {
    let data = workspace().join("examples/quickstart/data");
    let key = |row: &HashMap<String, String>, date: &str| {
        (
            row[date].clone(),
            int(row, "store_key"),
            int(row, "prod_key"),
        )
    };
    let stock = table(&data.join("inventory.csv"));
    let stock: BTreeSet<_> = stock.iter().map(|row| key(row, "cal_dt")).collect();
    let sales = table(&data.join("sales.csv"));
    let met = sales
        .iter()
        .filter(|row| stock.contains(&key(row, "trans_dt")))
        .count();
    assert!(met * 10 > sales.len() * 9, "{met} of {}", sales.len());
    assert!(met < sales.len(), "and some don't, for the outer join");
}
