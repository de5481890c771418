//! caching_sha2_password, the login of MySQL 8, and the tokens of RDS. No server that has them can
//! be had for tests, so one is made here of what the manual says of it ("Caching_sha2_password information" in MySQL's
//! source documentation); MariaDB's own client is let in by it too, which shows that it is made
//! right.

use std::path::Path;
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
use tokio::sync::Mutex;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio_rustls::TlsAcceptor;

use super::{ConnectionKeys, Connector, context, open};
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
    /// What the password is mixed with when the server wants another plugin than it greeted with.
    nonce: &'static [u8],
    /// Whether the server has TLS.
    tls: bool,
}

const CACHED: User = User {
    plugin: "caching_sha2_password",
    password: "ä secret",
    cached: true,
    nonce: SWITCHED,
    tls: true,
};
const FRESH: User = User {
    cached: false,
    ..CACHED
};
/// As RDS asks for IAM's tokens; the password is how one begins.
const CLEAR: User = User {
    plugin: "mysql_clear_password",
    password: "localhost:",
    ..CACHED
};

struct Fake {
    port: u16,
    certificates: Arc<Certificates>,
    /// What was said on each connection, when it is over.
    heard: Mutex<UnboundedReceiver<Vec<Vec<u8>>>>,
}

impl Fake {
    /// One that greets with a plugin, and has a user.
    async fn start(greets_with: &'static str, user: User) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let certificates = Arc::new(Certificates::new("DNS:localhost,IP:127.0.0.1"));
        openssl(certificates.file("").as_path(), "genrsa -out rsa.key 2048");
        let own = Arc::clone(&certificates);
        let (tell, heard) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                let (user, certificates) = (user.clone(), Arc::clone(&own));
                let tell = tell.clone();
                tokio::spawn(async move {
                    let mut talk = Talk {
                        wire: Box::new(socket),
                        sequence: 0,
                        heard: Vec::new(),
                    };
                    // A client that goes away early is no fault of the server's.
                    let _ = greet(&mut talk, greets_with, user, &certificates).await;
                    let _ = tell.send(talk.heard);
                });
            }
        });
        Self {
            port,
            certificates,
            heard: Mutex::new(heard),
        }
    }

    /// What the next connection's client said, from its answer to the greeting on.
    async fn heard(&self) -> Vec<Vec<u8>> {
        self.heard.lock().await.recv().await.unwrap()
    }

    fn keys(&self, ssl: TlsMode) -> ConnectionKeys {
        let verified = ssl.is_verified();
        ConnectionKeys {
            url: Some(format!("mysql://reader@localhost:{}/shop", self.port)),
            ssl: Some(ssl),
            ca_file: verified.then(|| self.certificates.file("ca.pem")),
            ..ConnectionKeys::default()
        }
    }

    async fn login(&self, password: &str, ssl: TlsMode) -> Result<()> {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, password).unwrap();
        let keys = ConnectionKeys {
            password: Some(Secret::File(file)),
            ..self.keys(ssl)
        };
        open(&keys).await.map(drop)
    }

    /// Logs in as if the server were on another machine.
    async fn login_from_afar(&self, password: &str, keys: ConnectionKeys) -> Result<()> {
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("password");
        std::fs::write(&file, password).unwrap();
        let keys = ConnectionKeys {
            password: Some(Secret::File(file)),
            ..keys
        };
        let connector = Connector::trusting(false, &keys, &context()).await;
        connector.map(drop)
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
    heard: Vec<Vec<u8>>,
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
        self.heard.push(payload.clone());
        Ok(payload)
    }

    async fn refuse(&mut self) -> std::io::Result<()> {
        self.say(b"\xFF\x15\x04#28000Access denied for user").await
    }
}

