//! A connection: opened, asked, read.

use std::sync::Arc;
use std::time::Duration;

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{Column, HandshakePacket, StmtPacket};
use tidegate_core::{Error, Result, guarded};
#[cfg(feature = "fuzzing")]
use tokio::io::{AsyncRead, AsyncWrite};

use super::dial::{Greeter, dial};
use super::login::{Greeted, Login, log_in, of_login};
use super::most::Most;
use super::rows::{Pool, Rows};
use super::server::{Server, lost, of_packet, strange};
use super::tls::Tls;
use super::transport::Transport;

const COM_QUERY: u8 = 0x03;
const COM_STMT_PREPARE: u8 = 0x16;
const COM_STMT_EXECUTE: u8 = 0x17;
const COM_STMT_CLOSE: u8 = 0x19;

/// What says whether something was done, and how. An error's text has at most 512 bytes.
const ANSWER: Most = Most::fixed(1 << 20);

/// The most columns that a table and a result have, on MySQL and MariaDB.
const COLUMNS: u64 = 4_096;

/// All of their definitions: names of up to 64 characters, an alias of up to 256.
const DEFINITIONS: Most = Most::fixed(16 << 20);

/// Where the server is, and how long is waited for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Until the connection stands and we are in.
    pub(crate) connect_timeout: Duration,
    /// How long the server may say nothing.
    pub(crate) read_timeout: Duration,
    /// The most bytes of what it sends at once: of a row, of an event, of the answer to a small query.
    pub(crate) max_row: usize,
}

/// A connection that is logged in. It does one thing at a time. Dropping it closes it, also in the
/// middle of something. When a call's future is dropped before its end, or fails for anything but
/// what the server said, the connection can be asked nothing more: every call is a `Transient`
/// error.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(super) transport: Transport,
    pub(super) capabilities: CapabilityFlags,
    pub(super) pool: Arc<Pool>,
    /// See [`Address::max_row`].
    pub(super) max_row: Most,
    server: Server,
    /// Whether an answer is awaited, or broke off.
    busy: bool,
    /// Prepared statements that the server may forget.
    stale: Vec<u32>,
}

/// The answer to a small query: rows of texts.
pub(crate) type Texts = Vec<Vec<Option<String>>>;

/// What a statement without rows did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Done {
    /// Rows changed: with `ON DUPLICATE KEY UPDATE`, 1 for one inserted and 2 for one updated.
    pub(crate) rows: u64,
    /// The first number that AUTO_INCREMENT gave; 0 if it gave none.
    pub(crate) last_insert_id: u64,
    /// How many warnings SHOW WARNINGS would give.
    pub(crate) warnings: u16,
}

impl Connection {
    /// Connects and logs in.
    pub(crate) async fn open(address: &Address, login: &Login, tls: &Tls) -> Result<Self> {
        let opened =
            tokio::time::timeout(address.connect_timeout, Self::enter(address, login, tls));
        let at = |error: Error| error.with("server", format!("{}:{}", address.host, address.port));
        match opened.await {
            Ok(result) => result.map_err(at),
            Err(_) => Err(at(Error::transient(format!(
                "the server let nobody in for {} s",
                address.connect_timeout.as_secs_f64()
            ))
            .hint(
                "check host and port, and that a firewall or security group lets us through",
            ))),
        }
    }

    async fn enter(address: &Address, login: &Login, tls: &Tls) -> Result<Self> {
        Self::greeted(dial(address).await?, address, login, tls).await
    }

    /// Logs in over what isn't a connection, as if it were one to this machine.
    #[cfg(feature = "fuzzing")]
    pub(crate) async fn over(
        socket: impl AsyncRead + AsyncWrite + Send + Sync + 'static,
        address: &Address,
        login: &Login,
        tls: &Tls,
    ) -> Result<Self> {
        let mut transport = Transport::new(socket, address.read_timeout);
        let greeting = transport.greeting().await;
        let greeting = greeting.map_err(|error| lost("connect", error))?;
        let greeter = Greeter {
            transport,
            greeting: greeting.ok_or_else(|| strange("connect"))?,
            address: ([127, 0, 0, 1], address.port).into(),
        };
        Self::greeted(greeter, address, login, tls).await
    }

