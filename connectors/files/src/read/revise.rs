//! What there is to read of files that changed or went after a run had planned them.
//!
//! | the file | nothing of it is committed | a part is |
//! |---|---|---|
//! | is the same, perhaps copied with its time | read on | read on |
//! | changed | planned as it is now | as the user says: [`Changed`] |
//! | is gone | left out | as the user says |
//!
//! Where the user lets files that can't be read be passed over (`on_file_error`), what is left of a
//! file that changed or went is, unless `--changed-input` says otherwise.

use std::collections::{BTreeMap, HashMap, HashSet};

use tidegate_core::{
    Changed, Error, Next, Plan, PlanState, PlannedSplit, Result, Revision, Split, SplitData,
    SplitId,
};
use tidegate_formats::Position;

use super::State;
use super::failing::Failure;
use super::piece::{Mark, Part, Piece, Unreadable, version};
use super::reader::{Found, Reader, is_same};

/// What is different from what was planned.
#[derive(Debug, Default)]
pub(crate) struct Revised {
    pub(crate) new: Vec<Split>,
    pub(crate) revoked: Vec<SplitId>,
    /// What is to be remembered of files.
    remember: Vec<Remember>,
}

/// What files are remembered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// Their keys in the storage.
    Key,
    /// Their names in splits.
    Name,
}

/// What is to be remembered of a file.
#[derive(Debug)]
struct Remember {
    name: String,
    key: String,
    /// The state of it that was given as splits, or isn't to be read. `None`: as if the one that was
    /// planned had never been seen.
    seen: Option<Mark>,
    planned: String,
}

/// The pieces of one state of a file.
struct Planned<'a> {
    name: String,
    /// What their ids begin with.
    version: String,
    pieces: Vec<(PlannedSplit<'a>, Piece)>,
}

impl Revised {
    /// Compares what was planned with the files as they are `now`, by name. `anew`: changed files of
    /// which nothing is committed are planned here; or else the next plan is to find them.
    ///
    /// Errors: `Conflict` where the user has to say what is to be done.
    pub(crate) async fn of(
        reader: &Reader,
        revision: &Revision<'_>,
        now: &HashMap<String, Found>,
        anew: bool,
    ) -> Result<Option<Self>> {
        let planned = planned(revision.splits)?;
        let versions: HashSet<&str> = planned.iter().map(|file| file.version.as_str()).collect();
        let mut revised = Self::default();
        let mut refused = Vec::new();
        let over = reader.passes_over();
        let open = |file: &&Planned<'_>| !file.is_finished() && !file.is_passed_over();
        for file in planned.iter().filter(open) {
            let now = now.get(&file.name);
            if now.is_some_and(|now| file.is(now)) {
                continue;
            }
            if let Some(now) = now.filter(|now| file.version == now.version()) {
                revised.read_on(file, now)?;
                continue;
            }
            let wanted = match (file.is_begun(), revision.changed) {
                (false, _) if over && now.is_none() => {
                    revised.pass_over(file, now)?;
                    continue;
                }
                (false, _) => now.filter(|_| anew),
                (true, Changed::Refuse) if over => {
                    revised.pass_over(file, now)?;
                    continue;
                }
                (true, Changed::Reread) => now,
                (true, Changed::Skip) => {
                    // What was planned of it since is left out with it.
                    let others = planned.iter().filter(|other| other.name == file.name);
                    others
                        .filter(|other| !other.is_begun())
                        .for_each(|other| revised.revoke(other));
                    None
                }
                (true, Changed::Resume) => match now {
                    Some(now) if now.file.size == file.size() => {
                        revised.read_on(file, now)?;
                        continue;
                    }
                    _ => return Err(file.another(now)),
                },
                (true, Changed::Refuse) => {
                    refused.push(file);
                    continue;
                }
            };
            revised.revoke(file);
            if let Some(now) = wanted.filter(|now| !versions.contains(now.version().as_str())) {
                revised.new.extend(reader.splits(now).await?);
            }
            let seen = match file.is_begun() {
                // What was committed of it isn't to come again by itself.
                true => now,
                false => wanted,
            };
            revised.remember(file, seen.map(Found::mark));
        }
        if let Some((first, others)) = refused.split_first() {
            return Err(first.refused(now.get(&first.name), others.len()));
        }
        let nothing = revised.new.is_empty() && revised.revoked.is_empty();
        Ok((!nothing).then_some(revised))
    }

