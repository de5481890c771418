//! The keys by which source and sink say where the server is.

use std::path::PathBuf;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use tidegate_aws::AwsSettings;
use tidegate_core::{ByteSize, Error, Result, Secret, Span};
use url::{Host, Url};

use crate::wire::TlsMode;

/// Adds the connection's keys to a config struct, before its own, and to the struct the method
/// `connection()`, which gives them as [`ConnectionKeys`].
///
/// serde's `flatten` would undo `deny_unknown_fields`, so the keys are written into each struct;
/// their doc comments are the user's reference. The struct's `validate` is to call
/// `self.connection().validate()`.
///
/// ```ignore
/// with_connection! {
///     /// Reads tables and queries.
///     #[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
///     #[serde(deny_unknown_fields)]
///     pub struct MySqlConfig {
///         /// The tables.
///         #[serde(default)]
///         pub tables: Vec<String>,
///     }
/// }
/// ```
macro_rules! with_connection {
    ($(#[$meta:meta])* $vis:vis struct $name:ident { $($fields:tt)* }) => {
        $(#[$meta])*
        $vis struct $name {
            /// The server's address: `"mysql://user@host:port/database"`. Everything but the host
            /// may be left out. Special characters are written as in any URL: `%40` for `@`. The
            /// password has a key of its own. Instead of `url`: `host`, `port`, `user` and
            /// `database`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub url: Option<String>,

            /// The server's name or IP address.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub host: Option<String>,

            /// The server's TCP port. Default: `3306`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub port: Option<u16>,

            /// The user to log in as.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub user: Option<String>,

            /// The database.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub database: Option<String>,

            /// The user's password: `{ env = "SHOP_PASSWORD" }` or `{ file = "/run/secrets/shop" }`.
            /// Known logins: `mysql_native_password`, `caching_sha2_password` and MariaDB's
            /// `ed25519`.
            ///
            /// Mostly the server gets a proof that we know the password, not the password. With
            /// `caching_sha2_password`, one that has not seen the user since it was started wants all
            /// of it. It gets it inside of TLS, if its certificate was looked at (`ssl =
            /// "verify_identity"`, or `"verify_ca"` with `ca_file`), or encrypted with
            /// `server_public_key`, or where it runs on this machine (its address is one of
            /// `127.0.0.0/8`, or `::1`), or if `get_server_public_key` is `true`. Else the login is
            /// refused, because somebody in between could read the password.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub password: Option<tidegate_core::Secret>,

            /// Whether to log in by AWS IAM, to a database on Amazon RDS or Aurora, instead of by a
            /// password. Each connection gets a token of its own. The user is to be one `IDENTIFIED
            /// WITH AWSAuthenticationPlugin AS 'RDS'`, AWS must grant `rds-db:connect`, and the host
            /// must be the endpoint's own name. The token is sent as it is, so `ssl` must be
            /// `"verify_identity"` or `"verify_ca"`, or for a tunnel that ends on this machine
            /// (`localhost`, `127.0.0.1`) at least `"required"`. Default: `false`.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub iam: bool,

            /// How AWS is reached for `iam`, where that differs from the settings `[aws]` in
            /// `tidegate.toml`. The region is the one in the host's name, if there is one.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub aws: Option<tidegate_aws::AwsSettings>,

            /// How strictly the connection is protected. Default: `"preferred"`; `"verify_identity"`
            /// if there is a `ca_file` or `iam`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub ssl: Option<$crate::wire::TlsMode>,

            /// A PEM file with the certificates of the authorities that are trusted to sign the
            /// server's. For Amazon RDS and Aurora: the bundle that
            /// `https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem` gives. Default:
            /// the public authorities that browsers trust too; RDS's are not among them. A relative
            /// path begins at the pipeline file.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub ca_file: Option<std::path::PathBuf>,

            /// A PEM file with the server's RSA public key: `public_key.pem` in its data directory,
            /// or what `SHOW STATUS LIKE 'Caching_sha2_password_rsa_public_key'` says there. With it,
            /// `caching_sha2_password` works without TLS, and only this server can read the password;
            /// rows and statements are not encrypted. Inside of TLS a server takes no password that is
            /// encrypted with it, so set `ssl = "disabled"`. A relative path begins at the pipeline
            /// file.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub server_public_key: Option<std::path::PathBuf>,

            /// Whether the password may be sent to a server that nothing authenticates: encrypted with
            /// a key that the server itself sends, or inside of TLS whose certificate isn't looked at.
            /// Whoever answers in the server's place can read it then, so set it only in a network
            /// that you trust. It is the option of the same name of MySQL's own clients, which send
            /// the password inside of any TLS even without it. Default: `false`.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            pub get_server_public_key: bool,

            /// How long a connection may take, until we are logged in. Default: `"15s"`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub connect_timeout: Option<tidegate_core::Span>,

            /// How long the server may say nothing while we wait for it. Sorting a large table
            /// takes it some time before the first row, so be generous: a connection that is dead
            /// is found by TCP's own keep-alive, after two minutes. Default: `"15m"`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub read_timeout: Option<tidegate_core::Span>,

            /// How long the server waits for us to take rows, or to send the rest of a statement,
            /// before it closes the connection: its `net_write_timeout` and `net_read_timeout`. The
            /// server's own defaults, 60 and 30 seconds, are short when the other end of the
            /// pipeline is slow. Default: `"10m"`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub net_write_timeout: Option<tidegate_core::Span>,

            /// The most memory for what the server sends at once: one row, one event of its binary
            /// log, and what it says of its tables in one answer. From `"16 MiB"` to `"1 GiB"`, which
            /// is the most that a server sends. More ends the run with an error. Default: `"256 MiB"`.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_row: Option<tidegate_core::ByteSize>,

            $($fields)*
        }

        impl $name {
            /// The keys that say where the server is.
            pub(crate) fn connection(&self) -> $crate::connect::ConnectionKeys {
                $crate::connect::ConnectionKeys {
                    url: self.url.clone(),
                    host: self.host.clone(),
                    port: self.port,
                    user: self.user.clone(),
                    database: self.database.clone(),
                    password: self.password.clone(),
                    iam: self.iam,
                    aws: self.aws.clone(),
                    ssl: self.ssl,
                    ca_file: self.ca_file.clone(),
                    server_public_key: self.server_public_key.clone(),
                    get_server_public_key: self.get_server_public_key,
                    connect_timeout: self.connect_timeout,
                    read_timeout: self.read_timeout,
                    net_write_timeout: self.net_write_timeout,
                    max_row: self.max_row,
                }
            }
        }
    };
}
pub(crate) use with_connection;

/// The port of MySQL and MariaDB.
const PORT: u16 = 3306;

/// How long a row may be, unless told otherwise.
const ROW: ByteSize = ByteSize(256 << 20);

/// What comes in one packet is never too long.
const LEAST_ROW: u64 = 16 << 20;

/// The protocol's most.
const MOST_ROW: u64 = 1 << 30;

/// The keys by which source and sink say where the server is, as they stand in the file. What they
/// mean is said by [`with_connection!`].
#[derive(Debug, Clone, Default)]
pub(crate) struct ConnectionKeys {
    pub(crate) url: Option<String>,
    pub(crate) host: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) user: Option<String>,
    pub(crate) database: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) iam: bool,
    pub(crate) aws: Option<AwsSettings>,
    pub(crate) ssl: Option<TlsMode>,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) server_public_key: Option<PathBuf>,
    pub(crate) get_server_public_key: bool,
    pub(crate) connect_timeout: Option<Span>,
    pub(crate) read_timeout: Option<Span>,
    pub(crate) net_write_timeout: Option<Span>,
    pub(crate) max_row: Option<ByteSize>,
}

