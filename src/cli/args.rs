//! The arguments.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

use super::exit;

/// Moves data between APIs, databases, streams, files and catalogs: one TOML file is a pipeline.
#[derive(Debug, Parser)]
#[command(name = "tidegate", version, after_help = exit::HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Show only errors and the output.
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Show more of what happens; twice: everything.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How to write what happens, on stderr.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// When to use colour.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto)]
    pub(crate) color: Color,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a pipeline: begin a run, or go on with one that was interrupted.
    Run(RunArgs),
    /// Say whether a pipeline can run: every error in its file, then every type in its graph.
    Check(PipelineArgs),
    /// Show what a pipeline will do: its graph, schemas, guarantees and splits.
    Plan(PlanArgs),
    /// Run one SQL query over tables of the catalog and over plain files.
    ///
    /// A table is named as the catalog has it, `shop.sales`, or `sales` where that means only one. A
    /// path in quotes is a table too: a file, a directory or a pattern of Parquet, CSV or JSON files, on
    /// this machine or on S3. Directories such as `day=2024-02-29` are columns. Only partitions, row groups
    /// and columns that the query needs are read.
    Query(QueryArgs),
    /// List, show, find and forget the tables of the catalog.
    Catalog(CatalogArgs),
    /// List, show, reset, export and import what pipelines remember.
    State(StateArgs),
    /// List the sources, transforms, sinks and catalogs that this program has.
    List(ListArgs),
    /// Explain a component: what it is, and its keys.
    Describe(DescribeArgs),
    /// Print the JSON Schema of pipeline files, for editors.
    Schema,
    /// Print a completion script for a shell.
    Completions(CompletionsArgs),
}

/// Which pipeline, and what to change in it.
#[derive(Debug, Args)]
pub(crate) struct PipelineArgs {
    /// The pipeline file.
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) layers: LayerArgs,
    /// The settings file. Default: `tidegate.toml` beside the pipeline file or here.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) settings: Option<PathBuf>,
    /// Where pipelines keep their state: a directory, or a place on object storage, such as
    /// `s3://bucket/prefix`. Default: `state` of `[runtime]` in the settings, or else `.tidegate` beside
    /// the pipeline file.
    #[arg(long, value_name = "PLACE", env = "TIDEGATE_STATE")]
    pub(crate) state: Option<String>,
}

/// What lies over a pipeline file.
#[derive(Debug, Clone, Args)]
pub(crate) struct LayerArgs {
    /// Lay `FILE.<PROFILE>.toml` over it.
    #[arg(long, env = "TIDEGATE_PROFILE")]
    pub(crate) profile: Option<String>,
    /// Set a key: `--set sinks.lake.url=out/`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// CPU threads. Default: the cores.
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) workers: Option<NonZeroUsize>,
    /// Write what the run did as JSON, however it ends; `-`: to stdout.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Go on with an unfinished run although the file has changed since.
    #[arg(long, conflicts_with = "restart")]
    pub(crate) resume_anyway: bool,
    /// Give up what an unfinished run hasn't committed, and start over. A source that can't use what
    /// it remembers, because its type changed, forgets it.
    #[arg(long)]
    pub(crate) restart: bool,
    /// Let the source, or without a name all of them, forget what was read by earlier runs, and read everything
    /// again. May be repeated. A run that was interrupted must be finished first, or given up with
    /// `--restart`; a full refresh that was interrupted is resumed by the same command.
    #[arg(
        long,
        value_name = "SOURCE",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with = "resume_anyway"
    )]
    pub(crate) full_refresh: Vec<String>,
    /// What to do with a file that changed or went when a part of it was committed. A file of which
    /// nothing is committed is read as it is, whatever is said here.
    #[arg(long, value_enum, value_name = "WHAT")]
    pub(crate) changed_input: Option<ChangedInput>,
    /// Take over the state of another pipeline file that has the same name.
    #[arg(long)]
    pub(crate) adopt: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChangedInput {
    /// Leave out what isn't committed of it.
    Skip,
    /// Read it whole, as it is now: what was committed of it comes twice.
    Reread,
    /// Read on where reading stood: it was only touched.
    Resume,
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, &'static str> {
    let number = text
        .parse::<usize>()
        .map_err(|_| "it must be a whole number, at least 1")?;
    NonZeroUsize::new(number).ok_or("it must be at least 1")
}

