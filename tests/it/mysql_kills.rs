//! Killed at any moment and started again, a pipeline from MySQL ends with exactly the table's rows:
//! keyed tables go on in the middle, what can't is read again.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use tidegate_testkit::servers::{MariaDb, mariadb};

use super::mysql::{count_numbers, make_numbers, to_parquet};
use super::support::{Running, Site, until, visible_files};

const ROWS: usize = 300_000;

/// How many kills land at any moment, for each way of reading.
const KILLS: u32 = 12;

/// Many small epochs.
const OFTEN: &str = "bytes = \"1 MB\"";

fn start(site: &Site) -> Running {
    site.start(&[])
}

/// Starts a pipeline that reads everything once, and kills it, until one run ends by itself; and all
/// that on fresh sites until enough kills have landed. `check` sees each site after each kill
/// (`false`) and at the end (`true`).
///
/// A run that has ended is not followed by another one, which would read everything again.
pub(crate) fn kill_until_it_ends(
    seed: u64,
    kills: u32,
    fresh: impl Fn() -> Site,
    check: impl Fn(&Site, bool),
) {
    let has_finished = |site: &Site| site.state().is_some_and(|state| state.finished);
    let whole = {
        let site = fresh();
        let ended = start(&site).wait().expect_done();
        check(&site, true);
        ended.took
    };
    let mut random = StdRng::seed_from_u64(seed);
    let (mut landed, mut sites) = (0, 0);
    while landed < kills {
        sites += 1;
        assert!(
            sites < 100,
            "only {landed} kills landed in {sites} pipelines"
        );
        let site = fresh();
        let most = landed + kills.div_ceil(2);
        while !has_finished(&site) {
            let running = start(&site);
            if landed >= most {
                running.wait().expect_done();
                continue;
            }
            std::thread::sleep(whole.mul_f64(random.random::<f64>()));
            if running.kill().is_some() {
                landed += 1;
                check(&site, has_finished(&site));
            }
        }
        check(&site, true);
    }
}

fn survives_any_kill(seed: u64, server: &MariaDb, keys: &str) {
    let pipeline = to_parquet(server, "numbers", OFTEN, keys);
    kill_until_it_ends(
        seed,
        KILLS,
        || Site::with(&pipeline),
        |site, done| {
            let rows = count_numbers(site);
            if done {
                // A run that was killed when all was done leaves what was only begun to the next one.
                assert_eq!(rows, ROWS);
            }
        },
    );
}

/// Kills a run as soon as something of it is visible, and says what the next one reports.
fn killed_when_visible(site: &Site) -> serde_json::Value {
    let running = start(site);
    until("a visible file", || {
        (!visible_files(&site.path("out")).is_empty()).then_some(())
    });
    assert!(running.kill().is_some(), "the run was over too soon");
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();
    report
}

/// Kills a run on its way, before anything of it is visible, and says what the next one reports.
fn killed_before_anything_is_visible(pipeline: &str) -> (Site, serde_json::Value) {
    let whole = start(&Site::with(pipeline)).wait().expect_done().took;
    // From the middle towards the beginning, until it was early enough.
    let site = (10..20).find_map(|part| {
        let site = Site::with(pipeline);
        let running = start(&site);
        std::thread::sleep(whole * 5 / part);
        let early = running.kill().is_some() && visible_files(&site.path("out")).is_empty();
        early.then_some(site)
    });
    let site = site.expect("a run that is killed early enough");
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();
    (site, report)
}

#[test]
fn a_keyed_table_is_read_on_in_the_middle() {
    let server = mariadb();
    make_numbers(&server, ROWS, "PRIMARY KEY", 5);
    let site = Site::with(&to_parquet(&server, "numbers", OFTEN, ""));
    let report = killed_when_visible(&site);
    assert_eq!(report["resumed"], true);
    assert_eq!(count_numbers(&site), ROWS);
    let read = report["components"][0]["rows_out"].as_u64().expect("rows");
    assert!(
        (1..ROWS as u64).contains(&read),
        "the second run read {read} rows"
    );
    survives_any_kill(11, &server, "");
}

#[test]
fn a_consistent_snapshot_starts_over() {
    let server = mariadb();
    make_numbers(&server, ROWS, "PRIMARY KEY", 5);
    let keys = "snapshot = \"consistent\"";
    let (site, report) =
        killed_before_anything_is_visible(&to_parquet(&server, "numbers", OFTEN, keys));
    assert_eq!(
        report["components"][0]["rows_out"].as_u64(),
        Some(ROWS as u64)
    );
    assert_eq!(count_numbers(&site), ROWS);
    survives_any_kill(12, &server, keys);
}

#[test]
fn a_table_without_a_key_starts_over() {
    let server = mariadb();
    make_numbers(&server, ROWS, "", 5);
    let (site, report) =
        killed_before_anything_is_visible(&to_parquet(&server, "numbers", OFTEN, ""));
    assert_eq!(
        report["components"][0]["rows_out"].as_u64(),
        Some(ROWS as u64)
    );
    assert_eq!(count_numbers(&site), ROWS);
    survives_any_kill(13, &server, "");
}