    async fn greeted(
        greeter: Greeter,
        address: &Address,
        login: &Login,
        tls: &Tls,
    ) -> Result<Self> {
        let Greeter {
            transport,
            greeting,
            address: found,
        } = greeter;
        if greeting.first() == Some(&0xFF) {
            return Err(of_login(&greeting));
        }
        if greeting.first() != Some(&10) {
            return Err(strange("connect"));
        }
        // Where overflows are checked, the library panics over some lengths.
        let handshake: HandshakePacket<'_> = guarded("the greeting's decoder", || {
            let parsed = ParseBuf(&greeting).parse(());
            parsed.map_err(|_| strange("connect"))
        })?;
        let server = Server::of(&handshake);
        let Greeted {
            transport,
            capabilities,
        } = log_in(
            transport,
            found,
            handshake,
            &server,
            login,
            tls,
            &address.host,
        )
        .await?;
        Ok(Self {
            transport,
            capabilities,
            pool: Arc::default(),
            max_row: Most::set(address.max_row),
            server,
            busy: false,
            stale: Vec::new(),
        })
    }

    /// Who is at the other end.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// Does something that has no rows.
    pub(crate) async fn run(&mut self, doing: &str, sql: &str) -> Result<()> {
        self.execute(doing, sql).await.map(drop)
    }

    /// Does something that has no rows, and says what it did. The statement may be as long as the
    /// server's `max_allowed_packet` less one byte, and hold any bytes.
    ///
    /// A statement that gives rows is an `Internal` error, and closes the connection.
    pub(crate) async fn execute(&mut self, doing: &str, sql: impl AsRef<[u8]>) -> Result<Done> {
        self.send(doing, COM_QUERY, sql.as_ref()).await?;
        let packet = self.receive(doing, ANSWER).await?;
        let done = done(&packet).ok_or_else(|| strange(doing))?;
        self.busy = false;
        Ok(done)
    }

    /// Sends any command of the protocol; what comes back is read with [`Connection::packet`], all
    /// of it before anything else is asked.
    pub(crate) async fn command(&mut self, doing: &str, code: u8, body: &[u8]) -> Result<()> {
        self.send(doing, code, body).await?;
        self.busy = false;
        Ok(())
    }

    /// The next packet's payload, never empty. One that tells of an error is given as an error; see
    /// [`ServerError::of`](super::ServerError::of). The server may say nothing for as long as
    /// [`Address::read_timeout`]. One longer than [`Address::max_row`] is a `Data` error.
    pub(crate) async fn packet(&mut self, doing: &str) -> Result<Vec<u8>> {
        self.receive(doing, self.max_row).await
    }

    /// Asks something with few rows; all values come as texts. An answer that takes more memory than
    /// [`Address::max_row`] is a `Data` error.
    pub(crate) async fn query(&mut self, doing: &str, sql: &str) -> Result<Texts> {
        self.send(doing, COM_QUERY, sql.as_bytes()).await?;
        let first = self.receive(doing, ANSWER).await?;
        if first.first() == Some(&0x00) {
            self.busy = false;
            return Ok(Texts::new());
        }
        let columns = self.columns(doing, &first).await?;
        let mut rows = Texts::new();
        let mut most = self.max_row;
        loop {
            let packet = self.receive(doing, most).await?;
            if is_end(&packet) {
                self.busy = false;
                return Ok(rows);
            }
            let mut rest = packet.as_slice();
            let row: Option<Vec<_>> = columns.iter().map(|_| text(&mut rest)).collect();
            let row = row.ok_or_else(|| strange(doing))?;
            // A row of NULLs takes more memory here than there.
            most.spend(doing, memory_of(&row))?;
            rows.push(row);
        }
    }

    /// Asks for one value: the first of the first row.
    pub(crate) async fn value(&mut self, doing: &str, sql: &str) -> Result<Option<String>> {
        let rows = self.query(doing, sql).await?;
        Ok(rows.into_iter().flatten().next().flatten())
    }

    /// What columns a query would give. Reads no row.
    pub(crate) async fn describe(&mut self, doing: &str, sql: &str) -> Result<Vec<Column>> {
        let (statement, columns) = self.prepare(doing, sql).await?;
        self.stale.push(statement);
        Ok(columns)
    }

    /// Begins to read many rows, in the binary protocol.
    pub(crate) async fn rows(mut self, doing: &'static str, sql: &str) -> Result<Rows> {
        let (statement, _) = self.prepare(doing, sql).await?;
        let mut body = statement.to_le_bytes().to_vec();
        // No cursor; executed once.
        body.extend_from_slice(&[0, 1, 0, 0, 0]);
        self.send(doing, COM_STMT_EXECUTE, &body).await?;
        let first = self.receive(doing, ANSWER).await?;
        if first.first() == Some(&0x00) {
            return Err(Error::config("the query gives no rows").hint("it must be a SELECT"));
        }
        let columns = self.columns(doing, &first).await?;
        Ok(Rows::new(self, statement, columns.into(), doing))
    }

    /// The rows of a statement have come to their end.
    pub(super) fn finished(&mut self, statement: u32) {
        self.busy = false;
        self.stale.push(statement);
    }

    async fn prepare(&mut self, doing: &str, sql: &str) -> Result<(u32, Vec<Column>)> {
        self.send(doing, COM_STMT_PREPARE, sql.as_bytes()).await?;
        let answer = self.receive(doing, ANSWER).await?;
        let statement: StmtPacket = ParseBuf(&answer).parse(()).map_err(|_| strange(doing))?;
        for _ in 0..statement.num_params() {
            self.receive(doing, ANSWER).await?;
        }
        if statement.num_params() > 0 {
            self.end_of_metadata(doing).await?;
        }
        let columns = self
            .definitions(doing, statement.num_columns().into())
            .await?;
        self.busy = false;
        if statement.num_params() > 0 {
            self.stale.push(statement.statement_id());
            return Err(Error::config(
                "the query has `?` placeholders, and there are no values for them",
            ));
        }
        Ok((statement.statement_id(), columns))
    }

    async fn columns(&mut self, doing: &str, first: &[u8]) -> Result<Vec<Column>> {
        let mut rest = first;
        let count = length(&mut rest).ok_or_else(|| strange(doing))?;
        self.definitions(doing, count).await
    }

    async fn definitions(&mut self, doing: &str, count: u64) -> Result<Vec<Column>> {
        if count > COLUMNS {
            return Err(Error::data(format!(
                "can't {doing}: the server speaks of more columns than a result can have"
            ))
            .with("columns", count)
            .with("limit", COLUMNS)
            .hint(
                "is this a MySQL or MariaDB server, and is nothing else listening on that port?",
            ));
        }
        let mut columns = Vec::new();
        let mut most = DEFINITIONS;
        for _ in 0..count {
            let packet = self.receive(doing, most).await?;
            most.spend(doing, packet.len())?;
            columns.push(ParseBuf(&packet).parse(()).map_err(|_| strange(doing))?);
        }
        if count > 0 {
            self.end_of_metadata(doing).await?;
        }
        Ok(columns)
    }

    /// Servers of before MySQL 5.7.5 and MariaDB 10.2 end column definitions with a packet.
    async fn end_of_metadata(&mut self, doing: &str) -> Result<()> {
        if !self
            .capabilities
            .contains(CapabilityFlags::CLIENT_DEPRECATE_EOF)
        {
            self.receive(doing, ANSWER).await?;
        }
        Ok(())
    }

    async fn send(&mut self, doing: &str, command: u8, body: &[u8]) -> Result<()> {
        if self.busy {
            // Whoever asked before has gone away, and the answer would be taken for ours.
            return Err(Error::transient(format!(
                "can't {doing}: the connection is in the middle of something else"
            )));
        }
        self.busy = true;
        let sent = async {
            for statement in std::mem::take(&mut self.stale) {
                // Has no answer.
                let body = statement.to_le_bytes();
                self.transport.command(COM_STMT_CLOSE, &body).await?;
            }
            self.transport.command(command, body).await
        };
        sent.await.map_err(|error| lost(doing, error))
    }

    async fn receive(&mut self, doing: &str, most: Most) -> Result<Vec<u8>> {
        let packet = self.transport.read(most.left()).await;
        let packet = packet.map_err(|unread| most.unread(doing, unread))?;
        match packet.first() {
            Some(0xFF) => {
                self.busy = false;
                Err(of_packet(doing, &packet, self.capabilities))
            }
            Some(_) => Ok(packet),
            None => Err(strange(doing)),
        }
    }
}

