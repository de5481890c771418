//! `tidegate plan`.

use std::fmt::Write as _;
use std::future::Future;

use owo_colors::{OwoColorize, Style};
use tidegate::core::{Kind, printable};
use tidegate::runtime::{
    ComponentDescription, Description, InputDescription, OutputDescription, SplitDescription,
};
use tidegate::{Error, Result};

use super::args::{Global, PlanArgs, PlanFormat};
use super::progress::counted;
use super::{errors, exit, lines, load, out, terminal};

/// How many splits are listed before the rest is only counted.
const SPLITS_SHOWN: usize = 8;

/// Opens the graph, asks the sources for their splits, and shows all of it.
pub(crate) fn plan(global: &Global, args: PlanArgs) -> u8 {
    let ready = match load::load(global, &args.pipeline, None) {
        Ok(ready) => ready,
        Err(refused) => return refused.code,
    };
    let result = on_threads(async {
        let state = ready.state().await?;
        let states = ready.pipeline.plan_states(&state).await?;
        let graph = ready.pipeline.check_with(&state).await?;
        let described = graph.describe_with_splits(|id| states.get(id).cloned());
        let described = described.await;
        graph.close().await;
        described
    });
    let description = match result {
        Ok(description) => description,
        Err(error) => {
            errors::print(global, &error, Some(&ready.document));
            return exit::of_error(&error);
        }
    };
    let text = match args.format {
        PlanFormat::Text => as_text(&description, global.color_stdout()),
        PlanFormat::Mermaid => as_mermaid(&description),
        PlanFormat::Json => match serde_json::to_string_pretty(&description) {
            Ok(text) => text + "\n",
            Err(_) => return exit::FAILED,
        },
    };
    out::show(global, &text)
}

/// Runs a future on threads of its own.
pub(crate) fn on_threads<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let threads = load::io_threads()
        .map_err(|error| Error::io("the threads for I/O can't be started", error))?;
    let result = threads.block_on(work);
    load::end_threads(threads);
    result
}

