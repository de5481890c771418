//! How a pipeline's memory is divided among its parts, by what they need.

use tidegate_core::{Kind, PipelineSpec};

use crate::settings::RuntimeSettings;

/// The most that the queue takes by itself: more doesn't make anything faster.
const MOST_QUEUED: u64 = 32_000_000;

/// With less, readers and workers wait for each other.
const LEAST_QUEUED: u64 = 64_000;

/// What each part of a pipeline may hold, in bytes. Together they are `runtime.memory`.
///
/// ```text
///                      queue   sources   sinks   stages, their inputs   maps with state
/// maps only             1/12      2/12    9/12                      -                 -
/// maps with state       1/12      2/12    6/12                      -              3/12
/// gathers               1/12      2/12    3/12             3/12  3/12                 -
/// gathers and those     1/12      2/12    3/12             2/12  2/12              2/12
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shares {
    /// What waits between readers and workers.
    pub(crate) queue: u64,
    /// What each source may have fetched ahead.
    pub(crate) source: u64,
    /// What each stage may hold while it runs.
    pub(crate) stage: u64,
    /// What waits for stages, before it goes to disk.
    pub(crate) spools: u64,
    /// What each map that keeps state may hold.
    pub(crate) map: u64,
    /// What the writers of each sink may hold.
    pub(crate) sink: u64,
}

impl Shares {
    /// `gathers`: whether there are stages; `stateful`: how many maps keep state.
    pub(crate) fn new(
        settings: &RuntimeSettings,
        spec: &PipelineSpec,
        gathers: bool,
        stateful: usize,
    ) -> Self {
        let part = settings.memory.0 / 12;
        let all = spec.components.iter();
        let count = |kind| {
            all.clone()
                .filter(|component| component.kind == kind)
                .count()
                .max(1) as u64
        };
        let (sinks, stages, maps) = match (gathers, stateful > 0) {
            (false, false) => (9, 3, 0),
            (false, true) => (6, 3, 3),
            (true, false) => (3, 3, 0),
            (true, true) => (3, 2, 2),
        };
        Self {
            queue: settings
                .queue
                .map_or(part.clamp(LEAST_QUEUED, MOST_QUEUED), |queue| queue.0),
            source: 2 * part / count(Kind::Source),
            // They run one after the other.
            stage: stages * part,
            spools: stages * part,
            map: maps * part / stateful.max(1) as u64,
            sink: sinks * part / count(Kind::Sink),
        }
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{ByteSize, ComponentId, ComponentSpec};

    use super::*;

    fn pipeline(kinds: &[Kind]) -> PipelineSpec {
        let components = kinds.iter().enumerate().map(|(at, &kind)| ComponentSpec {
            id: ComponentId::new(&format!("c{at}")).unwrap(),
            kind,
            tag: "t".to_owned(),
            inputs: Vec::new(),
            guarantee: None,
            config: serde_json::Map::new(),
        });
        PipelineSpec {
            components: components.collect(),
            ..PipelineSpec::new("p", ".")
        }
    }

    #[test]
    fn all_parts_together_are_the_memory() {
        use Kind::{Sink, Source, Transform};
        for kinds in [
            &[Source, Sink][..],
            &[Source, Transform, Sink],
            &[Source, Source, Source, Transform, Transform, Sink, Sink],
        ] {
            let spec = pipeline(kinds);
            let count = |kind| kinds.iter().filter(|other| **other == kind).count() as u64;
            for memory in [8_000_000, 192_000_000, 10_000_000_000] {
                let settings = RuntimeSettings {
                    memory: ByteSize(memory),
                    ..RuntimeSettings::default()
                };
                for (gathers, stateful) in [(false, 0), (true, 0), (false, 2), (true, 1)] {
                    let shares = Shares::new(&settings, &spec, gathers, stateful);
                    let stages = if gathers {
                        shares.stage + shares.spools
                    } else {
                        0
                    };
                    let all = shares.queue
                        + shares.source * count(Source)
                        + shares.sink * count(Sink)
                        + shares.map * stateful as u64
                        + stages;
                    assert!(all <= memory, "{shares:?}");
                    assert!(all >= memory / 10 * 9, "{shares:?}");
                    assert!(shares.queue <= MOST_QUEUED);
                }
            }
        }
    }

    #[test]
    fn what_is_said_of_the_queue_holds() {
        let settings = RuntimeSettings {
            queue: Some(ByteSize(1_000_000)),
            ..RuntimeSettings::default()
        };
        let shares = Shares::new(&settings, &pipeline(&[Kind::Source, Kind::Sink]), false, 0);
        assert_eq!(shares.queue, 1_000_000);
    }
}
