//! Certificates for tests, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// An authority, and a server's certificate that it signed: `ca.pem`, `server.pem` and `server.key` of a
/// directory that goes with this.
#[derive(Debug)]
pub struct Certificates {
    directory: TempDir,
}

impl Certificates {
    /// For a server with these names: `DNS:localhost,IP:127.0.0.1`.
    ///
    /// # Panics
    ///
    /// If openssl fails.
    pub fn new(names: &str) -> Self {
        let directory = tempfile::tempdir().unwrap_or_else(|error| panic!("a directory: {error}"));
        let new = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let extension = format!("subjectAltName={names}");
        std::fs::write(directory.path().join("names"), extension)
            .unwrap_or_else(|error| panic!("a file of its own: {error}"));
        for command in [
            format!("req -x509 {new} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"),
            format!("req {new} -subj /CN=server -keyout server.key -out server.csr"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \
             -extfile names -out server.pem"
                .to_owned(),
        ] {
            openssl(directory.path(), &command);
        }
        Self { directory }
    }

    /// A file of the directory.
    pub fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// As options of MariaDB's server.
    pub fn options(&self) -> Vec<String> {
        vec![
            format!("--ssl-cert={}", self.file("server.pem").display()),
            format!("--ssl-key={}", self.file("server.key").display()),
        ]
    }
}

/// Runs openssl in a directory; gives what it printed.
///
/// # Panics
///
/// If it fails.
pub fn openssl(directory: &Path, arguments: &str) -> Vec<u8> {
    let output = Command::new("openssl")
        .args(arguments.split_whitespace())
        .current_dir(directory)
        .output()
        .unwrap_or_else(|error| panic!("openssl can't be run: {error}"));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {arguments}: {error}");
    output.stdout
}