/// Who we are at which server, by `url` or by keys of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) database: Option<String>,
}

impl ConnectionKeys {
    /// The keys that only change speed, patience, room, or who may learn the password.
    pub(crate) const TUNING: [&'static str; 6] = [
        "connect_timeout",
        "read_timeout",
        "net_write_timeout",
        "max_row",
        "server_public_key",
        "get_server_public_key",
    ];

    /// Checks what the schema can't. No I/O.
    ///
    /// Errors: `Config`, with the key.
    pub(crate) fn validate(&self) -> Result<()> {
        let Account { host, .. } = self.account()?;
        let verified = self.tls_mode().is_verified();
        if self.ca_file.is_some() && !verified {
            return Err(of_key(
                "ca_file",
                "`ca_file` is not read, because `ssl` asks for no look at the certificate",
            )
            .hint("leave `ssl` out, or set it to \"verify_ca\" or \"verify_identity\""));
        }
        if self.iam && self.password.is_some() {
            return Err(of_key("password", "`password` can't be set beside `iam`")
                .hint("log in by one of them"));
        }
        // The token is sent as it is. Through a tunnel the name is another than the certificate's.
        let safe = verified || self.tls_mode().is_needed() && is_local(&host);
        if self.iam && !safe {
            return Err(of_key(
                "ssl",
                "`iam` needs TLS with a server whose certificate was looked at, and this `ssl` can \
                 do without",
            )
            .hint("leave `ssl` out, and set `ca_file` to RDS's bundle of certificates"));
        }
        if self.server_public_key.is_some() && self.tls_mode().is_needed() {
            return Err(of_key(
                "server_public_key",
                "`server_public_key` is not used, because `ssl` asks for TLS",
            )
            .hint(
                "inside of TLS no server takes a password that is encrypted with its key: leave \
                   one of them out",
            ));
        }
        if self.get_server_public_key && verified {
            return Err(of_key(
                "get_server_public_key",
                "`get_server_public_key` allows what `ssl` forbids: a server whose certificate isn't \
                 looked at",
            )
            .hint("leave it out: the password is sent inside of TLS"));
        }
        if self.aws.is_some() && !self.iam {
            return Err(of_key(
                "aws",
                "`aws` says how to reach AWS, and nothing is asked of it",
            )
            .hint("set `iam = true`, or leave `aws` out"));
        }
        let times = [
            ("connect_timeout", self.connect_timeout),
            ("read_timeout", self.read_timeout),
            ("net_write_timeout", self.net_write_timeout),
        ];
        for (key, time) in times {
            let Some(Span(time)) = time else { continue };
            // The most that the servers take for theirs: a year.
            if time < Duration::from_secs(1) || time > Duration::from_secs(31_536_000) {
                return Err(of_key(key, format!("`{key}` is too short or too long"))
                    .hint("from \"1s\" to \"365d\""));
            }
        }
        if !(LEAST_ROW..=MOST_ROW).contains(&self.max_row().0) {
            return Err(of_key("max_row", "`max_row` is out of bounds")
                .hint("from \"16 MiB\" to \"1 GiB\""));
        }
        Ok(())
    }

