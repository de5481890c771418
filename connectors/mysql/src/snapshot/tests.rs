use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate_core::{Context, ErrorKind, Scan, StreamName};
use tidegate_testkit::servers::{MariaDb, mariadb};
use tidegate_testkit::suites::context;

use super::Snapshot;
use super::ways::Way;
use crate::connect::Loan;
use crate::connect::{ConnectionKeys, Connector};
use crate::discover::Table;

/// Two tables whose values sum up to 2000 and which have equally many rows, after every commit; and
/// users with different permissions.
const SHOP: &str = "
CREATE DATABASE shop; USE shop;
CREATE TABLE a (id INT PRIMARY KEY, v BIGINT NOT NULL);
CREATE TABLE b (id INT PRIMARY KEY, v BIGINT NOT NULL);
INSERT INTO a SELECT seq, 10 FROM seq_1_to_100;
INSERT INTO b SELECT seq, 10 FROM seq_1_to_100;
CREATE USER locker, reader;
GRANT SELECT, LOCK TABLES ON shop.* TO locker;
GRANT SELECT ON shop.* TO reader;
";

/// Moves values between the tables and within one, adds rows and deletes them, each in a
/// transaction of its own.
fn transactions(me: u32, turn: u32) -> String {
    let mut sql = String::new();
    for turn in turn..turn + 50 {
        let (from, to, own) = (1 + turn % 100, 1 + turn * 7 % 100, 1000 * me + turn % 100);
        let amount = 1 + turn % 9;
        sql += &format!(
            "BEGIN; UPDATE a SET v = v - {amount} WHERE id = {from};
             UPDATE b SET v = v + {amount} WHERE id = {to}; COMMIT;
             BEGIN; UPDATE a SET v = v + {amount} WHERE id = {from};
             UPDATE a SET v = v - {amount} WHERE id = {to}; COMMIT;
             BEGIN; INSERT IGNORE INTO a VALUES ({own}, {turn}); INSERT IGNORE INTO b VALUES ({own}, -{turn}); COMMIT;
             BEGIN; DELETE FROM b WHERE id = {own} - 20; DELETE FROM a WHERE id = {own} - 20; COMMIT;"
        );
    }
    sql
}

/// Writers that work until this is dropped, also by a test that fails.
struct Writers<'a>(&'a AtomicBool);

impl Drop for Writers<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Writes until `stop`.
fn write(server: &MariaDb, me: u32, stop: &AtomicBool) {
    let mut turn = 0;
    while !stop.load(Ordering::Relaxed) {
        // What meets a deadlock or a row of the round before is undone as a whole.
        let _ = server.try_sql(&format!("USE shop; {}", transactions(me, turn)));
        turn += 50;
    }
}

async fn connector(server: &MariaDb, user: &str, cx: &Context) -> Arc<Connector> {
    let keys = ConnectionKeys {
        url: Some(format!("mysql://{user}@127.0.0.1:{}/shop", server.port())),
        ..ConnectionKeys::default()
    };
    Connector::open(&keys, cx).await.unwrap()
}

fn table(name: &str, engine: &str) -> Table {
    Table {
        database: "shop".to_owned(),
        name: name.to_owned(),
        columns: Vec::new(),
        key: None,
        rows: None,
        bytes: None,
        engine: Some(engine.to_owned()),
    }
}

async fn prepare(connector: &Arc<Connector>, tables: &[Table]) -> tidegate_core::Result<Snapshot> {
    let mut connection = connector.connect().await.unwrap();
    let tables = tables
        .iter()
        .map(|table| (StreamName::from(table.name.as_str()), table));
    Snapshot::prepare(connector, &mut connection, tables, false, 4).await
}

fn scans() -> Vec<Scan> {
    ["a", "b"].map(Scan::all).to_vec()
}

/// What a query's only value says, read over a lent connection.
async fn ask(mut loan: Loan, sql: &str) -> i64 {
    let sql = format!("SELECT CAST(({sql}) AS CHAR)");
    let connection = loan.connect(false).await.unwrap();
    let mut rows = connection.rows("ask", &sql).await.unwrap();
    let chunk = rows.next(1, 1).await.unwrap().unwrap();
    let row = chunk.rows().next().unwrap();
    // The byte 0, the NULL bitmap, the length of the text.
    let value = std::str::from_utf8(&row[3..]).unwrap().parse().unwrap();
    assert!(rows.next(1, 1).await.unwrap().is_none());
    loan.give_back(rows.into_connection().unwrap());
    value
}

