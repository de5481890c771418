//! The cases: what is given to the program.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::process::Command;

use anyhow::Result;

use super::Site;
use crate::process::run_quietly;

/// The commands of a case, each with its arguments.
type Commands = Vec<Vec<String>>;

type Make = fn(&Site) -> Result<Commands>;

pub(super) const CASES: &[(&str, Make)] = &[
    ("NDJSON, 10,000 rows of as many keys", |site| {
        keys(site, 10_000)
    }),
    ("NDJSON, 100,000 rows of as many keys", |site| {
        keys(site, 100_000)
    }),
    ("CSV, 200,000 columns", columns),
    ("NDJSON, a line of 2 GB in gzip", |site| {
        shell(
            site,
            "(printf '{\"a\":\"'; head -c 2G /dev/zero | tr '\\0' x) | gzip -1 > a.ndjson.gz",
        )?;
        both(site, "a.ndjson.gz")
    }),
    ("NDJSON, a field of 2 GB in zstd", zstd),
    ("raw, four files of 1 GB in gzip", |site| {
        shell(
            site,
            "mkdir in; head -c 1G /dev/zero | gzip > in/a.bin.gz; for n in b c d; do cp in/a.bin.gz in/$n.bin.gz; done",
        )?;
        pipeline(site, "type = \"files\"\nurl = \"in\"", "")
    }),
    ("NDJSON, lists 100,000 deep", |site| {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        fs::write(site.directory.join("a.ndjson"), deep)?;
        both(site, "a.ndjson")
    }),
    ("Parquet, a footer longer than its file", |site| {
        fs::write(
            site.directory.join("a.parquet"),
            b"PAR1xxxxxxxx\xff\xff\xff\x00PAR1",
        )?;
        both(site, "a.parquet")
    }),
    ("Parquet, 40 files with a flipped byte", flipped),
    ("rest, /dev/zero as a secret", |site| {
        rest(
            site,
            "keys",
            "headers = { X-Key = { file = \"/dev/zero\" } }",
        )
    }),
    ("rest, 10,000 records of as many keys", |site| {
        rest(site, "keys", "")
    }),
    ("rest, an unbounded body", |site| rest(site, "endless", "")),
    ("rest, Retry-After in the year 9999", |site| {
        rest(site, "later", "")
    }),
    ("S3, an unbounded number of pages", |site| {
        listing(site, "pages")
    }),
    ("S3, an unbounded page", |site| listing(site, "page")),
    ("S3, the same page again and again", |site| {
        listing(site, "again")
    }),
    ("S3, a file of 2^62 bytes", |site| listing(site, "size")),
    ("MySQL, an unbounded packet for a login", |site| {
        mysql(site, "login")
    }),
    ("MySQL, unbounded column definitions", |site| {
        mysql(site, "definitions")
    }),
    ("MySQL, unbounded rows", |site| mysql(site, "rows")),
    ("SQL, unnest(range(0, 500000000))", |_| {
        query("SELECT count(*) FROM (SELECT unnest(range(0, 500000000)))")
    }),
    ("SQL, string_agg of 600 MB", |site| {
        rows(site)?;
        let more = "(SELECT id FROM 'a.ndjson' LIMIT 20)";
        query(&format!(
            "SELECT length(string_agg(x.a, ',')) FROM 'a.ndjson' x, 'a.ndjson' y, {more} z"
        ))
    }),
    ("SQL, repeat(a, 1000000) of 1,000 rows", |site| {
        rows(site)?;
        let mut commands = query("SELECT repeat(a, 1000000) AS a FROM 'a.ndjson'")?;
        commands.extend(transform(site, "SELECT repeat(a, 1000000) AS a FROM rows")?);
        Ok(commands)
    }),
    ("SQL, 25 WITH that double", |site| {
        rows(site)?;
        let mut with = "a0 AS (SELECT id FROM 'a.ndjson')".to_owned();
        for n in 1..=25 {
            let _ = write!(
                with,
                ", a{n} AS (SELECT x.id FROM a{0} x JOIN a{0} y ON x.id = y.id)",
                n - 1
            );
        }
        query(&format!("WITH {with} SELECT count(*) FROM a25"))
    }),
    ("SQL, 2,000 WITH in a row", |site| {
        rows(site)?;
        let mut with = "a0 AS (SELECT id FROM 'a.ndjson')".to_owned();
        for n in 1..=2_000 {
            let _ = write!(with, ", a{n} AS (SELECT id FROM a{})", n - 1);
        }
        query(&format!("WITH {with} SELECT count(*) FROM a2000"))
    }),
    ("SQL, 3,000 terms of + || AND OR", |site| {
        rows(site)?;
        let chains = [
            ("id", "+"),
            ("a", "||"),
            ("id > 1", " AND "),
            ("id > 1", " OR "),
        ];
        let chains = chains.map(|(term, operator)| vec![term; 3_000].join(operator));
        let mut commands = Commands::new();
        for chain in chains {
            commands.extend(query(&format!("SELECT {chain} AS x FROM 'a.ndjson'"))?);
            commands.extend(transform(site, &format!("SELECT {chain} AS x FROM rows"))?);
        }
        Ok(commands)
    }),
    ("SQL, 1,800 UNION ALL", |site| {
        rows(site)?;
        let mut commands = query(&vec!["SELECT id FROM 'a.ndjson'"; 1_800].join(" UNION ALL "))?;
        commands.extend(transform(
            site,
            &vec!["SELECT id FROM rows"; 1_800].join(" UNION ALL "),
        )?);
        Ok(commands)
    }),
];