    pub(super) fn max_row(&self) -> ByteSize {
        self.max_row.unwrap_or(ROW)
    }

    pub(super) fn tls_mode(&self) -> TlsMode {
        self.ssl
            .unwrap_or(match self.ca_file.is_some() || self.iam {
                true => TlsMode::VerifyIdentity,
                false => TlsMode::Preferred,
            })
    }

    /// Who we are at which server.
    ///
    /// Errors: `Config`, with the key.
    pub(super) fn account(&self) -> Result<Account> {
        let Some(url) = &self.url else {
            let Some(host) = self.host.as_deref().filter(|host| !host.is_empty()) else {
                return Err(
                    Error::config("neither `url` nor `host` says where the server is")
                        .hint("set `url = \"mysql://user@host/database\"`"),
                );
            };
            return Ok(Account {
                host: host_of(host)?,
                port: self.port.unwrap_or(PORT),
                user: user_of(self.user.clone())?,
                database: self.database.clone().filter(|name| !name.is_empty()),
            });
        };
        if self.host.is_some() || self.port.is_some() {
            let key = if self.host.is_some() { "host" } else { "port" };
            return Err(of_key(key, format!("`{key}` can't be set beside `url`"))
                .hint("say where the server is either by `url` or by `host` and `port`"));
        }
        let url = parts(url)?;
        Ok(Account {
            host: url.host,
            port: url.port,
            user: user_of(once("user", url.user, &self.user)?)?,
            database: once("database", url.database, &self.database)?,
        })
    }
}

