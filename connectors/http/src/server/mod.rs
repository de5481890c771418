//! The server: connections, and what lives over the attempts of a run.
//!
//! ```text
//! mod.rs    listens, takes connections, bounds them
//! answer.rs one request: route ─> keys ─> limits ─> body ─> signature ─> syntax ─> inbox ─> answer
//! ```

mod answer;
mod auth;
mod body;
mod path;
mod tls;

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_core::{Error, Keep, Result, SourceContext, async_trait};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tokio::time::timeout;

use crate::config::{HttpServerConfig, Route};
use crate::inbox::Inbox;

use answer::{Ready, Service};
pub(crate) use path::Path;
use tls::Certificate;

/// A server that listens, until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    service: Arc<Service>,
    /// Connections wait in the system's backlog until it is known which streams are read.
    shut: Mutex<Option<Connections>>,
    /// Takes connections; ends when none is left after `ends`.
    taking: Mutex<Option<JoinHandle<()>>>,
    follows: Mutex<Option<AbortHandle>>,
    /// No more requests are taken, but those are answered that were.
    ends: watch::Sender<bool>,
}

/// How many connections may wait to be taken.
const BACKLOG: u32 = 4096;

/// The longest head of a request: its first line and headers.
const HEAD: usize = 64 << 10;

/// How many files the process may need beside connections.
const OTHER_FILES: u64 = 256;

impl Server {
    pub(crate) async fn start(
        config: &HttpServerConfig,
        routes: &[Route],
        log: PathBuf,
        cx: &SourceContext,
    ) -> Result<Self> {
        let certificate = match &config.tls {
            None => None,
            Some(tls) => Some(Arc::new(Certificate::read(tls, cx)?)),
        };
        // Whoever has the address has the log too: so the address comes first, and says who else is
        // there.
        let listener = listen(config.listen)?;
        let inbox = Inbox::open(config, log).await?;
        let service = Arc::new(Service::new(config, routes, inbox, cx)?);
        let address = listener.local_addr().unwrap_or(config.listen);
        tracing::info!(source = %cx.id, "listening on {address}");
        let most = within_open_files(config.max_connections);
        let (ends, told) = watch::channel(false);
        let connections = Connections {
            listener,
            service: Arc::clone(&service),
            certificate,
            header_timeout: config.header_timeout.0,
            free: Arc::new(Semaphore::new(most)),
            ends: told,
        };
        Ok(Self {
            service,
            shut: Mutex::new(Some(connections)),
            taking: Mutex::default(),
            follows: Mutex::default(),
            ends,
        })
    }

    /// What can be checked without listening: that secrets and the certificate can be read.
    pub(crate) fn check(
        config: &HttpServerConfig,
        routes: &[Route],
        cx: &SourceContext,
    ) -> Result<()> {
        if let Some(tls) = &config.tls {
            Certificate::read(tls, cx)?;
        }
        routes
            .iter()
            .try_for_each(|route| Ready::new(route, cx).map(drop))
    }

    pub(crate) fn inbox(&self) -> &Inbox {
        self.service.inbox()
    }

    /// From now on requests of these streams are taken, and no others.
    pub(crate) fn serve<'a>(&self, streams: impl Iterator<Item = &'a str>) {
        self.service.serve(streams);
        let Some(connections) = lock(&self.shut).take() else {
            return;
        };
        if let Some(certificate) = connections.certificate.clone() {
            let follow = async move { certificate.follow().await };
            *lock(&self.follows) = Some(tokio::spawn(follow).abort_handle());
        }
        *lock(&self.taking) = Some(tokio::spawn(connections.take()));
    }
}

#[async_trait]
impl Keep for Server {
    /// What was stored is answered: a client that is left without an answer would send it again.
    async fn end(&self) {
        self.ends.send_replace(true);
        let taking = lock(&self.taking).take();
        if let Some(taking) = taking {
            let abort = taking.abort_handle();
            // It is aborted too where nobody waits any more.
            let _abort = AbortOnDrop(abort);
            let _ = taking.await;
        }
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(taking) = lock(&self.taking).take() {
            taking.abort();
        }
        if let Some(follows) = lock(&self.follows).take() {
            follows.abort();
        }
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(address: SocketAddr) -> Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    };
    let listening = socket.and_then(|socket| {
        // A restarted process gets its address at once.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    });
    listening.map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: choose another port",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a permission of their own",
            _ => "choose another address",
        };
        Error::config("the server can't listen")
            .with("key", "listen")
            .with("address", address)
            .hint(hint)
            .because(error)
    })
}

