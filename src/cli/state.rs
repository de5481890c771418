//! `tidegate state`: list, show, reset, export, import.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use comfy_table::CellAlignment;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tidegate::core::ComponentId;
use tidegate::runtime::state::{Listed, PipelineState, SourceState, StateCopy};
use tidegate::runtime::{Reset, ResetScope, remembered};
use tidegate::{Error, Result, StateLocation, config};

use super::args::{
    Global, LogFormat, PipelineArgs, PlaceArgs, StateArgs, StateCommand, StateImportArgs,
    StateListArgs, StateResetArgs, StateShowArgs,
};
use super::catalog::{plain, trimmed};
use super::confirm::confirm;
use super::lake::{on_all_cores, stopped};
use super::load::{self, Ready};
use super::progress::{counted, grouped};
use super::{errors, exit, out, terminal};

/// How many positions are listed before the rest is only counted.
const SHOWN: usize = 8;

/// How much of a position is shown, in characters.
const WIDTH: usize = 100;

/// Does what a command of the state says.
pub(crate) fn state(global: &Global, args: StateArgs) -> u8 {
    let (place, file, name) = match &args.command {
        StateCommand::List(args) => (&args.place, args.beside.clone(), None),
        StateCommand::Show(args) => named(&args.place, &args.pipeline),
        StateCommand::Reset(args) => named(&args.place, &args.pipeline),
        StateCommand::Export(args) => (&args.place, args.beside.clone(), None),
        StateCommand::Import(args) => (&args.place, args.beside.clone(), None),
    };
    let at = match At::find(global, place, file) {
        Ok(at) => at,
        Err(code) => return code,
    };
    let name = name.unwrap_or_else(|| at.pipeline());
    let ended = on_all_cores(async {
        let location = at.location(place).await?;
        match &args.command {
            StateCommand::List(args) => list(&location, args).await,
            StateCommand::Show(args) => show(global, &location, args, name).await,
            StateCommand::Reset(args) => reset(global, &location, args, name).await,
            StateCommand::Export(args) => export(&location, &args.file).await,
            StateCommand::Import(args) => import(&location, args).await,
        }
    });
    match ended {
        Ok(Some(text)) => out::show(global, &text),
        Ok(None) => stopped(global),
        Err(error) => {
            errors::print(global, &error, None);
            exit::of_error(&error)
        }
    }
}

/// What names a pipeline: the file that is there, or else what looks like one, or else its name.
fn named<'a>(
    place: &'a PlaceArgs,
    pipeline: &'a str,
) -> (&'a PlaceArgs, Option<PathBuf>, Option<&'a str>) {
    let path = Path::new(pipeline);
    let is_toml = path.extension().is_some_and(|ending| ending == "toml");
    match is_toml || path.is_file() {
        true => (place, Some(path.to_owned()), None),
        false => (place, None, Some(pipeline)),
    }
}

/// What says where the state is.
enum At {
    /// A pipeline file, as for its run.
    File(Box<Ready>),
    /// Nothing but the settings.
    Here(serde_json::Map<String, Value>),
}

impl At {
    /// Reads it; what is wrong was printed when this gives a code.
    fn find(global: &Global, place: &PlaceArgs, file: Option<PathBuf>) -> Result<Self, u8> {
        if let Some(file) = file {
            let args = PipelineArgs {
                file,
                layers: place.layers.clone(),
                settings: place.settings.clone(),
                state: place.state.clone(),
            };
            let ready = load::load(global, &args, None).map_err(|refused| refused.code)?;
            return Ok(Self::File(Box::new(ready)));
        }
        let registry = tidegate::registry().map_err(|error| {
            errors::print(global, &error, None);
            exit::of_error(&error)
        })?;
        let settings = config::load_settings(place.settings.clone(), &registry);
        settings.map(Self::Here).map_err(|diagnostics| {
            errors::print_diagnostics(global, &diagnostics);
            exit::USAGE
        })
    }

    /// The name of the file's pipeline.
    fn pipeline(&self) -> &str {
        match self {
            Self::File(ready) => &ready.pipeline.spec().name,
            Self::Here(_) => "",
        }
    }