/// Takes a snapshot, and looks at both tables over each of its connections: how it was taken, over
/// how many connections, and the sum of one table.
async fn look(connector: &Arc<Connector>) -> (Way, usize, i64) {
    let tables = ["a", "b"].map(|name| table(name, "InnoDB"));
    let snapshot = prepare(connector, &tables).await.unwrap();
    let taken = snapshot.taken(&scans()).await.unwrap();
    let mut seen = Vec::new();
    for sql in [
        "SELECT SUM(v) FROM a",
        "SELECT SUM(v) FROM b",
        "SELECT COUNT(*) FROM a",
        "SELECT COUNT(*) FROM b",
    ] {
        let mut loans = Vec::new();
        for _ in 0..taken.pool.alive() {
            loans.push(snapshot.lend(&scans()).await.unwrap());
        }
        let mut values = Vec::new();
        for loan in loans {
            values.push(ask(loan, sql).await);
        }
        assert!(
            values.iter().all(|value| *value == values[0]),
            "{:?}: connections see different things: {sql}: {values:?}",
            taken.way
        );
        seen.push(values[0]);
    }
    assert_eq!(seen[0] + seen[1], 2000, "{:?}: torn", taken.way);
    assert_eq!(seen[2], seen[3], "{:?}: torn", taken.way);
    (taken.way, taken.pool.alive(), seen[0])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_connections_see_the_same_by_every_way() {
    let server = mariadb();
    server.sql(SHOP);
    let cx = context();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        let writers = Writers(&stop);
        for me in 1..=2 {
            let (server, stop) = (&server, &stop);
            threads.spawn(move || write(server, me, stop));
        }
        let rounds = async {
            for (user, way) in [
                ("root", Way::GlobalLock),
                ("locker", Way::TableLocks),
                ("reader", Way::Alone),
            ] {
                let connector = connector(&server, user, &cx.common()).await;
                let (mut sums, mut ways) = (BTreeSet::new(), BTreeSet::new());
                for _ in 0..25 {
                    let (by, connections, sum) = look(&connector).await;
                    // With so much going on, a lock may not be had in time. What is seen is right
                    // in any case.
                    assert_eq!(by == Way::Alone, connections == 1);
                    sums.insert(sum);
                    ways.insert(by);
                }
                assert_eq!(ways.first(), Some(&way), "{user}");
                assert!(sums.len() > 1, "nothing was written meanwhile");
            }
        };
        tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(rounds));
        drop(writers);
    });
}

#[tokio::test]
async fn without_rights_and_binlog_one_connection_reads_all() {
    let server = MariaDb::with(&["--skip-log-bin"]);
    server.sql(SHOP);
    let cx = context();
    let reader = connector(&server, "reader", &cx.common()).await;
    let (way, connections, _) = look(&reader).await;
    assert_eq!((way, connections), (Way::Alone, 1));
    // Whoever comes second waits until the only connection is given back.
    let tables = ["a", "b"].map(|name| table(name, "InnoDB"));
    let snapshot = prepare(&reader, &tables).await.unwrap();
    assert!(
        snapshot.note().contains("one connection"),
        "{}",
        snapshot.note()
    );
    let first = snapshot.lend(&scans()).await.unwrap();
    let scans = scans();
    let mut second = std::pin::pin!(snapshot.lend(&scans));
    assert!(futures::poll!(&mut second).is_pending());
    assert_eq!(ask(first, "SELECT COUNT(*) FROM a").await, 100);
    assert_eq!(
        ask(second.await.unwrap(), "SELECT COUNT(*) FROM b").await,
        100
    );
}

