//! Makes connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use tidegate_aws::{Aws, AwsSettings, rds_region};
use tidegate_core::{Context, Metrics, Result, SecretValue};

use super::keys::{Account, ConnectionKeys};
use super::session;
use crate::retry::passes;
use crate::wire::{Address, Connection, Login, Server, Tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const NET_WRITE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// After so long an attempt to connect is not followed by another one.
const PATIENCE: Duration = Duration::from_secs(10);

/// Makes connections that are logged in and set up alike; see [`session::set_up`].
#[derive(Debug)]
pub(crate) struct Connector {
    address: Address,
    login: Login,
    tls: Tls,
    patience: Duration,
    /// Where tokens come from, with `iam`.
    aws: Option<Aws>,
    server: Server,
    metrics: Arc<Metrics>,
}

impl Connector {
    /// Resolves the secrets and connects once, to learn who is at the other end.
    ///
    /// Errors: `Config` for keys that can't be, `Auth` for a secret that can't be read or a login
    /// that is refused, `NotFound` for a host or a database that isn't there, `Transient` when the
    /// server can't be reached after some attempts.
    pub(crate) async fn open(keys: &ConnectionKeys, cx: &Context) -> Result<Arc<Self>> {
        keys.validate()?;
        let Account {
            host,
            port,
            user,
            database,
        } = keys.account()?;
        let password = keys.password.as_ref().map(|secret| secret.resolve(cx));
        let authorities = keys.ca_file.as_ref().map(|path| cx.path(path));
        let time = |said: Option<tidegate_core::Span>, usual| said.map_or(usual, |span| span.0);
        let aws = match keys.iam {
            true => Some(aws(keys, &host, cx).await?),
            false => None,
        };
        let mut connector = Self {
            address: Address {
                host,
                port,
                connect_timeout: time(keys.connect_timeout, CONNECT_TIMEOUT),
                read_timeout: time(keys.read_timeout, READ_TIMEOUT),
            },
            login: Login {
                user,
                password: password.transpose()?.filter(said),
                database,
                clear: keys.iam,
            },
            tls: Tls::new(keys.tls_mode(), authorities)?,
            patience: time(keys.net_write_timeout, NET_WRITE_TIMEOUT),
            aws,
            server: Server::default(),
            metrics: Arc::clone(&cx.metrics),
        };
        connector.server = connector.connect().await?.server().clone();
        Ok(Arc::new(connector))
    }

    /// Who is at the other end, as of the first connection.
    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// The database of `url` or `database`.
    pub(crate) fn database(&self) -> Option<&str> {
        self.login.database.as_deref()
    }

    /// How long the server may say nothing.
    pub(crate) fn read_timeout(&self) -> Duration {
        self.address.read_timeout
    }

    /// Another connection. Where it can't be had at once, it is tried again for some seconds.
    ///
    /// Errors: as [`Connector::open`].
    pub(crate) async fn connect(&self) -> Result<Connection> {
        let backoff = ExponentialBuilder::default()
            .with_jitter()
            .with_min_delay(Duration::from_millis(200))
            .with_max_times(4);
        // Who doesn't answer at all is given no further chance: that took long enough.
        let begun = Instant::now();
        let again = |error: &tidegate_core::Error| passes(error) && begun.elapsed() < PATIENCE;
        (|| self.connect_once())
            .retry(backoff)
            .when(again)
            .notify(|error, wait| {
                self.metrics.retries(1);
                tracing::debug!(?error, ?wait, "connecting again");
            })
            .await
    }

    async fn connect_once(&self) -> Result<Connection> {
        let mut connection = match &self.aws {
            None => Connection::open(&self.address, &self.login, &self.tls).await?,
            Some(aws) => {
                // It ends after 15 minutes, and a new one costs nothing.
                let Address { host, port, .. } = &self.address;
                let token = aws.rds_token(host, *port, &self.login.user).await?;
                let login = Login {
                    password: Some(token),
                    ..self.login.clone()
                };
                Connection::open(&self.address, &login, &self.tls).await?
            }
        };
        let set_up = session::set_up(connection.server(), self.patience);
        connection.run("set the session up", &set_up).await?;
        Ok(connection)
    }
}

/// The way to AWS for tokens.
async fn aws(keys: &ConnectionKeys, host: &str, cx: &Context) -> Result<Aws> {
    let mut settings = AwsSettings::of(cx, keys.aws.as_ref())?;
    if settings.region.is_none() {
        settings.region = rds_region(host).map(str::to_owned);
    }
    Aws::connect(&settings, &cx.metrics).await
}

/// A variable that is set to nothing means the same as no password.
fn said(password: &SecretValue) -> bool {
    !password.expose().is_empty()
}
