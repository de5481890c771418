//! The weekly metrics of a retailer, each compared with a computation of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::{Date32Array, Decimal128Array, Int32Array, StringArray};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::support::{Memory, batch, lines, run};

const QUERY: &str = include_str!("fixtures/weekly.sql");
const DAYS: std::ops::Range<i32> = 0..21;

/// Amounts are in hundredths.
struct Sale {
    day: i32,
    store: i32,
    product: i32,
    quantity: Option<i128>,
    amount: i128,
    cost: i128,
}

struct Stock {
    on_hand: Option<i128>,
    on_order: i128,
    out: i32,
}

#[tokio::test]
async fn weekly_metrics() {
    let mut random = StdRng::seed_from_u64(4);
    let mut sales: Vec<Sale> = (0..400)
        .map(|_| Sale {
            day: random.random_range(DAYS),
            store: random.random_range(1..=2),
            product: random.random_range(10..=13),
            quantity: random
                .random_bool(0.9)
                .then(|| random.random_range(1..=900)),
            amount: random.random_range(0..100_000),
            cost: random.random_range(0..50_000),
        })
        .collect();
    // A week in which nothing but a gift was sold: no average price.
    sales.push(Sale {
        day: 3,
        store: 3,
        product: 10,
        quantity: Some(0),
        amount: 0,
        cost: 500,
    });
    let mut stocks = BTreeMap::new();
    for day in DAYS {
        for store in 1..=3 {
            for product in 10..=13 {
                let out = random.random_bool(0.1);
                let stock = Stock {
                    on_hand: random.random_bool(0.95).then(|| {
                        if out {
                            0
                        } else {
                            random.random_range(0..2_000)
                        }
                    }),
                    on_order: random.random_range(0..1_000),
                    out: out.into(),
                };
                if random.random_bool(0.85) {
                    stocks.insert((day, store, product), stock);
                }
            }
        }
    }

    let rows = run(QUERY, &tables(&sales, &stocks)).await.unwrap();
    let expected = metrics(&sales, &stocks);
    assert!(expected.len() > 20);
    assert_eq!(lines(&rows), expected);
}

fn year_and_week(day: i32) -> (i32, i32) {
    (1970, day / 7 + 1)
}

fn metrics(sales: &[Sale], stocks: &BTreeMap<(i32, i32, i32), Stock>) -> Vec<String> {
    let mut daily: BTreeMap<(i32, i32, i32), [i128; 3]> = BTreeMap::new();
    for sale in sales {
        let sums = daily
            .entry((sale.day, sale.store, sale.product))
            .or_default();
        sums[0] += sale.quantity.unwrap_or(0);
        sums[1] += sale.amount;
        sums[2] += sale.cost;
    }
    let groups: BTreeSet<_> = daily
        .keys()
        .map(|(day, store, product)| (year_and_week(*day), *store, *product))
        .collect();
    let mut lines = Vec::new();
    for ((year, week), store, product) in groups {
        let [mut qty, mut amt, mut cost] = [0_i128; 3];
        let [
            mut on_hand_eow,
            mut on_order_eow,
            mut potential,
            mut no_stock_amt,
        ] = [0_i128; 4];
        let [mut out_days, mut low_days] = [0_i32; 2];
        for day in (week - 1) * 7..week * 7 {
            let Some(sold) = daily.get(&(day, store, product)) else {
                continue;
            };
            let stock = stocks.get(&(day, store, product));
            let on_hand = stock.and_then(|stock| stock.on_hand).unwrap_or(0);
            let out = stock.map_or(0, |stock| stock.out);
            qty += sold[0];
            amt += sold[1];
            cost += sold[2];
            if day % 7 == 6 {
                on_hand_eow = on_hand;
                on_order_eow = stock.map_or(0, |stock| stock.on_order);
            }
            out_days += out;
            if on_hand < sold[0] {
                low_days += 1;
                potential += sold[0] - on_hand;
            }
            if out == 1 {
                no_stock_amt += sold[1];
            }
        }
        // A quotient of hundredths, cut off after six digits.
        let ratio = |a: i128, b: i128| match b {
            0 => String::new(),
            _ => decimal(a * 1_000_000 / b, 6),
        };
        let money = |hundredths| decimal(hundredths, 2);
        let percent = f64::from(out_days) / 7.0 * 100.0;
        lines.push(format!(
            "{year},{week},{store},{product},{},{},{},{},{},{},{percent:?},{out_days},{low_days},{},{},{},{}",
            money(qty),
            money(amt),
            ratio(amt, qty),
            money(cost),
            money(on_hand_eow),
            money(on_order_eow),
            out_days + low_days,
            money(potential),
            money(no_stock_amt),
            ratio(on_hand_eow, qty),
        ));
    }
    lines.sort();
    lines
}

fn decimal(value: i128, digits: usize) -> String {
    let unit = 10_i128.pow(u32::try_from(digits).unwrap());
    format!("{}.{:0digits$}", value / unit, value % unit)
}

fn money(values: impl IntoIterator<Item = Option<i128>>) -> Arc<Decimal128Array> {
    let values: Decimal128Array = values.into_iter().collect();
    Arc::new(values.with_precision_and_scale(38, 2).unwrap())
}

fn tables(sales: &[Sale], stocks: &BTreeMap<(i32, i32, i32), Stock>) -> Vec<Memory> {
    let dates = |days: Vec<i32>| Arc::new(Date32Array::from(days)) as _;
    let ints = |values: Vec<i32>| Arc::new(Int32Array::from(values)) as _;
    let sales = batch(vec![
        ("trans_dt", dates(sales.iter().map(|s| s.day).collect())),
        ("store_key", ints(sales.iter().map(|s| s.store).collect())),
        ("prod_key", ints(sales.iter().map(|s| s.product).collect())),
        ("sales_qty", money(sales.iter().map(|s| s.quantity)) as _),
        (
            "sales_amt",
            money(sales.iter().map(|s| Some(s.amount))) as _,
        ),
        ("sales_cost", money(sales.iter().map(|s| Some(s.cost))) as _),
    ]);
    let inventory = batch(vec![
        ("cal_dt", dates(stocks.keys().map(|key| key.0).collect())),
        ("store_key", ints(stocks.keys().map(|key| key.1).collect())),
        ("prod_key", ints(stocks.keys().map(|key| key.2).collect())),
        (
            "inventory_on_hand_qty",
            money(stocks.values().map(|s| s.on_hand)) as _,
        ),
        (
            "inventory_on_order_qty",
            money(stocks.values().map(|s| Some(s.on_order))) as _,
        ),
        (
            "out_of_stock_flg",
            ints(stocks.values().map(|s| s.out).collect()),
        ),
    ]);
    let day_of_week: StringArray = DAYS.map(|day| Some((day % 7).to_string())).collect();
    let calendar = batch(vec![
        ("cal_dt", dates(DAYS.collect())),
        ("day_of_wk_num", Arc::new(day_of_week) as _),
        (
            "yr_num",
            ints(DAYS.map(|day| year_and_week(day).0).collect()),
        ),
        (
            "wk_num",
            ints(DAYS.map(|day| year_and_week(day).1).collect()),
        ),
    ]);
    vec![
        Memory::new("sales", sales).spread(64),
        Memory::new("inventory", inventory).spread(64),
        Memory::new("calendar", calendar),
    ]
}
