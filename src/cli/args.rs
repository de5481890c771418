//! The arguments.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
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
#[derive(Debug, Args)]
pub(crate) struct Global {
    /// Show only errors and what was asked for.
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
    /// Say whether a pipeline can run: every mistake in its file, then every type in its graph.
    Check(PipelineArgs),
    /// Show what a pipeline will do: its graph, schemas, guarantees and splits.
    Plan(PlanArgs),
    /// List the sources, transforms and sinks that this program has.
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
    pub(crate) file: PathBuf,
    /// Lay `FILE.<PROFILE>.toml` over it.
    #[arg(long, env = "TIDEGATE_PROFILE")]
    pub(crate) profile: Option<String>,
    /// Set a key: `--set sinks.lake.url=out/`. May be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// The settings file. Default: `tidegate.toml` beside the pipeline file or here.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// The folder in which pipelines keep their state.
    #[arg(
        long,
        value_name = "DIR",
        default_value = ".tidegate",
        env = "TIDEGATE_STATE"
    )]
    pub(crate) state: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    pub(crate) pipeline: PipelineArgs,
    /// CPU threads. Default: the cores.
    #[arg(long, value_name = "N")]
    pub(crate) workers: Option<std::num::NonZeroUsize>,
    /// Write what the run did as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Go on with an unfinished run although the file has changed since.
    #[arg(long, conflicts_with = "restart")]
    pub(crate) resume_anyway: bool,
    /// Give up what an unfinished run hasn't committed, and start over.
    #[arg(long)]
    pub(crate) restart: bool,
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
