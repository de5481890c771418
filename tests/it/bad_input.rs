//! Bad input gets a clear error and nothing half-written; and once it is put right, the same
//! command runs.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::ground::{Disk, without_rights};
use super::support::{Ended, Site, files_under, lines_of, rows_of};

const ROWS: usize = 20_000;

/// A pipeline from `in/` to `out/`.
fn pipeline(url: &str, more: &str, sink: &str) -> String {
    format!(
        r#"
        name = "bad"

        [sources.in]
        type = "files"
        url = "{url}"
        {more}

        [sinks.out]
        type = "{sink}"
        inputs = ["in"]
        url = "out"
        "#
    )
}

/// As many lines as `ROWS`, of which `line` makes each one.
fn text(line: impl Fn(usize) -> String) -> String {
    (0..ROWS).map(|row| line(row) + "\n").collect()
}

fn good_line(row: usize) -> String {
    format!(r#"{{"id":{row},"name":"n{row}"}}"#)
}

/// The error as the user sees it: without what the run did before, and without the machine's paths.
fn error_of(site: &Site, ended: &Ended) -> String {
    let at = ended
        .stderr
        .find("error:")
        .unwrap_or_else(|| panic!("no error in:\n{}", ended.stderr));
    let directory = fs::canonicalize(site.path("")).expect("the site");
    ended.stderr[at..]
        .replace(&format!("{}/", directory.display()), "SITE/")
        .replace(&format!("{}", directory.display()), "SITE")
}

/// Nothing is in the output directory, not even hidden, and not even the directory.
#[track_caller]
fn assert_nothing_left(site: &Site) {
    assert!(
        !site.path("out").exists(),
        "left: {:?}",
        files_under(&site.path("out"))
    );
    assert_eq!(
        files_under(&site.path("tmp")),
        [] as [std::path::PathBuf; 0]
    );
}

/// Runs a pipeline over `in/{name}` that must fail with exactly this error and leave nothing; then
/// gives it a file that is right, and runs it again.
#[track_caller]
fn fails_and_is_put_right(name: &str, more: &str, bad: &[u8], error: &str, good: &[u8]) {
    for sink in ["parquet", "files"] {
        let site = Site::with(&pipeline(&format!("in/{name}"), more, sink));
        site.write(&format!("in/{name}"), bad);
        let ended = site.run(&[]).expect_code(1);
        assert_eq!(error_of(&site, &ended), error);
        assert_nothing_left(&site);
        site.write(&format!("in/{name}"), good);
        site.run(&["--restart"]).expect_done();
        expect_rows(&site, sink, ROWS);
    }
}

#[track_caller]
fn expect_rows(site: &Site, sink: &str, rows: usize) {
    let out = site.path("out");
    let found = if sink == "parquet" {
        rows_of(&out)
    } else {
        lines_of(&out)
    };
    assert_eq!(found.len(), rows);
    assert!(
        files_under(&out)
            .iter()
            .all(|path| !path.to_string_lossy().contains("tidegate-tmp"))
    );
}

#[test]
fn a_file_that_may_not_be_read() {
    let site = Site::with(&pipeline("in/a.ndjson", "", "parquet"));
    let file = site.write("in/a.ndjson", text(good_line));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).expect("permissions");
    let ended = site
        .spawn(without_rights(site.command(&["run", "pipeline.toml"])))
        .wait()
        .expect_code(1);
    assert_eq!(
        error_of(&site, &ended),
        "\
error: can't read a file
       path: SITE/in/a.ndjson
  component: in
  caused by: Permission denied (os error 13)
hint: check the permissions of the file and of its directory
"
    );
    assert_nothing_left(&site);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("permissions");
    site.run(&[]).expect_done();
    expect_rows(&site, "parquet", ROWS);
}

#[test]
fn a_directory_without_matches() {
    let site = Site::with(&pipeline("in/*.csv", "", "parquet"));
    site.write("in/a.ndjson", text(good_line));
    let ended = site.run(&[]).expect_code(1);
    assert_eq!(
        error_of(&site, &ended),
        "\
error: no file matches `in/*.csv`
  directory: SITE/in
  component: in
hint: paths are relative to the pipeline file's directory
"
    );
    assert_nothing_left(&site);
    // The error is in the pipeline file: nothing was begun, so it may be put right without a flag.
    site.write("pipeline.toml", pipeline("in/*.ndjson", "", "parquet"));
    site.run(&[]).expect_done();
    expect_rows(&site, "parquet", ROWS);
}

