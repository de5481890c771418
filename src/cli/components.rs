//! `tidegate list`, `describe`, `schema` and `completions`: what this program has.

use std::collections::BTreeSet;
use std::fmt::Write;

use clap::builder::PossibleValuesParser;
use clap::{CommandFactory, ValueHint};
use clap_complete::Shell;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tidegate::Error;
use tidegate::core::Kind;
use tidegate::core::registry::Registration;

use super::args::{Cli, CompletionsArgs, DescribeArgs, Global, KindArg, ListArgs};
use super::{errors, exit, lines, out, reference, terminal};

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
    let across = terminal::width_stdout();
    for kind in Kind::ALL {
        let title = format!("{kind}s");
        let title = if global.color_stdout() {
            title.bold().to_string()
        } else {
            title
        };
        let _ = writeln!(text, "{title}");
        for entry in registry.iter().filter(|entry| entry.kind() == kind) {
            let about = lines::wrapped(&entry.summary(), width + 4, width + 4, across);
            let _ = writeln!(text, "  {:width$}  {about}", entry.tag());
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
        text.push_str(&reference::of(
            entry,
            global.color_stdout(),
            terminal::width_stdout(),
        ));
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
    let registry = match tidegate::registry() {
        Ok(registry) => registry,
        Err(error) => return fail(global, &error),
    };
    // The library keeps words as long as the process lives, which ends with this.
    let tags: BTreeSet<&'static str> = registry
        .iter()
        .map(|entry| &*entry.tag().to_owned().leak())
        .collect();
    let types = PossibleValuesParser::new(tags.clone());
    let mut command = Cli::command().mut_subcommand("describe", |describe| {
        describe.mut_args(|arg| match arg.get_id() == "tag" {
            true => arg.value_parser(types.clone()),
            false => arg,
        })
    });
    clap_complete::generate(args.shell, &mut command, "tidegate", &mut script);
    let script = String::from_utf8_lossy(&script);
    match args.shell {
        Shell::Bash => out::show(global, &with_files(&script)),
        // It knows no values of what has no option.
        Shell::Fish => {
            let more = format!(
                "complete -c tidegate -n \"__fish_seen_subcommand_from describe\" -f -a \"{}\"\n",
                Vec::from_iter(tags).join(" ")
            );
            out::show(global, &format!("{script}{more}"))
        }
        _ => out::show(global, &script),
    }
}

/// The library's script for bash offers options where a file is meant.
fn with_files(script: &str) -> String {
    let takes_file = |command: &&clap::Command| {
        let mut files = command.get_positionals();
        files.any(|arg| arg.get_value_hint() == ValueHint::FilePath)
    };
    let command = Cli::command();
    let commands = command.get_subcommands().filter(takes_file);
    let labels: Vec<_> = commands
        .map(|command| format!("tidegate__subcmd__{})", command.get_name()))
        .collect();

    const WORDS: &str = "COMPREPLY=( $(compgen -W \"${opts}\" -- \"${cur}\") )";
    let mut shown = String::new();
    let (mut file, mut offered) = (false, false);
    for line in script.lines() {
        if line.trim_start().starts_with("tidegate__") && line.ends_with(')') {
            file = labels.iter().any(|label| label == line.trim());
            offered = false;
        }
        let line = if file && line.contains("== -* ||") {
            "            if [[ ${cur} == -* ]] ; then".to_owned()
        } else if file && line.contains(WORDS) && offered {
            line.replace(WORDS, "COMPREPLY=( $(compgen -f -- \"${cur}\") )")
        } else {
            offered |= line.contains(WORDS);
            line.to_owned()
        };
        shown.push_str(&line);
        shown.push('\n');
    }
    shown
}

fn fail(global: &Global, error: &Error) -> u8 {
    errors::print(global, error, None);
    exit::of_error(error)
}
