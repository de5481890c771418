//! The server's certificate, read again when its files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tidegate_core::{Context, Error, Result};
use tokio_rustls::TlsAcceptor;

use crate::config::Tls;

/// How often it is looked whether the files have changed.
const LOOKED_AT: Duration = Duration::from_secs(5);

/// What takes a connection into TLS.
#[derive(Debug)]
pub(crate) struct Certificate {
    cert: PathBuf,
    key: PathBuf,
    config: RwLock<Arc<ServerConfig>>,
}

impl Certificate {
    pub(crate) fn read(tls: &Tls, cx: &Context) -> Result<Self> {
        let (cert, key) = (cx.path(&tls.cert_file), cx.path(&tls.key_file));
        let config = RwLock::new(load(&cert, &key)?);
        Ok(Self { cert, key, config })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let config = self.config.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&config))
    }

    /// Looks after the files forever. What can't be used is logged, and the one before stays.
    pub(crate) async fn follow(&self) {
        let changed = |path: &Path| {
            std::fs::metadata(path)
                .and_then(|found| found.modified())
                .ok()
        };
        let times = || -> [Option<SystemTime>; 2] { [changed(&self.cert), changed(&self.key)] };
        let mut known = times();
        loop {
            tokio::time::sleep(LOOKED_AT).await;
            let now = times();
            if now == known {
                continue;
            }
            match load(&self.cert, &self.key) {
                Ok(config) => {
                    known = now;
                    *self.config.write().unwrap_or_else(PoisonError::into_inner) = config;
                    tracing::info!(path = %self.cert.display(), "the certificate was read again");
                }
                // The key may come a moment after the certificate.
                Err(error) => {
                    tracing::warn!("the certificate that was changed can't be used: {error}")
                }
            }
        }
    }
}

fn load(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>> {
    let unusable = |path: &Path, what: &str| {
        Error::config(format!("the {what} can't be used"))
            .with("key", "tls")
            .with("path", path.display())
    };
    let chain = CertificateDer::pem_file_iter(cert)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| unusable(cert, "certificate").because(error))?;
    if chain.is_empty() {
        return Err(unusable(cert, "certificate").hint("the file holds none in PEM"));
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable(key, "certificate's key").because(error))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::internal("TLS can't be set up").because(error))?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(|error| unusable(cert, "certificate").because(error))?;
    Ok(Arc::new(config))
}
