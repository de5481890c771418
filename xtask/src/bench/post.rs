//! `cargo xtask bench post`.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use clap::Args;

use super::data::cache;
use super::request::Request;
use super::site::empty;
use super::tidegate::Tidegate;
use crate::process::output;
use crate::program::Program;

/// Rows posted one by one by the sink `http` with two workers to a server that takes only so many
/// requests at once
///
/// The server works on `slots` requests at once, each for 50 ms, so it can take slots × 20 a second; to
/// those beyond it says 429. Then once more, with a tenth of the requests answered 500, a hundredth of
/// the connections dropped without an answer, and answers of up to twice the time. What it took is
/// counted there: every row, however often it was sent.
#[derive(Debug, Args)]
pub(super) struct Post {
    /// How many rows
    #[arg(long, default_value_t = 20_000)]
    rows: usize,
    /// How many requests the server works on at once
    #[arg(long, default_value_t = 32)]
    slots: usize,
    /// How many requests the sink makes at once (`concurrency`)
    #[arg(long, default_value_t = 64)]
    concurrency: u32,
    #[command(flatten)]
    program: Program,
}

/// How long the server works on a request.
const WORK: Duration = Duration::from_millis(50);

/// A server, and what it saw.
#[derive(Debug)]
struct Far {
    slots: usize,
    is_faulty: bool,
    busy: AtomicUsize,
    asked: AtomicUsize,
    refused: AtomicUsize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    bodies: HashSet<Vec<u8>>,
    requests: usize,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Post {
    pub(super) fn run(&self) -> Result<()> {
        let tidegate = Tidegate::new(&self.program)?;
        println!(
            "{:<26}{:>10}{:>14}{:>12}{:>8}{:>8}{:>10}",
            "the server", "limit/s", "requests/s", "of limit", "429", "again", "rows"
        );
        for is_faulty in [false, true] {
            self.measure(&tidegate, is_faulty)?;
        }
        Ok(())
    }

    #[expect(clippy::cast_precision_loss, reason = "figures for people")]
    fn measure(&self, tidegate: &Tidegate, is_faulty: bool) -> Result<()> {
        let directory = cache()?.join("post");
        empty(&directory)?;
        let mut rows = String::new();
        for number in 0..self.rows {
            let _ = writeln!(rows, "{{\"number\":{number}}}");
        }
        fs::write(directory.join("rows.ndjson"), rows)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let far = Arc::new(Far {
            slots: self.slots,
            is_faulty,
            busy: AtomicUsize::new(0),
            asked: AtomicUsize::new(0),
            refused: AtomicUsize::new(0),
            taken: Mutex::default(),
        });
        let of = Arc::clone(&far);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let of = Arc::clone(&of);
                thread::spawn(move || of.serve(&stream));
            }
        });
        let pipeline = directory.join("pipeline.toml");
        fs::write(
            &pipeline,
            format!(
                "name = \"post\"\n[sources.rows]\ntype = \"files\"\n\
                 url = \"rows.ndjson\"\n[sinks.far]\ntype = \"http\"\ninputs = [\"rows\"]\n\
                 url = \"http://{address}/rows\"\nconcurrency = {}\n",
                self.concurrency
            ),
        )?;
        // Retries that are spent end a run; the next one resumes from the last checkpoint.
        let mut runs = 0;
        let run = || {
            let mut run = tidegate.run(&pipeline, &directory.join("state"));
            run.args(["--workers", "2"]);
            output(run)
        };
        while run().is_err() {
            runs += 1;
            ensure!(runs < 5, "the run fails again and again");
        }
        let taken = far.taken.lock().unwrap_or_else(PoisonError::into_inner);
        ensure!(
            taken.bodies.len() == self.rows,
            "of {} rows, {} arrived",
            self.rows,
            taken.bodies.len()
        );
        let (Some(first), Some(last)) = (taken.first, taken.last) else {
            bail!("nothing arrived");
        };
        let rate = taken.requests as f64 / (last - first).as_secs_f64();
        // Of the work of the faulty one, a ninth of the time more goes to what it then refuses.
        let mean = if is_faulty { WORK.mul_f64(1.5) } else { WORK };
        let limit = self.slots as f64 / mean.as_secs_f64() * if is_faulty { 0.89 } else { 1.0 };
        println!(
            "{:<26}{limit:>10.0}{rate:>14.0}{:>10.0} %{:>8}{:>8}{:>10}",
            if is_faulty {
                "slow, faults, lost answers"
            } else {
                "answers in 50 ms"
            },
            rate / limit * 100.0,
            far.refused.load(Ordering::Relaxed),
            taken.requests - taken.bodies.len(),
            taken.bodies.len(),
        );
        fs::remove_dir_all(&directory)?;
        Ok(())
    }
}

impl Far {
    /// Answers what comes on a connection, until it ends.
    fn serve(&self, stream: &TcpStream) {
        let mut reader = BufReader::new(stream);
        while let Ok(Some(request)) = Request::read(&mut reader) {
            let number = self.asked.fetch_add(1, Ordering::Relaxed);
            let is_room = self.busy.fetch_add(1, Ordering::AcqRel) < self.slots;
            let status = match is_room {
                false => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    "429 Too Many Requests"
                }
                true => self.work(number, request.body),
            };
            self.busy.fetch_sub(1, Ordering::AcqRel);
            if status.is_empty() {
                return;
            }
            let mut stream = stream;
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    /// Works on a request; gives its status, or nothing where the connection is to be dropped.
    fn work(&self, number: usize, body: Vec<u8>) -> &'static str {
        let more = match self.is_faulty {
            true => f64::from(u32::try_from(number % 11).unwrap_or(0)) / 10.0,
            false => 0.0,
        };
        sleep(WORK.mul_f64(1.0 + more));
        if self.is_faulty && number % 10 == 3 {
            return "500 Internal Server Error";
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        taken.first.get_or_insert(now);
        taken.last = Some(now);
        taken.requests += 1;
        taken.bodies.insert(body);
        match self.is_faulty && number % 100 == 47 {
            // It has the row, and nobody hears of it.
            true => "",
            false => "200 OK",
        }
    }
}
