//! `examples/stackoverflow`, from the API to a query over the ten most used tags.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use tidegate_testkit::servers::{Kind, StackExchange};

use super::lake::{Environment, Lake};
use super::stackoverflow::{assert_no_violation, day, rules, settle};
use super::support::{Ended, Site};

const RAW: &str = "tidegate-stackoverflow-raw";
const PROCESSED: &str = "tidegate-stackoverflow-processed";

/// The times of the real API are too long for a test.
const SOON: [&str; 2] = ["sources.api.lag=2s", "sources.api.repeat_after=1s"];

struct Hour {
    api: StackExchange,
    lake: Lake,
    environment: Environment,
    site: Site,
}

impl Hour {
    fn new() -> Self {
        let api = StackExchange::start(rules());
        let lake = Lake::new();
        lake.s3.bucket(RAW);
        lake.s3.bucket(PROCESSED);
        let environment = lake
            .environment()
            .with("RAW_BUCKET", RAW)
            .with("PROCESSED_BUCKET", PROCESSED)
            .with("STACKEXCHANGE_URL", &api.url());
        Self {
            api,
            lake,
            environment,
            site: Site::of_example("stackoverflow"),
        }
    }

    fn ingest(&self) -> Ended {
        let [lag, repeat] = SOON;
        self.environment.tidegate(
            &self.site,
            &["run", "ingest.toml", "--set", lag, "--set", repeat],
        )
    }

    fn process(&self, day: &str) {
        let environment = self.environment.clone();
        // A name of the pipeline file, as `$(date …)` would set it.
        let day: &'static str = day.to_owned().leak();
        let environment = environment.with("DAY", day);
        environment
            .tidegate(&self.site, &["run", "process.toml"])
            .expect_done();
    }

    fn raw_files(&self) -> Vec<String> {
        let objects = self.lake.s3.objects(RAW, "questions_raw/");
        objects.into_iter().map(|object| object.key).collect()
    }

    /// The ten most used tags of all questions there are.
    fn top_ten(&self) -> Vec<(String, i64)> {
        let mut counts = BTreeMap::<String, i64>::new();
        for question in self.api.site("stackoverflow").truth(Kind::Questions) {
            for tag in question["tags"].as_array().expect("tags") {
                *counts
                    .entry(tag.as_str().expect("a tag").to_owned())
                    .or_default() += 1;
            }
        }
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by(|(a, x), (b, y)| y.cmp(x).then(a.cmp(b)));
        counts.truncate(10);
        counts
    }
}

fn date(time: DateTime<Utc>) -> Value {
    let part =
        |pattern: &str| -> i64 { time.format(pattern).to_string().parse().expect("a number") };
    json!([part("%Y"), part("%m"), part("%d")])
}

#[test]
fn an_hour_of_stack_overflow_ends_with_the_ten_most_used_tags() {
    let hour = Hour::new();
    let questions = hour.api.site("stackoverflow");
    questions.questions(1_200, Duration::from_secs(20 * 3_600), 9);
    settle(&hour.api);

    let now = Utc::now();
    hour.ingest().expect_done();
    let raw = hour.raw_files();
    let directory = format!("questions_raw/{}/stackoverflow_raw_data_", day(now));
    assert!(
        raw.len() >= 12 && raw.iter().all(|key| key.starts_with(&directory)),
        "{raw:?}"
    );
    assert!(raw.iter().all(|key| key.ends_with(".json")), "{raw:?}");
    for key in &raw {
        let page: Value = serde_json::from_slice(&hour.lake.s3.get(RAW, key)).expect("JSON");
        assert!(page["items"].is_array() && page["has_more"].is_boolean());
    }

    hour.process(&day(now));
    let trending = "SELECT tag, tag_count, year, month, day FROM stackoverflow_db.trending_tags \
                    ORDER BY tag_count DESC, tag";
    let found = hour.environment.query(&hour.site, trending);
    let first = hour.top_ten();
    let wanted = |top: &[(String, i64)]| -> Vec<Value> {
        let date = date(now);
        top.iter()
            .map(|(tag, count)| {
                json!({"tag": tag, "tag_count": count, "year": date[0], "month": date[1], "day": date[2]})
            })
            .collect()
    };
    assert_eq!(found, wanted(&first));
    let directory = now.format("USE_CASES/STACKOVERFLOW_TAGS/year=%Y/month=%-m/day=%-d/");
    assert!(
        !hour
            .lake
            .s3
            .objects(PROCESSED, &directory.to_string())
            .is_empty()
    );

    // An hour later: edits, new questions and answers. Each question counts once, as it is now.
    for id in questions.ids(Kind::Questions).into_iter().step_by(7) {
        assert!(questions.edit(id));
    }
    for _ in 0..30 {
        questions.add_question();
    }
    settle(&hour.api);
    hour.ingest().expect_done();
    hour.process(&day(now));
    let second = hour.top_ten();
    let mut both = [wanted(&first), wanted(&second)].concat();
    let order = |row: &Value| {
        let count = row["tag_count"].as_i64().expect("a count");
        (-count, row["tag"].as_str().expect("a tag").to_owned())
    };
    both.sort_by_key(order);
    assert_eq!(hour.environment.query(&hour.site, trending), both);

    // Each run's ten are there, so a tag counts once or twice.
    let query = hour.site.read("query.sql");
    let counted = hour.environment.query(&hour.site, query.trim());
    assert_eq!(counted.len(), 10);
    let mut times = BTreeMap::<&str, i64>::new();
    for (tag, _) in first.iter().chain(&second) {
        *times.entry(tag).or_default() += 1;
    }
    for row in &counted {
        let tag = row["tag"].as_str().expect("a tag");
        assert_eq!(row["tag_count"].as_i64(), times.get(tag).copied(), "{tag}");
    }

    // README.md's query for how questions are now.
    let merged = hour.environment.query(
        &hour.site,
        "SELECT count(*) AS questions, count(last_edit_date) AS edited FROM (SELECT *, \
         row_number() OVER (PARTITION BY question_id ORDER BY last_activity_date DESC) AS place \
         FROM stackoverflow_db.questions) WHERE place = 1",
    );
    let truth = questions.truth(Kind::Questions);
    let edited = truth
        .iter()
        .filter(|row| row["last_edit_date"].is_i64())
        .count();
    assert_eq!(
        merged,
        [json!({"questions": truth.len(), "edited": edited})]
    );
    assert_no_violation(&hour.api);
}
