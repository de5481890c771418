//! Makes connections.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use backon::{ExponentialBuilder, Retryable};
use tidegate_aws::{Aws, AwsSettings, rds_region};
use tidegate_core::{Context, Error, Metrics, Result, SecretValue};

use super::keys::{Account, ConnectionKeys};
use super::session;
use crate::retry::passes;
use crate::wire::{Address, Connection, Login, PublicKey, Server, Tls};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
const READ_TIMEOUT: Duration = Duration::from_secs(15 * 60);
const NET_WRITE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// No file with a public key is nearly as long.
const LONGEST_KEY: u64 = 64 << 10;

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
        Self::trusting(true, keys, cx).await
    }

    /// As [`Connector::open`]; says whether a server at an address of this machine alone counts as
    /// authenticated. The servers of tests are there, and stand for others.
    pub(super) async fn trusting(
        loopback: bool,
        keys: &ConnectionKeys,
        cx: &Context,
    ) -> Result<Arc<Self>> {
        keys.validate()?;
        let Account {
            host,
            port,
            user,
            database,
        } = keys.account()?;
        let password = keys.password.as_ref().map(|secret| secret.resolve(cx));
        let key = keys.server_public_key.as_ref();
        let key = key.map(|path| public_key(&cx.path(path))).transpose()?;
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
                max_row: keys.max_row().as_usize(),
            },
            login: Login {
                user,
                password: password.transpose()?.filter(said),
                database,
                clear: keys.iam,
                key,
                anybody: keys.get_server_public_key,
                loopback,
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

    /// One that reaches nobody, and knows that at once.
    #[cfg(feature = "fuzzing")]
    pub(crate) fn nowhere() -> Result<Arc<Self>> {
        Ok(Arc::new(Self {
            address: Address {
                host: "\0".to_owned(),
                port: 0,
                connect_timeout: CONNECT_TIMEOUT,
                read_timeout: READ_TIMEOUT,
                max_row: 1 << 20,
            },
            login: Login::default(),
            tls: Tls::new(crate::wire::TlsMode::Disabled, None)?,
            patience: NET_WRITE_TIMEOUT,
            aws: None,
            server: Server::default(),
            metrics: Arc::default(),
        }))
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

    /// The most bytes of what the server sends at once.
    pub(crate) fn max_row(&self) -> usize {
        self.address.max_row
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

/// The file of `server_public_key`.
fn public_key(path: &Path) -> Result<PublicKey> {
    let mut pem = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST_KEY).read_to_end(&mut pem))
        .map_err(|error| {
            Error::config("`server_public_key` can't be read")
                .with("path", path.display())
                .because(error)
        })?;
    PublicKey::from_pem(&pem).ok_or_else(|| {
        Error::config("there is no RSA public key in the file of `server_public_key`")
            .with("path", path.display())
            .hint(
                "it begins with `-----BEGIN PUBLIC KEY-----`: it is public_key.pem of the server's \
                   data directory",
            )
    })
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
