//! Servers on this machine, and clients for them.

use std::io::Write as _;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::any;
use flate2::{Compression, write::GzEncoder};
use tidegate_core::{Error, Metrics, Span};
use tidegate_http::{HttpClient, HttpSettings, Url};
use tokio::net::TcpListener;

/// Serves `router` until the test ends.
pub(crate) async fn serve(router: Router) -> Url {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    Url::parse(&url).unwrap()
}

/// Serves `answer(n)` to the n-th request (from 0), and counts them.
pub(crate) async fn serve_each<A, R>(answer: A) -> (Url, Arc<AtomicU64>)
where
    A: Fn(u64) -> R + Clone + Send + Sync + 'static,
    R: IntoResponse + 'static,
{
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let handler = move || {
        let response = answer(counted.fetch_add(1, Ordering::SeqCst)).into_response();
        async { response }
    };
    (serve(Router::new().fallback(any(handler))).await, count)
}

pub(crate) fn settings() -> HttpSettings {
    HttpSettings {
        attempts: 3,
        backoff: Span(Duration::from_millis(1)),
        ..HttpSettings::default()
    }
}

pub(crate) fn client(settings: HttpSettings) -> (HttpClient, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let client = HttpClient::with_settings(settings, Arc::clone(&metrics)).unwrap();
    (client, metrics)
}

pub(crate) async fn refused(client: &HttpClient, url: Url) -> Error {
    client.get(url).send().await.unwrap_err()
}

pub(crate) fn gzipped(bytes: &[u8]) -> impl IntoResponse + use<> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(bytes).unwrap();
    (
        [(header::CONTENT_ENCODING, "gzip")],
        packed.finish().unwrap(),
    )
}
