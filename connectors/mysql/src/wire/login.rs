//! The login: who we are, by the plugin that the server wants.

use std::net::SocketAddr;

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthPlugin, AuthPluginData, HandshakePacket, HandshakeResponse, SslRequest,
};
use mysql_common::proto::MySerialize;
use tidegate_core::{Error, Result, SecretValue};

use super::key::PublicKey;
use super::most::Most;
use super::server::{Server, lost, of_packet, strange};
use super::tls::{Protection, Tls};
use super::transport::Transport;

const DOING: &str = "log in";

/// The largest packet that we send or take: the protocol's most.
const MAX_PACKET: u32 = 1 << 30;

/// No packet of a login is nearly as long.
const LONGEST: Most = Most::fixed(64 << 10);

/// The length of the numbers that passwords are mixed with.
const NONCE: usize = 20;

/// The length of those that ed25519 signs.
const SIGNED: usize = 32;

/// utf8mb4_general_ci: texts come as UTF-8.
const UTF8MB4: u8 = 45;

/// Who we are, and who may know our password.
#[derive(Debug, Clone, Default)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Option<SecretValue>,
    pub(crate) database: Option<String>,
    /// Whether the password may be sent as it is, over TLS only: tokens of RDS IAM are.
    pub(crate) clear: bool,
    /// The server's key, where it is known without asking the server for it.
    pub(crate) key: Option<PublicKey>,
    /// Whether a server that nothing authenticates may learn the password.
    pub(crate) anybody: bool,
    /// Whether a server at an address of this machine alone needs nothing that authenticates it.
    pub(crate) loopback: bool,
}

/// How a password goes to a server that wants all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// As it is, inside of TLS.
    Inside,
    /// Encrypted with the key that we have.
    WithOurs,
    /// Encrypted with the key that the server sends, whoever that is.
    WithTheirs,
    /// Not at all: somebody else could read it.
    Never,
}

impl Login {
    /// How the password goes to a server at `address`. Inside of TLS a server takes it only as it is,
    /// so the key that we have is of no use there.
    fn way(&self, protection: Protection, address: SocketAddr) -> Way {
        // Nobody sits between two programs of one machine.
        let local = self.loopback && address.ip().to_canonical().is_loopback();
        let trusted = self.anybody || local;
        match protection {
            Protection::Authenticated => Way::Inside,
            Protection::Encrypted if trusted => Way::Inside,
            Protection::Plain if self.key.is_some() => Way::WithOurs,
            Protection::Plain if trusted => Way::WithTheirs,
            Protection::Encrypted | Protection::Plain => Way::Never,
        }
    }
}

/// What came of the greeting.
pub(super) struct Greeted {
    pub(super) transport: Transport,
    pub(super) capabilities: CapabilityFlags,
}

/// Answers the greeting, with TLS if wanted, and continues until the server lets us in.
pub(super) async fn log_in(
    mut transport: Transport,
    address: SocketAddr,
    handshake: HandshakePacket<'_>,
    server: &Server,
    login: &Login,
    tls: &Tls,
    host: &str,
) -> Result<Greeted> {
    let offered = handshake.capabilities();
    let secure = tls.wanted(offered.contains(CapabilityFlags::CLIENT_SSL))?;
    let mut wanted = CapabilityFlags::CLIENT_LONG_PASSWORD
        | CapabilityFlags::CLIENT_PROTOCOL_41
        | CapabilityFlags::CLIENT_TRANSACTIONS
        | CapabilityFlags::CLIENT_SECURE_CONNECTION
        | CapabilityFlags::CLIENT_LONG_FLAG
        | CapabilityFlags::CLIENT_PLUGIN_AUTH
        | CapabilityFlags::CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA
        | CapabilityFlags::CLIENT_CONNECT_ATTRS
        | CapabilityFlags::CLIENT_DEPRECATE_EOF;
    // MariaDB reads the flags only once, where TLS is asked for.
    if login.database.is_some() {
        wanted |= CapabilityFlags::CLIENT_CONNECT_WITH_DB;
    }
    if secure {
        wanted |= CapabilityFlags::CLIENT_SSL;
    }
    // A MariaDB doesn't offer CLIENT_LONG_PASSWORD (it has another meaning there) and doesn't mind.
    let capabilities = offered & wanted;
    if secure {
        let mut request = Vec::new();
        SslRequest::new(capabilities, MAX_PACKET, UTF8MB4).serialize(&mut request);
        transport
            .write(&request)
            .await
            .map_err(|error| lost(DOING, error))?;
        let Some((socket, sequence, patience)) = transport.into_socket() else {
            return Err(strange(DOING));
        };
        let socket = tls.wrap(socket, host).await?;
        transport = Transport::new(socket, patience).with_sequence(sequence);
    }

    let scramble = handshake.scramble_2_ref().unwrap_or_default();
    let nonce = nonce_of(&[handshake.scramble_1_ref(), scramble].concat(), NONCE)?;
    let plugin = match handshake.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    let password = login.password.as_ref().map(SecretValue::expose);
    let first = plugin.gen_data(password, &nonce);
    let mut response = Vec::new();
    HandshakeResponse::new(
        first.as_ref().map(bytes_of),
        server.numbers,
        Some(login.user.as_bytes()),
        login.database.as_ref().map(|name| name.as_bytes()),
        Some(plugin.borrow()),
        capabilities,
        Some([("program_name".to_owned(), "tidegate".to_owned())].into()),
        MAX_PACKET,
    )
    .serialize(&mut response);
    transport
        .write(&response)
        .await
        .map_err(|error| lost(DOING, error))?;

    Exchange {
        transport: &mut transport,
        plugin: plugin.into_owned(),
        nonce,
        password,
        login,
        protection: tls.protection(secure),
        address,
    }
    .finish()
    .await?;
    Ok(Greeted {
        transport,
        capabilities,
    })
}

