//! The `files` source and sink in whole pipelines: bad rows, many workers, watched directories, and
//! every format there and back.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::support::{Site, batches_of, hidden_files, lines_of, rows_of, until, visible_files};

const MILLION: i64 = 1_000_000;
/// The bad row's place: its line, from 1, in a file without a header.
const BAD: i64 = 500_001;

/// A million rows; that in line [`BAD`] is none.
fn with_a_bad_row(header: &str, row: impl Fn(&mut String, i64), bad: &str) -> String {
    let mut text = String::with_capacity(40_000_000);
    text.push_str(header);
    for id in 1..=MILLION {
        match id == BAD {
            true => text.push_str(bad),
            false => row(&mut text, id),
        }
        text.push('\n');
    }
    text
}

fn ndjson_with_a_bad_row() -> String {
    let row = |text: &mut String, id| {
        write!(text, r#"{{"id":{id},"amount":{}}}"#, id * 7).expect("a string");
    };
    with_a_bad_row("", row, r#"{"id":500001,"amount":"plenty"}"#)
}

fn gzipped(text: &str) -> Vec<u8> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory");
    gzip.finish().expect("memory")
}

fn rejecting(file: &str, more: &str, sinks: &str) -> String {
    format!(
        r#"
        name = "reject"

        [sources.rows]
        type = "files"
        url = "{file}"
        schema = [{{ name = "id", type = "int64" }}, {{ name = "amount", type = "int64" }}]
        {more}

        [sinks.good]
        type = "parquet"
        inputs = ["rows"]
        url = "good"

        {sinks}
        "#
    )
}

const BAD_ROWS: &str = r#"
        [sinks.bad]
        type = "files"
        inputs = ["rows.rejected"]
        url = "bad"
"#;

/// Asserts that one row was rejected, with everything that is to be known of it, and that all others
/// arrived.
fn one_row_is_rejected(file: &str, bytes: impl AsRef<[u8]>, more: &str, line: i64) {
    let site = Site::with(&rejecting(file, more, BAD_ROWS));
    site.write(file, bytes);
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();

    let bad = lines_of(&site.path("bad"));
    let [bad] = &bad[..] else {
        panic!("{} rejected rows", bad.len())
    };
    assert_eq!(bad["component"], "rows");
    assert_eq!(bad["line"], line);
    let path = bad["file"].as_str().expect("a file");
    assert!(path.ends_with(file), "{path}");
    assert!(
        bad["row"].as_str().expect("the row").contains("plenty"),
        "{bad}"
    );
    let reason = bad["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("`amount`") && reason.contains("plenty"),
        "{reason}"
    );

    let mut ids: Vec<i64> = Vec::new();
    for batch in batches_of(&site.path("good")) {
        let column = |name| batch.column_by_name(name).expect("a column");
        let amounts = column("amount").as_primitive::<Int64Type>().values();
        for (id, amount) in column("id")
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .zip(amounts)
        {
            assert_eq!(*amount, id * 7);
            ids.push(*id);
        }
    }
    ids.sort_unstable();
    assert!(
        ids.into_iter().eq((1..=MILLION).filter(|id| *id != BAD)),
        "nothing else is lost"
    );

    assert_eq!(report["rejected"], 1);
    assert_eq!(component(&report, "rows")["rejected"], 1);
    assert_eq!(component(&report, "good")["rows_in"], MILLION - 1);
    assert_eq!(component(&report, "bad")["rows_in"], 1);
}

fn component<'a>(report: &'a Value, id: &str) -> &'a Value {
    let components = report["components"].as_array().expect("components");
    components
        .iter()
        .find(|one| one["id"] == id)
        .unwrap_or_else(|| panic!("no {id}: {report}"))
}

#[test]
fn a_bad_row_of_a_million_is_told_by_its_line_though_the_file_is_read_in_pieces() {
    one_row_is_rejected(
        "rows.ndjson",
        ndjson_with_a_bad_row(),
        r#"piece_size = "1 MiB""#,
        BAD,
    );
}