#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// How to show it.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    pub(crate) format: PlanFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum PlanFormat {
    /// For people.
    Text,
    /// A Mermaid flowchart.
    Mermaid,
    /// For machines.
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DescribeArgs {
    /// Its type: `files`, or `files source` where there are several.
    #[arg(value_name = "TYPE")]
    pub(crate) tag: String,
    /// Which one, where a source and a sink share the type.
    #[arg(value_enum)]
    pub(crate) kind: Option<KindArg>,
    /// Print its JSON Schema.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum KindArg {
    Source,
    Transform,
    Sink,
    Catalog,
}

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Which catalog.
#[derive(Debug, Args)]
pub(crate) struct LakeArgs {
    /// The catalog's type: `local`, `glue`. Default: that of `[catalog]` in the settings, or
    /// `local`.
    #[arg(long, value_name = "TYPE")]
    pub(crate) catalog: Option<String>,
    /// The settings file. Default: `tidegate.toml` here.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) settings: Option<PathBuf>,
}

#[derive(Debug, Args)]
#[command(after_help = QUERY_EXAMPLES)]
pub(crate) struct QueryArgs {
    /// The query, one SELECT. `-` reads it from standard input.
    #[arg(value_name = "SQL")]
    pub(crate) sql: String,
    /// How to write the rows. Default: by the ending of `--output`, or else `table` on a terminal
    /// and `ndjson` into a pipe or file.
    #[arg(long, value_enum)]
    pub(crate) format: Option<RowFormat>,
    /// Write the rows to this file instead of standard output.
    #[arg(long, short, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) output: Option<PathBuf>,
    /// How many rows a table shows at most; 0: all.
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(crate) rows: usize,
    /// Don't run it: show which partitions, files, row groups and columns it would read.
    #[arg(long)]
    pub(crate) explain: bool,
    /// Who runs it.
    #[arg(long, value_enum, default_value_t = Engine::Local)]
    pub(crate) engine: Engine,
    /// The database of tables that are named without one.
    #[arg(long, value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// How much memory it may use; what doesn't fit goes to disk.
    #[arg(long, value_name = "SIZE", default_value = "2 GB")]
    pub(crate) memory: String,
    /// How much of the disk that may take. Default: what is free but for 512 MiB.
    #[arg(long, value_name = "SIZE")]
    pub(crate) spill: Option<String>,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
}

