//! What the tests of the whole program share.
//!
//! - [`Site`]: a temporary directory with a pipeline file, data, output and state of its own; it runs
//!   the program there (`run`, `tidegate`) or only starts it (`start`);
//! - [`Running`]: a started program, to be waited for or sent a signal;
//! - [`Ended`]: what came of it: exit code, both outputs, and asserts on them;
//! - [`kill_again_and_again`]: starts a pipeline and kills it, until one run ends by itself;
//! - [`until`]: waits for a condition, with a deadline;
//! - [`State`]: what `state.db` holds, read from outside;
//! - [`files_under`], [`visible_files`], [`hidden_files`], [`batches_of`], [`rows_of`], [`lines_of`]:
//!   what lies in an output directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::Int64Type;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::TempDir;

/// Longer than any run of the tests takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(120);

/// The workspace, where the examples are.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A directory of its own, gone with the test.
#[derive(Debug)]
pub(crate) struct Site {
    directory: TempDir,
}

impl Site {
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().expect("a temporary directory");
        fs::create_dir(directory.path().join("tmp")).expect("a directory for scratch files");
        Self { directory }
    }

    /// A site whose `pipeline.toml` is this text.
    pub(crate) fn with(pipeline: &str) -> Self {
        let site = Self::new();
        site.write("pipeline.toml", pipeline);
        site
    }

    /// A site with a copy of an example's directory, without what runs of it left there.
    pub(crate) fn of_example(name: &str) -> Self {
        let site = Self::new();
        let from = workspace().join("examples").join(name);
        for path in files_under(&from) {
            let relative = path.strip_prefix(&from).expect("a file of the example");
            let left = ["out", ".tidegate"];
            if left.iter().any(|directory| relative.starts_with(directory)) {
                continue;
            }
            let bytes = fs::read(&path).expect("a file of the example");
            site.write(relative.to_str().expect("a plain name"), bytes);
        }
        site
    }

    pub(crate) fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.directory.path().join(relative)
    }

    /// Writes a file, and makes its directories.
    pub(crate) fn write(&self, relative: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().expect("a directory")).expect("a directory is made");
        fs::write(&path, bytes).expect("a file is written");
        path
    }

    pub(crate) fn read(&self, relative: &str) -> String {
        let path = self.path(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The program, here, with nothing in its environment that could change what it does.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.args(args).current_dir(self.directory.path());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("TIDEGATE_") {
                command.env_remove(name);
            }
        }
        command
            .env("TMPDIR", self.path("tmp"))
            .env_remove("RUST_LOG")
            .env_remove("RUST_BACKTRACE")
            .stdin(Stdio::null());
        command
    }

    /// Runs the program while nobody reads its standard output: how it ended, and what it said.
    pub(crate) fn unread(&self, args: &[&str]) -> (ExitStatus, String) {
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program starts");
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status, stderr)
    }

    /// Starts a command of the program.
    pub(crate) fn spawn(&self, mut command: Command) -> Running {
        // Files, not pipes: nobody has to read them while it runs. Beside the site, so that tests
        // see only what the program made.
        let outputs = TempDir::new().expect("a directory for outputs");
        let file = |name| File::create(outputs.path().join(name)).expect("a file for an output");
        let child = command
            .stdout(file("stdout"))
            .stderr(file("stderr"))
            .spawn()
            .expect("the program starts");
        Running {
            child,
            outputs,
            began: Instant::now(),
        }
    }

    /// Starts `tidegate run pipeline.toml` with more arguments.
    pub(crate) fn start(&self, args: &[&str]) -> Running {
        let args = [&["run", "pipeline.toml"], args].concat();
        self.spawn(self.command(&args))
    }

    /// Runs `tidegate run pipeline.toml` with more arguments, to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Ended {
        self.start(args).wait()
    }

    /// Runs the pipeline and reads its `--report`.
    pub(crate) fn run_with_report(&self, args: &[&str]) -> (Ended, Value) {
        let args = [args, &["--report", "report.json"]].concat();
        let ended = self.run(&args);
        let report = self.read("report.json");
        (ended, serde_json::from_str(&report).expect("JSON"))
    }

    /// Runs any command of the program, to its end.
    pub(crate) fn tidegate(&self, args: &[&str]) -> Ended {
        self.spawn(self.command(args)).wait()
    }

    /// What `state.db` holds; `None` as long as there is none.
    pub(crate) fn state(&self) -> Option<State> {
        State::read(&self.path(".tidegate/state.db"))
    }
}

