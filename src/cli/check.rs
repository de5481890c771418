//! `tidegate check`.

use std::fmt::Write;

use tidegate::core::printable;

use super::args::{Global, PipelineArgs};
use super::{errors, exit, lines, load, out, plan, terminal};

/// Loads the file and types the graph; prints what is wrong, or that nothing is.
pub(crate) fn check(global: &Global, args: PipelineArgs) -> u8 {
    let ready = match load::load(global, &args, None) {
        Ok(ready) => ready,
        Err(refused) => return refused.code,
    };
    let result = plan::on_threads(async {
        let state = ready.state().await?;
        let graph = ready.pipeline.check_with(&state).await?;
        let described = graph.describe();
        graph.close().await;
        Ok(described)
    });
    match result {
        Err(error) => {
            errors::print(global, &error, Some(&ready.document));
            exit::of_error(&error)
        }
        Ok(description) => {
            if global.quiet {
                return exit::DONE;
            }
            let mut text = String::new();
            let across = terminal::width_stdout();
            let name = printable::line(&ready.pipeline.spec().name);
            let _ = writeln!(text, "{name} is valid");
            for component in &description.components {
                if let Some(guarantee) = component.guarantee {
                    let mut line = format!("{}: {guarantee}", component.id);
                    if let Some(reason) = &component.reason {
                        let _ = write!(line, " ({})", printable::line(reason));
                    }
                    let _ = writeln!(text, "  {}", lines::wrapped(&line, 2, 4, across));
                }
            }
            for note in &description.notes {
                let note = lines::wrapped(&printable::line(note), 8, 8, across);
                let _ = writeln!(text, "  note: {note}");
            }
            out::show(global, &text)
        }
    }
}
