//! `cargo xtask bench ingest`.

use std::fs::{self, File};
use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;

use super::data::cache;
use super::site::{empty, parquet_rows};
use super::tidegate::Tidegate;
use crate::place;
use crate::process::{Running, output};
use crate::program::Program;
use crate::setup;

/// JSON bodies of 1 KB posted to `http_server` with `ack = "disk"` and from there to Parquet, beside
/// nginx that only answers 202
///
/// wrk posts from one thread over so many connections that are kept open. What is stored is counted: it
/// must be all that was answered.
#[derive(Debug, Args)]
pub(super) struct Ingest {
    /// For how many seconds each side is posted to
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(2..))]
    seconds: u64,
    /// How many connections; may be repeated
    #[arg(long, default_values_t = [64, 512])]
    connections: Vec<u32>,
    #[command(flatten)]
    program: Program,
    /// Only Tidegate
    #[arg(long)]
    alone: bool,
}

/// The length of a body.
const BODY: usize = 1024;

const PORT: u16 = 18_431;

/// What wrk says.
#[derive(Debug)]
struct Load {
    requests: u64,
    seconds: f64,
    median: String,
    most: String,
}

/// What the server took.
#[derive(Debug)]
struct Cost {
    cpu: f64,
    peak: u64,
}

impl Ingest {
    pub(super) fn run(&self) -> Result<()> {
        setup::Setup { bench: true }.run()?;
        let tidegate = Tidegate::new(&self.program)?;
        let directory = cache()?.join("ingest");
        let script = script(&directory)?;
        println!(
            "\nfdatasync of 1 KB at a time: {:.0} a second",
            syncs(&directory)?
        );
        println!(
            "\n{:<10}{:>12}{:>12}{:>10}{:>10}{:>14}{:>10}{:>12}",
            "", "connections", "requests/s", "median", "99 %", "CPU/request", "peak MB", "stored"
        );
        for connections in &self.connections {
            self.tidegate(&tidegate, &directory, &script, *connections)?;
            if !self.alone {
                self.nginx(&directory, &script, *connections)?;
            }
        }
        Ok(())
    }

    fn tidegate(
        &self,
        tidegate: &Tidegate,
        directory: &Path,
        script: &Path,
        connections: u32,
    ) -> Result<()> {
        let site = directory.join("site");
        empty(&site)?;
        let pipeline = site.join("pipeline.toml");
        fs::write(
            &pipeline,
            format!(
                "name = \"ingest\"\n[checkpoint]\ninterval = \"5s\"\n\
                 [sources.events]\ntype = \"http_server\"\nlisten = \"127.0.0.1:{PORT}\"\n\
                 [sinks.lake]\ntype = \"parquet\"\ninputs = [\"events\"]\nurl = \"out\"\n"
            ),
        )?;
        let mut server = Server::start(&mut tidegate.run(&pipeline, &site.join("state")))?;
        let load = self.load(script, connections)?;
        let cost = server.cost()?;
        server.0.stop()?;
        // What the last commit didn't take is in the log: another run takes it.
        let server = Server::start(&mut tidegate.run(&pipeline, &site.join("state")))?;
        sleep(Duration::from_secs(6));
        server.0.stop()?;
        let stored = parquet_rows(&site.join("out"))?;
        // Bodies whose answers came too late for wrk are there too.
        let late = u64::from(connections);
        ensure!(
            (load.requests..=load.requests + late).contains(&stored),
            "{} requests were answered, and {stored} rows are stored",
            load.requests
        );
        show("tidegate", connections, &load, &cost, Some(stored));
        fs::remove_dir_all(&site)?;
        Ok(())
    }

    fn nginx(&self, directory: &Path, script: &Path, connections: u32) -> Result<()> {
        let site = directory.join("site");
        empty(&site)?;
        let config = site.join("nginx.conf");
        fs::write(
            &config,
            format!(
                "daemon off; worker_processes auto; pid {0}/pid; error_log {0}/log;\n\
                 events {{ worker_connections 4096; }}\n\
                 http {{ access_log off; client_body_temp_path {0}/body; proxy_temp_path {0}/proxy;\n\
                 fastcgi_temp_path {0}/fastcgi; uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;\n\
                 keepalive_requests 1000000000;\n\
                 server {{ listen 127.0.0.1:{PORT}; location / {{ return 202; }} }} }}\n",
                site.display()
            ),
        )?;
        let mut command = Command::new(place::root().join("nginx/nginx"));
        command
            .arg("-e")
            .arg(site.join("log"))
            .arg("-p")
            .arg(&site)
            .arg("-c")
            .arg(&config);
        let mut server = Server::start(&mut command)?;
        let load = self.load(script, connections)?;
        let cost = server.cost()?;
        server.0.stop()?;
        show("nginx", connections, &load, &cost, None);
        fs::remove_dir_all(&site)?;
        Ok(())
    }

