//! Which transactions of the log are behind us, and how far we are in the one that is not.

use tidegate_core::{Error, Result};

use super::bytes::Broken;
use super::gtid::Gtids;
use super::position::{self, BinlogOffset, BinlogPosition};
use super::track::Track;

/// The transaction that we are in.
#[derive(Debug)]
pub(super) struct Transaction {
    /// Where it begins in its file.
    start: u64,
    /// It has an end of its own; otherwise it is one statement.
    pub(super) begun: bool,
    /// When it was committed, in microseconds since 1970, if that was told.
    pub(super) committed: Option<i64>,
    id: Option<Id>,
    /// It is a distributed one: its rows may still be rolled back.
    pub(super) distributed: bool,
    /// How many changes of followed tables there were, those that were told before included.
    pub(super) changes: u64,
}

/// The id of a transaction.
#[derive(Debug, Clone, Copy)]
pub(super) enum Id {
    MariaDb {
        domain: u32,
        server: u32,
        sequence: u64,
    },
    MySql {
        source: [u8; 16],
        number: u64,
    },
    /// One that we don't understand.
    Tagged,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Transactions {
    pub(super) track: Track,
    /// The end of the last one, and its file's number.
    place: BinlogOffset,
    file: u64,
    gtids: Option<Gtids>,
    pub(super) current: Option<Transaction>,
    /// So many changes of the next one were told before.
    told: u64,
    /// Whether the place has moved since it was told.
    pub(super) moved: bool,
}

impl Transactions {
    pub(super) fn new(place: BinlogOffset) -> Result<Self> {
        Ok(Self {
            track: Track::new(&place.position.file, place.position.byte),
            file: position::file_number(&place.position.file)?,
            gtids: None,
            told: place.changes,
            place,
            current: None,
            moved: false,
        })
    }

    /// The log comes from here on, over another connection.
    pub(super) fn connected(&mut self, position: BinlogPosition, track: Track, mariadb: bool) {
        self.gtids = match &position.gtids {
            Some(gtids) => Gtids::parse(gtids, mariadb).ok(),
            // MariaDB always has them; there was just no transaction yet.
            None if mariadb => Gtids::parse("", true).ok(),
            None => None,
        };
        self.place.position = position;
        self.track = track;
    }

    /// The connection is gone: what we are in is to come again, from its beginning.
    pub(super) fn lost(&mut self) {
        if let Some(transaction) = self.current.take() {
            self.told = self.told.max(transaction.changes);
        }
        self.place = self.behind();
        self.place.changes = self.told;
    }

    /// From where the log is to come over a new connection.
    pub(super) fn resume(&self) -> &BinlogOffset {
        &self.place
    }

    /// The end of the last one, with the ids of all before.
    pub(super) fn behind(&self) -> BinlogOffset {
        let mut place = self.place.clone();
        if let Some(gtids) = &self.gtids {
            place.position.gtids = Some(gtids.to_string()).filter(|text| !text.is_empty());
        }
        place
    }

    /// Where we are, for a resume right after the last change.
    pub(super) fn here(&self) -> BinlogOffset {
        let changes = self.current.as_ref().map_or(0, |one| one.changes);
        BinlogOffset {
            changes: changes.max(self.told),
            ..self.behind()
        }
    }

    /// An error that says at which byte of which file it was met.
    pub(super) fn met(&self, error: Error, byte: u64) -> Error {
        let error = error.with("file", &self.place.position.file);
        error.with("position", byte)
    }

    /// Another file may have begun.
    pub(super) fn rotated(&mut self) -> Result<()> {
        self.unfinished()?;
        if self.track.file != self.place.position.file {
            self.file = position::file_number(&self.track.file)?;
            self.place.position.file.clone_from(&self.track.file);
            self.place.position.byte = self.track.at;
            self.moved = true;
        }
        Ok(())
    }

    /// A transaction without an end, which a crash of the server left in the log.
    fn unfinished(&mut self) -> Result<()> {
        match self.current.take() {
            Some(transaction) if transaction.changes > 0 => {
                let error = Error::conflict(
                    "a transaction has no end in the binary log, so its changes were not made",
                );
                Err(self
                    .met(error, transaction.start)
                    .hint("some of them were already told; start over with --restart"))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn begin(
        &mut self,
        start: u64,
        id: Option<Id>,
        committed: Option<i64>,
    ) -> Result<&mut Transaction> {
        self.unfinished()?;
        Ok(self.current.insert(Transaction {
            start,
            begun: false,
            committed,
            id,
            distributed: false,
            changes: 0,
        }))
    }

    pub(super) fn end(&mut self) {
        self.place.position.byte = self.track.at;
        self.told = 0;
        self.moved = true;
        let id = self.current.take().and_then(|transaction| transaction.id);
        match (id, &mut self.gtids) {
            (
                Some(Id::MariaDb {
                    domain,
                    server,
                    sequence,
                }),
                Some(gtids),
            ) => gtids.add_mariadb(domain, server, sequence),
            (Some(Id::MySql { source, number }), Some(gtids)) => gtids.add_mysql(source, number),
            (Some(Id::Tagged), _) => {
                self.gtids = None;
                self.place.position.gtids = None;
            }
            _ => {}
        }
    }

    /// Counts a change of the transaction, and gives its `_pos`; none if it was told before.
    pub(super) fn change(&mut self) -> Result<Option<String>, Broken> {
        let transaction = self.current.as_mut().ok_or(Broken)?;
        transaction.changes += 1;
        let (start, change) = (transaction.start, transaction.changes);
        let generation = self.place.position.generation;
        let text = || position::text(generation, self.file, start, change);
        Ok((change > self.told).then(text))
    }
}