#[test]
fn a_directory_that_is_not_there() {
    let site = Site::with(&pipeline("inn/*.ndjson", "", "files"));
    let ended = site.run(&[]).expect_code(1);
    assert_eq!(
        error_of(&site, &ended),
        "\
error: no file matches `inn/*.ndjson`
    missing: SITE/inn
  component: in
hint: paths are relative to the pipeline file's directory
"
    );
    assert_nothing_left(&site);
}

#[test]
fn text_that_is_not_utf_8() {
    let mut bytes = text(good_line).into_bytes();
    let line = good_line(15_000);
    let at = bytes
        .windows(line.len())
        .position(|found| found == line.as_bytes())
        .expect("the line");
    bytes[at + line.len() - 3] = 0xFF;
    fails_and_is_put_right(
        "a.ndjson",
        "",
        &bytes,
        "\
error: a row was rejected: `{\"id\":15000,\"name\":\"n1500\u{FFFD}\"}` is not valid UTF-8
  component: in
       file: SITE/in/a.ndjson
       line: 15001
        row: {\"id\":15000,\"name\":\"n1500\u{FFFD}\"}
hint: to go on without such rows, give a sink `inputs = [\"in.rejected\"]`
",
        text(good_line).as_bytes(),
    );
}

#[test]
fn a_gzip_that_was_cut_off() {
    // Digits that don't repeat, so that half of the file is far more than one batch.
    let text = text(|row| {
        format!(
            r#"{{"id":{row},"name":"{}"}}"#,
            row.wrapping_mul(2_654_435_761)
        )
    });
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(text.as_bytes()).expect("memory");
    let gzip = gzip.finish().expect("memory");
    fails_and_is_put_right(
        "a.ndjson.gz",
        "",
        &gzip[..gzip.len() / 2],
        "\
error: the gzip data is truncated
       file: SITE/in/a.ndjson.gz
  component: in
hint: the file was cut off, perhaps while it was copied or written; get it again
",
        &gzip,
    );
}

#[test]
fn a_csv_row_with_too_many_fields() {
    let csv = |line: &dyn Fn(usize) -> String| "id,name\n".to_owned() + &text(line);
    fails_and_is_put_right(
        "a.csv",
        "",
        csv(&|row| {
            if row == 12_345 {
                "12345,a,b".to_owned()
            } else {
                format!("{row},n")
            }
        })
        .as_bytes(),
        "\
error: a row was rejected: 3 fields, but the file has 2 columns
  component: in
       file: SITE/in/a.csv
       line: 12347
        row: 12345,a,b
hint: to go on without such rows, give a sink `inputs = [\"in.rejected\"]`
",
        csv(&|row| format!("{row},n")).as_bytes(),
    );
}

#[test]
fn a_schema_that_changes_in_mid_file() {
    let line = |row| match row {
        0..16_000 => good_line(row),
        _ => format!(r#"{{"id":"k{row}","name":"n{row}"}}"#),
    };
    fails_and_is_put_right(
        "a.ndjson",
        r#"schema = [{ name = "id", type = "int64" }, { name = "name", type = "string" }]"#,
        text(line).as_bytes(),
        "\
error: a row was rejected: column `id`: `k16000` is not valid as int64
  component: in
       file: SITE/in/a.ndjson
       line: 16001
        row: {\"id\":\"k16000\",\"name\":\"n16000\"}
hint: to go on without such rows, give a sink `inputs = [\"in.rejected\"]`
",
        text(good_line).as_bytes(),
    );
}

#[test]
fn an_output_directory_without_permission() {
    for sink in ["parquet", "files"] {
        let site =
            Site::with(&pipeline("in/a.ndjson", "", sink).replace(r#""out""#, r#""lake/out""#));
        site.write("in/a.ndjson", text(good_line));
        let lake = site.path("lake");
        fs::create_dir(&lake).expect("a directory");
        fs::set_permissions(&lake, fs::Permissions::from_mode(0o555)).expect("permissions");
        for command in ["check", "run"] {
            let command = without_rights(site.command(&[command, "pipeline.toml"]));
            let ended = site.spawn(command).wait().expect_code(1);
            assert_eq!(
                error_of(&site, &ended),
                "\
error: can't write in this directory
       path: SITE/lake
  component: out
  caused by: Permission denied (os error 13)
hint: check the permissions of the file and of its directory
"
            );
            assert_eq!(ended.stdout, "");
        }
        assert_eq!(files_under(&lake), [] as [std::path::PathBuf; 0]);
        fs::set_permissions(&lake, fs::Permissions::from_mode(0o755)).expect("permissions");
        site.run(&[]).expect_done();
        assert_eq!(files_under(&lake).len(), 1);
    }
}

#[test]
fn a_state_directory_without_permission() {
    let site = Site::with(&pipeline("in/a.ndjson", "", "parquet"));
    site.write("in/a.ndjson", text(good_line));
    fs::create_dir(site.path("states")).expect("a directory");
    fs::set_permissions(site.path("states"), fs::Permissions::from_mode(0o555))
        .expect("permissions");
    let command = site.command(&["run", "pipeline.toml", "--state", "states/mine"]);
    let ended = site.spawn(without_rights(command)).wait().expect_code(1);
    assert_eq!(
        error_of(&site, &ended),
        "\
error: the state directory can't be made
  path: states/mine
  caused by: Permission denied (os error 13)
hint: check the permissions of the file and of its directory
"
    );
    assert_nothing_left(&site);
}

/// A pipeline of generated rows: several MB of them.
fn generated(sink: &str, url: &str) -> String {
    format!(
        r#"
        name = "full"

        [sources.in]
        type = "generate"
        rows = 100000
        columns = [{{ name = "id", type = "sequence" }}, {{ name = "u", type = "uuid" }}]

        [sinks.out]
        type = "{sink}"
        inputs = ["in"]
        url = "{url}"
        "#
    )
}

/// Runs a pipeline that must fail because the disk at `directory` is full, and gives the error and the
/// files left there.
fn fill(site: &Site, directory: &str, disk: &Disk, args: &[&str]) -> (Ended, Vec<String>) {
    let mut command = site.command(&[&["run", "pipeline.toml"], args].concat());
    if directory == "disk/tmp" {
        command.env("TMPDIR", site.path("disk/tmp"));
    }
    let (command, listing) = disk.around(site, Path::new("disk"), command);
    let ended = site
        .spawn(command)
        .wait()
        .expect_code(1)
        .expect_said(&[disk.reason()]);
    let left = fs::read_to_string(listing).expect("a listing");
    (ended, left.lines().map(str::to_owned).collect())
}

#[test]
fn a_disk_that_is_full_for_the_output() {
    for sink in ["parquet", "files"] {
        let site = Site::with(&generated(sink, "disk/out"));
        fs::create_dir(site.path("disk")).expect("a directory");
        let disk = Disk::of_kib(1024);
        let (ended, left) = fill(&site, "disk", &disk, &[]);
        ended.expect_said(&[
            "error: can't write a file\n",
            "component: out\n",
            disk.hint(),
        ]);
        assert_eq!(left, [] as [String; 0], "{sink}");
        // Outside, the disk has room: as if the user had made some.
        site.run(&[]).expect_done();
        let rows = if sink == "parquet" {
            rows_of(&site.path("disk"))
        } else {
            lines_of(&site.path("disk"))
        };
        assert_eq!(rows.len(), 100_000);
        site.state().expect("a state").expect_finished();
    }
}

#[test]
fn a_disk_that_is_full_for_what_a_query_cannot_hold() {
    let more = r#"
        [transforms.sorted]
        type = "sql"
        inputs = ["in"]
        query = "SELECT * FROM in ORDER BY u"
        memory = "10 MB"
    "#;
    let text = generated("parquet", "out").replace("100000", "400000");
    let text = text.replace(r#"inputs = ["in"]"#, r#"inputs = ["sorted"]"#) + more;
    let site = Site::with(&text);
    fs::create_dir_all(site.path("disk")).expect("a directory");
    let disk = Disk::of_kib(1024);
    let (ended, left) = fill(&site, "disk/tmp", &disk, &[]);
    ended.expect_said(&[
        "error: what doesn't fit in memory could not be kept on disk\n",
        "component: sorted\n",
        "hint: set TMPDIR to a directory on a disk with more room",
    ]);
    assert_eq!(left, [] as [String; 0]);
    assert_nothing_left(&site);
    site.run(&[]).expect_done();
    assert_eq!(rows_of(&site.path("out")).len(), 400_000);
}

#[test]
fn a_disk_that_is_full_for_the_state() {
    let site = Site::with(&generated("parquet", "out"));
    fs::create_dir(site.path("disk")).expect("a directory");
    let disk = Disk::of_kib(64);
    let (ended, _) = fill(&site, "disk", &disk, &["--state", "disk/state"]);
    ended.expect_said(&["error: the state can't be ", "state.db\n", "hint: "]);
    assert_nothing_left(&site);
    site.run(&["--state", "disk/state"]).expect_done();
    assert_eq!(rows_of(&site.path("out")).len(), 100_000);
}
