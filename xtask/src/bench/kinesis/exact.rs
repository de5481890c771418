//! Whether each record comes once, and each key's in their order.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::{STREAM, command, pipeline};
use crate::bench::site::{empty, parquet_rows};
use crate::bench::tidegate::Tidegate;
use crate::example::STOPPED;
use crate::place;
use crate::process::{Running, output, run};
use crate::serve::Servers;

/// What is written and checked.
const SCRIPT: &str = include_str!("kinesis.py");

const SHARDS: u32 = 8;

/// The keys of each kind.
const KEYS: u64 = 1000;

/// How long Tidegate lives before it is killed, in turn: before its first checkpoint, and in the middle of
/// later ones.
const LIVES: [Duration; 5] = [
    Duration::from_millis(4300),
    Duration::from_millis(1700),
    Duration::from_millis(6900),
    Duration::from_millis(2600),
    Duration::from_millis(9100),
];

/// When nothing has come for so long, no more is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const TICK: Duration = Duration::from_millis(20);

/// What is to be done.
pub(super) struct Exact {
    pub(super) plain: u64,
    pub(super) aggregated: u64,
    pub(super) kills: u32,
    pub(super) throttle: u32,
    pub(super) workers: Option<u32>,
}

/// What came of one kind of records.
#[derive(Debug, Default, Deserialize)]
struct Found {
    rows: u64,
    /// Those that differ.
    apart: u64,
    /// How often a record of a key doesn't come after the one before it: in the order of the columns
    /// `sequence_number` and `sub_sequence`, ...
    by_position: u64,
    /// ... of the rows of a file, ...
    by_file: u64,
    /// ... of the epochs with which they were committed.
    by_epoch: u64,
    keys: u64,
    least: u64,
    most: u64,
}

impl Exact {
    pub(super) fn run(&self, tidegate: &Tidegate, directory: &Path) -> Result<()> {
        let site = directory.join("site");
        empty(&site)?;
        let script = site.join("kinesis.py");
        fs::write(&script, SCRIPT)?;
        let nth = self.throttle.to_string();
        let mut arguments = vec!["kinesis"];
        if self.throttle > 0 {
            arguments.extend(["--throttle", &nth]);
        }
        let servers = Servers::start(&arguments)?;
        let url_of = |name: &str| {
            let url = servers.environment().get(name);
            url.context("no server says where it is")
        };
        let url = url_of("AWS_ENDPOINT_URL_KINESIS")?;
        let read_from = match self.throttle {
            0 => url,
            _ => url_of("KINESIS_THROTTLED_URL")?,
        };
        let python = |word: &str| {
            let mut python = Command::new(place::root().join("moto/bin/python"));
            python.arg(&script).args([word, url, STREAM]);
            python
        };
        run(python("create").arg(SHARDS.to_string()))?;
        let file = site.join("pipeline.toml");
        let source = "poll_interval = \"500ms\"\ndiscover_interval = \"1s\"\n";
        fs::write(&file, pipeline(read_from, source, "type = \"parquet\"\n"))?;
        let mut reader = Reader {
            tidegate,
            file,
            state: site.join("state"),
            log: site.join("log"),
            workers: self.workers,
            process: None,
        };
        println!(
            "\n{} plain and {} aggregated records of {KEYS} keys each, to {SHARDS} shards; {}:\n",
            self.plain,
            self.aggregated,
            match self.throttle {
                0 => "nothing is throttled".to_owned(),
                nth => format!("of Tidegate's requests, every {nth}th is throttled"),
            }
        );
        reader.start()?;
        let mut writer = python("write");
        writer.args([KEYS, self.plain, self.aggregated].map(|number| number.to_string()));
        let mut writer = Running::start(writer.stdin(Stdio::null()))?;
        let mut kills = 0;
        let mut lives = LIVES.iter().cycle();
        while kills < self.kills {
            let life = lives.next().copied().unwrap_or(PATIENCE);
            let begun = Instant::now();
            while begun.elapsed() < life && writer.ended()?.is_none() {
                reader.check()?;
                sleep(TICK);
            }
            if writer.ended()?.is_some() {
                break;
            }
            reader.kill()?;
            kills += 1;
            reader.start()?;
        }
        let status = writer.wait()?;
        ensure!(status.success(), "the writer failed ({status})");
        let begun = Instant::now();
        let out = site.join("out");
        let (mut seen, mut changed) = (0, Instant::now());
        while changed.elapsed() < PATIENCE {
            reader.check()?;
            // It is made with the first epoch.
            let rows = if out.exists() { parquet_rows(&out)? } else { 0 };
            if rows != seen {
                (seen, changed) = (rows, Instant::now());
            }
            if rows >= self.plain + self.aggregated {
                break;
            }
            sleep(Duration::from_millis(500));
        }
        println!(
            "killed {kills} times; the last row was there {:.1} s after the last record was written",
            changed.saturating_duration_since(begun).as_secs_f64()
        );
        // What comes twice may come last.
        sleep(Duration::from_secs(5));
        reader.stop()?;
        self.show(&found(&script, &out)?)?;
        drop(servers);
        fs::remove_dir_all(&site)?;
        Ok(())
    }