#[test]
fn a_bad_row_of_a_million_is_told_by_its_line_in_a_gzipped_file() {
    one_row_is_rejected("rows.ndjson.gz", gzipped(&ndjson_with_a_bad_row()), "", BAD);
}

#[test]
fn a_bad_row_of_a_million_is_told_by_its_line_in_a_csv_file() {
    let row = |text: &mut String, id| write!(text, "{id},{}", id * 7).expect("a string");
    let text = with_a_bad_row("id,amount\n", row, "500001,plenty");
    one_row_is_rejected("rows.csv", text, "", BAD + 1);
}

/// What a transform rejects of a file whose third line has a bad amount.
fn rejected_behind(file: &str, bytes: impl AsRef<[u8]>, transforms: &str, of: &str) -> Value {
    let site = Site::with(&format!(
        r#"
        name = "behind"

        [sources.rows]
        type = "files"
        url = "{file}"

        {transforms}

        [sinks.good]
        type = "console"
        inputs = ["{of}"]

        [sinks.bad]
        type = "files"
        inputs = ["{of}.rejected"]
        url = "bad"
        "#
    ));
    site.write(file, bytes);
    site.run(&[]).expect_done();
    let bad = lines_of(&site.path("bad"));
    assert_eq!(bad.len(), 1, "{bad:?}");
    bad[0].clone()
}

const AMOUNTS: &str = r#"
        [transforms.whole]
        type = "sql"
        inputs = ["rows"]
        query = "SELECT CAST(amount AS INT) AS amount FROM rows WHERE id > 1"
"#;