/// What a `url` says.
struct Parts {
    host: String,
    port: u16,
    user: Option<String>,
    database: Option<String>,
}

/// Takes a `url` apart. It is quoted in no error: somebody may have written a password into it.
fn parts(url: &str) -> Result<Parts> {
    let shape = "write it as \"mysql://user@host:port/database\"";
    let wrong = |what: &str| of_key("url", format!("`url` {what}")).hint(shape);
    // A name of the file system where the host should be is a socket's.
    let url = Url::parse(url).map_err(|error| wrong("can't be read").because(error))?;
    if !matches!(url.scheme(), "mysql" | "mariadb") {
        return Err(wrong("doesn't begin with `mysql://`"));
    }
    if url.password().is_some() {
        // Without the key, so that the line isn't shown.
        return Err(Error::config("`url` has a password in it").hint(
            "take it out, and set `password = { env = \"NAME\" }`: pipeline files are shared",
        ));
    }
    if let Some((name, _)) = url.query_pairs().next() {
        return Err(wrong("has parameters, and none is known")
            .with("parameter", &name)
            .hint("TLS and timeouts have keys of their own: `ssl`, `ca_file`, `connect_timeout`"));
    }
    if url.fragment().is_some() {
        return Err(wrong("has a `#` in it").hint("write `#` as `%23`"));
    }
    let host = match url.host() {
        Some(Host::Domain(name)) => host_of(&decoded(name)?)?,
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Ipv6(address)) => address.to_string(),
        None => return Err(wrong("names no host")),
    };
    let path = url.path().strip_prefix('/').unwrap_or_default();
    if path.contains('/') {
        return Err(wrong("has more than a database after its host"));
    }
    let some = |text: &str| (!text.is_empty()).then(|| decoded(text)).transpose();
    Ok(Parts {
        host,
        port: url.port().unwrap_or(PORT),
        user: some(url.username())?,
        database: some(path)?,
    })
}

fn decoded(text: &str) -> Result<String> {
    let text = percent_decode_str(text).decode_utf8();
    text.map(std::borrow::Cow::into_owned)
        .map_err(|error| of_key("url", "`url` isn't UTF-8 behind its `%`").because(error))
}

/// A host as connecting takes it: an IPv6 address without brackets.
fn host_of(host: &str) -> Result<String> {
    if host.starts_with('/') {
        return Err(
            of_key("host", "a path is no host: Unix sockets are not supported")
                .hint("connect by TCP: set `host = \"127.0.0.1\"`"),
        );
    }
    let bare = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(host);
    if bare.is_empty() || bare.contains(|c: char| c.is_whitespace() || "/@[]".contains(c)) {
        return Err(of_key("host", format!("`{host}` is no host's name"))
            .hint("write a name or an IP address; the port has a key of its own"));
    }
    let colons = bare.contains(':');
    if colons && bare.parse::<std::net::Ipv6Addr>().is_err() {
        return Err(of_key("host", format!("`{host}` is no host's name"))
            .hint("the port has a key of its own, `port`"));
    }
    Ok(bare.to_owned())
}

/// Whether a host is this machine by its name. Who is there is seen when it is connected to.
fn is_local(host: &str) -> bool {
    let address = host.parse::<std::net::IpAddr>();
    host.eq_ignore_ascii_case("localhost")
        || address.is_ok_and(|address| address.to_canonical().is_loopback())
}

