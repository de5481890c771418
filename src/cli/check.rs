//! `tidegate check`.

use std::io::Write;

use super::args::{Global, PipelineArgs};
use super::{errors, exit, load, plan};

/// Loads the file and types the graph; prints what is wrong, or that nothing is.
pub(crate) fn check(global: &Global, args: PipelineArgs) -> u8 {
    let ready = match load::load(global, &args, None) {
        Ok(ready) => ready,
        Err(code) => return code,
    };
    let result = plan::on_threads(async {
        let graph = ready.pipeline.check().await?;
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
            if !global.quiet {
                let mut out = std::io::stdout().lock();
                let _ = writeln!(out, "{} is right", ready.pipeline.spec().name);
                for component in &description.components {
                    if let Some(guarantee) = component.guarantee {
                        let _ = write!(out, "  {}: {guarantee}", component.id);
                        if let Some(reason) = &component.reason {
                            let _ = write!(out, " ({reason})");
                        }
                        let _ = writeln!(out);
                    }
                }
                for note in &description.notes {
                    let _ = writeln!(out, "  note: {note}");
                }
            }
            exit::DONE
        }
    }
}