/// What is exchanged until the server says yes or no.
struct Exchange<'a> {
    transport: &'a mut Transport,
    plugin: AuthPlugin<'static>,
    nonce: Vec<u8>,
    password: Option<&'a str>,
    login: &'a Login,
    protection: Protection,
    address: SocketAddr,
}

impl Exchange<'_> {
    async fn finish(mut self) -> Result<()> {
        loop {
            let packet = self.receive().await?;
            match (packet.first(), packet.get(1)) {
                (Some(0x00), _) => return Ok(()),
                // No SQL state as long as we are not in, whatever was agreed.
                (Some(0xFF), _) => return Err(of_login(&packet)),
                (Some(0xFE), Some(_)) => self.switch(&packet).await?,
                // caching_sha2_password: it is in the server's cache…
                (Some(0x01), Some(0x03)) => {}
                // …or it isn't, and the server wants all of it.
                (Some(0x01), Some(0x04)) if self.plugin == AuthPlugin::CachingSha2Password => {
                    self.send_all().await?;
                }
                (Some(0xFE), None) => {
                    return Err(Error::unsupported(
                        "the server wants a login of before MySQL 4.1",
                    ));
                }
                _ => return Err(strange(DOING)),
            }
        }
    }

    /// The server wants another plugin than the one that it greeted with.
    async fn switch(&mut self, packet: &[u8]) -> Result<()> {
        let mut parts = packet[1..].splitn(2, |byte| *byte == 0);
        let name = parts.next().unwrap_or_default();
        let nonce = parts.next().unwrap_or_default();
        let plugin = ParseBuf(name).parse::<AuthPlugin<'_>>(());
        self.plugin = plugin.map_err(|_| strange(DOING))?.into_owned();
        let data = match &self.plugin {
            AuthPlugin::MysqlNativePassword
            | AuthPlugin::CachingSha2Password
            | AuthPlugin::Ed25519 => {
                let length = match self.plugin {
                    AuthPlugin::Ed25519 => SIGNED,
                    _ => NONCE,
                };
                self.nonce = nonce_of(nonce, length)?;
                let data = self.plugin.gen_data(self.password, &self.nonce);
                data.as_ref().map(bytes_of).unwrap_or_default()
            }
            AuthPlugin::MysqlClearPassword if self.login.clear => match self.way() {
                Way::Inside => with_zero(self.password.unwrap_or_default()),
                _ => return Err(self.kept()),
            },
            AuthPlugin::MysqlClearPassword => {
                return Err(
                    Error::auth("the server asks for the password in clear text")
                        .hint("that is only done with `iam = true`, over TLS"),
                );
            }
            AuthPlugin::MysqlOldPassword
            | AuthPlugin::MariadbParsec { .. }
            | AuthPlugin::Other(_) => {
                let name = String::from_utf8_lossy(self.plugin.as_bytes()).into_owned();
                return Err(Error::unsupported(format!("the login `{name}` is not known here"))
                    .hint("give the user a password of mysql_native_password, caching_sha2_password or ed25519"));
            }
        };
        self.send(&data).await
    }

    /// caching_sha2_password without the server's cache.
    async fn send_all(&mut self) -> Result<()> {
        let mut password = with_zero(self.password.unwrap_or_default());
        let key = match (self.way(), &self.login.key) {
            (Way::Inside, _) => return self.send(&password).await,
            (Way::WithOurs, Some(key)) => key.clone(),
            (Way::WithTheirs, _) => self.their_key().await?,
            (Way::WithOurs | Way::Never, _) => return Err(self.kept()),
        };
        for (byte, nonce) in password.iter_mut().zip(self.nonce.iter().cycle()) {
            *byte ^= nonce;
        }
        self.send(&key.encrypt(&password)?).await
    }

    async fn their_key(&mut self) -> Result<PublicKey> {
        self.send(&[0x02]).await?;
        let answer = self.receive().await?;
        if answer.first() == Some(&0xFF) {
            return Err(of_login(&answer));
        }
        let pem = answer.strip_prefix(&[0x01]).ok_or_else(|| strange(DOING))?;
        PublicKey::from_pem(pem).ok_or_else(|| {
            Error::unsupported("the server's public key can't be used to send the password")
                .hint("use TLS: set `ssl = \"verify_identity\"` and `ca_file`")
        })
    }

    fn way(&self) -> Way {
        self.login.way(self.protection, self.address)
    }

    /// The password is kept from whoever asks for it.
    fn kept(&self) -> Error {
        let error = Error::auth(
            "the server asks for the password in a way that somebody in between could read it; it \
             isn't sent",
        );
        // Inside of TLS, no server takes it encrypted with its key.
        let key = match self.protection {
            Protection::Plain => "`server_public_key`",
            _ => "`server_public_key` and `ssl = \"disabled\"`",
        };
        error.hint(format!(
            "say which server is the right one: set `ssl = \"verify_identity\"` with `ca_file`, or \
             {key}; in a network that you trust, `get_server_public_key = true` sends the password \
             to whoever answers"
        ))
    }

    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let sent = self.transport.write(payload).await;
        sent.map_err(|error| lost(DOING, error))
    }

    async fn receive(&mut self) -> Result<Vec<u8>> {
        let received = self.transport.read(LONGEST.left()).await;
        received.map_err(|unread| LONGEST.unread(DOING, unread))
    }
}

