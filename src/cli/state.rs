//! `tidegate state`: list, show, export.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use comfy_table::CellAlignment;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tidegate::core::ComponentId;
use tidegate::runtime::state::{Listed, PipelineState, SourceState};
use tidegate::{Error, Result, StateLocation, config};

use super::args::{
    Global, PlaceArgs, StateArgs, StateCommand, StateExportArgs, StateListArgs, StateShowArgs,
};
use super::catalog::{plain, trimmed};
use super::lake::{on_all_cores, stopped};
use super::progress::counted;
use super::{errors, exit};

/// How many positions are listed before the rest is only counted.
const SHOWN: usize = 8;

/// How much of a position is shown, in characters.
const WIDTH: usize = 100;

/// Does what a command of the state says.
pub(crate) fn state(global: &Global, args: StateArgs) -> u8 {
    let place = match &args.command {
        StateCommand::List(args) => &args.place,
        StateCommand::Show(args) => &args.place,
        StateCommand::Export(args) => &args.place,
    };
    let fail = |error: &Error| {
        errors::print(global, error, None);
        exit::of_error(error)
    };
    let registry = match tidegate::registry() {
        Ok(registry) => registry,
        Err(error) => return fail(&error),
    };
    let settings = match config::load_settings(place.settings.clone(), &registry) {
        Ok(settings) => settings,
        Err(diagnostics) => {
            errors::print_diagnostics(global, &diagnostics);
            return exit::USAGE;
        }
    };
    let ended = on_all_cores(async {
        let location = location(place, &settings).await?;
        match &args.command {
            StateCommand::List(args) => list(&location, args).await,
            StateCommand::Show(args) => show(global, &location, args).await,
            StateCommand::Export(args) => export(&location, args).await,
        }
    });
    match ended {
        Ok(Some(text)) => {
            let _ = std::io::stdout().lock().write_all(text.as_bytes());
            exit::DONE
        }
        Ok(None) => stopped(global),
        Err(error) => fail(&error),
    }
}

async fn location(
    args: &PlaceArgs,
    settings: &serde_json::Map<String, Value>,
) -> Result<StateLocation> {
    let set = settings
        .get("runtime")
        .and_then(|table| table["state"].as_str());
    let place = args
        .state
        .as_deref()
        .or(set)
        .unwrap_or(StateLocation::DIRECTORY);
    let base = std::env::current_dir()
        .map_err(|error| Error::io("the current directory can't be found", error))?;
    tidegate::state_at(place, &base, settings).await
}

async fn list(location: &StateLocation, args: &StateListArgs) -> Result<String> {
    let mut found = Vec::new();
    for listed in location.pipelines().await? {
        // Some only have a component's values.
        if let Some(state) = location.load(&listed.name).await? {
            found.push((listed, state));
        }
    }
    if args.json {
        let found: Vec<_> = found.iter().map(|(one, state)| head(one, state)).collect();
        return Ok(format!("{}\n", json!(found)));
    }
    if found.is_empty() {
        return Ok("no pipelines\n".to_owned());
    }
    let mut shown = plain(&["pipeline", "status", "epoch", "run", "last change"]);
    if let Some(column) = shown.column_mut(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    for (listed, state) in found {
        shown.add_row([
            escaped(&listed.name),
            status(&state).to_owned(),
            state.epoch.to_string(),
            run(&state),
            changed(&listed),
        ]);
    }
    Ok(format!("{}\n", trimmed(&shown)))
}

async fn show(global: &Global, location: &StateLocation, args: &StateShowArgs) -> Result<String> {
    let name = &args.pipeline;
    let listed = location.pipelines().await?;
    let state = match listed.iter().any(|one| one.name == *name) {
        true => location.load(name).await?,
        false => None,
    };
    let Some(state) = state else {
        return Err(unknown(name, &listed));
    };
    let listed = listed.into_iter().find(|one| one.name == *name);
    let listed = listed.unwrap_or_else(|| Listed {
        name: name.clone(),
        changed: None,
    });
    if args.json {
        return Ok(format!("{:#}\n", details(&listed, &state)));
    }
    let mut text = match global.color_stdout() {
        true => escaped(name).bold().to_string(),
        false => escaped(name),
    };
    text.push('\n');
    let mut fact = |key: &str, value: String| {
        let _ = writeln!(text, "  {key:<11}  {value}");
    };
    fact("status", status(&state).to_owned());
    fact("run", run(&state));
    fact("epoch", state.epoch.to_string());
    if let Some(file) = state.run.as_ref().and_then(|run| run.file.as_ref()) {
        fact("file", escaped(file));
    }
    fact("last change", changed(&listed));
    if !state.epochs.is_empty() {
        let epochs: Vec<_> = state
            .epochs
            .iter()
            .map(|one| one.epoch.to_string())
            .collect();
        fact("to commit", format!("epoch {}", epochs.join(", ")));
    }
    let _ = writeln!(text, "\n{}", components(&state));
    let positions = positions(&state);
    if !positions.is_empty() {
        let mut shown = plain(&["source", "split", "position"]);
        for (source, split, position) in positions.iter().take(SHOWN) {
            shown.add_row([source.to_string(), escaped(split), short(position)]);
        }
        let _ = writeln!(text, "\n{}", trimmed(&shown));
        if let Some(more) = positions.len().checked_sub(SHOWN + 1) {
            let _ = writeln!(
                text,
                "… and {}; --json shows all",
                counted(more as u64 + 1, "more split")
            );
        }
    }
    Ok(text)
}

async fn export(location: &StateLocation, args: &StateExportArgs) -> Result<String> {
    location.export(&args.file).await?;
    Ok(format!("copied the state to {}\n", args.file.display()))
}

fn unknown(name: &str, listed: &[Listed]) -> Error {
    let error =
        Error::not_found("no pipeline of this name has a state here").with("pipeline", name);
    match listed {
        [] => error.hint("there is none; say with --state where pipelines keep it"),
        listed => error.hint(format!(
            "there are: {}",
            listed
                .iter()
                .take(30)
                .map(|one| format!("`{}`", escaped(&one.name)))
                .collect::<Vec<_>>()
                .join(", ")
        )),
    }
}

/// How the last run stands. Whether a process is at it now isn't known.
fn status(state: &PipelineState) -> &'static str {
    match &state.run {
        None => "new",
        Some(run) if run.finished => "finished",
        Some(_) => "unfinished",
    }
}