/// The bytes that a row of texts takes.
fn memory_of(row: &[Option<String>]) -> usize {
    let texts = row.iter().flatten().map(String::len).sum::<usize>();
    size_of::<Vec<Option<String>>>() + size_of_val(row) + texts
}

/// What an OK packet tells.
fn done(packet: &[u8]) -> Option<Done> {
    let (0x00, mut rest) = packet.split_first().map(|(first, rest)| (*first, rest))? else {
        return None;
    };
    let rows = length(&mut rest)?;
    let last_insert_id = length(&mut rest)?;
    // Two bytes of status come before.
    let warnings = rest.get(2..4)?.try_into().ok()?;
    Some(Done {
        rows,
        last_insert_id,
        warnings: u16::from_le_bytes(warnings),
    })
}

/// Whether a packet ends the rows. A text row may begin with 0xFE too, but is then much longer.
fn is_end(packet: &[u8]) -> bool {
    packet.first() == Some(&0xFE) && packet.len() < super::transport::FULL
}

/// A length-encoded integer, taken from the front.
pub(crate) fn length(rest: &mut &[u8]) -> Option<u64> {
    let (first, after) = rest.split_first()?;
    let size = match *first {
        0..=250 => {
            *rest = after;
            return Some(u64::from(*first));
        }
        0xFC => 2,
        0xFD => 3,
        0xFE => 8,
        _ => return None,
    };
    let (bytes, after) = after.split_at_checked(size)?;
    *rest = after;
    let mut all = [0; 8];
    all[..size].copy_from_slice(bytes);
    Some(u64::from_le_bytes(all))
}

/// A length-encoded text or NULL; `None` if the row is broken.
fn text(rest: &mut &[u8]) -> Option<Option<String>> {
    if rest.first() == Some(&0xFB) {
        *rest = &rest[1..];
        return Some(None);
    }
    let size = usize::try_from(length(rest)?).ok()?;
    let (bytes, after) = rest.split_at_checked(size)?;
    *rest = after;
    Some(Some(String::from_utf8_lossy(bytes).into_owned()))
}
