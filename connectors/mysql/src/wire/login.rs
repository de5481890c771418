//! The login: who we are, by the plugin that the server wants.

use mysql_common::constants::CapabilityFlags;
use mysql_common::io::ParseBuf;
use mysql_common::packets::{
    AuthPlugin, AuthPluginData, HandshakePacket, HandshakeResponse, SslRequest,
};
use mysql_common::proto::MySerialize;
use tidegate_core::{Error, Result, SecretValue};

use super::server::{lost, of_packet, strange};
use super::tls::Tls;
use super::transport::Transport;

const DOING: &str = "log in";

/// The largest packet that we send or take: the protocol's most.
const MAX_PACKET: u32 = 1 << 30;

/// The length of the numbers that passwords are mixed with.
const NONCE: usize = 20;

/// utf8mb4_general_ci: texts come as UTF-8.
const UTF8MB4: u8 = 45;

/// Who we are.
#[derive(Debug, Clone)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: Option<SecretValue>,
    pub(crate) database: Option<String>,
    /// Whether the password may be sent as it is, over TLS only: tokens of RDS IAM are.
    pub(crate) clear: bool,
}

/// What came of the greeting.
pub(super) struct Greeted {
    pub(super) transport: Transport,
    pub(super) capabilities: CapabilityFlags,
}

/// Answers the greeting, with TLS if wanted, and goes on until the server lets us in.
pub(super) async fn log_in(
    mut transport: Transport,
    handshake: HandshakePacket<'_>,
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

    let mut nonce = handshake.scramble_1_ref().to_vec();
    nonce.extend_from_slice(handshake.scramble_2_ref().unwrap_or_default());
    // The greeting ends it with a zero.
    nonce.truncate(NONCE);
    let plugin = match handshake.auth_plugin() {
        Some(AuthPlugin::CachingSha2Password) => AuthPlugin::CachingSha2Password,
        _ => AuthPlugin::MysqlNativePassword,
    };
    let password = login.password.as_ref().map(SecretValue::expose);
    let first = plugin.gen_data(password, &nonce);
    let mut response = Vec::new();
    HandshakeResponse::new(
        first.as_ref().map(bytes_of),
        handshake.server_version_parsed().unwrap_or_default(),
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
        clear: login.clear,
        secure,
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
    clear: bool,
    secure: bool,
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
                (Some(0x01), Some(0x04)) => self.send_all().await?,
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
        self.nonce = nonce.to_vec();
        let data = match &self.plugin {
            AuthPlugin::MysqlNativePassword
            | AuthPlugin::CachingSha2Password
            | AuthPlugin::Ed25519 => {
                // Some servers end it with a zero, some don't, and ed25519's may end with one of
                // its own: only the length tells.
                self.nonce.truncate(match self.plugin {
                    AuthPlugin::Ed25519 => 32,
                    _ => NONCE,
                });
                let data = self.plugin.gen_data(self.password, &self.nonce);
                data.as_ref().map(bytes_of).unwrap_or_default()
            }
            AuthPlugin::MysqlClearPassword if self.clear && self.secure => {
                with_zero(self.password.unwrap_or_default())
            }
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

    /// caching_sha2_password without the server's cache: over TLS as it is, else encrypted with
    /// the server's public key.
    async fn send_all(&mut self) -> Result<()> {
        let mut password = with_zero(self.password.unwrap_or_default());
        if self.secure {
            return self.send(&password).await;
        }
        self.send(&[0x02]).await?;
        let answer = self.receive().await?;
        if answer.first() == Some(&0xFF) {
            return Err(of_login(&answer));
        }
        let key = answer.strip_prefix(&[0x01]).ok_or_else(|| strange(DOING))?;
        for (byte, nonce) in password.iter_mut().zip(self.nonce.iter().cycle()) {
            *byte ^= nonce;
        }
        self.send(&encrypted(&password, key)?).await
    }

    async fn send(&mut self, payload: &[u8]) -> Result<()> {
        let sent = self.transport.write(payload).await;
        sent.map_err(|error| lost(DOING, error))
    }

    async fn receive(&mut self) -> Result<Vec<u8>> {
        let received = self.transport.read().await;
        received.map_err(|error| lost(DOING, error))
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

/// A short text, encrypted with the server's public key (RSA, OAEP with SHA-1).
fn encrypted(text: &[u8], key: &[u8]) -> Result<Vec<u8>> {
    // The library panics over a key that it can't read or that is too short for the text.
    let encrypted = std::panic::catch_unwind(|| mysql_common::crypto::encrypt(text, key));
    encrypted.map_err(|_| {
        Error::unsupported("the server's public key can't be used to send the password")
            .hint("use TLS: set `ssl = \"required\"` or stricter")
    })
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