fn run(state: &PipelineState) -> String {
    let run = state.run.as_ref();
    run.map_or_else(|| "-".to_owned(), |run| run.id.to_string())
}

fn changed(listed: &Listed) -> String {
    match listed.changed {
        Some(at) => at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
        None => "-".to_owned(),
    }
}

/// What the list says of a pipeline.
fn head(listed: &Listed, state: &PipelineState) -> Value {
    json!({
        "pipeline": listed.name,
        "status": status(state),
        "epoch": state.epoch,
        "run": state.run.as_ref().map(|run| run.id),
        "changed": listed.changed,
    })
}

fn details(listed: &Listed, state: &PipelineState) -> Value {
    let mut all = head(listed, state);
    let components = state.run.iter().flat_map(|run| &run.components);
    let components: Vec<_> = components
        .map(|one| {
            json!({
                "id": one.id,
                "kind": one.kind.name(),
                "type": one.config["type"],
                "inputs": one.inputs,
            })
        })
        .collect();
    let sources: serde_json::Map<_, _> = state
        .sources
        .iter()
        .map(|(id, source)| (id.to_string(), source_details(source)))
        .collect();
    let epochs: Vec<_> = state
        .epochs
        .iter()
        .map(|one| {
            let prepared = per_sink(one.prepared.iter().map(|(sink, _)| sink));
            json!({ "epoch": one.epoch, "last": one.last, "prepared": prepared })
        })
        .collect();
    all["lineage"] = json!(state.lineage);
    all["file"] = json!(state.run.as_ref().map(|run| &run.file));
    all["components"] = json!(components);
    all["sources"] = json!(sources);
    all["epochs"] = json!(epochs);
    all["kept"] = json!(per_sink(state.kept.iter().map(|(sink, _)| sink)));
    all["begun"] = json!(per_sink(state.journal.iter().map(|one| &one.sink)));
    all
}

fn source_details(source: &SourceState) -> Value {
    let positions: serde_json::Map<_, _> = source
        .splits
        .iter()
        .filter_map(|one| Some((one.split.id.to_string(), json!(one.offset.as_ref()?))))
        .collect();
    json!({
        "splits": source.splits.len(),
        "finished": source.splits.iter().filter(|one| one.finished).count(),
        "positions": positions,
    })
}

fn per_sink<'a>(sinks: impl Iterator<Item = &'a ComponentId>) -> BTreeMap<&'a str, u64> {
    let mut counts = BTreeMap::new();
    for sink in sinks {
        *counts.entry(sink.as_str()).or_default() += 1;
    }
    counts
}

/// The run's components, and what is remembered of each.
fn components(state: &PipelineState) -> String {
    let stored = state.epochs.iter().flat_map(|one| &one.prepared);
    let prepared = per_sink(stored.chain(&state.kept).map(|(sink, _)| sink));
    let begun = per_sink(state.journal.iter().map(|one| &one.sink));
    let mut shown = plain(&["component", "kind", "type", ""]);
    for one in state.run.iter().flat_map(|run| &run.components) {
        let mut about = Vec::new();
        if let Some(source) = state.sources.get(&one.id) {
            let splits = source.splits.len() as u64;
            let finished = source.splits.iter().filter(|one| one.finished).count();
            about.push(format!("{}, {finished} finished", counted(splits, "split")));
        }
        for (counts, what) in [(&prepared, "to commit"), (&begun, "begun")] {
            let count = counts.get(one.id.as_str());
            about.extend(count.map(|count| format!("{count} {what}")));
        }
        shown.add_row([
            one.id.to_string(),
            one.kind.to_string(),
            escaped(one.config["type"].as_str().unwrap_or_default()),
            about.join(", "),
        ]);
    }
    trimmed(&shown)
}

/// Source, split and position of every split that was read in part.
fn positions(state: &PipelineState) -> Vec<(&ComponentId, String, Value)> {
    let splits = state.sources.iter().flat_map(|(id, source)| {
        let splits = source.splits.iter().filter(|one| !one.finished);
        splits.filter_map(move |one| Some((id, one.split.id.to_string(), one.offset.as_ref()?)))
    });
    splits
        .map(|(id, split, offset)| (id, split, json!(offset)))
        .collect()
}

fn short(position: &Value) -> String {
    let text = escaped(&position.to_string());
    match text.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// Without control characters, which a terminal would obey.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for c in text.chars() {
        match c.is_control() {
            true => escaped.extend(c.escape_unicode()),
            false => escaped.push(c),
        }
    }
    escaped
}
