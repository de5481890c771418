//! `tidegate list`, `describe`, `schema` and `completions`: what this program has.

use std::io::Write;

use clap::CommandFactory;
use owo_colors::OwoColorize;
use serde_json::{Value, json};
use tidegate::Error;
use tidegate::core::Kind;
use tidegate::core::registry::Registration;

use super::args::{Cli, CompletionsArgs, DescribeArgs, Global, KindArg, ListArgs};
use super::{errors, exit};

/// Lists the components.
pub(crate) fn list(global: &Global, args: ListArgs) -> u8 {
    let registry = match tidegate::registry() {
        Ok(registry) => registry,
        Err(error) => return fail(global, &error),
    };
    let mut out = std::io::stdout().lock();
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
        let _ = writeln!(out, "{}", Value::Array(entries));
        return exit::DONE;
    }
    let width = registry.iter().map(|entry| entry.tag().len()).max().unwrap_or(0);
    for kind in Kind::ALL {
        let title = format!("{kind}s");
        let title = if global.color_stdout() { title.bold().to_string() } else { title };
        let _ = writeln!(out, "{title}");
        for entry in registry.iter().filter(|entry| entry.kind() == kind) {
            let _ = writeln!(out, "  {:width$}  {}", entry.tag(), entry.summary());
        }
    }
    let _ = writeln!(out, "\n`tidegate describe TYPE` shows the keys of one.");
    exit::DONE
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
    let mut out = std::io::stdout().lock();
    for (index, entry) in found.iter().enumerate() {
        if args.json {
            let _ = writeln!(out, "{:#}", entry.schema());
            continue;
        }
        if index > 0 {
            let _ = writeln!(out);
        }
        let _ = out.write_all(reference(entry, global.color_stdout()).as_bytes());
    }
    exit::DONE
}

/// A component's documentation, from its JSON Schema.
fn reference(entry: &Registration, color: bool) -> String {
    let schema = entry.schema();
    let strong = |text: &str| if color { text.bold().to_string() } else { text.to_owned() };
    let mut text = format!("{}\n", strong(&format!("{} ({})", entry.tag(), entry.kind())));
    if let Some(about) = schema["description"].as_str() {
        text.push_str(&format!("{}\n", about.trim_end()));
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let Some(keys) = schema["properties"].as_object() else { return text };
    text.push_str(&format!("\n{}\n", strong("Keys")));
    for (key, value) in keys {
        let mut facts = vec![type_name(value, &schema)];
        if required.contains(&key.as_str()) {
            facts.push("required".to_owned());
        }
        match value.get("default") {
            None | Some(Value::Null) => {}
            Some(default) => facts.push(format!("default {default}")),
        }
        text.push_str(&format!("  {}  ({})\n", strong(key), facts.join(", ")));
        for line in value["description"].as_str().unwrap_or_default().lines() {
            text.push_str(&format!("      {line}\n"));
        }
    }
    text
}

/// A schema's type in a few words.
fn type_name(value: &Value, root: &Value) -> String {
    if let Some(reference) = value["$ref"].as_str() {
        let target = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer));
        return target.map_or_else(|| "table".to_owned(), |target| type_name(target, root));
    }
    if let Some(format) = value["format"].as_str().filter(|f| ["size", "time span"].contains(f)) {
        return format.to_owned();
    }
    if let Some(options) = value["enum"].as_array() {
        return options.iter().filter(|o| !o.is_null()).map(Value::to_string).collect::<Vec<_>>().join(" | ");
    }
    if let Some(constant) = value.get("const") {
        return constant.to_string();
    }
    for alternatives in ["anyOf", "oneOf", "allOf"] {
        if let Some(options) = value[alternatives].as_array() {
            let names: Vec<String> = options
                .iter()
                .filter(|option| option["type"] != "null")
                .map(|option| type_name(option, root))
                .collect();
            return names.join(" | ");
        }
    }
    let names: Vec<&str> = match &value["type"] {
        Value::String(name) => vec![name.as_str()],
        Value::Array(names) => names.iter().filter_map(Value::as_str).filter(|n| *n != "null").collect(),
        _ => vec!["any"],
    };
    let words = names.into_iter().map(|name| match name {
        "object" => "table".to_owned(),
        "array" => format!("array of {}", type_name(&value["items"], root)),
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(" or ")
}

/// Prints the JSON Schema of pipeline files.
pub(crate) fn schema(global: &Global) -> u8 {
    match tidegate::registry() {
        Ok(registry) => {
            let schema = tidegate::config::pipeline_schema(&registry);
            let _ = writeln!(std::io::stdout().lock(), "{schema:#}");
            exit::DONE
        }
        Err(error) => fail(global, &error),
    }
}

/// Prints a completion script.
pub(crate) fn completions(args: CompletionsArgs) -> u8 {
    clap_complete::generate(args.shell, &mut Cli::command(), "tidegate", &mut std::io::stdout());
    exit::DONE
}

fn fail(global: &Global, error: &Error) -> u8 {
    errors::print(global, error, None);
    exit::of_error(error)
}