async fn greet(
    talk: &mut Talk,
    plugin: &str,
    user: User,
    certificates: &Certificates,
) -> std::io::Result<()> {
    let capabilities = match user.tls {
        true => 0x010F_F7DFu32 & !0x20 | CLIENT_SSL,
        false => 0x010F_F7DFu32 & !0x20 & !CLIENT_SSL,
    };
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
        let (nothing, _) = tokio::io::duplex(1);
        let wire = std::mem::replace(&mut talk.wire, Box::new(nothing));
        let wire = TlsAcceptor::from(Arc::new(config)).accept(wire);
        talk.wire = Box::new(wire.await?);
        response = talk.hear().await?;
    }
    // Four bytes of flags, four of the largest packet, a character set, 23 of nothing.
    let (named, rest) = until_zero(&response[32..]);
    assert_eq!(named, b"reader");
    let mut proof = rest[1..=usize::from(rest[0])].to_vec();
    let mut nonce = &NONCE[..];
    if user.plugin != plugin {
        let mut switch = vec![0xFE];
        for part in [user.plugin.as_bytes(), user.nonce] {
            switch.extend_from_slice(part);
            switch.push(0);
        }
        talk.say(&switch).await?;
        proof = talk.hear().await?;
        nonce = user.nonce;
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
                let directory = certificates.file("");
                if sent == [0x02] {
                    let key = openssl(&directory, "rsa -in rsa.key -pubout");
                    talk.say(&[&[0x01], key.as_slice()].concat()).await?;
                    sent = talk.hear().await?;
                }
                assert_eq!(
                    sent.len(),
                    256,
                    "nothing but the key is asked for in the open"
                );
                sent = decrypted(&directory, &sent);
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

/// What was encrypted with the key; nothing, if it was with another one.
fn decrypted(directory: &Path, encrypted: &[u8]) -> Vec<u8> {
    std::fs::write(directory.join("encrypted"), encrypted).unwrap();
    let decrypt = "pkeyutl -decrypt -inkey rsa.key -in encrypted -pkeyopt rsa_padding_mode:oaep";
    let output = Command::new("openssl")
        .args(decrypt.split(' '))
        .current_dir(directory)
        .output()
        .unwrap();
    match output.status.success() {
        true => output.stdout,
        false => Vec::new(),
    }
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
async fn the_password_is_sent_whole_to_this_machine_where_the_server_has_forgotten_it() {
    let server = Fake::start("caching_sha2_password", FRESH).await;
    for ssl in [
        TlsMode::Disabled,
        TlsMode::Preferred,
        TlsMode::Required,
        TlsMode::VerifyIdentity,
    ] {
        server.login(FRESH.password, ssl).await.unwrap();
        let error = server.login("wrong", ssl).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth);
    }
    for more in ["--skip-ssl", "--ssl"] {
        let judged = server.judge(FRESH.password, more).await;
        assert!(judged.status.success(), "{judged:?}");
    }
}

/// Whether a client kept the password to itself: neither it, nor anything long enough to be it
/// encrypted, nor the question for the key went out behind the answer to the greeting.
fn kept(heard: &[Vec<u8>], password: &str) -> bool {
    let password = password.as_bytes();
    let told = heard.iter().any(|packet| {
        let mut parts = packet.windows(password.len());
        *packet == [0x02] || parts.any(|part| part == password)
    });
    !told && heard.iter().all(|packet| packet.len() != 256)
}

#[tokio::test]
async fn a_server_in_between_gets_no_password() {
    for tls in [false, true] {
        let user = User { tls, ..FRESH };
        for greets_with in ["caching_sha2_password", "mysql_native_password"] {
            let server = Fake::start(greets_with, user.clone()).await;
            for ssl in [TlsMode::Disabled, TlsMode::Preferred, TlsMode::Required] {
                if ssl == TlsMode::Required && !tls {
                    continue;
                }
                let keys = server.keys(ssl);
                let error = server.login_from_afar(user.password, keys).await;
                let error = error.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
                assert!(error.to_string().contains("isn't sent"), "{error:?}");
                let hint = error.hint_text().unwrap();
                for key in [
                    "verify_identity",
                    "server_public_key",
                    "get_server_public_key",
                ] {
                    assert!(hint.contains(key), "{hint}");
                }
                let heard = server.heard().await;
                assert!(kept(&heard, user.password), "{ssl:?}: {heard:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_password_is_mixed_with_as_many_numbers_as_it_should_be() {
    for nonce in [
        &b""[..],
        b"short",
        b"123456789012345678",
        b"123456789012345678901",
    ] {
        let user = User { nonce, ..FRESH };
        let server = Fake::start("mysql_native_password", user).await;
        for consent in [false, true] {
            let keys = ConnectionKeys {
                get_server_public_key: consent,
                ..server.keys(TlsMode::Disabled)
            };
            let error = server.login_from_afar(FRESH.password, keys).await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal, "{error:?}");
            let heard = server.heard().await;
            assert_eq!(heard.len(), 1, "{heard:?}");
        }
    }
}

#[tokio::test]
async fn the_password_is_sent_whole_to_a_server_that_the_file_names_or_allows() {
    let server = Fake::start("caching_sha2_password", FRESH).await;
    let directory = server.certificates.file("");
    let public = |name: &str| {
        let key = openssl(&directory, &format!("rsa -in {name}.key -pubout"));
        let path = directory.join(format!("{name}.pub"));
        std::fs::write(&path, key).unwrap();
        Some(path)
    };
    let known = ConnectionKeys {
        server_public_key: public("rsa"),
        ..server.keys(TlsMode::Disabled)
    };
    let allowed = |ssl| ConnectionKeys {
        get_server_public_key: true,
        ..server.keys(ssl)
    };
    for (keys, asked) in [
        (server.keys(TlsMode::VerifyIdentity), false),
        (server.keys(TlsMode::VerifyCa), false),
        (known.clone(), false),
        (allowed(TlsMode::Disabled), true),
        (allowed(TlsMode::Preferred), false),
        (allowed(TlsMode::Required), false),
    ] {
        let login = server.login_from_afar(FRESH.password, keys).await;
        login.unwrap();
        assert_eq!(server.heard().await.contains(&vec![0x02]), asked);
    }

    // Whoever has another key can read nothing.
    openssl(&directory, "genrsa -out other.key 2048");
    let other = ConnectionKeys {
        server_public_key: public("other"),
        ..known.clone()
    };
    let error = server.login_from_afar(FRESH.password, other).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Auth);
    assert!(!server.heard().await.contains(&vec![0x02]));

    // Inside of TLS it would have to be sent as it is.
    let preferred = ConnectionKeys {
        ssl: Some(TlsMode::Preferred),
        ..known.clone()
    };
    let error = server.login_from_afar(FRESH.password, preferred).await;
    assert!(error.unwrap_err().hint_text().unwrap().contains("disabled"));
    assert!(kept(&server.heard().await, FRESH.password));

    let nothing = ConnectionKeys {
        server_public_key: Some(directory.join("ca.pem")),
        ..known.clone()
    };
    let error = server.login_from_afar(FRESH.password, nothing).await;
    let error = error.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("no RSA public key"), "{error}");
    let absent = ConnectionKeys {
        server_public_key: Some(directory.join("absent")),
        ..known
    };
    let error = server.login_from_afar(FRESH.password, absent).await;
    assert!(error.unwrap_err().to_string().contains("can't be read"));
}

#[tokio::test]
async fn a_proof_of_the_password_is_given_to_whoever_greets() {
    let server = Fake::start("caching_sha2_password", CACHED).await;
    for ssl in [TlsMode::Disabled, TlsMode::Preferred, TlsMode::Required] {
        let keys = server.keys(ssl);
        let login = server.login_from_afar(CACHED.password, keys).await;
        login.unwrap();
        assert!(kept(&server.heard().await, CACHED.password));
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
    let directory = TempDir::new().unwrap();
    let secret = directory.path().join("secret");
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
        // `localhost` may be told to be another machine.
        let keys = ConnectionKeys {
            iam: true,
            aws: serde_json::from_value(settings.clone()).unwrap(),
            ..server.keys(TlsMode::Required)
        };
        let error = Connector::trusting(false, &keys, &context()).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Auth, "{error:?}");
        assert!(error.to_string().contains("isn't sent"), "{error:?}");
    }
}
