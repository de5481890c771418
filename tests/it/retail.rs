//! `examples/retail`, from the shop's tables to a query over the lake, against the same metrics
//! computed by MariaDB.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use flate2::read::MultiGzDecoder;
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::lake::{Environment, Lake};
use super::support::{Site, workspace};

const BUCKET: &str = "tidegate-retail";
const DAY: &str = "2026-01-18";
const TABLES: [&str; 5] = ["calendar", "inventory", "product", "sales", "store"];

/// The metrics as they are defined, in MariaDB's SQL. Quotients are cut off where the program cuts
/// them off: four places after those of the dividend.
const METRICS: &str = "
    SET div_precision_increment = 20;
    WITH daily AS (
        SELECT trans_dt, store_key, prod_key, SUM(sales_qty) AS qty, SUM(sales_amt) AS amt,
            SUM(sales_cost) AS cost
        FROM sales GROUP BY 1, 2, 3
    ), facts AS (
        SELECT yr_num, wk_num, day_of_wk_num, d.store_key, d.prod_key,
            IFNULL(qty, 0) AS qty, IFNULL(amt, 0) AS amt, IFNULL(cost, 0) AS cost,
            IFNULL(inventory_on_hand_qty, 0) AS on_hand,
            IFNULL(inventory_on_order_qty, 0) AS on_order,
            IFNULL(out_of_stock_flg, 0) AS out_flg,
            IFNULL(inventory_on_hand_qty, 0) < IFNULL(qty, 0) AS low_flg
        FROM daily d
        JOIN calendar ON cal_dt = trans_dt
        LEFT JOIN inventory i ON i.cal_dt = d.trans_dt AND i.store_key = d.store_key
            AND i.prod_key = d.prod_key
    )
    SELECT yr_num, wk_num, store_key, prod_key, SUM(qty), SUM(amt),
        TRUNCATE(SUM(amt) / NULLIF(SUM(qty), 0), 6), SUM(cost),
        SUM(IF(day_of_wk_num = 6, on_hand, 0)), SUM(IF(day_of_wk_num = 6, on_order, 0)),
        TRUNCATE(SUM(out_flg) / 7 * 100, 5), SUM(out_flg), SUM(low_flg), SUM(low_flg + out_flg),
        SUM(IF(low_flg, qty - on_hand, 0)), SUM(IF(out_flg, amt, 0)),
        TRUNCATE(SUM(IF(day_of_wk_num = 6, on_hand, 0)) / NULLIF(SUM(qty), 0), 6)
    FROM facts GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4";

/// The columns in the order of [`METRICS`].
const COLUMNS: &str = "yr_num, wk_num, store_key, prod_key, total_sales_qty, total_sales_amt, \
    avg_sales_price, total_cost, stock_on_hand_eow, stock_on_order_eow, pct_out_of_stock, \
    no_stock_instances, low_stock_instances, total_low_stock_impact, potential_low_stock_impact, \
    no_stock_impact, weeks_on_hand";

/// The shop, the lake and the example's files.
struct Night {
    shop: MariaDb,
    lake: Lake,
    environment: Environment,
    site: Site,
}

impl Night {
    fn new() -> Self {
        let shop = mariadb();
        for file in ["shop.sql", "rights.sql"] {
            let path = workspace().join("examples/retail").join(file);
            shop.sql(&std::fs::read_to_string(path).expect("a file of the example"));
        }
        let lake = Lake::new();
        lake.s3.bucket(BUCKET);
        let url = shop.url("retail").replace("root@", "reader@");
        let environment = lake
            .environment()
            .with("RETAIL_DATABASE_URL", &url)
            .with("RETAIL_DATABASE_PASSWORD", "tides")
            .with("DS", DAY);
        Self {
            shop,
            lake,
            environment,
            site: Site::of_example("retail"),
        }
    }

    fn tidegate(&self, args: &[&str]) -> super::support::Ended {
        self.environment.tidegate(&self.site, args)
    }

    /// Names of objects below a prefix, without what tells files of a directory apart.
    fn objects(&self, prefix: &str) -> Vec<String> {
        let objects = self.lake.s3.objects(BUCKET, prefix);
        objects.into_iter().map(|object| object.key).collect()
    }

    /// The lines of a raw file.
    fn raw(&self, table: &str) -> Vec<String> {
        let packed = self
            .lake
            .s3
            .get(BUCKET, &format!("raw/{table}_{DAY}.csv.gz"));
        let mut text = String::new();
        MultiGzDecoder::new(&packed[..])
            .read_to_string(&mut text)
            .expect("gzipped UTF-8");
        text.lines().map(str::to_owned).collect()
    }

    /// What a query over the lake gives, as MariaDB's client would print it.
    fn query(&self, sql: &str) -> String {
        let ended = self
            .tidegate(&["query", sql, "--format", "csv"])
            .expect_done();
        let mut lines = csv::Reader::from_reader(ended.stdout.as_bytes());
        let mut text = String::new();
        for record in lines.records() {
            let record = record.expect("CSV");
            let fields = record.iter().map(|field| match field {
                "" => "NULL",
                field => field,
            });
            text += &fields.collect::<Vec<_>>().join("\t");
            text.push('\n');
        }
        text
    }
}