fn user_of(user: Option<String>) -> Result<String> {
    user.filter(|user| !user.is_empty()).ok_or_else(|| {
        Error::config("no user is named")
            .hint("write it into `url`, as in \"mysql://user@host/database\", or set `user`")
    })
}

/// What `url` says, or a key of its own; not both.
fn once(key: &'static str, url: Option<String>, own: &Option<String>) -> Result<Option<String>> {
    match (url, own) {
        (Some(_), Some(_)) => Err(of_key(key, format!("`{key}` stands in `url` too"))
            .hint(format!("say it once: leave `{key}` out"))),
        (url, own) => Ok(url.or_else(|| own.clone().filter(|own| !own.is_empty()))),
    }
}

fn of_key(key: &'static str, message: impl Into<String>) -> Error {
    Error::config(message).with("key", key)
}

#[cfg(test)]
mod tests {
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    with_connection! {
        /// A component.
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct Component {
            /// A key of its own.
            #[serde(default)]
            own: u8,
        }
    }

    fn keys(keys: serde_json::Value) -> ConnectionKeys {
        let config: Component = serde_json::from_value(keys).unwrap();
        config.connection()
    }

    fn of_url(url: &str) -> Result<Account> {
        keys(json!({ "url": url })).account()
    }

    fn account(host: &str, port: u16, user: &str, database: Option<&str>) -> Account {
        Account {
            host: host.to_owned(),
            port,
            user: user.to_owned(),
            database: database.map(str::to_owned),
        }
    }

    #[test]
    fn a_url_says_where() {
        let all = of_url("mysql://reader@db.example.com:3307/shop").unwrap();
        assert_eq!(all, account("db.example.com", 3307, "reader", Some("shop")));
        let least = of_url("mysql://reader@localhost").unwrap();
        assert_eq!(least, account("localhost", 3306, "reader", None));
        let six = of_url("mariadb://u@[::1]:1/d").unwrap();
        assert_eq!(six, account("::1", 1, "u", Some("d")));
        let odd = of_url("mysql://a%40b%2F%C3%A4@127.0.0.1/my%20shop%2F1").unwrap();
        assert_eq!(odd, account("127.0.0.1", 3306, "a@b/ä", Some("my shop/1")));
    }