/// A program that was started. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Running {
    child: Child,
    outputs: TempDir,
    began: Instant,
}

impl Running {
    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Sends a signal by its name: `TERM`, `INT`.
    pub(crate) fn signal(&self, name: &str) {
        let kill = format!("kill -s {name} {}", self.child.id());
        let status = Command::new("sh").args(["-c", &kill]).status();
        assert!(status.expect("a shell").success(), "{kill}");
    }

    /// Sends SIGKILL and collects what is left. `None`: it had ended before.
    pub(crate) fn kill(mut self) -> Option<Ended> {
        use std::os::unix::process::ExitStatusExt;
        self.child.kill().expect("a child can be killed");
        let ended = self.wait();
        (ended.status.signal() == Some(9)).then_some(ended)
    }

    /// Waits until it ends.
    pub(crate) fn wait(self) -> Ended {
        self.wait_for(DEADLINE)
    }

    /// Waits until it ends, but not forever.
    pub(crate) fn wait_for(mut self, deadline: Duration) -> Ended {
        let asked = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return Ended {
                    status,
                    stdout: self.output("stdout"),
                    stderr: self.output("stderr"),
                    took: self.began.elapsed(),
                };
            }
            assert!(
                asked.elapsed() < deadline,
                "still running after {deadline:?}; it said:\n{}{}",
                self.output("stdout"),
                self.output("stderr"),
            );
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn output(&self, name: &str) -> String {
        let bytes = fs::read(self.outputs.path().join(name)).expect("an output");
        String::from_utf8(bytes).expect("outputs are UTF-8")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What came of a run of the program.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Ended {
    /// Asserts the exit code; a failure shows what the program said.
    #[track_caller]
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(
            self.status.code(),
            Some(code),
            "{}\nstdout:\n{}\nstderr:\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }

    /// Asserts that it ended well.
    #[track_caller]
    pub(crate) fn expect_done(self) -> Self {
        self.expect_code(0)
    }

    /// Asserts that stderr has each of these texts.
    #[track_caller]
    pub(crate) fn expect_said(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(
                self.stderr.contains(text),
                "no `{text}` in:\n{}",
                self.stderr
            );
        }
        self
    }
}

/// Waits until `condition` gives something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(began.elapsed() < DEADLINE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Starts the pipeline and kills it, again and again, until one run ends by itself; and all that on
/// fresh sites until enough kills have landed in the middle of a run. `check` sees each site after
/// each kill (`false`) and at the end (`true`).
///
/// The moments are spread over the time that a whole run takes, its very start and end included.
#[expect(clippy::print_stdout, reason = "the number of kills is asked for")]
pub(crate) fn kill_again_and_again(
    seed: u64,
    kills: u32,
    fresh: impl Fn() -> Site,
    start: impl Fn(&Site) -> Running,
    check: impl Fn(&Site, bool),
) {
    let whole = {
        let site = fresh();
        let ended = start(&site).wait().expect_done();
        check(&site, true);
        ended.took
    };
    let mut random = StdRng::seed_from_u64(seed);
    let mut landed = 0;
    let mut sites = 0;
    let mut moments: Vec<f64> = Vec::new();
    while landed < kills {
        sites += 1;
        assert!(
            sites < 100,
            "only {landed} kills landed in {sites} pipelines"
        );
        let site = fresh();
        // At most half of them here: where the machine has become slower since, none may end.
        let most = landed + kills / 2;
        while landed < most {
            if moments.is_empty() {
                let parts = (0..kills).map(|part| f64::from(part) / f64::from(kills));
                moments = parts
                    .map(|from| from + random.random::<f64>() / f64::from(kills))
                    .collect();
                moments.shuffle(&mut random);
            }
            let moment = moments.pop().expect("a moment");
            let running = start(&site);
            std::thread::sleep(whole.mul_f64(moment * 1.05));
            match running.kill() {
                None => break,
                Some(_) => landed += 1,
            }
            check(&site, false);
        }
        // The run that ended by itself may have ended well before: its successor finds nothing.
        start(&site).wait().expect_done();
        check(&site, true);
    }
    println!("{landed} kills landed in {sites} pipelines of {whole:?} each");
}

/// What `state.db` holds of its one pipeline, as far as tests look at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    /// Whether the last run came to its end.
    pub(crate) finished: bool,
    /// The largest epoch number ever used.
    pub(crate) epoch: u64,
    /// Epochs whose checkpoint is stored, and whose commit isn't known to have ended.
    pub(crate) stored_epochs: u64,
    /// What sinks prepared and didn't commit.
    pub(crate) prepared: u64,
    /// What sinks began and neither committed nor discarded.
    pub(crate) begun: u64,
}

impl State {
    fn read(path: &Path) -> Option<Self> {
        if !path.exists() {
            return None;
        }
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let db = rusqlite::Connection::open_with_flags(path, flags).ok()?;
        // A database that is just being made has no tables yet.
        db.query_row(
            "SELECT coalesce(run ->> 'finished', 0), epoch,
                    (SELECT count(*) FROM epoch), (SELECT count(*) FROM prepared),
                    (SELECT count(*) FROM journal)
             FROM pipeline",
            [],
            |row| {
                Ok(Self {
                    finished: row.get(0)?,
                    epoch: row.get(1)?,
                    stored_epochs: row.get(2)?,
                    prepared: row.get(3)?,
                    begun: row.get(4)?,
                })
            },
        )
        .ok()
    }