#[test]
fn a_row_that_a_query_rejects_is_whole_and_told_by_its_file_and_line() {
    let csv = "id,amount,note\n1,7,no\n3,?,look\n4,8,no\n";
    let json = "{\"id\":1,\"amount\":\"7\",\"note\":\"no\"}\n\n\
                {\"id\":3,\"amount\":\"?\",\"note\":\"look\"}\n";
    for (file, text) in [("rows.csv", csv), ("rows.ndjson", json)] {
        let bad = rejected_behind(file, text, AMOUNTS, "whole");
        assert_eq!(bad["row"], r#"{"id":3,"amount":"?","note":"look"}"#);
        assert_eq!(bad["line"], 3, "{bad}");
        let path = bad["file"].as_str().expect("a file");
        assert!(path.ends_with(file), "{path}");
    }
}

#[test]
fn a_row_that_a_second_query_rejects_is_told_by_its_file() {
    let chain = r#"
        [transforms.some]
        type = "sql"
        inputs = ["rows"]
        query = "SELECT * FROM rows WHERE id > 1"

        [transforms.more]
        type = "sql"
        inputs = ["some"]
        query = "SELECT CAST(amount AS DECIMAL(10,1)) AS amount FROM some"
    "#;
    let bad = rejected_behind("rows.csv", "id,amount\n1,7\n3,?\n", chain, "more");
    assert_eq!(bad["row"], r#"{"id":3,"amount":"?"}"#);
    assert!(bad["file"].as_str().expect("a file").ends_with("rows.csv"));
    assert_eq!(bad["line"], Value::Null);
    let reason = bad["reason"].as_str().expect("a reason");
    assert!(
        reason.ends_with("to value of DECIMAL(10,1) type"),
        "{reason}"
    );
}

#[test]
fn a_bad_row_that_nobody_reads_ends_the_run() {
    let site = Site::with(&rejecting("rows.ndjson", "", ""));
    site.write(
        "rows.ndjson",
        "{\"id\":1,\"amount\":7}\n{\"id\":2,\"amount\":\"plenty\"}\n",
    );
    site.run(&[]).expect_code(1).expect_said(&[
        "rows.ndjson",
        "line: 2",
        "plenty",
        "rows.rejected",
    ]);
    assert_eq!(visible_files(&site.path("good")), [] as [PathBuf; 0]);
    assert_eq!(hidden_files(&site.path("good")), [] as [PathBuf; 0]);
}

#[test]
fn more_rejected_rows_than_the_limit_have_an_exit_code_of_their_own() {
    let bad = "{\"id\":1,\"amount\":\"plenty\"}\n";
    for (limit, code) in [(2, 0), (1, 3)] {
        let site = Site::with(&format!(
            "rejected_limit = {limit}\n{}",
            rejecting("rows.ndjson", "", BAD_ROWS)
        ));
        site.write(
            "rows.ndjson",
            format!("{{\"id\":1,\"amount\":7}}\n{bad}{bad}"),
        );
        let (ended, report) = site.run_with_report(&[]);
        ended.expect_code(code);
        assert_eq!(report["rejected"], 2);
        assert_eq!(report["rejected_over_limit"], code == 3);
        assert_eq!(lines_of(&site.path("bad")).len(), 2);
        assert_eq!(rows_of(&site.path("good")).len(), 1);
    }
}

#[test]
fn many_workers_leave_one_file_of_a_small_input() {
    let copy = |sink: &str| {
        format!(
            r#"
            name = "small"
            [sources.rows]
            type = "files"
            url = "in"
            [sinks.lake]
            type = "{sink}"
            inputs = ["rows"]
            url = "out"
            "#
        )
    };
    for sink in ["parquet", "files"] {
        let site = Site::with(&copy(sink));
        for file in 0..20 {
            let rows: String = (0..1000)
                .map(|row| format!("{{\"id\":{}}}\n", file * 1000 + row))
                .collect();
            site.write(&format!("in/{file}.ndjson"), rows);
        }
        let (ended, report) = site.run_with_report(&["--workers", "64"]);
        ended.expect_done();
        assert_eq!(
            visible_files(&site.path("out")).len(),
            1,
            "of the sink {sink}"
        );
        assert_eq!(component(&report, "lake")["files"], 1);
        assert_eq!(component(&report, "lake")["rows_in"], 20_000);
        assert_eq!(component(&report, "rows")["files"], 20);
    }
}

/// The processor time, in clock ticks, of each of a process's threads of this name.
fn ticks(process: u32, name: &str) -> Vec<u64> {
    let tasks = fs::read_dir(format!("/proc/{process}/task"))
        .into_iter()
        .flatten();
    let stats = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok());
    let ticks = stats.filter_map(|stat| {
        let (head, rest) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split(' ').collect();
        // utime and stime, the 14th and 15th field; the 3rd is the first one after the name.
        let time = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
        head.contains(name).then_some(time)
    });
    ticks.collect()
}

#[test]
fn one_gzipped_file_is_decoded_by_several_workers() {
    let site = Site::with(&rejecting("rows.ndjson.gz", "", ""));
    let rows: String = (0..3_000_000)
        .map(|id| format!("{{\"id\":{id},\"amount\":{}}}\n", id * 7))
        .collect();
    site.write("rows.ndjson.gz", gzipped(&rows));
    let mut running = site.start(&["--workers", "2"]);
    let mut most = Vec::new();
    while !running.has_ended() {
        let now = ticks(running.id(), "worker");
        if now.iter().sum::<u64>() > most.iter().sum() {
            most = now;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    running.wait().expect_done();
    assert_eq!(most.len(), 2, "two worker threads");
    assert!(
        most.iter().all(|ticks| *ticks >= 5),
        "processor time of each, in ticks: {most:?}"
    );
}

#[test]
fn rows_that_a_map_behind_maps_rejects_are_told_by_file_and_line() {
    let pipeline = |format: &str| {
        format!(
            r#"
            name = "chain"

            [sources.rows]
            type = "files"
            url = "in/*.{format}"
            piece_size = "100 KB"

            [transforms.odd]
            type = "sql"
            inputs = ["rows"]
            query = "SELECT id, body, 100 / k AS share FROM rows WHERE id % 2 = 1"

            [transforms.documents]
            type = "json"
            inputs = ["odd"]
            column = "body"
            records = "/items"
            keep = ["id"]
            schema = [{{ name = "n", type = "int64" }}]

            [transforms.halves]
            type = "sql"
            inputs = ["documents"]
            query = "SELECT id, 12 / n AS half FROM documents WHERE n < 5"

            [sinks.good]
            type = "files"
            inputs = ["halves"]
            url = "good"
            format = "ndjson"

            [sinks.bad]
            type = "files"
            inputs = ["odd.rejected", "documents.rejected", "halves.rejected"]
            url = "bad/{{stream}}"
            format = "ndjson"
            "#
        )
    };
    // Each row has three documents; of some, one isn't right.
    let row = |id: i64| {
        let middle = match id {
            3_001 | 3_003 | 29_999 => "0",
            5_001 => "\\\"x\\\"",
            id if id % 3 == 0 => "7",
            _ => "2",
        };
        let body = format!(r#"{{\"items\":[{{\"n\":1}},{{\"n\":{middle}}},{{\"n\":3}}]}}"#);
        let k = i64::from(id != 7_001);
        (k, body)
    };
    let lines = |format: &str, ids: std::ops::Range<i64>| {
        let mut text = String::new();
        if format == "csv" {
            text.push_str("id,k,body\n");
        }
        for id in ids {
            let (k, body) = row(id);
            match format {
                "csv" => {
                    let body = body.replace("\\\"", "\"").replace('"', "\"\"");
                    writeln!(text, "{id},{k},\"{body}\"").expect("a string");
                }
                _ => {
                    writeln!(text, r#"{{"id":{id},"k":{k},"body":"{body}"}}"#).expect("a string");
                }
            }
        }
        text
    };
    for (format, header) in [("ndjson", 0), ("csv", 1)] {
        let site = Site::with(&pipeline(format));
        site.write(&format!("in/a.{format}"), lines(format, 0..20_000));
        site.write(&format!("in/b.{format}"), lines(format, 20_000..40_000));
        site.run(&[]).expect_done();
        let mut found: Vec<_> = lines_of(&site.path("bad"))
            .iter()
            .map(|bad| {
                let file = bad["file"].as_str().expect("a file");
                let file = file.rsplit('/').next().expect("a name").to_owned();
                let component = bad["component"].as_str().expect("a component");
                assert!(bad["offset"].is_u64() && bad["split"].is_string(), "{bad}");
                (
                    component.to_owned(),
                    file,
                    bad["line"].as_i64().expect("a line"),
                )
            })
            .collect();
        found.sort();
        let wanted = [
            ("documents", "a", 5_002),
            ("halves", "a", 3_002),
            ("halves", "a", 3_004),
            ("halves", "b", 10_000),
            ("odd", "a", 7_002),
        ];
        let wanted = wanted.map(|(component, file, line)| {
            (
                component.to_owned(),
                format!("{file}.{format}"),
                line + header,
            )
        });
        assert_eq!(found, wanted);
    }
}

#[test]
fn a_watched_directory_gives_files_as_they_arrive() {
    let site = Site::with(
        r#"
        name = "watch"
        guarantee = "exactly_once"

        [checkpoint]
        interval = "100ms"

        [sources.rows]
        type = "files"
        url = "in/*.ndjson"
        watch = true
        poll = "50ms"
        schema = [{ name = "id", type = "int64" }]

        [sinks.lines]
        type = "files"
        inputs = ["rows"]
        url = "out"
        "#,
    );
    let put = |name: &str, id: i64| {
        let whole = site.write(&format!("in/.{name}"), format!("{{\"id\":{id}}}\n"));
        fs::rename(whole, site.path(format!("in/{name}.ndjson"))).expect("it is renamed");
    };
    let ids = || {
        let rows = lines_of(&site.path("out"));
        let mut ids: Vec<_> = rows
            .iter()
            .map(|row| row["id"].as_i64().expect("an id"))
            .collect();
        ids.sort_unstable();
        ids
    };
    let arrived = |wanted: &[i64]| until("new rows", || (ids() == wanted).then_some(()));
    fs::create_dir(site.path("in")).expect("a directory");

    let running = site.start(&[]);
    put("a", 1);
    arrived(&[1]);
    put("b", 2);
    put("c", 3);
    arrived(&[1, 2, 3]);
    running.signal("INT");
    running.wait().expect_code(4);

    put("d", 4);
    let running = site.start(&[]);
    arrived(&[1, 2, 3, 4]);
    // Killed, it knows as well what it has read.
    running.kill().expect("it runs forever");
    put("e", 5);
    let running = site.start(&[]);
    arrived(&[1, 2, 3, 4, 5]);
    running.signal("TERM");
    running.wait().expect_code(4);
    assert_eq!(ids(), [1, 2, 3, 4, 5]);
    assert_eq!(hidden_files(&site.path("out")), [] as [PathBuf; 0]);
}

#[test]
fn an_incremental_source_reads_each_file_once() {
    let site = Site::with(
        r#"
        name = "incremental"
        [sources.rows]
        type = "files"
        url = "in"
        incremental = true
        [sinks.lines]
        type = "files"
        inputs = ["rows"]
        url = "out"
        "#,
    );
    let mut read = 0;
    for (file, rows) in [("a", 3), ("b", 5)] {
        let text: String = (0..rows).map(|id| format!("{{\"id\":{id}}}\n")).collect();
        site.write(&format!("in/{file}.ndjson"), text);
        for new in [rows, 0] {
            let (ended, report) = site.run_with_report(&[]);
            ended.expect_done();
            assert_eq!(component(&report, "rows")["rows_out"], new);
            read += new;
            assert_eq!(lines_of(&site.path("out")).len(), read);
        }
    }
}

const TYPED: &str = r#"schema = [
    { name = "id", type = "int64", nullable = false },
    { name = "name", type = "string" },
    { name = "price", type = "decimal(12,2)" },
    { name = "day", type = "date" },
    { name = "at", type = "timestamp" },
    { name = "ok", type = "bool" },
    { name = "share", type = "float64" },
]"#;

fn typed_rows() -> Vec<Value> {
    let names = [
        "Zoë",
        "a \"quoted\", name",
        "two\nlines",
        " padded ",
        "日本語",
    ];
    (0..1000)
        .map(|id| match id % 7 {
            0 => json!({ "id": id }),
            _ => json!({
                "id": id,
                "name": names[usize::try_from(id).expect("small") % names.len()],
                "price": format!("{}.{:02}", id * 3 - 500, id % 100),
                "day": format!("2024-02-{:02}", 1 + id % 29),
                "at": format!("2024-02-29T12:{:02}:00.25Z", id % 60),
                "ok": id % 2 == 0,
                "share": f64::from(id) / 8.0,
            }),
        })
        .collect()
}

fn there(format: &str, compression: &str) -> String {
    format!(
        r#"
        name = "there"
        [sources.rows]
        type = "files"
        url = "in.ndjson"
        {TYPED}
        [sinks.out]
        type = "files"
        inputs = ["rows"]
        url = "out"
        format = "{format}"
        {compression}
        "#
    )
}

fn back(format: &str) -> String {
    let schema = if format == "parquet" { "" } else { TYPED };
    format!(
        r#"
        name = "back"
        [sources.rows]
        type = "files"
        url = "out"
        {schema}
        [sinks.lake]
        type = "parquet"
        inputs = ["rows"]
        url = "back"
        [sinks.lake_of_the_input]
        type = "parquet"
        inputs = ["original"]
        url = "original"
        [sources.original]
        type = "files"
        url = "in.ndjson"
        {TYPED}
        "#
    )
}

#[test]
fn what_the_sink_writes_the_source_reads_back_in_every_format() {
    let lines: String = typed_rows().iter().map(|row| format!("{row}\n")).collect();
    let all = ["ndjson", "json", "csv", "parquet"]
        .into_iter()
        .flat_map(|format| [(format, "none"), (format, "gzip"), (format, "zstd")])
        .filter(|(format, compression)| *format != "parquet" || *compression == "none");
    for (format, compression) in all {
        let site = Site::with(&there(format, &format!("compression = \"{compression}\"")));
        site.write("in.ndjson", &lines);
        site.run(&[]).expect_done();
        let files = visible_files(&site.path("out"));
        let [file] = &files[..] else {
            panic!("{} files", files.len())
        };
        let ending = match compression {
            "gzip" => format!(".{format}.gz"),
            "zstd" => format!(".{format}.zst"),
            _ => format!(".{format}"),
        };
        assert!(
            file.to_string_lossy().ends_with(&ending),
            "{}",
            file.display()
        );
        site.write("pipeline.toml", back(format));
        site.run(&[]).expect_done();
        let sorted = |directory| {
            let mut rows = rows_of(&site.path(directory));
            rows.sort_by_key(|row| row["id"].as_i64());
            rows
        };
        let (original, back) = (sorted("original"), sorted("back"));
        assert_eq!(original.len(), 1000);
        for (original, back) in original.iter().zip(&back) {
            assert_eq!(back, original, "{format}, {compression}");
        }
        assert_eq!(back.len(), 1000);
    }
}

#[test]
fn raw_payloads_arrive_byte_for_byte() {
    let payloads: [&[u8]; 4] = [b"", b"\x00\xff\xfe\r\n", b"plain text", &[7; 100_000]];
    for (compression, ending) in [("none", ".bin"), ("gzip", ".bin.gz"), ("zstd", ".bin.zst")] {
        let site = Site::with(&format!(
            r#"
            name = "raw"
            [sources.in]
            type = "files"
            url = "in"
            format = "raw"
            [sinks.middle]
            type = "files"
            inputs = ["in"]
            url = "middle"
            format = "raw"
            compression = "{compression}"
            "#
        ));
        for (number, payload) in payloads.iter().enumerate() {
            site.write(&format!("in/{number}.bin"), payload);
        }
        site.run(&[]).expect_done();
        let files = visible_files(&site.path("middle"));
        assert_eq!(files.len(), payloads.len());
        let mut found: Vec<Vec<u8>> = files.iter().map(|file| plain(file, ending)).collect();
        found.sort();
        let mut wanted = payloads.map(<[u8]>::to_vec);
        wanted.sort();
        assert_eq!(found, wanted);
    }
}

/// A file's bytes, decompressed by others than ourselves.
fn plain(file: &Path, ending: &str) -> Vec<u8> {
    assert!(
        file.to_string_lossy().ends_with(ending),
        "{}",
        file.display()
    );
    let bytes = fs::read(file).expect("a file");
    match ending {
        ".bin.gz" => {
            let mut plain = Vec::new();
            let mut gzip = flate2::read::MultiGzDecoder::new(&bytes[..]);
            std::io::Read::read_to_end(&mut gzip, &mut plain).expect("gzip");
            plain
        }
        ".bin.zst" => zstd::decode_all(&bytes[..]).expect("zstd"),
        _ => bytes,
    }
}

#[test]
fn names_of_files_tell_their_stream_and_their_time() {
    let site = Site::with(
        r#"
        name = "names"
        [sources.numbers]
        type = "generate"
        rows = 10
        columns = [{ name = "id", type = "sequence" }]
        [sinks.lines]
        type = "files"
        inputs = ["numbers"]
        url = "out/{stream}/{%Y/%m/%d}/day={date}/hour={hour}/{part}.csv.gz"
        "#,
    );
    let before = chrono::Utc::now();
    site.run(&[]).expect_done();
    let after = chrono::Utc::now();
    let files = visible_files(&site.path("out"));
    let [file] = &files[..] else {
        panic!("{} files", files.len())
    };
    let directory = file
        .parent()
        .expect("a directory")
        .strip_prefix(site.path("out"))
        .expect("inside");
    // It may be midnight in between.
    let wanted = [before, after].map(|now| {
        now.format("numbers/%Y/%m/%d/day=%Y-%m-%d/hour=%H")
            .to_string()
    });
    assert!(
        wanted.iter().any(|one| Path::new(one) == directory),
        "{}",
        directory.display()
    );
    let name = file.file_name().expect("a name").to_string_lossy();
    assert!(
        name.ends_with(".csv.gz") && !name.starts_with("part"),
        "{name}"
    );
}

#[test]
fn the_report_says_what_each_component_did() {
    let site = Site::with(
        r#"
        name = "report"
        [sources.rows]
        type = "files"
        url = "in"
        [transforms.even]
        type = "sql"
        inputs = ["rows"]
        query = "SELECT id FROM rows WHERE id % 2 = 0"
        [sinks.lake]
        type = "parquet"
        inputs = ["even"]
        url = "out"
        [sinks.screen]
        type = "console"
        inputs = ["even"]
        "#,
    );
    let rows: String = (0..100).map(|id| format!("{{\"id\":{id}}}\n")).collect();
    site.write("in/a.ndjson", &rows);
    site.write("in/b.ndjson", &rows);
    let (ended, report) = site.run_with_report(&[]);
    ended.expect_done();

    let has = |value: &Value, keys: &[&str]| {
        for key in keys {
            assert!(value.get(key).is_some(), "no {key} in {value}");
        }
    };
    has(
        &report,
        &[
            "pipeline",
            "run_id",
            "status",
            "duration_s",
            "epochs",
            "components",
            "bound_by",
        ],
    );
    assert_eq!(report["pipeline"], "report");
    assert_eq!(report["status"], "completed");
    assert_eq!(report["epochs"], 1);
    assert!(
        report["duration_s"]
            .as_f64()
            .is_some_and(|seconds| seconds > 0.0)
    );
    let kinds: Vec<_> = report["components"]
        .as_array()
        .expect("components")
        .iter()
        .map(|one| {
            has(
                one,
                &[
                    "rows_in", "rows_out", "rejected", "bytes", "files", "retries", "busy_s",
                ],
            );
            [&one["id"], &one["kind"], &one["type"], &one["guarantee"]].map(Value::clone)
        })
        .collect();
    let row = |id, kind, tag, guarantee: Value| [json!(id), json!(kind), json!(tag), guarantee];
    assert_eq!(
        kinds,
        [
            row("rows", "source", "files", Value::Null),
            row("even", "transform", "sql", Value::Null),
            row("lake", "sink", "parquet", json!("exactly_once")),
            row("screen", "sink", "console", Value::Null),
        ]
    );
    assert_eq!(component(&report, "rows")["rows_out"], 200);
    assert_eq!(component(&report, "rows")["files"], 2);
    assert_eq!(component(&report, "rows")["bytes"], rows.len() * 2);
    assert_eq!(component(&report, "even")["rows_in"], 200);
    assert_eq!(component(&report, "even")["rows_out"], 100);
    assert_eq!(component(&report, "lake")["rows_in"], 100);
    assert_eq!(component(&report, "lake")["files"], 1);
    let written = fs::metadata(&visible_files(&site.path("out"))[0])
        .expect("a file")
        .len();
    assert_eq!(component(&report, "lake")["bytes"], written);
    assert_eq!(component(&report, "screen")["rows_in"], 100);
}