    #[test]
    fn keys_of_their_own_say_where() {
        let some = json!({ "host": "db", "port": 1, "user": "u", "database": "d", "own": 1 });
        assert_eq!(
            keys(some).account().unwrap(),
            account("db", 1, "u", Some("d"))
        );
        let six = json!({ "host": "[fe80::1]", "user": "u" });
        assert_eq!(
            keys(six).account().unwrap(),
            account("fe80::1", 3306, "u", None)
        );
        let both = json!({ "url": "mysql://db", "user": "u", "database": "d" });
        assert_eq!(
            keys(both).account().unwrap(),
            account("db", 3306, "u", Some("d"))
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (wrong, word) in [
            (json!({}), "neither"),
            (
                json!({ "url": "mysql://u@db", "iam": true, "ssl": "preferred" }),
                "needs TLS",
            ),
            (
                json!({ "url": "mysql://u@db", "iam": true, "ssl": "required" }),
                "needs TLS",
            ),
            (
                json!({ "url": "mysql://u@localhost", "iam": true, "ssl": "preferred" }),
                "needs TLS",
            ),
            (
                json!({ "url": "mysql://u@db", "ssl": "required", "server_public_key": "x" }),
                "`server_public_key`",
            ),
            (
                json!({ "url": "mysql://u@db", "ca_file": "x", "get_server_public_key": true }),
                "`get_server_public_key`",
            ),
            (
                json!({ "url": "mysql://u@db", "max_row": "15 MiB" }),
                "`max_row`",
            ),
            (
                json!({ "url": "mysql://u@db", "max_row": "2 GiB" }),
                "`max_row`",
            ),
            (
                json!({ "url": "mysql://u@db", "iam": true, "password": { "env": "P" } }),
                "beside `iam`",
            ),
            (json!({ "url": "mysql://u@db", "aws": {} }), "`aws`"),
            (json!({ "host": "db" }), "no user"),
            (json!({ "url": "mysql://db/d" }), "no user"),
            (json!({ "url": "postgres://u@db/d" }), "mysql://"),
            (json!({ "url": "mysql://u@db:99999/d" }), "can't be read"),
            (json!({ "url": "mysql://u@db/d?ssl=1" }), "parameters"),
            (json!({ "url": "mysql://u@db/a/b" }), "more than a database"),
            (json!({ "url": "mysql://u@/d" }), "`url`"),
            (json!({ "url": "mysql://u@db#x" }), "`#`"),
            (json!({ "url": "mysql://u@db/%ff" }), "UTF-8"),
            (json!({ "url": "mysql://u@%2Ftmp%2Fsocket/d" }), "sockets"),
            (json!({ "url": "mysql://u@db", "host": "db" }), "`host`"),
            (json!({ "url": "mysql://u@db", "port": 1 }), "`port`"),
            (json!({ "url": "mysql://u@db", "user": "u" }), "`user`"),
            (
                json!({ "url": "mysql://u@db/d", "database": "d" }),
                "`database`",
            ),
            (json!({ "host": "db:3306", "user": "u" }), "no host's name"),
            (
                json!({ "host": "/run/mysqld.sock", "user": "u" }),
                "sockets",
            ),
            (
                json!({ "url": "mysql://u@db", "ssl": "required", "ca_file": "x" }),
                "ca_file",
            ),
            (
                json!({ "url": "mysql://u@db", "read_timeout": "1ms" }),
                "read_timeout",
            ),
        ] {
            let error = keys(wrong.clone()).validate().unwrap_err();
            assert!(error.to_string().contains(word), "{wrong}: {error}");
            assert_eq!(error.kind(), tidegate_core::ErrorKind::Config);
        }
        let unknown = serde_json::from_value::<Component>(json!({ "hosts": "db" }));
        assert!(unknown.unwrap_err().to_string().contains("unknown field"));
    }

    #[test]
    fn a_password_in_the_url_is_refused_and_never_shown() {
        for url in [
            "mysql://u:hunter2@db/d",
            "mysql://u:hunter2@db:99999/d",
            "mysql://u:hunter2/3@db/d",
        ] {
            let error = of_url(url).unwrap_err();
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
        let error = of_url("mysql://u:hunter2@db/d").unwrap_err();
        assert!(error.hint_text().unwrap().contains("password = {"));
    }

    #[test]
    fn a_token_goes_without_a_certificate_only_to_this_machine() {
        for host in ["localhost", "127.0.0.1", "127.8.0.1", "[::1]"] {
            let url = format!("mysql://u@{host}/d");
            let token = json!({ "url": url, "iam": true, "ssl": "required" });
            keys(token).validate().unwrap();
        }
        for host in [
            "localhost.example.com",
            "10.0.0.1",
            "[::2]",
            "127.0.0.1.example.com",
        ] {
            let url = format!("mysql://u@{host}/d");
            let token = json!({ "url": url, "iam": true, "ssl": "required" });
            assert!(keys(token).validate().is_err(), "{host}");
        }
    }

    #[test]
    fn a_file_of_authorities_asks_for_the_strictest_look() {
        let place = json!({ "url": "mysql://u@db" });
        assert_eq!(keys(place).tls_mode(), TlsMode::Preferred);
        let verified = json!({ "url": "mysql://u@db", "ca_file": "ca.pem" });
        assert_eq!(keys(verified).tls_mode(), TlsMode::VerifyIdentity);
        let token = json!({ "url": "mysql://u@db", "iam": true });
        assert_eq!(keys(token).tls_mode(), TlsMode::VerifyIdentity);
    }
}