/// As many connections as the system gives files, of `wanted`.
fn within_open_files(wanted: u32) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let room = allowed.map_or(u64::MAX, |files| files.saturating_sub(OTHER_FILES).max(1));
    if room < u64::from(wanted) {
        tracing::warn!(
            "the system allows this process {room} connections at once, fewer than `max_connections` ({wanted})"
        );
    }
    usize::try_from(room.min(u64::from(wanted))).unwrap_or(Semaphore::MAX_PERMITS)
}

/// What takes connections.
#[derive(Debug)]
struct Connections {
    listener: TcpListener,
    service: Arc<Service>,
    certificate: Option<Arc<Certificate>>,
    header_timeout: Duration,
    free: Arc<Semaphore>,
    ends: watch::Receiver<bool>,
}

impl Connections {
    async fn take(self) {
        // They end with this task.
        let mut open = JoinSet::new();
        let mut ends = self.ends.clone();
        tokio::select! {
            () = self.accept(&mut open) => {}
            () = ended(&mut ends) => {}
        }
        // Nobody is to connect who would get no answer.
        drop(self.listener);
        while open.join_next().await.is_some() {}
    }

    /// Takes connections, forever.
    async fn accept(&self, open: &mut JoinSet<()>) {
        loop {
            let Ok(permit) = Arc::clone(&self.free).acquire_owned().await else {
                return;
            };
            let (stream, peer) = loop {
                tokio::select! {
                    taken = self.listener.accept() => match taken {
                        Ok(taken) => break taken,
                        Err(error) => {
                            // Mostly there are too many open files, which passes.
                            tracing::warn!("a connection can't be taken: {error}");
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    },
                    Some(_) = open.join_next() => {}
                }
            };
            open.spawn(connection(
                stream,
                peer.ip(),
                Arc::clone(&self.service),
                self.certificate.clone(),
                self.header_timeout,
                self.ends.clone(),
                permit,
            ));
            while open.try_join_next().is_some() {}
        }
    }
}

/// Waits until no more requests are to be taken.
async fn ended(ends: &mut watch::Receiver<bool>) {
    // Without the server, all of its tasks end.
    drop(ends.wait_for(|ends| *ends).await);
}

async fn connection(
    stream: TcpStream,
    peer: IpAddr,
    service: Arc<Service>,
    certificate: Option<Arc<Certificate>>,
    patience: Duration,
    mut ends: watch::Receiver<bool>,
    _permit: OwnedSemaphorePermit,
) {
    // Answers are small and are waited for.
    let _ = stream.set_nodelay(true);
    // A connection that says nothing gets no buffers.
    let said = tokio::select! {
        biased;
        said = timeout(patience, stream.readable()) => said,
        () = ended(&mut ends) => return,
    };
    if !matches!(said, Ok(Ok(()))) {
        return;
    }
    let Some(certificate) = certificate else {
        return talk(stream, peer, service, patience, ends).await;
    };
    let accepted = timeout(patience, certificate.acceptor().accept(stream)).await;
    match accepted {
        Ok(Ok(stream)) => talk(stream, peer, service, patience, ends).await,
        Ok(Err(error)) => tracing::debug!(%peer, "TLS failed: {error}"),
        Err(_) => {}
    }
}

async fn talk<S>(
    stream: S,
    peer: IpAddr,
    service: Arc<Service>,
    patience: Duration,
    mut ends: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let peer: Arc<str> = peer.to_canonical().to_string().into();
    let answers = service_fn(move |request| {
        let (service, peer) = (Arc::clone(&service), Arc::clone(&peer));
        async move { Ok::<_, Infallible>(service.answer(request, &peer).await) }
    });
    let mut protocol = http1::Builder::new();
    protocol
        .timer(TokioTimer::new())
        .header_read_timeout(patience)
        // Answers are short: their body is copied behind the head and written with it.
        .writev(false)
        .max_buf_size(HEAD);
    let mut talking = pin!(protocol.serve_connection(TokioIo::new(stream), answers));
    let done = tokio::select! {
        biased;
        done = talking.as_mut() => done,
        () = ended(&mut ends) => {
            talking.as_mut().graceful_shutdown();
            talking.await
        }
    };
    if let Err(error) = done {
        tracing::debug!("a connection ended: {error}");
    }
}