    async fn location(&self, args: &PlaceArgs) -> Result<StateLocation> {
        let settings = match self {
            Self::File(ready) => return ready.state().await,
            Self::Here(settings) => settings,
        };
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

async fn show(
    global: &Global,
    location: &StateLocation,
    args: &StateShowArgs,
    name: &str,
) -> Result<String> {
    let (listed, state) = find(location, name).await?;
    let remembered = remembered(&state, &tidegate::registry()?);
    if args.json {
        return Ok(format!("{:#}\n", details(&listed, &state, &remembered)));
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
    let entries = remembered.iter();
    let entries =
        entries.flat_map(|(id, of)| of.iter().map(move |(name, value)| (id, name, value)));
    let entries: Vec<_> = entries.collect();
    if !entries.is_empty() {
        let mut shown = plain(&["source", "remembers", ""]);
        for (source, name, value) in entries.iter().take(SHOWN) {
            shown.add_row([source.to_string(), escaped(name), short(value)]);
        }
        let _ = writeln!(text, "\n{}", trimmed(&shown));
        text.push_str(&rest(entries.len(), "more"));
    }
    let positions = positions(&state);
    if !positions.is_empty() {
        let mut shown = plain(&["source", "split", "position"]);
        for (source, split, position) in positions.iter().take(SHOWN) {
            shown.add_row([source.to_string(), escaped(split), short(position)]);
        }
        let _ = writeln!(text, "\n{}", trimmed(&shown));
        text.push_str(&rest(positions.len(), "more split"));
    }
    Ok(text)
}

/// What isn't shown of so many.
fn rest(count: usize, what: &str) -> String {
    let more = match count.checked_sub(SHOWN) {
        None | Some(0) => return String::new(),
        Some(more) => more as u64,
    };
    let more = match what {
        "more" => format!("{} more", grouped(more)),
        what => counted(more, what),
    };
    format!("… and {more}; --json shows all\n")
}

/// A pipeline that has a state here. Errors: `NotFound`, with those that have.
async fn find(location: &StateLocation, name: &str) -> Result<(Listed, PipelineState)> {
    let all = location.pipelines().await?;
    let listed = all.iter().find(|one| one.name == *name);
    if let Some(listed) = listed
        && let Some(state) = location.load(name).await?
    {
        return Ok((listed.clone(), state));
    }
    Err(unknown(name, &all))
}

/// What comes of it that something is forgotten.
const AGAIN: &str = "what is forgotten is read again, and its rows are written again: replaced by a sink \
                     that overwrites or writes by key, duplicated in one that appends";

async fn reset(
    global: &Global,
    location: &StateLocation,
    args: &StateResetArgs,
    name: &str,
) -> Result<String> {
    find(location, name).await?;
    let scope = match (&args.source, &args.part) {
        (Some(source), Some(part)) => ResetScope::Part(source.clone(), part.clone()),
        (Some(source), None) => ResetScope::Source(source.clone()),
        (None, _) => ResetScope::Pipeline,
    };
    let store = location.open().await?;
    // From here on no run changes what is decided.
    let hold = store.acquire(name).await?;
    let state = store.load(name).await?;
    let state = state.ok_or_else(|| Error::internal("the pipeline's state is gone"))?;
    let reset = Reset::of(&state, &tidegate::registry()?, &scope)?;
    let shown = escaped(name);
    if reset.forgotten().is_empty() {
        hold.release().await?;
        return Ok(format!("`{shown}` has nothing to forget here\n"));
    }
    let mut text = String::new();
    for line in reset.forgotten() {
        let _ = writeln!(text, "  {}", escaped(line));
    }
    if !args.yes {
        let would = format!("`{shown}` would forget\n{text}{AGAIN}");
        match global.log_format {
            LogFormat::Text => terminal::say(&would),
            LogFormat::Json => errors::log("INFO", &would, Value::Null),
        }
        confirm(
            &format!("let `{shown}` forget this"),
            &format!("`{shown}` forgets nothing"),
        )?;
    }
    reset.apply(&store, name, hold.fence()).await?;
    hold.release().await?;
    Ok(format!("`{shown}` forgot\n{text}{AGAIN}\n"))
}

async fn export(location: &StateLocation, file: &Path) -> Result<String> {
    location.export(file).await?;
    Ok(format!("copied the state to {}\n", file.display()))
}

async fn import(location: &StateLocation, args: &StateImportArgs) -> Result<String> {
    let file = args.file.clone();
    let copy = tokio::task::spawn_blocking(move || StateCopy::read(&file));
    let copy = copy
        .await
        .map_err(|error| Error::internal("the copy's thread broke").because(error))??;
    let names: Vec<String> = copy.pipelines().to_vec();
    let mut replaced = Vec::new();
    for name in &names {
        let state = location.load(name).await?;
        if state.is_some_and(|state| state.run.is_some()) {
            replaced.push(name.clone());
        }
    }
    if !replaced.is_empty() && !args.yes {
        confirm(
            &format!("replace the state of {}", quoted(&replaced)),
            "nothing is imported",
        )?;
    }
    location
        .import(copy, args.yes || !replaced.is_empty())
        .await?;
    Ok(match names.is_empty() {
        true => "the copy has no pipelines\n".to_owned(),
        false => format!("imported the state of {}\n", quoted(&names)),
    })
}

fn quoted(names: &[String]) -> String {
    let names = names.iter().take(30);
    let names: Vec<_> = names.map(|name| format!("`{}`", escaped(name))).collect();
    names.join(", ")
}

fn unknown(name: &str, listed: &[Listed]) -> Error {
    let error =
        Error::not_found("no pipeline of this name has a state here").with("pipeline", name);
    match listed {
        [] => error.hint(
            "there is none; name the pipeline file, or say with --state where pipelines keep it",
        ),
        listed => {
            let names: Vec<_> = listed.iter().map(|one| one.name.clone()).collect();
            error.hint(format!("there are: {}", quoted(&names)))
        }
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

fn details(
    listed: &Listed,
    state: &PipelineState,
    remembered: &BTreeMap<ComponentId, BTreeMap<String, Value>>,
) -> Value {
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
    all["remembered"] = json!(remembered);
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