const QUERY_EXAMPLES: &str = "\
Examples:
  tidegate query \"SELECT item, sum(qty) FROM shop.sales WHERE day >= '2024-01-01' GROUP BY item\"
  tidegate query \"SELECT * FROM 's3://my-bucket/raw/**/*.parquet' LIMIT 10\"
  tidegate query --format csv -o top.csv \"SELECT * FROM 'orders/' ORDER BY total DESC LIMIT 100\"";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum RowFormat {
    /// For people.
    Table,
    /// A JSON object a line.
    Ndjson,
    /// Comma-separated values, with a header.
    Csv,
    /// A Parquet file; needs `--output`.
    Parquet,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// This program, on this machine.
    Local,
    /// Amazon Athena, as `[athena]` in the settings says; it charges by bytes scanned.
    Athena,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogArgs {
    #[command(subcommand)]
    pub(crate) command: CatalogCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// List the tables.
    List(CatalogListArgs),
    /// Show a table: where it lies, its columns, its partitions.
    Show(CatalogShowArgs),
    /// Forget a table and its partitions. Its files stay.
    Drop(CatalogDropArgs),
    /// Find the tables in a directory, and put them into the catalog.
    ///
    /// Directories of Parquet, JSON and CSV files become tables, directories such as `day=2024-02-29` their
    /// partitions. Tables that the catalog has get new columns and partitions; nothing is dropped.
    Crawl(CatalogCrawlArgs),
}

#[derive(Debug, Args)]
pub(crate) struct CatalogListArgs {
    /// Only the tables of this database.
    pub(crate) database: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogShowArgs {
    /// The table: `shop.sales`.
    #[arg(value_name = "DATABASE.TABLE")]
    pub(crate) table: String,
    /// Show its partitions too.
    #[arg(long)]
    pub(crate) partitions: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogDropArgs {
    /// The table: `shop.sales`.
    #[arg(value_name = "DATABASE.TABLE")]
    pub(crate) table: String,
    /// Don't ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct CatalogCrawlArgs {
    /// The directory: a path, or `s3://bucket/prefix`.
    #[arg(value_name = "URL", value_hint = ValueHint::DirPath)]
    pub(crate) url: String,
    /// The database of the tables that are found.
    #[arg(long, value_name = "NAME")]
    pub(crate) database: String,
    /// What the tables' names begin with.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) prefix: String,
    /// How many directories below URL the tables lie. Default: wherever directories are alike.
    #[arg(long, value_name = "N")]
    pub(crate) level: Option<usize>,
    /// CSV files have no header: their columns are numbered.
    #[arg(long)]
    pub(crate) no_header: bool,
    /// Only show what would change.
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) lake: LakeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateArgs {
    #[command(subcommand)]
    pub(crate) command: StateCommand,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// List the pipelines: their last runs, and when their state was last changed.
    List(StateListArgs),
    /// Show what is remembered of a pipeline: its run, its positions, what is to be committed.
    Show(StateShowArgs),
    /// Let a pipeline, one of its sources, or a part of one forget what was read.
    ///
    /// The next run reads it again. Rows that were written before are then written again: a sink that
    /// overwrites, or writes by key, replaces them; one that appends has them twice. What is forgotten is
    /// shown before, and it asks. The pipeline's ID stays, by which sinks know what they have committed,
    /// and so does what was spent of quotas.
    ///
    /// It is refused while the pipeline runs, and where an interrupted run has left something to commit or to
    /// discard. `tidegate run FILE --full-refresh` does the same when a run begins.
    Reset(StateResetArgs),
    /// Copy the state of all pipelines of a place into one file, also while they run.
    ///
    /// `tidegate state import` takes it back. `state.db` itself is no copy while a `state.db-wal` lies
    /// beside it.
    Export(StateExportArgs),
    /// Take back a copy that `tidegate state export` wrote.
    ///
    /// The copy is checked first: a file that is damaged, of another version or something else is refused.
    /// What it has of each of its pipelines takes the place of what is there; other pipelines stay as
    /// they are. What was committed after the copy was made is read and written again by the next run.
    Import(StateImportArgs),
}

/// Where the state is.
#[derive(Debug, Args)]
pub(crate) struct PlaceArgs {
    /// Where pipelines keep their state: a directory, or a place on object storage, such as
    /// `s3://bucket/prefix`. Default: `state` of `[runtime]` in the settings, or else `.tidegate` beside
    /// the pipeline file, or in the current directory where no file is named.
    #[arg(long, value_name = "PLACE", env = "TIDEGATE_STATE")]
    pub(crate) state: Option<String>,
    /// The settings file. Default: `tidegate.toml` beside the pipeline file or here.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) settings: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) layers: LayerArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateListArgs {
    /// A pipeline file: list the place where it has its state.
    #[arg(value_name = "PIPELINE_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) beside: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateShowArgs {
    /// The pipeline: its file, or its name.
    #[arg(value_name = "FILE_OR_NAME", value_hint = ValueHint::FilePath)]
    pub(crate) pipeline: String,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

#[derive(Debug, Args)]
#[command(after_help = RESET_EXAMPLES)]
pub(crate) struct StateResetArgs {
    /// The pipeline: its file, or its name.
    #[arg(value_name = "FILE_OR_NAME", value_hint = ValueHint::FilePath)]
    pub(crate) pipeline: String,
    /// Only what this source remembers. Default: all of them, and an unfinished run.
    pub(crate) source: Option<String>,
    /// Only one of its streams or files, or one split of an unfinished run, as `state show` names
    /// them.
    pub(crate) part: Option<String>,
    /// Don't ask.
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

const RESET_EXAMPLES: &str = "\
Examples:
  tidegate state reset shop.toml
  tidegate state reset shop.toml orders
  tidegate state reset shop.toml orders 2024-02-29.csv";

#[derive(Debug, Args)]
pub(crate) struct StateExportArgs {
    /// The file to write; it must not be there yet.
    #[arg(value_name = "COPY", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// A pipeline file: copy the place where it has its state.
    #[arg(value_name = "PIPELINE_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) beside: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

#[derive(Debug, Args)]
pub(crate) struct StateImportArgs {
    /// The copy.
    #[arg(value_name = "COPY", value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    /// A pipeline file: import into the place where it has its state.
    #[arg(value_name = "PIPELINE_FILE", value_hint = ValueHint::FilePath)]
    pub(crate) beside: Option<PathBuf>,
    /// Don't ask before the state of a pipeline is replaced.
    #[arg(long, short)]
    pub(crate) yes: bool,
    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}
