//! `tidegate check`.

use std::fmt::Write;

use tidegate::core::printable;

use super::args::{Global, PipelineArgs};
use super::{errors, exit, load, out, plan};

/// Loads the file and types the graph; prints what is wrong, or that nothing is.
pub(crate) fn check(global: &Global, args: PipelineArgs) -> u8 {
    let ready = match load::load(global, &args, None) {
        Ok(ready) => ready,
        Err(code) => return code,
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
            let name = printable::line(&ready.pipeline.spec().name);
            let _ = writeln!(text, "{name} is valid");
            for component in &description.components {
                if let Some(guarantee) = component.guarantee {
                    let _ = write!(text, "  {}: {guarantee}", component.id);
                    if let Some(reason) = &component.reason {
                        let _ = write!(text, " ({})", printable::line(reason));
                    }
                    text.push('\n');
                }
            }
            for note in &description.notes {
                let _ = writeln!(text, "  note: {}", printable::line(note));
            }
            out::show(global, &text)
        }
    }
}
