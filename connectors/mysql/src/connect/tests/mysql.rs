//! caching_sha2_password, the login of MySQL 8, and the tokens of RDS. No server that has them can
//! be had for tests, so one is made here of what the manual says of it ("Caching_sha2_password information" in MySQL's
//! source documentation); MariaDB's own client is let in by it too, which shows that it is made
//! right.

use std::process::{Command, Output};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tidegate_core::{ErrorKind, Result, Secret};
use tidegate_testkit::servers::{Certificates, openssl};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{ConnectionKeys, open};
use crate::wire::TlsMode;

const NONCE: &[u8; 20] = b"12345678ABCDEFGHIJKL";
const SWITCHED: &[u8; 20] = b"abcdefgh123456789012";
const CLIENT_SSL: u32 = 0x800;

/// What the server has of the user.
#[derive(Clone)]
struct User {
    plugin: &'static str,
    password: &'static str,
    /// Whether the password is in the server's cache.
    cached: bool,
}

const CACHED: User = User {
    plugin: "caching_sha2_password",
    password: "ä secret",
    cached: true,
};
const FRESH: User = User {
    cached: false,
    ..CACHED
};
/// As RDS asks for IAM's tokens; the password is how one begins.
const CLEAR: User = User {
    plugin: "mysql_clear_password",
    password: "localhost:",
    cached: true,
};

struct Fake {
    port: u16,
    certificates: Arc<Certificates>,
}

impl Fake {
    /// One that greets with a plugin, and has a user.
    async fn start(greets_with: &'static str, user: User) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificates = Arc::new(Certificates::new("DNS:localhost,IP:127.0.0.1"));
        openssl(certificates.file("").as_path(), "genrsa -out rsa.key 2048");
        let own = Arc::clone(&certificates);
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (user, certificates) = (user.clone(), Arc::clone(&own));
                tokio::spawn(async move {
                    // A client that goes away early is no fault of the server's.
                    let _ = greet(socket, greets_with, user, &certificates).await;
                });
            }
        });
        Self { port, certificates }
    }

    fn keys(&self, ssl: TlsMode) -> ConnectionKeys {
        let verified = ssl == TlsMode::VerifyIdentity;
        ConnectionKeys {
            url: Some(format!("mysql://reader@localhost:{}/shop", self.port)),
            ssl: Some(ssl),
            ca_file: verified.then(|| self.certificates.file("ca.pem")),
            ..ConnectionKeys::default()
        }
    }

    async fn login(&self, password: &str, ssl: TlsMode) -> Result<()> {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("password");
        std::fs::write(&file, password).unwrap();
        let keys = ConnectionKeys {
            password: Some(Secret::File(file)),
            ..self.keys(ssl)
        };
        open(&keys).await.map(drop)
    }

    /// Logs in with MariaDB's own client.
    async fn judge(&self, password: &str, more: &str) -> Output {
        let mut client = Command::new("mariadb");
        client
            .args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1"])
            .args(["--user=reader", "--execute=DO 1", more])
            .arg(format!("--port={}", self.port))
            .arg(format!("--password={password}"));
        let output = tokio::task::spawn_blocking(move || client.output());
        output.await.unwrap().unwrap()
    }
}

trait Wire: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Wire for T {}

struct Talk {
    wire: Box<dyn Wire>,
    sequence: u8,
}

impl Talk {
    async fn say(&mut self, payload: &[u8]) -> std::io::Result<()> {
        let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
        let mut out = length[..3].to_vec();
        out.push(self.sequence);
        self.sequence += 1;
        out.extend_from_slice(payload);
        self.wire.write_all(&out).await
    }

    async fn hear(&mut self) -> std::io::Result<Vec<u8>> {
        let mut header = [0; 4];
        self.wire.read_exact(&mut header).await?;
        self.sequence = header[3] + 1;
        let length = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let mut payload = vec![0; usize::try_from(length).unwrap()];
        self.wire.read_exact(&mut payload).await?;
        Ok(payload)
    }

    async fn refuse(&mut self) -> std::io::Result<()> {
        self.say(b"\xFF\x15\x04#28000Access denied for user").await
    }
}