    fn revoke(&mut self, file: &Planned<'_>) {
        for (split, _) in file.unfinished() {
            if !self.revoked.contains(&split.split.id) {
                self.revoked.push(split.split.id.clone());
            }
        }
    }

    /// Passes over what isn't committed of a file. If a part is, the state of it that was planned stays
    /// remembered: as it is now, it is another file. If nothing is, it is a new one when it is back.
    fn pass_over(&mut self, file: &Planned<'_>, now: Option<&Found>) -> Result<()> {
        let Some((_, piece)) = file.pieces.first() else {
            return Ok(());
        };
        self.revoke(file);
        let what = match now {
            Some(_) => "the file changed while it was being read",
            None => "the file is gone",
        };
        let (why, rows) = match file.is_begun() {
            true => (format!("{what}; committed is {}", file.committed()), None),
            false => (what.to_owned(), Some(0)),
        };
        let piece = Piece::failed(piece.file.clone(), Unreadable { why, rows });
        let data = SplitData::encode(&piece)?;
        self.new.push(Split::new(file.version.as_str(), data));
        if !file.is_begun() {
            self.remember(file, None);
        }
        Ok(())
    }

    /// Reads on in the file as it lies there now, from where reading stood in the one before.
    fn read_on(&mut self, file: &Planned<'_>, now: &Found) -> Result<()> {
        self.revoke(file);
        for (split, piece) in file.unfinished() {
            let piece = Piece {
                file: now.file.clone(),
                begin: split.offset.or(piece.begin.as_ref()).cloned(),
                ..piece.clone()
            };
            let size = split.split.estimate;
            self.new.push(piece.split(&file.name, &now.mark(), size)?);
        }
        self.remember(file, Some(now.mark()));
        Ok(())
    }

    fn remember(&mut self, file: &Planned<'_>, seen: Option<Mark>) {
        let key = file.pieces.first().map(|(_, piece)| &piece.file.key);
        self.remember.push(Remember {
            name: file.name.clone(),
            key: key.cloned().unwrap_or_default(),
            seen,
            planned: file.version.clone(),
        });
    }

    /// The plan that says so. `remembered`: by what a source remembers files, if it does.
    pub(crate) fn plan(
        self,
        state: Option<&PlanState>,
        remembered: Option<By>,
        next: Next,
    ) -> Result<Plan> {
        let mut state = match state {
            Some(state) => state.decode::<State>()?,
            None => State::default(),
        };
        if let Some(by) = remembered {
            self.apply(&mut state.seen, by);
        }
        if !state.open.is_empty() {
            state.open.retain(|split| !self.revoked.contains(split));
            state
                .open
                .extend(self.new.iter().map(|split| split.id.clone()));
        }
        let next = match (next, state.open.is_empty()) {
            (Next::Complete, false) => Next::WhenFinished,
            (next, _) => next,
        };
        Ok(Plan {
            new: self.new,
            revoked: self.revoked,
            state: PlanState::encode(&state)?,
            next,
        })
    }

    fn apply(&self, seen: &mut BTreeMap<String, Mark>, by: By) {
        for file in &self.remember {
            let key = match by {
                By::Key => &file.key,
                By::Name => &file.name,
            };
            let known = seen.get(key);
            let is_planned = known.is_some_and(|mark| version(&file.name, mark) == file.planned);
            match &file.seen {
                Some(mark) => {
                    seen.insert(key.clone(), mark.clone());
                }
                None if is_planned => {
                    seen.remove(key);
                }
                None => {}
            }
        }
    }
}

impl Found {
    fn version(&self) -> String {
        version(&self.name, &self.mark())
    }
}

impl<'a> Planned<'a> {
    fn unfinished(&self) -> impl Iterator<Item = &(PlannedSplit<'a>, Piece)> {
        self.pieces.iter().filter(|(split, _)| !split.finished)
    }

    fn is_finished(&self) -> bool {
        self.unfinished().next().is_none()
    }

    /// Whether nothing more of it is read, because it can't be.
    fn is_passed_over(&self) -> bool {
        self.unfinished().all(|(split, piece)| {
            piece.failed.is_some() || split.offset.is_some_and(|at| Failure::at(at).is_some())
        })
    }

