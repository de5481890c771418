//! What the targets share: a thread with the stack that the program gives, a runtime on it, what
//! counts as a crash, and how a source is read.
//!
//! A panic of Tidegate's own code is a crash, also where a guard would catch it. One of a library is a
//! crash only if it gets past our guards (`tidegate_core::guarded` and its siblings): those make an
//! error of it. Each such place is told once.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::Future;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, LazyLock, Mutex, Once, PoisonError};

use bytes::Bytes;
use futures::StreamExt;
use serde_json::{Map, Value};
use tidegate_core::{
    Ask, Context, Decoded, Error, Event, Offset, Result, Rows, STACK_SIZE, Scan, Source,
    remember_panic,
};
use tidegate_storage::{Access, Location, Storage};
use tokio::runtime::Runtime;

mod text;

pub use text::{Mode, text};

/// The most events of a split that are looked at: some answers lead from page to page forever.
const EVENTS: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

/// A thread as those that handle rows are, and what says whether it has done its work.
struct Worker {
    work: Sender<Work>,
    done: Receiver<()>,
}

thread_local! {
    static WORKER: RefCell<Option<Worker>> = const { RefCell::new(None) };
    static RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
}

/// Runs a case on a thread with as much stack as those have that handle rows. A panic that leaves it
/// ends the process.
pub fn case(data: &[u8], run: impl FnOnce(&[u8]) + Send + 'static) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| std::panic::set_hook(Box::new(judge)));
    let data = data.to_vec();
    let work: Work = Box::new(move || run(&data));
    WORKER.with_borrow_mut(|worker| {
        let worker = worker.get_or_insert_with(start);
        let sent = worker.work.send(work).is_ok();
        if !sent || worker.done.recv().is_err() {
            eprintln!("a panic got past the guards");
            std::process::abort();
        }
    });
}

fn start() -> Worker {
    let (work, works) = channel::<Work>();
    let (tell, done) = channel();
    let thread = std::thread::Builder::new().stack_size(STACK_SIZE);
    let run = move || {
        while let Ok(work) = works.recv() {
            // Without the word that it is done, the panic is known to have come through.
            if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() || tell.send(()).is_err() {
                return;
            }
        }
    };
    thread.spawn(run).expect("a thread");
    Worker { work, done }
}

/// The panic hook.
fn judge(info: &PanicHookInfo<'_>) {
    static TOLD: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let elsewhere = ["/registry/src/", "/rustc/", "/library/"];
    if !elsewhere.iter().any(|part| place.contains(part)) {
        eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
        std::process::abort();
    }
    remember_panic(info);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.insert(place) {
        eprintln!("a library panics: {info}");
    }
}

/// Runs a future to its end.
pub fn wait<T>(future: impl Future<Output = T>) -> T {
    RUNTIME.with_borrow_mut(|runtime| {
        let runtime = runtime.get_or_insert_with(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .thread_stack_size(STACK_SIZE)
                .build()
                .expect("a runtime")
        });
        runtime.block_on(future)
    })
}

/// A context outside any pipeline, with these settings.
pub fn context(settings: Value) -> Context {
    static NONE: LazyLock<Context> = LazyLock::new(|| {
        Context::detached(Path::new("/"), Arc::new(Map::new())).expect("a context")
    });
    let mut cx = NONE.clone();
    if let Value::Object(settings) = settings {
        cx.settings = Arc::new(settings);
    }
    cx
}

/// Opens a source of this type.
pub async fn open(cx: &Context, tag: &str, config: Value) -> Result<Arc<dyn Source>> {
    let config = cx.registry.source(tag, config)?;
    config.validate()?;
    config.open(cx).await
}

/// Puts a file where `memory://fuzz/…` finds it.
pub async fn put(name: &str, bytes: &[u8]) -> Result<()> {
    let location = Location::parse("memory://fuzz", Path::new("/"))?;
    let storage = Storage::open(&location, &Access::default()).await?;
    let token = storage.begin(name).await?;
    let mut file = storage.create(&token).await?;
    file.write(Bytes::copy_from_slice(bytes)).await?;
    let staged = file.finish().await?;
    storage.publish(&[staged]).await
}

/// What came of reading a source, as far as it went.
#[derive(Debug, Default)]
pub struct Seen {
    /// Rows of each event, with those that were rejected.
    pub rows: Vec<usize>,
    /// The positions.
    pub positions: Vec<Offset>,
    /// Why it ended before its end.
    pub error: Option<Error>,
}

/// Plans a source and reads its splits, decoding as a worker does. `check` sees what is decoded.
pub async fn read(source: &dyn Source, scans: &[Scan], mut check: impl FnMut(&Decoded)) -> Seen {
    let mut seen = Seen::default();
    seen.error = read_into(source, scans, &mut check, &mut seen).await.err();
    seen
}

async fn read_into(
    source: &dyn Source,
    scans: &[Scan],
    check: &mut dyn FnMut(&Decoded),
    seen: &mut Seen,
) -> Result<()> {
    let ask = Ask {
        scans,
        state: None,
        finished: &[],
        first: true,
    };
    let plan = source.plan(&ask).await?;
    for split in plan.new.iter().take(EVENTS) {
        let events = source.read(split, scans, None).await?;
        let mut events = events.take(EVENTS);
        while let Some(event) = events.next().await {
            let event = event?;
            seen.positions.extend(event.position().cloned());
            if let Event::Rows { rows, .. } = event {
                seen.rows.push(decode(rows, check)?);
            }
        }
    }
    source.close().await
}

/// How many rows there are, rejected ones included.
fn decode(rows: Rows, check: &mut dyn FnMut(&Decoded)) -> Result<usize> {
    let mut count = 0;
    let mut take = |mut decoded: Decoded| {
        check(&decoded);
        let rows: usize = decoded.batches.iter().map(|batch| batch.num_rows()).sum();
        if let (Some(places), true) = (&mut decoded.places, rows > 0) {
            places.origin(0)?;
            places.origin(rows - 1)?;
        }
        count += rows + decoded.rejected.rows.len();
        Ok(())
    };
    match rows {
        Rows::Encoded(encoded) => encoded.decode_into(&mut take)?,
        Rows::Batch(batch) => take(Decoded {
            batches: vec![batch],
            ..Decoded::default()
        })?,
    }
    Ok(count)
}
