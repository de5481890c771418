//! `tidegate list`, `describe`, `schema` and `completions`: what this program has.

use std::fmt::Write;

use clap::CommandFactory;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tidegate::Error;
use tidegate::core::Kind;
use tidegate::core::registry::Registration;

use super::args::{Cli, CompletionsArgs, DescribeArgs, Global, KindArg, ListArgs};
use super::{errors, exit, out, reference};

/// Lists the components.
pub(crate) fn list(global: &Global, args: ListArgs) -> u8 {
    let registry = match tidegate::registry() {
        Ok(registry) => registry,
        Err(error) => return fail(global, &error),
    };
    if args.json {
        let entries: Vec<Value> = registry
            .iter()
            .map(|entry| {
                json!({
                    "type": entry.tag(),
                    "kind": entry.kind(),
                    "package": entry.package(),
                    "summary": entry.summary(),
                })
            })
            .collect();
        return out::show(global, &format!("{}\n", Value::Array(entries)));
    }
    let mut text = String::new();
    let width = registry
        .iter()
        .map(|entry| entry.tag().len())
        .max()
        .unwrap_or(0);
    for kind in Kind::ALL {
        let title = format!("{kind}s");
        let title = if global.color_stdout() {
            title.bold().to_string()
        } else {
            title
        };
        let _ = writeln!(text, "{title}");
        for entry in registry.iter().filter(|entry| entry.kind() == kind) {
            let _ = writeln!(text, "  {:width$}  {}", entry.tag(), entry.summary());
        }
    }
    text.push_str("\n`tidegate describe TYPE` shows the keys of one.\n");
    out::show(global, &text)
}

/// Explains a component.
pub(crate) fn describe(global: &Global, args: DescribeArgs) -> u8 {
    let registry = match tidegate::registry() {
        Ok(registry) => registry,
        Err(error) => return fail(global, &error),
    };
    let wanted = args.kind.map(|kind| match kind {
        KindArg::Source => Kind::Source,
        KindArg::Transform => Kind::Transform,
        KindArg::Sink => Kind::Sink,
        KindArg::Catalog => Kind::Catalog,
    });
    let found: Vec<&Registration> = registry
        .iter()
        .filter(|entry| entry.tag() == args.tag && wanted.is_none_or(|kind| entry.kind() == kind))
        .collect();
    if found.is_empty() {
        let mut tags: Vec<&str> = registry.iter().map(Registration::tag).collect();
        tags.sort_unstable();
        tags.dedup();
        let what = wanted.map_or("component", Kind::name);
        let error = Error::config(format!("there is no {what} of type `{}`", args.tag))
            .hint(format!("this program has: {}", tags.join(", ")));
        return fail(global, &error);
    }
    let mut text = String::new();
    for (index, entry) in found.iter().enumerate() {
        if args.json {
            let _ = writeln!(text, "{:#}", entry.schema());
            continue;
        }
        if index > 0 {
            text.push('\n');
        }
        text.push_str(&reference::of(entry, global.color_stdout()));
    }
    out::show(global, &text)
}

/// Prints the JSON Schema of pipeline files.
pub(crate) fn schema(global: &Global) -> u8 {
    match tidegate::registry() {
        Ok(registry) => {
            let schema = tidegate::config::pipeline_schema(&registry);
            out::show(global, &format!("{schema:#}\n"))
        }
        Err(error) => fail(global, &error),
    }
}

/// Prints a completion script.
pub(crate) fn completions(global: &Global, args: CompletionsArgs) -> u8 {
    // Not straight to standard output: it would panic where nobody reads on.
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut script);
    out::show(global, &String::from_utf8_lossy(&script))
}

fn fail(global: &Global, error: &Error) -> u8 {
    errors::print(global, error, None);
    exit::of_error(error)
}