#[tokio::test]
async fn what_stands_in_the_way_is_gone_around_or_told() {
    let server = mariadb();
    server.sql(SHOP);
    let cx = context();
    let root = connector(&server, "root", &cx.common()).await;

    // An engine without transactions.
    let error = prepare(&root, &[table("log", "MyISAM")]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.to_string().contains("MyISAM"), "{error}");

    // The tables behind a query aren't known, so only those who may lock everything read it over
    // several connections.
    let tables = ["a", "b"].map(|name| table(name, "InnoDB"));
    let with_query = ["a", "top"].map(Scan::all);
    let locker = connector(&server, "locker", &cx.common()).await;
    let snapshot = prepare(&locker, &tables).await.unwrap();
    let taken = snapshot.taken(&with_query).await.unwrap();
    assert_eq!(taken.way, Way::Alone);
    let snapshot = prepare(&root, &tables).await.unwrap();
    let taken = snapshot.taken(&with_query).await.unwrap();
    assert_eq!(taken.way, Way::GlobalLock);

    // Every connection lost is one less; the last one ends it for all who wait.
    let mut loans = Vec::new();
    for _ in 0..4 {
        loans.push(snapshot.lend(&with_query).await.unwrap());
    }
    let kept = loans.pop().unwrap();
    drop(loans);
    assert_eq!(ask(kept, "SELECT COUNT(*) FROM a").await, 100);
    let last = snapshot.lend(&with_query).await.unwrap();
    let mut waits = std::pin::pin!(snapshot.lend(&with_query));
    assert!(futures::poll!(&mut waits).is_pending());
    drop(last);
    assert_eq!(waits.await.unwrap_err().kind(), ErrorKind::Transient);

    // A table that was altered since can't be read any more.
    let snapshot = prepare(&root, &tables).await.unwrap();
    let mut loan = snapshot.lend(&scans()).await.unwrap();
    server.sql("ALTER TABLE shop.a MODIFY v INT NOT NULL");
    let connection = loan.connect(false).await.unwrap();
    let mut rows = connection.rows("ask", "SELECT v FROM a").await.unwrap();
    let error = super::of_reading(rows.next(1, 1).await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Transient);
    assert!(error.to_string().contains("altered"), "{error}");

    // Nothing is left behind at the server.
    drop(loan);
    snapshot.close();
    let of_locks = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE '%lock%'";
    assert_eq!(server.sql(of_locks), "0\n");
    server.sql("UPDATE shop.a SET v = 1 WHERE id = 1");
}

#[tokio::test]
async fn a_lock_is_waited_for_and_never_left_behind() {
    let server = mariadb();
    server.sql(SHOP);
    let cx = context();
    let locker = connector(&server, "locker", &cx.common()).await;
    let root = connector(&server, "root", &cx.common()).await;
    let mut writer = root.connect().await.unwrap();
    writer.run("begin", "BEGIN").await.unwrap();
    let move_one = "UPDATE a SET v = v + 1 WHERE id = 1";
    writer.run("write", move_one).await.unwrap();
    let waiting = || {
        let asked = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE USER = 'locker' AND INFO LIKE 'LOCK TABLES%'";
        server.sql(asked) != "0\n"
    };
    let deadline = Instant::now() + Duration::from_secs(60);

    let tables = ["a", "b"].map(|name| table(name, "InnoDB"));
    let snapshot = prepare(&locker, &tables).await.unwrap();
    let scans = scans();
    {
        // Given up in the middle of the wait for the lock.
        let mut taking = std::pin::pin!(snapshot.taken(&scans));
        while !waiting() {
            assert!(Instant::now() < deadline, "it never waited for the lock");
            let taken = tokio::time::timeout(Duration::from_millis(20), &mut taking).await;
            assert!(
                taken.is_err(),
                "there was a lock beside a transaction that wrote"
            );
        }
    }
    while waiting() {
        assert!(Instant::now() < deadline, "the wait was left behind");
    }

    // What was written and not committed holds the snapshot up, and then is in it as a whole.
    let mut taking = std::pin::pin!(snapshot.taken(&scans));
    while !waiting() {
        assert!(Instant::now() < deadline, "it never waited for the lock");
        let taken = tokio::time::timeout(Duration::from_millis(20), &mut taking).await;
        assert!(
            taken.is_err(),
            "there was a lock beside a transaction that wrote"
        );
    }
    writer.run("commit", "COMMIT").await.unwrap();
    let taken = taking.await.unwrap();
    assert_eq!((taken.way, taken.pool.alive()), (Way::TableLocks, 4));
    let loan = snapshot.lend(&scans).await.unwrap();
    assert_eq!(ask(loan, "SELECT SUM(v) FROM a").await, 1001);
    // The lock is gone while the snapshot lives.
    writer.run("write", move_one).await.unwrap();
    let loan = snapshot.lend(&scans).await.unwrap();
    assert_eq!(ask(loan, "SELECT SUM(v) FROM a").await, 1001);
}
