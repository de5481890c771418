//! Certificates for tests, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// An authority, and a server's certificate that it signed.
pub(super) struct Certificates {
    folder: TempDir,
}

impl Certificates {
    /// For a server with these names: `DNS:localhost,IP:127.0.0.1`.
    pub(super) fn new(names: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        std::fs::write(
            folder.path().join("names"),
            format!("subjectAltName={names}"),
        )
        .unwrap();
        for command in [
            format!("req -x509 {new} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"),
            format!("req {new} -subj /CN=server -keyout server.key -out server.csr"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out server.pem"
                .to_owned(),
        ] {
            openssl(folder.path(), &command);
        }
        Self { folder }
    }

    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The server's options.
    pub(super) fn options(&self) -> Vec<String> {
        vec![
            format!("--ssl-cert={}", self.file("server.pem").display()),
            format!("--ssl-key={}", self.file("server.key").display()),
        ]
    }
}

/// Runs openssl in a folder; gives what it printed.
pub(super) fn openssl(folder: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .output()
        .expect("openssl is on every Debian");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {error}");
    output.stdout
}
