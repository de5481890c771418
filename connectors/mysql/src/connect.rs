//! From the keys of a pipeline file to connections.

use std::sync::Arc;

use tidegate_core::{Context, Metrics, Result, Secret};

use crate::wire::{Address, Connection, Login, Server, Tls, TlsMode};

/// The keys by which source and sink say where the server is, as they stand in the file.
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionKeys {
    pub(crate) url: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) ssl: TlsMode,
}

/// Makes connections that are logged in and set up alike: UTC, utf8mb4, a strict SQL mode.
#[derive(Debug)]
pub(crate) struct Connector {
    address: Address,
    login: Login,
    tls: Tls,
    server: Server,
    metrics: Arc<Metrics>,
}

impl Connector {
    /// Resolves the secrets and connects once, to learn who is at the other end.
    pub(crate) async fn open(keys: &ConnectionKeys, cx: &Context) -> Result<Arc<Self>> {
        let _ = (keys, cx);
        unimplemented!("helper A")
    }

    /// Who is at the other end.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The database of `url` or `database`.
    pub(crate) fn database(&self) -> Option<&str> {
        self.login.database.as_deref()
    }

    /// Another connection. Lost ones are tried again, with backoff.
    pub(crate) async fn connect(&self) -> Result<Connection> {
        Connection::open(&self.address, &self.login, &self.tls).await
    }
}