fn command(words: &[&str]) -> Commands {
    vec![words.iter().map(|&word| word.to_owned()).collect()]
}

fn query(sql: &str) -> Result<Commands> {
    Ok(command(&["query", "--format", "ndjson", sql]))
}

/// A run from a source, perhaps through a transform, to Parquet. Each has a file and a state of its
/// own.
fn pipeline(site: &Site, source: &str, transform: &str) -> Result<Commands> {
    let number = fs::read_dir(&site.directory)?.count();
    let (file, state) = (format!("{number}.toml"), format!("{number}.state"));
    let from = if transform.is_empty() { "rows" } else { "t" };
    let text = format!(
        "name = \"hostile\"\n[sources.rows]\n{source}\n{transform}\n\
         [sinks.out]\ntype = \"parquet\"\ninputs = [\"{from}\"]\nurl = \"{number}.out\"\n"
    );
    fs::write(site.directory.join(&file), text)?;
    Ok(command(&["run", "--quiet", "--state", &state, &file]))
}

fn transform(site: &Site, sql: &str) -> Result<Commands> {
    let transform =
        format!("[transforms.t]\ntype = \"sql\"\ninputs = [\"rows\"]\nquery = \"{sql}\"");
    pipeline(site, "type = \"files\"\nurl = \"a.ndjson\"", &transform)
}

/// A query of a file, and a run from it.
fn both(site: &Site, file: &str) -> Result<Commands> {
    let mut commands = query(&format!("SELECT * FROM '{file}'"))?;
    let source = format!("type = \"files\"\nurl = \"{file}\"");
    commands.extend(pipeline(site, &source, "")?);
    Ok(commands)
}

fn rest(site: &Site, kind: &str, more: &str) -> Result<Commands> {
    let url = site.servers.http(kind);
    pipeline(
        site,
        &format!("type = \"rest\"\nurl = \"{url}\"\n{more}"),
        "",
    )
}

fn listing(site: &Site, kind: &str) -> Result<Commands> {
    let source = format!("type = \"files\"\nurl = \"s3://{kind}/in/*.ndjson\"");
    pipeline(site, &source, "")
}

fn mysql(site: &Site, kind: &str) -> Result<Commands> {
    let url = site.servers.mysql(kind);
    let source = format!("type = \"mysql\"\nurl = \"{url}\"\ntables = [\"t\"]");
    pipeline(site, &source, "")
}

fn shell(site: &Site, script: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    run_quietly(shell.args(["-c", script]).current_dir(&site.directory))
}

fn keys(site: &Site, count: usize) -> Result<Commands> {
    let mut file = BufWriter::new(File::create(site.directory.join("a.ndjson"))?);
    for n in 0..count {
        writeln!(file, "{{\"k{n}\":{n}}}")?;
    }
    file.flush()?;
    both(site, "a.ndjson")
}

fn columns(site: &Site) -> Result<Commands> {
    let names: Vec<String> = (0..200_000).map(|n| format!("c{n}")).collect();
    let values = vec!["1"; names.len()].join(",");
    let text = format!("{}\n{values}\n", names.join(","));
    fs::write(site.directory.join("a.csv"), text)?;
    both(site, "a.csv")
}

/// 2 GB of one letter: blocks of 128 KiB, each of which says only the letter and how often (RFC 8878).
fn zstd(site: &Site) -> Result<Commands> {
    let text = b"{\"a\":\"";
    // A frame with a window of 128 KiB; then a block that is as it is.
    let mut file = vec![0x28, 0xB5, 0x2F, 0xFD, 0x00, 0x38];
    file.extend([6 << 3, 0, 0]);
    file.extend(text);
    for n in 0..16_384_u32 {
        let head = (128 << 10 << 3) | (1 << 1) | u32::from(n == 16_383);
        file.extend(&head.to_le_bytes()[..3]);
        file.push(b'x');
    }
    fs::write(site.directory.join("a.ndjson.zst"), file)?;
    both(site, "a.ndjson.zst")
}

fn flipped(site: &Site) -> Result<Commands> {
    let sql =
        "SELECT n, 'text ' || (n % 7) AS t, [n, n] AS l FROM (SELECT unnest(range(0, 1000)) AS n)";
    let mut make = Command::new(&site.program);
    make.args(["query", "--quiet", sql, "--output", "whole.parquet"]);
    run_quietly(make.current_dir(&site.directory))?;
    let whole = fs::read(site.directory.join("whole.parquet"))?;
    let mut commands = Commands::new();
    for n in 0..40 {
        let mut bytes = whole.clone();
        // The last third is its footer, and most that goes wrong goes wrong there.
        let at = whole.len() - 1 - n * whole.len() / 3 / 40;
        bytes[at] ^= 0xFF;
        let file = format!("f{n}.parquet");
        fs::write(site.directory.join(&file), bytes)?;
        commands.extend(both(site, &file)?);
    }
    Ok(commands)
}

/// A thousand rows of 30 bytes.
fn rows(site: &Site) -> Result<()> {
    let mut text = String::new();
    for n in 0..1_000 {
        let _ = writeln!(text, "{{\"id\":{n},\"a\":\"{n:030}\"}}");
    }
    Ok(fs::write(site.directory.join("a.ndjson"), text)?)
}