    fn show(&self, found: &BTreeMap<String, Found>) -> Result<()> {
        println!("\n{:<51}not after the one before it by", "");
        println!(
            "{:<12}{:>10}{:>10}{:>7}{:>9}{:>12}{:>10}{:>10}",
            "", "written", "rows", "lost", "doubled", "position", "file", "epoch"
        );
        let mut right = true;
        for (name, kind, written) in [
            ("plain", "p", self.plain),
            ("aggregated", "a", self.aggregated),
        ] {
            let none = Found::default();
            let found = found.get(kind).unwrap_or(&none);
            let (lost, doubled) = (
                written.saturating_sub(found.apart),
                found.rows - found.apart,
            );
            println!(
                "{name:<12}{written:>10}{:>10}{lost:>7}{doubled:>9}{:>12}{:>10}{:>10}",
                found.rows, found.by_position, found.by_file, found.by_epoch
            );
            // The sink asks for no order, so workers may take the events of an epoch in turn.
            let by_file = match self.workers {
                Some(1) => found.by_file,
                _ => 0,
            };
            let disorder = found.by_position + by_file + found.by_epoch;
            let each = written / KEYS;
            let whole =
                written == 0 || (found.keys, found.least, found.most + 1) == (KEYS, 0, each);
            right &= whole && lost + doubled + disorder == 0 && found.rows == written;
        }
        ensure!(right, "not every record came once and in order");
        Ok(())
    }
}

fn found(script: &Path, directory: &Path) -> Result<BTreeMap<String, Found>> {
    let mut python = Command::new(place::root().join("sql/bin/python"));
    python.arg(script).arg("check").arg(directory);
    serde_json::from_str(&output(python)?).context("what was found")
}

/// Tidegate, which is started again and again.
struct Reader<'a> {
    tidegate: &'a Tidegate,
    file: PathBuf,
    state: PathBuf,
    log: PathBuf,
    workers: Option<u32>,
    process: Option<Running>,
}

impl Reader<'_> {
    fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let mut command = command(self.tidegate, &self.file, &self.state, self.workers);
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.process = Some(Running::start(command)?);
        Ok(())
    }

    /// It must not end by itself.
    fn check(&mut self) -> Result<()> {
        let process = self.process.as_mut().context("nothing runs")?;
        if let Some(status) = process.ended()? {
            let log = fs::read_to_string(&self.log)?;
            bail!("Tidegate has ended: {status}\n{log}");
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        self.check()?;
        // Dropping it kills it.
        self.process = None;
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        self.check()?;
        let process = self.process.take().context("nothing runs")?;
        let status = process.stop()?;
        if status.code() != Some(STOPPED) {
            let log = fs::read_to_string(&self.log)?;
            bail!("Tidegate has ended: {status}\n{log}");
        }
        Ok(())
    }
}