fn as_text(plan: &Description, color: bool) -> String {
    let paint = |text: &str, style: Style| {
        if color {
            text.style(style).to_string()
        } else {
            text.to_owned()
        }
    };
    let (strong, dim) = (Style::new().bold(), Style::new().dimmed());
    let across = terminal::width_stdout();
    let mut text = String::new();
    for component in &plan.components {
        let kind = component.kind.name();
        let works = component
            .works
            .map(|works| format!(", {works}"))
            .unwrap_or_default();
        let title = paint(component.id.as_str(), strong);
        let _ = writeln!(
            text,
            "{title}  {}",
            paint(&format!("{kind} of type {}{works}", component.r#type), dim)
        );
        if !component.inputs.is_empty() {
            let inputs = component.inputs.iter();
            let names: Vec<_> = inputs.map(input_text).collect();
            let names = lines::wrapped(&names.join(", "), 13, 13, across);
            let _ = writeln!(text, "  reads      {names}");
        }
        if component.kind == Kind::Sink {
            let guarantee = lines::wrapped(&guarantee(component), 13, 13, across);
            let _ = writeln!(text, "  guarantee  {guarantee}");
        }
        for output in &component.outputs {
            output_text(&mut text, output, across);
        }
        if let Some(splits) = &component.splits {
            splits_text(&mut text, splits);
        }
        text.push('\n');
    }
    for note in &plan.notes {
        let note = lines::wrapped(&printable::line(note), 6, 6, across);
        let _ = writeln!(text, "note: {note}");
    }
    text
}

fn input_text(input: &InputDescription) -> String {
    let name = printable::line(&input.name);
    match input.ordered {
        true => format!("{name} (in order)"),
        false => name.to_string(),
    }
}

fn guarantee(component: &ComponentDescription) -> String {
    match (component.guarantee, &component.reason) {
        (None, _) => "no delivery guarantee (debug output)".to_owned(),
        (Some(guarantee), None) => guarantee.to_owned(),
        (Some(guarantee), Some(reason)) => format!("{guarantee} ({})", printable::line(reason)),
    }
}

fn output_text(text: &mut String, output: &OutputDescription, across: usize) {
    let unread = if output.read {
        ""
    } else {
        "  (nobody reads it)"
    };
    let name = printable::line(output.name.as_str());
    let _ = writeln!(text, "  gives      {name}{unread}");
    let columns = output.columns.iter();
    let names: Vec<_> = columns
        .map(|column| printable::line(&column.name))
        .collect();
    let widths = names.iter().map(|name| name.chars().count());
    let width = widths.max().unwrap_or(0);
    for (column, name) in output.columns.iter().zip(&names) {
        let null = if column.nullable { "" } else { " not null" };
        let wanted = output
            .pushed_down
            .as_ref()
            .and_then(|pushed| pushed.columns.as_ref())
            .is_none_or(|columns| columns.contains(&column.name));
        let skipped = if wanted || !output.read {
            ""
        } else {
            "  (not read)"
        };
        let beside = width + null.len() + skipped.len() + 6;
        let r#type = shortened(&column.r#type, across.saturating_sub(beside));
        let _ = writeln!(text, "    {name:width$}  {type}{null}{skipped}");
    }
    if let Some(replay) = output.replay.filter(|replay| *replay != "offset") {
        let _ = writeln!(text, "    replays as {replay}");
    }
    if let Some(pushed) = &output.pushed_down {
        if pushed.predicates > 0 {
            let noun = if pushed.predicates == 1 {
                "condition"
            } else {
                "conditions"
            };
            let _ = writeln!(text, "    pushed down: {} {noun}", pushed.predicates);
        }
        if let Some(limit) = pushed.limit {
            let _ = writeln!(text, "    pushed down: limit {limit}");
        }
    }
}

/// A type as it fits on a line: those of nested documents are long.
fn shortened(r#type: &str, most: usize) -> String {
    // It has the names of a document's fields.
    let line = printable::line(r#type);
    match line.chars().count() <= most {
        true => line.into_owned(),
        false => line.chars().take(most.max(12) - 1).chain(['…']).collect(),
    }
}

fn splits_text(text: &mut String, splits: &[SplitDescription]) {
    let _ = writeln!(text, "  {}", counted(splits.len() as u64, "split"));
    let shown = splits.iter().take(SPLITS_SHOWN);
    let shown: Vec<_> = shown
        .map(|split| (printable::line(split.id.as_str()), split))
        .collect();
    let width = shown.iter().map(|(id, _)| id.chars().count()).max();
    for (id, split) in &shown {
        let mut about = Vec::new();
        if let Some(rows) = split.rows {
            about.push(counted(rows, "row"));
        }
        if let Some(bytes) = split.bytes {
            about.push(tidegate::core::ByteSize(bytes).to_string());
        }
        let _ = writeln!(
            text,
            "    {:width$}  {}",
            id,
            about.join(", "),
            width = width.unwrap_or(0)
        );
    }
    if splits.len() > SPLITS_SHOWN {
        let _ = writeln!(text, "    … and {} more", splits.len() - SPLITS_SHOWN);
    }
}

fn as_mermaid(plan: &Description) -> String {
    let mut text = String::from("flowchart LR\n");
    for component in &plan.components {
        let (id, tag) = (&component.id, &component.r#type);
        let _ = match component.kind {
            Kind::Source => writeln!(text, "    {id}([\"{id}<br/>{tag}\"])"),
            Kind::Transform | Kind::Catalog => writeln!(text, "    {id}[\"{id}<br/>{tag}\"]"),
            Kind::Sink => writeln!(text, "    {id}[(\"{id}<br/>{tag}\")]"),
        };
    }
    for component in &plan.components {
        for input in &component.inputs {
            let (from, to) = (&input.from, &component.id);
            let _ = if input.name == from.as_str() {
                writeln!(text, "    {from} --> {to}")
            } else {
                writeln!(text, "    {from} -->|{}| {to}", label(&input.name))
            };
        }
    }
    text
}

/// A name as a drawing's label: what would end the label is an entity there.
fn label(name: &str) -> String {
    let entity = |char| match char {
        '"' => "#quot;".to_owned(),
        '|' => "#124;".to_owned(),
        '#' => "#35;".to_owned(),
        other => other.to_string(),
    };
    printable::line(name).chars().map(entity).collect()
}