#[test]
fn a_night_of_the_shop_ends_with_the_right_metrics() {
    let night = Night::new();
    night.tidegate(&["run", "extract.toml"]).expect_done();
    let names = TABLES.map(|table| format!("raw/{table}_{DAY}.csv.gz"));
    assert_eq!(night.objects("raw/"), names);
    for table in TABLES {
        let lines = night.raw(table);
        let columns = night.shop.sql(&format!(
            "SELECT GROUP_CONCAT(column_name ORDER BY ordinal_position) \
             FROM information_schema.columns \
             WHERE table_schema = 'retail' AND table_name = '{table}'"
        ));
        assert_eq!(lines[0], columns.trim());
        let rows = night
            .shop
            .sql(&format!("SELECT count(*) FROM retail.{table}"));
        assert_eq!((lines.len() - 1).to_string(), rows.trim(), "{table}");
    }

    night.tidegate(&["run", "transform.toml"]).expect_done();
    let wanted = night.shop.sql(&format!("USE retail; {METRICS}"));
    let found = night.query(&format!(
        "SELECT {COLUMNS} FROM retail.sales_inv ORDER BY yr_num, wk_num, store_key, prod_key"
    ));
    assert!(wanted.lines().count() > 150, "{wanted}");
    assert_same_lines(&found, &wanted);
    assert!(wanted.contains("NULL"), "all of a product came back");

    let weeks: BTreeSet<String> = wanted
        .lines()
        .map(|line| {
            let mut fields = line.split('\t');
            let mut next = || fields.next().expect("a field");
            format!("tables/sales_inv/yr_num={}/wk_num={}", next(), next())
        })
        .collect();
    let directories: BTreeMap<_, _> = night
        .objects("tables/sales_inv/")
        .into_iter()
        .map(|key| {
            let (directory, file) = key.rsplit_once('/').expect("a directory");
            (directory.to_owned(), file.to_owned())
        })
        .collect();
    assert!(directories.keys().eq(weeks.iter()), "{directories:?}");

    // The copies of the dimensions have every value.
    let copy = format!("date = '{DAY}'");
    for (table, columns, order) in [
        (
            "product",
            "prod_key, prod_name, vol, wgt, brand_name, category_key",
            "prod_key",
        ),
        (
            "store",
            "store_key, store_num, city, store_size, latitude, longitude",
            "store_key",
        ),
        (
            "calendar",
            "cal_dt, day_of_wk_num, day_of_wk_desc, yr_wk_num, yr_qtr_num",
            "cal_dt",
        ),
    ] {
        let wanted = night.shop.sql(&format!(
            "SELECT {columns} FROM retail.{table} ORDER BY {order}"
        ));
        let found = night.query(&format!(
            "SELECT {columns} FROM retail.{table} WHERE {copy} ORDER BY {order}"
        ));
        // The client doubles backslashes.
        assert_same_lines(&found, &wanted.replace("\\\\", "\\"));
        let prefix = format!("tables/{table}/date={DAY}/");
        assert!(!night.objects(&prefix).is_empty(), "{prefix}");
    }
    let franchises = night.query("SELECT store_key, frnchs_flg FROM retail.store ORDER BY 1");
    assert_eq!(franchises, "1\tfalse\n2\ttrue\n3\tfalse\n4\tNULL\n");
    let query = night.site.read("query.sql");
    assert_eq!(night.query(query.trim()).lines().count(), 10);
}

#[test]
fn a_second_run_of_a_day_replaces_what_the_first_one_wrote() {
    let night = Night::new();
    let run = || {
        night.tidegate(&["run", "extract.toml"]).expect_done();
        night.tidegate(&["run", "transform.toml"]).expect_done();
    };
    run();
    let before = night.objects("");
    // The last week's sales are put right.
    night
        .shop
        .sql("UPDATE retail.sales SET sales_amt = sales_amt * 2 WHERE trans_dt >= '2026-01-11'");
    run();
    assert_eq!(night.objects("").len(), before.len());
    let wanted = night.shop.sql(&format!("USE retail; {METRICS}"));
    let found = night.query(&format!(
        "SELECT {COLUMNS} FROM retail.sales_inv ORDER BY yr_num, wk_num, store_key, prod_key"
    ));
    assert_same_lines(&found, &wanted);
}

#[test]
fn without_all_of_the_days_files_nothing_is_written() {
    let night = Night::new();
    night.tidegate(&["run", "extract.toml"]).expect_done();
    night
        .lake
        .s3
        .delete(BUCKET, &format!("raw/inventory_{DAY}.csv.gz"));
    night
        .tidegate(&["run", "transform.toml"])
        .expect_code(1)
        .expect_said(&[&format!("raw/inventory_{DAY}")]);
    assert_eq!(night.objects("tables/"), [] as [String; 0]);
}

#[track_caller]
fn assert_same_lines(found: &str, wanted: &str) {
    for (found, wanted) in found.lines().zip(wanted.lines()) {
        assert_eq!(found, wanted);
    }
    assert_eq!(found.lines().count(), wanted.lines().count());
}
