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
///            queue   sources   sinks   stages, their inputs
/// maps only   1/12      2/12    9/12                      -
/// gathers     1/12      2/12    3/12             3/12  3/12
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
    /// What the writers of each sink may hold.
    pub(crate) sink: u64,
}

impl Shares {
    /// `gathers`: whether there are stages.
    pub(crate) fn new(settings: &RuntimeSettings, spec: &PipelineSpec, gathers: bool) -> Self {
        let part = settings.memory.0 / 12;
        let all = spec.components.iter();
        let count = |kind| {
            all.clone()
                .filter(|component| component.kind == kind)
                .count()
                .max(1) as u64
        };
        Self {
            queue: settings
                .queue
                .map_or(part.clamp(LEAST_QUEUED, MOST_QUEUED), |queue| queue.0),
            source: 2 * part / count(Kind::Source),
            // They run one after the other.
            stage: 3 * part,
            spools: 3 * part,
            sink: if gathers { 3 * part } else { 9 * part } / count(Kind::Sink),
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
                for gathers in [false, true] {
                    let shares = Shares::new(&settings, &spec, gathers);
                    let stages = if gathers {
                        shares.stage + shares.spools
                    } else {
                        0
                    };
                    let all = shares.queue
                        + shares.source * count(Source)
                        + shares.sink * count(Sink)
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
        let shares = Shares::new(&settings, &pipeline(&[Kind::Source, Kind::Sink]), false);
        assert_eq!(shares.queue, 1_000_000);
    }
}