    /// Asserts that the last run came to its end and left nothing to be done.
    #[track_caller]
    pub(crate) fn expect_finished(&self) {
        let Self { epoch, .. } = *self;
        let done = Self {
            finished: true,
            epoch,
            stored_epochs: 0,
            prepared: 0,
            begun: 0,
        };
        assert_eq!(*self, done);
    }
}

/// All files in a directory and below, by name; none where there is no directory.
pub(crate) fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy());
    name.is_some_and(|name| name.starts_with('.'))
}

/// The files in a directory and below that a reader of the directory sees.
pub(crate) fn visible_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = files_under(directory);
    files.retain(|path| !is_hidden(path));
    files
}

/// The others: what staged writes have begun and not published.
pub(crate) fn hidden_files(directory: &Path) -> Vec<PathBuf> {
    let mut files = files_under(directory);
    files.retain(|path| is_hidden(path));
    files
}

/// The batches of one Parquet file.
pub(crate) fn batches_in(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    ParquetRecordBatchReaderBuilder::try_new(file)
        .and_then(|builder| builder.with_batch_size(8192).build())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .map(|batch| batch.expect("a whole Parquet file"))
        .collect()
}

/// The column `id` of batches, in their order.
pub(crate) fn ids_of_batches(batches: &[RecordBatch]) -> Vec<i64> {
    let ids = batches.iter().flat_map(|batch| {
        let ids = batch.column_by_name("id").expect("a column");
        ids.as_primitive::<Int64Type>().values()
    });
    ids.copied().collect()
}

/// The batches of all visible Parquet files in a directory and below.
pub(crate) fn batches_of(directory: &Path) -> Vec<RecordBatch> {
    let files = visible_files(directory);
    files.iter().flat_map(|path| batches_in(path)).collect()
}

/// The rows of all visible Parquet files in a directory and below, as JSON objects. For small tables.
pub(crate) fn rows_of(directory: &Path) -> Vec<Value> {
    let mut rows = Vec::new();
    for batch in batches_of(directory) {
        for row in 0..batch.num_rows() {
            let row = tidegate_formats::row_to_json(&batch, row).expect("a row");
            rows.push(serde_json::from_str(&row).expect("JSON"));
        }
    }
    rows
}

/// The ids of all rows of visible NDJSON files in a directory and below, sorted.
pub(crate) fn ids_of(directory: &Path) -> Vec<i64> {
    let rows = lines_of(directory);
    let ids = rows.iter().map(|row| row["id"].as_i64().expect("an id"));
    let mut ids: Vec<_> = ids.collect();
    ids.sort_unstable();
    ids
}

/// The lines of all visible NDJSON files in a directory and below, as JSON.
pub(crate) fn lines_of(directory: &Path) -> Vec<Value> {
    let mut rows = Vec::new();
    for path in visible_files(directory) {
        let text = fs::read_to_string(&path).expect("UTF-8");
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{}: an open line",
            path.display()
        );
        rows.extend(text.lines().map(|line| {
            serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{line}: {error}"))
        }));
    }
    rows
}