pub(super) fn of_login(packet: &[u8]) -> Error {
    // With the marker of a state, it has one after all: MariaDB's does.
    let capabilities = match packet.get(3) {
        Some(b'#') => CapabilityFlags::CLIENT_PROTOCOL_41,
        _ => CapabilityFlags::empty(),
    };
    of_packet(DOING, packet, capabilities)
}

/// The numbers that passwords are mixed with. Some servers end them with a zero, some don't, and
/// ed25519's may end with one of their own: only the length tells. With fewer of them a proof is
/// worth less, and with none a password isn't mixed with anything.
fn nonce_of(bytes: &[u8], length: usize) -> Result<Vec<u8>> {
    match bytes.split_at_checked(length) {
        Some((nonce, [] | [0])) => Ok(nonce.to_vec()),
        _ => Err(strange(DOING)),
    }
}

fn bytes_of(data: &AuthPluginData<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    data.serialize(&mut bytes);
    bytes
}

fn with_zero(password: &str) -> Vec<u8> {
    let mut bytes = password.as_bytes().to_vec();
    bytes.push(0);
    bytes
}

#[cfg(test)]
mod tests {
    use tidegate_testkit::servers::openssl;

    use super::*;

    #[test]
    fn the_password_goes_to_nobody_whom_nothing_authenticates() {
        use Protection::{Authenticated, Encrypted, Plain};
        use Way::{Inside, Never, WithOurs, WithTheirs};
        let directory = tempfile::TempDir::new().unwrap();
        openssl(directory.path(), "genrsa -out rsa.key 2048");
        let key = openssl(directory.path(), "rsa -in rsa.key -pubout");
        let key = PublicKey::from_pem(&key);
        let here = [
            "127.0.0.1:3306",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ];
        let there = [
            "10.0.0.1:3306",
            "128.0.0.1:1",
            "[::2]:1",
            "[::ffff:10.0.0.1]:1",
            "0.0.0.0:1",
        ];
        for (known, anybody, protection, far, near) in [
            (false, false, Plain, Never, WithTheirs),
            (false, false, Encrypted, Never, Inside),
            (false, false, Authenticated, Inside, Inside),
            (false, true, Plain, WithTheirs, WithTheirs),
            (false, true, Encrypted, Inside, Inside),
            (false, true, Authenticated, Inside, Inside),
            (true, false, Plain, WithOurs, WithOurs),
            (true, false, Encrypted, Never, Inside),
            (true, false, Authenticated, Inside, Inside),
            (true, true, Plain, WithOurs, WithOurs),
            (true, true, Encrypted, Inside, Inside),
            (true, true, Authenticated, Inside, Inside),
        ] {
            let login = |loopback| Login {
                key: key.clone().filter(|_| known),
                anybody,
                loopback,
                ..Login::default()
            };
            for address in here {
                let address = address.parse().unwrap();
                assert_eq!(login(true).way(protection, address), near, "{address}");
                assert_eq!(login(false).way(protection, address), far, "{address}");
            }
            for address in there {
                let address = address.parse().unwrap();
                assert_eq!(login(true).way(protection, address), far, "{address}");
            }
        }
    }

    #[test]
    fn numbers_to_mix_a_password_with_are_as_many_as_they_should_be() {
        for (bytes, length, right) in [
            (&b""[..], NONCE, false),
            (&[0], NONCE, false),
            (&[7; 19], NONCE, false),
            (&[7; 20], NONCE, true),
            (&[0; 21], NONCE, true),
            (&[7; 21], NONCE, false),
            (&[0; 22], NONCE, false),
            (&[7; 20], SIGNED, false),
            (&[7; 32], SIGNED, true),
        ] {
            let nonce = nonce_of(bytes, length);
            assert_eq!(nonce.is_ok_and(|nonce| nonce.len() == length), right);
        }
    }
}