    /// Posts, and reads what wrk says.
    fn load(&self, script: &Path, connections: u32) -> Result<Load> {
        let mut wrk = Command::new("wrk");
        wrk.args(["--threads", "1", "--latency", "--connections"])
            .arg(connections.to_string())
            .args(["--duration", &format!("{}s", self.seconds), "--script"])
            .arg(script)
            .arg(format!("http://127.0.0.1:{PORT}/events"));
        let said = output(wrk)?;
        // `Non-2xx or 3xx responses: 7`, `Socket errors: connect 0, read 7, …`
        for wrong in ["Non-2xx", "Socket errors"] {
            ensure!(
                !said.contains(wrong),
                "not all requests were taken:\n{said}"
            );
        }
        let after = |name: &str| {
            let lines = said.lines().map(str::trim);
            let found = lines.filter_map(|line| line.strip_prefix(name)).next();
            found
                .map(|rest| rest.trim().to_owned())
                .with_context(|| format!("wrk says:\n{said}"))
        };
        // `  420135 requests in 10.01s, 48.88MB read`
        let total = said
            .lines()
            .find(|line| line.contains(" requests in "))
            .unwrap_or_default();
        let mut words = total.split_whitespace();
        let requests = words
            .next()
            .and_then(|word| word.parse().ok())
            .context("wrk's total")?;
        let time = words.nth(2).unwrap_or_default();
        let seconds = time
            .trim_end_matches(',')
            .trim_end_matches('s')
            .parse()
            .context("wrk's time")?;
        Ok(Load {
            requests,
            seconds,
            median: after("50%")?,
            most: after("99%")?,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn show(name: &str, connections: u32, load: &Load, cost: &Cost, stored: Option<u64>) {
    let requests = load.requests as f64;
    println!(
        "{name:<10}{connections:>12}{:>12.0}{:>10}{:>10}{:>11.1} µs{:>10}{:>12}",
        requests / load.seconds,
        load.median,
        load.most,
        cost.cpu / requests * 1e6,
        cost.peak / 1_000_000,
        stored.map_or_else(|| "-".to_owned(), |rows| rows.to_string()),
    );
}

/// What wrk sends: each body is another one.
fn script(directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory)?;
    let path = directory.join("post.lua");
    let filler = BODY - "{\"number\":1000000000,\"text\":\"\"}".len();
    let text = format!(
        "local number = 1000000000\n\
         local text = string.rep(\"x\", {filler})\n\
         local headers = {{ [\"Content-Type\"] = \"application/json\" }}\n\
         request = function()\n  number = number + 1\n\
         \x20 return wrk.format(\"POST\", nil, headers, '{{\"number\":' .. number .. ',\"text\":\"' .. text .. '\"}}')\n\
         end\n"
    );
    fs::write(&path, text)?;
    Ok(path)
}

/// How often a second this disk makes 1 KB durable, one after the other.
fn syncs(directory: &Path) -> Result<f64> {
    let path = directory.join("syncs");
    let mut file = File::create(&path)?;
    file.write_all(&vec![0; 8 << 20])?;
    file.sync_all()?;
    let begun = Instant::now();
    let mut number = 0u32;
    while begun.elapsed() < Duration::from_secs(1) {
        file.write_all_at(&[1; BODY], u64::from(number % 8192) * BODY as u64)?;
        file.sync_data()?;
        number += 1;
    }
    let rate = f64::from(number) / begun.elapsed().as_secs_f64();
    fs::remove_file(&path)?;
    Ok(rate)
}

/// A server and its children.
struct Server(Running);

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut server = Self(Running::start(command)?);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", PORT)).is_err() {
            if let Some(status) = server.0.ended()? {
                bail!("a server has ended: {status}");
            }
            ensure!(
                begun.elapsed() < Duration::from_secs(30),
                "a server doesn't answer"
            );
            sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    /// What it has taken so far, with its children.
    fn cost(&mut self) -> Result<Cost> {
        let own = self.0.id();
        let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let children = children.split_whitespace().map(str::to_owned);
        let mut cost = Cost { cpu: 0.0, peak: 0 };
        for process in children.chain([own.to_string()]) {
            let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
            // Behind the name, which may hold anything: the 14th and 15th fields, in 1/100 s.
            let fields: Vec<&str> = stat
                .rsplit(')')
                .next()
                .unwrap_or_default()
                .split_whitespace()
                .collect();
            for ticks in fields.get(11..13).unwrap_or_default() {
                cost.cpu += ticks.parse::<f64>()? / 100.0;
            }
            let status = fs::read_to_string(format!("/proc/{process}/status"))?;
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak =
                peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
            cost.peak += peak.unwrap_or_default() * 1024;
        }
        Ok(cost)
    }
}