async fn greet(
    socket: tokio::net::TcpStream,
    plugin: &str,
    user: User,
    certificates: &Certificates,
) -> std::io::Result<()> {
    let mut talk = Talk {
        wire: Box::new(socket),
        sequence: 0,
    };
    let capabilities = 0x010F_F7DFu32 & !0x20 | CLIENT_SSL;
    let flags = capabilities.to_le_bytes();
    let mut greeting = b"\x0a8.0.36\0\x07\0\0\0".to_vec();
    greeting.extend_from_slice(&NONCE[..8]);
    greeting.extend_from_slice(&[0, flags[0], flags[1], 45, 2, 0, flags[2], flags[3], 21]);
    greeting.extend_from_slice(&[0; 10]);
    greeting.extend_from_slice(&NONCE[8..]);
    greeting.push(0);
    greeting.extend_from_slice(plugin.as_bytes());
    greeting.push(0);
    talk.say(&greeting).await?;

    let mut response = talk.hear().await?;
    let secure = response.len() == 32;
    if secure {
        let chain = CertificateDer::pem_file_iter(certificates.file("server.pem")).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificates.file("server.key")).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain.map(Result::unwrap).collect(), key)
            .unwrap();
        let wire = TlsAcceptor::from(Arc::new(config)).accept(talk.wire);
        talk.wire = Box::new(wire.await?);
        response = talk.hear().await?;
    }
    // Four bytes of flags, four of the largest packet, a character set, 23 of nothing.
    let (named, rest) = until_zero(&response[32..]);
    assert_eq!(named, b"reader");
    let mut proof = rest[1..=usize::from(rest[0])].to_vec();
    let mut nonce = NONCE;
    if user.plugin != plugin {
        let mut switch = vec![0xFE];
        for part in [user.plugin.as_bytes(), SWITCHED] {
            switch.extend_from_slice(part);
            switch.push(0);
        }
        talk.say(&switch).await?;
        proof = talk.hear().await?;
        nonce = SWITCHED;
    }
    let whole = [user.password.as_bytes(), &[0]].concat();
    let right = match user.plugin {
        "mysql_clear_password" => {
            let token = String::from_utf8_lossy(&proof);
            token.starts_with(user.password)
                && token
                    .contains("/?Action=connect&DBUser=reader&X-Amz-Algorithm=AWS4-HMAC-SHA256&")
                && token.contains("=AKIDEXAMPLE%2F")
                && token.contains("%2Feu-west-1%2Frds-db%2Faws4_request&")
                && token.ends_with('\0')
        }
        _ if user.cached => {
            let right = proves(&proof, nonce, user.password);
            if right {
                talk.say(&[0x01, 0x03]).await?;
            }
            right
        }
        _ => {
            talk.say(&[0x01, 0x04]).await?;
            let mut sent = talk.hear().await?;
            if !secure {
                assert_eq!(sent, [0x02], "nothing but the key is asked for in the open");
                let folder = certificates.file("");
                let key = openssl(&folder, "rsa -in rsa.key -pubout");
                talk.say(&[&[0x01], key.as_slice()].concat()).await?;
                let encrypted = talk.hear().await?;
                std::fs::write(folder.join("encrypted"), encrypted).unwrap();
                let decrypt = "pkeyutl -decrypt -inkey rsa.key -in encrypted \
                               -pkeyopt rsa_padding_mode:oaep";
                sent = openssl(&folder, decrypt);
                for (byte, nonce) in sent.iter_mut().zip(nonce.iter().cycle()) {
                    *byte ^= nonce;
                }
            }
            sent == whole
        }
    };
    if !right {
        return talk.refuse().await;
    }
    let ok = [0, 0, 0, 2, 0, 0, 0];
    talk.say(&ok).await?;
    while talk.hear().await?.first() == Some(&0x03) {
        talk.say(&ok).await?;
    }
    Ok(())
}

/// Whether the proof is of the password: the server has only its twofold hash.
fn proves(proof: &[u8], nonce: &[u8], password: &str) -> bool {
    let stored = Sha256::digest(Sha256::digest(password));
    let mask = Sha256::digest([stored.as_slice(), nonce].concat());
    let once: Vec<_> = proof.iter().zip(mask).map(|(a, b)| a ^ b).collect();
    Sha256::digest(once) == stored
}

fn until_zero(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    (&bytes[..end], &bytes[end + 1..])
}

#[tokio::test]
async fn the_password_is_proved_where_the_server_has_it_in_its_cache() {
    for greets_with in ["caching_sha2_password", "mysql_native_password"] {
        let server = Fake::start(greets_with, CACHED).await;
        for ssl in [TlsMode::Disabled, TlsMode::VerifyIdentity] {
            server.login(CACHED.password, ssl).await.unwrap();
            let error = server.login("wrong", ssl).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Auth);
        }
        let judged = server.judge(CACHED.password, "--skip-ssl").await;
        assert!(judged.status.success(), "{judged:?}");
        let judged = server.judge("wrong", "--skip-ssl").await;
        assert!(!judged.status.success(), "{judged:?}");
    }
}

#[tokio::test]
async fn the_password_is_sent_whole_over_tls_or_encrypted_where_the_server_has_forgotten_it() {
    let server = Fake::start("caching_sha2_password", FRESH).await;
    for ssl in [TlsMode::Disabled, TlsMode::VerifyIdentity] {
        server.login(FRESH.password, ssl).await.unwrap();
        let error = server.login("wrong", ssl).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
    }
    for more in ["--skip-ssl", "--ssl"] {
        let judged = server.judge(FRESH.password, more).await;
        assert!(judged.status.success(), "{judged:?}");
    }
}

#[tokio::test]
async fn a_password_is_not_handed_out_in_clear_text() {
    let server = Fake::start("mysql_native_password", CLEAR).await;
    for ssl in [TlsMode::Disabled, TlsMode::VerifyIdentity] {
        let error = server.login(CLEAR.password, ssl).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
        assert!(error.to_string().contains("clear text"), "{error:?}");
    }
}

#[tokio::test]
async fn a_token_of_iam_is_the_password_over_tls() {
    let folder = TempDir::new().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY").unwrap();
    let settings = serde_json::json!({
        "region": "eu-west-1",
        "credentials": { "access_key_id": "AKIDEXAMPLE", "secret_access_key": { "file": secret } },
    });
    for greets_with in ["caching_sha2_password", "mysql_native_password"] {
        let server = Fake::start(greets_with, CLEAR).await;
        for ssl in [TlsMode::Required, TlsMode::VerifyIdentity] {
            let keys = ConnectionKeys {
                iam: true,
                aws: serde_json::from_value(settings.clone()).unwrap(),
                ..server.keys(ssl)
            };
            let connector = open(&keys).await.unwrap();
            connector.connect().await.unwrap();
            assert!(!format!("{connector:?}").contains("X-Amz"));
        }
    }
}