    /// Whether the file that lies there is the very one that was planned.
    fn is(&self, now: &Found) -> bool {
        self.pieces.first().is_some_and(|(_, piece)| {
            let file = piece.file.clone();
            is_same(
                &Found {
                    file,
                    ..now.clone()
                },
                &now.file,
            )
        })
    }

    fn size(&self) -> u64 {
        self.pieces.first().map_or(0, |(_, piece)| piece.file.size)
    }

    /// How many pieces the file was cut into; at least those that are there.
    fn count(&self) -> usize {
        let counted = self.pieces.first().and_then(|(_, piece)| piece.pieces);
        counted.unwrap_or_default().max(self.pieces.len())
    }

    /// Whether something of it is committed.
    fn is_begun(&self) -> bool {
        // Of pieces that are missing the source was told that they were read. Where an earlier version
        // planned a piece, that isn't known.
        let unknown = |piece: &Piece| piece.pieces.is_none() && piece.part != Part::Whole;
        self.count() > self.pieces.len()
            || self.pieces.iter().any(|(split, piece)| {
                let begun = split.finished || split.offset.is_some() || piece.begin.is_some();
                begun || unknown(piece)
            })
    }

    /// What is committed of it, in words.
    fn committed(&self) -> String {
        let count = self.count();
        if count > 1 {
            let whole = count - self.unfinished().count();
            return format!("{whole} of its {count} pieces, and perhaps parts of others");
        }
        let mut pieces = self.pieces.iter();
        let offset = pieces.find_map(|(split, piece)| split.offset.or(piece.begin.as_ref()));
        let position = offset.and_then(|offset| offset.decode::<Position>().ok());
        match position {
            Some(Position {
                line: Some(line),
                offset,
                ..
            }) => format!("what stands before line {line}, {offset} bytes of text"),
            Some(Position { offset, .. }) => format!("the first {offset} bytes of its text"),
            None => "a part of its rows".to_owned(),
        }
    }

    /// The error where it changed or went, and nothing was said of what is to be done. `others`: how
    /// many more files that is true of.
    fn refused(&self, now: Option<&Found>, others: usize) -> Error {
        let error = Error::conflict(match now {
            Some(_) => "a file changed when a part of it was committed",
            None => "a file is gone of which only a part is committed",
        });
        let error = self.placed(error, now).with("committed", self.committed());
        let error = match others {
            0 => error,
            others => error.with("others", others),
        };
        let ways = match now {
            Some(_) => {
                "`--changed-input skip` leaves the rest of it unread; `reread` reads the changed file \
                 whole, and what is committed of it comes twice; `resume` reads on where reading \
                 stood, if it was only touched"
            }
            None => "`--changed-input skip` leaves the rest of it out",
        };
        error.hint(format!(
            "what is committed stays. The old file with its old time, put back, is read on. {ways}. \
             `--restart` reads all files of the run again: what it committed comes twice where a \
             sink appends"
        ))
    }

    /// The error where reading can't go on in it.
    fn another(&self, now: Option<&Found>) -> Error {
        let error = Error::conflict(match now {
            Some(_) => "a file can't be read on from where reading stood: it has another size now",
            None => "a file can't be read on: it is gone",
        });
        self.placed(error, now).hint(
            "`--changed-input skip` leaves the rest of it unread; `reread` reads it whole, and what \
             is committed of it comes twice",
        )
    }

    fn placed(&self, error: Error, now: Option<&Found>) -> Error {
        match now {
            Some(now) => error.with("path", now.storage.show(&now.file.key)),
            None => error.with("path", &self.name),
        }
    }
}

/// The states of files that splits are pieces of, in the order in which they were planned.
fn planned<'a>(splits: &[PlannedSplit<'a>]) -> Result<Vec<Planned<'a>>> {
    let mut found: Vec<Planned<'a>> = Vec::new();
    let mut places = HashMap::new();
    for split in splits {
        let piece: Piece = split.split.data.decode()?;
        let id = split.split.id.as_str();
        let version = id.strip_suffix(&piece.part.to_string()).unwrap_or(id);
        let place = *places.entry(version).or_insert(found.len());
        if place == found.len() {
            let (name, _) = version.rsplit_once('@').unwrap_or((version, ""));
            found.push(Planned {
                name: name.to_owned(),
                version: version.to_owned(),
                pieces: Vec::new(),
            });
        }
        found[place].pieces.push((*split, piece));
    }
    Ok(found)
}
